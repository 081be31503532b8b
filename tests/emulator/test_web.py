"""HTTP on the emulator's port, by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from runware_ws.emulator import Emulator, EmulatorOptions, ReplyError, Request
from tests import virtual

from .wire import (
    KEY,
    TOO_LONG,
    connected,
    details,
    expected,
    ready,
    serving,
    stream_task,
    text_of,
    text_task,
    until,
)

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


class Http:
    """One HTTP connection, by hand."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._read = BufferedByteReceiveStream(stream)

    async def send(self, body: Any, *headers: str, method: str = "POST", path: str = "/v1") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = (f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}", *headers)
        await self.stream.send("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    async def post(self, *tasks: Any, key: str = KEY) -> tuple[int, dict[str, str]]:
        await self.send(tasks, f"Authorization: Bearer {key}")
        return await self.head()

    async def head(self) -> tuple[int, dict[str, str]]:
        with anyio.fail_after(TOO_LONG):
            lines = (await self._read.receive_until(b"\r\n\r\n", 10_000)).decode().split("\r\n")
        headers = [line.partition(": ") for line in lines[1:]]
        return int(lines[0].split()[1]), {name.lower(): value for name, _, value in headers}

    async def json(self, headers: dict[str, str]) -> Any:
        return json.loads(await self.body(headers))

    async def body(self, headers: dict[str, str]) -> bytes:
        return await self._read.receive_exactly(int(headers["content-length"]))

    async def chunk(self) -> bytes:
        with anyio.fail_after(TOO_LONG):
            size = int(await self._read.receive_until(b"\r\n", 100), 16)
            return (await self._read.receive_exactly(size + 2))[:-2]

    async def events(self) -> list[str]:
        """Every event up to the proper end."""
        whole = b""
        while chunk := await self.chunk():
            whole += chunk
        events = whole.decode().split("\n\n")
        assert events.pop() == ""
        assert all(event.startswith("data: ") for event in events)
        return [event.removeprefix("data: ") for event in events]


@asynccontextmanager
async def http(emulator: Emulator) -> AsyncGenerator[Http, None]:
    async with await connected(emulator) as stream:
        yield Http(stream)


async def test_events_and_json_on_one_connection() -> None:
    async with serving(KEY) as emulator, http(emulator) as wire:
        for _ in range(2):
            status, headers = await wire.post(
                task := stream_task(includeUsage=True, includeCost=True)
            )
            assert (status, headers["content-type"]) == (200, "text/event-stream")
            *items, done = await wire.events()
            assert done == "[DONE]"
            found = [json.loads(item) for item in items]
            assert text_of(found) == expected(task)
            assert found[-1]["finishReason"] == "stop"
            assert {"usage", "cost"} <= set(found[-1])
            status, headers = await wire.post(details(task))
            answer = await wire.json(headers)
            assert answer["data"][0]["response"]["data"][0]["text"] == expected(task)
        status, headers = await wire.post(plain := text_task(), text_task(numberResults=2))
        assert (status, headers["content-type"]) == (200, "application/json")
        data = (await wire.json(headers))["data"]
        assert data[0]["text"] == expected(plain)
        assert len(data) == 3
        assert emulator.stats.posts == 5
        assert emulator.stats.connections == 1
        assert emulator.stats.executed_twice == []


async def test_choices_over_http() -> None:
    options = EmulatorOptions(sse_done=False, sse_framing="enveloped")
    async with serving(KEY, options=options) as emulator, http(emulator) as wire:
        await wire.post(task := stream_task())
        items = [json.loads(event)["data"][0] for event in await wire.events()]
        assert text_of(items) == expected(task)
        emulator.options = EmulatorOptions(stream_over_http="whole")
        _, headers = await wire.post(task := stream_task())
        assert (await wire.json(headers))["data"][0]["text"] == expected(task)
        emulator.options = EmulatorOptions(stream_over_http="error", http_error_status=422)
        status, headers = await wire.post(stream_task())
        assert (await wire.json(headers))["errors"][0]["code"] == "unsupportedDeliveryMethod"
        assert status == 422


async def test_authentication_over_http() -> None:
    async with serving(KEY) as emulator, http(emulator) as wire:
        status, headers = await wire.post(stream_task(), key="wrong")
        assert status == 401
        assert (await wire.json(headers))["errors"][0]["code"] == "invalidApiKey"
        await wire.send([text_task()])
        status, headers = await wire.head()
        assert (status, (await wire.json(headers)).keys()) == (401, {"errors"})
        await wire.send([{"taskType": "authentication", "apiKey": KEY}, text_task()])
        status, headers = await wire.head()
        assert (status, len((await wire.json(headers))["data"])) == (200, 1)
        assert emulator.stats.refused == 2


async def test_refusals_over_http() -> None:
    async with serving(KEY, options=EmulatorOptions(max_frame_bytes=500)) as emulator:
        async with http(emulator) as wire:
            for body in (b"[", b"{}", b"[1]"):
                await wire.send(body, f"Authorization: Bearer {KEY}")
                status, headers = await wire.head()
                assert (status, "errors" in await wire.json(headers)) == (400, True)
            for method, path, expected_status in (("POST", "/v2", 404), ("PUT", "/v1", 405)):
                await wire.send([], method=method, path=path)
                status, headers = await wire.head()
                await wire.json(headers)
                assert status == expected_status
            emulator.faults.reject_posts(429, 2.5)
            status, headers = await wire.post(stream_task())
            await wire.json(headers)
            assert (status, headers["retry-after"]) == (429, "2.5")
            status, headers = await wire.post(stream_task(numberResults=2))
            await wire.json(headers)
            assert status == 400
            assert emulator.stats.posts_rejected == 1
            status, _ = await wire.post(text_task("x" * 600))
            assert status == 413
        async with http(emulator) as wire:
            await wire.stream.send(b"NONSENSE\r\n\r\n")
            assert (await wire.head())[0] == 400


@pytest.mark.parametrize("mid_frame", [False, True])
async def test_cut_of_events(mid_frame: bool) -> None:
    options = EmulatorOptions(token_pause=0.002)
    async with serving(KEY, options=options) as emulator:
        emulator.faults.cut_after(deltas=3, mid_frame=mid_frame)
        async with http(emulator) as wire:
            await wire.post(task := stream_task())
            await wire.chunk()
            await wire.chunk()
            if not mid_frame:
                await wire.chunk()
            with pytest.raises((anyio.IncompleteRead, anyio.DelimiterNotFound)):
                await wire.chunk()
        await until(lambda: emulator.live_sockets == 0)
        async with ready(emulator) as (socket, _):
            await anyio.sleep(0.05)
            await socket.send(details(task))
            assert (await socket.item())["response"]["data"][0]["text"] == expected(task)
        assert emulator.stats.executions[task["taskUUID"]] == 1


async def test_a_client_that_goes_away_and_cuts_on_order() -> None:
    options = EmulatorOptions(token_pause=0.005)
    async with serving(KEY, options=options) as emulator:
        async with http(emulator) as wire:
            await wire.post(stream_task())
            await wire.chunk()
        await until(lambda: emulator.live_sockets == 0)
        async with http(emulator) as wire:
            await wire.post(stream_task())
            await wire.chunk()
            assert emulator.faults.cut(1012, mid_frame=True) == 1
            with pytest.raises((anyio.IncompleteRead, anyio.DelimiterNotFound)):
                await wire.events()
        await until(lambda: emulator.live_sockets == 0)


async def test_errors_inside_a_stream_of_events() -> None:
    async with serving(KEY) as emulator, http(emulator) as wire:

        @emulator.reply("textInference")
        def script(_: Request) -> Iterator[str]:
            yield "so "
            raise ReplyError("providerError", "It broke.")

        await wire.post(stream_task())
        first, second, done = await wire.events()
        assert json.loads(first)["delta"] == {"text": "so "}
        assert json.loads(second)["errors"][0]["code"] == "providerError"
        assert done == "[DONE]"


async def test_a_blackhole_holds_http_as_well() -> None:
    async with serving(KEY) as emulator, http(emulator) as wire:
        emulator.faults.blackhole("hold")
        await wire.send([text_task()], f"Authorization: Bearer {KEY}")
        with anyio.move_on_after(0.05) as scope:
            await wire.head()
        assert scope.cancelled_caught
        emulator.faults.heal()
        assert (await wire.head())[0] == 200


async def test_http_without_h11(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h11", None)
    async with serving(KEY) as emulator:
        async with http(emulator) as wire:
            status, headers = await wire.post(text_task())
            assert status == 501
            body = await wire.body(headers)
            assert b"pip install 'runware-ws[sse]'" in body
        async with ready(emulator) as (socket, _):
            await socket.send(text_task())
            await socket.item()
