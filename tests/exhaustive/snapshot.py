"""Whole worlds as bytes, to go on from again; and what of a world decides its future."""

from __future__ import annotations

import io
import marshal
import pickle
from collections import deque
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from types import FunctionType, MethodType
from typing import Any, cast

from runware_ws._core.connection.liveness import Liveness
from runware_ws._core.context import Counters
from runware_ws._core.tasks.ladder import UNTOUCHED
from runware_ws._core.tasks.schedule import Schedule
from runware_ws.config import Config

__all__ = ["fingerprint", "freeze", "thaw"]

# What is shared by all copies: it never changes, and some of it cannot be pickled.
_shared: dict[int, Any] = {}


def _share(number: int) -> Any:
    return _shared[number]


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        nameless = isinstance(obj, FunctionType) and obj.__name__ == "<lambda>"
        if nameless or isinstance(obj, Config) or obj is UNTOUCHED:
            _shared[id(obj)] = obj
            return _share, (id(obj),)
        return NotImplemented


def freeze(world: Any) -> bytes:
    """The world as bytes."""
    out = io.BytesIO()
    _Pickler(out, pickle.HIGHEST_PROTOCOL).dump(world)
    return out.getvalue()


def thaw(frozen: bytes) -> Any:
    """A new copy of a world."""
    return pickle.loads(frozen)


# What decides nothing: it is counted, told to people, or the same for all.
_IDLE_TYPES = (Counters, Config, FunctionType, MethodType)
_PLAIN = frozenset({bool, int, float, str, bytes})
_NOTHING: dict[str, Any] = {}
_IDLE_NAMES = frozenset({"last_in", "last_out", "_frames", "trail", "ended_at", "first_written_at"})


class _Facts:
    """Walks everything that a world holds, so that a new attribute counts without being named."""

    def __init__(self, world: Any) -> None:
        self._seen: dict[int, int] = {}
        self._frames: dict[int, int] = {}
        self.facts = self._of(world)

    def _of(self, value: Any) -> Any:
        kind = cast("Any", type(value))
        if value is None or kind in _PLAIN:
            return value
        if kind is list or kind is tuple or kind is deque:
            return tuple([self._of(entry) for entry in value])
        if isinstance(value, dict):
            found = cast("dict[Any, Any]", value)
            return tuple([(self._of(k), self._of(v)) for k, v in found.items()])
        if isinstance(value, Enum):
            return value.name
        if isinstance(value, _IDLE_TYPES) or value is UNTOUCHED:
            return 0
        if kind is set:
            return tuple(sorted([self._of(entry) for entry in value]))
        number = self._seen.get(id(value))
        if number is not None:
            return ("seen", number)
        self._seen[id(value)] = len(self._seen)
        if kind is Schedule:
            return tuple([(at, self._of(record)) for at, record in _due(value)])
        if kind is Liveness:
            return value.running
        if isinstance(value, BaseException):
            return (kind.__name__, str(value))
        inside = [(name, getattr(value, name)) for name in _names(kind)]
        inside += getattr(value, "__dict__", _NOTHING).items()
        return (kind.__name__, *[self._attribute(name, entry) for name, entry in inside])

    def _attribute(self, name: str, value: Any) -> Any:
        if name in _IDLE_NAMES:
            return 0
        if name == "asked_in":
            return self._frames.setdefault(value, len(self._frames))
        if name == "_emptied":
            return tuple(sorted([self._frames.get(n, -1) for n in value]))
        return self._of(value)


@lru_cache
def _names(kind: Any) -> tuple[str, ...]:
    """The slots of a class."""
    names: list[str] = []
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        names += (slots,) if isinstance(slots, str) else slots
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _due(schedule: Any) -> list[tuple[float, Any]]:
    """The live entries of a schedule, in the order in which they come up."""
    queue = [(at, 0, n, r) for n, (at, r) in enumerate(zip(schedule._times, schedule._queue))]  # noqa: B905
    heap = [(at, 1, n, r) for at, n, r in schedule._heap]
    live = [entry for entry in queue + heap if schedule._alive(entry[0], entry[3])]
    return [(at, record) for at, _, _, record in sorted(live, key=lambda e: e[:3])]


def fingerprint(world: Any) -> bytes:
    """Equal for two worlds only if the same can happen to them from here on."""
    facts = _Facts(world).facts
    return blake2b(marshal.dumps(facts, 0), digest_size=16).digest()
