"""Mutants of ``_core/recovery``: the ladder, its questions, and what their answers mean."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

__all__ = ["RECOVERY"]

_RECOVERY, _WORDS = "_core/recovery/recovery.py", "_core/recovery/words.py"
_RESENDING, _QUESTIONS = "_core/recovery/resending.py", "_core/recovery/questions.py"

RECOVERY = [
    Mutant(
        "a task is asked about once more while a question about it is open",
        _QUESTIONS,
        "        if record.ladder.question is not None:\n            return\n",
        "",
        "tests/core/test_second_tries.py::"
        "test_one_that_is_asked_about_before_there_is_room_for_it_is_asked_about_once",
    ),
    Mutant(
        "a freed question slot does not wake the writer",
        _RECOVERY,
        "        if self.questions.due:\n            self._out.wake = True\n        return True",
        "        return True",
        "tests/core/test_fine_rules_of_sockets.py::test_a_freed_question_slot_wakes_the_writer",
    ),
    Mutant(
        "questions have no window",
        _QUESTIONS,
        "if len(self.open) >= room or len(asked) >= min(most, self.window):",
        "if len(asked) >= min(most, self.window):",
        "tests/core/test_fine_rules.py::test_a_task_that_ends_leaves_its_question_to_nobody",
    ),
    Mutant(
        "a task is not asked about after its first question",
        _RECOVERY,
        "            self._ask_at(record, self._patient_until(record, kind))\n        return Frame",
        "        return Frame",
        "tests/core/test_fine_rules.py::"
        "test_an_error_is_said_once_for_each_question_however_many_results_it_is_about",
    ),
    Mutant(
        "one kind of question is enough to send again",
        _RECOVERY,
        "complete = ladder.asked_at >= at and exhausted == EVERY_QUESTION",
        "complete = ladder.asked_at >= at and exhausted > 0",
        "tests/core/test_fine_rules.py::"
        "test_trouble_says_nothing_about_the_task_so_the_same_question_is_asked_again",
    ),
    Mutant(
        "a question before the time of a resend counts",
        _RECOVERY,
        "complete = ladder.asked_at >= at and exhausted == EVERY_QUESTION",
        "complete = exhausted == EVERY_QUESTION",
        "tests/core/test_resending.py::test_it_does_not_wait_where_that_time_has_passed",
    ),
    Mutant(
        "trouble with every kind of question makes a task unknown",
        _RECOVERY,
        "if complete and ladder.unknown == EVERY_QUESTION:",
        "if complete:",
        "tests/core/test_odd_answers.py::test_where_no_question_is_answered_no_copy_is_sent",
    ),
    Mutant(
        "a kind of question that met trouble is put off when a lost task is overdue",
        _RECOVERY,
        "latest = now if soon else now + _HEAR_AGAIN",
        "latest = now if soon else FOREVER",
        "tests/core/test_odd_answers.py::"
        "test_one_denial_makes_up_for_another_kind_that_is_in_trouble",
    ),
    Mutant(
        "a whole that is not believed is asked for again and again",
        _RECOVERY,
        "if ladder.question is None and not (again and ladder.next_at != FOREVER):",
        "if ladder.question is None:",
        "tests/core/test_streams.py::"
        "test_a_whole_that_is_not_believed_is_not_asked_for_again_and_again",
    ),
    Mutant(
        "the kinds of question are asked in the same order on each socket",
        _QUESTIONS,
        "other = (ladder.misses + ladder.sockets // 2) % 2 == 1 and ladder.misses > 0",
        "other = ladder.misses % 2 == 1",
        "tests/core/test_recovery_many_cuts.py::"
        "test_questions_that_fail_soon_after_each_reconnect_succeed_later",
    ),
    Mutant(
        "an empty answer may be that of a kind which gets none",
        _QUESTIONS,
        "kinds = [kind for kind in open_kinds if not self.silent(kind)] or open_kinds",
        "kinds = open_kinds",
        "tests/core/test_nameless_answers.py::"
        "test_answers_that_name_nobody_are_not_those_of_a_kind_that_gets_none",
    ),
    Mutant(
        "named answers do not tell whom the empty ones are about",
        _QUESTIONS,
        "if not self._is_about_all(frame, len(mates)):",
        "if True:",
        "tests/core/test_nameless_answers.py::"
        "test_what_is_left_of_a_frame_after_the_named_answers_is_known_by_the_empty_ones",
    ),
    Mutant(
        "an empty answer is not about a task that ended meanwhile",
        _QUESTIONS,
        "if not answered:",
        "if False:",
        "tests/core/test_nameless_answers.py::"
        "test_an_empty_answer_may_be_about_a_task_that_ended_without_one",
    ),
    Mutant(
        "a result that was asked for leaves its question unanswered",
        "_core/recovery/recovery.py",
        "answered=record.recovered_by in ASKED",
        "answered=False",
        "tests/core/test_nameless_answers.py::"
        "test_an_empty_answer_may_be_about_a_task_that_ended_without_one",
    ),
    Mutant(
        "both kinds are asked together where their answers cannot be told apart",
        _QUESTIONS,
        "self._nameless = True",
        "self._nameless = False",
        "tests/core/test_nameless_answers.py::"
        "test_where_answers_name_nobody_the_kinds_are_asked_one_after_the_other",
    ),
    Mutant(
        "trouble with one kind of question puts off the other when a lost task is overdue",
        _RECOVERY,
        "soon = untaken or not ladder.troubled & question.other.bit",
        "soon = untaken",
        "tests/core/test_odd_answers.py::test_where_one_kind_met_trouble_the_other_"
        "is_asked_at_once_once_a_task_is_overdue",
    ),
    Mutant(
        "a task that the server has is sent again",
        _RECOVERY,
        "if ladder.confirmed or not may_send:",
        "if not may_send:",
        "tests/core/test_odd_answers.py::"
        "test_an_accepted_task_that_looks_unknown_while_it_runs_is_asked_for_to_the_end",
    ),
    Mutant(
        "resubmit never means nothing",
        _RECOVERY,
        '(ladder.disturbed and options.resubmit == "same-uuid")',
        "ladder.disturbed",
        "tests/core/test_posts_broken.py::test_never_means_never_for_streams_too",
    ),
    Mutant(
        "a resend waits for no duration",
        _RESENDING,
        "return max(registered, overdue_at(record, options))",
        "return registered",
        "tests/core/test_resending.py::"
        "test_where_no_kind_of_question_is_taken_it_still_waits_until_the_task_is_overdue",
    ),
    Mutant(
        "a resend waits for no registration",
        _RESENDING,
        "return max(registered, overdue_at(record, options))",
        "return overdue_at(record, options)",
        "tests/core/test_fine_rules.py::test_second_copies_of_several_tasks_do_not_go_out_together",
    ),
    Mutant(
        "resends do not spread",
        _RESENDING,
        "return place * min(max(resends, 0), MOST_SPREAD)",
        "return 0.0 * place * min(max(resends, 0), MOST_SPREAD)",
        "tests/core/test_fine_rules.py::test_second_copies_of_several_tasks_do_not_go_out_together",
    ),
    Mutant(
        "a denial of a task that may run exhausts a question",
        _RECOVERY,
        "if record.ladder.asked_at >= overdue_at(record, self._options):",
        "if record.ladder.asked_at >= 0.0:",
        "tests/core/test_resending.py::"
        "test_both_kinds_of_question_are_asked_behind_the_last_copy_and_behind_the_wait",
    ),
    Mutant(
        "a verdict is believed when it was repeated at once",
        _WORDS,
        "return word.times >= enough and now - word.since >= VERDICT_AFTER",
        "return word.times >= enough",
        "tests/core/test_questions.py::test_a_verdict_that_the_server_repeats_is_believed",
    ),
    Mutant(
        "a verdict is believed at once",
        _WORDS,
        "return word.times >= enough and now - word.since >= VERDICT_AFTER",
        "return word.times > 0",
        "tests/core/test_fine_rules.py::"
        "test_an_error_is_said_once_for_each_question_however_many_results_it_is_about",
    ),
    Mutant(
        "a verdict is never believed",
        _WORDS,
        "return word.times >= enough and now - word.since >= VERDICT_AFTER",
        "return word.times >= 1_000_000",
        "tests/core/test_fine_rules.py::"
        "test_an_error_is_said_once_for_each_question_however_many_results_it_is_about",
    ),
    Mutant(
        "a task that the server lost is lost at the first denial",
        _WORDS,
        "return times >= LOST_TIMES and now - since >= LOST_AFTER",
        "return times >= 1",
        "tests/core/test_fine_rules.py::test_denials_that_another_word_interrupts_start_anew",
    ),
    Mutant(
        "a task that the server lost is never given up",
        _WORDS,
        "return times >= LOST_TIMES and now - since >= LOST_AFTER",
        "return times >= 1_000_000",
        "tests/core/test_recovery_async.py::"
        "test_async_a_task_that_the_server_lost_ends_with_the_servers_word",
    ),
    Mutant(
        "an empty answer is always about the oldest question",
        _QUESTIONS,
        "(each for each in frames if not self._emptied.get(each)), next(iter(frames), 0)",
        "iter(frames), 0",
        "tests/core/test_questions.py::"
        "test_an_empty_answer_counts_for_a_task_that_was_never_confirmed",
    ),
    Mutant(
        "the archive is asked about a refused copy no more often than about others",
        _QUESTIONS,
        "other = other or (ladder.barred is not None and ladder.last_question is usual)",
        "pass",
        "tests/core/test_refused_copies.py::"
        "test_async_there_is_time_to_hear_it_repeated_where_polls_only_meet_trouble",
    ),
    Mutant(
        "each unreadable message asks again",
        "_core/recovery/doubts.py",
        "if now < self._quiet_until:",
        "if now < 0.0:",
        "tests/core/test_questions.py::"
        "test_messages_that_cannot_be_read_soon_after_one_are_acted_on_together",
    ),
    Mutant(
        "a replay that does not end holds questions back for ever",
        "_core/recovery/replay.py",
        "self.ends = max(self.ends, min(now + self._grace, self._latest))",
        "self.ends = max(self.ends, now + self._grace)",
        "tests/core/test_fine_rules_of_sockets.py::"
        "test_a_replay_without_end_holds_questions_back_for_some_seconds_only",
    ),
    Mutant(
        "a replay is over at once",
        "_core/recovery/replay.py",
        "        self.ends = now + self._grace\n",
        "        self.ends = now\n",
        "tests/core/test_recovery.py::test_rung_2_a_replayed_answer_is_taken_and_nothing_is_asked",
    ),
    Mutant(
        "the answers before the reply to the authentication are not counted",
        "_core/recovery/replay.py",
        "        self._replayed += 1\n",
        "",
        "tests/core/test_recovery.py::"
        "test_rung_2_a_replay_before_the_authentication_reply_is_taken_and_counted",
    ),
    Mutant(
        "what a replay held back is not asked about",
        _RECOVERY,
        "if not record.ended and record.ladder.next_at == FOREVER:",
        "if record.ended and record.ladder.next_at == FOREVER:",
        "tests/core/test_recovery.py::test_rung_2_a_replay_that_flows_holds_back_the_questions",
    ),
    Mutant(
        "the sweep after a reconnect stops after its first turn",
        _RECOVERY,
        "            if not record.ended and record.state >= WRITTEN:\n"
        "                self._recover(record, now)\n"
        "        self._out.rearm = True\n",
        "            if not record.ended and record.state >= WRITTEN:\n"
        "                self._recover(record, now)\n"
        "        self._sweep = None\n",
        "tests/core/test_recovery_many_cuts.py::"
        "test_a_reconnect_with_very_many_tasks_is_worked_off_in_pieces",
    ),
    Mutant(
        "open questions outlive their socket",
        _QUESTIONS,
        "        for record in self.open.values():\n            record.closed()\n",
        "",
        "tests/core/test_fault_table.py::TestTooBig::"
        "test_inbound_a_giant_result_is_searched_for_and_fails_its_task_only",
    ),
    Mutant(
        "the last question asks on where it was",
        _QUESTIONS,
        "other = record.is_last_call(ladder.asked_at) and ladder.last_question is usual",
        "other = ladder.last_question is usual",
        "tests/core/test_fine_rules_of_sockets.py::test_the_last_question_is_of_the_usual_kind",
    ),
    Mutant(
        "in the last two seconds what says that the task runs is asked alone",
        _QUESTIONS,
        "    if record.is_last_call(now):\n        if ladder.found",
        "    if False:\n        if ladder.found",
        "tests/core/test_questions.py::"
        "test_the_last_call_asks_the_other_way_though_the_one_says_that_the_task_runs",
    ),
    Mutant(
        "the last call begins with the archive though a poll has told of the task",
        _QUESTIONS,
        "        if ladder.found:\n            # A poll",
        "        if False:\n            # A poll",
        "tests/core/test_questions.py::"
        "test_the_last_call_begins_with_the_way_that_has_told_of_the_task",
    ),
    Mutant(
        "the last call waits for the questions about others",
        _QUESTIONS,
        "room = self.window * (1 + last_call)",
        "room = self.window",
        "tests/core/test_questions.py::"
        "test_the_last_call_of_a_task_does_not_wait_for_questions_about_others",
    ),
    Mutant(
        "a task that ends leaves its question open",
        _RECOVERY,
        "            self._close_question(record, now, answered=record.recovered_by in ASKED)\n",
        "",
        "tests/core/test_fine_rules.py::test_a_task_that_ends_leaves_its_question_to_nobody",
    ),
    Mutant(
        "what is about to be resent is resent though the server shows it",
        _RECOVERY,
        "        unplanned = self._close_question(record, now, answered=answered)\n"
        "        if self.resending.pop(record.uuid, None) is not None:\n",
        "        unplanned = self._close_question(record, now, answered=answered)\n"
        "        if self.resending.get(record.uuid) is not None:\n",
        "tests/core/test_fine_rules_of_sockets.py::"
        "test_what_is_about_to_be_sent_again_is_not_if_the_server_shows_it",
    ),
    Mutant(
        "a receipt is no proof",
        _RECOVERY,
        "            self._ask_later(record, now)\n"
        "        record.confirm()\n"
        "        record.progressed()",
        "            self._ask_later(record, now)\n        record.progressed()",
        "tests/core/test_hostile_peer.py::"
        "test_a_task_that_the_server_knows_before_it_was_written_takes_a_conflict_as_a_receipt",
    ),
    Mutant(
        "a resent frame that was not sent is reported",
        _RECOVERY,
        '        """Not one byte of the last frame went out: nothing was resent."""\n'
        "        self._resent = []\n",
        '        """Not one byte of the last frame went out: nothing was resent."""\n',
        "tests/core/test_resending.py::test_a_resend_that_was_not_sent_is_none",
    ),
    Mutant(
        "every answer of a resent task came by the resend",
        _RECOVERY,
        "if ladder.resends and not ladder.confirmed:",
        "if ladder.resends:",
        "tests/core/test_recovery.py::test_rung_4_a_conflict_after_our_resend_is_a_receipt",
    ),
    Mutant(
        "a poll goes on by turns though polls know more",
        _QUESTIONS,
        "            other = ladder.silences % 2 == 1 or ladder.misses % 3 == 2\n",
        "            pass\n",
        "tests/core/test_fine_rules_of_sockets.py::"
        "test_of_a_task_that_runs_polls_are_asked_more_often_than_the_archive",
    ),
    Mutant(
        "a poll that is not answered is followed by another",
        _QUESTIONS,
        "ladder.silences % 2 == 1 or ladder.misses % 3 == 2",
        "ladder.misses % 3 == 2",
        "tests/core/test_slow_servers.py::"
        "test_behind_a_poll_without_an_answer_the_archive_is_asked",
    ),
    Mutant(
        "a far server is asked when its answer cannot come in time any more",
        _QUESTIONS,
        "max(LAST_CALL, ROUND_TRIPS * self.round_trip)",
        "LAST_CALL",
        "tests/core/test_slow_servers.py::"
        "test_what_a_far_server_has_is_asked_for_while_there_is_time_for_the_answer",
    ),
    Mutant(
        "how long answers take is not measured",
        _QUESTIONS,
        "        self.round_trip = max(seconds, (3 * self.round_trip + seconds) / 4)\n",
        "        pass\n",
        "tests/core/test_slow_servers.py::"
        "test_a_server_that_is_near_and_answers_slowly_is_asked_in_time_as_well",
    ),
    Mutant(
        "an answer to a question that comes twice is the task's end",
        _WORDS,
        "return ladder.may_answer and meant(error) is not Meant.VERDICT",
        "return ladder.may_answer and _denies(error)",
        "tests/core/test_slow_servers.py::"
        "test_an_answer_to_a_question_that_comes_twice_ends_nothing",
    ),
    Mutant(
        "an error about a question is the task's",
        _WORDS,
        "if ladder.outstanding or (early and ladder.may_answer):",
        "if early and ladder.may_answer:",
        "tests/core/test_hostile_peer.py::"
        "test_an_error_that_answers_a_question_does_not_end_the_task",
    ),
    Mutant(
        "an error that names the question's type is the task's",
        _WORDS,
        "    if error.task_type in ABOUT_OTHERS:\n        return True\n",
        "",
        "tests/core/test_fine_rules.py::"
        "test_an_error_is_said_once_for_each_question_however_many_results_it_is_about",
    ),
    Mutant(
        "an account's trouble is the task's",
        _WORDS,
        "ErrorFamily.SERVER, ErrorFamily.AUTH, ErrorFamily.QUOTA}",
        "ErrorFamily.SERVER, ErrorFamily.AUTH}",
        "tests/core/test_questions.py::"
        "test_trouble_of_load_account_or_archive_is_never_the_tasks_end",
    ),
    Mutant(
        "the archive's trouble is the task's",
        _WORDS,
        "if fam in _NEVER_THE_TASKS or _TROUBLE.search(error.code[:200]):",
        "if fam in _NEVER_THE_TASKS:",
        "tests/core/test_questions.py::"
        "test_trouble_of_load_account_or_archive_is_never_the_tasks_end",
    ),
    Mutant(
        "a refused question is the task's verdict",
        _WORDS,
        "        return Meant.UNSUPPORTED\n",
        "        return Meant.VERDICT\n",
        "tests/core/test_recovery.py::"
        "test_rung_4_a_server_without_an_archive_is_asked_by_sending_the_same_task",
    ),
    Mutant(
        "anything that is not found is the task",
        _WORDS,
        "error.family is ErrorFamily.NOT_FOUND and _OF_A_TASK.fullmatch(code) is not None",
        "error.family is ErrorFamily.NOT_FOUND",
        "tests/core/test_hostile_peer.py::"
        "test_the_tasks_own_not_found_ends_it_though_a_question_is_open",
    ),
    Mutant(
        "a conflict after a resend is an error",
        _WORDS,
        "record.copied or ladder.disturbed or ladder.confirmed or ",
        "ladder.reused or ",
        "tests/core/test_archive.py::test_a_refusal_that_the_archive_keeps_is_a_receipt",
    ),
    Mutant(
        "a conflict of a second try is an error",
        _WORDS,
        "record.copied or ladder.disturbed",
        "record.sends > 1 or ladder.disturbed",
        "tests/core/test_fine_rules.py::test_a_conflict_of_a_second_try_is_a_receipt",
    ),
    Mutant(
        "a conflict of a task with a key is an error",
        _WORDS,
        " or record.entry is not None",
        "",
        "tests/journal/test_lost_journal.py",
    ),
    Mutant(
        "every conflict is a receipt",
        _WORDS,
        "return error.family is ErrorFamily.CONFLICT and (",
        "return error.family is ErrorFamily.CONFLICT or (False) and (",
        "tests/core/test_life.py::test_a_conflict_on_a_first_send_is_an_error_for_that_caller_only",
    ),
    Mutant(
        "what may be a failure of the task itself is surely the answer to a question",
        "_core/recovery/recovery.py",
        "if not verdict or error.task_type is not None:",
        "if error is not None:",
        "tests/core/test_questions.py::"
        "test_a_failure_without_a_type_may_come_before_the_answer_to_an_open_question",
    ),
    Mutant(
        "a kind of question that was answered before is taken to be mute",
        "_core/recovery/questions.py",
        "mute = question not in self._heard and question.other in self._heard",
        "mute = question.other in self._heard",
        "tests/core/test_resending.py::"
        "test_a_kind_that_was_answered_once_is_only_slow_and_gets_more_time",
    ),
    Mutant(
        "a kind of question that is never answered gets more and more time",
        "_core/recovery/recovery.py",
        "more = 0 if self.questions.silent(question) else ladder.silences",
        "more = ladder.silences",
        "tests/core/test_resending.py::"
        "test_a_kind_that_is_never_answered_holds_a_lost_request_up_for_two_timeouts",
    ),
    Mutant(
        "a mute kind of question is waited for twice for each task",
        "_core/recovery/recovery.py",
        "exhausted = ladder.exhausted | self.questions.mute",
        "exhausted = ladder.exhausted",
        "tests/core/test_resending.py::"
        "test_on_a_socket_where_a_kind_is_mute_one_silence_of_it_is_enough",
    ),
    Mutant(
        "asked one by one, a kind that is not answered holds up what the other would bring",
        _QUESTIONS,
        "            return now >= self._rests_until[kind]\n",
        "            return True\n",
        "tests/core/test_slow_servers.py::"
        "test_one_by_one_a_kind_that_is_not_answered_takes_half_of_the_time",
    ),
    Mutant(
        "questions that are never answered may fill the window",
        "_core/recovery/questions.py",
        "return kind if self._may_ask(kind, now) else kind.other",
        "return kind",
        "tests/core/test_resending.py::"
        "test_questions_that_are_never_answered_do_not_hold_up_those_that_are",
    ),
    Mutant(
        "a question that is closed keeps its place among those of its kind",
        "_core/recovery/questions.py",
        "        self._of_kind[kind] -= 1\n",
        "",
        "tests/core/test_resending.py::test_a_kind_that_is_answered_after_all_is_asked_again",
    ),
    Mutant(
        "what may not be asked now is asked for at once, again and again",
        "_core/recovery/recovery.py",
        "soon = soon and self.questions.next_kind(record, now) is not ladder.last_question",
        "soon = soon and True",
        "tests/core/test_resending.py::"
        "test_a_mute_kind_holds_many_lost_requests_up_no_longer_than_one",
    ),
    Mutant(
        "a question is waited for up to the deadline",
        "_core/recovery/recovery.py",
        "return ladder.asked_at + min(patience, rest)",
        "return ladder.asked_at + patience",
        "tests/core/test_resending.py::"
        "test_before_the_deadline_a_question_that_is_not_answered_leaves_time_for_the_other",
    ),
    Mutant(
        "a question that had little time counts as given up",
        "_core/recovery/recovery.py",
        "if now >= record.ladder.asked_at + self._options.question_timeout:",
        "if now >= record.ladder.asked_at:",
        "tests/core/test_resending.py::"
        "test_a_question_that_the_deadline_left_little_time_proves_no_kind_mute",
    ),
    Mutant(
        "a flood on one socket puts off what is asked on the next",
        "_core/recovery/doubts.py",
        "        self.due_at = FOREVER\n        self._count = 0\n        self._quiet_until = 0.0\n",
        "        self.due_at = FOREVER\n",
        "tests/core/test_questions.py::test_a_flood_on_one_socket_puts_nothing_off_on_the_next",
    ),
    Mutant(
        "one silence about many tasks counts for each of them",
        "_core/recovery/questions.py",
        "if record.ladder.asked_at >= self._given_up_at.get(question, 0.0):",
        "if record.ladder.asked_at >= 0.0:",
        "tests/core/test_resending.py::test_one_silence_about_many_tasks_proves_no_kind_mute",
    ),
    Mutant(
        "only a session that keeps its name replays answers to questions",
        "_core/recovery/recovery.py",
        "                record.another_socket()\n",
        "                record.another_socket()\n"
        "                if not resumed and record.ladder.may_answer:\n"
        "                    record.ladder.outstanding = 0\n",
        "tests/core/test_odd_answers.py::"
        "test_a_replayed_answer_to_a_question_of_the_dead_socket_ends_no_task",
    ),
    Mutant(
        "only a session that keeps its name joins old answers with new ones",
        "_core/recovery/replay.py",
        "return at < self._latest",
        "return at < self._latest and self._session_uuid != ''",
        "tests/core/test_odd_answers.py::"
        "test_whole_listings_that_a_replay_joins_name_each_result_once",
    ),
    Mutant(
        "the other question is asked over and over while a task may run",
        _RECOVERY,
        "            # It may still run, and the usual question is the one that will bring it.\n"
        "            record.progressed()\n",
        "            pass\n",
        "tests/core/test_questions.py::"
        "test_a_denial_while_the_task_may_run_leads_back_to_the_usual_question",
    ),
    Mutant(
        "an item that names nobody is asked about by all kinds",
        _RECOVERY,
        "alike = kind in (None, record.task_type)",
        "alike = True",
        "tests/core/test_shapes.py::test_one_of_another_kind_asks_nothing",
    ),
]
