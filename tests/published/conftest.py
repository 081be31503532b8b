"""Installs Runware's own published clients, each in a folder of its own.

Both install a module of the same name, so they cannot live in one environment. A client that
cannot be installed fails its tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.published.install import install


@pytest.fixture(scope="session")
def sdk_folder(pytestconfig: pytest.Config) -> Path:
    """The current client."""
    return install(pytestconfig.rootpath, "runware-sdk", "1.8.0")


@pytest.fixture(scope="session")
def legacy_folder(pytestconfig: pytest.Config) -> Path:
    """The older client."""
    return install(pytestconfig.rootpath, "runware", "0.5.24")


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The emulator's loop. The clients run in processes of their own."""
    return "asyncio", {"use_uvloop": False}
