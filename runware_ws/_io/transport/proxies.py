"""Proxies: which one a connection goes through, and the tunnel that is asked of it.

Sockets and POSTs choose and judge alike, because both do it here.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from runware_ws._io.transport.base import TransportLost, words_of
from runware_ws._io.transport.heads import NotHttp, head_of
from runware_ws._io.transport.retry_after import retry_after
from runware_ws._io.transport.tls import tls_refusal
from runware_ws._urls import HTTP_PORTS, bracketed, is_loopback, proxy_url
from runware_ws.classify import Loss, LossKind

__all__ = ["Proxy", "proxy_for", "tunnel"]

_SOCKS_PORT = 1080


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy is, and who we are there."""

    scheme: str
    host: str
    port: int
    userinfo: str = field(repr=False)

    @property
    def socks(self) -> bool:
        """Whether it speaks SOCKS; otherwise HTTP."""
        return self.scheme.startswith("socks")

    @property
    def url(self) -> str:
        """The whole address, with the port and the credentials."""
        who = f"{self.userinfo}@" if self.userinfo else ""
        return f"{self.scheme}://{who}{bracketed(self.host)}:{self.port}"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What a request to an HTTP proxy must carry."""
        if not self.userinfo:
            return ()
        name, _, password = self.userinfo.partition(":")
        pair = f"{unquote(name)}:{unquote(password)}".encode()
        return (("Proxy-Authorization", f"Basic {b64encode(pair).decode()}"),)


def proxy_for(
    host: str, port: int, configured: str | Literal[True] | None, kinds: tuple[str, ...]
) -> Proxy | None:
    """The proxy to go through, if any.

    ``kinds``: whose proxy of the system's counts, the first one first; and if there is none of
    these, the one for all.

    Raises:
        ConfigurationError: its address is wrong. The message does not quote the credentials.
    """
    name, url = "proxy", configured
    if url is True:
        # Traffic to this machine, and the key with it, must not go to another one.
        if is_loopback(host) or proxy_bypass(f"{host}:{port}"):
            return None
        found = getproxies()
        kind = next((kind for kind in (*kinds, "all") if found.get(kind)), None)
        if kind is None:
            return None
        name, url = f"{kind}_proxy", _spelled_out(kind, found[kind])
    checked = proxy_url(name, url or None)
    if not isinstance(checked, str):
        return None
    parts = urlsplit(checked)
    place = (parts.hostname or "").encode("idna").decode()
    return Proxy(
        parts.scheme,
        place,
        parts.port or HTTP_PORTS.get(parts.scheme, _SOCKS_PORT),
        parts.netloc.rpartition("@")[0],
    )


def _spelled_out(kind: str, url: str) -> str:
    """An address as other programs take it: without a scheme, or with one of several for SOCKS."""
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        scheme, rest = "http", url
    if scheme.lower() == "socks" or (kind == "socks" and scheme.lower() == "http"):
        scheme = "socks5h"
    return f"{scheme}://{rest}"


async def tunnel(
    way: Proxy,
    host: str,
    port: int,
    agent: str,
    send: Callable[[bytes], Awaitable[object]],
    receive: Callable[[], Awaitable[bytes | bytearray]],
) -> None:
    """Ask an HTTP proxy for a tunnel to the server. ``receive`` gives nothing at the end.

    Raises:
        TransportLost: the proxy does not open one.
    """
    place = f"{bracketed(host)}:{port}"
    fields = (("Host", place), ("User-Agent", agent), *way.headers())
    lines = [f"CONNECT {place} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    try:
        await send("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1"))
        loss = await _refusal(receive)
    except Exception as exc:
        refused = tls_refusal(exc)
        loss = Loss(LossKind.PROXY_REFUSED, detail=f"the proxy hung up: {words_of(exc)}")
        if refused is not None:
            loss = Loss(LossKind.TLS_FAILED, detail=refused)
    if loss is not None:
        raise TransportLost(loss)


async def _refusal(receive: Callable[[], Awaitable[bytes | bytearray]]) -> Loss | None:
    """The answer to CONNECT, if it is a refusal."""
    data, ended = bytearray(), False
    try:
        while (head := head_of(data, ended=ended)) is None or head.status < 200:
            if head is not None:
                del data[: head.size]
                continue
            piece = await receive()
            data += piece
            ended = not piece
    except NotHttp:
        said = repr(bytes(data[:80]).decode("latin-1"))
        detail = f"the proxy's answer is not HTTP/1.1: {said}" if data else "the proxy hung up"
        return Loss(LossKind.PROXY_REFUSED, detail=detail)
    if head.status >= 300:
        after = retry_after(head.retry_after)
        return Loss(LossKind.PROXY_REFUSED, status=head.status, retry_after=after)
    if ended or len(data) > head.size:
        # Behind the tunnel the first word is ours.
        return Loss(LossKind.PROXY_REFUSED, detail="the proxy's answer has no end of its own")
    return None
