"""Every async test runs on every event loop that is supported."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

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
UVLOOP = pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")
TRIO = pytest.param(("trio", {"restrict_keyboard_interrupt_to_checkpoints": False}), id="trio")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse to run tests without a limit of time."""
    if told := unlimited(items):
        raise pytest.UsageError(f"without a limit of time, or with too high a one: {told}")


@pytest.fixture(scope="module", params=[ASYNCIO, UVLOOP, TRIO])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Modules in virtual time override this fixture."""
    return request.param
