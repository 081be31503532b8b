"""The history checker finds each way to break the promise, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runware_ws import (
    OutcomeUnknown,
    RecoveredBy,
    StreamInterrupted,
    Submitted,
    TaskError,
    TaskTimeout,
)
from runware_ws._history import Breach, Ended, Executed, verdict

UUID = "00000000-0000-4000-8000-000000000001"
RAN = Executed(
    runs=1,
    outputs=("one", "two"),
    expected=2,
    received=True,
    tellable=True,
    codes=("inferenceError",),
    ways=(RecoveredBy.REPLAY, RecoveredBy.ARCHIVE),
)
NEVER = Executed(expected=2)
ANSWERED = Ended(UUID, ("two", "one"), recovered_by=RecoveredBy.REPLAY, left=True, copies=1)


def _unknown(submitted: Submitted) -> Ended:
    error = OutcomeUnknown("unknown", task_uuid=UUID, submitted=submitted)
    return Ended(UUID, error=error, left=submitted is not Submitted.NO)


def _failed(code: str, *, copies: int = 1, outputs: tuple[str, ...] = ()) -> Ended:
    error = TaskError("failed", task_uuid=UUID, code=code, submitted=Submitted.YES)
    return Ended(UUID, outputs, error=error, left=True, copies=copies)


def _breaches(executed: Executed, ended: Ended) -> set[Breach]:
    return {finding.breach for finding in verdict(executed, ended)}


GOOD = {
    "answered": (RAN, ANSWERED),
    "twins": (replace(RAN, outputs=("one", "one")), replace(ANSWERED, outputs=("one", "one"))),
    "unknown, and nobody could tell": (replace(RAN, tellable=False), _unknown(Submitted.MAYBE)),
    "failed, as was said": (RAN, _failed("inferenceError")),
    "failed beside a result": (RAN, _failed("inferenceError", outputs=("two",))),
    "resent": (RAN, replace(ANSWERED, recovered_by=RecoveredBy.RESUBMIT, copies=2)),
    "nobody knows by what it left": (
        replace(RAN, ways=None),
        replace(ANSWERED, recovered_by=RecoveredBy.RESUBMIT, copies=2),
    ),
    "maybe, and nobody looked": (NEVER, replace(_unknown(Submitted.MAYBE), left=None)),
    "a copy that was answered live": (
        replace(RAN, ways=(RecoveredBy.LIVE,)),
        replace(ANSWERED, copies=2),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_promise_that_was_kept(name: str) -> None:
    assert verdict(*GOOD[name]) == []


BAD = {
    "lost": (RAN, _unknown(Submitted.MAYBE), Breach.LOST),
    "ran twice": (replace(RAN, runs=2), ANSWERED, Breach.RUN_TWICE),
    "came twice": (RAN, replace(ANSWERED, outputs=("one", "one")), Breach.DELIVERED_TWICE),
    "another's": (RAN, replace(ANSWERED, outputs=("one", "three")), Breach.WRONG),
    "a part": (RAN, replace(ANSWERED, outputs=("one",)), Breach.WRONG),
    "never ran": (replace(NEVER, expected=0), replace(ANSWERED, outputs=()), Breach.WRONG),
    "about a question": (RAN, _failed("archiveUnavailable"), Breach.UNEXPECTED),
    "its own receipt": (
        replace(RAN, codes=("conflictTaskUUID",)),
        _failed("conflictTaskUUID", copies=2),
        Breach.UNEXPECTED,
    ),
    "said yes": (NEVER, _unknown(Submitted.YES), Breach.DISHONEST_SUBMITTED),
    "said no": (
        replace(RAN, tellable=False),
        _unknown(Submitted.NO),
        Breach.DISHONEST_SUBMITTED,
    ),
    "said live": (
        RAN,
        replace(ANSWERED, recovered_by=RecoveredBy.LIVE),
        Breach.DISHONEST_RECOVERED_BY,
    ),
    "said resubmit": (
        RAN,
        replace(ANSWERED, recovered_by=RecoveredBy.RESUBMIT),
        Breach.DISHONEST_RECOVERED_BY,
    ),
    "said resubmit of what was asked for": (
        replace(RAN, ways=(RecoveredBy.POLL, RecoveredBy.ARCHIVE)),
        replace(ANSWERED, recovered_by=RecoveredBy.RESUBMIT, copies=2),
        Breach.DISHONEST_RECOVERED_BY,
    ),
    "said replay of what was asked for": (
        replace(RAN, ways=(RecoveredBy.ARCHIVE,)),
        replace(ANSWERED, copies=2),
        Breach.DISHONEST_RECOVERED_BY,
    ),
    "said anything, and nothing left": (
        replace(RAN, ways=()),
        ANSWERED,
        Breach.DISHONEST_RECOVERED_BY,
    ),
    "said maybe": (
        NEVER,
        replace(_unknown(Submitted.MAYBE), left=False),
        Breach.DISHONEST_SUBMITTED,
    ),
    "said no to what only left": (
        NEVER,
        replace(_unknown(Submitted.NO), left=True),
        Breach.DISHONEST_SUBMITTED,
    ),
    "an error of another task": (
        RAN,
        replace(_failed("inferenceError"), task_uuid=UUID.replace("1", "2")),
        Breach.DISHONEST_SUBMITTED,
    ),
    "another's beside an error": (
        RAN,
        _failed("inferenceError", outputs=("three",)),
        Breach.WRONG,
    ),
    "twice beside an error": (
        RAN,
        _failed("inferenceError", outputs=("one", "one")),
        Breach.DELIVERED_TWICE,
    ),
    "neither a result nor an error": (RAN, Ended(UUID), Breach.WRONG),
    "lost as a timeout": (
        RAN,
        Ended(UUID, error=TaskTimeout("late", task_uuid=UUID, submitted=Submitted.YES)),
        Breach.LOST,
    ),
    "lost as a stream that broke": (
        RAN,
        Ended(
            UUID,
            error=StreamInterrupted("cut", text="o", task_uuid=UUID, submitted=Submitted.YES),
        ),
        Breach.LOST,
    ),
    "ran twice, and failed": (
        replace(RAN, runs=2),
        _failed("inferenceError"),
        Breach.RUN_TWICE,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_broken_promise(name: str) -> None:
    executed, ended, breach = BAD[name]
    assert _breaches(executed, ended) == {breach}
