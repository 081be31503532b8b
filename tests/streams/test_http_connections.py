"""The connections of the HTTP carrier: which are used again, and which are given up."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from runware_ws._core.effects import Ending
from runware_ws.classify import LossKind

from .posting import (
    OK,
    SECRET,
    WHOLE,
    A,
    B,
    carrying,
    loss_of,
    odd,
    post,
    until_closed,
)
from .servers import STREAM, Odd, certificate, chunked, event, listening

pytestmark = pytest.mark.anyio


async def test_nobody_there() -> None:
    async with odd() as (_, carrier):
        pass
    loss_of((await post(carrier))[0], Ending.UNREACHED, LossKind.CANNOT_DIAL)
    async with listening(Odd().handle) as port:
        pass
    async with carrying(f"http://127.0.0.1:{port}/v1") as carrier:
        loss = loss_of((await post(carrier))[0], Ending.UNREACHED, LossKind.DIAL_FAILED)
        assert "ConnectionRefusedError" in loss.detail


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_an_idle_connection_that_ended_is_not_used(said: bytes) -> None:
    async with odd(WHOLE) as (server, carrier):
        assert (await post(carrier))[0] == OK
        assert (await post(carrier))[0] == OK
        assert server.connections == 1
        # It waits for the next request, so the end has to come from its next answer.
        server.steps = (WHOLE, said, "end")
        assert (await post(carrier))[0] == OK
        await until_closed(server)
        assert (await post(carrier))[0] == OK
        assert server.connections == 2
        assert len(server.requests) == 4


async def test_bytes_after_an_answer_are_no_answer() -> None:
    forged = STREAM + chunked(event(b'{"forged":1}') + event(b"[DONE]"))
    async with odd(WHOLE + forged) as (server, carrier):
        for _ in range(2):
            assert await post(carrier) == (OK, [A, B])
        assert server.connections == 2


class Held(ByteStream):
    """A stream that sends what it was given all at once, when it is asked to, unless it is open."""

    def __init__(self, stream: Any) -> None:
        self.open = False
        self._stream = stream
        self._held = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return bytes(await self._stream.receive(max_bytes))

    async def send(self, item: bytes) -> None:
        self._held += item
        if self.open:
            await self.flush()

    async def flush(self) -> None:
        held, self._held = self._held, b""
        await self._stream.send(held)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("secure", [False, True])
async def test_bytes_that_were_read_with_an_answer_are_no_answer(secure: bool) -> None:
    # Over TLS they are in a record of their own; without it they lie beyond what one read takes.
    forged = STREAM + chunked(event(b'{"forged":1}') + event(b"[DONE]"))
    rest = event(B) + event(b"[DONE]")
    room = 65536 - len(STREAM + chunked(event(A), rest)) - 4  # ":", LF, a longer chunk size
    answer = STREAM + chunked(event(A), b":" + b"x" * room + b"\n" + rest)
    assert len(answer) == 65536
    server, trusting = certificate("localhost")
    connections = 0

    async def serve(stream: Any) -> None:
        nonlocal connections
        connections += 1
        held = Held(stream)
        way = await shaken(held) if secure else held
        while True:
            await way.receive()
            await way.send(WHOLE if secure else answer)
            await way.send(forged)
            await held.flush()

    async def shaken(held: Held) -> ByteStream:
        held.open = True
        way = await TLSStream.wrap(held, server_side=True, ssl_context=server)
        held.open = False
        return way

    url = f"{'https' if secure else 'http'}://localhost"
    async with (
        listening(serve) as port,
        carrying(f"{url}:{port}/v1", ssl=trusting, proxy=None) as carrier,
    ):
        for _ in range(3):
            assert await post(carrier) == (OK, [A, B])
        assert connections == 3


async def test_idle_connections_grow_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runware_ws._io.http_carrier.IDLE_LIMIT", 0.0)
    async with odd(WHOLE) as (server, carrier):
        for number in (1, 2):
            assert (await post(carrier))[0] == OK
            assert server.connections == number
        with anyio.fail_after(5):
            while server.live:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.002)


async def test_a_request_is_never_sent_twice() -> None:
    async with odd(WHOLE) as (server, carrier):
        assert (await post(carrier))[0] == OK
        server.steps = ("end",)
        loss_of((await post(carrier))[0], Ending.CUT, LossKind.CLOSED)
        assert (len(server.requests), server.connections) == (2, 1)


async def test_closing() -> None:
    async with odd(WHOLE) as (server, carrier):
        assert (await post(carrier))[0] == OK
        await carrier.aclose()
        await until_closed(server)
        loss_of((await post(carrier))[0], Ending.UNREACHED, LossKind.CANNOT_DIAL)
        assert server.connections == 1


async def test_closing_while_a_post_runs() -> None:
    async with odd(WHOLE) as (server, carrier):
        found: list[bytes] = []
        closing = anyio.Event()

        def take(data: bytes) -> None:
            found.append(data)
            closing.set()

        async def close() -> None:
            await closing.wait()
            await carrier.aclose()

        async with anyio.create_task_group() as group:
            group.start_soon(close)
            assert await carrier(b"[]", SECRET, lambda: True, take) == OK
        await until_closed(server)


# Cancellation


async def test_cancelled_at_every_step() -> None:
    pieces = [bytes([byte]) for byte in WHOLE[-60:]]
    async with odd(WHOLE[:-60], *pieces) as (server, carrier):
        done = cancelled = 0
        for steps in range(80):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:

                    async def cancel(scope: anyio.CancelScope, steps: int) -> None:
                        for _ in range(steps):
                            await anyio.lowlevel.checkpoint()
                        scope.cancel()

                    group.start_soon(cancel, scope, steps)
                    ending, found = await post(carrier)
                    assert (ending, found) == (OK, [A, B])
                    done += 1
                    group.cancel_scope.cancel()
            cancelled += scope.cancelled_caught
        assert cancelled
        # Only a connection whose answer was read to its end is left.
        assert await post(carrier) == (OK, [A, B])
        with anyio.fail_after(5):
            while server.live > 1:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.002)


@pytest.mark.parametrize("steps", [(), (STREAM,), (STREAM + b"\r\n" + event(A),)])
async def test_a_cancelled_post_is_given_up_at_once(steps: Any) -> None:
    async with odd(*steps, "stay") as (server, carrier):
        with anyio.move_on_after(0.05) as scope:
            await post(carrier)
        assert scope.cancelled_caught
        await until_closed(server)
        assert server.live == 0


async def test_what_take_raises_comes_out() -> None:
    def take(data: bytes) -> None:
        raise KeyError(data)

    async with odd(WHOLE) as (server, carrier):
        with pytest.raises(KeyError):
            await carrier(b"[]", SECRET, lambda: True, take)
        await until_closed(server)
        assert await post(carrier) == (OK, [A, B])
        assert server.connections == 2
