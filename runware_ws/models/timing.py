"""When the things happened that make up the life of one task."""

from __future__ import annotations

from typing import NamedTuple, Self

__all__ = ["UNTIMED", "Moments", "Timing"]

Moments = tuple[float | None, float | None, float | None, float | None]
"""Submitted, first written, first delta, ended: on the loop's clock. Made for each task, and so
bare; few are read."""

UNTIMED: Moments = (None, None, None, None)
"""Those of a result that was not submitted here: claimed, or read from a file."""


class Timing(NamedTuple):
    """The times of one task, in seconds since it was submitted; ``None``: it did not happen.

    Measured on the event loop's clock, which never jumps. ``submitted_at`` is the moment of the
    submission on that clock, as in ``handle.submitted_at``; the same clock's present is
    ``anyio.current_time()``. ``written``: the first time that it went to the socket or was posted.
    ``first_delta``: only streams have it. ``done``: the task ended, with a result or with an
    error; its caller may be told a moment later, with a journal once that is recorded.
    """

    submitted_at: float | None = None
    written: float | None = None
    first_delta: float | None = None
    done: float | None = None

    @classmethod
    def of(cls, moments: Moments) -> Self:
        """The same as seconds since the submission."""
        start = moments[0]
        if start is None:
            return cls()
        return cls(start, *(None if at is None else at - start for at in moments[1:]))
