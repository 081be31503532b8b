"""Drives the client of the package ``runware``. Arguments: case, URL, key."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from typing import Any

guard: Any = importlib.import_module("guard")
guard.watch()
runware: Any = importlib.import_module("runware")

MODEL = "anthropic:claude@haiku-4.5"


def task(prompt: str, **fields: Any) -> Any:
    messages = [runware.ITextInferenceMessage(role="user", content=prompt)]
    return runware.ITextInference(model=MODEL, messages=messages, **fields)


async def lost(client: Any) -> None:
    """Wait until the client has noticed the end of its socket."""
    deadline = time.monotonic() + 10
    while client.connected() and time.monotonic() < deadline:  # noqa: ASYNC110 - no event for it
        await asyncio.sleep(0.01)


async def run(client: Any, case: str) -> list[Any]:
    if case == "sync":
        return list(await client.textInference(task("one", includeUsage=True)))
    if case == "several":
        return list(await client.textInference(task("one", numberResults=3)))
    if case == "async":
        accepted = await client.textInference(task("one", deliveryMethod="async"))
        return list(await client.getResponse(accepted.taskUUID))
    if case == "reconnect":
        items = list(await client.textInference(task("one")))
        await lost(client)
        return items + list(await client.textInference(task("two")))
    raise ValueError(case)


async def main(case: str, url: str, key: str) -> None:
    client: Any = runware.Runware(api_key=key, url=url)
    started = time.monotonic()
    try:
        await client.connect()
        items = [
            {"text": item.text, "taskUUID": item.taskUUID, "usage": str(item.usage)}
            for item in await run(client, case)
        ]
        guard.report(items=items, error=None, seconds=time.monotonic() - started)
    except Exception as exc:
        guard.report(items=[], error=f"{exc}", seconds=time.monotonic() - started)
    finally:
        await client.disconnect()


asyncio.run(main(*sys.argv[1:]))
