"""Two gateways on one journal, and a client whose retry reaches the other one."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from runware_ws.emulator import Emulator
from tests.client.support import Gate, bounded, until
from tests.gateway.batches import gateway_on
from tests.gateway.support import executions, request

pytestmark = pytest.mark.anyio

KINDS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@KINDS
@pytest.mark.parametrize("leave", [1, 2])
@bounded
async def test_who_leaves_while_it_waits_for_its_turn_is_answered_by_the_other_alone(
    journal: str, stream: bool, leave: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits has not begun, so the other one cannot know of it."""
    body = request("Which?", stream=stream)
    async with (
        Emulator(api_key=None) as emulator,
        gateway_on(emulator, journal, max_running=1) as one,
        gateway_on(emulator, journal) as other,
        anyio.create_task_group() as group,
    ):
        gate = Gate(emulator)
        group.start_soon(one.post, request("Else?"))
        await until(lambda: gate.running == 1)
        for number in range(leave):
            with anyio.CancelScope() as leaving:
                async with anyio.create_task_group() as asking:
                    asking.start_soon(partial(one.post, body, retry=number))
                    await until(lambda: one.gateway.turns.waiting)
                    await anyio.wait_all_tasks_blocked()
                    leaving.cancel()
        group.start_soon(partial(other.post, body, retry=leave))
        await until(lambda: gate.running == 2)
        gate.open()
        await until(lambda: not one.gateway.turns.running and not one.gateway.turns.waiting)
        # The answer may be lost on its way, and the next retry come to the first one.
        assert (await one.post(body, retry=leave + 1)).status_code == 200
        assert executions(one) == 2
    assert not [each for each in caplog.records if each.levelname == "ERROR"]
