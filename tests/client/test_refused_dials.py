"""Dials that the server refuses in TLS, or with an answer that is no WebSocket's."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
import trustme
from pydantic import SecretStr
from websockets.asyncio.connection import Connection

from runware_ws import AuthenticationError, ConnectionFailed
from runware_ws._core.effects import Ending
from runware_ws._io.http_carrier import HttpCarrier
from runware_ws.classify import LossKind
from runware_ws.events import DialFailed
from tests.streams.servers import listening

from .raw import Peer, quick, serving
from .support import KEY, bounded

pytestmark = pytest.mark.anyio

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def contexts() -> Contexts:
    """Settings of a server, and of a client that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)  # pyright: ignore[reportUnknownMemberType]
    return server, ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())


def wants_a_certificate(version: ssl.TLSVersion) -> Contexts:
    server, client = contexts()
    server.maximum_version = version
    server.verify_mode = ssl.CERT_REQUIRED
    trustme.CA().configure_trust(server)  # pyright: ignore[reportUnknownMemberType]
    return server, client


def knows_another_authority(version: ssl.TLSVersion) -> Contexts:
    server, client = wants_a_certificate(version)
    trustme.CA().issue_cert("me").configure_cert(client)  # pyright: ignore[reportUnknownMemberType]
    return server, client


def is_too_old() -> Contexts:
    server, client = contexts()
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    return server, client


def ends_with(alert: ssl.AlertDescription) -> Contexts:
    server, client = contexts()

    def refuse(*_: Any) -> int:
        return alert

    server.sni_callback = refuse
    return server, client


def handshaking(context: ssl.SSLContext) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """A server that ends after the handshake, and sends its alert if that fails."""

    async def handle(stream: Any) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await stream.send(outgoing.read())
                incoming.write(await stream.receive())
                continue
            except ssl.SSLError:
                await stream.send(outgoing.read())
                await stream.send_eof()
            while True:
                await stream.receive()

    return handle


REFUSALS: list[tuple[Callable[[], Contexts], str]] = [
    (lambda: wants_a_certificate(ssl.TLSVersion.TLSv1_3), "certificate required"),
    (lambda: wants_a_certificate(ssl.TLSVersion.TLSv1_2), "handshake failure"),
    (lambda: knows_another_authority(ssl.TLSVersion.TLSv1_3), "unknown ca"),
    (lambda: knows_another_authority(ssl.TLSVersion.TLSv1_2), "unknown ca"),
    (is_too_old, "protocol version"),
    (lambda: ends_with(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME), "unrecognized name"),
]


knows_why = pytest.mark.skipif(
    not hasattr(Connection, "set_connection_exc"),
    reason="an older version of the library does not tell what ends a connection after TLS",
)
LATE = (0, 2)
"""In TLS 1.3 such an alert comes after the handshake."""


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(*refusal, marks=[knows_why] if number in LATE else [])
        for number, refusal in enumerate(REFUSALS)
    ],
)
@bounded
async def test_a_server_that_refuses_our_tls_is_not_redialled(
    make: Callable[[], Contexts], words: str
) -> None:
    server, trusting = make()
    async with listening(handshaking(server)) as port:
        async with quick(f"wss://localhost:{port}/v1", ssl=trusting) as client:
            with pytest.raises(ConnectionFailed, match="tls failed") as caught:
                await client.ready()
        assert words in str(caught.value)
        assert ("ssl=" in str(caught.value)) == (words in ("certificate required", "unknown ca"))
        assert client.stats().dials == 1


@pytest.mark.parametrize(("make", "words"), REFUSALS)
@bounded
async def test_a_server_that_refuses_the_tls_of_a_post(
    make: Callable[[], Contexts], words: str
) -> None:
    server, trusting = make()
    async with listening(handshaking(server)) as port:
        carrier = HttpCarrier(f"https://localhost:{port}/v1", ssl=trusting, proxy=None)
        ending = await carrier(b"[]", SecretStr(KEY), lambda: True, list[bytes]().append)
    assert ending.loss is not None
    assert (ending.how, ending.loss.kind) == (Ending.REFUSED, LossKind.TLS_FAILED)
    assert words in ending.loss.detail


