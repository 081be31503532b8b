"""Every async test runs on every event loop that is supported."""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.journal.postgres_server import PostgresServer
from tests.limits import unlimited

pytest_plugins = ["pytester"]

# On a busy machine an example may take any time, and the examples are the same in each run.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")

ASYNCIO = pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio")
TRIO = pytest.param(("trio", {"restrict_keyboard_interrupt_to_checkpoints": False}), id="trio")
# uvloop does what asyncio does: the slow run alone tries it.
UVLOOP = pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected lives to the end. To look for garbage in it would take half of the time,
    and a part of each test's afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse to run tests without a limit of time."""
    if told := unlimited(items):
        raise pytest.UsageError(f"without a limit of time, or with too high a one: {told}")


@pytest.fixture(scope="module", params=[ASYNCIO, TRIO, UVLOOP])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Modules in virtual time override this fixture."""
    return request.param


@pytest.fixture(scope="session")
def postgres_server() -> Generator[PostgresServer]:
    """A real PostgreSQL. Each test makes a database of its own in it."""
    server = PostgresServer()
    yield server
    server.close()
