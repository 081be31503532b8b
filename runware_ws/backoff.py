"""How long to wait before each dial: tenacity's wait strategies.

Full jitter spreads the dials of many clients that lose one server at the same
moment. The first redial stays quick (0-0.5 s), then the window grows by a
factor of about seven, up to 30 s. From the fourth dial on it has a floor of
10 s. With full jitter alone, up to 1.1 % of 10,000 clients that lost one server
dialled within the same 100 ms; with the floor it is below 1 %
(``tests/simulation/test_herd.py`` measures it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import tenacity

__all__ = ["Backoff", "Wait", "default_wait"]

Wait = Callable[[tenacity.RetryCallState], float]
"""A tenacity wait strategy."""


def default_wait() -> Wait:
    """Full jitter in 0-0.5 s, 0-4 s and 0-24 s, then 10-30 s from then on."""
    return tenacity.wait_chain(
        tenacity.wait_random(0, 0.5),
        tenacity.wait_random(0, 4),
        tenacity.wait_random(0, 24),
        tenacity.wait_random(10, 30),
    )


class Backoff:
    """A wait strategy as a plain function of the attempt: ``backoff(1)`` is the first delay."""

    def __init__(self, wait: Wait, *, cap: float) -> None:
        self._wait = wait
        self._cap = cap
        # Wait strategies read only attempt_number. The rest of the state belongs to
        # tenacity's own loop, which we do not use: the session core decides.
        self._state = tenacity.RetryCallState(cast(tenacity.Retrying, None), None, (), {})

    def __call__(self, attempt: int) -> float:
        """Draw the delay before dial number ``attempt`` (from 1), in seconds."""
        self._state.attempt_number = attempt
        return min(max(0.0, float(self._wait(self._state))), self._cap)
