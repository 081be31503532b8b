"""Opens connections to HTTP servers: addresses, proxies, TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._io.http_connection import HttpConnection, PostFailed, Wire, failed, words
from runware_ws._io.transport.base import TransportLost
from runware_ws._io.transport.proxies import Proxy, proxy_for, tunnel
from runware_ws._io.transport.tls import default_context, tls_refusal
from runware_ws._urls import HTTP_PORTS, bracketed
from runware_ws.classify import LossKind, Verdict, classify_loss
from runware_ws.errors import ConfigurationError

__all__ = ["HttpTarget", "dial"]


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """Where to post. ``authority`` is host and port; ``path`` includes the query."""

    host: str
    port: int
    secure: bool
    authority: str
    path: str

    @staticmethod
    def of(url: str) -> HttpTarget:
        """The parts of a URL that was already checked.

        Raises:
            ConfigurationError: its host cannot be written in a header.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            host = host if host.isascii() else host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ConfigurationError(f"http_url has an invalid host: {host!r}") from None
        port = parts.port or HTTP_PORTS[parts.scheme]
        shown = bracketed(host)
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        if parts.query:
            path += "?" + quote(parts.query, safe="/?%:@!$&'()*+,;=~")
        authority = shown if port == HTTP_PORTS[parts.scheme] else f"{shown}:{port}"
        return HttpTarget(host, port, parts.scheme == "https", authority, path)


async def dial(
    target: HttpTarget,
    proxy: str | Literal[True] | None,
    context: ssl.SSLContext | None,
    agent: str,
) -> HttpConnection:
    """Open a connection. Has no deadline of its own.

    Raises:
        PostFailed: it cannot be opened. Not one byte of the request was sent.
    """
    way = _way(target, proxy)
    if way is None:
        wire = await _connect(target.host, target.port, "the server")
    else:
        wire = await _connect(way.host, way.port, "the proxy")
    connection: HttpConnection | None = None
    try:
        stream: ByteStream = wire
        if way is not None and way.scheme == "https":
            stream = await _secured(stream, way.host, None)
        if way is not None and target.secure:
            await _tunnel(stream, target, way, agent)
        if target.secure:
            stream = await _secured(stream, target.host, context)
        connection = HttpConnection(stream, wire)
        if way is not None and not target.secure:
            connection.forward = way.headers()
        return connection
    finally:
        if connection is None:
            with anyio.CancelScope(shield=True):
                await wire.aclose()


def _way(target: HttpTarget, proxy: str | Literal[True] | None) -> Proxy | None:
    """The proxy to go through, if any."""
    kinds = ("https",) if target.secure else ("http",)
    try:
        way = proxy_for(target.host, target.port, proxy, kinds)
    except ConfigurationError as exc:
        raise failed(Ending.REFUSED, LossKind.CANNOT_DIAL, exc.message) from None
    if way is not None and way.socks:
        detail = (
            f"a stream over HTTP cannot use a {way.scheme} proxy: set an HTTP proxy, "
            'or stream with carrier="socket"'
        )
        raise failed(Ending.REFUSED, LossKind.CANNOT_DIAL, detail)
    return way


async def _connect(host: str, port: int, who: str) -> Wire:
    try:
        return Wire(await anyio.connect_tcp(host, port))
    except OSError as exc:
        detail = f"{who} was not reached: {words(exc)}"
        raise failed(Ending.UNREACHED, LossKind.DIAL_FAILED, detail) from None
    except ValueError:
        detail = f"{who} has an invalid host name"
        raise failed(Ending.REFUSED, LossKind.CANNOT_DIAL, detail) from None


async def _secured(stream: ByteStream, host: str, context: ssl.SSLContext | None) -> TLSStream:
    try:
        return await TLSStream.wrap(
            stream,
            server_side=False,
            hostname=host,
            ssl_context=context or await default_context(),
        )
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        refused = tls_refusal(exc)
        if refused is not None:
            raise failed(Ending.REFUSED, LossKind.TLS_FAILED, refused) from None
        detail = f"no TLS: {words(exc)}"
        raise failed(Ending.UNREACHED, LossKind.DIAL_FAILED, detail) from None


async def _tunnel(stream: ByteStream, target: HttpTarget, way: Proxy, agent: str) -> None:
    """Ask the proxy for a tunnel to the server."""

    async def receive() -> bytes:
        try:
            return await stream.receive(65536)
        except anyio.EndOfStream:
            return b""

    try:
        await tunnel(way, target.host, target.port, agent, stream.send, receive)
    except TransportLost as exc:
        final = classify_loss(exc.loss) is Verdict.TERMINAL
        how = Ending.REFUSED if final else Ending.UNREACHED
        raise PostFailed(PostEnding(how, exc.loss)) from None
