"""``drain`` and ``aclose``."""

from __future__ import annotations

import anyio
import pytest

from runware_ws import AuthenticationError, Client, ClientClosed, DrainReport, Submitted, TaskHandle
from runware_ws.emulator import Emulator
from runware_ws.events import Closed, Disconnected, Draining
from tests import virtual

from .support import (
    KEY,
    Gate,
    ask,
    assert_answers,
    bounded,
    client_of,
    only,
    rest,
    until,
)

pytestmark = pytest.mark.anyio


# Drain


@bounded
async def test_drain_finishes_and_refuses_new_tasks() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            events = client.events()
            tasks = [ask(f"{n}") for n in range(4)]
            handles = [await client.submit(task) for task in tasks]
            reports: list[DrainReport] = []

            async def drain() -> None:
                reports.append(await client.drain())

            async with anyio.create_task_group() as group:
                group.start_soon(drain)
                group.start_soon(drain)
                await until(lambda: gate.running == 4)
                for verb in (client.run, client.submit):
                    with pytest.raises(ClientClosed, match="draining") as caught:
                        await verb(ask())
                    assert caught.value.submitted is Submitted.NO
                assert reports == []
                gate.open()
            assert reports == [DrainReport(4, ()), DrainReport(4, ())]
            assert reports[0].clean
            for handle, task in zip(handles, tasks, strict=True):
                assert_answers(await handle, task)
            assert await client.drain() == DrainReport(0, ())
            with pytest.raises(ClientClosed):
                await client.run(ask())
        assert [event.pending for event in only(await rest(events), Draining)] == [4]


@virtual.only()
@bounded
async def test_drain_in_time_tells_what_is_left_and_cancels_nothing() -> None:
    async with virtual.serving(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            tasks = [ask(f"{n}") for n in range(2)]
            handles = [await client.submit(task) for task in tasks]
            report = await client.drain(timeout=0.05)
            assert report.finished == 0
            assert sorted(report.unfinished) == sorted(task.task_uuid for task in tasks)
            assert not report.clean
            assert not any(handle.done for handle in handles)
            gate.open()
            assert await client.drain(timeout=5) == DrainReport(2, ())
            assert_answers(await handles[0], tasks[0])


@bounded
async def test_drain_across_a_reconnect() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            tasks = [ask(f"{n}") for n in range(5)]
            handles = [await client.submit(task) for task in tasks]
            await until(lambda: gate.running == 5)
            emulator.faults.cut()
            async with anyio.create_task_group() as group:
                group.start_soon(client.drain)
                await until(lambda: client.stats().connections == 2)
                gate.open()
            for handle, task in zip(handles, tasks, strict=True):
                assert_answers(handle.outcome(), task)
        assert emulator.stats.executed_twice == []


@bounded
async def test_closing_ends_a_drain() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            handle = await client.submit(ask())
            async with anyio.create_task_group() as group:
                group.start_soon(client.drain)
                await until(lambda: gate.running)
                await client.aclose()
            with pytest.raises(ClientClosed):
                await handle


# Close


@bounded
async def test_closing_ends_every_task() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, max_in_flight=2) as client:
            events = client.events()
            sent = [await client.submit(ask(f"{n}")) for n in range(2)]
            waited: list[str] = []

            async def wait() -> None:
                with pytest.raises(ClientClosed) as caught:
                    await client.run(ask("waits for room"))
                assert caught.value.submitted is Submitted.NO
                waited.append("for room")

            async def close() -> None:
                await client.aclose()

            async with anyio.create_task_group() as group:
                await until(lambda: gate.running == 2)
                group.start_soon(wait)
                await until(lambda: client.stats().pending == 3)
                group.start_soon(close)
                group.start_soon(close)
            for handle in sent:
                with pytest.raises(ClientClosed) as caught:
                    await handle
                assert caught.value.submitted is Submitted.MAYBE
                assert caught.value.task_uuid == handle.uuid
            assert waited == ["for room"]
            await client.aclose()
            stats = client.stats()
            assert (stats.pending, stats.in_flight, stats.closed) == (0, 0, 3)
            assert not client.connected
            with pytest.raises(ClientClosed):
                await client.run(ask())
            with pytest.raises(ClientClosed):
                await client.ready()
        found = await rest(events)
        assert isinstance(found[-1], Closed)
        assert found[-1].reason == ""
        assert len(only(found, Disconnected)) == 1
    assert emulator.live_sockets == 0


@virtual.only()
@pytest.mark.parametrize("mode", ["hold", "drop"])
@bounded
async def test_closing_is_bounded_with_a_dead_peer(mode: str) -> None:
    async with virtual.serving(KEY) as emulator:
        async with client_of(emulator, close_timeout=0.1) as client:
            await client.ready()
            emulator.faults.blackhole("hold" if mode == "hold" else "drop")
            handle = await client.submit(ask())
            await anyio.sleep(0.01)
            started = anyio.current_time()
            await client.aclose()
            assert anyio.current_time() - started == pytest.approx(0.1)
            with pytest.raises(ClientClosed):
                await handle
        assert anyio.current_time() - started == pytest.approx(0.1)


@bounded
async def test_closing_at_once() -> None:
    async with Emulator(KEY) as emulator:
        async with client_of(emulator):
            pass
        async with client_of(emulator) as client:
            await client.aclose()
        await until(lambda: emulator.live_sockets == 0)


@bounded
async def test_closing_between_dials() -> None:
    async with Client("ws://127.0.0.1:9/v1", api_key=KEY, proxy=None) as client:
        await until(lambda: client.stats().state == "backoff")
        with anyio.fail_after(1):
            await client.aclose()
        assert client.stats().state == "closed"


@bounded
async def test_closing_after_a_failure() -> None:
    async with Emulator("another key") as emulator, client_of(emulator) as client:
        with pytest.raises(AuthenticationError):
            await client.ready()
        with anyio.fail_after(1):
            await client.aclose()
        with pytest.raises(AuthenticationError):
            await client.ready()


@bounded
async def test_an_exception_of_the_body_comes_out_as_it_is() -> None:
    async with Emulator(KEY) as emulator:
        handles: list[TaskHandle] = []

        async def life() -> None:
            async with client_of(emulator) as client:
                handles.append(await client.submit(ask()))
                raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await life()
        assert handles[0].done


@virtual.only()
@bounded
async def test_leaving_while_cancelled() -> None:
    async with virtual.serving(KEY) as emulator:
        gate = Gate(emulator)
        client = client_of(emulator, close_timeout=0.5)
        handles: list[TaskHandle] = []
        with anyio.move_on_after(0.1) as scope:
            async with client:
                handles.append(await client.submit(ask()))
                await until(lambda: gate.running)
                await handles[0]
        assert scope.cancelled_caught
        assert handles[0].done
        assert client.stats().pending == 0
        await until(lambda: emulator.live_sockets == 0)
