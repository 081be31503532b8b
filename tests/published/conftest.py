"""Installs Runware's own published clients, each in a folder of its own.

Both install a module of the same name, so they cannot live in one environment. A client that
cannot be installed fails its tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest


def _install(root: Path, name: str, version: str) -> Path:
    """The folder with the package in it; made once, and whole or not at all."""
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
            # Another test run was faster; its folder is as good.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


@pytest.fixture(scope="session")
def sdk_folder(pytestconfig: pytest.Config) -> Path:
    """The current client."""
    return _install(pytestconfig.rootpath, "runware-sdk", "1.8.0")


@pytest.fixture(scope="session")
def legacy_folder(pytestconfig: pytest.Config) -> Path:
    """The older client."""
    return _install(pytestconfig.rootpath, "runware", "0.5.24")


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The emulator's loop. The clients run in processes of their own."""
    return "asyncio", {"use_uvloop": False}
