"""Streams, seen from a raw socket."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from runware_ws.emulator import Emulator, EmulatorOptions, ReplyError, Request
from tests import virtual

from .wire import (
    KEY,
    Wire,
    details,
    expected,
    poll,
    ready,
    serving,
    stream_task,
    text_of,
    text_task,
)

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


async def read_stream(wire: Wire, before: int = 0) -> list[dict[str, Any]]:
    """The deltas up to the last one, or the first ones."""
    items: list[dict[str, Any]] = []
    while not items or ("finishReason" not in items[-1] and len(items) != before):
        items += await wire.items(1)
    return items


# Over the socket


async def test_deltas_over_the_socket() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        task = stream_task(includeUsage=True, includeCost=True)
        await wire.send(task)
        items = await read_stream(wire)
        assert all(len(each["delta"]["text"]) <= 4 for each in items)
        assert text_of(items) == expected(task)
        assert {each["taskUUID"] for each in items} == {task["taskUUID"]}
        assert {each["taskType"] for each in items} == {"textInference"}
        assert all(set(each) == {"taskType", "taskUUID", "delta"} for each in items[:-1])
        last = items[-1]
        assert last["finishReason"] == "stop"
        assert last["usage"]["completionTokens"] == len(items)
        assert last["cost"] > 0
        await wire.silence()
        assert emulator.stats.executions[task["taskUUID"]] == 1
        assert (emulator.stats.streams, emulator.stats.deltas_sent) == (1, len(items))
        await wire.send(details(task))
        (whole,) = (await wire.item())["response"]["data"]
        assert whole["text"] == expected(task)
        assert whole["usage"] == last["usage"]


async def test_usage_only_where_asked_and_the_reason_alone() -> None:
    options = EmulatorOptions(stream_finish="alone", tokens_per_delta=3, delta_sequence="number")
    async with serving(KEY, options=options) as emulator, ready(emulator) as (wire, _):
        await wire.send(stream_task())
        items = await read_stream(wire)
        assert items[-1]["delta"] == {}
        assert not {"usage", "cost"} & set(items[-1])
        assert [each["number"] for each in items] == list(range(len(items)))
        assert all(len(each["delta"]["text"]) == 12 for each in items[:-2])


async def test_what_the_socket_does_instead() -> None:
    options = EmulatorOptions(stream_over_socket="whole")
    async with serving(KEY, options=options) as emulator, ready(emulator) as (wire, _):
        task = stream_task()
        await wire.send(task)
        assert (await wire.item())["text"] == expected(task)
        emulator.options = EmulatorOptions(stream_over_socket="error")
        await wire.send(stream_task())
        error = await wire.error()
        assert (error["code"], error["parameter"]) == (
            "unsupportedDeliveryMethod",
            "deliveryMethod",
        )
        emulator.options = EmulatorOptions()
        await wire.send(stream_task(numberResults=2))
        assert (await wire.error())["code"] == "invalidNumberResults"


@pytest.mark.parametrize(
    "options", [EmulatorOptions(token_rate=200.0), EmulatorOptions(token_pause=0.005)]
)
async def test_pacing(options: EmulatorOptions) -> None:
    async with (
        serving(KEY, options=options, latency=0.02) as emulator,
        ready(emulator) as (wire, _),
    ):
        began = anyio.current_time()
        task = stream_task("x" * 60)
        await wire.send(task, poll(task))
        assert (await wire.item())["status"] == "processing"
        first = await wire.item()
        assert anyio.current_time() - began == pytest.approx(0.02)
        rest = await read_stream(wire)
        assert anyio.current_time() - began == pytest.approx(0.02 + 0.005 * len(rest))
        assert text_of([first, *rest]) == expected(task)
    with pytest.raises(ValueError, match="token_rate"):
        EmulatorOptions(token_rate=1.0, token_pause=1.0)


async def test_scripts() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):

        @emulator.reply("textInference")
        def script(request: Request) -> Iterator[dict[str, Any] | str]:
            yield {"reasoningContent": "hm, "}
            yield "one "
            yield {"delta": {"text": "two"}}
            yield {"toolCalls": [{"index": 0, "id": "c1", "name": "look", "arguments": ""}]}
            yield {"toolCalls": [{"index": 0, "arguments": '{"at":1}'}]}
            if request.prompt == "fail":
                raise ReplyError("providerError", "It broke.")
            yield {"delta": {}, "finishReason": "tool_use"}

        await wire.send(stream_task())
        items = await read_stream(wire)
        assert len(items) == 6
        assert text_of(items) == "one two"
        assert items[-1]["finishReason"] == "tool_use"
        await wire.send(plain := text_task())
        whole = await wire.item()
        assert (whole["text"], whole["reasoningContent"]) == ("one two", "hm, ")
        assert whole["toolCalls"] == [{"id": "c1", "name": "look", "arguments": '{"at":1}'}]
        assert whole["taskUUID"] == plain["taskUUID"]
        await wire.send(failing := stream_task("fail"))
        assert text_of(await wire.items(5)) == "one two"
        error = await wire.error()
        assert (error["code"], error["taskUUID"]) == ("providerError", failing["taskUUID"])


async def test_an_asynchronous_script_and_a_whole_answer_with_tools() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):

        @emulator.reply("textInference")
        async def slowly(_: Request) -> AsyncIterator[str]:
            for word in ("a ", "b ", "c"):
                await anyio.sleep(0.002)
                yield word

        await wire.send(stream_task(includeUsage=True, includeCost=True))
        items = await read_stream(wire)
        assert [each["delta"].get("text") for each in items] == ["a ", "b ", "c", None]
        assert items[-1]["usage"]["completionTokens"] == 2

        calls = [{"id": "c1", "name": "look", "arguments": {"at": [1, 2, 3]}}]

        @emulator.reply("textInference")
        async def whole(_: Request) -> dict[str, Any]:
            return {"toolCalls": calls, "finishReason": "tool_use", "extra": 1}

        await wire.send(stream_task())
        items = await read_stream(wire)
        pieces = [each["delta"]["toolCalls"][0] for each in items]
        assert pieces[0] == {"id": "c1", "name": "look", "index": 0, "arguments": ""}
        assert json.loads("".join(each["arguments"] for each in pieces)) == {"at": [1, 2, 3]}
        assert (items[-1]["finishReason"], items[-1]["extra"]) == ("tool_use", 1)
        emulator.options = EmulatorOptions(stream_tool_calls="whole")
        await wire.send(stream_task())
        (item,) = await read_stream(wire)
        assert item["delta"]["toolCalls"] == calls


async def test_calls_of_the_nested_shape_and_calls_that_come_mixed() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):

        @emulator.reply("textInference")
        def nested(_: Request) -> dict[str, Any]:
            return {"toolCalls": [call]}

        await wire.send(stream_task())
        pieces = [each["delta"]["toolCalls"][0] for each in await read_stream(wire)]
        head = {"name": "look", "arguments": ""}
        assert pieces[0] == {"id": "c1", "type": "function", "index": 0, "function": head}
        assert "".join(each["function"]["arguments"] for each in pieces) == '{"at":1}'

        @emulator.reply("textInference")
        def script(_: Request) -> Iterator[dict[str, Any]]:
            for piece in pieces[:2]:
                yield {"toolCalls": [piece, {"index": 1, "arguments": "x"}]}
            yield {"toolCalls": [{"index": 1, "arguments": {"whole": 1}, "name": "see"}]}
            for piece in pieces[2:]:
                yield {"toolCalls": [piece]}

        await wire.send(text_task())
        see = {"name": "see", "arguments": {"whole": 1}}
        assert (await wire.item())["toolCalls"] == [call, see]


@pytest.mark.parametrize("how", ["in-fields", "whole", "never"])
async def test_other_ends_of_a_stream(how: Any) -> None:
    options = EmulatorOptions(stream_finish=how)
    async with serving(KEY, options=options) as emulator, ready(emulator) as (wire, _):

        @emulator.reply("textInference")
        def reply(_: Request) -> str:
            return "one two"

        task = stream_task(includeCost=True)
        await wire.send(task)
        head = {"taskType": "textInference", "taskUUID": task["taskUUID"]}
        assert await wire.item() == {**head, "delta": {"text": "one "}}
        second = await wire.item()
        if how == "in-fields":
            assert second.pop("cost") > 0
            assert second == {**head, "text": "two", "finishReason": "stop"}
        else:
            assert second == {**head, "delta": {"text": "two"}}
            await wire.send(details(task))
            last = [] if how == "never" else [await wire.item()]
            (kept,) = (await wire.item())["response"]["data"]
            assert last == [kept] * (how == "whole")
            assert (kept["text"], kept["finishReason"]) == ("one two", "stop")
        await wire.silence()


async def test_injected_errors_and_a_repeated_task() -> None:
    options = EmulatorOptions(token_pause=0.01)
    async with serving(KEY, options=options) as emulator, ready(emulator) as (wire, _):
        emulator.faults.inject_error("providerError", stage="execute")
        await wire.send(stream_task())
        assert (await wire.error())["code"] == "providerError"
        await wire.send(task := stream_task())
        await wire.send(task)
        message: dict[str, Any] = {}
        while "errors" not in message:
            message = await wire.recv()
        assert message["errors"][0]["code"] == "conflictTaskUUID"
        assert "finishReason" in (await read_stream(wire))[-1]
        assert emulator.stats.executed_twice == []


# Cuts


@asynccontextmanager
async def cut_stream(
    emulator: Emulator, *, mid_frame: bool = False, deltas: int = 3
) -> AsyncGenerator[tuple[dict[str, Any], list[dict[str, Any]], Wire], None]:
    """A stream that was cut after some deltas, and a socket that resumed its session."""
    emulator.faults.cut_after(deltas=deltas, mid_frame=mid_frame)
    async with ready(emulator) as (wire, session):
        task = stream_task("a somewhat longer question")
        await wire.send(task)
        before = await wire.items(deltas - mid_frame)
        assert await wire.closed() == 1006
    async with ready(emulator, session) as (wire, again):
        assert again == session
        yield task, before, wire


def resuming(how: Any, **fields: Any) -> EmulatorOptions:
    return EmulatorOptions(stream_resume=how, token_pause=0.002, **fields)


@pytest.mark.parametrize("mid_frame", [False, True])
@pytest.mark.parametrize("pause", [0.0, 0.002])
async def test_continue(mid_frame: bool, pause: float) -> None:
    options = EmulatorOptions(token_pause=pause, delta_sequence="n")
    async with serving(KEY, options=options) as emulator:
        async with cut_stream(emulator, mid_frame=mid_frame) as (task, before, wire):
            after = await read_stream(wire)
            assert [each["n"] for each in before + after] == list(range(len(before + after)))
            assert text_of(before + after) == expected(task)
            await wire.silence()
        assert emulator.stats.executions[task["taskUUID"]] == 1


async def test_restart() -> None:
    async with (
        serving(KEY, options=resuming("restart")) as emulator,
        cut_stream(emulator) as (task, before, wire),
    ):
        after = await read_stream(wire)
        assert after[: len(before)] == before
        assert text_of(after) == expected(task)


async def test_overlap() -> None:
    options = resuming("overlap", dying_window=0.004)
    async with (
        serving(KEY, options=options) as emulator,
        cut_stream(emulator, deltas=5) as (task, before, wire),
    ):
        after = await read_stream(wire)
        doubled = text_of(before + after)
        # The last one was written in the last moment; the first one was not.
        assert before[-1] in after
        assert before[0] not in after
        assert doubled != expected(task)
        kept = before[: before.index(after[0])] + after
        assert text_of(kept) == expected(task)


@pytest.mark.parametrize("pause", [0.002, 0.0])
async def test_whole(pause: float) -> None:
    options = EmulatorOptions(stream_resume="whole", token_pause=pause)
    async with serving(KEY, options=options) as emulator, cut_stream(emulator) as (task, _, wire):
        item = await wire.item()
        assert (item["text"], "delta" in item) == (expected(task), False)
        await wire.silence()


async def test_lost() -> None:
    async with serving(KEY, options=resuming("lost")) as emulator:
        async with cut_stream(emulator) as (task, _, wire):
            await wire.silence(0.1)
            await wire.send(details(task))
            (whole,) = (await wire.item())["response"]["data"]
            assert whole["text"] == expected(task)
        assert emulator.stats.executions[task["taskUUID"]] == 1


@pytest.mark.parametrize("how", ["continue", "whole"])
async def test_an_error_that_ends_a_cut_stream(how: Any) -> None:
    async with serving(KEY, options=resuming(how)) as emulator:

        @emulator.reply("textInference")
        def script(_: Request) -> Iterator[str]:
            yield from "abcdefg"
            raise ReplyError("providerError")

        async with cut_stream(emulator) as (task, _, wire):
            if how == "continue":
                assert text_of(await wire.items(4)) == "defg"
            error = await wire.error()
            assert (error["code"], error["taskUUID"]) == ("providerError", task["taskUUID"])


async def test_a_new_session_gets_nothing_of_a_stream() -> None:
    async with serving(KEY, options=resuming("continue")) as emulator:
        emulator.faults.cut_after(deltas=2)
        emulator.faults.refuse_sessions()
        async with ready(emulator) as (wire, session):
            await wire.send(task := stream_task())
            assert await wire.closed() == 1006
        async with ready(emulator, session) as (wire, other):
            assert other != session
            await wire.silence(0.05)
            await wire.send(details(task))
            assert (await wire.item())["response"]["data"][0]["text"] == expected(task)


async def test_a_repeat_elsewhere_gets_the_whole_result() -> None:
    options = resuming("continue", repeated_uuid="result")
    async with serving(KEY, options=options) as emulator:
        async with ready(emulator) as (first, _), ready(emulator) as (second, _):
            await first.send(task := stream_task())
            await first.items(2)
            await second.send(task)
            assert (await second.item())["text"] == expected(task)
        assert emulator.stats.executions[task["taskUUID"]] == 1
