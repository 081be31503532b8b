"""When tasks should start: computed ahead, so that no slow answer can put off the next question."""

from __future__ import annotations

import itertools
import math
import random
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import orjson

from runware_ws.emulator import parse_duration

__all__ = [
    "Arrivals",
    "ClosedModel",
    "Process",
    "Segment",
    "intended_starts",
    "parse_rate",
    "read_trace",
]

Process = Literal["constant", "poisson", "gamma"]
"""How starts are spread: evenly, at random, or in bursts."""

_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_SEGMENT = re.compile(rf"\s*{_NUMBER}\s*(?:\.\.\s*{_NUMBER})?\s*(?:/\s*([\w.]+))?\s*")
_MOST_STARTS = 50_000_000

MOST_BURST = 100.0
"""Beyond that nearly all starts of a run come in one moment, or none does."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A rate that goes from ``first`` to ``last`` tasks a second, evenly, over ``seconds``."""

    first: float
    last: float
    seconds: float

    def __post_init__(self) -> None:
        numbers = (self.first, self.last, self.seconds)
        if not all(map(math.isfinite, numbers)) or min(numbers) < 0 or not self.seconds:
            raise ValueError("a rate must be 0 or more, and last for some time")

    @property
    def count(self) -> float:
        """How many starts it has, on average."""
        return (self.first + self.last) / 2 * self.seconds

    def when(self, count: float) -> float:
        """After how many seconds so many starts are due."""
        if not count:
            return 0.0
        slope = (self.last - self.first) / self.seconds
        # The stable root of: first * t + slope / 2 * t² = count.
        root = math.sqrt(max(self.first * self.first + 2 * slope * count, 0.0))
        return min(2 * count / (self.first + root), self.seconds)


def parse_rate(text: str, duration: float | None = None) -> tuple[Segment, ...]:
    """Read ``"200"``, ``"50..500/60s"`` (a ramp) or ``"100/10s,200/10s"`` (steps).

    The last part may lack its time: it lasts for the rest of ``duration`` (seconds). A longer
    profile is cut there; ``None``: all parts have a time.

    Raises:
        ValueError: the text is none of these.
    """
    segments: list[Segment] = []
    parts = text.split(",")
    for number, part in enumerate(parts, 1):
        match = _SEGMENT.fullmatch(part)
        if match is None:
            raise ValueError(f"not a rate: {part!r}; write it like 200, 50..500/60s or 100/10s")
        first = float(match[1])
        last = first if match[2] is None else float(match[2])
        if match[3] is not None:
            seconds = parse_duration(match[3])
        elif number < len(parts) or duration is None:
            raise ValueError(f"{part!r} needs a time, like {part.strip()}/10s")
        else:
            seconds = duration - sum(segment.seconds for segment in segments)
            if seconds <= 0:
                break  # no time is left for it
        segments.append(Segment(first, last, seconds))
    kept = _cut(segments, duration)
    if not sum(segment.count for segment in kept):
        within = "" if duration is None else f" within {duration:g} s"
        raise ValueError(f"the rate {text!r} starts nothing{within}")
    return kept


def _cut(segments: Sequence[Segment], duration: float | None) -> tuple[Segment, ...]:
    kept: list[Segment] = []
    left = math.inf if duration is None else duration
    for segment in segments:
        if left <= 0:
            break
        if segment.seconds > left:
            share = left / segment.seconds
            last = segment.first + (segment.last - segment.first) * share
            segment = Segment(segment.first, last, left)
        kept.append(segment)
        left -= segment.seconds
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """An open model: starts that come whatever becomes of earlier tasks.

    ``burst`` is the coefficient of variation of the pauses of ``"gamma"``: 1 is Poisson, more
    comes in bursts. ``trace``: the starts themselves, in seconds, in place of a rate.
    """

    segments: tuple[Segment, ...] = ()
    process: Process = "constant"
    burst: float = 2.0
    trace: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.segments) == bool(self.trace):
            raise ValueError("arrivals need a rate or a trace")
        if not 0 < self.burst <= MOST_BURST:
            raise ValueError(f"burst must be a number above 0, and {MOST_BURST:g} at most")

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        if self.trace:
            return self.trace[-1]
        return sum(segment.seconds for segment in self.segments)


@dataclass(frozen=True, slots=True)
class ClosedModel:
    """A closed model: so many ``users``, each of whom waits for an answer, then for ``think``.

    A server that stands still stops the questions too, so its worst times are hardly asked
    for. Use it to see what a fixed number of users gets, not what a server does under a rate.
    """

    users: int
    seconds: float
    think: float = 0.0

    def __post_init__(self) -> None:
        if self.users < 1 or not self.seconds > 0 or not self.think >= 0:
            raise ValueError("a closed model needs users, seconds, and a pause of 0 or more")


def intended_starts(arrivals: Arrivals, seed: int = 0) -> array[float]:
    """All starts in seconds from the beginning, in order. The same seed gives the same starts."""
    if arrivals.trace:
        return array("d", arrivals.trace)
    total = sum(segment.count for segment in arrivals.segments)
    if total > _MOST_STARTS:
        raise ValueError(f"{total:.0f} starts are too many for one run")
    # A process of rate 1, whose time runs as fast as the rate is high. For a random process this
    # is exact, however the rate moves.
    return array("d", _stretched(_unit_times(arrivals, seed), arrivals.segments))


def _unit_times(arrivals: Arrivals, seed: int) -> Iterator[float]:
    if arrivals.process == "constant":
        yield from map(float, itertools.count())
    shape = 1.0 if arrivals.process == "poisson" else arrivals.burst**-2
    rng = random.Random(seed)
    at = 0.0
    while True:
        at += rng.gammavariate(shape, 1 / shape)
        yield at


def _stretched(times: Iterable[float], segments: Sequence[Segment]) -> Iterator[float]:
    counts = [0.0, *itertools.accumulate(segment.count for segment in segments)]
    begins = [0.0, *itertools.accumulate(segment.seconds for segment in segments)]
    for at in times:
        if at >= counts[-1] - 1e-9:
            return
        number = bisect_right(counts, at) - 1
        yield begins[number] + segments[number].when(at - counts[number])


def read_trace(path: Path) -> tuple[float, ...]:
    """Read starts from a file: a line each, seconds or an object with ``at``. The first is 0.

    Raises:
        ValueError: a line is neither, or there is none.
        OSError: the file cannot be read.
    """
    times: list[float] = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value: object = orjson.loads(line)
            if isinstance(value, dict):
                value = cast("dict[str, object]", value).get("at")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError("no number")
        except ValueError:
            raise ValueError(f'{path}:{number}: write seconds, or {{"at": seconds}}') from None
        times.append(float(value))
    if not times:
        raise ValueError(f"{path}: has no starts")
    times.sort()
    return tuple(at - times[0] for at in times)
