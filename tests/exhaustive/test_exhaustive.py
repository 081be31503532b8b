"""Every order of inputs keeps the promises, and planted breaches are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runware_ws._core import answers, task_errors
from runware_ws._core.answers import Answers
from runware_ws._core.recovery import recovery
from runware_ws._core.recovery.recovery import Recovery
from runware_ws._core.recovery.resending import overdue_at
from runware_ws._core.tasks import items
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._core.tasks.table import TaskTable
from tests.exhaustive.explore import Found, explore, replay
from tests.exhaustive.settings import BOUNDED, LONG, every
from tests.exhaustive.snapshot import fingerprint, freeze, thaw
from tests.exhaustive.world import Broken, Setting

ONE = Setting("one task", results=(1,), delivery=("sync",), stalls=2)
TWO_RESULTS = replace(ONE, name="two results", results=(2,), fate="twice", stalls=0)
PAIR = Setting("two tasks", stalls=0)


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(setting, id=setting.name, marks=[pytest.mark.slow] if setting in LONG else [])
        for setting in (*BOUNDED, *LONG)
    ],
)
def test_every_order_of_inputs_keeps_the_promises(setting: Setting) -> None:
    found = explore(setting)
    assert not found.broken, found
    assert found.complete
    # Not for want of trying: there are ways on which a lost request was sent again.
    assert found.resends
    assert any("DONE" in ends for ends in found.ends)


@pytest.mark.slow
@pytest.mark.parametrize("setting", list(every(1, 1, 0))[::6], ids=lambda setting: setting.name)
def test_each_sixth_setting_keeps_the_promises_for_one_task(setting: Setting) -> None:
    found = explore(setting)
    assert found.complete, found
    assert not found.broken, found


def test_a_world_goes_on_from_bytes_as_it_would_have() -> None:
    """Each way of a whole exploration, played anew from the start, comes to the same state."""
    begun = replay(PAIR, ())
    waiting = [begun]
    compared = 0
    while waiting and compared < 300:
        world = waiting.pop()
        for action in list(world.actions())[:2]:
            following = thaw(freeze(world))
            following.do(action)
            assert fingerprint(following) == fingerprint(replay(PAIR, tuple(following.trail)))
            waiting.append(following)
            compared += 1
    assert compared >= 300


def test_the_order_of_independent_steps_leads_to_one_state() -> None:
    begin = (("read", 1), ("submit", 0), ("submit", 1), ("arrive", 0), ("read", 1), ("read", 1))
    one = replay(PAIR, (*begin, ("register", 0), ("register", 1)))
    other = replay(PAIR, (*begin, ("register", 1), ("register", 0)))
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(replay(PAIR, (*begin, ("register", 0))))


# What is found if it is broken


def broken(setting: Setting) -> Found:
    """The breach that an exploration finds; its trail leads there again."""
    found = explore(setting, most=20_000)
    assert found.broken, found
    return found


def test_a_copy_sent_on_the_first_denial_is_executed_twice() -> None:
    found = broken(replace(ONE, early=True, resend_after=0.0, punctual=False))
    assert found.broken.startswith("I5")
    with pytest.raises(Broken, match="I5"):
        replay(replace(ONE, early=True, resend_after=0.0, punctual=False), found.trail)


def test_a_copy_of_a_running_task_is_needless() -> None:
    assert broken(replace(ONE, early=True)).broken.startswith("needless")


Patch = Callable[[pytest.MonkeyPatch], Setting]


def _copies_are_taken_as_new(patch: pytest.MonkeyPatch) -> Setting:
    patch.setattr(items, "_same", lambda one, other: False)  # pyright: ignore
    return TWO_RESULTS


def _a_conflict_is_the_end(patch: pytest.MonkeyPatch) -> Setting:
    def wrong(_record: Any, _error: Any) -> bool:
        return False

    for module in (answers, task_errors):
        patch.setattr(module, "is_receipt", wrong)
    return replace(ONE, punctual=False, stalls=0)


def _an_answer_goes_to_the_first_task(patch: pytest.MonkeyPatch) -> Setting:
    right = Answers.straight

    def wrong(self: Any, record: Any, item: Any, now: float) -> None:
        first = next(iter(self._table.tasks.values()), record)
        right(self, first if first.sends else record, item, now)

    patch.setattr(Answers, "straight", wrong)
    return PAIR


def _asked_before_the_answer_counts(patch: pytest.MonkeyPatch) -> Setting:
    def wrong(record: Any, options: Any, _answered_at: float) -> float:
        return overdue_at(record, options)

    patch.setattr(recovery, "resend_at", wrong)
    return replace(ONE, punctual=False)


def _nobody_asks_after_a_cut(patch: pytest.MonkeyPatch) -> Setting:
    right = Recovery.last_call

    def wrong(self: Any, record: Any, now: float) -> None:
        right(self, record, now)
        self._out.wake = False

    def forgotten(self: Any, record: Any, now: float) -> None:
        record.cut(2, now)

    patch.setattr(Recovery, "last_call", wrong)
    patch.setattr(Recovery, "_recover", forgotten)
    return replace(ONE, stalls=0)


def _a_late_answer_is_the_open_questions(patch: pytest.MonkeyPatch) -> Setting:
    right, exhaust = Recovery.denied, TaskRecord.exhaust

    def wrong(self: Any, record: Any, now: float, _asked: Any = None, **_options: bool) -> bool:
        return right(self, record, now, record.ladder.question)

    def at_once(self: Any, question: Any, *, sure: bool = True, unknown: int = 0) -> None:
        exhaust(self, question, sure=True, unknown=unknown)

    patch.setattr(Recovery, "denied", wrong)
    # Silence counts only the second time: that alone would hold.
    patch.setattr(TaskRecord, "exhaust", at_once)
    # The usual question comes back again and again, so only what is often late misleads.
    return replace(ONE, resumes=False, fate="lost", stalls=3)


def _an_end_is_told_twice(patch: pytest.MonkeyPatch) -> Setting:
    right = TaskTable.note

    def wrong(self: Any, record: Any) -> None:
        right(self, record)
        if record.items:
            self._out.ended(record)

    patch.setattr(TaskTable, "note", wrong)
    return replace(ONE, stalls=0)


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (_copies_are_taken_as_new, "I3"),
        (_a_conflict_is_the_end, "failed"),
        (_an_answer_goes_to_the_first_task, "I2"),
        pytest.param(_asked_before_the_answer_counts, "I5", marks=pytest.mark.slow),
        (_nobody_asks_after_a_cut, "ended as"),
        (_a_late_answer_is_the_open_questions, "needless"),
        (_an_end_is_told_twice, "I1"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_planted_breach_is_found(
    plant: Patch, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert words in broken(plant(monkeypatch)).broken
