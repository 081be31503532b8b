"""The HTTP carrier of streams, against the emulator and against odd servers."""

from __future__ import annotations

import json
import logging
import pickle
import sys
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from runware_ws._io.http import (
    DEFAULT_HTTP_URL,
    HttpRefused,
    SseCarrier,
    StreamCut,
    check_http_url,
    sse_available,
)
from runware_ws.emulator import Emulator, EmulatorOptions, ReplyError, Request, expected_text
from runware_ws.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailed,
    ProtocolError,
    RunwareError,
    Submitted,
    TaskError,
)

pytestmark = pytest.mark.anyio

KEY = "a-key-that-must-not-show"
SECRET = SecretStr(KEY)
EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def stream_task(prompt: str = "hello streams", **fields: Any) -> dict[str, Any]:
    return {
        "taskType": "textInference",
        "taskUUID": str(uuid.uuid4()),
        "model": "anthropic:claude@haiku-4.5",
        "messages": [{"role": "user", "content": prompt}],
        "deliveryMethod": "stream",
        **fields,
    }


def expected(task: dict[str, Any]) -> str:
    return expected_text(task["messages"][-1]["content"], task["taskUUID"])


def text_of(items: list[dict[str, Any]]) -> str:
    return "".join(item["delta"].get("text", "") for item in items)


async def collect(
    carrier: SseCarrier,
    task: dict[str, Any],
    into: list[dict[str, Any]] | None = None,
    key: SecretStr = SECRET,
) -> list[dict[str, Any]]:
    found = [] if into is None else into
    with anyio.fail_after(10):
        async with carrier.open(json.dumps([task]).encode(), key) as items:
            async for item in items:
                found.append(item)
    return found


def no_key_in(failure: BaseException | None) -> None:
    """The key stands nowhere in an exception, its causes, or what they hold."""
    seen: set[int] = set()
    while failure is not None and id(failure) not in seen:
        seen.add(id(failure))
        assert KEY not in repr(failure) + str(failure) + repr(vars(failure))
        assert not hasattr(failure, "request")
        failure = failure.__cause__ or failure.__context__


