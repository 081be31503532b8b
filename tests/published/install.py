"""Installs published clients in folders of their own: some bring a module of the same name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["install", "install_all", "install_node"]


def install(root: Path, name: str, version: str) -> Path:
    """The folder with the package in it, below ``root``; made once, and whole or not at all.

    Raises:
        RuntimeError: it could not be installed.
    """
    return install_all(root, f"{name}-{version}", [f"{name}=={version}"])


def install_all(root: Path, name: str, requirements: Sequence[str]) -> Path:
    """The folder with all of these packages in it. Raises as ``install``."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", *requirements, "--target"]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return _made(root, f"{name}-py{python}", command)


def install_node(root: Path, name: str, version: str) -> Path:
    """The folder with this package of npm in its ``node_modules``. Raises as ``install``."""
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    command += [f"{name}@{version}", "--prefix"]
    return _made(root, f"{name.replace('/', '-').strip('@')}-{version}-node", command)


def _made(root: Path, name: str, command: list[str]) -> Path:
    """The folder ``name``, which ``command`` fills when the folder is its last word."""
    parent = root / ".cache" / "published"
    folder = parent / name
    if folder.is_dir():
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
    try:
        done = subprocess.run(
            [*command, str(scratch)], capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{name} could not be installed:\n{done.stderr}")
        try:
            os.rename(scratch, folder)
        except OSError:
            # Another run was faster; its folder is as good.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder
