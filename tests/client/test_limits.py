"""Timeouts, cancellation and bounded admission."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

import anyio
import pytest

from runware_ws import (
    ConfigurationError,
    RunwareError,
    Submitted,
    TaskCancelled,
    TaskState,
    TaskTimeout,
)
from runware_ws.client.handle import TaskHandle
from runware_ws.emulator import Emulator
from runware_ws.events import LateResult, UnknownTask
from runware_ws.testing.network import MemoryNetwork
from tests import virtual

from .support import (
    KEY,
    Gate,
    ask,
    assert_answers,
    bounded,
    client_of,
    memory_client,
    only,
    rest,
    until,
)

pytestmark = pytest.mark.anyio


# Timeouts


@virtual.only()
@bounded
async def test_a_late_result_can_be_claimed_once() -> None:
    async with virtual.serving(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            events = client.events()
            task = ask()
            started = anyio.current_time()
            with pytest.raises(TaskTimeout) as caught:
                await client.run(task, timeout=0.1)
            assert anyio.current_time() - started == pytest.approx(0.1, abs=1e-3)
            assert isinstance(caught.value, TimeoutError)
            assert caught.value.task_uuid == task.task_uuid
            assert caught.value.submitted is Submitted.MAYBE
            assert not caught.value.safe_to_resend
            assert client.claim(task.task_uuid) is None
            gate.open()
            result = await until(lambda: client.claim(task.task_uuid.upper()))
            assert_answers(result, task)
            assert client.claim(task.task_uuid) is None
            assert client.stats().timed_out == 1
        assert [e.task_uuid for e in only(await rest(events), LateResult)] == [task.task_uuid]


@virtual.only()
@bounded
async def test_the_timeout_of_the_client_is_the_default() -> None:
    async with virtual.serving(KEY, latency="50ms") as emulator:
        Gate(emulator)
        async with client_of(emulator, timeout=0.06) as client:
            with pytest.raises(TaskTimeout):
                await client.run(ask())
            handle = await client.submit(ask(), timeout=None)
            with anyio.move_on_after(0.15) as scope:
                await handle
            assert scope.cancelled_caught
            assert not handle.done


@virtual.only()
@bounded
async def test_timeout_without_a_connection_tells_that_nothing_was_sent() -> None:
    async with virtual.serving(KEY) as emulator:
        emulator.faults.reject_upgrades(503, times=None)
        async with client_of(emulator) as client:
            with pytest.raises(TaskTimeout) as caught:
                await client.run(ask(), timeout=0.1)
            assert caught.value.submitted is Submitted.NO
            assert caught.value.safe_to_resend
            assert "503" in str(caught.value)
    assert emulator.stats.executed == 0


@virtual.only()
@bounded
async def test_timeout_while_waiting_for_room() -> None:
    async with virtual.serving(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, max_in_flight=1) as client:
            first = ask("first")
            handle = await client.submit(first)
            with pytest.raises(TaskTimeout) as caught:
                await client.run(ask("second"), timeout=0.05)
            assert caught.value.submitted is Submitted.NO
            with pytest.raises(TaskTimeout):
                (await client.submit(ask("third"), timeout=0.05)).outcome()
            gate.open()
            assert_answers(await handle, first)
        assert gate.seen == ["first"]


# Cancellation


@bounded
async def test_only_a_text_is_claimed() -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        wrong: Any
        for wrong in (uuid.uuid4(), None, 5, b"5"):
            with pytest.raises(ConfigurationError, match=r"^task_uuid must be a taskUUID"):
                client.claim(wrong)
        assert client.claim("unknown") is None


@bounded
async def test_a_cancelled_run_harms_nobody_and_its_result_can_be_claimed() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            given_up, others = ask("given up"), [ask(f"other {n}") for n in range(5)]
            handles = [await client.submit(task) for task in others]
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(client.run, given_up)
                    await until(lambda: gate.running == 6)
                    scope.cancel()
            assert scope.cancelled_caught
            assert client.stats().cancelled == 1
            assert client.stats().in_flight == 5
            gate.open()
            for handle, task in zip(handles, others, strict=True):
                assert_answers(await handle, task)
            result = await until(lambda: client.claim(given_up.task_uuid))
            assert_answers(result, given_up)
            assert client.stats().connections == 1
    assert emulator.stats.executed_twice == []


@bounded
async def test_a_cancelled_wait_leaves_the_handle_good() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            task = ask()
            handle = await client.submit(task)
            for _ in range(2):
                with anyio.move_on_after(0.01):
                    await handle
                with anyio.move_on_after(0.01):
                    async for _ in handle:
                        pass
            assert not handle.done
            gate.open()
            assert_answers(await handle, task)


@virtual.only()
@bounded
async def test_each_waiter_gets_an_error_of_its_own() -> None:
    async with virtual.serving(KEY) as emulator:
        Gate(emulator)
        async with client_of(emulator) as client:
            handle = await client.submit(ask(), timeout=0.05)
            assert handle.error is None
            raised: list[TaskTimeout] = []

            async def wait() -> None:
                with pytest.raises(TaskTimeout) as caught:
                    await handle
                raised.append(caught.value)

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                group.start_soon(wait)
            assert raised[0] is not raised[1]
            assert raised[0].__traceback__ is not raised[1].__traceback__
            assert handle.error is not None
            assert handle.error.__traceback__ is None
            assert vars(handle.error) == vars(raised[0]) == vars(raised[1])
            assert str(handle.error) == str(raised[0])


@bounded
async def test_a_cancelled_handle() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            handle = await client.submit(ask())
            await until(lambda: gate.running)
            assert handle.cancel() is True
            assert handle.cancel() is False
            assert handle.state is TaskState.CANCELLED
            with pytest.raises(TaskCancelled) as caught:
                await handle
            assert caught.value.task_uuid == handle.uuid
            assert caught.value.submitted is Submitted.MAYBE
            with pytest.raises(TaskCancelled):
                async for _ in handle:
                    pass


@bounded
async def test_cancelled_while_waiting_for_room_was_never_sent() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, max_in_flight=1) as client:
            first, last = ask("first"), ask("last")
            handle = await client.submit(first)
            for verb in (client.submit, client.run):
                with anyio.move_on_after(0.02) as scope:
                    await verb(ask("taken back"))
                assert scope.cancelled_caught
            assert client.stats().pending == 1
            results: list[str] = []

            async def run_last() -> None:
                assert_answers(await client.run(last), last)
                results.append("last")

            async with anyio.create_task_group() as group:
                group.start_soon(run_last)
                gate.open()
            assert_answers(await handle, first)
            assert results == ["last"]
        assert gate.seen == ["first", "last"]


# Admission


@bounded
async def test_never_more_in_flight_than_allowed() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, max_in_flight=2) as client:
            tasks = [ask(f"{n}") for n in range(7)]
            handles: list[TaskHandle] = []

            async def feed() -> None:
                for task in tasks:
                    handles.append(await client.submit(task))
                    assert client.stats().in_flight <= 2

            async with anyio.create_task_group() as group:
                group.start_soon(feed)
                await until(lambda: gate.running == 2)
                await anyio.sleep(0.02)
                assert len(handles) == 2
                assert client.stats().in_flight == 2
                assert client.stats().pending == 3
                gate.open()
            for handle, task in zip(handles, tasks, strict=True):
                assert_answers(await handle, task)
        assert gate.most == 2
        # They come in turn; the emulator starts what is in one frame in any order.
        assert sorted(gate.seen) == [f"{n}" for n in range(7)]
        assert sorted(gate.seen[:2]) == ["0", "1"]


@bounded
async def test_admission_by_bytes_lets_one_large_task_pass_alone() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, max_in_flight_bytes=2_000) as client:
            large, small = ask("x" * 5_000), ask("small")
            handle = await client.submit(large)
            assert handle.state is not TaskState.WAITING
            async with anyio.create_task_group() as group:
                group.start_soon(client.run, small)
                await until(lambda: gate.running == 1)
                await anyio.sleep(0.02)
                assert gate.seen == [large.messages[0].content]
                gate.open()
            assert_answers(await handle, large)
        assert gate.most == 1


@virtual.only()
@pytest.mark.parametrize("end", ["cancelled", "timed out"])
@bounded
async def test_a_waiting_task_that_gives_up_makes_way(end: str) -> None:
    async with virtual.serving(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, max_in_flight_bytes=3_000) as client:
            await client.submit(ask("a" * 1_500))
            admitted = anyio.Event()

            async def wait_large(scope: anyio.CancelScope) -> None:
                with scope:
                    limit = 0.05 if end == "timed out" else None
                    with suppress(RunwareError):
                        await client.run(ask("b" * 2_500), timeout=limit)

            async def wait_small() -> None:
                await client.submit(ask("c"))
                admitted.set()

            made_way = False
            async with anyio.create_task_group() as group:
                scope = anyio.CancelScope()
                group.start_soon(wait_large, scope)
                await until(lambda: client.stats().pending == 2)
                group.start_soon(wait_small)
                await until(lambda: client.stats().pending == 3)
                if end == "cancelled":
                    scope.cancel()
                await until(lambda: client.stats().pending == 2)
                with anyio.move_on_after(0.3):
                    await admitted.wait()
                made_way = admitted.is_set()
                gate.open()
            assert made_way, "the small task fits, and waits behind nobody"


# Results for nobody


@bounded
async def test_a_result_for_nobody_can_be_claimed_and_the_store_is_bounded() -> None:
    uuids = [f"00000000-0000-4000-8000-{n:012d}" for n in range(4)]
    async with Emulator(KEY) as emulator:
        async with client_of(emulator, claim_limit=3) as client:
            await client.ready()
            events = client.events()
            for uuid in uuids:
                item = f'{{"taskType":"textInference","taskUUID":"{uuid}","text":"stray"}}'
                emulator.faults.send_raw(f'{{"data":[{item},{item}]}}')
            await client.run(ask())
            assert client.stats().strays == 8
            assert client.claim(uuids[0]) is None
            for uuid in uuids[1:]:
                result = client.claim(uuid)
                assert result is not None
                assert [item.text for item in result.items] == ["stray"]
        assert [e.task_uuid for e in only(await rest(events), UnknownTask)] == uuids
