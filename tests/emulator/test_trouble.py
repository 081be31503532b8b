"""Faults of reading, of single requests, and of what comes unasked: seen from the wire."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from runware_ws.emulator import Emulator, EmulatorOptions, apply_fault_order
from tests import virtual

from .wire import KEY, details, expected, raw, ready, serving, text_task, until

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


def server(latency: float = 0.0, **options: Any) -> Emulator:
    """An emulator with these choices."""
    return serving(api_key=KEY, latency=latency, options=EmulatorOptions(**options))


# Stages: delivered, read, registered


async def test_a_stall_reads_afterwards_what_a_dead_socket_brought() -> None:
    async with server() as emulator:
        async with ready(emulator) as (wire, session), ready(emulator) as (other, _):
            emulator.faults.stall(2.0)
            lost, kept = text_task("lost"), text_task("kept")
            await wire.send(lost)
            await other.send(kept)
            await anyio.sleep(0.1)
            await wire.vanish()
            await anyio.sleep(1.0)
            assert emulator.stats.tasks_accepted == 0
            assert (await other.item())["text"] == expected(kept)
            assert emulator.faults.stall_left == 0
            async with ready(emulator, session) as (again, resumed):
                assert resumed == session
                assert (await again.item())["text"] == expected(lost)
        assert emulator.stats.executed_twice == []


async def test_no_new_socket_is_read_in_a_stall_and_heal_ends_it() -> None:
    async with server() as emulator:
        emulator.faults.stall(1000.0)
        with pytest.raises(TimeoutError):
            async with raw(emulator, open_timeout=5):
                pass
        emulator.faults.heal()
        async with ready(emulator):
            pass


async def test_an_authentication_that_is_read_too_late_takes_no_session() -> None:
    async with server() as emulator:
        async with raw(emulator) as wire:
            emulator.faults.stall(1.0)
            await wire.send({"taskType": "authentication", "apiKey": KEY}, text_task())
            await anyio.sleep(0.1)
            await wire.vanish()
            await anyio.sleep(2.0)
        assert emulator.live_sessions == 0
        assert emulator.stats.tasks_accepted == 0


async def test_late_requests_are_read_when_their_socket_is_gone() -> None:
    choice: dict[str, Any] = {"dying_requests": "late", "dying_window": 0.1, "dying_delay": 1.0}
    async with server(**choice) as emulator:
        async with ready(emulator) as (wire, session):
            task = text_task()
            emulator.faults.cut()
            await wire.send(task)
            await wire.closed()
        async with ready(emulator, session) as (wire, _):
            await wire.send(details(task))
            assert (await wire.error())["code"] == "taskNotFound"
            await until(lambda: emulator.stats.tasks_accepted == 1)
            assert (await wire.item())["text"] == expected(task)
        assert emulator.stats.late_requests == 1
        assert emulator.stats.lost_requests == 0


# Control frames only


async def test_pings_come_through_a_blackhole() -> None:
    async with server() as emulator, ready(emulator) as (wire, _):
        emulator.faults.blackhole("hold")
        emulator.faults.trickle("pings", every=1.0)
        before = emulator.stats.bytes_out
        task = text_task()
        await wire.send(task)
        await wire.silence(3.5)
        assert emulator.stats.bytes_out - before == 3 * 2
        emulator.faults.heal()
        # The stream is whole: what was held is read, and answered.
        assert (await wire.item())["text"] == expected(task)
        await anyio.sleep(5.0)
        after = emulator.stats.bytes_out
        await anyio.sleep(5.0)
        assert emulator.stats.bytes_out == after


async def test_single_bytes_come_through_a_blackhole() -> None:
    async with server() as emulator:
        async with ready(emulator) as (wire, _):
            apply_fault_order(emulator.faults, "blackhole=drop,bytes")
            before = emulator.stats.bytes_out
            await wire.silence(2.2)
            assert emulator.stats.bytes_out - before == 10 + 4
            emulator.faults.heal()
            # A message was begun that never ends.
            assert await wire.closed() == 1006
        async with ready(emulator):
            pass


# Before the reply to the authentication


async def test_an_error_without_an_address_comes_before_the_reply() -> None:
    async with server(before_auth="insufficientCredits") as emulator, raw(emulator) as wire:
        await wire.send({"taskType": "authentication", "apiKey": KEY})
        error = await wire.error()
        assert error["code"] == "insufficientCredits"
        assert not {"taskType", "taskUUID"} & set(error)
        assert (await wire.item())["taskType"] == "authentication"


# Frames and tasks that end sockets


async def test_a_result_that_is_too_big_closes_with_1009_each_time() -> None:
    async with server(max_sent_bytes=4000, poll_sync_tasks=False) as emulator:
        emulator.faults.giant_result(8000)
        task = text_task()
        async with ready(emulator) as (wire, session):
            await wire.send(task)
            assert await wire.closed() == 1009
        async with ready(emulator, session) as (wire, _):
            assert await wire.closed() == 1009  # the replay
        async with ready(emulator) as (wire, _):
            await wire.send(text_task())
            await wire.item()
            await wire.send(details(task))
            assert await wire.closed() == 1009


@pytest.mark.parametrize("code", [1007, 1008])
async def test_a_task_with_a_marker_ends_its_socket(code: int) -> None:
    async with server() as emulator:
        emulator.faults.poison(code, marker="poison", times=2)
        bad, good = text_task("a poisonous prompt"), text_task("good")
        for _ in range(2):
            async with ready(emulator) as (wire, _):
                await wire.send(good, details(bad))
                await wire.recv()
                await wire.recv()
                await wire.send(bad)
                assert await wire.closed() == code
                good = text_task("good")
        async with ready(emulator) as (wire, _):
            await wire.send(bad)
            assert (await wire.item())["text"] == expected(bad)
        assert emulator.stats.poisoned == 2


async def test_the_nth_task_ends_its_socket_each_time() -> None:
    async with server() as emulator:
        apply_fault_order(emulator.faults, "poison=1007,2")
        first, second = text_task(), text_task()
        async with ready(emulator) as (wire, _):
            await wire.send(first)
            await wire.item()
            await wire.send(second)
            assert await wire.closed() == 1007
        async with ready(emulator) as (wire, _):
            await wire.send(text_task())
            await wire.item()
            await wire.send(details(second))
            await wire.error()
            await wire.send(second)
            assert await wire.closed() == 1007
        assert emulator.stats.executions[second["taskUUID"]] == 0
        wrongs: list[dict[str, Any]] = [{}, {"marker": "x", "nth": 1}, {"nth": -1}]
        for wrong in wrongs:
            with pytest.raises(ValueError, match="either"):
                emulator.faults.poison(1008, **wrong)


# Sessions


async def test_somebody_else_gets_what_a_session_kept() -> None:
    async with server(0.5) as emulator:
        async with ready(emulator) as (wire, session):
            await wire.send(text_task())
            assert emulator.faults.hand_over_sessions() == 1
            await until(lambda: emulator.stats.tasks_accepted == 1)
            await wire.vanish()
        await anyio.sleep(1.0)
        async with ready(emulator, session) as (wire, resumed):
            assert resumed == session
            task = text_task()
            await wire.send(task)
            assert (await wire.item())["text"] == expected(task)
            await wire.vanish()
        assert emulator.stats.handed_over == 1
