"""How fast a batch asks: as fast as the server takes it, and no faster.

:class:`Pacer` is TCP's rule for an unknown capacity (additive increase, multiplicative decrease)
over the number of lines in flight:

* An answer raises the limit by a small step: by one for each full round of answers.
* A *pushback* (the server has no room: rate, capacity) halves it, and all starts pause: for as long
  as the server asks (``Retry-After``), otherwise for a time that doubles with each pushback in a
  row and shrinks again with answers.
* Lines that were in flight when the limit was halved bring no further news: their pushbacks do
  not halve it again. They only make the pause longer where the server asks for it.

:class:`Retries` says which lines are tried again within the run, and when. :class:`SameEnd` notices
a run in which everything fails the same way. All of it is pure: the time is an argument, in seconds
of any clock that only goes forward.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from enum import Enum
from typing import Generic, TypeVar

from runware_ws.errors import (
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    HttpRefused,
    InvalidTask,
    OutcomeUnknown,
    RunwareError,
    TaskCancelled,
    TaskError,
)
from runware_ws.models.error_codes import ErrorFamily, family
from runware_ws.models.results import Result
from runware_ws.models.wire_errors import asked_pause

__all__ = ["Pacer", "Retries", "SameEnd", "Setback", "retry_after_of", "setback_of"]

_T = TypeVar("_T")

_PAUSE_FIRST = 0.25
_PAUSE_CAP = 15.0
_ASKED_CAP = 300.0  # A longer Retry-After is cut to this, as the client does.
_DECREASE = 0.5
_CAPACITY_CODES = ("noavailableserver", "serviceunavailable", "overloaded", "429", "503", "529")
_CAPACITY_STATUSES = (429, 503, 529)


class Setback(Enum):
    """What an outcome means for the pace.

    ``PUSHBACK``: the server has no room now; nothing was run. ``PASSING``: it may go well another
    time, and says nothing about room. ``FINAL``: another try would end the same way, or might run
    the work twice.
    """

    PUSHBACK = "pushback"
    PASSING = "passing"
    FINAL = "final"


def setback_of(answer: Result | RunwareError) -> Setback | None:
    """What an answer means for the pace and for another try; ``None``: it is a result."""
    if isinstance(answer, Result):
        return None
    if isinstance(answer, HttpRefused) and answer.status in _CAPACITY_STATUSES:
        return Setback.PUSHBACK
    if isinstance(answer, TaskError):
        code = answer.code.strip().lower()
        kind = answer.family or family(answer.code)
        if kind is ErrorFamily.RATE or code in _CAPACITY_CODES:
            return Setback.PUSHBACK
        return Setback.PASSING if answer.retryable else Setback.FINAL
    if isinstance(
        answer,
        AuthenticationError | ClientClosed | ConfigurationError | InvalidTask | TaskCancelled,
    ):
        return Setback.FINAL
    if isinstance(answer, ConnectionFailed | OutcomeUnknown):
        # The client has tried all that could be tried before it said so.
        return Setback.FINAL
    return Setback.PASSING if answer.safe_to_resend else Setback.FINAL


def retry_after_of(answer: Result | RunwareError) -> float | None:
    """How many seconds the server asks to wait; ``None`` if it does not say."""
    if isinstance(answer, HttpRefused):
        return answer.retry_after
    return asked_pause(answer.raw) if isinstance(answer, TaskError) else None


class Pacer:
    """How many lines may be in flight, and when the next may start.

    ``most``: the caller's own limit (``--concurrency``), where it begins. Ask :meth:`wait`; call
    :meth:`started` for each line that starts and :meth:`ended` with what it gave for each that
    ends.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError("most must be at least 1")
        self._most = most
        self._limit = float(most)
        self._in_flight = 0
        self._started = 0
        self._news_from = 0  # Only lines that started as this one or later bring news.
        self._full_at = 0  # The line with which the limit was reached last.
        self._pause = 0.0
        self._closed_until = -math.inf
        self.pushbacks = 0
        """How often the server had no room."""
        self.fruitless = 0
        """How many times in a row it was halved without any line that found room in between."""

    @property
    def limit(self) -> int:
        """How many lines may be in flight now: from 1 to ``most``."""
        return int(self._limit)

    @property
    def in_flight(self) -> int:
        """How many are."""
        return self._in_flight

    def wait(self, now: float) -> float | None:
        """Seconds until the next line may start: 0: now. ``None``: when one in flight has ended."""
        if self._in_flight >= self.limit:
            return None
        return max(0.0, self._closed_until - now)

    def started(self) -> int:
        """A line starts. Returns its number for :meth:`ended`."""
        self._in_flight += 1
        self._started += 1
        if self._in_flight >= self.limit:
            self._full_at = self._started
        return self._started

    def ended(
        self, number: int, now: float, setback: Setback | None, retry_after: float | None = None
    ) -> None:
        """A line ended. ``retry_after``: what the server asks, in seconds."""
        self._in_flight -= 1
        if setback is Setback.PUSHBACK:
            self._push_back(number, now, retry_after)
            return
        self.fruitless = 0
        if setback is None:
            self._pause *= _DECREASE
            # Who does not use the limit learns nothing about it.
            if self._news_from <= number <= self._full_at:
                self._limit = min(float(self._most), self._limit + 1 / self._limit)

    def _push_back(self, number: int, now: float, retry_after: float | None) -> None:
        self.pushbacks += 1
        if number >= self._news_from:
            self._limit = max(1.0, self._limit * _DECREASE)
            self._news_from = self._started + 1
            self.fruitless += 1
            self._pause = min(_PAUSE_CAP, max(_PAUSE_FIRST, self._pause * 2))
            self._closed_until = max(self._closed_until, now + self._pause)
        if retry_after is not None:
            self._closed_until = max(self._closed_until, now + min(retry_after, _ASKED_CAP))


