"""Answers that obey ``maxTokens``, and calls of forced tools."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from copy import copy
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws.emulator import (
    EmulatorOptions,
    ReplyError,
    Request,
    expected_arguments,
    expected_text,
    read_script,
)
from runware_ws.emulator.pieces import DeltaScript, cut_answer
from runware_ws.emulator.replies import generated_item
from runware_ws.emulator.tokens import limited
from tests import virtual

from .test_streams import read_stream
from .wire import KEY, details, expected, ready, serving, stream_task, text_of, text_task

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend

WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 5},
            "days": {"type": "integer", "minimum": 2, "maximum": 7},
            "unit": {"enum": ["celsius", "kelvin"]},
        },
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}
OTHER: dict[str, Any] = {"type": "function", "name": "other", "schema": {"type": "object"}}


def limit(tokens: int, **settings: Any) -> dict[str, Any]:
    return {"settings": {"maxTokens": tokens, **settings}, "includeUsage": True}


def forced(name: str = "", **fields: Any) -> dict[str, Any]:
    choice = {"type": "tool", "name": name} if name else {"type": "any"}
    return {"tools": [{"type": "search"}, WEATHER, OTHER], "toolChoice": choice, **fields}


NO_ANSWERS: list[Any] = [
    {"text": "a", "x": {1, 2}},
    {"text": "a", 5: 6},
    {"text": "\ud800"},
    {"text": "a", "reasoningContent": "\ud800"},
    {"toolCalls": [{"name": "f", "arguments": {1, 2}}]},
    5,
    None,
    iter(["a", 5]),
    ReplyError("soon", "Later.", x={1, 2}),
    ValueError("\ud800"),
]


@pytest.mark.parametrize("method", ["sync", "stream"])
@pytest.mark.parametrize("answer", NO_ANSWERS, ids=range(len(NO_ANSWERS)))
async def test_what_is_no_answer_fails_its_task_alone(method: str, answer: Any) -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):

        @emulator.reply("textInference")
        def reply(request: Request) -> Any:
            if request.prompt != "bad":
                return "good"
            if isinstance(answer, Exception):
                raise answer
            return copy(answer)

        await wire.send(text_task("bad", deliveryMethod=method, **limit(7)))
        while "errors" not in (message := await wire.recv()):
            assert method == "stream"
        assert message["errors"][0]["code"] == "internalServerError"
        assert emulator.stats.reply_failures == 1
        await wire.send(text_task("other"))
        assert (await wire.item())["text"] == "good"


@pytest.mark.parametrize("method", ["sync", "stream"])
@pytest.mark.parametrize("calls", [5, "x", [5], {"a": 1}], ids=str)
async def test_tool_calls_that_are_none_go_out_as_they_are(method: str, calls: Any) -> None:
    """A test may want to know what its code makes of them."""
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        emulator.play(
            read_script({"answers": [{"fields": {"text": "a" * 40, "toolCalls": calls}}]})
        )
        await wire.send(task := text_task("hello", deliveryMethod=method, **limit(7)))
        items = await read_stream(wire) if method == "stream" else [await wire.item()]
        parts = [each.get("delta", each) for each in items]
        assert [each["toolCalls"] for each in parts if "toolCalls" in each] == [calls]
        assert "".join(each.get("text", "") for each in parts) == "a" * 28
        await wire.send(details(task))
        (kept,) = (await wire.item())["response"]["data"]
        assert kept["toolCalls"] == calls


async def test_a_scripted_error_may_have_any_fields() -> None:
    error = {"code": "soon", "message": "Later.", "task": 5, "self": 6, "documentation": None}
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        emulator.play(read_script({"answers": [{"error": error}]}))
        emulator.faults.inject_error("early", task=7)
        for code, task in (("early", 7), ("soon", 5)):
            await wire.send(text_task("hello"))
            told = await wire.error()
            assert (told["code"], told["task"]) == (code, task)


# maxTokens


@pytest.mark.parametrize("method", ["sync", "async", "stream"])
async def test_an_answer_is_cut_where_the_task_says(method: str) -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        task = text_task("hello " * 9, deliveryMethod=method, **limit(7))
        await wire.send(task)
        whole = expected_text("hello " * 9, task["taskUUID"], max_tokens=7)
        if method == "stream":
            items = await read_stream(wire)
            assert text_of(items) == whole
            assert items[-1]["finishReason"] == "length"
            assert items[-1]["usage"]["completionTokens"] == 7 == len(items)
        elif method == "sync":
            item = await wire.item()
            assert (item["text"], item["finishReason"]) == (whole, "length")
            assert item["usage"]["completionTokens"] == 7
        else:
            await wire.item()
        assert len(whole) == 28
        await wire.send(details(task))
        (item,) = (await wire.item())["response"]["data"]
        assert (item["text"], item["finishReason"]) == (whole, "length")


async def test_what_has_room_is_whole() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        task = text_task("x", **limit(4096))
        exact = text_task("y", **limit((len(expected(task)) + 3) // 4))
        for each in (task, exact):
            await wire.send(each)
            item = await wire.item()
            assert (item["text"], item["finishReason"]) == (expected(each), "stop")
        # Without a limit of its own a task has the server's, which is none.
        await wire.send(long := text_task("z" * 20_000))
        assert (await wire.item())["text"] == expected(long)
        emulator.options = EmulatorOptions(default_max_tokens=3)
        await wire.send(text_task())
        item = await wire.item()
        assert (len(item["text"]), item["finishReason"]) == (12, "length")
        # Other models are not checked: nonsense is no limit.
        await wire.send({**text_task(), "model": "a:b@1", "settings": {"maxTokens": "many"}})
        assert len((await wire.item())["text"]) == 12


async def test_replies_of_ones_own_are_cut_unless_they_say_how_they_end() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        answers: list[Any] = [
            "one two three",
            {"text": "one two three", "reasoningContent": "so long a thought"},
            {"text": "one two three", "finishReason": "stop"},
            {"text": "one two three", "usage": {"completionTokens": 9}},
            {"text": "one ", "toolCalls": [{"name": "f", "arguments": {"a": 1}}]},
            {"text": "one two three", "toolCalls": [{"name": "f", "arguments": {}}]},
        ]

        @emulator.reply("textInference")
        def reply(_: Request) -> Any:
            return answers.pop(0)

        found: list[dict[str, Any]] = []
        for _ in range(6):
            await wire.send(text_task(**limit(2)))
            found.append(await wire.item())
        assert [each["text"] for each in found[:2]] == ["one two ", "one two "]
        assert [each["text"] for each in found[2:4]] == ["one two three", "one two three"]
        assert [each["finishReason"] for each in found[:4]] == ["length", "length", "stop", "stop"]
        assert found[1]["reasoningContent"] == "so long a thought"
        assert found[3]["usage"] == {"completionTokens": 9}
        # A call that is cut off has the beginning of its arguments only.
        assert found[4]["toolCalls"] == [{"name": "f", "arguments": '{"a"'}]
        assert found[4]["usage"]["completionTokens"] == 2
        assert found[4]["finishReason"] == "length"
        assert "toolCalls" not in found[5]


async def test_scripts_of_deltas_end_at_the_limit() -> None:
    closed: list[bool] = []
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):

        @emulator.reply("textInference")
        def endless(request: Request) -> Iterator[str] | AsyncIterator[str]:
            def plain() -> Iterator[str]:
                while True:
                    yield "seven.."

            async def paced() -> AsyncIterator[str]:
                try:
                    while True:
                        yield "eight..."
                finally:
                    closed.append(True)

            return paced() if request.prompt == "paced" else plain()

        for prompt, text in (("plain", "seven..seven..seven.."), ("paced", "eight..." * 3)):
            await wire.send(stream_task(prompt, **limit(6)))
            items = await read_stream(wire)
            assert text_of(items) == (text + "seven..")[:24]
            assert items[-1]["finishReason"] == "length"
            assert items[-1]["usage"]["completionTokens"] == 6
        assert closed == [True]


async def test_a_giant_is_a_fault_that_no_limit_cuts() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        emulator.faults.giant_result(500)
        await wire.send(text_task(**limit(2)))
        assert len((await wire.item())["text"]) == 500


# Forced tools


@pytest.mark.parametrize("name", ["get_weather", ""])
async def test_a_forced_tool_is_called_with_valid_arguments(name: str) -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        await wire.send(text_task(**forced(name, includeUsage=True)))
        item = await wire.item()
        (call,) = item["toolCalls"]
        assert "text" not in item
        assert item["finishReason"] == "tool_calls"
        assert call["name"] == "get_weather"
        assert call["id"].startswith("call_")
        assert jsonschema_rs.validator_for(WEATHER["schema"]).is_valid(call["arguments"])
        assert call["arguments"] == expected_arguments(WEATHER)
        written = len(json.dumps(call["arguments"], separators=(",", ":")))
        assert item["usage"]["completionTokens"] == (written + 3) // 4


@pytest.mark.parametrize("shape", ["flat", "text", "nested"])
async def test_calls_in_each_shape_and_in_streams(shape: Any) -> None:
    options = EmulatorOptions(tool_calls=shape, tool_finish="tool_use")
    async with serving(KEY, options=options) as emulator, ready(emulator) as (wire, _):
        await wire.send(stream_task(**forced("get_weather")))
        items = await read_stream(wire)
        pieces = [piece for each in items for piece in each["delta"].get("toolCalls", ())]
        sources = [piece.get("function", piece) for piece in pieces]
        assert ("function" in pieces[0]) is (shape == "nested")
        assert len(sources) > 5
        written = "".join(source["arguments"] for source in sources)
        assert json.loads(written) == expected_arguments(WEATHER)
        assert sources[0]["name"] == "get_weather"
        assert items[-1]["finishReason"] == "tool_use"


async def test_a_call_that_is_cut_off() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        await wire.send(text_task(**forced("get_weather"), **limit(3)))
        item = await wire.item()
        assert item["finishReason"] == "length"
        assert len(item["toolCalls"][0]["arguments"]) == 12
        assert item["usage"]["completionTokens"] == 3


async def test_tools_that_need_not_be_called() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        free: list[dict[str, Any]] = [
            {"tools": [WEATHER]},
            {"tools": [WEATHER], "toolChoice": {"type": "auto"}},
            {"tools": [WEATHER], "toolChoice": {"type": "none"}},
            {"toolChoice": {"type": "any"}},  # "only takes effect when tools are defined"
            {"toolChoice": {"type": "tool", "name": "f"}},
            {"tools": [{"type": "search"}], "toolChoice": {"type": "any"}},
        ]
        for fields in free:
            await wire.send(task := text_task(**fields))
            assert (await wire.item())["text"] == expected(task)


async def test_tools_that_cannot_be_called() -> None:
    bad: dict[str, Any] = {
        "type": "function",
        "name": "bad",
        "schema": {"type": "integer", "not": {}},
    }
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        await wire.send(text_task(**forced("nobody")))
        error = await wire.error()
        assert (error["code"], error["parameter"]) == ("invalidToolChoice", "toolChoice.name")
        await wire.send({**text_task(**forced("bad")), "tools": [WEATHER, bad]})
        error = await wire.error()
        assert (error["code"], error["parameter"]) == ("invalidSchema", "tools[1].schema")
        assert "reply of your own" in error["message"]


async def test_a_reply_of_ones_own_decides_about_tools() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):

        @emulator.reply("textInference")
        def reply(_: Request) -> str:
            return "no call"

        await wire.send(text_task(**forced("other")))
        assert (await wire.item())["text"] == "no call"


# Pure: what is streamed is what is not


@given(
    text=st.text(min_size=1, max_size=60),
    most=st.none() | st.integers(1, 12),
    size=st.integers(1, 4),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    finish=st.sampled_from(["with-last", "alone", "in-fields", "whole"]),
)
def test_a_stream_has_the_same_answer_usage_and_end(
    text: str, most: int | None, size: int, cuts: list[int], finish: Any
) -> None:
    settings = {} if most is None else {"maxTokens": most}
    task = text_task(settings=settings, includeUsage=True)
    options = EmulatorOptions(tokens_per_delta=size, stream_finish=finish)
    request = Request(task, 0, 1)
    answer = limited({"text": text}, most)
    plain = generated_item(request, answer, with_index=False)
    places = sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)})
    scripted = [text[a:b] for a, b in itertools.pairwise(places)]
    for given_answer, pieces in (
        (answer, cut_answer(answer, options)),
        (iter(scripted), iter(scripted)),
    ):
        script = DeltaScript(request, given_answer, options)
        items: list[dict[str, Any]] = []
        for piece in pieces:
            items += script.feed(piece)
            if script.full:
                break
        items += script.finish()
        deltas = "".join(item.get("delta", {}).get("text", "") for item in items)
        if finish == "in-fields" and given_answer is answer:
            deltas += items[-1].get("text", "")
        assert deltas == plain["text"]
        assert items[-1]["finishReason"] == plain["finishReason"]
        assert items[-1]["usage"] == plain["usage"]
        assert most is None or plain["usage"]["completionTokens"] <= most
