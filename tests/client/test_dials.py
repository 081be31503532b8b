"""Dials that fail in every way, hosts with several addresses, and peers that do not hang up."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import anyio
import orjson
import pytest
from anyio.abc import SocketAttribute
from websockets.asyncio.connection import Connection
from websockets.frames import Close, Frame, Opcode

from runware_ws import Client, Config, ConfigurationError, ConnectionFailed
from runware_ws._io.transport.base import TransportLost
from runware_ws._io.transport.websocket import dial
from runware_ws.classify import Loss, LossKind
from runware_ws.emulator import Emulator
from runware_ws.events import LONGEST_TEXT, Closed, DialFailed, Disconnected
from runware_ws.testing.network import MemoryNetwork
from tests import virtual

from .raw import Peer, quick, result_of, serving
from .support import KEY, NOWHERE, QUICK, SESSION, ample, ask, bounded, client_of, only, until

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"

ABSURD = [
    b"Retry-After: 1\r\nRetry-After: 2\r\n",
    b"Retry-After: Fri, 31 Dec 9999 23:59:59 -2359\r\n",
    b"Retry-After: Mon, 99 Foo 99999999999999999999 99:99:99 +9999999999\r\n",
    b"Retry-After: 1e999\r\n",
    b"Retry-After: nan\r\n",
    b"Retry-After: \xff\xfe\r\n",
    b"Upgrade: a\r\nUpgrade: b\r\nConnection: x\r\nConnection: y\r\n",
    b"Sec-WebSocket-Accept: a\r\nSec-WebSocket-Accept: b\r\n",
]


@bounded
async def test_no_answer_to_an_upgrade_ends_the_client() -> None:
    answers = [HEAD + odd + b"\r\n" for odd in ABSURD]
    answers += [b"\x00\xff\r\n\r\n", b"", b"HTTP/1.1 200", b"HTTP/9.9 x y z\r\n\r\n"]

    async def serve(peer: Peer) -> None:
        if peer.number <= len(answers):
            await peer.refuse(answers[peer.number - 1])
        else:
            await peer.greet()
            await peer.send(result_of(await peer.task()))
            await anyio.sleep_forever()

    async with serving(serve) as (url, _), quick(url, retry_after_cap=0.01) as client:
        events = client.events()
        assert (await client.run(ask())).text == "done"
    failed = only([event async for event in events], DialFailed)
    assert len(failed) == len(answers)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.0 101 Who are you\r\n\r\n", "HTTP/1.0 101 Who are you"),
        (b"SSH-2.0-x\r\n\r\n", "SSH-2.0-x"),
        (b"", "connection closed while reading HTTP status line"),
        # An older version of the library does not know it.
        (None, "reset" if hasattr(Connection, "set_connection_exc") else "connection closed"),
    ],
)
@bounded
async def test_an_upgrade_that_failed_tells_why(answer: bytes | None, why: str) -> None:
    async def serve(peer: Peer) -> None:
        if answer is not None:
            await peer.refuse(answer)
            return
        await peer.stream.receive()
        raw = peer.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with serving(serve) as (url, _), quick(url) as client:
        assert why in await refusal(client)


@bounded
async def test_a_proxy_that_fails_tells_why() -> None:
    async with serving(lambda peer: peer.refuse(b"SSH-2.0-x\r\n\r\n")) as (_, port):
        proxy = f"http://127.0.0.1:{port}"
        async with quick("ws://far.test/v1", proxy=proxy, allow_insecure=True) as client:
            assert "SSH-2.0-x" in await refusal(client)


async def refusal(client: Client) -> str:
    """The reason of the first dial that failed."""
    async for event in client.events():
        if isinstance(event, DialFailed):
            return event.reason
    raise AssertionError("the client ended")


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503])
@bounded
async def test_a_proxy_that_is_busy_is_waited_for(status: int) -> None:
    async def serve(peer: Peer) -> None:
        await peer.refuse(b"HTTP/1.1 %d Busy\r\nRetry-After: 77\r\n\r\n" % status)

    async with serving(serve) as (_, port):
        proxy = f"http://127.0.0.1:{port}"
        async with quick("ws://far.test/v1", proxy=proxy, allow_insecure=True) as client:
            async for event in client.events():
                assert not isinstance(event, Closed)
                if isinstance(event, DialFailed):
                    assert event.retry_after > 76
                    break


class Odd(Exception):
    """It cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


