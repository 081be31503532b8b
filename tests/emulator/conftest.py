"""Fixtures: both event loops, and raw WebSocket clients that share nothing with the project."""

from __future__ import annotations

from typing import Any

import pytest

_PLAIN: dict[str, Any] = {}
BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    pytest.param(("trio", _PLAIN), id="trio"),
]


@pytest.fixture(scope="module", params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The event loops that the emulator must run on."""
    return request.param
