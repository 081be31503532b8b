"""Proxies: which one is taken, what it may answer, and that sockets and POSTs judge it alike."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio.streams.tls import TLSStream
from pydantic import SecretStr

from runware_ws import Client, ConfigurationError, ConnectionFailed
from runware_ws._core.effects import Ending
from runware_ws._io.http_carrier import HttpCarrier
from runware_ws._io.transport import tls
from runware_ws._io.transport.proxies import proxy_for
from runware_ws.classify import LossKind
from runware_ws.events import Closed, Connected, DialFailed
from tests.streams.servers import certificate, listening, relay

from .raw import Peer, quick, result_of, serving
from .support import KEY, ask, bounded

pytestmark = pytest.mark.anyio

FAR = "wss://far.test/v1"
PASSWORD = "hunter2secret"

FINAL = [
    b"HTTP/1.1 302 To the portal\r\nLocation: http://portal.test/\r\n\r\n",
    b"HTTP/1.1 401 Who\r\n\r\n",
    b"HTTP/1.1 403 No\r\n\r\n",
    b"HTTP/1.0 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n",
    b"HTTP/1.1 407\r\n\r\n",
    b"HTTP/1.1 407 Who\r\nContent-Length: 500\r\n\r\nno",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 Who\r\n\r\n",
]
PASSING = [
    b"HTTP/1.1 408 Slow\r\n\r\n",
    b"HTTP/1.1 425 Early\r\n\r\n",
    b"HTTP/1.1 429 Busy\r\nRetry-After: 77\r\n\r\n",
    b"HTTP/1.0 503 Busy\r\nRetry-After: 77\r\n\r\n",
    b"HTTP/1.1 502\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nand more",
    b"HTTP/1.1 200 OK\r\nVia: x\r\n",
    b"220 hello\r\n\r\n",
    b"HTTP/1.1",
    b"",
]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("ws", "wss", "http", "https", "socks", "all", "no"):
        monkeypatch.delenv(f"{kind}_proxy", raising=False)
        monkeypatch.delenv(f"{kind}_PROXY".upper(), raising=False)


async def posted(port: int) -> Any:
    """How a POST through this proxy ends."""
    carrier = HttpCarrier("https://far.test/v1", proxy=f"http://me:{PASSWORD}@127.0.0.1:{port}")
    return await carrier(b"[]", SecretStr(KEY), lambda: True, list[bytes]().append)


@pytest.mark.parametrize("answer", FINAL)
@bounded
async def test_a_proxy_that_refuses_for_good_ends_both_ways(answer: bytes) -> None:
    async with serving(lambda peer: peer.refuse(answer)) as (_, port):
        async with quick(FAR, proxy=f"http://me:{PASSWORD}@127.0.0.1:{port}") as client:
            with pytest.raises(ConnectionFailed, match="proxy refused, HTTP") as caught:
                await client.ready()
        assert client.stats().dials == 1
        ending = await posted(port)
    assert (ending.how, ending.loss.kind) == (Ending.REFUSED, LossKind.PROXY_REFUSED)
    assert str(ending.loss) in str(caught.value)


@pytest.mark.parametrize("answer", PASSING)
@bounded
async def test_a_proxy_that_may_recover_ends_neither_way(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(lambda peer: peer.refuse(answer)) as (_, port):
        proxy = f"http://me:{PASSWORD}@127.0.0.1:{port}"
        async with quick(FAR, proxy=proxy, retry_after_cap=0.01) as client:
            failed: list[DialFailed] = []
            async for event in client.events():
                assert not isinstance(event, Closed)
                if isinstance(event, DialFailed):
                    failed.append(event)
                if len(failed) == 2:
                    break
        ending = await posted(port)
    assert (ending.how, ending.loss.kind) == (Ending.UNREACHED, LossKind.PROXY_REFUSED)
    assert str(ending.loss) == failed[0].reason
    assert (ending.loss.retry_after == 77) == (b"77" in answer)
    assert not [record for record in caplog.records if record.name == "asyncio"]


@bounded
async def test_a_proxy_that_hangs_up_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def hang_up(_: Any) -> None:
        return

    caplog.set_level(logging.DEBUG)
    async with (
        listening(hang_up) as port,
        quick(FAR, proxy=f"http://me:{PASSWORD}@127.0.0.1:{port}") as client,
    ):
        async for event in client.events():
            if isinstance(event, DialFailed):
                assert "proxy" in event.reason
                break
    assert not [record for record in caplog.records if record.exc_info]
    assert PASSWORD not in caplog.text


@bounded
async def test_the_401_of_a_proxy_is_not_about_the_key() -> None:
    """After a good connection it may pass, as its 407 may."""
    opened = 0

    async def serve(peer: Peer) -> None:
        nonlocal opened
        await peer.stream.receive()
        if peer.number == 2:
            await peer.stream.send(b"HTTP/1.1 401 Who\r\n\r\n")
            return
        await peer.stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await peer.greet()
        opened += 1
        if opened > 1:
            await peer.send(result_of(await peer.task()))
            await anyio.sleep_forever()

    async with serving(serve) as (_, port):
        proxy = f"http://127.0.0.1:{port}"
        async with quick("ws://far.test/v1", proxy=proxy, allow_insecure=True) as client:
            # Not before: a task that the first socket carried would be asked for.
            events = client.events()
            while not isinstance(event := await anext(events), Connected) or event.generation < 3:
                pass
            assert (await client.run(ask())).text == "done"


# TLS to the proxy


def tunnelling(port: int, context: ssl.SSLContext) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """A proxy with TLS, before this port."""

    async def handle(stream: Any) -> None:
        inner = await TLSStream.wrap(stream, server_side=True, ssl_context=context)
        assert (await inner.receive()).startswith(b"CONNECT far.test:443 HTTP/1.1\r\n")
        await inner.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await relay(inner, port)

    return handle


@bounded
async def test_tls_within_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, trusting_outer = certificate("localhost")
    inner, trusting_inner = certificate("far.test")
    monkeypatch.setattr(tls, "_made", [trusting_outer])

    async def serve(stream: Any) -> None:
        peer = Peer(stream, 1)
        await peer.greet()
        await peer.send(result_of(await peer.task(), "x" * 300_000))
        await anyio.sleep_forever()

    async with listening(serve, inner) as port, listening(tunnelling(port, outer)) as proxy_port:
        proxy = f"https://me:{PASSWORD}@localhost:{proxy_port}"
        async with quick(FAR, proxy=proxy, ssl=trusting_inner) as client:
            assert (await client.run(ask("y" * 300_000))).text == "x" * 300_000


@bounded
async def test_a_proxy_whose_certificate_nobody_knows() -> None:
    server, _ = certificate("localhost")
    async with (
        listening(tunnelling(1, server)) as port,
        quick(FAR, proxy=f"https://me:{PASSWORD}@localhost:{port}") as client,
    ):
        with pytest.raises(ConnectionFailed, match="tls failed") as caught:
            await client.ready()
    assert PASSWORD not in str(caught.value)


# SOCKS


def socks(*answers: bytes) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """A SOCKS proxy that answers so, one message after the other."""

    async def handle(stream: Any) -> None:
        for answer in answers:
            await stream.receive()
            await stream.send(answer)
        await stream.receive()

    return handle


REFUSALS = [
    ((b"\x05\x02", b"\x01\x01"), "Username and password authentication failure"),
    ((b"\x05\xff",), "No acceptable authentication methods"),
    ((b"\x05\x00", b"\x05\x02\x00\x01" + bytes(6)), "not allowed by ruleset"),
]


@pytest.mark.parametrize(("answers", "words"), REFUSALS)
@bounded
async def test_a_socks_proxy_that_refuses_for_good(answers: tuple[bytes, ...], words: str) -> None:
    async with listening(socks(*answers)) as port:
        async with quick(FAR, proxy=f"socks5h://me:{PASSWORD}@127.0.0.1:{port}") as client:
            with pytest.raises(ConnectionFailed, match=words) as caught:
                await client.ready()
        assert client.stats().dials == 1
    assert PASSWORD not in str(caught.value)


@bounded
async def test_no_redirect_is_followed_through_a_socks_proxy() -> None:
    granted = b"\x05\x00\x00\x01" + bytes(6)
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    proxy, seen = socks(b"\x05\x00", granted, redirect), 0

    async def handle(stream: Any) -> None:
        nonlocal seen
        seen += 1
        await proxy(stream)

    async with listening(handle) as port:
        way = f"socks5h://127.0.0.1:{port}"
        async with quick("ws://far.test/v1", proxy=way, allow_insecure=True) as client:
            with pytest.raises(ConnectionFailed, match="302"):
                await client.ready()
    assert seen == 1


@pytest.mark.parametrize("code", [1, 3, 4, 5, 6])
@bounded
async def test_a_socks_proxy_that_may_recover(code: int) -> None:
    answers = (b"\x05\x00", bytes([5, code, 0, 1]) + bytes(6))
    async with (
        listening(socks(*answers)) as port,
        quick(FAR, proxy=f"socks5h://127.0.0.1:{port}") as client,
    ):
        seen = 0
        async for event in client.events():
            assert not isinstance(event, Closed)
            seen += isinstance(event, DialFailed)
            if seen == 2:
                break


@pytest.mark.parametrize("way", ["option", "environment"])
@bounded
async def test_without_the_package_for_socks(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)
    address = f"socks5://me:{PASSWORD}@127.0.0.1:1"
    if way == "environment":
        monkeypatch.setenv("ALL_PROXY", address)
    client = Client(FAR, api_key=KEY, proxy=address if way == "option" else True)
    with pytest.raises(ConfigurationError, match="pip install python-socks") as caught:
        await client.start()
    assert PASSWORD not in str(caught.value)


# Which one


@bounded
async def test_the_proxy_for_all_counts_for_sockets_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(peer: Peer) -> None:
        assert (await peer.stream.receive()).startswith(b"CONNECT far.test:80 HTTP/1.1\r\n")
        await peer.stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await peer.greet()
        await peer.send(result_of(await peer.task()))
        await anyio.sleep_forever()

    async with serving(serve) as (_, port):
        monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{port}")
        async with quick("ws://far.test/v1", proxy=True, allow_insecure=True) as client:
            assert (await client.run(ask())).text == "done"


@pytest.mark.parametrize(
    ("settings", "host", "found"),
    [
        ({}, "far.test", None),
        ({"all": "http://a:1"}, "far.test", "http://a:1"),
        ({"all": "http://a:1", "https": "http://b"}, "far.test", "http://b:80"),
        ({"wss": "c:3", "https": "http://b:2"}, "far.test", "http://c:3"),
        ({"socks": "http://s", "https": "http://b:2"}, "far.test", "socks5h://s:1080"),
        ({"all": "SOCKS://u:p%40@s:9/"}, "far.test", "socks5h://u:p%40@s:9"),
        ({"all": "https://[::1]"}, "far.test", "https://[::1]:443"),
        ({"all": "http://a:1"}, "localhost", None),
        ({"all": "http://a:1"}, "::1", None),
        ({"all": "http://a:1"}, "127.7.7.7", None),
        ({"all": "http://a:1", "no": "test"}, "far.test", None),
        ({"all": "http://a:1", "no": "x.y, .far.test"}, "ws.far.test", None),
        ({"all": "http://a:1", "no": "far.test:443"}, "far.test", None),
        ({"all": "http://a:1", "no": "far.test:80"}, "far.test", "http://a:1"),
        ({"all": "http://a:1", "no": "*"}, "far.test", None),
        ({"all": "http://a:1", "no": "2001:db8::1"}, "2001:db8::1", None),
        ({"all": "http://bücher.test:1"}, "far.test", "http://xn--bcher-kva.test:1"),
    ],
)
def test_which_proxy_of_the_system_counts(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], host: str, found: str | None
) -> None:
    for kind, address in settings.items():
        monkeypatch.setenv(f"{kind}_proxy", address)
    way = proxy_for(host, 443, True, ("wss", "socks", "https"))
    assert (way and way.url) == found


def test_a_proxy_is_shown_without_its_password() -> None:
    way = proxy_for("far.test", 443, f"http://me:{PASSWORD}@a:1", ())
    assert way is not None
    assert PASSWORD in way.url
    assert PASSWORD not in repr(way)
