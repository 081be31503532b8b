"""Mutants of recovery and answers that a second look found alive."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

__all__ = ["FINER_RECOVERY"]

FINER_RECOVERY = [
    Mutant(
        "a replay waits for what is polled",
        "_core/recovery/recovery.py",
        "awaited += record.pushed",
        "awaited += 1",
        "tests/core/test_finer_rules.py::test_a_replay_that_nobody_waits_for_is_over_at_once",
    ),
    Mutant(
        "a session that nothing was in is lost in silence",
        "_core/recovery/recovery.py",
        "elif at_risk or previous is not None:",
        "elif at_risk:",
        "tests/core/test_finer_rules.py::test_a_lost_session_is_told_though_nothing_was_at_risk",
    ),
    Mutant(
        "what usually takes long is asked for after twice as long",
        "_core/recovery/recovery.py",
        "usual = min(2 * record.learned.duration, self._options.question_backoff_cap)",
        "usual = 2 * record.learned.duration",
        "tests/core/test_finer_rules.py::"
        "test_what_usually_takes_long_is_asked_for_as_soon_as_anything_is",
    ),
    Mutant(
        "the pause behind a thousand questions is too large to count",
        "_core/recovery/recovery.py",
        "wait = FIRST_BACKOFF * 2 ** min(asked, 8)",
        "wait = FIRST_BACKOFF * 2**asked",
        "tests/core/test_finer_rules.py::test_a_task_without_a_deadline_is_asked_for_for_ever",
    ),
    Mutant(
        "resends share frames of any size",
        "_core/recovery/recovery.py",
        "if records and (record.ladder.alone or size + record.size > self._options.batch_bytes):",
        "if records and record.ladder.alone:",
        "tests/core/test_finer_rules.py::test_resends_share_frames_within_the_limit_in_bytes",
    ),
    Mutant(
        "what may be too big is sent again with others behind it",
        "_core/recovery/recovery.py",
        "            self._ask_at(record, now + self._after_resend(record))\n"
        "            if record.ladder.alone:\n"
        "                break\n",
        "            self._ask_at(record, now + self._after_resend(record))\n",
        "tests/core/test_finer_rules.py::"
        "test_what_may_be_too_big_is_sent_again_with_nobody_behind_it",
    ),
    Mutant(
        "a receipt for what waits to be sent again plans nothing",
        "_core/recovery/recovery.py",
        "        if self.resending.pop(record.uuid, None) is not None:\n"
        "            self._ask_later(record, now)\n"
        "        record.confirm()\n"
        "        record.progressed()",
        "        self.resending.pop(record.uuid, None)\n"
        "        record.confirm()\n"
        "        record.progressed()",
        "tests/core/test_finer_rules.py::"
        "test_what_waits_to_be_sent_again_and_is_shown_is_asked_for_again",
    ),
    Mutant(
        "a note about what waits to be sent again plans nothing",
        "_core/recovery/recovery.py",
        "        if self.resending.pop(record.uuid, None) is not None:\n"
        "            unplanned = True\n"
        "        record.confirm()",
        "        self.resending.pop(record.uuid, None)\n        record.confirm()",
        "tests/core/test_finer_rules.py::"
        "test_what_waits_to_be_sent_again_and_is_shown_is_asked_for_again",
    ),
    Mutant(
        "a late denial of what was asked too early counts",
        "_core/recovery/recovery.py",
        "if record.ladder.asked_at >= overdue_at(record, self._options):",
        "if now >= overdue_at(record, self._options):",
        "tests/core/test_finer_rules.py::"
        "test_a_denial_of_what_was_asked_before_a_task_was_overdue_counts_for_nothing",
    ),
    Mutant(
        "a replay that a cut ends is not told of",
        "_core/recovery/recovery.py",
        "        if self.ready:\n            self.replay.stop(now)\n",
        "        pass\n",
        "tests/core/test_finer_rules.py::test_a_replay_that_a_cut_ends_is_told_of",
    ),
    Mutant(
        "what a replay held back outlives its socket",
        "_core/recovery/recovery.py",
        "        self.held.clear()\n",
        "",
        "tests/core/test_finer_rules.py::test_what_a_replay_held_back_is_held_by_no_dead_socket",
    ),
    Mutant(
        "who was answered before its turn after a cut is recovered",
        "_core/recovery/recovery.py",
        "            if not record.ended and record.state >= WRITTEN:\n"
        "                self._recover",
        "            if record.state >= WRITTEN:\n                self._recover",
        "tests/core/test_finer_rules.py::"
        "test_tasks_that_are_answered_before_their_turn_after_a_cut_are_left_alone",
    ),
    Mutant(
        "trouble that is told twice counts twice",
        "_core/recovery/recovery.py",
        "        if was_open:\n            untaken",
        "        if True:\n            untaken",
        "tests/core/test_finer_rules_of_sockets.py::test_trouble_that_is_told_twice_is_told_once",
    ),
    Mutant(
        "what came of questions is remembered for ever",
        "_core/recovery/questions.py",
        "            if len(noted) > 2 * len(self.open):\n",
        "            if len(noted) > 1_000_000:\n",
        "tests/core/test_finer_rules.py::test_what_is_remembered_of_empty_answers_is_bounded",
    ),
    Mutant(
        "who is given up during a replay was replayed",
        "_core/recovery/replay.py",
        "        self._replayed += answered\n        self._awaited",
        "        self._replayed += 1\n        self._awaited",
        "tests/core/test_finer_rules.py::"
        "test_a_task_that_is_given_up_during_a_replay_was_not_replayed",
    ),
    Mutant(
        "a replay that nobody waits for goes on",
        "_core/recovery/replay.py",
        "        if not awaited:\n            self.end(now)\n",
        "",
        "tests/core/test_finer_rules.py::test_a_replay_that_nobody_waits_for_is_over_at_once",
    ),
    Mutant(
        "a refusal that may be the end is asked for without a pause",
        "_core/recovery/words.py",
        "return at if record.ladder.barred is not None and at > now else FOREVER",
        "return at if record.ladder.barred is not None else FOREVER",
        "tests/core/test_finer_rules.py::"
        "test_a_refusal_that_may_be_the_end_is_not_asked_for_without_a_pause_at_the_deadline",
    ),
    Mutant(
        "a conflict that a poll lists is the task's end",
        "_core/recovery/words.py",
        "error.family in (ErrorFamily.NOT_FOUND, ErrorFamily.CONFLICT)",
        "error.family is ErrorFamily.NOT_FOUND",
        "tests/core/test_finer_rules_of_sockets.py::test_a_conflict_that_a_poll_lists_is_a_receipt",
    ),
    Mutant(
        "the pauses of a flood double for ever",
        "_core/recovery/doubts.py",
        "self._count = min(self._count + 1, MOST_DOUBLINGS)",
        "self._count += 1",
        "tests/core/test_finer_rules.py::"
        "test_a_flood_that_lasts_an_hour_puts_nothing_off_for_longer_than_one_of_a_minute",
    ),
    Mutant(
        "polls that bring the same again are of use",
        "_core/answers.py",
        "        if not fresh and source is RecoveredBy.POLL:\n            record.miss()\n",
        "",
        "tests/core/test_finer_rules_of_sockets.py::"
        "test_polls_that_bring_the_same_again_are_followed_by_the_other_question",
    ),
    Mutant(
        "an outage teaches durations",
        "_core/answers.py",
        'if record.delivery != "async" or ladder.disturbed:',
        'if record.delivery != "async":',
        "tests/core/test_finer_rules_of_sockets.py::"
        "test_what_was_asked_for_behind_an_outage_teaches_no_duration",
    ),
    Mutant(
        "deltas of a stream that was given up wait for a reader",
        "_core/answers.py",
        "        deltas.pending.clear()\n        if last",
        "        if last",
        "tests/core/test_finer_rules.py::"
        "test_no_delta_of_a_stream_that_was_given_up_waits_for_a_reader",
    ),
    Mutant(
        "each note puts off the poll",
        "_core/answers.py",
        'if first and record.delivery not in ("sync", "stream"):',
        'if record.delivery not in ("sync", "stream"):',
        "tests/core/test_finer_rules_of_sockets.py::test_notes_that_come_often_put_off_no_poll",
    ),
    Mutant(
        "a delta before the reply to the authentication is the next",
        "_core/answers.py",
        "if broken or (elsewhere and not posted):",
        "if broken:",
        "tests/core/test_finer_rules_of_sockets.py::"
        "test_a_delta_before_the_reply_to_the_authentication_is_not_the_next",
    ),
]
