"""Which attempt a retry joins."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from runware_ws.gateway.attempts import Attempt, Attempts, RequestIdentity
from runware_ws.journal.store import EntryHead, EntryState

ASKED = RequestIdentity("ann", None, "b0d7", 0, 600.0)
WALL = 1_000_000.0


@dataclass(eq=False)
class Line:
    """A connection."""

    gone: bool = False

    async def look(self) -> bool:
        return self.gone


def attempts() -> Attempts:
    return Attempts(window=900.0, most=3, most_bytes=1_000)


def tried(asked: RequestIdentity, times: int) -> RequestIdentity:
    return replace(asked, retry=times)


def waited_for(attempt: Attempt) -> Line:
    line = Line()
    attempt.waiters.add(line)
    return line


def leaves(known: Attempts, attempt: Attempt, line: Line, *, answered: bool, now: float) -> None:
    attempt.waiters.discard(line)
    known.left(attempt, answered=answered, now=now)


def head(key: str, state: EntryState, ended: float | None) -> EntryHead:
    return EntryHead("uuid", f"{ASKED.prefix}{key}", state, WALL - 100, ended)


def test_equal_first_tries_are_different_requests() -> None:
    known = attempts()
    assert known.first(ASKED, 0.0).key != known.first(ASKED, 0.0).key


def test_a_retry_joins_what_lost_its_client_and_nobody_joins_it_twice() -> None:
    known = attempts()
    one, other = known.first(ASKED, 0.0), known.first(ASKED, 1.0)
    line, _ = waited_for(one), waited_for(other)
    retry = tried(ASKED, 1)
    assert known.joined(retry, (), 2.0, WALL) is None  # both clients still wait
    line.gone = True
    assert known.joined(retry, (), 2.0, WALL) is one
    assert known.joined(retry, (), 2.0, WALL) is None
    assert known.joined(tried(ASKED, 2), (), 2.0, WALL) is one


def test_what_was_missed_comes_before_what_was_answered() -> None:
    known = attempts()
    answered, missed = known.first(ASKED, 0.0), known.first(ASKED, 1.0)
    for attempt in (answered, missed):
        attempt.begun = True
        leaves(known, attempt, waited_for(attempt), answered=attempt is answered, now=2.0)
    assert known.joined(tried(ASKED, 1), (), 3.0, WALL) is missed
    assert known.joined(tried(ASKED, 1), (), 3.0, WALL) is answered


def test_an_answer_that_went_out_long_ago_has_arrived() -> None:
    known = attempts()
    attempt = known.first(ASKED, 0.0)
    attempt.begun = True
    leaves(known, attempt, waited_for(attempt), answered=True, now=2.0)
    assert known.joined(tried(ASKED, 1), (), 903.0, WALL) is None
    assert known.joined(tried(ASKED, 1), (), 902.0, WALL) is attempt


def test_what_was_refused_is_no_answer_that_was_missed() -> None:
    known = attempts()
    answered, refused = known.first(ASKED, 0.0), known.first(ASKED, 1.0)
    answered.begun = True
    for attempt in (answered, refused):
        leaves(known, attempt, waited_for(attempt), answered=True, now=attempt.opened_at)
    assert known.joined(tried(ASKED, 1), (), 3.0, WALL) is answered
    assert known.joined(tried(ASKED, 1), (), 3.0, WALL) is None


def test_a_client_that_waits_longer_than_it_said_has_gone() -> None:
    known = attempts()
    attempt = known.first(ASKED, 0.0)
    waited_for(attempt)
    assert known.joined(tried(ASKED, 1), (), 600.0, WALL) is None
    assert known.joined(tried(ASKED, 1), (), 601.0, WALL) is attempt


def test_the_second_retry_prefers_its_own_chain() -> None:
    known = attempts()
    one, other = known.first(ASKED, 0.0), known.first(ASKED, 1.0)
    assert known.joined(tried(ASKED, 1), (), 2.0, WALL) is one
    # ``one`` has had a retry, ``other`` has not: the second retry is that of ``one``.
    assert known.joined(tried(ASKED, 2), (), 3.0, WALL) is one
    assert known.joined(tried(ASKED, 1), (), 4.0, WALL) is other


def test_callers_and_bodies_are_apart() -> None:
    known = attempts()
    known.first(ASKED, 0.0)
    for other in (replace(ASKED, caller="bob"), replace(ASKED, body="b0d8")):
        assert known.joined(tried(other, 1), (), 1.0, WALL) is None


def test_what_an_earlier_life_of_the_gateway_left_in_the_journal() -> None:
    known = attempts()
    heads = [
        head("old", EntryState.DONE, WALL - 1_000),
        head("done", EntryState.DONE, WALL - 10),
        head("later", EntryState.DONE, WALL - 5),
        head("open", EntryState.OPEN, None),
    ]
    retry = tried(ASKED, 1)
    joined = [known.joined(retry, heads, 0.0, WALL) for _ in range(4)]
    keys = [None if each is None else each.key.removeprefix(ASKED.prefix) for each in joined]
    assert keys == ["open", "later", "done", None]


def test_a_named_request_has_one_attempt() -> None:
    known = attempts()
    named = replace(ASKED, key="k")
    assert known.named(named, 0.0) is known.named(replace(named, body="b0d8"), 1.0)
    assert known.named(replace(named, caller="bob"), 0.0) is not known.named(named, 0.0)


def test_what_is_remembered_is_bounded() -> None:
    known = attempts()
    for number in range(10):
        attempt = known.first(replace(ASKED, body=str(number)), 0.0)
        leaves(known, attempt, waited_for(attempt), answered=True, now=1.0)
    assert len(known) == 3
    large = known.first(replace(ASKED, body="large"), 0.0)
    known.ended(large, 2_000)
    assert len(known) == 0
    assert not known.joined(tried(replace(ASKED, body="large"), 1), (), 1.0, WALL)


@pytest.mark.parametrize("retry", [1, 5])
def test_a_first_try_that_never_came(retry: int) -> None:
    assert attempts().joined(tried(ASKED, retry), (), 0.0, WALL) is None
