"""Opens a socket with the ``websockets`` library: with its asyncio or its trio client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from websockets.uri import parse_uri

from runware_ws._io.transport.base import Transport, TransportLost
from runware_ws._io.transport.common import LOGGER
from runware_ws._io.transport.on_asyncio import dial_asyncio
from runware_ws._io.transport.proxies import Proxy, proxy_for
from runware_ws._io.transport.tls import default_context
from runware_ws._io.wakeups import running_on_trio
from runware_ws._version import __version__
from runware_ws.classify import Loss, LossKind
from runware_ws.errors import ConfigurationError

if TYPE_CHECKING:
    from runware_ws.config import Config

__all__ = ["check_way", "dial"]


@asynccontextmanager
async def dial(url: str, config: Config) -> AsyncGenerator[Transport]:
    """Open a socket with the client of the running library.

    Raises:
        TransportLost: it cannot be opened.
    """
    try:
        proxy = _proxy(url, config)
    except ConfigurationError as exc:
        raise TransportLost(Loss(LossKind.CANNOT_DIAL, detail=exc.message)) from None
    options: dict[str, Any] = {
        "compression": None,
        "user_agent_header": config.user_agent or f"runware-ws/{__version__}",
        # The core has one deadline for dial, TLS and authentication together, and
        # its own liveness check for the socket.
        "open_timeout": None,
        "ping_interval": None,
        "close_timeout": config.close_timeout,
        "max_size": config.max_frame_bytes,
        "logger": LOGGER,
    }
    if config.ssl is not None and url.startswith("wss:"):
        options["ssl"] = config.ssl
    elif url.startswith("wss:"):
        options["ssl"] = await default_context()
    if proxy is not None and proxy.scheme == "https":
        options["proxy_ssl"] = await default_context()
    opener = _dial_trio if running_on_trio() else dial_asyncio
    async with opener(url, options, proxy) as transport:
        yield transport


def check_way(url: str, config: Config) -> None:
    """Check what can be known before the first dial.

    Raises:
        ConfigurationError: the proxy cannot be used. The message names the cure.
    """
    _proxy(url, config)


def _proxy(url: str, config: Config) -> Proxy | None:
    """The proxy to go through, if any. A proxy for sockets goes before one for all of HTTP."""
    target = parse_uri(url)
    kinds = ("wss", "socks", "https") if target.secure else ("ws", "socks", "https", "http")
    way = proxy_for(target.host, target.port, config.proxy, kinds)
    if way is not None and way.socks and find_spec("python_socks") is None:
        raise ConfigurationError(
            f"a {way.scheme} proxy needs one package more: pip install python-socks; "
            "or pass proxy=None to go without the proxy"
        )
    return way


@asynccontextmanager
async def _dial_trio(
    url: str, options: dict[str, Any], proxy: Proxy | None
) -> AsyncGenerator[Transport]:
    try:
        from runware_ws._io.transport.on_trio import dial_trio
    except ImportError:
        raise TransportLost(
            Loss(
                LossKind.CANNOT_DIAL,
                detail="under trio, websockets 17 or later is needed: "
                "pip install 'runware-ws[trio]'",
            )
        ) from None
    async with dial_trio(url, options, proxy) as transport:
        yield transport
