"""Floods: memory stays within its bounds, and the tasks of others are answered."""

from __future__ import annotations

import tracemalloc
from typing import Any
from uuid import UUID

import pytest

from runware_ws.testing.network import MemoryNetwork

from .support import QUICK, ask, bounded, echoing, memory_client, until

pytestmark = pytest.mark.anyio

MIB = 1 << 20
TURNS = 40
ERROR = {"code": "internalServerError", "message": "trouble"}


def _result(number: int, **more: Any) -> dict[str, Any]:
    uuid = str(UUID(int=(4 << 76) | (8 << 60) | number))
    return {"taskType": "textInference", "taskUUID": uuid, "text": f"{number}", **more}


def _of(flood: str, left: list[str], turn: int) -> list[Any]:
    if flood == "tiny":
        return [b"{}"] * 200
    if flood == "errors":
        return [{"errors": [{**ERROR, "message": f"{turn}"}]}] * 50
    if flood == "strangers":
        return [{"data": [_result(turn * 50 + n, x="x" * 1_000)]} for n in range(50)]
    if flood == "given up":
        tiny = [_result(0, taskUUID=left[(turn + n) % len(left)], x=[[]] * 300) for n in range(9)]
        return [{"data": [{**item, "text": f"{turn}"} for item in tiny]}]
    if flood == "malformed":
        return [b'{"data": [' + b"x" * 1_000] * 50
    return [{"errors": [{**ERROR, "message": "x" * MIB}]}]


@pytest.mark.slow
@pytest.mark.parametrize(
    "flood", ["tiny", "errors", "strangers", "given up", "malformed", "giant notices"]
)
@bounded
async def test_memory_is_bounded_and_others_are_answered(flood: str) -> None:
    network = MemoryNetwork()
    limits: dict[str, Any] = {"claim_bytes": MIB, "event_buffer": 256}
    async with (
        echoing(network) as server,
        memory_client(network, **QUICK, **limits) as client,
    ):
        await client.ready()
        server.mute = True
        handles = [await client.submit(ask()) for _ in range(50)]
        await until(lambda: len(server.received) == len(handles))
        server.mute = False
        left = [handle.uuid for handle in handles]
        for handle in handles:
            handle.cancel()
        unread = client.events()
        (socket,) = server.sockets
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for turn in range(TURNS):
                for message in _of(flood, left, turn):
                    socket.send(message)
                result = await client.run(ask())
                assert result.text
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 3 * MIB
        assert client.stats().answered == TURNS
        assert unread is not None