@bounded
async def test_a_server_whose_tls_failed_inside_is_redialled() -> None:
    server, trusting = ends_with(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)
    async with (
        listening(handshaking(server)) as port,
        quick(f"wss://localhost:{port}/v1", ssl=trusting) as client,
    ):
        seen = 0
        async for event in client.events():
            assert isinstance(event, DialFailed) or not seen
            seen += isinstance(event, DialFailed)
            if seen and isinstance(event, DialFailed):
                assert "internal error" in event.reason
                break


# Answers to the upgrade


REFUSED = b"HTTP/1.1 401 No\r\n"

ANSWERS = [
    b"HTTP/1.0 401 Who are you\r\n\r\n",
    b"HTTP/1.1 401\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/2 401 no\r\n\r\n",
    b"HTTP/1.1 401 No\nServer: x\n\n",
    REFUSED + b"Content-Length: 500\r\n\r\ncut",
    REFUSED + b"Content-Length: 5000000\r\n\r\n" + b"x" * 100_000,
    REFUSED + b"Transfer-Encoding: gzip\r\n\r\nxyz",
    REFUSED + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
    REFUSED + b"no header\r\n\r\n",
    REFUSED + b"X: x\r\n" * 300 + b"\r\n",
    REFUSED + b"Conten",
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + REFUSED + b"\r\n",
]


@pytest.mark.parametrize("pieces", [1, 0])
@pytest.mark.parametrize("answer", ANSWERS)
@bounded
async def test_a_refusal_counts_whatever_follows_its_status(answer: bytes, pieces: int) -> None:
    async def serve(peer: Peer) -> None:
        await peer.stream.receive()
        head = answer[:200]
        for piece in [head[at : at + 1] for at in range(len(head))] if pieces else [head]:
            await peer.stream.send(piece)
        await peer.stream.send(answer[200:])

    async with serving(serve) as (url, _), quick(url) as client:
        with pytest.raises(AuthenticationError, match="HTTP 401"):
            await client.ready()
        assert client.stats().dials == 1


@pytest.mark.parametrize("length", [b"Content-Length: 9\r\n", b""])
@bounded
async def test_the_body_of_a_refusal_is_not_waited_for(length: bytes) -> None:
    async def serve(peer: Peer) -> None:
        await peer.stream.receive()
        await peer.stream.send(REFUSED + length + b"\r\nno")
        await anyio.sleep_forever()

    async with serving(serve) as (url, _), quick(url) as client:
        with pytest.raises(AuthenticationError, match="HTTP 401"):
            await client.ready()
        assert client.stats().dials == 1


@pytest.mark.parametrize(
    ("header", "waited"),
    [
        (b"Retry-After: 77", True),
        (b"retry-after:77 \r\nRetry-After: 1", True),
        (b"X-Retry-After: 77", False),
        (b"Retry-After: 7\x007", False),
    ],
)
@bounded
async def test_an_old_server_that_is_busy_is_waited_for(header: bytes, waited: bool) -> None:
    answer = b"HTTP/1.0 503 Busy\r\nServer: x\r\n" + header + b"\r\n\r\nbusy"
    async with serving(lambda peer: peer.refuse(answer)) as (url, _), quick(url) as client:
        async for event in client.events():
            if isinstance(event, DialFailed):
                assert "HTTP 503" in event.reason
                assert (event.retry_after > 76) == waited
                break


@bounded
async def test_an_upgrade_of_an_old_server_is_none() -> None:
    answer = b"HTTP/1.0 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    async with serving(lambda peer: peer.refuse(answer)) as (url, _), quick(url) as client:
        async for event in client.events():
            if isinstance(event, DialFailed):
                assert "HTTP/1.0" in event.reason
                break
