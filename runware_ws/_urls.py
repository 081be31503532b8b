"""URLs: where a client connects and posts, and through which proxy."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from runware_ws._checks import refusal, shown
from runware_ws.errors import ConfigurationError

__all__ = [
    "DEFAULT_HTTP_URL",
    "DEFAULT_URL",
    "HTTP_PORTS",
    "bracketed",
    "check_http_url",
    "check_url",
    "default_url",
    "is_loopback",
    "proxy_url",
    "recorded_url",
    "socket_url",
]

DEFAULT_URL: Final = "wss://ws-api.runware.ai/v1"
"""The service's socket (documented)."""

DEFAULT_HTTP_URL: Final = "https://api.runware.ai/v1"
"""Where tasks are posted (documented)."""

URL_ENV = "RUNWARE_WS_URL"
"""The environment variable for the socket's address."""

HTTP_PORTS: Final = {"http": 80, "https": 443}
"""Where a URL names no port."""

_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f]")  # ``urlsplit`` silently removes some of them


def _split(option: str, value: Any, schemes: tuple[str, ...], example: str) -> SplitResult:
    """The parts of a valid URL.

    Raises:
        ConfigurationError: it is not a URL with one of ``schemes``, or a part is invalid.
    """
    rule = f"look like {example!r}"
    if not isinstance(value, str):
        raise refusal(option, rule, value)
    try:
        parts = urlsplit(value)
        if parts.port == 0:
            raise ValueError
        (parts.hostname or "").encode("idna")
        value.encode()
    except ValueError:  # its message may quote a password
        rule += ", with a host and a port that can be read"
        raise refusal(option, rule, value) from None
    odd = _NOT_IN_A_URL.search(value) is not None or parts.fragment
    if odd or parts.scheme not in schemes or not parts.hostname:
        raise refusal(option, rule, value)
    return parts


def bracketed(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def check_url(
    url: Any,
    *,
    allow_insecure: bool,
    schemes: tuple[str, str] = ("ws", "wss"),
    option: str = "url",
    example: str = DEFAULT_URL,
) -> str:
    """Return ``url``, scheme and host in lower case, if the key may travel over it.

    Args:
        url: what to check.
        allow_insecure: whether the unencrypted scheme is allowed beyond loopback.
        schemes: the unencrypted one, and the one with TLS.
        option: the name of the URL in messages.
        example: a good URL, for messages.

    Raises:
        ConfigurationError: not a URL of these schemes, credentials in it, or the plain
            scheme beyond loopback without ``allow_insecure=True``.
    """
    plain, secure = schemes
    parts = _split(option, url, schemes, example)
    if "@" in parts.netloc:
        raise ConfigurationError(f"{option} must not carry credentials: pass the key as api_key=")
    if parts.scheme == plain and not allow_insecure and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"{option} {shown(url)} would send the API key unencrypted over the network: "
            f"use {secure}://, or pass allow_insecure=True if you mean it"
        )
    return parts._replace(netloc=parts.netloc.lower()).geturl()


def check_http_url(url: Any, *, allow_insecure: bool) -> str:
    """Return ``url``, scheme and host in lower case, if tasks may be posted to it.

    Raises:
        ConfigurationError: not an HTTP URL, credentials in it, or a plain ``http://`` beyond
            loopback without ``allow_insecure=True``.
    """
    return check_url(
        url,
        allow_insecure=allow_insecure,
        schemes=("http", "https"),
        option="http_url",
        example=DEFAULT_HTTP_URL,
    )


def recorded_url(url: str) -> str:
    """What is recorded of a server's address: a query tells servers apart, but may be a secret."""
    place, mark, query = url.partition("?")
    return f"{place}?{sha256(query.encode()).hexdigest()[:16]}" if mark else url


def socket_url(url: str | None, *, allow_insecure: bool) -> str:
    """Where a client connects: to ``url``, else to ``RUNWARE_WS_URL``, else to the service.

    Raises:
        ConfigurationError: as in :func:`check_url`.
    """
    if url is not None:
        return check_url(url, allow_insecure=allow_insecure)
    return check_url(default_url(), allow_insecure=allow_insecure, option=URL_ENV)


def default_url() -> str:
    """Where a client connects by default: to ``RUNWARE_WS_URL``, else to the service."""
    return os.environ.get(URL_ENV) or DEFAULT_URL


def is_loopback(host: str) -> bool:
    """Whether this name or address is the machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def proxy_url(option: str, value: Any) -> str | Literal[True] | None:
    """The address of a proxy, with or without credentials; ``True`` or ``None`` as they are.

    Raises:
        ConfigurationError: it is anything else. The message does not quote the credentials.
    """
    if value is None or value is True:
        return value
    example = "http://proxy.example:3128"
    if not isinstance(value, str):
        rule = f"be True (the system's proxy), None (no proxy) or a URL like {example!r}"
        raise refusal(option, rule, value)
    parts = _split(option, value, _PROXY_SCHEMES, example)
    if parts.path not in ("", "/") or parts.query:
        raise refusal(option, f"look like {example!r}, without a path", value)
    if "@" in parts.netloc and not _good_credentials(parts):
        rule = "have a name and a password before the @, with special characters as %XX"
        raise refusal(option, rule, value)
    return parts.geturl()


def _good_credentials(parts: SplitResult) -> bool:
    if not parts.username or parts.password is None:
        return False
    try:
        name = unquote(parts.username, errors="strict")
        unquote(parts.password, errors="strict")
    except UnicodeDecodeError:
        return False
    return ":" not in name
