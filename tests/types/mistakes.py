# type: ignore
"""Mistakes: each marked line must fail under both type checkers, and no other. Never run.

``test_types.py`` takes the first line away, which hides them from the checkers' common runs.
"""

from __future__ import annotations

from runware_ws import Client, Config, Result, TextInference
from runware_ws.messages import Message, MessageEvent, MessageParam, ToolParam


def options() -> None:
    Client(max_in_fligth=5)  # wrong
    Client(max_in_flight="5")  # wrong
    Client(timeout="5s")  # wrong
    Client(resubmit="always")  # wrong
    Client(close_codes={4000: "terminate"})  # wrong
    Client(proxy=5)  # wrong
    Client(ssl=True)  # wrong
    Config(max_in_fligth=5)  # wrong
    Config(session_uuid=5)  # wrong


def tasks() -> None:
    TextInference(messages="hello")  # wrong
    TextInference.prompt(5)  # wrong
    TextInference.prompt("hello", number_result=2)  # wrong
    TextInference.prompt("hello", number_results="2")  # wrong
    TextInference.prompt("hello", delivery_method="later")  # wrong
    TextInference.prompt("hello", settings={"maxTokens": 5})  # wrong
    TextInference.prompt("hello", messages=[])  # wrong


async def requests(client: Client, task: TextInference) -> None:
    create = client.messages.create
    await create(messages=[{"role": "robot", "content": "hello"}], max_tokens=9)  # wrong
    await create(messages=[{"role": "user", "contnet": "hello"}], max_tokens=9)  # wrong
    await create(messages=[], max_tokens=9, tools=[{"name": "f", "input_shema": {}}])  # wrong
    await create(messages=[], max_tokens=9, tool_choice={"type": "some"})  # wrong
    await create(messages=[], max_token=9)  # wrong
    await create(messages=[], max_tokens=9, thinking_level="lots")  # wrong
    await client.run(task, timeout="5")  # wrong
    client.stream(task, carrier="http")  # wrong
    client.map([task], concurrency="5")  # wrong


async def verbs(client: Client, task: TextInference) -> None:
    await client.run(task, timout=5)  # wrong
    await client.run("hello")  # wrong
    await client.run(task, metadata={"caller": 5})  # wrong
    await client.submit(task, carrier="sse")  # wrong
    client.stream(task, carier="sse")  # wrong
    client.map(task)  # wrong
    client.map([task], key="order-17")  # wrong
    client.map([task], metadata={"caller": "me"})  # wrong
    client.map([task], concurency=5)  # wrong
    client.claim(5)  # wrong
    await client.drain("5")  # wrong
    async with client.stream(task) as stream:
        async for delta in stream:
            print(delta.txt)  # wrong
            print([piece.args for piece in delta.tool_calls])  # wrong


ROBOT: MessageParam = {"role": "robot", "content": "hello"}  # wrong
BLOCK: MessageParam = {"role": "user", "content": [{"type": "text", "txt": "a"}]}  # wrong
CALL: MessageParam = {"role": "user", "content": [{"type": "tool_result", "id": "a"}]}  # wrong
TOOL: ToolParam = {"name": "f", "schema": {}}  # wrong


def answers(message: Message, event: MessageEvent, result: Result) -> None:
    print(message.contnet)  # wrong
    print(message.usage.output_token)  # wrong
    print(message.runware.taskUUID)  # wrong
    print(message.content[0].txt)  # wrong
    print(message.stop_reason == "stopped")  # wrong
    print(event.dleta)  # wrong
    print(result.txt)  # wrong
    if event.type == "content_block_delta":
        print(event.dleta)  # wrong
        print(event.message)  # wrong
        print(event.delta.txt)  # wrong
