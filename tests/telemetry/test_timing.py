"""``timing`` and ``metadata`` of results, outcomes, handles and streams."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from runware_ws import (
    ConfigurationError,
    OutcomeUnknown,
    RecoveredBy,
    Result,
    SyncClient,
    TaskTimeout,
    Timing,
)
from runware_ws.emulator import Emulator
from runware_ws.events import TaskResent
from runware_ws.testing.network import MemoryNetwork
from tests import virtual
from tests.client.support import (
    KEY,
    SESSION,
    ample,
    ask,
    bounded,
    client_of,
    memory_client,
    only,
    rest,
)

from .support import Telemetry, attributes_of

pytestmark = pytest.mark.anyio

JUMPS = [pytest.param(virtual.backend(loop), id=loop) for loop in virtual.LOOPS]
in_virtual_time = pytest.mark.parametrize("anyio_backend", JUMPS)


@ample
@in_virtual_time
async def test_the_times_of_a_task_are_those_of_its_life(anyio_backend: Any) -> None:
    async with virtual.serving(KEY, latency="2s") as emulator, client_of(emulator) as client:
        await client.ready()
        began = anyio.current_time()
        result = await client.run(ask())
        timing = result.timing
        assert timing.submitted_at == pytest.approx(began)
        assert timing.written == pytest.approx(0, abs=0.01)
        assert timing.first_delta is None
        assert timing.done == pytest.approx(2, abs=0.05)


@ample
@in_virtual_time
async def test_written_is_the_first_time_of_several(anyio_backend: Any) -> None:
    async with virtual.serving(KEY, latency="1s") as emulator:
        async with client_of(emulator) as client:
            await client.ready()
            emulator.faults.drop_requests(times=1)
            events = client.events()
            handle = await client.submit(ask(), metadata={"order": "17"})
            await anyio.sleep(0.5)
            assert handle.timing.done is None
            assert handle.metadata == {"order": "17"}
            emulator.faults.cut()
            result = await handle
        resent = only(await rest(events), TaskResent)
    assert [dict(event.metadata or {}) for event in resent] == [{"order": "17"}]
    assert result.recovered_by is RecoveredBy.RESUBMIT
    assert result.timing == handle.timing
    assert result.timing.written == pytest.approx(0, abs=0.01)
    assert result.timing.done is not None
    assert result.timing.done > 1.5


@ample
@in_virtual_time
async def test_what_did_not_happen_is_none(anyio_backend: Any) -> None:
    async with virtual.serving(KEY) as emulator:
        emulator.faults.reject_upgrades(503, times=None)
        async with client_of(emulator) as client:
            with pytest.raises(TaskTimeout):
                await client.run(ask(), timeout=1)
            handle = await client.submit(ask(), timeout=1)
            await handle.wait()
            assert handle.timing.written is None
            assert handle.timing.done == pytest.approx(1, abs=0.01)


@ample
@in_virtual_time
async def test_a_stream_says_when_it_began_to_answer(anyio_backend: Any) -> None:
    async with virtual.serving(KEY, latency="1s") as emulator, client_of(emulator) as client:
        async with client.stream(ask(), metadata={"chat": "a"}) as stream:
            async for _ in stream:
                pass
            timing = (await stream.result()).timing
            assert timing.first_delta == stream.time_to_first_delta
        assert timing.written is not None
        assert timing.first_delta is not None
        assert timing.done is not None
        assert 0 <= timing.written < 1 <= timing.first_delta <= timing.done


@ample
@in_virtual_time
async def test_outcomes_have_times_with_a_result_and_with_an_error(anyio_backend: Any) -> None:
    async with virtual.serving(KEY, latency="1s") as emulator, client_of(emulator) as client:
        await client.ready()
        emulator.faults.inject_error("inferenceError")
        tasks: list[Any] = [ask("a"), ask("b"), "no task"]
        outcomes = [outcome async for outcome in client.map(tasks)]
    assert sorted(outcome.ok for outcome in outcomes) == [False, False, True]
    for outcome in outcomes:
        if outcome.task_uuid is None:
            assert outcome.timing == Timing()
        else:
            assert outcome.timing.done is not None
            assert outcome.timing.written is not None


@ample
@in_virtual_time
async def test_the_server_does_not_get_metadata(anyio_backend: Any) -> None:
    network = MemoryNetwork()
    told: Mapping[str, str] = {"customer": "planted-17"}
    async with memory_client(network) as client:
        socket = await network.accept()
        await socket.authenticate(SESSION)
        one = await client.submit(ask(), metadata=told)
        async with client.stream(ask(), metadata=told):
            sent = await socket.receive()
        async with aclosing(client.map([ask()], metadata=lambda _: told)) as outcomes:
            with anyio.move_on_after(1):
                await anext(outcomes)
        sent += await socket.receive()
        assert len(sent) == 3
        assert "planted-17" not in repr(sent)
        assert one.metadata == told


@bounded
async def test_a_result_out_of_the_journal_has_times_too(tmp_path: Path) -> None:
    path, told = tmp_path / "agents.db", Telemetry()
    async with Emulator(KEY, latency="20ms") as emulator:
        async with client_of(emulator, journal=str(path)) as client:
            first = await client.run(ask(), key="order-17")
            assert first.timing.written is not None
        async with client_of(emulator, journal=str(path)) as client:
            told.instrument(client)
            again = await client.run(ask(), key="order-17")
    assert again.recovered_by is RecoveredBy.JOURNAL
    assert again.timing.written is None
    assert again.timing.submitted_at is not None
    assert again.timing.done is not None
    assert again.timing.done >= 0
    (span,) = told.spans
    found = attributes_of(span)
    assert found["runware_ws.task.recovered_by"] == "journal"
    assert found["runware_ws.task.uuid"] == first.task_uuid
    assert found["runware_ws.task.sends"] == 0


def test_times_do_not_count_where_results_are_compared() -> None:
    one, other = Result("u", []), Result("u", [], moments=(1.0, 3.0, None, 4.0))
    assert one == other
    assert pickle.loads(pickle.dumps(other)).timing == Timing(1.0, 2.0, None, 3.0)
    assert one.timing == Timing(None, None, None, None)


BAD: list[tuple[Any, str]] = [
    ("text", "metadata must be a mapping"),
    ([("a", "b")], "metadata must be a mapping"),
    ({"a": 1}, "metadata: a value in it must"),
    ({1: "a"}, "metadata: a name in it must"),
    ({"": "a"}, "metadata: a name in it must"),
    ({"n" * 65: "a"}, "metadata: a name in it must"),
    ({"a": "v" * 257}, "metadata: a value in it must"),
    ({"a": "\ud800"}, "surrogate"),
    ({str(number): "a" for number in range(17)}, "at most 16"),
]


@ample
@in_virtual_time
@pytest.mark.parametrize(("metadata", "words"), BAD)
async def test_bad_metadata_is_refused_before_anything_is_sent(
    anyio_backend: Any, metadata: Any, words: str
) -> None:
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:
        with pytest.raises(ConfigurationError, match=words):
            await client.run(ask(), metadata=metadata)
        with pytest.raises(ConfigurationError, match=words):
            await client.submit(ask(), metadata=metadata)
        with pytest.raises(ConfigurationError, match=words):
            client.stream(ask(), metadata=metadata)
        with pytest.raises(ConfigurationError, match=words):
            async for _ in client.map([ask()], metadata=lambda _: metadata):
                pass
        assert client.stats().submitted == 0


@ample
@in_virtual_time
async def test_metadata_is_a_copy(anyio_backend: Any) -> None:
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:
        given = {"a": "b", "largest": "v" * 256, "empty": ""}
        handle = await client.submit(ask(), metadata=given)
        given.clear()
        assert set(handle.metadata) == {"a", "largest", "empty"}
        assert (await client.submit(ask(), metadata={})).metadata == {}


@ample
@in_virtual_time
async def test_an_unknown_outcome_has_times(anyio_backend: Any) -> None:
    async with virtual.serving(KEY, latency="60m") as emulator, client_of(emulator) as client:
        handle = await client.submit(ask(), timeout=10)
        await anyio.sleep(1)
        emulator.faults.reject_upgrades(503, times=None)
        emulator.faults.cut()
        await handle.wait()
        assert isinstance(handle.error, OutcomeUnknown)
        assert handle.timing.done == pytest.approx(10, abs=0.05)


@pytest.mark.timeout(60)
def test_the_blocking_client_takes_metadata_too() -> None:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(KEY)) as emulator,
        SyncClient(emulator.url, api_key=KEY) as client,
    ):
        assert client.run(ask(), metadata={"a": "b"}).timing.done is not None
        outcomes = list(client.map([ask()], metadata=lambda _: {"a": "b"}))
        assert outcomes[0].timing.done is not None
        with client.stream(ask(), metadata={"a": "b"}) as stream:
            assert stream.result().timing.first_delta is not None
