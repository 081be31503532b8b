"""A hundred agents at once over one socket, while the wire is cut every second.

Each agent is a conversation of 20 turns in the Messages shape: in 19 of them the model calls a
tool, in the last it answers with a checksum over all that the tool returned. An answer that is
lost, doubled, or given to the wrong agent breaks the checksum; work that is done twice is counted
by the emulator.

Run it as ``python examples/agent_loop.py``. It always talks to a local emulator, even where
``RUNWARE_API_KEY`` or ``RUNWARE_WS_URL`` is set: another server cannot be told to cut the wire and
what to say, and 2000 calls cost money. It exits with 1 unless everything is right.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from runware_ws import Client, RunwareError
from runware_ws.emulator import Emulator, ReplyError, Request
from runware_ws.messages import (
    Message,
    MessageParam,
    ToolParam,
    ToolResultBlockParam,
    ToolUseBlock,
    parse_tool_text,
)

KEY = "key-of-the-local-emulator"
SECONDS_BETWEEN_CUTS = 1.0

TOOL: ToolParam = {
    "name": "next_number",
    "description": "The number that follows another one.",
    "input_schema": {
        "type": "object",
        "properties": {"after": {"type": "integer"}},
        "required": ["after"],
    },
}


def next_number(after: int) -> int:
    """The tool itself. Two agents never meet: different numbers have different followers."""
    return (75 * after + 74) % 65537


def checksum(numbers: Iterable[int]) -> str:
    """One word for all that the tool returned, in this order."""
    return f"{zlib.crc32(' '.join(map(str, numbers)).encode()):08x}"


# The agent: this is the part to take home.


async def ask(client: Client, history: list[MessageParam]) -> Message:
    """One turn. Nothing here knows about cuts: a call returns the answer, or raises."""
    return await client.messages.create(max_tokens=200, messages=history, tools=[TOOL])


class Agent:
    """One conversation, and what its tool did."""

    def __init__(self, number: int) -> None:
        self.start = number
        self.calls: Counter[str] = Counter()
        self.numbers: list[int] = []
        self.turns = 0
        self.answer = ""

    def use_tool(self, block: ToolUseBlock) -> ToolResultBlockParam:
        """Run one call; the result goes back to the model."""
        self.calls[block.id] += 1
        self.numbers.append(next_number(block.input["after"]))
        return {
            "type": "tool_result",
            "tool_use_id": block.id,
            "content": str(self.numbers[-1]),
        }

    async def converse(self, client: Client, most_turns: int) -> None:
        """Ask, run the tools that the model wants, tell it what they returned."""
        question = f"Begin with {self.start} and tell me the checksum."
        history: list[MessageParam] = [{"role": "user", "content": question}]
        while self.turns < most_turns:
            message = await ask(client, history)
            self.turns += 1
            history.append({"role": "assistant", "content": message.content})
            if message.stop_reason != "tool_use":
                self.answer = "".join(b.text for b in message.content if b.type == "text")
                return
            results = [self.use_tool(b) for b in message.content if b.type == "tool_use"]
            history.append({"role": "user", "content": results})

    def trouble(self, turns: int) -> str | None:
        """What is wrong with the conversation, by a reckoning that never saw the wire."""
        right = [next_number(self.start)]
        while len(right) < turns - 1:
            right.append(next_number(right[-1]))
        if self.turns != turns:
            return f"{self.turns} turns"
        if self.numbers != right[: turns - 1] or max(self.calls.values(), default=1) > 1:
            return "the tool was not called as it should be"
        if self.answer != f"The checksum is {checksum(self.numbers)}.":
            return f"answered {self.answer!r}"
        return None


# The model


def script_the_model(emulator: Emulator, turns: int) -> None:
    """What the "model" says. It remembers nothing: all it knows is in the conversation."""

    @emulator.reply("textInference")
    def model(request: Request) -> dict[str, Any]:
        texts = [str(message["content"]) for message in request.task["messages"]]
        number = int(texts[0].split()[2])
        results: list[int] = []
        for at, block in enumerate(block for text in texts[1:] for block in parse_tool_text(text)):
            # Calls and results take turns, and each result belongs to the call before it.
            identity = block.get("id") or block.get("tool_use_id")
            if identity != f"call-{at // 2 + 1}" or ("id" in block) != (at % 2 == 0):
                raise ReplyError("brokenHistory", "The conversation is out of order.")
            if "content" in block:
                results.append(int(block["content"]))
        if len(results) == turns - 1:
            return {"text": f"The checksum is {checksum(results)}.", "finishReason": "stop"}
        call = {
            "id": f"call-{len(results) + 1}",
            "name": "next_number",
            "arguments": {"after": results[-1] if results else number},
        }
        return {"toolCalls": [call], "finishReason": "tool_calls"}


# The show


async def run(conversations: int, turns: int) -> bool:
    """Run all of it; tells whether it went right."""
    async with Emulator(api_key=KEY, latency="100ms-500ms") as emulator:
        script_the_model(emulator, turns)
        agents = [Agent(number) for number in range(1, conversations + 1)]
        async with Client(emulator.url, api_key=KEY) as client:
            await client.ready(timeout=10)
            emulator.faults.cut_every(SECONDS_BETWEEN_CUTS)
            began = time.perf_counter()
            ends = await asyncio.gather(
                *(agent.converse(client, turns) for agent in agents), return_exceptions=True
            )
            seconds = time.perf_counter() - began
            emulator.faults.stop_cutting()
            stats = client.stats()
        twice = len(emulator.stats.executed_twice)
        executed = emulator.stats.executed

    right = 0
    for agent, end in zip(agents, ends, strict=True):
        if isinstance(end, BaseException) and not isinstance(end, RunwareError):
            raise end  # a bug in this program, not trouble on the wire
        trouble = agent.trouble(turns) if end is None else f"{type(end).__name__}: {end}"
        right += trouble is None
        if trouble is not None:
            print(f"conversation {agent.start}: {trouble}", file=sys.stderr)

    ran = "nothing run twice" if not twice else f"{twice} tasks run twice"
    print(f"{right} of {conversations} right, {ran}")
    print(f"{stats.reconnects} reconnects, {executed} calls executed, {seconds:.1f} s")
    ways = ", ".join(f"{count} {way}" for way, count in sorted(stats.recovered_by.items()))
    print(f"came home by: {ways}")
    return right == conversations and not twice and executed == conversations * turns


def main() -> None:
    parser = argparse.ArgumentParser(description="Agents over one socket that is cut each second.")
    parser.add_argument("--conversations", type=int, default=100, metavar="N")
    parser.add_argument("--turns", type=int, default=20, metavar="N")
    options = parser.parse_args()
    if options.conversations < 1 or options.turns < 1:
        parser.error("--conversations and --turns must be 1 or more")
    if not asyncio.run(run(options.conversations, options.turns)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
