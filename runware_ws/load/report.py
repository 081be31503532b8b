"""The result of a load, as plain data with a versioned schema: what ``--json`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from runware_ws.load.arrivals import Arrivals, ClosedModel
from runware_ws.load.conditions import Slo
from runware_ws.load.recorder import Recorder

__all__ = ["SCHEMA", "RunFacts", "block_width", "make_report"]

SCHEMA = "runware-ws-load/1"
"""Name and version of the report. The number changes when a field changes its meaning or goes."""

LAG_SHARE = 0.05
"""More of the reported p99 than this, as the generator's own lag, and the run measured itself."""

_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_MOST_BLOCKS = 150


def block_width(seconds: float) -> float:
    """How long the blocks of a run of so many seconds are."""
    return next((width for width in _WIDTHS if seconds / width <= _MOST_BLOCKS), _WIDTHS[-1] * 10)


@dataclass(slots=True)
class RunFacts:
    """What a recorder cannot know. ``None``: nobody told.

    ``lost``: tasks that the server ran, and that have neither an answer nor a verdict.
    ``run_twice``: tasks that it ran more than once. ``faults``: what was ordered, and when.
    """

    target: str
    lost: int | None = None
    run_twice: int | None = None
    server: Mapping[str, int] = field(default_factory=dict[str, int])
    faults: tuple[Mapping[str, Any], ...] = ()
    seed: int = 0
    processes: int = 1
    slo: Slo | None = None


def make_report(
    recorder: Recorder, model: Arrivals | ClosedModel, facts: RunFacts
) -> dict[str, Any]:
    """Everything about a run, ready for JSON. Durations are milliseconds where names say so."""
    seconds = max(model.seconds, recorder.last_end, 1e-9)
    attempted, answered = recorder.attempted, recorder.answered
    intended = recorder.intended
    lag, latency = recorder.own_lag.quantile(0.99), intended.quantile(0.99)
    return {
        "schema": SCHEMA,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "target": facts.target,
        "model": _model(model),
        "seed": facts.seed,
        "processes": facts.processes,
        "seconds": round(seconds, 6),
        "started": recorder.started,
        "attempted": attempted,
        "answered": answered,
        # Where the server cannot be asked what it ran, what it may have run counts.
        "lost": recorder.left if facts.lost is None else facts.lost,
        "lost_known_by": "client" if facts.lost is None else "server",
        "run_twice": facts.run_twice,
        "wrong": recorder.wrong,
        "answers_checked": recorder.checked,
        "unknown": recorder.unknown,
        "failed": attempted - answered,
        "errors": dict(recorder.errors.most_common()),
        "agent_errors": dict(recorder.agent_errors.most_common()),
        "recovered_by": dict(recorder.recovered_by.most_common()),
        "reconnects": len(recorder.reconnects),
        "latency_intended_ms": intended.summary(),
        "latency_sent_ms": recorder.sent.summary(),
        "by_name_ms": {name: each.summary() for name, each in sorted(recorder.by_name.items())},
        "first_delta_ms": recorder.first_delta.summary(),
        "time_per_token_ms": recorder.per_token.summary(),
        "own_lag_ms": recorder.own_lag.summary(),
        "own_lag_ok": lag is None or latency is None or lag <= LAG_SHARE * latency,
        "rate": answered / seconds,
        "goodput": recorder.good / seconds,
        "good": recorder.good,
        "slo": None if facts.slo is None else str(facts.slo),
        "error_rate": (attempted - answered) / attempted if attempted else 0.0,
        "tokens": recorder.tokens,
        "tokens_per_s": recorder.tokens / seconds,
        "cost": round(recorder.cost, 8),
        "faults": [dict(fault) for fault in facts.faults],
        "server": dict(facts.server),
        "losses_s": [round(at, 3) for at in recorder.losses],
        "reconnects_s": [round(at, 3) for at in recorder.reconnects],
        "curve_intended_ms": [list(point) for point in intended.curve()],
        "curve_sent_ms": [list(point) for point in recorder.sent.curve()],
        "series": _series(recorder),
    }


def _model(model: Arrivals | ClosedModel) -> dict[str, Any]:
    if isinstance(model, ClosedModel):
        return {"kind": "closed", "users": model.users, "think_s": model.think}
    if model.trace:
        return {"kind": "trace", "starts": len(model.trace)}
    segments = [[each.first, each.last, each.seconds] for each in model.segments]
    told: dict[str, Any] = {"kind": model.process, "segments": segments}
    return told | {"burst": model.burst} if model.process == "gamma" else told


def _series(recorder: Recorder) -> dict[str, Any]:
    numbers = range(max(recorder.blocks, default=-1) + 1)
    blocks = [recorder.blocks[number] for number in numbers]
    return {
        "width_s": recorder.width,
        "intended": [block.intended for block in blocks],
        "answered": [block.answered for block in blocks],
        "good": [block.good for block in blocks],
        "failed": [block.failed for block in blocks],
        "done": [block.done for block in blocks],
        "errors": [block.errors for block in blocks],
        # Of the latency from the intended start: bin number and count, bins 2 % wide.
        "bins": [[list(pair) for pair in sorted(block.bins.items())] for block in blocks],
    }
