"""Opens connections to HTTP servers: addresses, proxies, TLS."""

from __future__ import annotations

import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Literal, cast
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import h11
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from runware_ws._core.effects import Ending
from runware_ws._io.http_connection import HttpConnection, Wire, failed, first, words, written
from runware_ws._io.transport.common import retry_after
from runware_ws._io.transport.tls import default_context, tls_refusal
from runware_ws.classify import LossKind, Verdict, classify_http
from runware_ws.config import is_loopback
from runware_ws.errors import ConfigurationError

__all__ = ["HttpTarget", "dial"]

_LARGEST_HEAD = 64 * 1024  # bytes of a proxy's answer
_PORTS = {"http": 80, "https": 443}


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
        port = parts.port or _PORTS[parts.scheme]
        shown = f"[{host}]" if ":" in host else host
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        if parts.query:
            path += "?" + quote(parts.query, safe="/?%:@!$&'()*+,;=~")
        authority = shown if port == _PORTS[parts.scheme] else f"{shown}:{port}"
        return HttpTarget(host, port, parts.scheme == "https", authority, path)


@dataclass(frozen=True, slots=True)
class _Proxy:
    host: str
    port: int
    secure: bool
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # may hold a password


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
        if way is not None and way.secure:
            stream = await _secured(stream, way.host, None)
        if way is not None and target.secure:
            await _tunnel(stream, target, way, agent)
        if target.secure:
            stream = await _secured(stream, target.host, context)
        connection = HttpConnection(stream, wire)
        if way is not None and not target.secure:
            connection.forward = way.headers
        return connection
    finally:
        if connection is None:
            with anyio.CancelScope(shield=True):
                await wire.aclose()


def _way(target: HttpTarget, proxy: str | Literal[True] | None) -> _Proxy | None:
    """The proxy to go through, if any."""
    url = proxy
    if url is True:
        # Traffic to this machine, and the key with it, must not go to another one.
        if is_loopback(target.host):
            return None
        found = getproxies()
        url = found.get("https" if target.secure else "http") or found.get("all")
        if url and proxy_bypass(f"{target.host}:{target.port}"):
            return None
    if not url:
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme.startswith("socks"):
        detail = (
            f"a stream over HTTP cannot use a {parts.scheme} proxy: set an HTTP proxy, "
            'or stream with carrier="socket"'
        )
        raise failed(Ending.REFUSED, LossKind.CANNOT_DIAL, detail)
    if parts.scheme not in _PORTS or not parts.hostname:
        # Not shown, because it may contain a password.
        detail = "the address of the proxy must look like 'http://host:port'"
        raise failed(Ending.REFUSED, LossKind.CANNOT_DIAL, detail)
    headers: tuple[tuple[str, str], ...] = ()
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = (("Proxy-Authorization", "Basic " + b64encode(pair.encode()).decode()),)
    return _Proxy(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "https", headers)


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


async def _tunnel(stream: ByteStream, target: HttpTarget, way: _Proxy, agent: str) -> None:
    """Ask the proxy for a tunnel to the server."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    name = f"{host}:{target.port}"
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)

    def request() -> h11.Request:
        fields = [("Host", name), ("User-Agent", agent), *way.headers]
        return h11.Request(method="CONNECT", target=name, headers=fields)

    try:
        await stream.send(cast("bytes", written(http, request())))
        while not isinstance(event := http.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive(65536))
            elif not isinstance(event, h11.InformationalResponse):
                break
    except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
        detail = "the proxy hung up"
        raise failed(Ending.UNREACHED, LossKind.PROXY_REFUSED, detail) from None
    except h11.ProtocolError:
        event = None
    if not isinstance(event, h11.Response) or (event.status_code < 300 and http.trailing_data[0]):
        detail = "the proxy's answer is not HTTP/1.1"
        raise failed(Ending.UNREACHED, LossKind.PROXY_REFUSED, detail)
    status = event.status_code
    if not 200 <= status < 300:
        busy = classify_http(status) is Verdict.BACK_OFF
        how = Ending.UNREACHED if busy else Ending.REFUSED
        after = retry_after(first(event.headers, b"retry-after"))
        raise failed(how, LossKind.PROXY_REFUSED, status=status, after=after)
