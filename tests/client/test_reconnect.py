"""Cuts with tasks in flight: every answer once, each to its own question."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import anyio
import pytest
import tenacity

from runware_ws import Client, InvalidTask, ProtocolError, RecoveredBy
from runware_ws.emulator import Emulator, EmulatorOptions
from runware_ws.events import Connected, SessionLost
from tests import virtual

from .support import (
    KEY,
    Gate,
    ask,
    assert_answers,
    bounded,
    client_of,
    connected,
    only,
    rest,
    until,
)

pytestmark = pytest.mark.anyio

CUTS: dict[str, dict[str, Any]] = {
    "abort": {},
    "reset": {"reset": True},
    "1000": {"code": 1000},
    "1001": {"code": 1001},
    "1005": {"code": 1005},
    "1011": {"code": 1011},
    "1012": {"code": 1012},
    "3999": {"code": 3999},
}


async def run_many(client: Client, count: int) -> None:
    """Run tasks of all kinds; each one's answer must be its own, and whole."""

    async def one(number: int) -> None:
        delivery = "async" if number % 5 == 4 else None
        task = ask(f"{number}", number_results=1 + number % 3, delivery_method=delivery)
        assert_answers(await client.run(task), task)

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(one, number)


@pytest.mark.parametrize("cut", CUTS)
@bounded
async def test_cuts_with_tasks_in_flight(cut: str) -> None:
    async with Emulator(KEY, latency="5ms-80ms") as emulator:
        async with client_of(emulator, poll_first=0.05) as client:
            events = client.events()
            emulator.faults.cut_after(results=8, times=3, **CUTS[cut])
            await run_many(client, 40)
            stats = client.stats()
            assert stats.answered == stats.submitted == 40
            assert (stats.pending, stats.in_flight, stats.strays) == (0, 0, 0)
            assert emulator.stats.cuts == 3
            await until(lambda: client.stats().connections == 4)
        opened = only(await rest(events), Connected)
        assert [event.resumed for event in opened] == [False, True, True, True]
    assert emulator.stats.executed == 40
    assert emulator.stats.executed_twice == []
    assert emulator.stats.resumes == 3
    assert emulator.stats.resumes_refused == 0


@bounded
async def test_cuts_in_mid_frame() -> None:
    async with (
        Emulator(KEY, latency="5ms-80ms") as emulator,
        client_of(emulator, poll_first=0.05) as client,
    ):

        async def cut() -> None:
            for number in range(1, 5):
                await until(partial(enough, 8 * number))
                assert emulator.faults.cut(mid_frame=True) == 1
                await until(connected(client, number + 1))

        def enough(answers: int) -> bool:
            return client.stats().answered >= answers

        async with anyio.create_task_group() as group:
            group.start_soon(cut)
            await run_many(client, 40)
        assert client.stats().answered == 40
        assert client.stats().malformed == 0
    assert emulator.stats.executed == 40
    assert emulator.stats.executed_twice == []


@virtual.only()
@pytest.mark.parametrize("replay", ["after-auth", "before-auth"])
@pytest.mark.parametrize("framing", ["single", "batched"])
@bounded
async def test_replays_of_every_kind(
    replay: Literal["after-auth", "before-auth"], framing: Literal["single", "batched"]
) -> None:
    options = EmulatorOptions(replay=replay, replay_framing=framing)
    async with virtual.serving(KEY, options=options) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, backoff=tenacity.wait_fixed(0.1)) as client:
            tasks = [ask(f"{n}") for n in range(12)]
            handles = [await client.submit(task) for task in tasks]
            await until(lambda: gate.running == 12)
            emulator.faults.duplicate_replay()
            emulator.faults.die_during_replay(after=4)
            emulator.faults.cut()
            gate.open()
            for handle, task in zip(handles, tasks, strict=True):
                result = await handle
                assert_answers(result, task)
                assert result.recovered_by is RecoveredBy.REPLAY
            assert client.stats().strays == 0
    assert emulator.stats.executed_twice == []


@virtual.only()
@pytest.mark.parametrize("lost", ["results", "requests"])
@bounded
async def test_what_dies_with_the_socket_comes_home_by_another_road(lost: str) -> None:
    async with (
        virtual.serving(KEY) as emulator,
        client_of(emulator, question_timeout=0.5) as client,
    ):
        await client.ready()
        if lost == "results":
            emulator.faults.lose_results_on_cut(window=0.05)
        else:
            emulator.faults.lose_requests_on_cut(window=0.05)
        emulator.faults.cut()
        task = ask()
        result = await client.run(task)
        assert_answers(result, task)
        want = RecoveredBy.ARCHIVE if lost == "results" else RecoveredBy.RESUBMIT
        assert result.recovered_by is want
    assert emulator.stats.executions == {task.task_uuid: 1}


