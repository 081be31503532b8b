"""A second try whose answer was here already, through every verb."""

from __future__ import annotations

import pytest

from runware_ws import RecoveredBy, TaskTimeout
from runware_ws.events import LateResult
from runware_ws.testing.network import MemoryNetwork

from .support import QUICK, SESSION, answer, ask, bounded, memory_client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("verb", ["run", "submit", "map", "stream"])
@bounded
async def test_it_is_answered_at_once_and_nothing_is_sent(verb: str) -> None:
    network = MemoryNetwork()
    async with memory_client(network, **QUICK) as client:
        socket = await network.accept()
        await socket.authenticate(SESSION)
        task = ask()
        events = client.events()
        with pytest.raises(TaskTimeout):
            await client.run(task, timeout=0.05)
        (sent,) = await socket.receive()
        answer(socket, sent)
        async for event in events:
            if isinstance(event, LateResult):
                break
        before = client.stats().frames_out
        if verb == "run":
            result = await client.run(task)
        elif verb == "submit":
            result = await (await client.submit(task))
        elif verb == "map":
            (outcome,) = [outcome async for outcome in client.map([task])]
            result = outcome.unwrap()
        else:
            async with client.stream(task, carrier="socket") as stream:
                assert "".join([delta.text or "" async for delta in stream])
                result = await stream.result()
        assert result.text == f"to {task.task_uuid}"
        assert result.recovered_by is RecoveredBy.REPLAY
        stats = client.stats()
        assert (stats.frames_out, stats.answered, stats.pending) == (before, 1, 0)
        assert client.claim(str(task.task_uuid)) is None
