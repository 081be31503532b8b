"""The highest rate that keeps the SLO: by steps, then by bisection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from runware_ws.load.conditions import Slo

__all__ = ["Limit", "Step", "find_limit"]


@dataclass(frozen=True, slots=True)
class Step:
    """One run: at ``rate``, was the SLO ``kept``? ``lagged``: the generator was too slow for it."""

    rate: float
    kept: bool
    lagged: bool


@dataclass(slots=True)
class Limit:
    """What was found. ``rate``: the highest that was kept, in tasks a second; 0 if none was.

    ``failed_at``: the lowest rate that was not kept; ``None`` if all were, up to the most that was
    allowed. ``report`` is that of the run at ``rate``.
    """

    rate: float = 0.0
    failed_at: float | None = None
    by_generator: bool = False
    report: dict[str, Any] | None = None
    steps: list[Step] = field(default_factory=list[Step])

    def told(self) -> dict[str, Any]:
        """As it stands in a report."""
        return {
            "rate": self.rate,
            "failed_at": self.failed_at,
            "by_generator": self.by_generator,
            "steps": [[step.rate, step.kept, step.lagged] for step in self.steps],
        }


async def find_limit(
    measure: Callable[[float], Awaitable[dict[str, Any]]],
    slo: Slo,
    *,
    first: float,
    most: float = 1e6,
    least: float = 0.5,
    precision: float = 0.05,
) -> Limit:
    """Find it by runs of ``measure``, which gives the report of a run at a rate.

    The rate doubles from ``first`` until the SLO breaks (or halves until it holds), then the gap
    is halved until it is no wider than ``precision`` of the rate. A run in which the generator
    lagged proves nothing about the server, so such a rate counts as broken; ``by_generator`` tells
    that this made the limit.
    """
    found = Limit()

    async def kept(rate: float) -> bool:
        report = await measure(rate)
        lagged = not report["own_lag_ok"]
        good = slo.kept(report)
        found.steps.append(Step(rate, good and not lagged, lagged))
        if good and not lagged:
            found.rate, found.report = rate, report
            return True
        found.failed_at, found.by_generator = rate, lagged
        return False

    rate = first
    if await kept(rate):
        while rate < most and await kept(rate := min(rate * 2, most)):
            pass
    else:
        while rate > least and not await kept(rate := max(rate / 2, least)):
            pass
    while (
        found.rate
        and found.failed_at is not None
        and found.failed_at - found.rate > precision * found.rate
    ):
        await kept((found.rate + found.failed_at) / 2)
    return found