@virtual.only()
@pytest.mark.parametrize("unknown", ["new", "error"])
@pytest.mark.parametrize("finished", [True, False])
@bounded
async def test_a_forgotten_session(unknown: Literal["new", "error"], finished: bool) -> None:
    async with virtual.serving(KEY, options=EmulatorOptions(unknown_session=unknown)) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, resend_early=False) as client:
            events = client.events()
            tasks = [ask(f"{n}") for n in range(6)]
            handles = [await client.submit(task) for task in tasks]
            await until(lambda: gate.running == 6)
            before = client.session_uuid
            if finished:
                emulator.faults.cut()
                gate.open()
            emulator.faults.forget_sessions()
            if not finished:
                emulator.faults.cut()
                await until(lambda: client.stats().connections == 2)
                gate.open()
            for handle, task in zip(handles, tasks, strict=True):
                result = await handle
                assert_answers(result, task)
                assert result.recovered_by is RecoveredBy.ARCHIVE
            assert client.session_uuid not in (before, None)
            assert client.stats().sessions_lost == 1
        (lost,) = only(await rest(events), SessionLost)
        assert lost.session_uuid == before
        assert set(lost.at_risk) == {task.task_uuid for task in tasks}
    assert emulator.stats.executed_twice == []
    assert emulator.stats.executed == 6


@virtual.only()
@bounded
async def test_cuts_again_and_again() -> None:
    async with (
        virtual.serving(KEY, latency="5ms-60ms") as emulator,
        client_of(emulator, poll_first=0.05) as client,
    ):
        emulator.faults.cut_every(0.07, jitter=0.5)
        for _ in range(5):
            await run_many(client, 12)
        emulator.faults.heal()
        assert client.stats().answered == 60
        assert client.stats().connections > 3
    assert emulator.stats.executed_twice == []
    assert emulator.stats.executed == 60


@bounded
async def test_tasks_submitted_without_a_connection_go_out_when_there_is_one() -> None:
    async with Emulator(KEY) as emulator:
        emulator.faults.reject_upgrades(503, times=3)
        async with client_of(emulator) as client:
            handles = [await client.submit(ask()) for _ in range(3)]
            for handle in handles:
                await handle
            assert client.stats().dials == 4
            assert client.stats().recovered_by == {"live": 3}


@virtual.only()
@bounded
async def test_retry_after_is_honoured() -> None:
    async with virtual.serving(KEY) as emulator:
        emulator.faults.reject_upgrades(429, retry_after=0.2)
        async with client_of(emulator) as client:
            await client.ready()
            first, second = emulator.stats.dials
            assert second - first == pytest.approx(0.2 + 0.01)  # and the backoff


@bounded
async def test_a_session_taken_over_from_an_earlier_client() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        tasks = [ask(f"{n}", number_results=2) for n in range(3)]
        async with client_of(emulator) as earlier:
            for task in tasks:
                await earlier.submit(task)
            await until(lambda: gate.running == 6)
            session = earlier.session_uuid
            assert session is not None
        gate.open()
        await until(lambda: emulator.stats.buffered == 6)
        async with client_of(emulator, session_uuid=session) as client:
            await client.ready()
            assert client.session_uuid == session
            assert client.stats().resumes == 1
            await until(lambda: client.stats().strays == 6)
            for task in tasks:
                result = client.claim(task.task_uuid)
                assert result is not None
                assert_answers(result, task)
                assert client.claim(task.task_uuid) is None
            # The session is good for more.
            assert_answers(await client.run(more := ask("more")), more)
    assert emulator.stats.executed == 4


@bounded
async def test_a_result_over_the_frame_limit_fails_its_own_task_only() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, max_frame_bytes=20_000) as client:
            emulator.faults.giant_result(40_000)
            giant = await client.submit(ask("giant"))
            await until(lambda: gate.running == 1)
            others = [ask(f"{n}") for n in range(4)]
            gate.open()
            handles = [await client.submit(task) for task in others]
            with pytest.raises(ProtocolError, match="max_frame_bytes") as caught:
                await giant
            assert caught.value.task_uuid == giant.uuid
            for handle, task in zip(handles, others, strict=True):
                assert_answers(await handle, task)
            assert_answers(await client.run(after := ask("after")), after)
    assert emulator.stats.executed_twice == []


@bounded
async def test_a_request_over_the_limit_of_the_server_fails_its_own_task_only() -> None:
    options = EmulatorOptions(max_frame_bytes=10_000)
    async with Emulator(KEY, options=options) as emulator, client_of(emulator) as client:
        others = [ask(f"{n}") for n in range(4)]
        handles = [await client.submit(task) for task in others]
        with pytest.raises(ProtocolError, match="refuses a frame"):
            await client.run(ask("x" * 20_000))
        for handle, task in zip(handles, others, strict=True):
            assert_answers(await handle, task)
        await client.ready()
        connections = client.stats().connections
        with pytest.raises(InvalidTask, match="server refused"):
            await client.run(ask("x" * 20_000))
        assert_answers(await client.run(after := ask("after")), after)
        assert client.stats().connections == connections <= 4
    assert emulator.stats.executed_twice == []


@virtual.only()
@bounded
async def test_a_task_written_into_a_black_hole_is_recovered() -> None:
    async with virtual.serving(KEY) as emulator:
        limits = {"ping_after": 0.1, "ping_timeout": 0.1, "open_timeout": 0.3}
        async with client_of(emulator, **limits) as client:
            await client.ready()
            emulator.faults.blackhole()
            task = ask()
            handle = await client.submit(task)
            await until(lambda: client.stats().state != "ready")
            emulator.faults.heal()
            assert_answers(await handle, task)
    assert emulator.stats.executions == {task.task_uuid: 1}
