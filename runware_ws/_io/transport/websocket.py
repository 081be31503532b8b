"""Opens a socket with the ``websockets`` library: with its asyncio or its trio client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import websockets.asyncio.client
from websockets.uri import parse_uri

from runware_ws._io.transport.base import Transport, TransportLost
from runware_ws._io.transport.common import LOGGER
from runware_ws._io.transport.on_asyncio import dial_asyncio
from runware_ws._io.transport.tls import default_context
from runware_ws._io.wakeups import running_on_trio
from runware_ws._version import __version__
from runware_ws.classify import Loss, LossKind
from runware_ws.config import is_loopback

if TYPE_CHECKING:
    from runware_ws.config import Config

__all__ = ["dial"]


@asynccontextmanager
async def dial(url: str, config: Config) -> AsyncGenerator[Transport]:
    """Open a socket with the client of the running library.

    Raises:
        TransportLost: it cannot be opened.
    """
    proxy = _proxy(url, config)
    options: dict[str, Any] = {
        "compression": None,
        "proxy": proxy,
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
    if proxy is not None and proxy.startswith("https:"):
        options["proxy_ssl"] = await default_context()
    opener = _dial_trio if running_on_trio() else dial_asyncio
    async with opener(url, options) as transport:
        yield transport


def _proxy(url: str, config: Config) -> str | None:
    """The proxy to go through, if any."""
    if config.proxy is not True:
        return config.proxy
    if is_loopback(urlsplit(url).hostname or ""):
        # Traffic to this machine, and the key with it, must not go to another one.
        return None
    # Its place differs between the versions of the library, but here all of them have it.
    library: Any = websockets.asyncio.client
    found: str | None = library.get_proxy(parse_uri(url))
    return found


@asynccontextmanager
async def _dial_trio(url: str, options: dict[str, Any]) -> AsyncGenerator[Transport]:
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
    async with dial_trio(url, options) as transport:
        yield transport