@asynccontextmanager
async def answering(answer: bytes, *, stay: bool = False) -> AsyncGenerator[str, None]:
    """A server that gives every request these bytes, and ends unless it is to stay."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(answer)
            if stay:
                await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{port}/v1"
        group.cancel_scope.cancel()


async def fails(url: str, **options: Any) -> Exception:
    """What the items of one stream end with."""
    async with SseCarrier(url, **options) as carrier:
        with pytest.raises((RunwareError, StreamCut)) as caught:
            await collect(carrier, stream_task())
    no_key_in(caught.value)
    return caught.value


# What works


async def test_streams_share_a_pool() -> None:
    async with Emulator(KEY) as emulator, SseCarrier(emulator.http_url) as carrier:
        for _ in range(3):
            task = stream_task(includeUsage=True, includeCost=True)
            items = await collect(carrier, task)
            assert text_of(items) == expected(task)
            assert items[-1]["finishReason"] == "stop"
            assert {"usage", "cost"} <= set(items[-1])
        assert emulator.stats.connections == 1
        assert KEY not in repr(carrier)


async def test_many_at_once() -> None:
    options = EmulatorOptions(token_pause=0.001)
    async with Emulator(KEY, options=options) as emulator, SseCarrier(emulator.http_url) as carrier:
        tasks = [stream_task(f"question {number}") for number in range(50)]
        found: dict[str, list[dict[str, Any]]] = {task["taskUUID"]: [] for task in tasks}
        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(collect, carrier, task, found[task["taskUUID"]])
        for task in tasks:
            assert text_of(found[task["taskUUID"]]) == expected(task)
        assert emulator.stats.executed_twice == []


async def test_tool_calls_reasoning_and_enveloped_items() -> None:
    options = EmulatorOptions(sse_framing="enveloped")
    async with Emulator(KEY, options=options) as emulator, SseCarrier(emulator.http_url) as carrier:

        @emulator.reply("textInference")
        def script(_: Request) -> Iterator[dict[str, Any] | str]:
            yield {"reasoningContent": "hm"}
            yield "line one\nline two\u2028\u0085 three"
            yield {"toolCalls": [{"index": 0, "id": "c", "name": "look", "arguments": "{}"}]}

        deltas = [item["delta"] for item in await collect(carrier, stream_task())]
        assert deltas == [
            {"reasoningContent": "hm"},
            {"text": "line one\nline two\u2028\u0085 three"},
            {"toolCalls": [{"index": 0, "id": "c", "name": "look", "arguments": "{}"}]},
            {},
        ]


async def test_a_server_that_gives_the_whole_at_once() -> None:
    options = EmulatorOptions(stream_over_http="whole")
    async with Emulator(KEY, options=options) as emulator, SseCarrier(emulator.http_url) as carrier:
        task = stream_task()
        (item,) = await collect(carrier, task)
        assert (item["text"], item["taskUUID"]) == (expected(task), task["taskUUID"])


async def test_comments_and_strange_fields_are_skipped() -> None:
    body = b': hello\n\nid: 1\nevent: delta\nretry: 5\ndata: {"a":1}\n\n\ndata:[DONE]\n\n'
    async with (
        answering(EVENT_STREAM + b"Connection: close\r\n\r\n" + body) as url,
        SseCarrier(url) as carrier,
    ):
        assert await collect(carrier, stream_task()) == [{"a": 1}]


# Ends that come too early


@pytest.mark.parametrize("order", [{}, {"mid_frame": True}, {"reset": True}])
async def test_a_cut_in_mid_stream(order: dict[str, bool]) -> None:
    options = EmulatorOptions(token_pause=0.005)
    async with Emulator(KEY, options=options) as emulator, SseCarrier(emulator.http_url) as carrier:
        emulator.faults.cut_after(deltas=4, **order)
        task = stream_task()
        items: list[dict[str, Any]] = []
        with pytest.raises(StreamCut) as caught:
            await collect(carrier, task, items)
        assert not caught.value.clean
        assert expected(task).startswith(text_of(items))
        assert len(items) == 3 if "mid_frame" in order else len(items) in (3, 4)
        no_key_in(caught.value)
        again = stream_task()
        assert text_of(await collect(carrier, again)) == expected(again)
        assert emulator.stats.executions[task["taskUUID"]] == 1


async def test_an_end_without_the_mark() -> None:
    options = EmulatorOptions(sse_done=False)
    async with Emulator(KEY, options=options) as emulator, SseCarrier(emulator.http_url) as carrier:
        items: list[dict[str, Any]] = []
        with pytest.raises(StreamCut) as caught:
            await collect(carrier, stream_task(), items)
        assert caught.value.clean
        assert items[-1]["finishReason"] == "stop"


async def test_silence_has_a_limit() -> None:
    options = EmulatorOptions(token_pause=30)
    async with Emulator(KEY, options=options) as emulator:
        failure = await fails(emulator.http_url, idle_timeout=0.1)
        assert isinstance(failure, StreamCut)
        assert "0.1 s" in str(failure)
        emulator.faults.blackhole()
        failure = await fails(emulator.http_url, idle_timeout=0.1)
        assert isinstance(failure, ConnectionFailed)
        assert failure.submitted is Submitted.MAYBE
        emulator.faults.heal()


async def test_a_cut_of_a_whole_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    async with answering(head + b'{"data":[') as url:
        assert isinstance(await fails(url), StreamCut)


# Errors


async def test_errors_of_the_task() -> None:
    async with Emulator(KEY) as emulator, SseCarrier(emulator.http_url) as carrier:
        task = stream_task(numberResults=2)
        with pytest.raises(TaskError) as caught:
            await collect(carrier, task)
        refused = caught.value
        assert (refused.code, refused.parameter) == ("invalidNumberResults", "numberResults")
        assert (refused.task_uuid, refused.safe_to_resend) == (task["taskUUID"], True)

        @emulator.reply("textInference")
        def script(_: Request) -> Iterator[str]:
            yield "so far"
            raise ReplyError("providerError", f"the key {KEY} was seen")

        items: list[dict[str, Any]] = []
        with pytest.raises(TaskError) as caught:
            await collect(carrier, stream_task(), items)
        broken = caught.value
        assert text_of(items) == "so far"
        assert (broken.code, broken.retryable) == ("providerError", True)
        assert (broken.submitted, broken.safe_to_resend) == (Submitted.YES, False)
        assert "[redacted]" in broken.message
        no_key_in(broken)


async def test_a_refused_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Emulator("another") as emulator, SseCarrier(emulator.http_url) as carrier:
        with pytest.raises(AuthenticationError) as caught:
            await collect(carrier, stream_task())
        assert caught.value.code == "invalidApiKey"
        no_key_in(caught.value)
        assert emulator.stats.tasks_accepted == 0
        assert text_of(await collect(carrier, stream_task(), key=SecretStr("another")))
        with pytest.raises(ConfigurationError) as refused:
            await collect(carrier, stream_task(), key=SecretStr(KEY + "\u20ac"))
        no_key_in(refused.value)
    assert caplog.records
    assert KEY not in caplog.text
    assert "another" not in caplog.text


@pytest.mark.parametrize(
    ("status", "submitted"),
    [(429, Submitted.NO), (503, Submitted.MAYBE), (500, Submitted.MAYBE), (302, Submitted.NO)],
)
async def test_refusals_about_the_connection(status: int, submitted: Submitted) -> None:
    async with Emulator(KEY) as emulator, SseCarrier(emulator.http_url) as carrier:
        emulator.faults.reject_posts(status, retry_after=2.5)
        with pytest.raises(HttpRefused) as caught:
            await collect(carrier, stream_task())
        refused = caught.value
        assert (refused.status, refused.retry_after) == (status, 2.5)
        assert refused.submitted is submitted
        assert isinstance(refused, ConnectionFailed)
        again = pickle.loads(pickle.dumps(refused))
        assert (again.status, again.retry_after, str(again)) == (status, 2.5, str(refused))
        # The connection is good for the next one.
        assert await collect(carrier, stream_task())


async def test_nobody_there() -> None:
    async with answering(b"") as url:
        pass
    failure = await fails(url)
    assert isinstance(failure, ConnectionFailed)
    assert (failure.submitted, failure.safe_to_resend) == (Submitted.NO, True)
    async with answering(b"") as url:
        failure = await fails(url)
    assert isinstance(failure, ConnectionFailed)
    assert failure.submitted is Submitted.MAYBE


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 14\r\n\r\ndata: nonsense",
        b"\r\ndata: nonsense\n\n",
        b"\r\ndata: [1]\n\n",
        b"Content-Encoding: gzip\r\n\r\n",
    ],
)
async def test_what_is_no_stream_of_events(rest: bytes) -> None:
    async with answering(EVENT_STREAM + rest) as url:
        failure = await fails(url)
        assert isinstance(failure, StreamCut if rest.startswith(b"Content-L") else ProtocolError)


async def test_another_kind_of_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"
    async with answering(head) as url:
        assert isinstance(await fails(url), ProtocolError)
    async with answering(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nhi") as url:
        failure = await fails(url)
        assert isinstance(failure, HttpRefused)
        assert failure.status == 400


# Limits


@pytest.mark.parametrize("way", ["deltas", "whole"])
async def test_a_giant(way: Any) -> None:
    options = EmulatorOptions(stream_over_http=way)
    async with (
        Emulator(KEY, options=options) as emulator,
        SseCarrier(emulator.http_url, max_event_bytes=100_000) as carrier,
    ):
        emulator.faults.giant_result(300_000)
        with pytest.raises(ProtocolError, match="100000 byte limit"):
            await collect(carrier, stream_task())
        task = stream_task()
        assert await collect(carrier, task)


async def test_an_event_without_end() -> None:
    async with answering(EVENT_STREAM + b"\r\ndata: " + b"x" * 200_000, stay=True) as url:
        failure = await fails(url, max_event_bytes=100_000)
        assert isinstance(failure, ProtocolError)


async def test_a_slow_reader_harms_nobody_and_is_bounded() -> None:
    piece = "y" * 10_000
    asked = 0

    async with Emulator(KEY) as emulator, SseCarrier(emulator.http_url) as carrier:

        @emulator.reply("textInference")
        def pieces(request: Request) -> Iterator[str]:
            nonlocal asked
            for _ in range(2_000 if request.prompt == "slow" else 3):
                asked += 1
                yield piece

        payload = json.dumps([stream_task("slow")]).encode()
        async with carrier.open(payload, SECRET) as items:
            await anext(items)
            await anyio.sleep(0.05)
            behind = emulator.stats.bytes_out
            assert behind < 15_000_000  # of 20 MB: the rest waits on the server's side
            for number in range(5):
                assert len(await collect(carrier, stream_task(f"quick {number}"))) == 4
            rest = [item async for item in items]
            assert len(rest) == 2_000


async def test_leaving_early_and_cancellation() -> None:
    options = EmulatorOptions(token_pause=0.01)
    async with Emulator(KEY, options=options) as emulator, SseCarrier(emulator.http_url) as carrier:
        payload = partial(lambda: json.dumps([stream_task()]).encode())
        async with carrier.open(payload(), SECRET) as items:
            await anext(items)
        with anyio.move_on_after(0.05) as scope:
            async with carrier.open(payload(), SECRET) as items, aclosing(items):
                async for _ in items:
                    pass
        assert scope.cancelled_caught
        with pytest.raises(KeyError):
            async with carrier.open(payload(), SECRET) as items:
                raise KeyError
        with anyio.fail_after(5):
            while emulator.live_sockets:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.002)
        again = stream_task()
        assert text_of(await collect(carrier, again)) == expected(again)
    with pytest.raises(ConnectionFailed) as caught:
        await collect(carrier, again)
    assert caught.value.submitted is Submitted.NO


# Without I/O


@pytest.mark.parametrize(
    "url",
    [
        "http://api.runware.ai/v1",
        "ws://127.0.0.1/v1",
        "https://user:secret@api.runware.ai/v1",
        "https://",
        "https://host:0/",
        "https://host:70000/",
        "api.runware.ai",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        check_http_url(url, allow_insecure=False)
    with pytest.raises(ConfigurationError):
        SseCarrier(url)


def test_urls_that_are_fine() -> None:
    for url in (DEFAULT_HTTP_URL, "http://localhost:1/v1", "http://[::1]/v1"):
        assert check_http_url(url, allow_insecure=False) == url
    assert check_http_url("http://host/v1", allow_insecure=True)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sse_available()
    monkeypatch.setitem(sys.modules, "httpx2", None)
    assert not sse_available()
    with pytest.raises(ConfigurationError, match=r"pip install 'runware-ws\[sse\]'"):
        SseCarrier()
