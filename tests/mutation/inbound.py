"""Mutants of what is read: of a message of the socket, and of the answer to a POST."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

__all__ = ["INBOUND"]

INBOUND = [
    Mutant(
        "an entry of the archive is known by its type only",
        "_core/inbound/meaning.py",
        'return "request" in item and not has_output(item)',
        "return False",
        "tests/core/test_archive.py::"
        "test_an_entry_is_known_by_request_and_response_whatever_its_type",
    ),
    Mutant(
        "a bare item with a price is a result",
        "_core/inbound/meaning.py",
        '(record.delivery == "async" or about) and is_empty(item):',
        '(record.delivery == "async" or about) and False:',
        "tests/core/test_questions.py::test_a_receipt_with_more_fields_is_a_receipt",
    ),
    Mutant(
        "a receipt may hold nothing but its envelope",
        "_core/inbound/meaning.py",
        "if len(item) <= len(ACKNOWLEDGING) and item.keys() <= ACKNOWLEDGING:",
        'if item.keys() <= {"taskType", "taskUUID"}:',
        "tests/core/test_questions.py::test_a_note_about_a_sync_task_is_not_its_answer",
    ),
    Mutant(
        "a taskUUID in capitals is a stranger's",
        "_core/inbound/router.py",
        "                uuid = uuid.lower()\n                record = tasks.get(uuid)\n",
        "",
        "tests/core/test_life.py::test_a_result_for_nobody_is_kept_for_a_claim",
    ),
    Mutant(
        "an item of another task is mixed into a POST's",
        "_core/inbound/router.py",
        'return not isinstance(uuid, str) or uuid.lower() in ("", record.uuid)',
        "return not isinstance(uuid, str) or bool(record.uuid)",
        "tests/core/test_posts.py::test_items_belong_to_their_request_unless_they_name_another",
    ),
    Mutant(
        "an item without a taskUUID in a POST's answer is nobody's",
        "_core/inbound/router.py",
        'return not isinstance(uuid, str) or uuid.lower() in ("", record.uuid)',
        'return isinstance(uuid, str) and uuid.lower() in ("", record.uuid)',
        "tests/core/test_posts.py::test_items_belong_to_their_request_unless_they_name_another",
    ),
    Mutant(
        "the peer's pings prove life",
        "_core/inbound/router.py",
        "if type(reading) is not Control or not _is_their_ping(reading.item):",
        "if reading:",
        "tests/core/test_liveness.py::test_the_pings_of_the_peer_are_no_sign_of_life",
    ),
    Mutant(
        "listings that a replay joins count their equal results",
        "_core/answers.py",
        "listing=listing and not said.partial",
        "listing=listing",
        "tests/core/test_odd_answers.py::test_two_listings_in_one_frame_name_each_result_once",
    ),
    Mutant(
        "whole listings that a replay joins count their equal results",
        "_core/answers.py",
        "listing = not self._recovery.replay.may_bring(ladder.asked_at)",
        "pass",
        "tests/core/test_odd_answers.py::"
        "test_whole_listings_that_a_replay_joins_name_each_result_once",
    ),
    Mutant(
        "a replay is never over",
        "_core/recovery/replay.py",
        "return at < self._latest",
        "return True",
        "tests/core/test_odd_answers.py::"
        "test_whole_listings_that_a_replay_joins_name_each_result_once",
    ),
    Mutant(
        "the answer to a first try's poll is called live",
        "_core/answers.py",
        "polled = ladder.polls or ladder.reused",
        "polled = ladder.polls",
        "tests/core/test_second_tries.py::test_an_answer_to_a_poll_of_the_first_try_is_a_polls",
    ),
    Mutant(
        "what a resumed session replays is blamed on the task in question",
        "_core/blame.py",
        "None if asked is None or self._connection.offered else asked.uuid",
        "None if asked is None else asked.uuid",
        "tests/core/test_hostile_peer.py::"
        "test_what_a_resumed_session_replays_is_not_blamed_on_the_task_in_question",
    ),
    Mutant(
        "a short frame is never searched for long integers",
        "_core/wire.py",
        "if again != data:",
        "if not again:",
        "tests/models/test_models_exact.py::test_a_frame_of_any_length_is_exact",
    ),
    Mutant(
        "the sleep of the host is a task's duration",
        "_core/core.py",
        "        self._out.jumped_at = now\n",
        "",
        "tests/core/test_resending.py::test_what_slept_with_the_host_has_no_duration",
    ),
    Mutant(
        "a timer on time is a sleep of the host",
        "_core/core.py",
        "self._too_late = deadline + JUMP",
        "self._too_late = deadline - JUMP",
        "tests/core/test_resending.py::test_what_ran_while_timers_came_due_on_time_has_a_duration",
    ),
    Mutant(
        "an error that may refuse a copy leaves the question open",
        "_core/task_errors.py",
        "            self._recovery.ask_again(record, now)\n",
        "            pass\n",
        "tests/core/test_second_tries.py::"
        "test_a_verdict_that_polls_bring_is_heard_often_enough_before_the_deadline",
    ),
    Mutant(
        "a request is to blame though a result is looked for",
        "_core/blame.py",
        "if uuids and asked is None:",
        "if uuids:",
        "tests/core/test_hostile_peer.py::"
        "test_a_request_is_not_blamed_while_a_question_about_a_result_is_open",
    ),
    Mutant(
        "each copy that is refused counts as the server that insists",
        "_core/task_errors.py",
        "record.barred(error.code, now) or not self.is_end_after_copy",
        "(record.barred(error.code, now) and False) or not self.is_end_after_copy",
        "tests/core/test_refused_copies.py::"
        "test_one_refusal_for_each_copy_is_not_the_server_that_insists",
    ),
    Mutant(
        "a refusal that may be the end is asked for when it is too late to hear it repeated",
        "_core/recovery/words.py",
        "return at if record.ladder.barred is not None and at > now else FOREVER",
        "return FOREVER",
        "tests/core/test_refused_copies.py::"
        "test_there_is_time_to_hear_such_a_refusal_as_often_as_it_takes",
    ),
    Mutant(
        "an error that the archive lists beside results has to be late",
        "_core/answers.py",
        "beside=bool(results)",
        "beside=False",
        "tests/core/test_refused_copies.py::"
        "test_what_the_archive_lists_beside_results_is_soon_the_end",
    ),
    Mutant(
        "an error beside results may for ever answer an older question",
        "_core/recovery/words.py",
        "VERDICT_TIMES + min(older, word.first)",
        "VERDICT_TIMES + older",
        "tests/core/test_refused_copies.py::"
        "test_an_error_beside_results_is_the_end_though_older_questions_may_be_answered",
    ),
    Mutant(
        "an error beside results answers no older question",
        "_core/recovery/words.py",
        "VERDICT_TIMES + min(older, word.first)",
        "VERDICT_TIMES",
        "tests/core/test_refused_copies.py::"
        "test_an_error_beside_results_is_the_end_though_older_questions_may_be_answered",
    ),
    Mutant(
        "an answer in two parts brings nothing twice",
        "_core/recovery/recovery.py",
        "        if not beside:\n            record.miss()\n",
        "        record.miss()\n",
        "tests/core/test_refused_copies.py::"
        "test_an_error_beside_results_is_the_end_though_older_questions_may_be_answered",
    ),
    Mutant(
        "a close long after a frame is blamed on its task",
        "_core/blame.py",
        "if now < open_ones[0].written_at + 2 * self._proof():",
        "if open_ones:",
        "tests/core/test_hostile_peer.py::"
        "test_a_close_long_after_its_frame_is_not_blamed_on_the_only_task",
    ),
    Mutant(
        "what was given up brings no result that is too big",
        "_core/blame.py",
        "others = self._table.given_up_on == generation or any(",
        "others = any(",
        "tests/core/test_hostile_peer.py::"
        "test_the_result_of_a_task_that_was_given_up_is_no_proof_against_another",
    ),
    Mutant(
        "whoever is asked about is to blame, whatever else may come",
        "_core/blame.py",
        "alone=not others",
        "alone=True",
        "tests/core/test_hostile_peer.py::"
        "test_the_task_in_question_is_to_blame_sooner_if_no_other_result_can_come",
    ),
    Mutant(
        "a replay waits for the turn of a task",
        "_core/recovery/recovery.py",
        "                record.another_socket()\n",
        "",
        "tests/core/test_odd_answers.py::test_a_replay_does_not_wait_for_the_turn_of_a_task",
    ),
    Mutant(
        "questions before a copy put off those after it",
        "_core/recovery/recovery.py",
        "asked = max(0, record.ladder.asks - record.ladder.asks_before)",
        "asked = record.ladder.asks",
        "tests/core/test_second_tries.py::test_after_a_copy_it_is_asked_about_as_often_as_at_first",
    ),
    Mutant(
        "what is written of errors is not redacted",
        "_core/inbound/router.py",
        "        return parse_errors(_redacted(told, self._redact))",
        "        return parse_errors(told)",
        "tests/core/test_hostile_peer.py::"
        "test_secrets_are_taken_out_of_what_is_shown_and_the_frame_stays_whole",
    ),
    Mutant(
        "an unreached POST is a cut",
        "_core/posting.py",
        "if not record.posted and ending.how is not Ending.REFUSED:",
        "if not record.posted and ending.how is Ending.DONE:",
        "tests/core/test_fine_rules.py::test_what_an_earlier_post_of_a_task_says_changes_nothing",
    ),
    Mutant(
        "the end of a POST makes a whole of a cut one",
        "_core/posting.py",
        "deltas.finished or (ending.how is Ending.DONE and deltas.ended(now))",
        "deltas.finished or deltas.ended(now)",
        "tests/core/test_posts_given_up.py::test_a_stream_that_is_given_up_and_breaks_leaves_nothing",
    ),
    Mutant(
        "a POST's finished stream has no whole at its deadline",
        "_core/posting.py",
        "if not record.posted or record.deltas is None or not record.deltas.finished:",
        "if record.posted or record.deltas is None or not record.deltas.finished:",
        "tests/core/test_posts.py::"
        "test_a_finished_stream_whose_end_mark_never_comes_is_whole_at_the_deadline",
    ),
    Mutant(
        "a task whose POST was refused for the key is posted for ever",
        "_core/posting.py",
        "if over is None and record.key_refused():",
        "if over is None and record.key_refused() and not record:",
        "tests/core/test_posts_odd.py::"
        "test_a_key_that_others_may_use_fails_the_one_that_it_is_refused_for",
    ),
    Mutant(
        "after a conflict an error waits as long as after any other copy",
        "_core/task_errors.py",
        "done = ladder.conflicted or now >= overdue_at",
        "done = now >= overdue_at",
        "tests/core/test_refused_copies.py::"
        "test_after_a_conflict_what_the_server_insists_on_is_no_refusal_of_the_last_copy",
    ),
    Mutant(
        "an empty delta makes a result a piece",
        "_core/inbound/meaning.py",
        "if delta is not None and (delta or not has_output(item)):",
        "if delta is not None:",
        "tests/core/test_shapes.py::test_a_result_with_an_empty_delta_is_a_result",
    ),
    Mutant(
        "a delta that is null makes a receipt a piece",
        "_core/inbound/meaning.py",
        "if delta is not None and (delta or not has_output(item)):",
        'if "delta" in item and (delta or not has_output(item)):',
        "tests/core/test_shapes.py::test_a_receipt_whose_other_fields_are_null_is_a_receipt",
    ),
    Mutant(
        "a status that nobody knows hides an error",
        "_core/inbound/meaning.py",
        "    if tells_error(item):\n        return Meaning.ERROR\n    # It says",
        "    # It says",
        "tests/core/test_shapes.py::test_a_failure_in_other_words_is_a_failure",
    ),
    Mutant(
        "a status in capitals is another",
        "_core/inbound/meaning.py",
        "return status.strip().lower() if isinstance",
        "return status if isinstance",
        "tests/core/test_shapes.py::test_async_a_success_in_capitals_without_output_is_the_end",
    ),
    Mutant(
        "pieces that the archive keeps are a whole before the last is there",
        "_core/inbound/archive.py",
        "        if deltas.finished:\n",
        "        if deltas.count:\n",
        "tests/core/test_holes.py::"
        "test_an_archive_that_keeps_the_pieces_has_the_whole_once_the_last_is_there",
    ),
    Mutant(
        "the last piece of a first try answers the poll of a second",
        "_core/answers.py",
        'polls_only = record.delivery == "async" and record.deltas is None',
        'polls_only = record.delivery == "async"',
    ),
    Mutant(
        "the last piece that the archive keeps is the whole",
        "_core/inbound/archive.py",
        "        elif deltas is not None and means is not Meaning.ARCHIVE:\n",
        "        elif deltas is not None and means not in (Meaning.ARCHIVE, Meaning.RESULT):\n",
    ),
    Mutant(
        "a whole in front of the pieces that the archive keeps is one of them",
        "_core/inbound/archive.py",
        "return pieces + wholes",
        "return judged",
        "tests/core/test_archive.py::test_a_whole_beside_its_pieces_is_the_whole",
    ),
    Mutant(
        "an error in a piece is not read",
        "_core/inbound/meaning.py",
        "return Meaning.ERROR if failed else Meaning.DELTA",
        "return Meaning.DELTA if failed else Meaning.DELTA",
        "tests/core/test_holes.py::test_an_error_in_a_piece_is_the_tasks_own",
    ),
    Mutant(
        "whoever stands in what cannot be read is not looked for",
        "_core/inbound/router.py",
        "return [Unreadable(str(exc), data, about)]",
        "return [Unreadable(str(exc), data)]",
        "tests/core/test_holes.py::test_a_piece_that_cannot_be_read_is_no_silent_hole",
    ),
    Mutant(
        "an empty error beside a piece of a POST is an error",
        "_core/inbound/router.py",
        "            errors = []\n        if items is None:",
        "            pass\n        if items is None:",
        "tests/core/test_holes.py::test_an_empty_error_beside_a_piece_is_none",
    ),
    Mutant(
        "a whole with a null delta is a piece",
        "_core/inbound/meaning.py",
        '        and item.get("status") is None\n        and not record.deltas.has_output(item)\n',
        "",
        "tests/core/test_holes.py::test_a_whole_with_a_null_delta_is_taken_from_any_answer",
    ),
]
