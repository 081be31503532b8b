"""How many bytes something keeps: the texts that can be reached from it, however it counts them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["kept"]


def kept(holder: object) -> int:
    """The bytes of all texts below ``holder``, each counted once."""
    seen: set[int] = set()
    left: list[object] = [holder]
    total = 0
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, str | bytes):
            total += len(each)
        else:
            left += _parts(each)
    return total


def _parts(each: object) -> list[object]:
    if isinstance(each, Mapping):
        pairs = cast("Mapping[object, object]", each)
        return [*pairs.keys(), *pairs.values()]
    if isinstance(each, list | tuple | set | frozenset | deque):
        return list(cast("list[object]", each))
    if not type(each).__module__.startswith("runware_ws"):
        return []
    own: dict[str, Any] = getattr(each, "__dict__", {})
    names = [name for base in type(each).__mro__ for name in getattr(base, "__slots__", ())]
    return [*own.values(), *(getattr(each, name, None) for name in names)]
