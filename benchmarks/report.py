"""The tables, in Markdown, and the JSON for later comparison."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.contenders import BASE, CONTENDERS
from benchmarks.measure import Spread, Table, ratios
from benchmarks.targets import Judged, judge
from benchmarks.workloads import WORKLOADS

__all__ = ["markdown", "write_json"]

PACKAGES = ("runware-ws", "websockets", "orjson", "picows", "uvloop", "trio", "anyio")


def _show(spread: Spread | None, scale: float = 1.0, digits: int = 1) -> str:
    if spread is None:
        return "-"
    low, mid, high = (scale * v for v in (spread.low, spread.median, spread.high))
    if f"{low:.{digits}f}" == f"{high:.{digits}f}":
        return f"{mid:,.{digits}f}"
    return f"{mid:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def _rows(header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    return [line(header), "|" + "|".join("-" * (w + 2) for w in widths) + "|"] + [
        line(row) for row in rows
    ]


def _contenders(table: Table, workload: str) -> list[str]:
    return [name for name in CONTENDERS if (workload, name) in table.rounds]


def _section(
    table: Table,
    workload: str,
    header: list[str],
    cells: Callable[[str], list[str]],
) -> list[str]:
    rows: list[list[str]] = []
    for name in _contenders(table, workload):
        failure = table.failures.get((workload, name))
        label = CONTENDERS[name].label
        if failure is not None:
            rows.append([label, f"fails: {failure[:60]}", *[""] * (len(header) - 1)])
        else:
            rows.append([label, *cells(name)])
    if not rows:
        return []
    lines = _rows(["contender", *header], rows)
    return ["", f"### {WORKLOADS[workload].label}", "", *lines]


def _flight(table: Table, workload: str) -> list[str]:
    def ratio(name: str, metric: str) -> str:
        values = ratios(table, (workload, name, metric), (workload, BASE, metric))
        return _show(Spread.of(values), digits=2)

    def cells(name: str) -> list[str]:
        return [
            _show(table.spread(workload, name, "cpu"), 1e6),
            ratio(name, "cpu"),
            _show(table.spread(workload, name, "wall"), 1e3, 0),
            _show(table.spread(workload, name, "memory"), 1, 0),
            ratio(name, "memory"),
            _show(table.spread(workload, name, "responder_cpu"), 1e6),
        ]

    header = ["CPU us/task", "/ bare", "wall ms", "memory B/task", "/ bare", "responder us/task"]
    return _section(table, workload, header, cells)


def _steady(table: Table) -> list[str]:
    def cells(name: str) -> list[str]:
        quantiles = [
            _show(table.spread("steady", name, key), 1e3, 2)
            for key in ("p50", "p95", "p99", "p999")
        ]
        return [_show(table.spread("steady", name, "cpu"), 1e6), *quantiles]

    header = ["CPU us/task", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms"]
    return _section(table, "steady", header, cells)


def _cut(table: Table, workload: str) -> list[str]:
    def cells(name: str) -> list[str]:
        settled = ratios(table, (workload, name, "cut.settled"), (workload, name, "calm.wall"))
        return [
            _show(table.spread(workload, name, "cut.failed"), 100, 0) + " %",
            _show(table.spread(workload, name, "cut.redial"), 1e3),
            _show(table.spread(workload, name, "cut.settled"), 1e3, 0),
            _show(table.spread(workload, name, "calm.wall"), 1e3, 0),
            _show(Spread.of(settled), digits=2),
            _show(table.spread(workload, name, "cut.cpu"), 1e6),
        ]

    header = [
        "tasks lost",
        "redial ms beyond backoff",
        "settled ms after auth",
        "calm run ms",
        "settled / calm",
        "CPU us/task",
    ]
    return _section(table, workload, header, cells)


def _stall(table: Table, workload: str) -> list[str]:
    def cells(name: str) -> list[str]:
        found: list[str] = []
        for key in ("stall", "own", "collection"):
            calm = table.spread(workload, name, f"calm.{key}")
            calm = calm or table.spread(workload, name, key)
            found += [
                _show(calm, 1e3),
                _show(table.spread(workload, name, f"cut.{key}"), 1e3),
            ]
        return found

    header = [
        "stall ms, calm",
        "with a cut",
        "without the collector, calm",
        "with a cut",
        "longest collection, calm",
        "with a cut",
    ]
    return _section(table, workload, header, cells)


def _asynchronous(table: Table) -> list[str]:
    def cells(name: str) -> list[str]:
        return [
            _show(table.spread("async", name, f"learned.{key}"), 1e3)
            for key in ("p50", "p95", "p99")
        ]

    return _section(table, "async", ["p50 ms", "p95 ms", "p99 ms"], cells)


def _targets(judged: list[Judged]) -> list[str]:
    rows: list[list[str]] = []
    for entry in judged:
        if entry.spread is None:
            continue
        target = entry.target
        digits = 2 if target.unit == "x" else 1
        rows.append(
            [
                target.label,
                f"{target.limit:.{digits}f} {target.unit}",
                f"{_show(entry.spread, digits=digits)} {target.unit}",
                "yes" if entry.met else "NO",
            ]
        )
    if not rows:
        return []
    return ["", "## Targets", "", *_rows(["target", "at most", "measured", "met"], rows)]


def _machine() -> dict[str, Any]:
    packages: dict[str, str] = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": packages,
    }


def markdown(table: Table) -> str:
    """All tables. Medians of the rounds, smallest and largest in parentheses."""
    machine = _machine()
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    lines = [
        "# Benchmarks",
        "",
        f"Python {machine['python']}, {machine['system']}, {machine['cores']} cores; {packages}.",
        "Medians of the rounds (smallest-largest). Ratios are taken round by round.",
    ]
    lines += _targets(judge(table))
    for workload in WORKLOADS:
        if workload == "steady":
            lines += _steady(table)
        elif workload == "async":
            lines += _asynchronous(table)
        elif workload in ("reconnect", "forgotten"):
            lines += _cut(table, workload)
        elif workload.startswith("stall"):
            lines += _stall(table, workload)
        else:
            lines += _flight(table, workload)
    return "\n".join(lines) + "\n"


def write_json(table: Table, path: Path) -> None:
    """Everything that was measured, for later comparison."""
    found = {
        "machine": _machine(),
        "targets": [
            {
                "label": entry.target.label,
                "limit": entry.target.limit,
                "unit": entry.target.unit,
                "measured": None if entry.spread is None else asdict(entry.spread),
                "met": entry.met,
            }
            for entry in judge(table)
        ],
        "metrics": [
            {"workload": workload, "contender": contender, "rounds": rounds}
            for (workload, contender), rounds in table.rounds.items()
        ],
        "failures": [
            {"workload": workload, "contender": contender, "failure": text}
            for (workload, contender), text in table.failures.items()
        ],
        "raw": table.raw,
    }
    path.write_text(json.dumps(found, indent=1) + "\n")
