"""The published client ``runware``, the older one."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.contenders import harness, loopback

loopback.only()
runware: Any = importlib.import_module("runware")


class Legacy:
    """``textInference`` of its models."""

    async def open(self, url: str, key: str, *, in_flight: int) -> None:
        del in_flight
        self._client: Any = runware.Runware(api_key=key, url=url)
        await self._client.connect()

    async def close(self) -> None:
        await self._client.disconnect()

    def prepare(self, task: dict[str, Any]) -> Any:
        messages = [runware.ITextInferenceMessage(**message) for message in task["messages"]]
        return runware.ITextInference(
            model=task["model"], messages=messages, deliveryMethod=task["deliveryMethod"]
        )

    def runner(self, delivery: str) -> Callable[[Any], Awaitable[Any]]:
        del delivery
        run: Callable[[Any], Awaitable[Any]] = self._client.textInference
        return run

    def text(self, result: list[Any]) -> str:
        return str(result[0].text)


if __name__ == "__main__":
    harness.main(Legacy())
