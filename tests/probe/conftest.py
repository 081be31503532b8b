"""The probe runs on both libraries; a third event loop would show nothing new."""

from __future__ import annotations

from typing import Any

import pytest

TRIO: dict[str, Any] = {"restrict_keyboard_interrupt_to_checkpoints": False}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("trio", TRIO), id="trio"),
    ],
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param
