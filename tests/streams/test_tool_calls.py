"""Streams with tool calls, cut behind each delta, over both carriers and in the Messages shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import anyio
import pytest

from runware_ws import Client, Delta, RecoveredBy, Result, StreamInterrupted, TextInference
from runware_ws.client.streams import TaskStream
from runware_ws.emulator import Emulator, EmulatorOptions, Request
from runware_ws.messages import MessageEvent, Messages
from runware_ws.messages.params import MessageParam
from runware_ws.messages.resource import MessageStream
from tests.client.support import QUICK
from tests.messages.support import accumulated

pytestmark = pytest.mark.anyio

KEY = "key-of-the-tool-calls"
Way = Literal["socket", "sse"]
CARRIERS = pytest.mark.parametrize("carrier", ["socket", "sse"])
Said = tuple[str, str, list[tuple[str, str, Any]]]

PARTS: list[dict[str, Any]] = [
    {"reasoningContent": "Two "},
    {"reasoningContent": "towns."},
    {"text": "I will "},
    {"text": "look."},
    {"toolCalls": [{"index": 0, "id": "a", "name": "weather", "arguments": ""}]},
    {"toolCalls": [{"index": 1, "id": "b", "name": "clock", "arguments": '{"zone"'}]},
    {"toolCalls": [{"index": 0, "arguments": '{"city":'}]},
    {"toolCalls": [{"index": 1, "arguments": ': "CET"'}, {"index": 0, "arguments": '"Oslo"'}]},
    {"toolCalls": [{"index": 0, "arguments": "}"}]},
    {"toolCalls": [{"index": 1, "arguments": "}"}]},
    {"delta": {}, "finishReason": "tool_calls"},
]
"""Two calls that come mixed."""

SAID: Said = (
    "Two towns.",
    "I will look.",
    [("a", "weather", {"city": "Oslo"}), ("b", "clock", {"zone": "CET"})],
)
CONTENT = [
    {"type": "thinking", "thinking": "Two towns.", "signature": ""},
    {"type": "text", "text": "I will look."},
    {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Oslo"}},
    {"type": "tool_use", "id": "b", "name": "clock", "input": {"zone": "CET"}},
]
CUTS = range(1, len(PARTS))


def server(**options: Any) -> Emulator:
    """A server whose model calls two tools."""
    emulator = Emulator(KEY, options=EmulatorOptions(token_pause=0.002, **options))

    @emulator.reply("textInference")
    def reply(_: Request) -> Iterator[dict[str, Any]]:
        yield from PARTS

    return emulator


def client_of(emulator: Emulator) -> Client:
    return Client(emulator.url, api_key=KEY, **QUICK)


def joined(deltas: list[Delta]) -> Said:
    """What deltas say together."""
    calls: dict[int, list[str]] = {}
    for delta in deltas:
        for piece in delta.tool_calls:
            call = calls.setdefault(piece.index, ["", "", ""])
            for at, more in enumerate((piece.id, piece.name, piece.arguments)):
                call[at] += more or ""
    return (
        "".join(delta.reasoning or "" for delta in deltas),
        "".join(delta.text or "" for delta in deltas),
        [(id, name, json.loads(text)) for _, (id, name, text) in sorted(calls.items())],
    )


def said_by(result: Result) -> Said:
    calls = [(call.id or "", call.name, call.arguments) for call in result.tool_calls or ()]
    return result.reasoning_content or "", result.text or "", calls


class OnCarrier:
    """A client as ``Messages`` needs it, with one carrier for all streams."""

    def __init__(self, client: Client, carrier: Way) -> None:
        self._client = client
        self._carrier: Way = carrier

    async def run(
        self, task: TextInference, *, timeout: float | None = None, key: str | None = None
    ) -> Result:
        return await self._client.run(task, timeout=timeout, key=key)

    def stream(
        self, task: TextInference, *, timeout: float | None = None, key: str | None = None
    ) -> TaskStream:
        return self._client.stream(task, carrier=self._carrier, timeout=timeout, key=key)


async def message_of(client: Client, carrier: Way, timeout: float = 15.0) -> MessageStream:
    messages: list[MessageParam] = [{"role": "user", "content": "how is it there"}]
    return await Messages(OnCarrier(client, carrier)).create(
        max_tokens=64, messages=messages, stream=True, timeout=timeout
    )


async def streamed(client: Client, carrier: Way) -> tuple[list[Delta], Result]:
    task = TextInference.prompt("how is it there")
    with anyio.fail_after(20):
        async with client.stream(task, carrier=carrier, timeout=15) as stream:
            deltas = [delta async for delta in stream]
            return deltas, await stream.result()


@CARRIERS
async def test_both_calls_are_in_the_deltas_and_in_the_result(carrier: Way) -> None:
    async with server() as emulator, client_of(emulator) as client:
        deltas, result = await streamed(client, carrier)
    assert len(deltas) == len(PARTS)
    assert joined(deltas) == said_by(result) == SAID
    assert result.finish_reason == "tool_calls"


@CARRIERS
async def test_calls_that_come_whole_and_nested_calls(carrier: Way) -> None:
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    flat = [{"id": "a", **call}, {"id": "b", **call}]
    nested = [{"id": "a", "function": call}, {"id": "b", "function": call}]
    answers: list[dict[str, Any]] = [{"toolCalls": flat}, {"toolCalls": nested}]
    async with Emulator(KEY) as emulator, client_of(emulator) as client:

        @emulator.reply("textInference")
        def reply(_: Request) -> dict[str, Any]:
            return answers.pop(0)

        for how in ("whole", "pieces"):
            emulator.options = EmulatorOptions(stream_tool_calls=how)
            deltas, result = await streamed(client, carrier)
            said = [(id, "weather", {"city": "Oslo"}) for id in ("a", "b")]
            assert joined(deltas) == said_by(result) == ("", "", said)


@pytest.mark.parametrize(
    ("carrier", "resume"),
    [
        ("socket", "continue"),
        ("socket", "restart"),
        ("socket", "whole"),
        pytest.param("sse", "lost", marks=pytest.mark.slow),
    ],
)
async def test_cut_behind_each_delta_the_rest_comes(carrier: Way, resume: Any) -> None:
    async with server(stream_resume=resume) as emulator, client_of(emulator) as client:
        for count in CUTS:
            emulator.faults.cut_after(deltas=count)
            deltas, result = await streamed(client, carrier)
            assert joined(deltas) == said_by(result) == SAID, count
            assert len(deltas) <= count + 1, "after a cut the rest comes as one delta"
    assert not emulator.stats.executed_twice


@pytest.mark.parametrize("carrier", ["socket", pytest.param("sse", marks=pytest.mark.slow)])
async def test_a_message_cut_behind_each_delta_has_whole_calls(carrier: Way) -> None:
    async with server() as emulator, client_of(emulator) as client:
        for count in CUTS:
            emulator.faults.cut_after(deltas=count)
            events: list[MessageEvent] = []
            with anyio.fail_after(20):
                async with await message_of(client, carrier) as stream:
                    events += [event async for event in stream]
            message = accumulated(events)
            assert [block.to_dict() for block in message.content] == CONTENT, count
            assert message.stop_reason == "tool_use"
            assert events[-1].type == "message_stop"
    assert not emulator.stats.executed_twice


@CARRIERS
async def test_a_message_that_cannot_be_completed_never_stops(carrier: Way) -> None:
    options: dict[str, Any] = {"archive_limit": 0, "stream_resume": "lost"}
    async with server(**options) as emulator, client_of(emulator) as client:
        emulator.faults.cut_after(deltas=8)
        kinds: list[str] = []
        stream = await message_of(client, carrier, timeout=1.0)
        with anyio.fail_after(20), pytest.raises(StreamInterrupted):  # noqa: PT012
            async with stream:
                async for event in stream:
                    kinds.append(event.type)  # noqa: PERF401
        assert kinds.count("content_block_start") == 3
        assert not {"message_delta", "message_stop"} & set(kinds)
        with pytest.raises((StreamInterrupted, StopAsyncIteration)):
            await anext(stream)


@CARRIERS
@pytest.mark.parametrize("how", ["alone", "in-fields", "whole", "never"])
async def test_ends_of_a_stream(carrier: Way, how: Any) -> None:
    """No delta in the last item, the whole behind all deltas, or only the end of the answer."""
    if (carrier, how) == ("socket", "never"):
        return  # Over a socket nothing would tell that this stream is over.
    calls = [{"id": "a", "name": "weather", "arguments": '{"city": "Oslo"}'}]
    emulator = Emulator(KEY, options=EmulatorOptions(stream_finish=how))

    @emulator.reply("textInference")
    def reply(_: Request) -> dict[str, Any]:
        return {"text": "How many roads", "toolCalls": calls}

    async with emulator, client_of(emulator) as client:
        deltas, result = await streamed(client, carrier)
        assert client.stats().connections <= 1
    said = ("", "How many roads", [("a", "weather", {"city": "Oslo"})])
    assert joined(deltas) == said_by(result) == said
    assert result.recovered_by is RecoveredBy.LIVE
