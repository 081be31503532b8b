"""``client.events()`` and ``client.stats()``."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from runware_ws import EventStream
from runware_ws.emulator import Emulator
from runware_ws.events import (
    Closed,
    Connected,
    Dialing,
    Disconnected,
    Event,
    MalformedFrame,
    ServerNotice,
    SessionResumed,
    SessionStarted,
    SlowConsumer,
)
from runware_ws.testing.network import MemoryNetwork

from .support import (
    KEY,
    Gate,
    ask,
    bounded,
    client_of,
    connected,
    echoing,
    memory_client,
    only,
    rest,
    until,
)

pytestmark = pytest.mark.anyio


def grown(events: list[Event], size: int) -> Callable[[], bool]:
    """Whether so many events came."""
    return lambda: len(events) == size


def assert_paired(events: list[Event]) -> None:
    """State events alternate, in pairs of one generation, in the order of time."""
    states = [event for event in events if isinstance(event, (Connected, Disconnected))]
    for place, event in enumerate(states):
        assert isinstance(event, Disconnected if place % 2 else Connected)
        if place % 2:
            assert event.generation == states[place - 1].generation
    assert len(states) % 2 == 0
    generations = [event.generation for event in only(events, Dialing)]
    assert generations == sorted(set(generations))
    times = [event.at for event in events]
    assert times == sorted(times)
    assert isinstance(events[-1], Closed)
    assert len(only(events, Closed)) == 1


@bounded
async def test_readers_share_the_events_and_all_end() -> None:
    network = MemoryNetwork()
    found: list[Event] = []

    async def read(events: EventStream) -> None:
        async for event in events:
            found.append(event)  # noqa: PERF401

    async with (
        echoing(network),
        anyio.create_task_group() as group,
        memory_client(network) as client,
    ):
        events = client.events()
        for _ in range(3):
            group.start_soon(read, events)
        await client.ready()
    assert_paired(found)


@bounded
async def test_events_of_a_life_with_cuts() -> None:
    async with Emulator(KEY, latency="5ms-30ms") as emulator:
        async with client_of(emulator) as client:
            events = client.events()
            for round_number in range(1, 4):
                handles = [await client.submit(ask(f"{n}")) for n in range(5)]
                await client.ready()
                emulator.faults.cut(1012 if round_number == 2 else None)
                for handle in handles:
                    await handle
                await until(connected(client, round_number + 1))
        found = await rest(events)
    assert_paired(found)
    opened = only(found, Connected)
    assert [event.resumed for event in opened] == [False, True, True, True]
    assert [event.code for event in only(found, Disconnected)] == [None, 1012, None, None]
    (started,) = only(found, SessionStarted)
    resumed = only(found, SessionResumed)
    assert {event.session_uuid for event in resumed} == {started.session_uuid}
    assert len(resumed) == 3


@bounded
async def test_a_slow_reader_is_told_once_and_harms_nobody() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator, event_buffer=4) as client:
        await client.ready()
        slow, quick = client.events(), client.events()
        received: list[Event] = []

        async def read() -> None:
            async for event in quick:
                received.append(event)  # noqa: PERF401

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            for number in range(20):
                emulator.faults.send_error("internalServerError", f"{number}")
                await until(grown(received, number + 1))
            first = await anext(slow)
            assert isinstance(first, SlowConsumer)
            assert first.dropped == 16
            notices = [await anext(slow) for _ in range(4)]
            assert [e.message for e in only(notices, ServerNotice)] == ["16", "17", "18", "19"]
            assert only(received, SlowConsumer) == []
            await client.aclose()
        assert len(only(received, ServerNotice)) == 20
        assert only(await rest(slow), SlowConsumer) == []


@bounded
async def test_a_cancelled_reader_loses_nothing() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        await client.ready()
        events = client.events()
        with anyio.move_on_after(0.01) as scope:
            await anext(events)
        assert scope.cancelled_caught
        emulator.faults.send_error("internalServerError", "one")
        event = await anext(events)
        assert isinstance(event, ServerNotice)
        assert event.message == "one"


@bounded
async def test_events_after_the_end() -> None:
    async with Emulator(KEY) as emulator:
        async with client_of(emulator) as client:
            await client.ready()
        assert await rest(client.events()) == []


@pytest.mark.parametrize(
    "frame",
    ["{", b"\x00\xff", "[]", "17", '{"nothing": 1}', '{"data": ["text"]}', "[" * 3_000],
    ids=["broken", "binary", "array", "number", "neither", "item", "deep"],
)
@bounded
async def test_a_frame_that_cannot_be_read_is_skipped(frame: str | bytes) -> None:
    async with Emulator(KEY) as emulator:
        async with client_of(emulator) as client:
            await client.ready()
            events = client.events()
            emulator.faults.send_raw(frame)
            await client.run(ask())
            stats = client.stats()
            assert (stats.malformed, stats.connections) == (1, 1)
        (event,) = only(await rest(events), MalformedFrame)
        assert event.count == 1
        assert event.reason
        assert len(event.sample) < 700


@bounded
async def test_stats_count_what_happened() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, max_in_flight=2) as client:
            assert client.stats().state in ("idle", "dialing")
            handles = [await client.submit(ask()) for _ in range(2)]
            async with anyio.create_task_group() as group:
                group.start_soon(client.run, ask())
                await until(lambda: gate.running == 2)
                stats = client.stats()
                assert (stats.submitted, stats.pending, stats.in_flight) == (3, 3, 2)
                assert stats.state == "ready"
                emulator.faults.cut()
                await until(lambda: client.stats().connections == 2)
                gate.open()
            for handle in handles:
                await handle
            stats = client.stats()
            assert (stats.answered, stats.pending, stats.in_flight) == (3, 0, 0)
            assert (stats.dials, stats.connections, stats.reconnects, stats.resumes) == (2, 2, 1, 1)
            assert sum(stats.recovered_by.values()) == 3
            assert stats.recovered_by["replay"] >= 1
            assert stats.bytes_in > 0
            assert stats.bytes_out > 0
            assert stats.frames_out <= emulator.stats.frames_in
            assert stats.sessions_lost == stats.resends == stats.strays == 0
