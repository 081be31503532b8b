"""Who may use a gateway: names, keys that are kept as hashes, and limits. A file has them."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import sys
import tomllib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, cast

from runware_ws._checks import shown
from runware_ws.errors import ConfigurationError

__all__ = ["Callers", "GatewayCaller", "hash_of_key", "new_key"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256\$((?:[0-9a-f]{2}){16,32})\$([0-9a-f]{64})")
_ANY_KEY = re.compile(r"key-([0-9a-f]{12})")
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCaller:
    """One who may ask. A limit that is ``None`` is none.

    ``key``: the hash of its key, as :func:`hash_of_key` writes it. ``max_concurrency``: tasks at
    once. ``requests_per_minute``: tasks that start. ``budget``: US dollars, as results report them.
    ``timeout``: seconds for a task; ``None``: the gateway's. ``unsupported``: what becomes of what
    Runware cannot take, ``error`` or ``drop``; ``None``: the gateway's.

    Raises:
        ConfigurationError: a value cannot work; the message names it.
    """

    name: str
    key: str = ""
    max_concurrency: int | None = None
    requests_per_minute: float | None = None
    budget: float | None = None
    timeout: float | None = None
    unsupported: Literal["error", "drop"] | None = None

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ConfigurationError(
                f"caller {shown(self.name)}: a name has 1 to 64 letters, digits, dots, "
                "underscores and hyphens, and begins with a letter or a digit"
            )
        for name in ("requests_per_minute", "budget", "timeout"):
            _check(self.name, name, getattr(self, name), _is_positive, "a number above 0")
        _check(self.name, "max_concurrency", self.max_concurrency, _is_count, "a whole number")
        _check(self.name, "unsupported", self.unsupported, _is_policy, "'error' or 'drop'")

    def __repr__(self) -> str:
        return f"<GatewayCaller {self.name}>"


def _check(
    caller: str, name: str, value: object, good: Callable[[object], bool], rule: str
) -> None:
    if value is not None and not good(value):
        raise ConfigurationError(f"caller {caller}: {name}={shown(value)}: must be {rule}")


def _is_positive(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        # Before anything is done with it: a whole number may be too large for a float.
        and 0 < value <= sys.float_info.max
    )


def _is_policy(value: object) -> bool:
    return value in ("error", "drop")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def new_key() -> str:
    """A key that nobody can guess. It has 256 random bits, so one round of a hash hides it."""
    return f"rwgw-{secrets.token_urlsafe(32)}"


def hash_of_key(key: str, salt: str | None = None) -> str:
    """What stands in the file in the place of a key. ``salt``: hex; ``None``: a new one."""
    salt = secrets.token_hex(16) if salt is None else salt
    return f"sha256${salt}${_digest(salt, key)}"


def _digest(salt: str, key: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + key.encode("utf-8", "surrogatepass")).hexdigest()


class Callers:
    """Those who may ask. With none, anybody may, and each key is a caller of its own.

    Raises:
        ConfigurationError: a hash is none.
    """

    def __init__(self, callers: Mapping[str, GatewayCaller] | None = None) -> None:
        self._open = callers is None
        self._hashes: list[tuple[str, str, GatewayCaller]] = []
        self._by_name = {caller.name: caller for caller in (callers or {}).values()}
        for caller in (callers or {}).values():
            match = _HASH.fullmatch(caller.key)
            if match is None:
                raise ConfigurationError(
                    f"caller {caller.name}: key: must be the hash of a key, sha256$SALT$DIGEST: "
                    "`runware-ws serve --new-caller NAME` makes a key and its line"
                )
            self._hashes.append((match[1], match[2], caller))
        # Digests of keys that were seen. The secret makes them worthless elsewhere.
        self._secret = secrets.token_bytes(32)
        self._seen: OrderedDict[bytes, GatewayCaller] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Callers {'anybody' if self._open else len(self._hashes)}>"

    @property
    def anybody(self) -> bool:
        """Whether any key is taken."""
        return self._open

    def find(self, key: str | None) -> GatewayCaller | None:
        """The caller whose key this is; ``None``: nobody's. The time that it takes tells nothing
        about keys."""
        if self._open:
            return self._anybody(key)
        if not key:
            return None
        seen = hashlib.blake2b(
            key.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16
        ).digest()
        found = self._seen.get(seen)
        if found is None:
            for salt, digest, caller in self._hashes:
                if hmac.compare_digest(_digest(salt, key), digest):
                    found = caller
            if found is not None:
                self._remember(seen, found)
        return found

    def replace(self, callers: Callers) -> None:
        """Let those in whom ``callers`` lets in, and nobody else."""
        self._open, self._hashes = callers._open, callers._hashes
        self._by_name = callers._by_name
        self._seen.clear()

    def known(self) -> Sequence[GatewayCaller]:
        """Those whom the file has; none where anybody may ask."""
        return tuple(self._by_name.values())

    def named(self, name: str) -> GatewayCaller | None:
        """The caller of this name; ``None``: there is none any more."""
        if not self._open:
            return self._by_name.get(name)
        match = _ANY_KEY.fullmatch(name)
        known = None if match is None else self._seen.get(bytes.fromhex(match[1]))
        return known or GatewayCaller(name=name)

    def _anybody(self, key: str | None) -> GatewayCaller:
        if not key:
            return GatewayCaller(name="anybody")
        # A name that is the same in the next life of the gateway, and tells nothing of the key.
        name = hashlib.blake2b(
            key.encode("utf-8", "surrogatepass"), person=b"gateway caller", digest_size=6
        )
        digest = name.digest()
        found = self._seen.get(digest)
        if found is None:
            found = GatewayCaller(name=f"key-{digest.hex()}")
            self._remember(digest, found)
        return found

    def _remember(self, seen: bytes, caller: GatewayCaller) -> None:
        self._seen[seen] = caller
        if len(self._seen) > _MOST_KNOWN:
            self._seen.popitem(last=False)

    @classmethod
    def read(cls, path: str | Path) -> Callers:
        """Read a file of callers, TOML or, if its name ends in ``.json``, JSON.

        Raises:
            ConfigurationError: it cannot be read, or is wrong. The message names the place.
        """
        path = Path(path)
        callers: dict[str, GatewayCaller] = {}
        for name, entry in _entries(path).items():
            try:
                callers[name] = _caller(name, entry)
                cls({name: callers[name]})
            except ConfigurationError as exc:
                raise ConfigurationError(f"{path}: {exc.message}") from None
        digests = [caller.key for caller in callers.values()]
        if len(set(digests)) < len(digests):
            raise ConfigurationError(f"{path}: two callers have one key: give each its own")
        return cls(callers)


def _entries(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"{path}: cannot be read: {why}") from None
    try:
        whole: Any = _json_of(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        form = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigurationError(f"{path}: is not {form}: {exc}") from None
    callers = cast("dict[str, Any]", whole).get("callers") if isinstance(whole, dict) else None
    if not isinstance(callers, dict) or not callers:
        raise ConfigurationError(f"{path}: has no callers: write [callers.NAME] and its key")
    unknown = sorted(cast("dict[str, Any]", whole).keys() - {"callers"})
    if unknown:
        raise ConfigurationError(f"{path}: {shown(unknown[0])} is unknown: only callers stand here")
    return cast("Mapping[str, Any]", callers)


def _json_of(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """As TOML has it: JSON alone would forget the first of two, and its limits with it."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{shown(name)} stands there twice")
        found[name] = value
    return found


def _caller(name: str, entry: Any) -> GatewayCaller:
    known = [option.name for option in fields(GatewayCaller) if option.name != "name"]
    if not isinstance(entry, dict):
        raise ConfigurationError(f"caller {shown(name)}: must be a table: {', '.join(known)}")
    given = cast("dict[str, Any]", entry)
    for option in given:
        if option not in known:
            raise ConfigurationError(
                f"caller {shown(name)}: {shown(option)} is unknown; known are: {', '.join(known)}"
            )
    key = given.get("key")
    if not isinstance(key, str):
        raise ConfigurationError(f"caller {shown(name)}: key: is missing, or no text")
    return replace(GatewayCaller(name=name), **given)
