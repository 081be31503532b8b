"""Drives the client of the package ``runware-sdk``. Arguments: case, URL, key."""

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


def task(prompt: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"taskType": "textInference", "model": MODEL, "messages": messages, **fields}


async def lost(client: Any) -> None:
    """Wait until the client has noticed the end of its socket."""
    deadline = time.monotonic() + 10
    while client.is_connected and time.monotonic() < deadline:  # noqa: ASYNC110 - no event for it
        await asyncio.sleep(0.01)


async def main(case: str, url: str, key: str) -> None:
    client: Any = runware.Runware(
        api_key=key, ws_base_url=url, transport="websocket", retry_delay=50, timeout=20_000
    )
    started = time.monotonic()
    try:
        await client.connect()
        if case == "sync":
            items = await client.run(task("one", deliveryMethod="sync", includeUsage=True))
        elif case == "async":
            items = await client.run(task("one", deliveryMethod="async"))
        elif case == "several":
            items = await client.run(task("one", deliveryMethod="sync", numberResults=3))
        elif case == "reconnect":
            items = await client.run(task("one", deliveryMethod="sync"))
            await lost(client)
            items += await client.run(task("two", deliveryMethod="sync"))
        else:
            raise ValueError(case)
        guard.report(items=items, error=None, seconds=time.monotonic() - started)
    except Exception as exc:
        guard.report(items=[], error=f"{exc}", seconds=time.monotonic() - started)
    finally:
        await client.close()


asyncio.run(main(*sys.argv[1:]))
