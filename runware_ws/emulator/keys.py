"""The API keys that the emulator accepts."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["KeyRing"]


class KeyRing:
    """Accepted keys. Each gets a small number; the rest of the emulator never sees the text."""

    def __init__(self, keys: str | Iterable[str] | None) -> None:
        """``None`` accepts any non-empty key. Raises ``ValueError`` for an empty one."""
        self._accepted: set[str] | None = None
        if keys is not None:
            self._accepted = {keys} if isinstance(keys, str) else set(keys)
            if not self._accepted or "" in self._accepted:
                raise ValueError("an API key must not be empty")
        self._revoked: set[str] = set()
        self._ids: dict[str, int] = {}

    def __repr__(self) -> str:
        return "KeyRing(…)"

    def check(self, key: object) -> int | None:
        """The number of an accepted key, or ``None``."""
        if not isinstance(key, str) or not key or key in self._revoked:
            return None
        if self._accepted is not None and key not in self._accepted:
            return None
        return self._ids.setdefault(key, len(self._ids) + 1)

    def id_of(self, key: str) -> int | None:
        """The number of a key that was used, accepted now or not."""
        return self._ids.get(key)

    def revoke(self, key: str) -> None:
        """Refuse this key from now on."""
        self._revoked.add(key)

    def revoke_all(self) -> None:
        """Refuse every key from now on."""
        self._accepted = set()

    def accept(self, key: str) -> None:
        """Accept this key from now on."""
        self._revoked.discard(key)
        if self._accepted is not None:
            self._accepted.add(key)
