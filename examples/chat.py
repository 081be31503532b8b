"""A chat in the terminal: the answer appears while the model writes it.

Run it as ``python examples/chat.py`` and type; an empty line does nothing, the end of the input
(Ctrl-D) ends the chat. ``--say TEXT`` asks one question and ends. Without ``RUNWARE_API_KEY`` you
talk to a local emulator, which is polite but knows little.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

from _server import server

from runware_ws import Client, RunwareError, StreamInterrupted
from runware_ws.emulator import Emulator, EmulatorOptions, Request
from runware_ws.messages import MessageParam

SYSTEM = "You are a friendly partner in a chat. Answer in a few sentences."


async def say(client: Client, history: list[MessageParam], text: str) -> bool:
    """Ask, and print the answer as it comes; ``history`` grows by both, or stays as it was."""
    asked: list[MessageParam] = [*history, {"role": "user", "content": text}]
    stream = await client.messages.create(
        max_tokens=1000, system=SYSTEM, messages=asked, stream=True, timeout=120
    )
    try:
        # If the socket is cut meanwhile, the text stops for a moment, and then goes on: no word
        # comes twice. Leaving the block early (Ctrl-C) gives the answer up.
        async with stream:
            async for event in stream:
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    print(event.delta.text, end="", flush=True)
    except StreamInterrupted as error:
        # What came is on the screen, and is no whole answer: the model shall not build on it.
        print(f"\n[the answer broke off: {error.message}]")
        return False
    except RunwareError as error:
        print(f"\n[no answer: {error} (safe to ask again: {error.safe_to_resend})]")
        return False
    print()
    answer = stream.message()
    if answer.stop_reason == "max_tokens":
        print("[the answer was too long and is cut off]")
    history[:] = asked
    if answer.content:
        history.append({"role": "assistant", "content": answer.content})
    return True


async def typed_lines() -> AsyncGenerator[str]:
    """Lines of the standard input. The connection lives on while nobody types."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def tell(line: str | None) -> None:
        with suppress(RuntimeError):  # the chat is over, and its loop is closed
            loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        # Unbuffered: a thread that waits in here holds no lock that the end would wait for.
        with open(0, "rb", buffering=0, closefd=False) as raw:
            for line in raw:
                tell(line.decode("utf-8", "replace"))
        tell(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line.strip()


async def chat(client: Client, lines: AsyncIterator[str]) -> None:
    """Question and answer, until there are no more lines."""
    history: list[MessageParam] = []
    prompt = "you: " if sys.stdin.isatty() else ""
    print(prompt, end="", flush=True)
    async for line in lines:
        if line:
            await say(client, history, line)
        print(prompt, end="", flush=True)


def script_the_model(emulator: Emulator) -> None:
    """Only for the emulator: what the "model" says, and how fast."""
    emulator.options = EmulatorOptions(token_rate=50)

    @emulator.reply("textInference")
    def model(request: Request) -> str:
        said = [m["content"] for m in request.task["messages"] if m["role"] == "user"]
        if len(said) == 1:
            return f"You said: {said[-1]}"
        return f"You said: {said[-1]} (and before that: {said[-2]})"


async def main(text: str | None) -> bool:
    async with server(script_the_model) as (url, key), Client(url, api_key=key) as client:
        if text is not None:
            return await say(client, [], text)
        await chat(client, typed_lines())
        return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A chat in the terminal.")
    parser.add_argument("--say", metavar="TEXT", help="ask this one question and end")
    try:
        done = asyncio.run(main(parser.parse_args().say))
    except KeyboardInterrupt:
        print()
        done = True
    raise SystemExit(0 if done else 1)
