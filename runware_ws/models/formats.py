"""String formats that the request schema names: UUID, URI, data URI, Base64.

A JSON Schema validator ignores ``format`` by default. We always check it, because a task with a
broken UUID can never be matched with its answer, and a broken URL fails only after the task was
paid for.

All checks take linear time. An input may be a data URI of many megabytes, so long texts are
checked with ``bytes.translate``, which is much faster than a regular expression.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv6Address

__all__ = [
    "UUID4_PATTERN",
    "UUID_IN_TEXT",
    "UUID_PATTERN",
    "is_base64",
    "is_http_url",
    "is_image_data_uri",
    "is_uri",
    "is_uuid",
    "is_uuid4",
    "new_uuid",
]

UUID4_PATTERN = r"^(?i:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})$"
"""UUID version 4, RFC 4122 variant, in either case. Seed: "UUID v4 identifier"."""

UUID_IN_TEXT = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
"""UUID of any version, hyphenated, in either case, wherever it stands."""

UUID_PATTERN = f"^{UUID_IN_TEXT}$"
"""The same, and nothing else."""

# Always use ``fullmatch`` with these: in Python ``$`` also matches before a trailing newline,
# which a JSON Schema pattern (ECMA 262) does not.
_UUID4 = re.compile(UUID4_PATTERN)
_UUID = re.compile(UUID_PATTERN)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_IMAGE_DATA_HEAD = re.compile(r"data:image/[a-zA-Z]+;base64,")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_IP_FUTURE = re.compile(r"v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+", re.IGNORECASE)
_PORT = re.compile(r"(?::[0-9]*)?")

_ALNUM = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BASE64_CHARS = _ALNUM + b"+/="
# RFC 3986, appendix A. ``%`` stands for an escape; its two digits are checked separately.
_REG_NAME_CHARS = _ALNUM + b"-._~" + b"!$&'()*+,;=" + b"%"
_USERINFO_CHARS = _REG_NAME_CHARS + b":"
_PATH_CHARS = _USERINFO_CHARS + b"@/"
_QUERY_CHARS = _PATH_CHARS + b"?"


# Two bits of this digit are the variant, and two are free.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def new_uuid() -> str:
    """Return a fresh UUID v4 in lower case.

    Like ``str(uuid.uuid4())``, at a third of the cost; every task needs one.
    """
    h = os.urandom(16).hex()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}"


def is_uuid4(text: str) -> bool:
    """Whether ``text`` is a hyphenated UUID v4, in either case."""
    return _UUID4.fullmatch(text) is not None


def is_uuid(text: str) -> bool:
    """Whether ``text`` is a hyphenated UUID of any version, in either case."""
    return _UUID.fullmatch(text) is not None


def _only(text: str, allowed: bytes) -> bool:
    return text.isascii() and not text.encode("ascii").translate(None, allowed)


def is_base64(text: str) -> bool:
    """Whether ``text`` is made of Base64 characters and is not empty.

    This is the seed's pattern. It checks only the characters, not length or padding, so a plain
    word passes too.
    """
    return bool(text) and _only(text, _BASE64_CHARS)


def is_image_data_uri(text: str) -> bool:
    """Whether ``text`` is ``data:image/<letters>;base64,<Base64>`` (the seed's pattern)."""
    head = _IMAGE_DATA_HEAD.match(text)
    return head is not None and is_base64(text[head.end() :])


def _is_authority(text: str) -> bool:
    userinfo, at, host = text.rpartition("@")
    if at and not _only(userinfo, _USERINFO_CHARS):
        return False
    if host.startswith("["):
        literal, bracket, rest = host[1:].partition("]")
        if not bracket or _PORT.fullmatch(rest) is None:
            return False
        if _IP_FUTURE.fullmatch(literal):
            return True
        try:
            # A zone id ("%eth0") is not part of a URI, but Python's class would accept it.
            return "%" not in literal and bool(IPv6Address(literal))
        except ValueError:
            return False
    name, colon, port = host.partition(":")
    digits = port == "" or (port.isascii() and port.isdigit())
    return _only(name, _REG_NAME_CHARS) and (not colon or digits)


def is_uri(text: str) -> bool:
    """Whether ``text`` is an absolute URI by RFC 3986 (``data:`` URIs are URIs too)."""
    head = _SCHEME.match(text)
    if head is None or not text.isascii():
        return False
    rest, _, fragment = text[head.end() :].partition("#")
    path, _, query = rest.partition("?")
    if path.startswith("//"):
        authority, slash, tail = path[2:].partition("/")
        if not _is_authority(authority):
            return False
        path = slash + tail
    return (
        _only(path, _PATH_CHARS)
        and _only(query, _QUERY_CHARS)
        and _only(fragment, _QUERY_CHARS)
        and ("%" not in text or _BAD_ESCAPE.search(text) is None)
    )


def is_http_url(text: str) -> bool:
    """Whether ``text`` is an ``http`` or ``https`` URI with a host."""
    scheme, colon, rest = text.partition("://")
    if not colon or scheme.lower() not in ("http", "https") or not is_uri(text):
        return False
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    return host != "" and not host.startswith(":")
