"""How long an emulated generation takes."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Latency", "parse_duration", "parse_latency"]

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "": 1.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(us|ms|s|m|)\s*", re.ASCII)
_FORMS = '"50ms", "10ms-200ms", "exp:50ms" or "lognormal:50ms,0.5"'


def parse_duration(text: str) -> float:
    """Read ``"50ms"``, ``"1.5s"``, ``"2m"``, ``"100us"`` or bare seconds; returns seconds.

    Raises:
        ValueError: the text is none of these.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a duration: {text!r}; write it like 50ms, 1.5s or 2m")
    return float(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of durations in seconds.

    ``constant``: always ``low``. ``uniform``: between ``low`` and ``high``. ``exp``:
    exponential with mean ``low``. ``lognormal``: median ``low``, shape ``high``.
    """

    kind: Literal["constant", "uniform", "exp", "lognormal"] = "constant"
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for negative bounds or bounds in the wrong order."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("a latency must be finite")
        if self.low < 0 or self.high < 0:
            raise ValueError("a latency must not be negative")
        if self.kind == "uniform" and self.high < self.low:
            raise ValueError("a latency range must have its lower bound first")

    @property
    def is_zero(self) -> bool:
        """Whether every sample is 0."""
        return self.low == 0 and (self.kind != "uniform" or self.high == 0)

    def sample(self, rng: random.Random) -> float:
        """Draw one duration in seconds."""
        if self.kind == "constant" or self.is_zero:
            return self.low
        if self.kind == "uniform":
            return rng.uniform(self.low, self.high)
        if self.kind == "exp":
            return rng.expovariate(1.0 / self.low)
        return rng.lognormvariate(math.log(self.low), self.high)


def parse_latency(value: str | float | Latency) -> Latency:
    """Make a :class:`Latency` from a number of seconds or from text.

    Text is ``"50ms"``, ``"10ms-200ms"``, ``"exp:50ms"`` or ``"lognormal:50ms,0.5"``.

    Raises:
        ValueError: the text is none of these, or a number is negative or not finite.
    """
    if isinstance(value, Latency):
        return value
    if not isinstance(value, str):
        return Latency("constant", float(value))
    kind, colon, rest = value.strip().partition(":")
    try:
        if colon and kind == "exp":
            return Latency("exp", parse_duration(rest))
        if colon and kind == "lognormal":
            median, _, shape = rest.partition(",")
            return Latency("lognormal", parse_duration(median), float(shape or "0.5"))
        low, dash, high = value.partition("-")
        if dash:
            return Latency("uniform", parse_duration(low), parse_duration(high))
        return Latency("constant", parse_duration(value))
    except ValueError as exc:
        raise ValueError(f"not a latency: {value!r}; write it like {_FORMS}") from exc
