"""A stream as the core sees it: pieces in order, and what a cut does to them.

Nothing on the wire numbers the pieces (documented: only ``delta``,
``finishReason``, ``usage``, ``cost``). So after a cut nobody can tell whether
the next piece goes on, repeats, or leaves a hole. Then pieces are no longer
handed on: the whole answer is waited for (pushed, or out of the archive), and
what is missing of it comes as one last piece. If the whole does not begin with
what was handed on already, the stream is interrupted: no piece is ever doubled
or made up.
"""

from __future__ import annotations

from collections import deque
from typing import Any, cast

__all__ = ["Deltas"]

MOST_PENDING = 16_384
"""Deltas that wait for a slow reader; beyond that neighbours are joined, and nothing is lost."""

_TEXTS = ("text", "reasoningContent")


class Deltas:
    """What came of one stream. ``suspended``: a cut went through it."""

    __slots__ = ("_last", "_texts", "count", "finished", "first_at", "pending", "suspended")

    def __init__(self) -> None:
        self.pending: deque[dict[str, Any]] = deque()
        self.count = 0
        self.first_at: float | None = None
        self.suspended = False
        self.finished = False
        self._texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
        self._last: dict[str, Any] = {}

    def text(self, name: str = "text") -> str:
        """What was handed on so far."""
        return "".join(self._texts[name])

    def add(self, item: dict[str, Any], now: float) -> bool:
        """Take the next piece; True where it is the last."""
        if self.suspended:
            return bool(item.get("finishReason"))
        if self.first_at is None:
            self.first_at = now
        self._last.update((key, value) for key, value in item.items() if key != "delta")
        delta = item.get("delta")
        if isinstance(delta, dict):
            for name in _TEXTS:
                part = cast("dict[str, Any]", delta).get(name)
                if isinstance(part, str) and part:
                    self._texts[name].append(part)
        self.count += 1
        self._push(item)
        self.finished = self.finished or bool(item.get("finishReason"))
        return self.finished

    def _push(self, item: dict[str, Any]) -> None:
        pending = self.pending
        if len(pending) >= MOST_PENDING and pending[-1].keys() == item.keys():
            joined = _join(pending[-1], item)
            if joined is not None:
                pending[-1] = joined
                return
        pending.append(item)

    def whole(self) -> dict[str, Any]:
        """The result that the pieces make."""
        result = dict(self._last)
        for name in _TEXTS:
            if self._texts[name]:
                result[name] = self.text(name)
        result.setdefault("text", "")
        return result

    def complete(self, result: dict[str, Any], now: float) -> bool:
        """The whole result came at once: hand on what is missing. False where it does not fit."""
        missing: dict[str, Any] = {}
        for name in _TEXTS:
            had = self.text(name)
            whole = result.get(name)
            whole = whole if isinstance(whole, str) else ""
            if not whole.startswith(had):
                return False
            if len(whole) > len(had):
                missing[name] = whole[len(had) :]
        if "toolCalls" in result and not self.count:
            missing["toolCalls"] = result["toolCalls"]
        rest = {key: value for key, value in result.items() if key not in _TEXTS}
        rest.pop("toolCalls", None)
        self.suspended = False
        self.add({**rest, "delta": missing}, now)
        self.finished = True
        return True


def _join(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """Two neighbours that hold one text each as one piece; ``None`` where they differ in kind."""
    first, second = one.get("delta"), other.get("delta")
    if not isinstance(first, dict) or not isinstance(second, dict):
        return None
    a, b = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
    if a.keys() != b.keys() or len(a) != 1:
        return None
    name = next(iter(a))
    if not isinstance(a[name], str) or not isinstance(b[name], str):
        return None
    return {**other, "delta": {name: a[name] + b[name]}}
