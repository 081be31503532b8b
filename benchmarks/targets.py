"""What this client is held to: ratios within one run, never absolute times alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.contenders import BASE
from benchmarks.measure import Spread, Table, ratios

__all__ = ["TARGETS", "Judged", "Target", "judge"]

Place = tuple[str, str, str]
"""Workload, contender, metric."""


@dataclass(frozen=True, slots=True)
class Target:
    """``one`` (over ``other``, where there is one) shall be at most ``limit``."""

    label: str
    limit: float
    one: Place
    other: Place | None = None
    unit: Literal["x", "ms"] = "x"


TARGETS = (
    Target("CPU per task, dict / bare loop", 1.0, ("10k", "asyncio", "cpu"), ("10k", BASE, "cpu")),
    Target(
        "CPU per task, TextInference / bare loop",
        1.2,
        ("10k", "model", "cpu"),
        ("10k", BASE, "cpu"),
    ),
    Target("CPU per task / runware-sdk", 1 / 3, ("10k", "asyncio", "cpu"), ("10k", "sdk", "cpu")),
    Target(
        "CPU per task, 100,000 in flight / 1,000",
        1.25,
        ("100k", "asyncio", "cpu"),
        ("1k", "asyncio", "cpu"),
    ),
    Target(
        "memory per task in flight / bare loop",
        1.25,
        ("10k", "asyncio", "memory"),
        ("10k", BASE, "memory"),
    ),
    Target("longest stall, 100,000 in flight", 50.0, ("stall", "asyncio", "calm.stall"), unit="ms"),
    Target(
        "longest stall, a reconnect included", 50.0, ("stall", "asyncio", "cut.stall"), unit="ms"
    ),
    Target("the same without Python's collector", 50.0, ("stall", "asyncio", "cut.own"), unit="ms"),
    Target(
        "the same with full collections made rare",
        50.0,
        ("stall-rare", "asyncio", "cut.stall"),
        unit="ms",
    ),
    Target(
        "auth reply until 10,000 settled / calm run",
        1.5,
        ("reconnect", "asyncio", "cut.settled"),
        ("reconnect", "asyncio", "calm.wall"),
    ),
    Target(
        "first redial, beyond the backoff", 20.0, ("reconnect", "asyncio", "cut.redial"), unit="ms"
    ),
    Target(
        "async task of 200 ms seen after / 200 ms (median)",
        1.5,
        ("async", "asyncio", "learned.p50"),
    ),
    Target(
        "async task of 200 ms seen after / 200 ms (p95)",
        1.5,
        ("async", "asyncio", "learned.p95"),
    ),
    Target("CPU per task, trio / asyncio", 2.0, ("10k", "trio", "cpu"), ("10k", "asyncio", "cpu")),
)

ASYNC_TASK = 0.2


@dataclass(frozen=True, slots=True)
class Judged:
    """A target and what was measured; ``spread`` is ``None`` where it was not run."""

    target: Target
    spread: Spread | None

    @property
    def met(self) -> bool:
        """Whether the median keeps the limit."""
        return self.spread is not None and self.spread.median <= self.target.limit


def judge(table: Table) -> list[Judged]:
    """Hold what was measured against the targets."""
    found: list[Judged] = []
    for target in TARGETS:
        if target.other is not None:
            values = ratios(table, target.one, target.other)
        else:
            factor = 1000.0 if target.unit == "ms" else 1 / ASYNC_TASK
            values = [factor * value for value in table.values(*target.one)]
        found.append(Judged(target, Spread.of(values)))
    return found
