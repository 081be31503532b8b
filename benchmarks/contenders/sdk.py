"""The published client ``runware-sdk``."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.contenders import harness, loopback
from benchmarks.workloads import REDIAL_AFTER

loopback.only()
runware: Any = importlib.import_module("runware")


class Sdk:
    """``client.run`` over its WebSocket."""

    async def open(self, url: str, key: str, *, in_flight: int) -> None:
        del in_flight
        self._client: Any = runware.Runware(
            api_key=key,
            ws_base_url=url,
            transport="websocket",
            retry_delay=int(1000 * REDIAL_AFTER),
        )
        await self._client.connect()

    async def close(self) -> None:
        await self._client.close()

    def prepare(self, task: dict[str, Any]) -> Any:
        return task

    def runner(self, delivery: str) -> Callable[[Any], Awaitable[Any]]:
        del delivery
        run: Callable[[Any], Awaitable[Any]] = self._client.run
        return run

    def text(self, result: list[dict[str, Any]]) -> str:
        return str(result[0]["text"])


if __name__ == "__main__":
    harness.main(Sdk())
