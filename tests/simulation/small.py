"""Constants of the client that only thousands of tasks reach, made small for a part of the runs.

A turn of a thousand deadlines, a rebuild of a heap, a lot of tombstones: twenty tasks never get
there. With these values they do, and the promises must hold all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from random import Random
from types import ModuleType
from unittest.mock import patch

__all__ = ["SMALL", "Constant", "draw_small", "patched"]

CORE, IO, CLIENT = "runware_ws._core.tasks", "runware_ws._io", "runware_ws.client"


@dataclass(frozen=True, slots=True)
class Constant:
    """One constant: the module that defines it, its name, and the small values to draw from.

    ``users``: the modules that import it by name.
    """

    module: str
    name: str
    values: tuple[int, ...]
    users: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """How a story names it."""
        return f"{self.module.rpartition('.')[2]}.{self.name}"


SMALL = {
    constant.key: constant
    for constant in (
        Constant(f"{CORE}.schedule", "TURN", (1, 2, 5), ("runware_ws._core.recovery.recovery",)),
        Constant(f"{CORE}.schedule", "_SLACK", (0, 1, 3)),
        Constant(f"{CORE}.tombstones", "LOT", (1, 2, 5)),
        Constant(f"{CORE}.tombstones", "_SMALL", (4, 16)),
        Constant(f"{CORE}.tombstones", "_LARGE", (16, 64)),
        Constant(f"{CORE}.deltas", "MOST_PENDING", (1, 2, 4)),
        Constant(f"{CORE}.deltas", "MOST_WAITING", (500, 5_000)),
        Constant(f"{IO}.driver", "WAKES", (1, 2, 5)),
        Constant(f"{IO}.sockets", "FRAMES_IN_A_ROW", (1, 2)),
        Constant(f"{IO}.feed", "MOST_BYTES", (300, 2_000)),
        Constant(f"{CLIENT}.mapping", "TURN", (1, 2, 5), (f"{CLIENT}.sync",)),
    )
}


def draw_small(seed: int, *, without: Collection[str] = ()) -> dict[str, int]:
    """Which constants are small in the run of this seed, and how small: none in most runs."""
    rng = Random(f"{seed} small")
    chosen = {
        key: rng.choice(constant.values) for key, constant in SMALL.items() if rng.random() < 0.5
    }
    return chosen if rng.random() < 0.3 and "small" not in without else {}


@contextmanager
def patched(values: Mapping[str, int]) -> Generator[None]:
    """These constants have these values inside the block."""
    patches = [
        patch.object(module, SMALL[key].name, value)
        for key, value in values.items()
        for module in _holders(SMALL[key])
    ]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in reversed(patches):
            each.stop()


def _holders(constant: Constant) -> list[ModuleType]:
    return [import_module(name) for name in (constant.module, *constant.users)]
