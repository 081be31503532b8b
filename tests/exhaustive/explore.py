"""Goes every way that a world can go, and remembers where it has been."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.exhaustive.snapshot import fingerprint, freeze, thaw
from tests.exhaustive.world import Action, Broken, Setting, World

__all__ = ["Found", "explore", "replay"]


@dataclass(slots=True)
class Found:
    """What an exploration found. ``complete``: no way was left out."""

    name: str
    states: int = 0
    steps: int = 0
    leaves: int = 0
    seconds: float = 0.0
    complete: bool = True
    resends: int = 0
    ends: dict[str, int] = field(default_factory=dict[str, int])
    broken: str = ""
    trail: tuple[Action, ...] = ()

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {name}" for name, count in sorted(self.ends.items()))
        whole = "complete" if self.complete else "NOT complete"
        told = (
            f"{self.name}: {self.states:,} states, {self.steps:,} steps, {self.leaves:,} leaves "
            f"({ends}; resent in {self.resends:,}), {self.seconds:.1f} s, {whole}"
        )
        if self.broken:
            told += f"\n  BROKEN {self.broken}\n  " + " ".join(f"{w}:{n}" for w, n in self.trail)
        return told


def explore(setting: Setting, *, most: int = 10_000_000) -> Found:
    """Go every way, depth first, through ``most`` states at most; stop at the first breach."""
    found = Found(setting.name)
    began = time.monotonic()
    world = World(setting, setting.config())
    seen = {fingerprint(world)}
    stack = [(freeze(world), list(world.actions()))]
    while stack and not found.broken:
        frozen, actions = stack[-1]
        if not actions:
            stack.pop()
            continue
        action = actions.pop()
        world = thaw(frozen)
        found.steps += 1
        try:
            world.do(action)
            mark = fingerprint(world)
            if mark in seen:
                continue
            seen.add(mark)
            following = list(world.actions())
            if not following:
                world.check_end()
                _leaf(found, world)
                continue
        except Exception as exc:  # what the core raises is a breach, too
            found.broken = str(exc) if isinstance(exc, Broken) else repr(exc)
            found.trail = tuple(world.trail)
            break
        if len(seen) >= most:
            found.complete = False
            break
        stack.append((freeze(world), following))
    found.states = len(seen)
    found.seconds = time.monotonic() - began
    return found


def _leaf(found: Found, world: World) -> None:
    found.leaves += 1
    found.resends += any(job.copies > 1 for job in world.jobs)
    name = "+".join(sorted(record.state.name for record in world.records))
    found.ends[name] = found.ends.get(name, 0) + 1


def replay(setting: Setting, trail: tuple[Action, ...]) -> World:
    """The world at the end of a way."""
    world = World(setting, setting.config())
    for action in trail:
        world.do(action)
    return world
