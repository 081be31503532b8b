"""This client."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from tenacity import wait_fixed

from benchmarks.contenders import harness
from benchmarks.workloads import REDIAL_AFTER
from runware_ws import Client, Result, TextInference


class Ours:
    """``client.run``, with the defaults of the library but for the room in flight."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._as_model = '"task": "model"' in sys.argv[1]

    async def open(self, url: str, key: str, *, in_flight: int) -> None:
        client = Client(
            url, api_key=key, max_in_flight=in_flight, backoff=wait_fixed(REDIAL_AFTER), proxy=None
        )
        self._client = await self._stack.enter_async_context(client)
        await self._client.ready(10)

    async def close(self) -> None:
        await self._stack.aclose()

    def prepare(self, task: dict[str, Any]) -> Any:
        return TextInference.from_wire(task) if self._as_model else task

    def runner(self, delivery: str) -> Callable[[Any], Awaitable[Any]]:
        del delivery
        return self._client.run

    def text(self, result: Result) -> str:
        return result.text or ""


if __name__ == "__main__":
    harness.main(Ours())
