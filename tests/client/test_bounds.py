"""Whatever a peer says, and however often a caller looks, only so much is kept."""

from __future__ import annotations

import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager

import anyio
import pytest

from runware_ws import ConnectionFailed, EventStream, Result
from runware_ws._io import feed as feed_module
from runware_ws._io.feed import EventFeed
from runware_ws._io.wakeups import Home
from runware_ws.classify import Loss, LossKind
from runware_ws.events import (
    DialFailed,
    Event,
    MalformedFrame,
    ServerNotice,
    SessionLost,
    SlowConsumer,
    UnknownTask,
)
from runware_ws.testing.network import MemoryNetwork
from tests import virtual

from .support import KEY, QUICK, ample, ask, bounded, echoing, memory_client, only, rest, until

pytestmark = pytest.mark.anyio

MIB = 1 << 20


class Grown:
    """How much memory was taken since the beginning of a block, in bytes."""

    by = 0


@contextmanager
def growth() -> Generator[Grown]:
    grown = Grown()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield grown
        grown.by = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@bounded
async def test_a_handle_that_is_looked_at_often_keeps_no_waiter() -> None:
    network = MemoryNetwork()
    async with echoing(network) as server, memory_client(network) as client:
        await client.ready()
        server.mute = True
        handle = await client.submit(ask())
        with growth() as grown:
            for _ in range(3_000):
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await handle
        assert not handle.done
        assert grown.by < MIB // 10


@bounded
async def test_a_client_that_is_looked_at_often_keeps_no_waiter() -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        await network.accept()
        with growth() as grown:
            for _ in range(1_000):
                with pytest.raises(ConnectionFailed):
                    await client.ready(timeout=0)
        assert grown.by < MIB // 10


@bounded
async def test_what_a_server_says_is_cut_in_events() -> None:
    network = MemoryNetwork()
    async with echoing(network) as server, memory_client(network, **QUICK) as client:
        await client.ready()
        events = client.events()
        (socket,) = server.sockets
        long = "x" * MIB
        socket.send({"errors": [{"code": f"c{long}", "message": f"{'y' * 1_010}{KEY}{long}"}]})
        socket.send(f"{{{long}")
        socket.send({"data": [{"taskUUID": long, "text": "t"}]})
        await client.run(ask())
        network.refuse(Loss(LossKind.DIAL_FAILED, detail=f"{'z' * 1_010}{KEY}{long}"))
        socket.end(1012)
        await until(lambda: client.stats().connections == 2)
        await client.aclose()
        found = await rest(events)
    (notice,) = only(found, ServerNotice)
    assert notice.code == f"c{'x' * 1_020}..."
    assert len(notice.message) == 1_024
    assert only(found, UnknownTask) == []
    assert len(only(found, MalformedFrame)) == 1
    (failed,) = only(found, DialFailed)
    assert len(failed.reason) <= 1_024
    assert "z" * 1_000 in failed.reason
    for event in found:
        assert len(repr(event)) < 3_000
        assert KEY[:8] not in repr(event)


def _reader(limit: int) -> tuple[EventFeed, EventStream]:
    feed = EventFeed(limit, Home())
    return feed, feed.subscribe()


@virtual.only()
@ample
async def test_events_that_wait_are_bounded_in_bytes() -> None:
    feed, slow = _reader(1_024)
    with growth() as grown:
        for number in range(60):
            uuids = tuple(f"{number:08x}-0000-4000-8000-{n:012x}" for n in range(5_000))
            feed.publish(SessionLost(at=float(number), session_uuid=None, at_risk=uuids))
    assert grown.by < 20 * MIB
    first = await anext(slow)
    assert isinstance(first, SlowConsumer)
    feed.close()
    left: list[Event] = await rest(slow)
    assert first.dropped + len(left) == 60
    assert left[-1].at == 59.0
    assert len(left) > 20


@bounded
async def test_events_that_were_read_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MOST_BYTES", 2_000)
    feed, reader = _reader(1_024)
    for number in range(100):
        # One alone always comes, so there are two.
        for each in (2.0 * number, 2.0 * number + 1):
            feed.publish(ServerNotice(at=each, code="c", message="m" * 500))
        assert [(await anext(reader)).at for _ in range(2)] == [2.0 * number, 2.0 * number + 1]


@bounded
async def test_an_event_over_the_limit_by_itself_still_comes() -> None:
    feed, reader = _reader(1_024)
    feed.publish(ServerNotice(at=1.0, code="c", message="m"))
    giant = SessionLost(at=2.0, session_uuid=None, at_risk=("u",) * 400_000)
    feed.publish(giant)
    assert isinstance(await anext(reader), SlowConsumer)
    assert await anext(reader) is giant
    feed.publish(ServerNotice(at=3.0, code="c", message="m"))
    assert (await anext(reader)).at == 3.0


@bounded
async def test_results_come_in_the_order_of_their_index() -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        socket = await network.accept()
        await socket.authenticate("5d7c1a52-7a0c-4c39-9d3d-3d9b6f0c2a11")

        async def told(*places: float | str | None) -> tuple[Result, list[str]]:
            handle = await client.submit(ask(number_results=3))
            arrived: list[str] = []
            async with anyio.create_task_group() as group:

                async def read() -> None:
                    arrived.extend([str(item.text) async for item in handle])

                group.start_soon(read)
                (sent,) = await socket.receive()
                for number, place in enumerate(places):
                    item = {"taskType": "textInference", "taskUUID": sent["taskUUID"]}
                    item["text"] = f"{number}"
                    index = {} if place is None else {"resultIndex": place}
                    socket.send({"data": [{**item, **index}]})
            return await handle, arrived

        result, arrived = await told(2, 0, 1)
        assert [item.text for item in result.items] == ["1", "2", "0"]
        assert [item.result_index for item in result.items] == [0, 1, 2]
        assert result.text == "1"
        assert arrived == ["0", "1", "2"]
        result, _ = await told("10", 0.0, "9")
        assert [item.text for item in result.items] == ["1", "2", "0"]
        assert [item.result_index for item in result.items] == [0, 9, 10]
        result, arrived = await told(2, None, 1)
        assert [item.text for item in result.items] == arrived == ["0", "1", "2"]
