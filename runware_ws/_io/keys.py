"""Where the API key comes from, and how it stays out of everything else."""

from __future__ import annotations

import os
import re
from base64 import b64encode, urlsafe_b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from inspect import isawaitable
from itertools import chain
from typing import NoReturn, cast
from urllib.parse import unquote

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
_MOST_LAYERS = 4
"""So often what is escaped is searched for escapes again, as where JSON is in a URL."""
_ESCAPE = re.compile(
    rb"%(?:25)*([0-9a-fA-F]{2})"
    rb"|\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U00(0[0-9a-fA-F]{5}|10[0-9a-fA-F]{4}))?"
)
_USERINFO = re.compile(r"(?<=://)[^\s/?#]*@")


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
        plain = _Unescaped(data)
        spans = [
            span
            for spellings in chain(self._secrets, self._passwords)
            for secret in spellings
            for span in _places(plain.text, secret)
        ]
        return plain.without(spans) if spans else data

    def redact_text(self, text: str) -> str:
        """``text`` with every key that was in use redacted, and the credentials of URLs."""
        if "@" in text:
            text = _USERINFO.sub("[redacted]@", text)
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
    """How a secret may be encoded in what others quote; none if it is too short to look for.

    Escapes are taken out of these, as they are out of what is searched.
    """
    plain = secret.encode("utf-8", "backslashreplace")
    if len(plain) < _SHORTEST_SECRET:
        return ()
    # JSON escapes a letter beyond 16 bits as two.
    wide = secret.encode("utf-16-be", "surrogatepass")
    halves = b"".join(
        _encoded(high << 8 | low) for high, low in zip(wide[::2], wide[1::2], strict=True)
    )
    found = [plain, plain.replace(b" ", b"+"), halves]
    for before in range(3):
        # In base64 three bytes are four letters, so what stands before it moves it. Letters that
        # depend on what is beside it are left out.
        begin, end = (0, 2, 3)[before], (before + len(plain)) * 4 // 3
        whole = bytes(before) + plain
        found += [b64encode(whole)[begin:end], urlsafe_b64encode(whole)[begin:end]]
    return tuple(dict.fromkeys(_Unescaped(one).text for one in found))


def _credentials(url: str) -> list[tuple[bytes, ...]]:
    """The name and password of a URL in all their spellings, together and apart."""
    both = url.rpartition("@")[0].rpartition("://")[2]
    name, _, password = both.partition(":")
    plain = f"{unquote(name)}:{unquote(password)}"
    found = [_spellings(one) for one in (both, plain, password, unquote(password))]
    return [spellings for spellings in dict.fromkeys(found) if spellings]


class _Unescaped:
    """``data`` without the escapes of JSON, of URLs and of Python, however often escaped."""

    def __init__(self, data: bytes, layers: int = _MOST_LAYERS) -> None:
        self._data = data
        self._within: _Unescaped | None = None
        # Where ``text`` goes on without an escape, and where that is in ``data``.
        self._here, self._there = [0], [0]
        self.text = data
        if b"%" not in data and b"\\" not in data:
            return
        text = bytearray()
        for escape in _ESCAPE.finditer(data):
            text += data[self._there[-1] : escape.start()]
            self._mark(len(text), escape.start())
            if letter := escape[1] or escape[2] or escape[3] or escape[4]:
                code = int(letter, 16)
                text += bytes([code]) if escape[1] else _encoded(code)
            self._mark(len(text), escape.end())
        text += data[self._there[-1] :]
        self.text = bytes(text)
        if layers > 1 and self.text != data:
            self._within = _Unescaped(self.text, layers - 1)
            self.text = self._within.text

    def _mark(self, here: int, there: int) -> None:
        self._here.append(here)
        self._there.append(there)

    def without(self, spans: list[tuple[int, int]]) -> bytes:
        """``data`` with these parts of ``text`` redacted."""
        spans.sort()
        parts: list[bytes] = []
        begin, end = spans[0]
        kept = 0
        for start, stop in (*spans[1:], (len(self.text) + 1, 0)):
            if start < end:
                end = max(end, stop)
                continue
            parts += [self._data[kept : self._place(begin, bisect_right)], REDACTED]
            kept = self._place(end, bisect_left)
            begin, end = start, stop
        return b"".join((*parts, self._data[kept:]))

    def _place(self, at: int, side: Callable[[list[int], int], int]) -> int:
        """Where this place of ``text`` is in ``data``."""
        if self._within is not None:
            at = self._within._place(at, side)
        found = side(self._here, at)
        if found == len(self._here) or self._here[found] != at:
            found -= 1
        return min(self._there[found] + at - self._here[found], len(self._data))


def _encoded(code: int) -> bytes:
    return chr(code).encode("utf-8", "surrogatepass")


def _places(data: bytes, secret: bytes) -> Iterator[tuple[int, int]]:
    """Where ``secret`` is in ``data``, and where beginnings and ends are, which others cut."""
    size = len(secret)
    head, tail = secret[:_LEAST_PART], secret[-_LEAST_PART:]
    at = data.find(head)
    while at >= 0:
        end = at + _alike(data[at : at + size], secret)
        yield at, end
        at = data.find(head, end)
    at = data.find(tail) if size > _LEAST_PART else -1
    while at >= 0:
        end = at + len(tail)
        yield end - _alike(data[max(0, end - size) : end][::-1], secret[::-1]), end
        at = data.find(tail, end)


def _alike(one: bytes, other: bytes) -> int:
    """How many bytes at their beginning are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
