"""Rounds: each contender once per round and workload, one after the other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contenders import Entry
from benchmarks.processes import ContenderFailed, Responder, run_contender
from benchmarks.workloads import REDIAL_AFTER, Workload

MANY = 10_000
"""The growth of a process tells the memory of a task only where there are so many."""

TRIES = 2
"""A round that breaks off is tried again so often: it may have been the machine."""

__all__ = ["Spread", "Table", "measure", "ratios"]

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and what is around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """The spread of these; ``None`` where there are none."""
        if not values:
            return None
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class Table:
    """All that was measured: by workload and contender, one entry for each round."""

    rounds: dict[tuple[str, str], list[dict[str, float] | None]] = field(
        default_factory=dict[tuple[str, str], "list[dict[str, float] | None]"]
    )
    failures: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    raw: list[Figures] = field(default_factory=list[Figures])

    def values(self, workload: str, contender: str, metric: str) -> list[float]:
        """One metric, round by round; rounds without it are left out."""
        found = self.rounds.get((workload, contender), [])
        return [entry[metric] for entry in found if entry is not None and metric in entry]

    def spread(self, workload: str, contender: str, metric: str) -> Spread | None:
        """One metric over the rounds."""
        return Spread.of(self.values(workload, contender, metric))


def ratios(
    table: Table,
    one: tuple[str, str, str],
    other: tuple[str, str, str],
) -> list[float]:
    """The ratios of two metrics, round by round: (workload, contender, metric) each."""
    pairs = zip(table.rounds.get(one[:2], []), table.rounds.get(other[:2], []), strict=False)
    found: list[float] = []
    for above, below in pairs:
        if above is None or below is None or one[2] not in above or not below.get(other[2]):
            continue
        found.append(above[one[2]] / below[other[2]])
    return found


def _metrics(phases: list[Figures]) -> dict[str, float]:
    """The figures of a round, in seconds and bytes, per task where that has a sense."""
    metrics: dict[str, float] = {}
    for name in dict.fromkeys(phase["name"] for phase in phases):
        same = [phase for phase in phases if phase["name"] == name]
        prefix = "" if len({phase["name"] for phase in phases}) == 1 else f"{name}."
        count = same[0]["tasks"]

        def median(key: str, same: list[Figures] = same) -> float:
            return float(statistics.median(phase[key] for phase in same))

        metrics[f"{prefix}cpu"] = median("cpu") / count
        metrics[f"{prefix}wall"] = median("wall")
        metrics[f"{prefix}failed"] = sum(phase["failed"] for phase in same) / (count * len(same))
        metrics[f"{prefix}responder_cpu"] = median("responder_cpu") / count
        together = all(phase.get("together", False) for phase in same)
        if "memory" in same[0] and together and count >= MANY and "stall" not in same[0]:
            # The first phase: what comes later finds memory that was used before.
            metrics[f"{prefix}memory"] = same[0]["memory"]
        for key in ("stall", "own", "collection", "p50", "p95", "p99", "p999"):
            if key in same[0]:
                metrics[f"{prefix}{key}"] = median(key)
        first = same[0]
        if "cut_at" in first and "authenticated_at" in first:
            metrics[f"{prefix}redial"] = first["accepted_at"] - first["cut_at"] - REDIAL_AFTER
            if not first["failed"]:
                metrics[f"{prefix}settled"] = first["ended_at"] - first["authenticated_at"]
    return metrics


def _try(
    entry: Entry, workload: Workload, server: Responder, folder: Path | None
) -> tuple[list[Figures], str | None]:
    """The phases of one round, and why they do not count, where they do not."""
    failure = ""
    for _ in range(TRIES):
        try:
            phases = run_contender(entry, workload, server, folder)
        except ContenderFailed as exc:
            failure = str(exc)
            continue
        if any(len(phase["lengths"]) > 1 for phase in phases):
            return phases, "results of several lengths came, where all are the same"
        # Tasks that are lost in a cut are a figure; elsewhere they make the others meaningless.
        broken = [p for p in phases if p["failed"] == p["tasks"] and "cut_at" not in p]
        return phases, broken[0]["failure"] if broken else None
    return [], failure


def measure(
    entries: Iterable[Entry],
    workloads: Iterable[Workload],
    rounds: int,
    server: Responder,
    folders: dict[str, Path | None],
    tell: Callable[[str], None],
) -> Table:
    """Measure; a contender that fails a workload is not tried in it again."""
    table = Table()
    entries = list(entries)
    for workload in workloads:
        wanted = [
            e for e in entries if workload.contenders is None or e.name in workload.contenders
        ]
        for number in range(min(rounds, workload.rounds or rounds)):
            # Every other round the other way round, so that nobody always comes first.
            for entry in wanted if number % 2 == 0 else reversed(wanted):
                key = (workload.name, entry.name)
                line = table.rounds.setdefault(key, [])
                if key in table.failures:
                    line.append(None)
                    continue
                tell(f"{workload.label}, round {number + 1}: {entry.label}")
                phases, failure = _try(entry, workload, server, folders.get(entry.name))
                if phases:
                    table.raw.append({"workload": key[0], "contender": key[1], "phases": phases})
                if failure is not None:
                    table.failures[key] = failure
                line.append(_metrics(phases) if failure is None else None)
    return table
