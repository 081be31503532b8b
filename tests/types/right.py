"""Right uses: both type checkers must find nothing here. Never run."""

from __future__ import annotations

import ssl
from typing import assert_type
from uuid import UUID

import tenacity

from runware_ws import Client, Config, Result, TextInference, Verdict
from runware_ws.messages import (
    Message,
    MessageEvent,
    MessageParam,
    MessageStream,
    ToolParam,
    ToolResultBlockParam,
    ToolUseBlock,
)

TOOL: ToolParam = {"name": "look", "input_schema": {"type": "object", "properties": {}}}


def options(session: UUID, context: ssl.SSLContext) -> None:
    Client(max_in_flight=5, timeout=None, backoff=tenacity.wait_fixed(1), proxy=None)
    Client("wss://host", api_key=lambda: "key", session_uuid=session, ssl=context)
    Client(config=Config(session_uuid=session), close_codes={4000: "terminal"})
    assert_type(Config(session_uuid=session).session_uuid, str | None)
    table: dict[int, Verdict] = {4001: Verdict.RESUME}
    Config(close_codes=table, http_statuses={404: Verdict.BACK_OFF})


async def requests(client: Client) -> None:
    history: list[MessageParam] = [{"role": "user", "content": "hello"}]
    message = await client.messages.create(
        max_tokens=9, messages=history, tools=[TOOL], tool_choice={"type": "auto"}
    )
    assert_type(message, Message)
    results: list[ToolResultBlockParam] = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "-3 °C"}
        for block in message.content
        if block.type == "tool_use"
    ]
    history.append({"role": "assistant", "content": message.content})
    history.append({"role": "user", "content": results})
    stream = await client.messages.create(
        max_tokens=9,
        stream=True,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        tools=[{"type": "web_search_20250305", "name": "web_search"}],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image", "source": {"type": "url", "url": "https://host/a.png"}},
                ],
            }
        ],
    )
    assert_type(stream, MessageStream)
    async with stream:
        async for event in stream:
            print(text_of(event))


def text_of(event: MessageEvent) -> str:
    if event.type == "message_start":
        return event.message.id
    if event.type == "content_block_delta" and event.delta.type == "text_delta":
        return event.delta.text
    if event.type == "content_block_start" and event.content_block.type == "tool_use":
        assert_type(event.content_block, ToolUseBlock)
        return event.content_block.name
    return event["type"] if event.type != "message_delta" else str(event.usage.output_tokens)


async def verbs(client: Client) -> None:
    task = TextInference.prompt("hello")
    assert_type(await client.run(task, timeout=None), Result)
    async with client.stream(task, carrier="socket") as stream:
        async for delta in stream:
            print(delta.text)
