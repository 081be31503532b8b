"""Odd ways to answer, all of them legal: each choice, seen from the wire."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws.emulator import Emulator, EmulatorOptions
from tests import virtual

from .wire import KEY, details, poll, ready, serving, text_task

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend

STRANGER = text_task("never sent")


def server(latency: float = 0.0, **options: Any) -> Emulator:
    """An emulator with these choices."""
    return serving(api_key=KEY, latency=latency, options=EmulatorOptions(**options))


# Questions


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(
    ("kind", "mute", "told"),
    [("getResponse", poll, details), ("getTaskDetails", details, poll)],
)
async def test_a_kind_of_question_is_never_answered(
    kind: Any, mute: Any, told: Any, joined: bool
) -> None:
    choice: dict[str, Any] = {"mute_question": kind, "answers_joined": joined}
    async with server(**choice) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        await wire.item()
        await wire.send(mute(task))
        await wire.send(mute(task), told(task), mute(STRANGER))
        assert (await wire.item())["taskUUID"] == task["taskUUID"]
        await wire.silence(60.0)
        assert emulator.tellable([task["taskUUID"]])[task["taskUUID"]]
        emulator.options = EmulatorOptions()
        await wire.send(mute(task))
        await wire.item()