REASONS: list[Callable[[], BaseException]] = [
    lambda: KeyError("odd"),
    lambda: RuntimeError(f"the key {KEY} was odd"),
    lambda: LookupError("x" * 10_000),
    lambda: TimeoutError(),
    lambda: Odd(),
    lambda: StopAsyncIteration(),
    lambda: asyncio.CancelledError(f"by {KEY}"),
    lambda: ExceptionGroup("several", [ValueError(KEY), KeyError(1)]),
    lambda: ExceptionGroup("one", [TransportLost(Loss(LossKind.DIAL_FAILED, detail="why"))]),
]


@bounded
async def test_whatever_a_dial_raises_is_a_failed_dial() -> None:
    network = MemoryNetwork()
    reasons = [make() for make in REASONS]

    class Context:
        def __init__(self, url: str, config: Any) -> None:
            self._good = network.dial(url, config)

        async def __aenter__(self) -> Any:
            if reasons:
                raise reasons.pop(0)
            return await self._good.__aenter__()

        async def __aexit__(self, *about: Any) -> None:
            await self._good.__aexit__(*about)

    async with Client(NOWHERE, api_key=KEY, dial=Context, **QUICK) as client:
        events = client.events()
        await (await network.accept()).authenticate(SESSION)
        await client.ready()
    failed = only([event async for event in events], DialFailed)
    assert len(failed) == len(REASONS)
    told = [event.reason for event in failed]
    assert all(kind in reason for kind, reason in zip(("KeyError", "Runtime"), told, strict=False))
    assert "why" in told[-1]
    assert KEY not in "".join(told)
    assert max(map(len, told)) <= LONGEST_TEXT


@pytest.mark.parametrize("place", ["enter", "exit", "send", "receive", "take_ready"])
@pytest.mark.parametrize("number", range(len(REASONS)))
@virtual.only()
@ample
async def test_whatever_a_socket_raises_is_its_end(place: str, number: int) -> None:
    network = MemoryNetwork()
    broken = 1

    class Transport:
        def __init__(self, own: Any, breaks: bool) -> None:
            self._own = own
            self._breaks = breaks

        def __getattr__(self, name: str) -> Any:
            if self._breaks and name == place:

                async def fail(*_: Any) -> Any:
                    await anyio.lowlevel.checkpoint()
                    raise REASONS[number]()

                def fail_now() -> Any:
                    raise REASONS[number]()

                return fail_now if name == "take_ready" else fail
            return getattr(self._own, name)

    @asynccontextmanager
    async def dial(url: str, config: Any) -> AsyncGenerator[Any]:
        nonlocal broken
        breaks, broken = bool(broken), 0
        if breaks and place == "enter":
            raise REASONS[number]()
        async with network.dial(url, config) as transport:
            yield Transport(transport, breaks)
        if breaks and place == "exit":
            raise REASONS[number]()

    if place in ("enter", "exit") and isinstance(REASONS[number](), StopAsyncIteration):
        pytest.skip("a generator cannot raise it")
    async with Client(NOWHERE, api_key=KEY, dial=dial, **QUICK) as client:
        if place != "enter":
            first = await network.accept()
            if place not in ("send", "receive"):
                await first.authenticate(SESSION)
                await until(lambda: not first.open or client.stats().connections)
                first.end()
        await (await network.accept()).authenticate(SESSION)
        await client.ready()


