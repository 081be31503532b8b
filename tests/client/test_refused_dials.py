"""Dials that the server refuses in TLS, or with an answer that is no WebSocket's."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
import trustme
from pydantic import SecretStr

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
    trustme.CA().configure_trust(server)
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


def has_no_such_name() -> Contexts:
    server, client = contexts()
    server.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    return server, client


def failed_inside() -> Contexts:
    server, client = contexts()
    server.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
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
    (has_no_such_name, "unrecognized name"),
]


@pytest.mark.parametrize(("make", "words"), REFUSALS)
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
    server, trusting = failed_inside()
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
