"""The pytest plugin of ``runware_ws``: fixtures ``runware_emulator`` and ``runware_client``.

pytest loads this at every start, so it imports nothing: the library comes with the first test
that uses a fixture. That is also why it lies beside the package and not in it.

PYTEST_DONT_REWRITE: there is no assert in here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from runware_ws.testing import ClientFactory, ScriptedEmulator

MARKER = (
    "runware(unexpected='fail', unfulfilled='fail', options=None, latency=0.0, seed=0, "
    "api_key=...): how the fixture runware_emulator behaves; the arguments are those of "
    "runware_ws.testing.ScriptedEmulator"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def runware_emulator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ScriptedEmulator]:
    """A scripted Runware server on a local port; ``Client()`` without arguments finds it.

    The test fails for a request that it did not expect, and for an expectation that was not met.
    """
    from runware_ws.testing import plugin

    with plugin.emulator_for(request.node, monkeypatch) as emulator:
        yield emulator


@pytest.fixture
def runware_client(runware_emulator: ScriptedEmulator) -> ClientFactory:
    """Makes clients of ``runware_emulator``: ``async with runware_client() as client``."""
    return runware_emulator.client


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let the test itself fail, not its teardown."""
    try:
        result = yield
    except BaseException:
        if "runware_emulator" in getattr(item, "funcargs", ()):
            from runware_ws.testing import plugin

            plugin.tell(item)
        raise
    if "runware_emulator" in getattr(item, "funcargs", ()):
        from runware_ws.testing import plugin

        plugin.judge(item)
    return result