@bounded
async def test_what_no_dial_can_cure_ends_the_client() -> None:
    @asynccontextmanager
    async def dial(url: str, config: Any) -> AsyncGenerator[Any]:
        raise ImportError("no such library")
        yield

    async with Client(NOWHERE, api_key=KEY, dial=dial, **QUICK) as client:
        with pytest.raises(ConnectionFailed, match="no such library"):
            await client.ready()


@bounded
async def test_a_bug_of_our_own_ends_every_task_with_its_reason() -> None:
    network = MemoryNetwork()
    async with Client(NOWHERE, api_key=KEY, dial=network.dial, **QUICK) as client:
        handle = await client.submit(ask())
        other = await network.accept()
        await other.authenticate(SESSION)
        await other.receive()
        driver: Any = vars(client)["_driver"]

        def fail(*_: Any) -> Any:
            raise ZeroDivisionError(f"a bug, {KEY}")

        driver.core.receive = fail
        other.send({"data": []})
        with pytest.raises(ConnectionFailed, match="ZeroDivisionError: a bug") as caught:
            await handle
        assert KEY not in str(caught.value)
        with pytest.raises(ConnectionFailed):
            await client.ready()


# Addresses


@contextmanager
def black_hole() -> Generator[int]:
    """A port on loopback that takes no connection and refuses none."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


def resolve_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Let every name have these addresses, in this order."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))
        for port in ports
    ]
    original = socket.getaddrinfo

    def fake(host: Any, *about: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return found if str(name).endswith(".test") else original(host, *about, **options)

    async def fake_async(host: Any, *about: Any, **options: Any) -> Any:
        return fake(host, *about, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fake)  # trio asks here
    monkeypatch.setattr(anyio, "getaddrinfo", fake_async)


@pytest.mark.parametrize("dead", [1, 2])
@bounded
async def test_an_address_that_swallows_packets_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, dead: int
) -> None:
    async with Emulator(KEY) as emulator:
        port = int(emulator.url.rpartition(":")[2].partition("/")[0])
        with black_hole() as hole:
            resolve_to(monkeypatch, *[hole] * dead, port)
            url = emulator.url.replace("127.0.0.1", "two.test")
            client = quick(url, allow_insecure=True, open_timeout=5.0)
            async with client:
                events = client.events()
                await client.run(ask())
            assert not only([event async for event in events], DialFailed)


@bounded
async def test_a_host_none_of_whose_addresses_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one, socket.socket() as two:
        for sock in (one, two):
            sock.bind(("127.0.0.1", 0))  # bound, but nobody listens: refused at once
        resolve_to(monkeypatch, one.getsockname()[1], two.getsockname()[1])
        async with quick("ws://two.test/v1", allow_insecure=True) as client:
            events = client.events()
            async for event in events:
                if isinstance(event, DialFailed):
                    assert "onnect" in event.reason
                    break


# Proxies


@bounded
async def test_a_proxy_with_several_addresses_is_raced_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []

    async def serve(peer: Peer) -> None:
        try:
            asked.append(await peer.stream.receive())
        except anyio.EndOfStream:
            return  # the race itself
        await peer.stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await peer.greet()
        await peer.send(result_of(await peer.task()))
        await anyio.sleep_forever()

    async with serving(serve) as (_, port):
        with black_hole() as hole:
            resolve_to(monkeypatch, hole, port)
            proxy = f"http://user:pass%40word@proxy.test:{port}"
            client = quick("ws://far.test/v1", allow_insecure=True, proxy=proxy, open_timeout=5.0)
            async with client:
                assert (await client.run(ask())).text == "done"
    assert asked[0].startswith(b"CONNECT far.test:80 ")


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:hunter2secret@proxy.test/a/path",
        "user:hunter2secret@proxy.test:3128/a",
        "ftp://user:hunter2secret@proxy.test",
        "http://user:hunter%32secret@proxy.test?x=1",
        "http://hunter2secret@proxy.test",
    ],
)
@bounded
async def test_the_password_of_a_proxy_is_told_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, proxy: str
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    config = Config(proxy=True, allow_insecure=True)
    for name in ("http_proxy", "https_proxy", "ws_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    with pytest.raises(ConfigurationError, match="ws_proxy must") as refused:
        await Client("ws://far.test/v1", api_key=KEY, config=config).start()
    # The system's settings may change, so they count at each dial.
    with pytest.raises(TransportLost, match="cannot dial: ws_proxy must") as caught:
        async with dial("ws://far.test/v1", config):
            pass
    told = [f"{error!r} {error} {error.__context__!r}" for error in (refused.value, caught.value)]
    assert "hunter" not in f"{told} {caplog.text}"


# Peers that say goodbye and stay


@pytest.mark.parametrize("code", [1000, 1001, 1012, None])
@bounded
async def test_a_peer_that_closes_and_does_not_hang_up(code: int | None) -> None:
    async def serve(peer: Peer) -> None:
        await peer.greet()
        task = await peer.task()
        if peer.number == 1:
            closing = Frame(Opcode.CLOSE, Close(code, "bye").serialize() if code else b"")
            # What came before the close frame counts.
            text = Frame(Opcode.TEXT, orjson.dumps(result_of(task)))
            await peer.frames(text, closing)
        await anyio.sleep_forever()

    async with serving(serve) as (url, _), quick(url) as client:
        events = client.events()
        assert (await client.run(ask())).text == "done"
        start = anyio.current_time()
        await until(lambda: client.stats().connections == 2)
        assert anyio.current_time() - start < 3.0
    (ended, *_) = only([event async for event in events], Disconnected)
    assert ended.code == (code or 1005)


@bounded
async def test_a_peer_that_sends_what_cannot_be_read_and_stays() -> None:
    async def serve(peer: Peer) -> None:
        await peer.greet()
        if peer.number == 1:
            await peer.stream.send(b"\xff\xff\xff\xff")
        await anyio.sleep_forever()

    async with serving(serve) as (url, _), quick(url) as client:
        start = anyio.current_time()
        await until(lambda: client.stats().connections == 2)
        assert anyio.current_time() - start < 3.0


@bounded
async def test_a_peer_that_hangs_up_and_takes_no_bytes_is_left_at_once() -> None:
    # It would take none of what waits for it, so only the pings would find that out.
    async def serve(peer: Peer) -> None:
        await peer.greet()
        if peer.number == 1:
            await peer.stream.receive(1)
            await peer.stream.send_eof()
        await anyio.sleep_forever()

    patient = {"busy_ping_after": 500.0, "busy_ping_timeout": 500.0}
    async with (
        serving(serve) as (url, _),
        quick(url, ping_after=500.0, ping_timeout=500.0, **patient) as client,
    ):
        handle = await client.submit(ask("x" * 20_000_000))
        await until(lambda: client.stats().connections == 2)
        handle.cancel()


@bounded
async def test_a_goodbye_of_ours_is_not_waited_for_long() -> None:
    async def serve(peer: Peer) -> None:
        await peer.greet()
        while True:
            data = await peer.stream.receive()
            if data[0] == 0x88:
                await peer.frames(Frame(Opcode.CLOSE, Close(1000, "").serialize()))

    async with serving(serve) as (url, _):
        async with quick(url, close_timeout=30.0) as client:
            await client.ready()
            start = anyio.current_time()
        assert anyio.current_time() - start < 3.0


@bounded
async def test_the_ordinary_end_of_a_socket_stays_orderly() -> None:
    async with Emulator(KEY) as emulator:
        async with client_of(emulator) as client:
            await client.ready()
            events = client.events()
            emulator.faults.cut(1001, "moved")
            await until(lambda: client.stats().connections == 2)
        (ended, *_) = only([event async for event in events], Disconnected)
        assert ended.code == 1001
