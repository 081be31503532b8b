"""Installs published clients, each in a folder of its own: Runware's, and those of the Messages
shape, with which the gateway is tried.

Runware's both install a module of the same name, so they cannot live in one environment. A client
that cannot be installed fails its tests.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.published.install import install, install_all, install_node

FRAMEWORKS = [
    "anthropic==2.14.0",
    "langchain-anthropic==1.7.10",
    "pydantic-ai-slim[anthropic]==2.68.0",
    "instructor==1.17.0",
]
TYPESCRIPT = "1.14.0"


@pytest.fixture(scope="session")
def frameworks_folder(pytestconfig: pytest.Config) -> Path:
    """The frameworks that speak the Messages shape, and the Python client that they use."""
    versions = "-".join(name.rpartition("==")[2] for name in FRAMEWORKS)
    return install_all(pytestconfig.rootpath, f"frameworks-{versions}", FRAMEWORKS)


@pytest.fixture(scope="session")
def typescript_folder(pytestconfig: pytest.Config) -> Path:
    """The TypeScript client. Without Node it is not tried, unless ``.ci/run`` asks."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        if os.environ.get("RUNWARE_WS_TESTS_NEED_NODE"):
            pytest.fail("the TypeScript client is to be tried, and there is no node or no npm")
        pytest.skip("the TypeScript client needs node and npm")
    return install_node(pytestconfig.rootpath, "@anthropic-ai/sdk", TYPESCRIPT)


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
