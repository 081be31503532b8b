"""Was the promise kept? What the server did to tasks, against what their callers were told.

The server's side of a task is an :class:`Executed`, the caller's an :class:`Ended`;
:func:`verdict` compares them. It knows no server and no client, so whatever runs tasks
against a server that can be asked may use it: simulation, chaos and load alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from runware_ws.errors import (
    OutcomeUnknown,
    RunwareError,
    StreamInterrupted,
    Submitted,
    TaskError,
    TaskTimeout,
)
from runware_ws.models.results import RecoveredBy

__all__ = ["Breach", "Ended", "Executed", "Finding", "of_outputs", "verdict"]


class Breach(StrEnum):
    """How the promise can be broken."""

    LOST = "lost"
    """The server could tell the answer, and the caller did not get it."""
    RUN_TWICE = "run twice"
    DELIVERED_TWICE = "delivered twice"
    WRONG = "wrong"
    """A result that is not this task's, or not all of it."""
    UNEXPECTED = "unexpected"
    """An error that nobody said about it."""
    DISHONEST_SUBMITTED = "dishonest submitted"
    DISHONEST_RECOVERED_BY = "dishonest recovered_by"


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of the promise. ``words`` tell people what was found."""

    breach: Breach
    task_uuid: str
    words: str


@dataclass(frozen=True, slots=True)
class Executed:
    """What the server knows of one task.

    ``runs``: how often it was executed. ``outputs``: what it made, one text for each result;
    equal texts are different results. ``expected``: how many results the whole is. ``received``:
    the request arrived. ``tellable``: the server could have told the answer in time. ``codes``:
    of errors that were said about it. ``ways``: on which ways results of it left the server;
    ``None`` where that is not known.
    """

    runs: int = 0
    outputs: tuple[str, ...] = ()
    expected: int = 1
    received: bool = False
    tellable: bool = False
    codes: Collection[str] = ()
    ways: Collection[RecoveredBy] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What the caller of one task was told: results or an ``error``.

    ``outputs`` are as those of :class:`Executed`; beside an error, the results that came before
    it. ``left``: bytes of the request left the client, in this try or an earlier one. ``copies``:
    how often it was sent. Either is ``None`` where that is not known.
    """

    task_uuid: str
    outputs: tuple[str, ...] = ()
    error: RunwareError | None = None
    recovered_by: RecoveredBy | None = None
    left: bool | None = None
    copies: int | None = None


def verdict(executed: Executed, ended: Ended) -> list[Finding]:
    """All that is wrong with the end of one task; empty where the promise was kept."""
    found = [*_runs(executed), *of_outputs(executed.outputs, ended.outputs)]
    if ended.error is None:
        found += _result(executed, ended)
    else:
        found += _error(executed, ended, ended.error)
        found += _submitted(executed, ended, ended.error)
    return [Finding(breach, ended.task_uuid, words) for breach, words in found]


_Found = tuple[Breach, str]

_PUSHED = frozenset({RecoveredBy.LIVE, RecoveredBy.REPLAY})


def _runs(executed: Executed) -> Iterable[_Found]:
    if executed.runs > 1:
        yield Breach.RUN_TWICE, f"ran {executed.runs} times"


def of_outputs(made: Iterable[str], came: Iterable[str]) -> list[_Found]:
    """What is wrong with the results that came, of those that were made; they may be a part."""
    made = Counter(made)
    found: list[_Found] = []
    for output, times in Counter(came).items():
        if output not in made:
            found.append((Breach.WRONG, f"got {output!r}"))
        elif times > made[output]:
            found.append((Breach.DELIVERED_TWICE, f"got {output!r} {times} times"))
    return found


def _result(executed: Executed, ended: Ended) -> Iterable[_Found]:
    if not executed.runs:
        yield Breach.WRONG, "has a result, and never ran"
    if len(ended.outputs) != executed.expected:
        yield Breach.WRONG, f"has {len(ended.outputs)} of {executed.expected} results"
    way, copies = ended.recovered_by, ended.copies
    if way is None:
        return
    if way is RecoveredBy.RESUBMIT and copies is not None and copies < 2:
        yield Breach.DISHONEST_RECOVERED_BY, "says resubmit, and was sent once"
        return
    # What answers a copy is pushed, live or after another cut.
    means = _PUSHED if way is RecoveredBy.RESUBMIT else {way}
    ways = executed.ways
    if ways is None or not means.isdisjoint(ways):
        return
    if way is RecoveredBy.REPLAY and copies is not None and copies > 1 and RecoveredBy.LIVE in ways:
        # Which of several copies is answered over the socket that carried the last, nobody can
        # tell.
        return
    told = ", ".join(sorted(ways)) or "no way"
    yield Breach.DISHONEST_RECOVERED_BY, f"says {way}, and its results left by {told}"


def _error(executed: Executed, ended: Ended, error: RunwareError) -> Iterable[_Found]:
    late = isinstance(error, OutcomeUnknown | TaskTimeout | StreamInterrupted)
    if late and executed.tellable:
        yield Breach.LOST, f"ended {type(error).__name__}, and the server had its answer"
    if not isinstance(error, TaskError):
        return
    if error.code not in executed.codes:
        yield Breach.UNEXPECTED, f"ended with {error.code}, which was not said about it"
    if error.code == "conflictTaskUUID" and ended.copies is not None and ended.copies > 1:
        yield Breach.UNEXPECTED, "failed of its own receipt"


def _submitted(executed: Executed, ended: Ended, error: RunwareError) -> Iterable[_Found]:
    if error.submitted is Submitted.YES and not executed.received:
        yield Breach.DISHONEST_SUBMITTED, "says submitted=yes, and it never arrived"
    if error.submitted is Submitted.NO and (executed.received or ended.left):
        yield Breach.DISHONEST_SUBMITTED, "says submitted=no, and it was sent"
    if error.submitted is Submitted.MAYBE and ended.left is False and not executed.received:
        yield Breach.DISHONEST_SUBMITTED, "says submitted=maybe, and nothing of it was sent"
    if error.task_uuid != ended.task_uuid:
        yield Breach.DISHONEST_SUBMITTED, f"its error names {error.task_uuid}"
