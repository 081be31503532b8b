"""Where the API key comes from, and how it stays out of everything else."""

from __future__ import annotations

import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from inspect import isawaitable
from itertools import chain
from typing import NoReturn, cast
from urllib.parse import quote, quote_plus, unquote

from pydantic import SecretStr

from runware_ws._io.supervisor import apart
from runware_ws.errors import ConfigurationError

__all__ = ["ENV", "ApiKey", "KeySource", "wrapped"]

ENV = "RUNWARE_API_KEY"
"""The environment variable of the key, by convention (observed)."""

ApiKey = str | SecretStr | Callable[[], str | SecretStr | Awaitable[str | SecretStr]] | None
"""A key, or a plain or async function that fetches it; ``None``: taken from the environment."""

REDACTED = b"[redacted]"

_SHORTEST_SECRET = 4
_LEAST_PART = 8
"""Shorter parts of a key are not told apart from other words."""
_USERINFO = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/?#]*@")


class KeySource:
    """Fetches the key for each dial, and remembers which keys to redact.

    Raises:
        ConfigurationError: there is no key, or it is malformed.
    """

    def __init__(self, api_key: ApiKey | NotAKey) -> None:
        api_key = wrapped(api_key)
        self._provider: Callable[[], str | SecretStr | Awaitable[str | SecretStr]] | None = None
        self._key: SecretStr | None = None
        # Each with all its spellings.
        self._secrets: list[tuple[bytes, ...]] = []
        self._passwords: list[tuple[bytes, ...]] = []
        if callable(api_key):
            self._provider = api_key
            return
        if api_key is None:
            api_key = wrapped(os.environ.get(ENV) or None)
            if api_key is None:
                raise ConfigurationError(
                    f"no API key: set the environment variable {ENV}, or pass api_key="
                )
        self._key = self._checked(api_key)

    def __reduce__(self) -> NoReturn:
        # A pickle is read by whoever finds it, and a client is one connection of one process.
        raise TypeError(
            "a client is not pickled or copied, for it holds the API key: make one in each process"
        )

    @property
    def fixed(self) -> bool:
        """Whether each dial uses the same key."""
        return self._provider is None

    async def fetch(self) -> SecretStr:
        """The key for one dial.

        Raises:
            ConfigurationError: the function gave no key.
            OwnCancellation: the function raised ``CancelledError`` on its own.
            Exception: whatever the function raises.
        """
        if self._provider is None:
            assert self._key is not None
            return self._key
        return self._checked(await apart(self._ask))

    async def _ask(self) -> ApiKey | NotAKey:
        assert self._provider is not None
        given = self._provider()
        return wrapped(await given if isawaitable(given) else given)

    def _checked(self, key: object) -> SecretStr:
        if not isinstance(key, SecretStr):
            what = key.type_name if isinstance(key, NotAKey) else type(key).__name__
            raise ConfigurationError(f"api_key must be a string, not {what}")
        clean = SecretStr(key.get_secret_value().strip())
        if not clean or not clean.get_secret_value().isprintable():
            raise ConfigurationError("api_key is empty or contains unprintable characters")
        spellings = _spellings(clean.get_secret_value())
        if spellings and spellings not in self._secrets:
            self._secrets.append(spellings)
            # A rotated key may still appear in a late message; older ones are not in use.
            del self._secrets[:-4]
        return clean

    def hide_passwords(self, urls: Iterable[object]) -> None:
        """Redact the credentials in these URLs too: libraries quote their input in errors."""
        for url in urls:
            if isinstance(url, str) and "@" in url:
                self._passwords += _credentials(url)

    def redact(self, data: bytes) -> bytes:
        """``data`` with every key that was in use redacted, in any spelling, and also a cut one."""
        for spellings in chain(self._secrets, self._passwords):
            for secret in spellings:
                if secret in data:
                    data = data.replace(secret, REDACTED)
                if len(secret) > _LEAST_PART:
                    data = _without_parts(data, secret)
        return data

    def redact_text(self, text: str) -> str:
        """``text`` with every key that was in use redacted, and the credentials of URLs."""
        if "@" in text:
            text = _USERINFO.sub(r"\1[redacted]@", text)
        return self.redact(text.encode("utf-8", "backslashreplace")).decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"<KeySource {'fixed' if self.fixed else 'fetched'}>"


@dataclass(frozen=True, slots=True)
class NotAKey:
    """What was given in place of a key: its type only, for it may be the key all the same."""

    type_name: str


def wrapped(key: object) -> ApiKey | NotAKey:
    """``key`` so that its ``repr`` does not show it. Tools print the variables of frames."""
    if isinstance(key, str):
        return SecretStr(key)
    if key is None or isinstance(key, SecretStr | NotAKey):
        return key
    return cast("ApiKey", key) if callable(key) else NotAKey(type(key).__name__)


def _spellings(secret: str) -> tuple[bytes, ...]:
    """How a secret may be written in what others quote; none if it is too short to look for."""
    plain = secret.encode("utf-8", "backslashreplace")
    if len(plain) < _SHORTEST_SECRET:
        return ()
    escaped = secret.replace("\\", "\\\\").replace('"', '\\"')
    ascii_only = "".join(
        letter if letter.isascii() else f"\\u{ord(letter):04x}" for letter in escaped
    )
    found = [
        secret,
        escaped,
        escaped.replace("/", "\\/"),
        ascii_only,
        ascii_only.replace("/", "\\/"),
        "".join(f"\\u{ord(letter):04x}" for letter in secret),
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        b64encode(plain).decode().rstrip("="),
        urlsafe_b64encode(plain).decode().rstrip("="),
    ]
    # The longest first, so that no other leaves a part of it behind.
    unique = {one.encode("utf-8", "backslashreplace") for one in found}
    return tuple(sorted(unique, key=lambda one: (-len(one), one)))


def _credentials(url: str) -> list[tuple[bytes, ...]]:
    """The name and password of a URL in all their spellings, together and apart."""
    both = url.rpartition("@")[0].rpartition("://")[2]
    name, _, password = both.partition(":")
    plain = f"{unquote(name)}:{unquote(password)}"
    found = [_spellings(one) for one in (both, plain, password, unquote(password))]
    return [spellings for spellings in dict.fromkeys(found) if spellings]


def _without_parts(data: bytes, secret: bytes) -> bytes:
    """``data`` without beginnings and ends of ``secret``, which others may have cut."""
    head, tail = secret[:_LEAST_PART], secret[-_LEAST_PART:]
    at = data.find(head)
    while at >= 0:
        end = at + _alike(data[at : at + len(secret)], secret)
        data = data[:at] + REDACTED + data[end:]
        at = data.find(head, at + len(REDACTED))
    at = data.find(tail)
    while at >= 0:
        end = at + len(tail)
        start = end - _alike(data[:end][-len(secret) :][::-1], secret[::-1])
        data = data[:start] + REDACTED + data[end:]
        at = data.find(tail, start + len(REDACTED))
    return data


def _alike(one: bytes, other: bytes) -> int:
    """How many bytes at their beginning are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
