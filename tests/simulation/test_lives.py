"""Processes that die, from seeds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from runware_ws._core.tasks.record import TaskRecord
from runware_ws.journal.keeper import JournalKeeper
from tests.simulation.lives import play_lives

LOTS = 10

HAPPENED = (
    "killed: at any time",
    "killed: before a commit",
    "killed: commit",
    "killed: before a send",
    "killed: after a send",
    "fenced",
    "told a result",
    "told TaskError",
    "told JournalError",
    "told Fenced",
    "told OutcomeUnknown",
    "told TaskCancelled",
    "journal: model: away",
    "journal: model: broken",
    "replay",
    # Streams.
    "killed: a delta",
    "killed amid a stream",
    "a stream that a death cut is told by run",
    "a stream that a death cut is told by recovered",
    "archive lists pieces: frame",
    # Posts.
    "http: post done",
    "http: post cut",
)
HAPPENED_LATER = (
    "conflict",
    "a stream that a death cut is told by stream",
    "http: post refused",
    "http: post unreached",
)
"""In the second lot."""


@pytest.mark.parametrize(
    "lot", [pytest.param(lot, marks=[pytest.mark.slow] if lot > 1 else []) for lot in range(LOTS)]
)
def test_all_invariants_hold(lot: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(20 * lot, 20 * lot + 20):
        lives = play_lives(seed)
        assert lives.problems == [], f"python -m tests.simulation --lives --story --seed {seed}"
        seen += lives.story.seen
    wanted = {0: HAPPENED, 1: HAPPENED_LATER}.get(lot, ())
    assert [state for state in wanted if not seen[state]] == []


def test_a_run_is_the_same_each_time() -> None:
    assert play_lives(3).story.digest() == play_lives(3).story.digest()


def test_what_is_told_before_it_is_recorded_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_: Any, records: Any) -> Any:
        return records

    monkeypatch.setattr(JournalKeeper, "ended", ended)
    assert any("was not recorded" in " ".join(play_lives(seed).problems) for seed in range(5))


def test_a_last_piece_that_is_taken_for_the_whole_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def deaf(_: Any) -> None:
        pass

    monkeypatch.setattr(TaskRecord, "_hear_pieces", deaf)
    assert any("finishReason" in " ".join(play_lives(seed).problems) for seed in range(20))


def test_what_is_sent_before_it_is_entered_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    enter = JournalKeeper.enter

    def hasty(self: Any, record: Any) -> None:
        enter(self, record)
        if record in self._entering:
            self._core.entered(record, 1000.0)

    monkeypatch.setattr(JournalKeeper, "enter", hasty)
    assert any("not in the journal" in " ".join(play_lives(seed).problems) for seed in range(5))
