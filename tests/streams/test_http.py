"""The HTTP carrier: how a POST ends, against the emulator and against odd servers."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from runware_ws._core.effects import Ending
from runware_ws.classify import LossKind
from runware_ws.emulator import Emulator, EmulatorOptions, Request

from .posting import (
    KEY,
    OK,
    WHOLE,
    A,
    B,
    carrying,
    ends,
    expected,
    loss_of,
    odd,
    post,
    stream_task,
    text_of,
)
from .servers import STREAM, Odd, certificate, chunked, event, listening

pytestmark = pytest.mark.anyio


# What works


async def test_posts_share_a_connection() -> None:
    async with Emulator(KEY) as emulator, carrying(emulator.http_url) as carrier:
        for _ in range(3):
            task = stream_task(includeUsage=True)
            ending, found = await post(carrier, task)
            assert ending == OK
            assert text_of(found) == expected(task)
            assert json.loads(found[-1])["finishReason"] == "stop"
        assert emulator.stats.connections == 1
        assert KEY not in repr(carrier)
        assert KEY not in repr(vars(carrier))


async def test_the_request() -> None:
    async with odd(WHOLE, user_agent="mine/1") as (server, carrier):
        task = stream_task("é" * 200_000)
        assert await post(carrier, task) == (OK, [A, B])
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert json.loads(body) == [task]
        line, *fields = head.decode().split("\r\n")
        assert line == "POST /v1?a=b HTTP/1.1"
        have = dict(field.lower().split(": ") for field in fields)
        assert have.pop("host").startswith("127.0.0.1:")
        assert have == {
            "accept": "text/event-stream, application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "content-length": str(len(body)),
            "user-agent": "mine/1",
            "authorization": f"bearer {KEY}",
        }


async def test_many_at_once() -> None:
    options = EmulatorOptions(token_pause=0.001)
    async with (
        Emulator(KEY, options=options) as emulator,
        carrying(emulator.http_url, max_idle=5) as carrier,
    ):
        tasks = [stream_task(f"question {number}") for number in range(50)]
        texts: dict[str, str] = {}

        async def one(task: dict[str, Any]) -> None:
            ending, found = await post(carrier, task)
            assert ending == OK
            texts[task["taskUUID"]] = text_of(found)

        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(one, task)
        assert texts == {task["taskUUID"]: expected(task) for task in tasks}
        assert emulator.stats.executed_twice == []
        with anyio.fail_after(5):
            while emulator.live_sockets > 5:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.002)


async def test_events_of_many_lines_and_letters() -> None:
    async with Emulator(KEY) as emulator, carrying(emulator.http_url) as carrier:

        @emulator.reply("textInference")
        def script(_: Request) -> Iterator[dict[str, Any] | str]:
            yield "line one\nline two\u2028\u0085 three"
            yield {"reasoningContent": "hm"}

        ending, found = await post(carrier)
        assert ending == OK
        assert [json.loads(each)["delta"] for each in found] == [
            {"text": "line one\nline two\u2028\u0085 three"},
            {"reasoningContent": "hm"},
            {},
        ]


async def test_a_server_that_gives_the_whole_at_once() -> None:
    options = EmulatorOptions(stream_over_http="whole")
    async with Emulator(KEY, options=options) as emulator, carrying(emulator.http_url) as carrier:
        for _ in range(2):
            task = stream_task()
            ending, (body,) = await post(carrier, task)
            assert ending == OK
            assert json.loads(body)["data"][0]["text"] == expected(task)
        assert emulator.stats.connections == 1


@pytest.mark.parametrize(
    "rest",
    [
        b"Connection: close\r\n\r\n",
        b"\r\n",  # it ends with the connection
        b"Content-Length: 1000\r\n\r\n",
    ],
)
async def test_a_stream_that_leaves_no_connection(rest: bytes) -> None:
    body = event(A) + event(B) + event(b"[DONE]")
    async with odd(STREAM + rest + body, "end") as (server, carrier):
        for number in (1, 2):
            assert await post(carrier) == (OK, [A, B])
            assert server.connections == number


async def test_an_end_that_does_not_come_is_not_waited_for_long() -> None:
    unended = STREAM + chunked(event(A) + event(b"[DONE]")).removesuffix(b"0\r\n\r\n")
    async with odd(unended, "stay") as (server, carrier):
        assert await post(carrier) == (OK, [A])
        assert await post(carrier) == (OK, [A])
        assert server.connections == 2


async def test_what_follows_the_end_mark_is_not_given() -> None:
    body = event(A) + event(b"[DONE]") + event(B)
    assert await ends(STREAM + chunked(body, event(B))) == (OK, [A])


# Ends that come too early


@pytest.mark.parametrize("last", ["end", "reset"])
async def test_a_cut_at_every_byte(last: str) -> None:
    letters = ['{"é":"🜁"}'.encode(), A, B]
    answer = STREAM + chunked(event(letters[0]), event(A) + event(B)[:5], event(B)[5:])
    answer = answer.removesuffix(b"0\r\n\r\n")  # not one of these says that it is done
    server = Odd()
    async with listening(server.handle) as port:
        for cut in range(len(answer) + 1):
            server.steps = (answer[:cut], last)  # type: ignore[assignment]
            async with carrying(f"http://127.0.0.1:{port}/v1") as carrier:
                ending, found = await post(carrier)
            loss_of(ending, Ending.CUT, LossKind.CLOSED)
            assert found == letters[: len(found)]
            if last == "end":
                assert found == [each for each in letters if event(each) in _body(answer[:cut])]
        assert server.connections == len(answer) + 1


def _body(answer: bytes) -> bytes:
    """What came of the body of a chunked answer."""
    rest = answer.partition(b"\r\n\r\n")[2]
    body = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return body


@pytest.mark.parametrize("order", [{}, {"mid_frame": True}, {"reset": True}])
async def test_a_cut_in_mid_stream(order: dict[str, bool]) -> None:
    options = EmulatorOptions(token_pause=0.005)
    async with Emulator(KEY, options=options) as emulator, carrying(emulator.http_url) as carrier:
        emulator.faults.cut_after(deltas=4, **order)
        task = stream_task()
        ending, found = await post(carrier, task)
        loss_of(ending, Ending.CUT, LossKind.CLOSED)
        assert expected(task).startswith(text_of(found))
        assert len(found) == 3 if "mid_frame" in order else len(found) in (3, 4)
        again = stream_task()
        ending, found = await post(carrier, again)
        assert (ending, text_of(found)) == (OK, expected(again))
        assert emulator.stats.executions[task["taskUUID"]] == 1


async def test_an_end_without_the_mark() -> None:
    options = EmulatorOptions(sse_done=False)
    async with Emulator(KEY, options=options) as emulator, carrying(emulator.http_url) as carrier:
        ending, found = await post(carrier)
        loss = loss_of(ending, Ending.CUT, LossKind.CLOSED)
        assert "without its end mark" in loss.detail
        assert json.loads(found[-1])["finishReason"] == "stop"


@pytest.mark.parametrize("said", [b"", STREAM, STREAM + b"\r\n", STREAM + b"\r\n" + event(A)])
async def test_silence_has_a_limit(said: bytes) -> None:
    ending, found = await ends(said, "stay", idle_timeout=0.1)
    loss = loss_of(ending, Ending.CUT, LossKind.DEAD_PEER)
    assert "0.1 s" in loss.detail
    assert found == ([A] if A in said else [])


async def test_a_cut_of_a_whole_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    ending, found = await ends(head + b'{"data":[', "end")
    loss_of(ending, Ending.CUT, LossKind.CLOSED)
    assert found == []


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: odd\r\n\r\n",
        STREAM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000,
        b"HTTP/1.1 200 " + KEY.encode() + b"\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http(answer: bytes) -> None:
    ending, _ = await ends(answer, "stay")
    loss_of(ending, Ending.CUT, LossKind.PEER_BROKE_PROTOCOL)


# Refusals


async def test_a_refused_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Emulator("another") as emulator, carrying(emulator.http_url) as carrier:
        ending, _ = await post(carrier)
        loss_of(ending, Ending.REFUSED, LossKind.HTTP_REFUSED, 401)
        assert json.loads(ending.body)["errors"][0]["code"] == "invalidApiKey"
        assert emulator.stats.tasks_accepted == 0
        assert (await post(carrier, key=SecretStr("another")))[0] == OK
        assert emulator.stats.connections == 1
    assert KEY not in caplog.text
    assert "another" not in caplog.text


@pytest.mark.parametrize("bad", ["", " ", KEY + "€", KEY + "\r\nX: y", KEY + "\n", "\x00", " k"])
async def test_a_key_that_no_header_can_carry(bad: str) -> None:
    async with odd(WHOLE) as (server, carrier):
        ending, _ = await post(carrier, key=SecretStr(bad))
        loss_of(ending, Ending.REFUSED, LossKind.CANNOT_DIAL)
        assert server.connections == 0
    async with odd(WHOLE, user_agent="two\r\nlines") as (server, carrier):
        loss_of((await post(carrier))[0], Ending.REFUSED, LossKind.CANNOT_DIAL)


@pytest.mark.parametrize("status", [400, 402, 404, 429, 500, 501, 503, 302])
async def test_statuses(status: int) -> None:
    async with Emulator(KEY) as emulator, carrying(emulator.http_url) as carrier:
        emulator.faults.reject_posts(status, retry_after=2.5)
        ending, found = await post(carrier)
        loss = loss_of(ending, Ending.REFUSED, LossKind.HTTP_REFUSED, status)
        assert (loss.retry_after, found) == (2.5, [])
        assert "errors" in json.loads(ending.body)
        assert (await post(carrier))[0] == OK
        assert emulator.stats.connections == 1


@pytest.mark.parametrize(
    ("fields", "after"),
    [
        ([], None),
        (["3", "9"], 3.0),
        (["-5"], 0.0),
        (["nan"], None),
        (["1e999"], None),
        (["soon"], None),
        (["Wed, 21 Oct 1015 07:28:00 GMT"], 0.0),
        (["Wed, 99 Oct 99999 07:28:00 +999999"], None),
        (["\xe9" * 50], None),
    ],
)
async def test_retry_after(fields: list[str], after: float | None) -> None:
    said = "".join(f"Retry-After: {value}\r\n" for value in fields).encode("latin-1")
    ending, _ = await ends(b"HTTP/1.1 503 No\r\n" + said + b"Content-Length: 0\r\n\r\n")
    loss = loss_of(ending, Ending.REFUSED, LossKind.HTTP_REFUSED, 503)
    assert loss.retry_after == after


async def test_redirects_are_not_followed() -> None:
    other = Odd(WHOLE)
    async with listening(other.handle) as port:
        answer = f"HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:{port}/v1\r\n"
        ending, found = await ends(answer.encode() + b"Content-Length: 0\r\n\r\n")
        loss_of(ending, Ending.REFUSED, LossKind.HTTP_REFUSED, 307)
        assert (found, other.connections) == ([], 0)


async def test_the_body_of_a_refusal_is_bounded() -> None:
    head = b"HTTP/1.1 400 Bad\r\nContent-Length: 10000000\r\n\r\n"
    ending, _ = await ends(head + b"x" * 200_000, "stay")
    assert ending.body == b"x" * 65536
    for last in ("end", "reset"):
        ending, _ = await ends(head + b"some", last)
        loss_of(ending, Ending.REFUSED, LossKind.HTTP_REFUSED, 400)
        assert b"some".startswith(ending.body)
    with anyio.fail_after(5):
        ending, _ = await ends(head + b"some", "stay")
    assert ending.body == b"some"


async def test_a_refusal_before_the_request_was_sent() -> None:
    head = b"HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\nbig"
    async with odd(head, deaf=True) as (server, carrier):
        ending, _ = await post(carrier, stream_task("x" * 3_000_000))
        loss_of(ending, Ending.REFUSED, LossKind.HTTP_REFUSED, 413)
        assert ending.body == b"big"
        assert (await post(carrier))[0].how is Ending.REFUSED
        assert server.connections == 1


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("head", "how"),
    [
        (b"HTTP/1.1 413 X\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig", Ending.REFUSED),
        (b"HTTP/1.1 401 X\r\nContent-Length: 3\r\n\r\nbig", Ending.REFUSED),
        (STREAM + chunked(event(A), event(b"[DONE]")), Ending.DONE),
        (b"no HTTP at all\r\n\r\n", Ending.CUT),
    ],
)
async def test_an_answer_to_a_request_that_is_never_read(
    head: bytes, how: Ending, secure: bool
) -> None:
    async def answer(stream: Any) -> None:
        await stream.receive()
        await stream.send(head)
        await anyio.sleep_forever()

    server, trusting = certificate("localhost")
    scheme = "https" if secure else "http"
    async with (
        listening(answer, server if secure else None) as port,
        carrying(f"{scheme}://localhost:{port}/v1", ssl=trusting, proxy=None) as carrier,
    ):
        ending, found = await post(carrier, stream_task("x" * 20_000_000))
    assert ending.how is how
    assert found == ([A] if how is Ending.DONE else [])
    assert ending.body == (b"big" if how is Ending.REFUSED else b"")
    if how is Ending.CUT:
        loss_of(ending, how, LossKind.PEER_BROKE_PROTOCOL)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n",
        b"Content-Type: application/json\r\nContent-Encoding: br\r\n",
        b"Content-Type: text/html\r\n",
        b"Content-Type: " + KEY.encode() + b"\r\n",
        b"Content-Type: \r\n",
        b"",
    ],
)
async def test_another_kind_of_answer(fields: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 2\r\n\r\n{}"
    ending, found = await ends(answer)
    loss = loss_of(ending, Ending.REFUSED, LossKind.HTTP_REFUSED, 200)
    assert loss.detail
    assert found == []


@pytest.mark.parametrize("kind", [b"Text/Event-Stream; charset=utf-8", b"text/event-stream;x"])
async def test_kinds_with_parameters(kind: bytes) -> None:
    answer = b"HTTP/1.1 201 OK\r\ncontent-type:" + kind + b"\r\nContent-Encoding: identity\r\n"
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert await ends(early + answer + chunked(event(A) + event(b"[DONE]"))) == (OK, [A])


# Limits


@pytest.mark.parametrize("way", ["deltas", "whole"])
async def test_a_giant(way: Any) -> None:
    options = EmulatorOptions(stream_over_http=way)
    async with (
        Emulator(KEY, options=options) as emulator,
        carrying(emulator.http_url, max_event_bytes=100_000) as carrier,
    ):
        emulator.faults.giant_result(300_000)
        ending, _ = await post(carrier)
        loss = loss_of(ending, Ending.REFUSED, LossKind.INBOUND_TOO_BIG)
        assert "100000 byte limit" in loss.detail
        assert (await post(carrier))[0] == OK


async def test_an_event_without_end() -> None:
    answer = STREAM + b"\r\n" + event(A) + b"data: " + b"x" * 200_000
    ending, found = await ends(answer, "stay", max_event_bytes=100_000)
    loss_of(ending, Ending.REFUSED, LossKind.INBOUND_TOO_BIG)
    assert found == [A]
