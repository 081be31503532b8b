"""Capacity, queue and rate, over the socket and over HTTP."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from runware_ws.emulator import EmulatorOptions, Request
from tests import virtual

from .test_streams import read_stream
from .test_web import http
from .wire import KEY, Wire, poll, ready, serving, stream_task, text_task

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


async def outcomes(wire: Wire, number: int) -> tuple[list[str], list[dict[str, Any]]]:
    """The UUIDs of the next results in their order, and the errors."""
    done: list[str] = []
    errors: list[dict[str, Any]] = []
    while len(done) + len(errors) < number:
        message = await wire.recv()
        done += [item["taskUUID"] for item in message.get("data", ())]
        errors += message.get("errors", ())
    return done, errors


async def test_so_many_run_so_many_wait_and_the_rest_is_refused() -> None:
    options = EmulatorOptions(capacity=2, queue_limit=3)
    async with (
        serving(KEY, options=options, latency=1.0) as emulator,
        ready(emulator) as (wire, _),
    ):
        began = anyio.current_time()
        tasks = [text_task(f"{number}") for number in range(7)]
        await wire.send(*tasks)
        refused = [(await wire.error()), (await wire.error())]
        assert (emulator.running, emulator.waiting) == (2, 3)
        assert [each["taskUUID"] for each in refused] == [each["taskUUID"] for each in tasks[5:]]
        assert {each["code"] for each in refused} == {"rateLimitExceeded"}
        assert all("queue is full" in each["message"] for each in refused)
        # What waits has been taken, and is known as running.
        await wire.send(poll(tasks[4]))
        item = await wire.item()
        assert (item["status"], item["progress"]) == ("processing", 0)
        done, _ = await outcomes(wire, 5)
        assert done == [each["taskUUID"] for each in tasks[:5]]
        assert anyio.current_time() - began == pytest.approx(3.0)
        assert (emulator.running, emulator.waiting) == (0, 0)
        # The UUID of a refused task is unused.
        await wire.send(tasks[5])
        assert (await outcomes(wire, 1))[0] == [tasks[5]["taskUUID"]]
        assert (emulator.stats.executed, emulator.stats.tasks_turned_away) == (6, 2)


async def test_a_copy_of_a_task_that_waits_is_a_copy_all_the_same() -> None:
    options = EmulatorOptions(capacity=1, queue_limit=1)
    async with (
        serving(KEY, options=options, latency=1.0) as emulator,
        ready(emulator) as (wire, _),
    ):
        first, second = text_task(), text_task()
        await wire.send(first, second)
        await wire.send(second, text_task())
        assert (await wire.error())["code"] == "conflictTaskUUID"
        assert (await wire.error())["code"] == "rateLimitExceeded"


async def test_every_kind_of_end_frees_a_slot() -> None:
    options = EmulatorOptions(capacity=1)
    async with serving(KEY, options=options) as emulator, ready(emulator) as (wire, _):

        @emulator.reply("textInference")
        async def reply(request: Request) -> str:
            await anyio.sleep(0.1)
            if request.prompt == "fail":
                raise RuntimeError("broken")
            return "x"

        emulator.faults.inject_error("taskFailed", stage="execute")
        await wire.send(
            text_task("injected"),
            text_task("fail"),
            text_task("two", numberResults=2),
            text_task("polled", deliveryMethod="async"),
            stream_task("fail"),
            last := stream_task("stream"),
        )
        with anyio.fail_after(10):
            while True:
                message = await wire.recv()
                items = message.get("data", ())
                if any("finishReason" in i and i["taskUUID"] == last["taskUUID"] for i in items):
                    break
        assert (emulator.running, emulator.waiting) == (0, 0)


async def test_a_long_queue_of_tasks_that_end_at_once() -> None:
    options = EmulatorOptions(capacity=1)
    async with serving(KEY, options=options) as emulator, ready(emulator) as (wire, _):
        emulator.faults.cut_after(results=1)
        tasks = [text_task(f"{number}") for number in range(3000)]
        emulator.latency = "1s"
        await wire.send(*tasks[:1])
        emulator.latency = "0"
        await wire.send(*tasks[1:])
        await wire.closed()
        assert emulator.stats.executed == 3000
        assert (emulator.running, emulator.waiting) == (0, 0)


async def test_a_greater_capacity_lets_the_queue_in_at_once() -> None:
    async with (
        serving(KEY, options=EmulatorOptions(capacity=1), latency=1.0) as emulator,
        ready(emulator) as (wire, _),
    ):
        began = anyio.current_time()
        await wire.send(*(text_task() for _ in range(5)))
        await wire.silence(0.5)
        emulator.options = EmulatorOptions()
        assert (emulator.running, emulator.waiting) == (5, 0)
        await outcomes(wire, 5)
        assert anyio.current_time() - began == pytest.approx(1.5)


async def test_the_rate_of_each_key() -> None:
    options = EmulatorOptions(rate_limit=2.0, rate_burst=3)
    async with serving(options=options) as emulator, ready(emulator) as (wire, _):
        # Questions and pings are free.
        await wire.send(poll(text_task()), poll(text_task()), *(text_task() for _ in range(4)))
        done, (unknown, _, error) = await outcomes(wire, 6)
        assert len(done) == 3
        assert unknown["code"] == "taskFailedOrNotFound"
        assert error["code"] == "rateLimitExceeded"
        assert error["retry_after"] == pytest.approx(0.5)
        assert error["message"] == "More than 2 requests per second."
        await anyio.sleep(0.5)
        await wire.send(text_task(), text_task())
        done, errors = await outcomes(wire, 2)
        assert (len(done), len(errors)) == (1, 1)
        # Another key has a rate of its own; the first one never has more than its burst.
        await anyio.sleep(60)
        async with http(emulator) as other:
            assert (await other.post(text_task(), key="another"))[0] == 200
        await wire.send(*(text_task() for _ in range(4)))
        done, errors = await outcomes(wire, 4)
        assert (len(done), len(errors)) == (3, 1)


async def test_refusals_over_http() -> None:
    options = EmulatorOptions(rate_limit=0.4)
    async with serving(KEY, options=options) as emulator, http(emulator) as wire:
        assert (await _post(wire, text_task()))[0] == 200
        status, headers, body = await _post(wire, text_task())
        assert status == 429
        # Whole seconds, and not too few.
        assert headers["retry-after"] == "3"
        assert body["errors"][0]["retry_after"] == pytest.approx(2.5)
        status, headers, _ = await _post(wire, stream_task())
        assert (status, headers["content-type"]) == (429, "application/json")
        emulator.options = EmulatorOptions(capacity=1, queue_limit=0, busy_error="tooBusy")
        emulator.latency = "1s"
        status, headers, body = await _post(wire, text_task(), text_task())
        # Where something was done it is no refusal of the request.
        assert (status, len(body["data"]), body["errors"][0]["code"]) == (200, 1, "tooBusy")
        async with ready(emulator) as (socket, _):
            await socket.send(held := stream_task())
            with anyio.fail_after(5):
                while emulator.running == 0:  # noqa: ASYNC110 - the condition has no event
                    await anyio.sleep(0.01)
            status, headers, body = await _post(wire, text_task())
            assert (status, "retry-after" in headers) == (429, False)
            assert body["errors"][0]["code"] == "tooBusy"
            items = await read_stream(socket)
            assert items[-1]["taskUUID"] == held["taskUUID"]


async def _post(wire: Any, *tasks: Any) -> tuple[int, dict[str, str], Any]:
    status, headers = await wire.post(*tasks)
    return status, headers, await wire.json(headers)


@pytest.mark.parametrize(
    "wrong",
    [{"capacity": 0}, {"queue_limit": -1}, {"rate_limit": 0.0}, {"rate_burst": 0},
     {"default_max_tokens": 0}, {"rate_limit": float("inf")}],
)  # fmt: skip
def test_options_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EmulatorOptions(**wrong)
