"""HTTP, the documented carrier of streams: where it posts, and whether it is installed.

It needs the extra ``sse``. The carrier itself is in ``http_carrier.py``, which is imported only
when a carrier is created.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from runware_ws._urls import DEFAULT_HTTP_URL, DEFAULT_URL, check_http_url
from runware_ws.config import Config
from runware_ws.errors import ConfigurationError

if TYPE_CHECKING:
    from runware_ws._io.http_carrier import HttpCarrier

__all__ = ["DEFAULT_HTTP_URL", "check_http_url", "http_carrier", "http_url_of", "sse_available"]


def http_url_of(url: str) -> str:
    """Where tasks are posted to the server of this socket.

    The service has separate hosts for the two (documented); any other server is
    assumed to serve both at one address.
    """
    if url == DEFAULT_URL:
        return DEFAULT_HTTP_URL
    return url.replace("wss://", "https://", 1).replace("ws://", "http://", 1)


def sse_available() -> bool:
    """Whether the extra ``sse`` is installed."""
    try:
        return find_spec("h11") is not None
    except (ImportError, ValueError):
        return False


def http_carrier(url: str, config: Config) -> HttpCarrier:
    """A carrier that posts to ``url``, which must have been checked.

    Raises:
        ConfigurationError: the extra is not installed.
    """
    if not sse_available():
        raise ConfigurationError("a stream over HTTP needs an extra: pip install 'runware-ws[sse]'")
    from runware_ws._io.http_carrier import HttpCarrier

    return HttpCarrier(
        url,
        open_timeout=config.open_timeout,
        max_event_bytes=config.max_frame_bytes,
        ssl=config.ssl,
        proxy=config.proxy,
        user_agent=config.user_agent,
    )
