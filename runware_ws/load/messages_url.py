"""A server that speaks the Messages shape, asked over plain HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import anyio
import httpx2
import orjson

__all__ = ["MessagesFailed", "MessagesUrl", "Said"]

_VERSION = "2023-06-01"
_MODEL = "claude-haiku-4-5"
_MAX_TOKENS = 4096


class MessagesFailed(Exception):
    """There is no whole answer. ``left``: the server may have made one."""

    def __init__(self, family: str, *, left: bool) -> None:
        super().__init__(family)
        self.family = family
        self.left = left


@dataclass(frozen=True, slots=True)
class Said:
    """The answer: its text, when the first piece came (loop's clock), and its tokens."""

    text: str
    first_delta: float | None
    tokens: int | None


class MessagesUrl:
    """Where to post to. ``stream``: ask for events. No proxy and no redirect gets the key."""

    def __init__(self, url: str, api_key: str | None, *, stream: bool = False) -> None:
        path = httpx2.URL(url).path.rstrip("/")
        self._url = url if path.endswith("/messages") else f"{url.rstrip('/')}/v1/messages"
        self._stream = stream
        headers = {"anthropic-version": _VERSION, "content-type": "application/json"}
        if api_key is not None:
            headers["x-api-key"] = api_key
        # The load decides how many requests are under way: a pool that made them wait would
        # be a queue of our own, counted as the server's time.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=1_000)
        self._http = httpx2.AsyncClient(
            headers=headers, limits=limits, trust_env=False, follow_redirects=False
        )

    def __repr__(self) -> str:
        return f"<MessagesUrl {self._url}>"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def ask(self, task: dict[str, Any], timeout: float) -> Said:
        """Ask one question. ``timeout``: seconds for all of it.

        Raises:
            MessagesFailed: there is no whole answer.
        """
        body = orjson.dumps(message_request(task, stream=self._stream))
        try:
            with anyio.fail_after(timeout):
                async with self._http.stream(
                    "POST", self._url, content=body, timeout=None
                ) as response:
                    if response.status_code != 200:
                        left = response.status_code >= 500 or response.status_code == 408
                        raise MessagesFailed(f"HTTP {response.status_code}", left=left)
                    if self._stream:
                        return await _streamed(response.aiter_lines())
                    return _whole(await response.aread())
        except TimeoutError:
            raise MessagesFailed("timeout", left=True) from None
        except (httpx2.ConnectError, httpx2.UnsupportedProtocol) as exc:
            raise MessagesFailed(type(exc).__name__, left=False) from None
        except httpx2.HTTPError as exc:
            raise MessagesFailed(type(exc).__name__, left=True) from None


def message_request(task: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    """A task in the wire's spelling, as a request in the Messages shape: texts and limits."""
    settings: dict[str, Any] = task.get("settings") or {}
    request: dict[str, Any] = {
        "model": _MODEL,
        "max_tokens": settings.get("maxTokens", _MAX_TOKENS),
        "messages": task["messages"],
    }
    if "systemPrompt" in settings:
        request["system"] = settings["systemPrompt"]
    if "stopSequences" in settings:
        request["stop_sequences"] = settings["stopSequences"]
    if stream:
        request["stream"] = True
    return request


def _whole(body: bytes) -> Said:
    try:
        message = orjson.loads(body)
        text = "".join(block.get("text", "") for block in message["content"])
        return Said(text, None, message["usage"]["output_tokens"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise MessagesFailed("no message", left=True) from None


async def _streamed(lines: AsyncIterator[str]) -> Said:
    reading = _Reading()
    # To its end, whatever is in it: what is left half read would have to be closed by hand.
    async for line in lines:
        if line.startswith("data:") and not reading.over:
            try:
                reading.take(cast("dict[str, Any]", orjson.loads(line[5:])))
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                reading.end("a broken event")
    if not reading.over:
        reading.end("the stream did not end")
    if reading.failure is not None:
        raise MessagesFailed(reading.failure, left=True)
    return Said("".join(reading.texts), reading.first, reading.tokens)


class _Reading:
    """A streamed message while it comes. ``over``: it ended, or failed."""

    def __init__(self) -> None:
        self.over = False
        self.failure: str | None = None
        self.first: float | None = None
        self.tokens: int | None = None
        self.texts: list[str] = []

    def end(self, failure: str | None) -> None:
        self.over, self.failure = True, failure

    def take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "content_block_delta":
            if self.first is None:
                self.first = anyio.current_time()
            self.texts.append(event["delta"].get("text", ""))
        elif kind == "message_delta":
            self.tokens = event["usage"]["output_tokens"]
        elif kind == "error":
            self.end(str(event["error"]["type"]))
        elif kind == "message_stop":
            self.end(None)
