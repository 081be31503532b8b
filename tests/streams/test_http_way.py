"""The way of a POST: TLS and proxies."""

from __future__ import annotations

import ssl
import sys
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from runware_ws import Config, ConfigurationError
from runware_ws._core.effects import Ending
from runware_ws._io.http import (
    DEFAULT_HTTP_URL,
    check_http_url,
    http_carrier,
    http_url_of,
    sse_available,
)
from runware_ws._io.http_carrier import HttpCarrier
from runware_ws._io.transport import tls
from runware_ws._io.transport.base import TransportLost
from runware_ws._io.transport.websocket import dial
from runware_ws.classify import LossKind

from .posting import KEY, OK, carrying, loss_of, post
from .servers import STREAM, Odd, certificate, chunked, event, listening, relay

pytestmark = pytest.mark.anyio

A = b'{"a":1}'
ANSWER = STREAM + chunked(event(A), event(b"[DONE]"))
PASSWORD = "pa55 wörd"


class Proxy:
    """Answers CONNECT and joins the connection with ``port``; keeps what it was asked."""

    def __init__(self, port: int, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> None:
        self.heads: list[bytes] = []
        self._port = port
        self._answer = answer

    async def handle(self, stream: Any) -> None:
        """Serve one connection."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive()
        self.heads.append(head)
        await stream.send(self._answer)
        if b" 200 " in self._answer:
            await relay(stream, self._port)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# TLS


async def test_a_certificate_that_is_trusted() -> None:
    server, trusting = certificate("localhost")
    odd = Odd(ANSWER)
    async with (
        listening(odd.handle, server) as port,
        carrying(f"https://localhost:{port}/v1", ssl=trusting) as carrier,
    ):
        for _ in range(3):
            assert await post(carrier) == (OK, [A])
        assert odd.connections == 1
        assert odd.requests[0].lower().count(f"host: localhost:{port}".encode()) == 1
        for last in ("end", "reset"):
            odd.steps = (STREAM + b"\r\n" + event(A), last)
            ending, found = await post(carrier)
            loss_of(ending, Ending.CUT, LossKind.CLOSED)
            assert found == [A] or last == "reset"
        odd.steps = ("stay",)
        with anyio.move_on_after(0.05) as scope:
            await post(carrier)
        assert scope.cancelled_caught


@pytest.mark.parametrize("wrong", ["unknown authority", "wrong name"])
async def test_a_certificate_that_cannot_be_trusted(wrong: str) -> None:
    server, trusting = certificate("localhost" if wrong == "unknown authority" else "other.example")
    context = None if wrong == "unknown authority" else trusting
    odd = Odd(ANSWER)
    async with (
        listening(odd.handle, server) as port,
        carrying(f"https://localhost:{port}/v1", ssl=context) as carrier,
    ):
        ending, _ = await post(carrier)
        assert loss_of(ending, Ending.REFUSED, LossKind.TLS_FAILED).detail
        assert odd.connections == 0


async def test_a_server_without_tls() -> None:
    async with (
        listening(_says_hello) as port,
        carrying(f"https://127.0.0.1:{port}/v1") as carrier,
    ):
        loss_of((await post(carrier))[0], Ending.UNREACHED, LossKind.DIAL_FAILED)


async def _says_hello(stream: Any) -> None:
    await stream.receive()
    await stream.send(b"220 hello\r\n")


async def test_a_handshake_that_does_not_end() -> None:
    async def silent(stream: Any) -> None:
        await anyio.sleep_forever()

    async with (
        listening(silent) as port,
        carrying(f"https://127.0.0.1:{port}/v1", open_timeout=0.1) as carrier,
    ):
        loss = loss_of((await post(carrier))[0], Ending.UNREACHED, LossKind.OPEN_TIMEOUT)
        assert "0.1 s" in loss.detail


async def test_all_dials_share_one_context(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    create = ssl.create_default_context

    def counted(*args: Any, **options: Any) -> ssl.SSLContext:
        made.append(create(*args, **options))
        return made[-1]

    server, _ = certificate("localhost")
    monkeypatch.setattr(ssl, "create_default_context", counted)
    monkeypatch.setattr(tls, "_made", [])
    async with listening(Odd().handle, server) as port:

        async def socket() -> None:
            with pytest.raises(TransportLost, match="tls failed"):
                async with dial(f"wss://localhost:{port}/v1", Config()):
                    pass

        async def request() -> None:
            async with carrying(f"https://localhost:{port}/v1") as carrier:
                loss_of((await post(carrier))[0], Ending.REFUSED, LossKind.TLS_FAILED)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(socket)
                group.start_soon(request)
    assert len(made) == 1


# Proxies


@asynccontextmanager
async def proxied(answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> AsyncGenerator[Any]:
    """A server with TLS that is called target.example, and a proxy that knows the way."""
    server, trusting = certificate("target.example")
    odd = Odd(ANSWER)
    async with listening(odd.handle, server) as port:
        proxy = Proxy(port, answer)
        async with listening(proxy.handle) as proxy_port:
            yield odd, proxy, proxy_port, trusting


async def test_a_tunnel() -> None:
    async with proxied() as (odd, proxy, port, trusting):
        address = f"http://us%65r:pa55%20w%C3%B6rd@127.0.0.1:{port}"
        async with carrying("https://target.example/v1", ssl=trusting, proxy=address) as carrier:
            for _ in range(2):
                assert await post(carrier) == (OK, [A])
        (head,) = proxy.heads
        assert head.startswith(b"CONNECT target.example:443 HTTP/1.1\r\n")
        told = b64encode(f"user:{PASSWORD}".encode())
        assert b"proxy-authorization: basic " + told.lower() in head.lower()
        assert KEY.encode() not in head
        assert len(odd.requests) == 2
        assert b"proxy-authorization" not in odd.requests[0].lower()
        assert KEY.encode() in odd.requests[0]


@pytest.mark.parametrize(
    ("answer", "how", "status"),
    [
        (b"HTTP/1.1 407 Who\r\n\r\n", Ending.REFUSED, 407),
        (b"HTTP/1.1 403 No\r\n\r\n", Ending.REFUSED, 403),
        (b"HTTP/1.1 302 There\r\nLocation: http://127.0.0.1/\r\n\r\n", Ending.REFUSED, 302),
        (b"HTTP/1.1 429 Slow\r\n\r\n", Ending.UNREACHED, 429),
        (b"HTTP/1.1 502 Lost\r\nRetry-After: 7\r\n\r\n", Ending.UNREACHED, 502),
        (b"220 hello\r\n\r\n", Ending.UNREACHED, None),
        (b"HTTP/1.1", Ending.UNREACHED, None),
        (b"", Ending.UNREACHED, None),
    ],
)
async def test_a_proxy_that_refuses(answer: bytes, how: Ending, status: int | None) -> None:
    async with proxied(answer) as (odd, _, port, trusting):
        address = f"http://user:{quote(PASSWORD)}@127.0.0.1:{port}"
        async with carrying("https://target.example/v1", ssl=trusting, proxy=address) as carrier:
            ending, _ = await post(carrier)
        loss = loss_of(ending, how, LossKind.PROXY_REFUSED, status)
        assert loss.retry_after == (7.0 if b"Retry-After" in answer else None)
        assert PASSWORD not in repr(ending)
        assert odd.requests == []


async def test_plain_http_goes_through_a_proxy_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Odd(ANSWER)
    async with listening(odd.handle) as port:
        monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{port}")
        async with carrying("http://target.example:81/v1?a=b") as carrier:
            assert await post(carrier) == (OK, [A])
            odd.steps = (b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n",)
            loss_of((await post(carrier))[0], Ending.REFUSED, LossKind.PROXY_REFUSED, 407)
        assert odd.connections == 1
        head = odd.requests[0]
        assert head.startswith(b"POST http://target.example:81/v1?a=b HTTP/1.1\r\n")
        assert b"proxy-authorization: basic dxnlcjp3b3jk" in head.lower()


@pytest.mark.parametrize("names", [("https_proxy",), ("all_proxy",), ("HTTPS_PROXY",)])
async def test_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str]
) -> None:
    async with proxied() as (_, proxy, port, trusting):
        monkeypatch.setenv(names[0], f"127.0.0.1:{port}")
        async with carrying("https://target.example/v1", ssl=trusting) as carrier:
            assert await post(carrier) == (OK, [A])
        assert len(proxy.heads) == 1


@pytest.mark.parametrize("way", ["loopback", "no_proxy", "None"])
async def test_ways_without_a_proxy(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    odd, proxy = Odd(ANSWER), Odd(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    async with listening(odd.handle) as port, listening(proxy.handle) as proxy_port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy_port}")
        # The address of this machine that is none of loopback.
        host = "127.0.0.1" if way == "loopback" else "0.0.0.0"
        if way == "no_proxy":
            monkeypatch.setenv("no_proxy", "0.0.0.0")
        options: dict[str, Any] = {"proxy": None} if way == "None" else {}
        async with carrying(f"http://{host}:{port}/v1", **options) as carrier:
            assert await post(carrier) == (OK, [A])
    assert (odd.connections, proxy.connections) == (1, 0)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("socks5://user:hidden@127.0.0.1:1", "socks5"),
        ("ftp://user:hidden@127.0.0.1:1", "http://proxy.example:3128"),
        ("http://user:hidden@127.0.0.1:99999", "http://proxy.example:3128"),
        ("http://", "http://proxy.example:3128"),
    ],
)
async def test_proxies_that_cannot_be(address: str, words: str) -> None:
    async with carrying("https://target.example/v1", proxy=address) as carrier:
        loss = loss_of((await post(carrier))[0], Ending.REFUSED, LossKind.CANNOT_DIAL)
        assert words in loss.detail
        assert "hidden" not in loss.detail


async def test_no_proxy_there() -> None:
    async with listening(Odd().handle) as port:
        pass
    address = f"http://127.0.0.1:{port}"
    async with carrying("https://target.example/v1", proxy=address) as carrier:
        loss = loss_of((await post(carrier))[0], Ending.UNREACHED, LossKind.DIAL_FAILED)
        assert "proxy" in loss.detail


async def test_a_proxy_with_tls() -> None:
    server, _ = certificate("localhost")
    async with listening(Odd().handle, server) as port:
        address = f"https://localhost:{port}"
        async with carrying("https://target.example/v1", proxy=address) as carrier:
            loss_of((await post(carrier))[0], Ending.REFUSED, LossKind.TLS_FAILED)


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


def test_urls_that_are_fine() -> None:
    for url in (DEFAULT_HTTP_URL, "http://localhost:1/v1", "http://[::1]/v1"):
        assert check_http_url(url, allow_insecure=False) == url
        assert url in repr(http_carrier(url, Config()))
    assert check_http_url("http://host/v1", allow_insecure=True)
    assert http_url_of("wss://host/v1") == "https://host/v1"
    assert http_carrier("https://bücher.example/v1", Config())
    with pytest.raises(ConfigurationError):
        HttpCarrier("https://" + "ü" * 100 + "/v1")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sse_available()
    monkeypatch.setitem(sys.modules, "h11", None)
    assert not sse_available()
    with pytest.raises(ConfigurationError, match=r"pip install 'runware-ws\[sse\]'"):
        http_carrier(DEFAULT_HTTP_URL, Config())
