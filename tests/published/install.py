"""Installs a published client in a folder of its own: both bring a module of the same name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["install"]


def install(root: Path, name: str, version: str) -> Path:
    """The folder with the package in it, below ``root``; made once, and whole or not at all.

    Raises:
        RuntimeError: it could not be installed.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    parent = root / ".cache" / "published"
    folder = parent / f"{name}-{version}-py{python}"
    if folder.is_dir():
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
    try:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--target", str(scratch), f"{name}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"{name}=={version} could not be installed:\n{done.stderr}")
        try:
            os.rename(scratch, folder)
        except OSError:
            # Another run was faster; its folder is as good.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder
