"""What a run must keep: ``p99<2s``, ``lost==0``; and the SLO by which answers are good."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from runware_ws.emulator import parse_duration

__all__ = ["FIGURES", "Condition", "Slo", "figure_of", "parse_condition", "parse_slo"]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*([\w.]+)\s*(<=|>=|==|!=|<|>)\s*([\w.]+%?)\s*")
_QUANTILES = ("p50", "p90", "p99", "p99.9", "max", "mean")
_DURATIONS = {
    "": "latency_intended_ms",
    "sent.": "latency_sent_ms",
    "first_delta.": "first_delta_ms",
    "per_token.": "time_per_token_ms",
    "own_lag.": "own_lag_ms",
}
_COUNTS = (
    *("attempted", "answered", "lost", "run_twice", "wrong", "unknown", "failed"),
    *("agent_errors", "reconnects", "rate", "goodput", "error_rate", "tokens_per_s", "cost"),
)
FIGURES: tuple[str, ...] = (
    *(f"{prefix}{quantile}" for prefix in _DURATIONS for quantile in _QUANTILES),
    *_COUNTS,
)
"""Names of all figures that a condition may be about. Those without a prefix are latencies from
the intended start."""


def figure_of(report: Mapping[str, Any], name: str) -> float | None:
    """A figure of a report: seconds, a count, or a share; ``None`` where nobody can know it.

    Raises:
        ValueError: no figure has this name.
    """
    if name == "agent_errors":
        return float(sum(report[name].values()))
    if name in _COUNTS:
        return cast("float | None", report[name])
    for prefix, key in _DURATIONS.items():
        quantile = name.removeprefix(prefix)
        if name.startswith(prefix) and quantile in _QUANTILES:
            value: float | None = report[key][quantile]
            return None if value is None else value / 1e3
    raise ValueError(f"there is no figure {name!r}; there are: {', '.join(FIGURES)}")


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold. ``text`` is how it was written."""

    text: str
    figure: str
    comparison: str
    bound: float

    def broken(self, report: Mapping[str, Any]) -> str | None:
        """Why a report does not keep it, for people; ``None`` if it does.

        A figure that nobody can know keeps no condition.
        """
        value = figure_of(report, self.figure)
        if value is None:
            return f"{self.text}: {self.figure} cannot be known of this run"
        if _COMPARE[self.comparison](value, self.bound):
            return None
        return f"{self.text}: {self.figure} is {value:.6g}"


def parse_condition(text: str) -> Condition:
    """Read ``"p99<2s"``, ``"lost==0"`` or ``"error_rate<1%"``: what must hold.

    Raises:
        ValueError: the text is none of these.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a condition: {text!r}; write it like p99<2s or lost==0")
    figure, comparison, bound = match[1], match[2], match[3]
    if figure not in FIGURES:
        raise ValueError(f"there is no figure {figure!r}; there are: {', '.join(FIGURES)}")
    number = float(bound[:-1]) / 100 if bound.endswith("%") else parse_duration(bound)
    return Condition(text.strip(), figure, comparison, number)


@dataclass(frozen=True, slots=True)
class Slo:
    """At least ``share`` of all tasks are answered within ``seconds`` of their intended start."""

    share: float
    seconds: float

    def kept(self, report: Mapping[str, Any]) -> bool:
        """Whether a run kept it. What has no answer counts against it."""
        attempted: int = report["attempted"]
        return bool(attempted) and report["good"] >= self.share * attempted - 1e-9

    def __str__(self) -> str:
        return f"p{self.share * 100:g}<{self.seconds:g}s"


_SLO = re.compile(r"\s*(?:p([\d.]+)\s*<=?\s*)?([\w.]+)\s*")


def parse_slo(text: str) -> Slo:
    """Read ``"p99<2s"``, or ``"2s"``, which means the same.

    Raises:
        ValueError: the text is neither.
    """
    match = _SLO.fullmatch(text)
    percent = float(match[1] or 99) if match is not None else 0.0
    if match is None or not 0 < percent <= 100:
        raise ValueError(f"not an SLO: {text!r}; write it like p99<2s or 2s")
    seconds = parse_duration(match[2])
    if not seconds:
        raise ValueError("an SLO of 0 seconds cannot be kept")
    return Slo(round(percent / 100, 9), seconds)
