"""``Messages.create`` over a client and the emulator."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from typing import Any

import anyio
import jsonschema_rs
import pytest

from runware_ws import Client, InvalidTask, Submitted, TaskCancelled, TaskTimeout
from runware_ws.emulator import Emulator, Request
from runware_ws.messages import (
    Message,
    MessageParam,
    Messages,
    MessageStream,
    ToolParam,
    ToolUseBlock,
    UnsupportedWarning,
    parse_tool_text,
)

from .support import KEY, UUID, request, validator

pytestmark = pytest.mark.anyio

SEED = validator("response")
TOOL: ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


async def test_create() -> None:
    async with Emulator(KEY) as emulator, Client(emulator.url, api_key=KEY) as client:
        api: Any = Messages(client)
        message: Message = await api.create(
            **request(), task_uuid=UUID, include_cost=True, timeout=5, metadata={"user_id": "7"}
        )
        SEED.validate(message)
        assert message.content[0].type == "text"
        assert message.stop_reason == "end_turn"
        assert message.usage.output_tokens > 0
        assert message.runware.task_uuid == UUID
        assert message.runware.cost is not None
        model = "anthropic:claude@haiku-4.5"
        other: Message = await api.create(**request(), model=model)
        assert other.model == "anthropic:claude@haiku-4.5"
        assert other.id != message.id
    assert emulator.stats.executions[UUID] == 1


async def test_a_loop_of_tools() -> None:
    seen: list[list[dict[str, Any]]] = []
    async with Emulator(KEY) as emulator, Client(emulator.url, api_key=KEY) as client:

        @emulator.reply("textInference")
        def model(request: Request) -> dict[str, Any]:
            seen.append(
                [block for m in request.task["messages"] for block in parse_tool_text(m["content"])]
            )
            results = [block for block in seen[-1] if block["type"] == "tool_result"]
            if results:
                return {"text": f"It is {results[-1]['content']}.", "finishReason": "stop"}
            call = {"id": "call-1", "name": "get_weather", "arguments": {"city": "Oslo"}}
            return {"text": "I will look.", "toolCalls": [call], "finishReason": "tool_calls"}

        turns: list[MessageParam] = [{"role": "user", "content": "How cold is it in Oslo?"}]
        api = Messages(client)
        while True:
            message = await api.create(
                max_tokens=99, messages=turns, tools=[TOOL], tool_choice={"type": "auto"}
            )
            SEED.validate(message)
            if message.stop_reason != "tool_use":
                break
            turns.append({"role": "assistant", "content": message.content})
            turns.append(
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": block.id, "content": "-3 °C"}
                        for block in message.content
                        if block.type == "tool_use"
                    ],
                }
            )
    assert message.content == [{"type": "text", "text": "It is -3 °C."}]
    assert seen[1] == [
        {"type": "text", "text": "How cold is it in Oslo?"},
        {"type": "text", "text": "I will look."},
        {"type": "tool_use", "id": "call-1", "name": "get_weather", "input": {"city": "Oslo"}},
        {"type": "tool_result", "tool_use_id": "call-1", "content": "-3 °C"},
    ]


async def test_what_is_refused_never_reaches_the_wire() -> None:
    async with Emulator(KEY) as emulator, Client(emulator.url, api_key=KEY) as client:
        api = Messages(client)
        with pytest.raises(InvalidTask, match=r"^temperature: .*; top_k: "):
            await api.create(**request(), temperature=0.3, top_k=5)
        assert client.stats().submitted == 0
        with pytest.warns(UnsupportedWarning, match=": temperature$") as warned:
            await api.create(**request(), temperature=0.3, unsupported="drop")
        assert warned[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await api.create(**request(), temperature=None, stream=False, system=None)
        assert client.stats().submitted == 2


async def test_a_stream_gives_the_events_of_the_same_message() -> None:
    async with Emulator(KEY) as emulator, Client(emulator.url, api_key=KEY) as client:
        stream = await client.messages.create(**request(), stream=True)
        async with stream:
            kinds = [event["type"] async for event in stream]
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
        whole = stream.message()
        assert whole.stop_reason == "end_turn"
        assert whole.content[0]["text"]
        left_early = await client.messages.create(**request(), stream=True)
        async with left_early:
            await anext(left_early)
        assert client.stats().pending == 0


async def test_a_stream_that_was_given_up_sends_nothing_more() -> None:
    async with Emulator(KEY) as emulator, Client(emulator.url, api_key=KEY) as client:

        @emulator.reply("textInference")
        async def reply(_: Request) -> AsyncIterator[dict[str, Any]]:
            yield {"text": "I begin, and"}
            await anyio.sleep_forever()

        unread = await client.messages.create(**request(), stream=True)
        await unread.aclose()
        begun = await client.messages.create(**request(), stream=True)
        async with begun:
            assert (await anext(begun)).type == "message_start"
        for stream, submitted in ((unread, Submitted.NO), (begun, Submitted.YES)):
            with pytest.raises(TaskCancelled) as caught:
                _ = [event async for event in stream]
            assert caught.value.submitted is submitted
            assert caught.value.task_uuid is not None
        assert client.stats().pending == 0
        assert client.stats().submitted == 1
    assert emulator.stats.executed == 1


async def test_two_readers_share_the_events_and_both_end() -> None:
    async with Emulator(KEY) as emulator, Client(emulator.url, api_key=KEY) as client:
        stream = await client.messages.create(**request(), stream=True)
        kinds: list[str] = []

        async def read() -> None:
            async for event in stream:
                kinds.append(event.type)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read)
        assert (kinds.count("message_start"), kinds.count("message_stop")) == (1, 1)
        assert stream.message().stop_reason == "end_turn"


async def test_timeout_and_cancellation() -> None:
    async with (
        Emulator(KEY, latency="10s") as emulator,
        Client(emulator.url, api_key=KEY) as client,
    ):
        with pytest.raises(TaskTimeout):
            await Messages(client).create(**request(), timeout=0.1)
        with anyio.move_on_after(0.1) as scope:
            await Messages(client).create(**request(), timeout=None)
        assert scope.cancelled_caught
        assert client.stats().pending == 0


async def test_the_emulator_calls_forced_tools_and_stops_at_max_tokens() -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "minLength": 9}, "days": {"enum": [3]}},
        "required": ["city", "days"],
    }
    tool: ToolParam = {"name": "get_weather", "input_schema": schema}
    turns: list[MessageParam] = [{"role": "user", "content": "How cold is it in Oslo?"}]
    async with Emulator(KEY) as emulator, Client(emulator.url, api_key=KEY) as client:
        for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
            fields: Any = {"messages": turns, "tools": [tool], "tool_choice": choice}
            create: Any = client.messages.create
            whole: Message = await create(max_tokens=99, **fields)
            events: MessageStream = await create(max_tokens=99, stream=True, **fields)
            async for _ in events:
                pass
            for message in (whole, events.message()):
                (block,) = message.content
                assert isinstance(block, ToolUseBlock)
                assert jsonschema_rs.validator_for(schema).is_valid(block.input)
                assert message.stop_reason == "tool_use"
                assert message.usage.output_tokens > 5
            short: Message = await create(max_tokens=2, **fields)
            assert short.stop_reason == "max_tokens"
        short = await client.messages.create(max_tokens=3, messages=turns)
        assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 3)
