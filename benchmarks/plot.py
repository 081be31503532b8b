"""The plot: CPU, memory, latency and recovery, all contenders side by side."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from benchmarks.contenders import BASE, CONTENDERS
from benchmarks.measure import Spread, Table, ratios
from benchmarks.workloads import WORKLOADS

__all__ = ["draw"]

OURS = "#1f6feb"
OTHERS = "#9aa4b2"
THEIRS = {"bare": "#444c56", "sdk": "#d29922", "legacy": "#e3b341", "picows": "#57ab5a"}

Bars = list[tuple[str, Spread]]


def _colour(name: str) -> str:
    return THEIRS.get(name, OURS if CONTENDERS[name].module == "ours" else OTHERS)


def _bars(axis: Any, title: str, unit: str, bars: Bars, scale: float = 1.0) -> None:
    axis.set_title(title, fontsize=10, loc="left")
    axis.set_xlabel(unit, fontsize=8)
    axis.tick_params(labelsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    places = range(len(bars))
    medians = [scale * spread.median for _, spread in bars]
    below = [scale * (spread.median - spread.low) for _, spread in bars]
    above = [scale * (spread.high - spread.median) for _, spread in bars]
    axis.barh(
        places,
        medians,
        xerr=[below, above],
        color=[_colour(name) for name, _ in bars],
        error_kw={"elinewidth": 1, "capsize": 2},
    )
    axis.set_yticks(places, [CONTENDERS[name].label for name, _ in bars])
    axis.invert_yaxis()
    for place, value, error in zip(places, medians, above, strict=True):
        axis.annotate(
            f" {value:,.0f}" if value >= 100 else f" {value:.3g}",
            (value + error, place),
            va="center",
            fontsize=8,
            annotation_clip=False,
        )


def _panels(table: Table) -> list[tuple[str, str, Bars, float]]:
    def spreads(workload: str, metric: str) -> Bars:
        found = [(name, table.spread(workload, name, metric)) for name in CONTENDERS]
        return [(name, spread) for name, spread in found if spread is not None]

    def against(workload: str, metric: str) -> Bars:
        place = (workload, BASE, metric)
        found = [
            (name, Spread.of(ratios(table, (workload, name, metric), place))) for name in CONTENDERS
        ]
        return [(name, spread) for name, spread in found if spread is not None]

    panels: list[tuple[str, str, Bars, float]] = []
    for workload in ("1k", "10k", "100k", "merged", "100KB", "5MB"):
        title = f"CPU per task: {WORKLOADS[workload].label}"
        panels.append((title, "times the bare loop", against(workload, "cpu"), 1.0))
    panels += [
        ("Memory per task: 10,000 in flight", "bytes", spreads("10k", "memory"), 1.0),
        ("Memory per task: 100,000 in flight", "bytes", spreads("100k", "memory"), 1.0),
        ("Steady 2,000 tasks/s: p99", "ms", spreads("steady", "p99"), 1e3),
        ("A cut, 10,000 in flight: settled", "ms", spreads("reconnect", "cut.settled"), 1e3),
        ("A cut, 10,000 in flight: lost", "%", spreads("reconnect", "cut.failed"), 100.0),
        ("Async task of 200 ms: seen after", "ms", spreads("async", "learned.p50"), 1e3),
    ]
    return [panel for panel in panels if panel[2]]


def draw(table: Table, path: Path) -> None:
    """Draw what was measured into a PNG (or what else the suffix says)."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    panels = _panels(table)
    if not panels:
        return
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(6.4 * columns, 2.9 * rows), squeeze=False, layout="constrained"
    )
    cells = list(axes.flat)
    for axis, (title, unit, bars, scale) in zip(cells, panels, strict=False):
        _bars(axis, title, unit, bars, scale)
    for axis in cells[len(panels) :]:
        axis.set_visible(False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
