"""Mutants of what is made of an answer."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

__all__ = ["ANSWERS"]

_ANSWERS, _ERRORS = "_core/answers.py", "_core/task_errors.py"
_ARCHIVE = "_core/inbound/archive.py"

ANSWERS = [
    Mutant(
        "the pauses between questions go on growing over sockets",
        "_core/tasks/record.py",
        "            ladder.asks_before = ladder.asks + 1\n",
        "",
        "tests/core/test_recovery_many_cuts.py::"
        "test_questions_that_fail_soon_after_each_reconnect_succeed_later",
    ),
    Mutant(
        "a task that the archive lists beside another took as long as since it was asked about",
        "_core/answers.py",
        "learned.took(now - record.written_at)",
        "learned.took(ladder.asked_at - record.written_at)",
        "tests/core/test_resending.py::"
        "test_a_task_that_the_archive_lists_beside_another_teaches_nothing_too_short",
    ),
    Mutant(
        "the archive teaches nothing about tasks whose polls fail",
        "_core/answers.py",
        "            learned.took(now - record.written_at)\n",
        "            pass\n",
        "tests/core/test_resending.py::"
        "test_polled_tasks_are_learned_from_the_archive_where_every_poll_fails",
    ),
    Mutant(
        "an empty answer is none",
        _ANSWERS,
        "                if self._recovery.empty(now):\n",
        "                if False:\n",
        "tests/core/test_questions.py::"
        "test_an_empty_answer_counts_for_a_task_that_was_never_confirmed",
    ),
    Mutant(
        "an unreadable message raises no doubt",
        _ANSWERS,
        "            self._recovery.doubt(now)\n",
        "            pass\n",
        "tests/core/test_questions.py::"
        "test_after_a_message_that_cannot_be_read_its_tasks_are_asked_for_soon",
    ),
    Mutant(
        "a stream that is given up in an outage is read for ever",
        "_core/core.py",
        "            # Those that were given up meanwhile.\n"
        "            self._table.left.socket_lost()\n",
        "",
        "tests/core/test_posts_given_up.py::"
        "test_a_socket_stream_that_is_given_up_in_an_outage_is_not_read_for_ever",
    ),
    Mutant(
        "there is no last question",
        "_core/core.py",
        "            self._recovery.last_call(record, now)\n",
        "            pass\n",
        "tests/core/test_questions.py::test_the_last_call_asks_both_ways",
    ),
    Mutant(
        "a replayed answer is called live",
        _ANSWERS,
        "            record.took([item], _REPLAY)\n",
        "            record.took([item], _LIVE)\n",
        "tests/core/test_fine_rules_of_sockets.py::"
        "test_what_comes_before_the_reply_to_the_authentication_is_a_replay",
    ),
    Mutant(
        "the second copy in one message ends the task twice",
        _ANSWERS,
        "        if record.state >= DONE:\n            # The same answer",
        "        if record.state > DONE:\n            # The same answer",
        "tests/core/test_fine_rules.py::test_two_copies_of_an_answer_in_one_message_are_one",
    ),
    Mutant(
        "a caller's question has one item",
        _ANSWERS,
        "record.task_type not in READ_ONLY or record.state is not DONE",
        "True",
        "tests/core/test_shapes.py::test_the_answer_to_a_callers_question_is_all_that_came_with_it",
    ),
    Mutant(
        "a listing of the archive belongs to whoever was asked about",
        _ARCHIVE,
        "default = uuid if _was_alone(item) else None",
        "default = uuid",
        "tests/core/test_archive.py::test_what_names_no_task_in_a_shared_request_is_nobodys",
    ),
    Mutant(
        "entries of a listing go to the task that was asked about",
        _ARCHIVE,
        "uuid = owner_of(entry) or default",
        "uuid = default or owner_of(entry)",
        "tests/core/test_fine_rules.py::"
        "test_what_names_another_task_is_its_own_though_the_request_held_one",
    ),
    Mutant(
        "what a listing says of other tasks is not read",
        _ANSWERS,
        "if each != uuid and other is not None and not other.posted:",
        "if each == uuid and other is not None:",
        "tests/core/test_archive.py::test_a_listing_of_the_whole_array_gives_each_task_its_own",
    ),
    Mutant(
        "only the first of the errors that the archive has is heard",
        _ANSWERS,
        "error = (ends or errors)[0]",
        "error = errors[0]",
        "tests/core/test_archive.py::test_a_verdict_beside_a_refusal_of_a_copy_is_the_end",
    ),
    Mutant(
        "the error of one of several results ends a task whose other one runs",
        "_core/inbound/router.py",
        "if error.task_uuid not in runs]",
        "if True]",
        "tests/core/test_recovery_async.py::"
        "test_async_the_error_of_one_of_several_results_beside_another_that_runs_waits",
    ),
    Mutant(
        "what had come of several results is lost with the task",
        "_core/tasks/table.py",
        "            for item in record.items:\n",
        "            for item in ():\n",
        "tests/core/test_second_tries.py::test_some_of_several_that_came_in_time_are_not_lost",
    ),
    Mutant(
        "a late receipt waits for a claim",
        _ANSWERS,
        "if asked and is_empty(item):",
        "if False:",
        "tests/core/test_second_tries.py::test_async_a_late_receipt_is_no_answer",
    ),
    Mutant(
        "a refusal in the archive is the answer",
        _ANSWERS,
        "        if is_receipt(record, error):\n"
        "            self._recovery.receipt(record, now)\n"
        "        elif ends or",
        "        if False:\n            self._recovery.receipt(record, now)\n        elif True or",
        "tests/core/test_archive.py::test_a_refusal_that_the_archive_keeps_is_a_receipt",
    ),
    Mutant(
        "an error without an address is the only task's",
        _ERRORS,
        "if len(tasks) != 1 or connection.tasks_written != 1 or connection.offered:",
        "if len(tasks) != 1:",
        "tests/core/test_hostile_peer.py::"
        "test_an_error_without_a_task_is_not_blamed_on_the_one_that_is_left",
    ),
    Mutant(
        "an error that names nobody raises no doubt",
        _ERRORS,
        "                self._recovery.doubt(now, error.task_type)",
        "                pass",
        "tests/core/test_questions.py::"
        "test_an_error_that_names_nobody_may_be_anybodys_so_it_is_asked_for_soon",
    ),
    Mutant(
        "pushed results after a cut of a stream are believed",
        _ANSWERS,
        "sure = not deltas.suspended or source in _WHOLE",
        "sure = True",
        "tests/core/test_streams.py::"
        "test_a_whole_that_is_pushed_after_a_cut_is_believed_once_the_archive_says_the_same",
    ),
    Mutant(
        "late deltas of a second try are handed on",
        _ANSWERS,
        "broken = ladder.disturbed or ladder.reused or",
        "broken = ladder.disturbed or",
        "tests/core/test_streams.py::"
        "test_a_second_try_does_not_take_the_first_ones_deltas_for_its_own",
    ),
    Mutant(
        "equal pushed results are not asked about",
        _ANSWERS,
        "can tell them apart.\n            self._recovery.ask_soon(record, now)\n",
        "can tell them apart.\n            pass\n",
        "tests/core/test_life.py::"
        "test_equal_results_without_an_index_are_told_from_copies_by_the_archive",
    ),
    Mutant(
        "a delta that nobody can read is left out",
        "_core/tasks/deltas.py",
        'if _is_strange(item.get("delta")):',
        'if _is_strange(item.get("delta")) and False:',
        "tests/core/test_deltas.py::test_a_wrongly_typed_delta_is_a_hole",
    ),
    Mutant(
        "a stream with a hole is not asked about before its end",
        _ANSWERS,
        "            elif not posted:\n                self._recovery.ask_soon(record, now)\n",
        "",
        "tests/core/test_holes.py::test_a_piece_that_cannot_be_read_is_no_silent_hole",
    ),
    Mutant(
        "the questions of a first try have one answer",
        "_core/tasks/record.py",
        "self.ladder.outstanding = ANY_NUMBER\n",
        "self.ladder.outstanding = 1\n",
        "tests/core/test_second_tries.py::"
        "test_what_answers_questions_of_the_first_try_does_not_end_the_second",
    ),
    Mutant(
        "a replay brings no answers to questions of a first try",
        "_core/tasks/record.py",
        "ANY_NUMBER if ladder.may_answer else 0",
        "ANY_NUMBER if ladder.asks else 0",
        "tests/core/test_second_tries.py::"
        "test_what_answers_questions_of_the_first_try_does_not_end_the_second",
    ),
    Mutant(
        "the second error about a question is another answer",
        "_core/task_errors.py",
        "elif more and error.task_type != record.task_type:",
        "elif more and not error.code:",
        "tests/core/test_questions.py::test_two_errors_in_one_message_are_one_answer_to_a_question",
    ),
    Mutant(
        "a late poll is one only where nothing was asked since",
        _ANSWERS,
        "        polled = ladder.polls or ladder.reused\n",
        "        polled = ladder.last_question is QuestionType.POLL or ladder.reused\n",
        "tests/core/test_questions.py::"
        "test_a_poll_that_is_answered_late_is_told_as_one_whatever_was_asked_since",
    ),
    Mutant(
        "what tells a status is a poll that nobody asked",
        _ANSWERS,
        "        polled = ladder.polls or ladder.reused\n",
        "        polled = ladder.asks or ladder.reused\n",
        "tests/core/test_questions.py::test_what_tells_a_status_is_no_poll_where_none_was_asked",
    ),
    Mutant(
        "a piece that names nobody leaves no hole",
        _ANSWERS,
        "            self._lost_piece_at = now\n",
        "            pass\n",
        "tests/core/test_holes.py::test_a_piece_that_names_nobody_may_be_anybodys",
    ),
    Mutant(
        "a stream that was given up is kept with a hole",
        _ANSWERS,
        "            record.deltas.hole()\n            if record.ended:\n"
        "                self._table.forget_left(uuid)\n",
        "            if not record.ended:\n                record.deltas.hole()\n",
        "tests/core/test_holes.py::test_a_stream_that_was_given_up_is_not_kept_with_a_hole",
    ),
    Mutant(
        "a denial that names nobody is only a notice",
        _ERRORS,
        "elif meant(error) is Meant.DENIAL and",
        "elif False and",
        "tests/core/test_nameless_answers.py::"
        "test_a_denial_that_names_nobody_is_as_an_empty_answer",
    ),
    Mutant(
        "an item that names nobody is forgotten",
        _ANSWERS,
        "            self._recovery.doubt(now, kind)\n",
        "            pass\n",
        "tests/core/test_shapes.py::"
        "test_a_result_that_names_nobody_is_counted_and_its_kind_is_asked_for_soon",
    ),
    Mutant(
        "a null status is one",
        _ANSWERS,
        'tells_status = items[0].get("status") is not None',
        'tells_status = "status" in items[0]',
        "tests/core/test_shapes.py::"
        "test_equal_results_with_a_null_status_are_pushed_and_not_listed",
    ),
    Mutant(
        "an acknowledgement that the archive keeps is a result",
        _ANSWERS,
        "return [entry for entry in entries if meaning_for(record, entry) is not Meaning.RECEIPT]",
        "return [entry for entry in entries if record]",
        "tests/core/test_shapes.py::"
        "test_async_an_acknowledgement_that_the_archive_keeps_is_no_result",
    ),
    Mutant(
        "what failed without a verdict of the server counts as answered",
        "_core/tasks/table.py",
        "(state is FAILED and isinstance(error, TaskError))",
        "state is FAILED",
        "tests/core/test_second_tries.py::"
        "test_what_ended_without_a_verdict_of_the_server_may_be_asked_for_again",
    ),
    Mutant(
        "an empty answer never shows that a kind which was given up is answered",
        "_core/recovery/questions.py",
        "if len(kinds) == 1:",
        "if len(kinds) == 1 and not any(map(self._given_up.get, kinds)):",
        "tests/core/test_nameless_answers.py::"
        "test_a_kind_that_was_given_up_is_asked_again_whichever_answers_were_lost",
    ),
    Mutant(
        "what an answer to several questions leaves out is waited for as if nothing had come",
        "_core/recovery/questions.py",
        "if not (self._nameless or self._joined):",
        "if not self._nameless:",
        "tests/core/test_nameless_answers.py::"
        "test_what_the_answer_to_several_leaves_out_is_asked_about_again_soon",
    ),
    Mutant(
        "what an answer by name leaves out is waited for, though this server gives empty ones",
        "_core/recovery/questions.py",
        "if not (self._nameless or self._joined):",
        "if not self._joined:",
        "tests/core/test_nameless_answers.py::"
        "test_what_a_server_that_gives_empty_answers_leaves_out_is_asked_about_again_soon",
    ),
    Mutant(
        "what a slow answer in parts has not told yet is left out",
        "_core/recovery/recovery.py",
        "until = told_at + EMPTY_GRACE",
        "until = now",
        "tests/core/test_nameless_answers.py::"
        "test_what_a_slow_answer_in_parts_has_not_told_yet_is_not_left_out",
    ),
    Mutant(
        "a status of the archive counts as no answer",
        "_core/answers.py",
        "answered=by_archive or record.ladder.told)",
        "answered=record.ladder.told)",
        "tests/core/test_nameless_answers.py::"
        "test_what_the_answer_to_several_leaves_out_is_asked_about_again_soon",
    ),
]
