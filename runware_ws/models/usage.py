"""Token counts of a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from runware_ws.models.jsonable import is_object

__all__ = ["Usage"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _add(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add numbers key by key, also in nested objects; of other values keep the first."""
    for key, value in more.items():
        have = into.get(key)
        if is_object(value) and (have is None or is_object(have)):
            nested: dict[str, Any] = dict(have) if have else {}
            _add(nested, value)
            into[key] = nested
        elif have is None:
            into[key] = value
        elif _is_number(have) and _is_number(value):
            into[key] = have + value


class Usage:
    """A view of a ``usage`` object; ``raw`` is the object itself.

    The spelling of its fields is not certain, so the common ones are read: ``inputTokens`` or
    ``promptTokens``, ``outputTokens`` or ``completionTokens``, ``totalTokens``, each also in
    snake case. ``None`` means that the server did not say.
    """

    __slots__ = ("raw",)

    raw: dict[str, Any]

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw

    def _first(self, *keys: str) -> int | None:
        for key in keys:
            value = self.raw.get(key)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return None

    @property
    def input_tokens(self) -> int | None:
        """Tokens read."""
        return self._first("inputTokens", "promptTokens", "input_tokens", "prompt_tokens")

    @property
    def output_tokens(self) -> int | None:
        """Tokens written."""
        return self._first("outputTokens", "completionTokens", "output_tokens", "completion_tokens")

    @property
    def total_tokens(self) -> int | None:
        """All tokens: the server's number, else input plus output if both are known."""
        total = self._first("totalTokens", "total_tokens")
        if total is not None:
            return total
        read, written = self.input_tokens, self.output_tokens
        return None if read is None or written is None else read + written

    @classmethod
    def total(cls, parts: Sequence[Usage]) -> Usage | None:
        """Return the sum of ``parts``; a single part itself; ``None`` for no parts."""
        if len(parts) <= 1:
            return parts[0] if parts else None
        summed: dict[str, Any] = {}
        for part in parts:
            _add(summed, part.raw)
        return cls(summed)

    def __getitem__(self, key: str) -> Any:
        return self.raw[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return ``raw[key]``, or ``default`` if the server did not send it."""
        return self.raw.get(key, default)

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Usage) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal by mutable content

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, Any]]]:
        return type(self), (self.raw,)

    def __repr__(self) -> str:
        return f"Usage({self.raw!r})"
