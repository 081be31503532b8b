"""Sessions: what a socket leaves behind, and who gets it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import anyio
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from runware_ws.emulator import Emulator, EmulatorOptions
from tests import virtual

from .wire import KEY, Wire, details, raw, ready, serving, text_task, until

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


async def leave_running(
    emulator: Emulator, number: int = 1, **fields: Any
) -> tuple[str, list[Any]]:
    """Send tasks on a socket that is cut before they end; returns session and tasks."""
    tasks = [text_task(f"left {index}", **fields) for index in range(number)]
    async with ready(emulator) as (wire, session):
        await wire.send(*tasks)
        await until(lambda: emulator.stats.tasks_accepted >= number)
        emulator.faults.cut()
        assert await wire.closed() == 1006
    return session, tasks


def uuids(items: list[dict[str, Any]]) -> list[str]:
    return [item["taskUUID"] for item in items]


async def test_buffered_results_are_replayed_after_the_reply() -> None:
    async with serving(api_key=KEY, latency=0.02) as emulator:
        session, tasks = await leave_running(emulator, 3)
        await until(lambda: emulator.stats.buffered == 3)
        async with raw(emulator) as wire:
            assert await wire.auth(session) == session
            assert uuids(await wire.items(3)) == uuids(tasks)
            await wire.silence()
        assert emulator.stats.resumes == 1
        assert emulator.stats.replayed == 3
        assert emulator.stats.executed_twice == []


async def test_replay_before_the_reply_in_one_frame() -> None:
    options = EmulatorOptions(replay="before-auth", replay_framing="batched", replay_batch=2)
    async with serving(api_key=KEY, latency=0.01, options=options) as emulator:
        session, tasks = await leave_running(emulator, 3)
        await until(lambda: emulator.stats.buffered == 3)
        async with raw(emulator) as wire:
            await wire.send(
                {"taskType": "authentication", "apiKey": KEY, "connectionSessionUUID": session}
            )
            frames = [await wire.recv() for _ in range(3)]
            assert [len(frame["data"]) for frame in frames] == [2, 1, 1]
            assert uuids(frames[0]["data"] + frames[1]["data"]) == uuids(tasks)
            assert frames[2]["data"][0]["connectionSessionUUID"] == session


async def test_running_tasks_deliver_to_the_resumed_socket() -> None:
    async with serving(api_key=KEY, latency=0.2) as emulator:
        session, tasks = await leave_running(emulator)
        async with ready(emulator, session) as (wire, resumed):
            assert resumed == session
            assert uuids([await wire.item()]) == uuids(tasks)
        assert emulator.stats.replayed == 0
        assert emulator.stats.results_sent == 1


async def test_unknown_and_foreign_sessions() -> None:
    async with serving(api_key=[KEY, "other"]) as emulator:
        async with ready(emulator) as (_, session):
            pass
        for asked, key in ((str(uuid4()), KEY), (session, "other")):
            async with raw(emulator) as wire:
                assert await wire.auth(asked, key) not in (asked, session)
        emulator.options = EmulatorOptions(unknown_session="error")
        async with raw(emulator) as wire:
            task = {"taskType": "authentication", "apiKey": KEY}
            await wire.send({**task, "connectionSessionUUID": str(uuid4())})
            error = await wire.error()
            assert error["taskType"] == "authentication"
            assert error["parameter"] == "connectionSessionUUID"
            assert await wire.auth() != session
        assert emulator.stats.resumes_refused == 3


async def test_the_buffer_ends() -> None:
    options = EmulatorOptions(buffer_seconds=0.05)
    async with serving(api_key=KEY, latency=0.01, options=options) as emulator:
        session, tasks = await leave_running(emulator)
        await until(lambda: emulator.stats.expired_results == 1)
        async with ready(emulator, session) as (wire, fresh):
            assert fresh != session
            await wire.silence()
            await wire.send(details(tasks[0]))
            assert (await wire.item())["taskUUID"] == tasks[0]["taskUUID"]


@pytest.mark.parametrize("keep", [True, False])
async def test_a_clean_close_keeps_the_buffer_or_not(keep: bool) -> None:
    options = EmulatorOptions(keep_buffer_on_close=keep)
    async with serving(api_key=KEY, latency=0.1, options=options) as emulator:
        async with ready(emulator) as (wire, session):
            await wire.send(text_task())
            await until(lambda: emulator.stats.tasks_accepted == 1)
        await until(lambda: emulator.live_sockets == 0)
        async with ready(emulator, session) as (wire, resumed):
            assert (resumed == session) == keep
            if keep:
                await wire.item()
            else:
                await wire.silence(0.15)


async def test_a_second_socket_takes_over() -> None:
    async with (
        serving(api_key=KEY, latency=0.05) as emulator,
        ready(emulator) as (first, session),
    ):
        task = text_task()
        await first.send(task)
        await until(lambda: emulator.stats.tasks_accepted == 1)
        async with ready(emulator, session) as (second, _):
            assert (await second.item())["taskUUID"] == task["taskUUID"]
            assert await first.closed() == 1000
            assert emulator.stats.session_takeovers == 1


async def test_a_redial_after_the_client_left_is_no_takeover() -> None:
    async with serving(api_key=KEY) as emulator:
        async with ready(emulator) as (_, session):
            pass
        async with ready(emulator, session):
            await anyio.sleep(emulator.options.takeover_grace + 0.05)
        assert emulator.stats.session_takeovers == 0


async def test_results_written_into_a_dying_socket_may_arrive_twice() -> None:
    async with serving(api_key=KEY) as emulator:
        async with ready(emulator) as (wire, session):
            task = text_task()
            await wire.send(task)
            await wire.item()
            emulator.faults.cut()
        async with ready(emulator, session) as (wire, _):
            assert (await wire.item())["taskUUID"] == task["taskUUID"]
        assert emulator.stats.executed == 1


async def test_old_results_are_not_sent_again() -> None:
    async with serving(api_key=KEY) as emulator:
        emulator.options = replace(emulator.options, dying_window=0.0)
        async with ready(emulator) as (wire, session):
            await wire.send(text_task())
            await wire.item()
            await anyio.sleep(0.01)
            emulator.faults.cut()
        async with ready(emulator, session) as (wire, _):
            await wire.silence()


async def test_results_lost_with_a_dying_socket_are_in_the_archive_only() -> None:
    options = EmulatorOptions(dying_results="lost", dying_window=0.1)
    async with serving(api_key=KEY, options=options) as emulator:
        task = text_task()
        async with ready(emulator) as (wire, session):
            emulator.faults.cut()
            await wire.send(task)
            assert await wire.closed() == 1006
        assert emulator.stats.lost_results == 1
        async with ready(emulator, session) as (wire, resumed):
            assert resumed == session
            await wire.silence()
            await wire.send(task)
            assert (await wire.error())["code"] == "conflictTaskUUID"
            await wire.send(details(task))
            assert (await wire.item())["response"]["data"][0]["taskUUID"] == task["taskUUID"]


async def test_requests_lost_with_a_dying_socket_were_never_received() -> None:
    options = EmulatorOptions(dying_requests="lost", dying_window=0.1)
    async with serving(api_key=KEY, latency=0.02, options=options) as emulator:
        before, during = text_task(), text_task()
        async with ready(emulator) as (wire, session):
            await wire.send(before)
            await until(lambda: emulator.stats.tasks_accepted == 1)
            emulator.faults.cut()
            await wire.send(during)
            assert (await wire.item())["taskUUID"] == before["taskUUID"]
            assert await wire.closed() == 1006
        assert emulator.stats.lost_requests == 1
        async with ready(emulator, session) as (wire, _):
            await wire.items(1)  # the one before: written within the window
            await wire.send(during)
            assert (await wire.item())["taskUUID"] == during["taskUUID"]
        assert emulator.stats.executed_twice == []


async def test_acknowledgements_are_buffered_or_not() -> None:
    for keep in (True, False):
        options = EmulatorOptions(buffer_acks=keep, dying_window=5)
        async with serving(api_key=KEY, options=options) as emulator:
            session, tasks = await leave_running(emulator, deliveryMethod="async")
            async with ready(emulator, session) as (wire, _):
                if keep:
                    assert uuids([await wire.item()]) == uuids(tasks)
                else:
                    await wire.silence()


async def test_two_sessions_on_one_socket() -> None:
    async with serving(api_key=KEY, latency=0.02) as emulator:
        first, tasks = await leave_running(emulator)
        async with ready(emulator) as (wire, second):
            assert first != second
            assert await wire.auth(first) == first
            assert uuids([await wire.item()]) == uuids(tasks)
            assert await wire.auth(first) == first
        assert emulator.stats.session_takeovers == 0


@pytest.mark.slow
@pytest.mark.parametrize("mid_frame", [False, True])
@pytest.mark.parametrize("merge", [1, 7])
async def test_no_accepted_task_is_lost_however_often_the_socket_is_cut(
    mid_frame: bool, merge: int
) -> None:
    options = EmulatorOptions(merge_limit=merge, dying_window=1.0)
    async with serving(api_key=KEY, latency="0ms-20ms", options=options, seed=7) as emulator:
        received: set[str] = set()
        session: str | None = None

        async def drain(wire: Wire) -> None:
            while True:
                received.update(uuids((await wire.recv())["data"]))

        emulator.faults.cut_every(0.03, jitter=0.5, mid_frame=mid_frame)
        for _ in range(8):
            try:
                async with raw(emulator) as wire:
                    await wire.send(auth_task(session))
                    reply = (await wire.recv())["data"][0]
                    session = str(reply["connectionSessionUUID"])
                    for _ in range(20):
                        await wire.send(*(text_task() for _ in range(10)))
                    await drain(wire)
            except (ConnectionClosed, InvalidHandshake, OSError):
                continue
        emulator.faults.stop_cutting()
        await anyio.sleep(0.05)
        async with ready(emulator, session) as (wire, _):
            with anyio.move_on_after(0.2):
                await drain(wire)
        assert emulator.stats.cuts >= 8
        assert set(emulator.stats.executions) - received == set()
        assert emulator.stats.executions.keys() >= received
        assert emulator.stats.executed_twice == []
        assert emulator.stats.lost_results == emulator.stats.expired_results == 0


def auth_task(session: str | None) -> dict[str, Any]:
    task = {"taskType": "authentication", "apiKey": KEY}
    return task if session is None else {**task, "connectionSessionUUID": session}


async def test_what_a_closing_client_did_not_read_is_kept() -> None:
    async with serving(api_key=KEY) as emulator:
        async with ready(emulator) as (wire, session):
            emulator.faults.merge(window=0.1)  # the result waits on the server's side
            await wire.send(text_task())
            await until(lambda: emulator.stats.tasks_accepted == 1)
        await until(lambda: emulator.live_sockets == 0)
        async with ready(emulator, session) as (wire, _):
            await wire.item()