class Retries(Generic[_T]):
    """Lines that are tried again within the run.

    ``most``: how often a line is tried again (``--retries``). A pushback does not count while
    other lines are answered, because then the server has room, only not for all at once: it counts
    if no line got its result since this one was refused before (or first started).

    Take what is :meth:`due` before lines that were not sent yet.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tries: dict[int, int] = {}
        self._since: dict[int, int] = {}
        self._waiting: list[tuple[float, int, _T]] = []
        self._number = 0
        self._results = 0

    def __len__(self) -> int:
        """Lines that wait for another try."""
        return len(self._waiting)

    def started(self, key: int) -> None:
        """A line is sent, for the first time or again."""
        self._since.setdefault(key, self._results)

    def ended(self, key: int, *, result: bool) -> None:
        """A line has its final answer."""
        self._results += result
        self._tries.pop(key, None)
        self._since.pop(key, None)

    def again(
        self, key: int, line: _T, now: float, setback: Setback, retry_after: float | None = None
    ) -> bool:
        """Whether a line that failed is tried again: then it waits here; otherwise that is its end.

        A pushback waits for the :class:`Pacer` only, or as long as the server asks. Any other
        setback waits longer with each try.
        """
        pushback = setback is Setback.PUSHBACK
        others = self._results > self._since.get(key, self._results)
        tries = self._tries.get(key, 0) + (not (pushback and others))
        if setback is Setback.FINAL or not self._most or tries > self._most:
            return False
        self._tries[key], self._since[key] = tries, self._results
        pause = min(retry_after or 0.0, _ASKED_CAP)
        if not pushback:
            pause = max(pause, min(_PAUSE_CAP, _PAUSE_FIRST * 2 ** min(tries - 1, 10)))
        self._number += 1
        heapq.heappush(self._waiting, (now + pause, self._number, line))
        return True

    def wait(self, now: float) -> float | None:
        """Seconds until the next is due; ``None``: none waits."""
        return max(0.0, self._waiting[0][0] - now) if self._waiting else None

    def due(self, now: float) -> _T | None:
        """Take the one that has waited longest of those that are due; ``None``: none is."""
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        return None

    def left(self) -> list[_T]:
        """Take all that wait, at the end of a run that ends early."""
        lines = [line for _, _, line in sorted(self._waiting, key=lambda each: each[:2])]
        self._waiting.clear()
        return lines


class SameEnd:
    """Notices that everything fails the same way, so that a run stops before it burns all lines.

    That is: so many lines in a row (``after``) end with the same error, and no line of the run
    ended in any other way; or, later too, an error that is about the account, not about a line.
    Lines that no task can be made of do not count: they cost nothing. ``rounds``: so often in a row
    the server may refuse everything for want of room (:attr:`Pacer.fruitless`).
    """

    def __init__(self, after: int = 20, rounds: int = 8) -> None:
        self._after, self._rounds = after, rounds
        self._same: tuple[str, str] | None = None
        self._first = 0
        self._streak = 0
        self.counts: Counter[str] = Counter()
        """How many lines ended how: ``"result"``, or an error's type and code."""

    def ended(self, line: int, answer: Result | RunwareError) -> str | None:
        """Take up the final answer of a line; why the run should stop now, or ``None``."""
        if isinstance(answer, InvalidTask):
            return None
        if isinstance(answer, Result):
            self._same, self._streak = None, 0
            self.counts["result"] += 1
            return None
        code = str(getattr(answer, "code", None) or "")
        same = (type(answer).__name__, code)
        self.counts[" ".join(filter(None, same))] += 1
        if same != self._same:
            self._same, self._first, self._streak = same, line, 0
        # Lines end in any order: the first is the one that stands first in the input.
        self._first = min(self._first, line)
        self._streak += 1
        alone = self._streak == self.counts.total()
        if self._streak < self._after or not (alone or _about_account(answer)):
            return None
        if setback_of(answer) is Setback.FINAL:
            cure = "mend the cause, then run it again with --retry-errors"
        else:
            cure = "run it again later: it tries these lines again"
        which = f"all {self._streak} lines so far" if alone else f"the last {self._streak} lines"
        return (
            f"stopped early: {which} ended with the same error, the first of them line "
            f"{self._first}: {code or same[0]}: {answer.message}: {cure}"
        )

    def refused(self, line: int, answer: RunwareError, fruitless: int) -> str | None:
        """A line was pushed back, and may be tried again; why the run should stop now, or ``None``.

        No line is lost by that: those without an answer are left for the next run.
        """
        if fruitless < self._rounds:
            return None
        code = str(getattr(answer, "code", None) or type(answer).__name__)
        return (
            f"stopped early: {fruitless} times in a row the server had room for no line, at last "
            f"for line {line}: {code}: {answer.message}: run it again later"
        )


def _about_account(answer: RunwareError) -> bool:
    if not isinstance(answer, TaskError):
        return False
    kind = answer.family or family(answer.code)
    return kind in (ErrorFamily.QUOTA, ErrorFamily.AUTH)
