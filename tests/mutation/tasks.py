"""Mutants of ``_core/tasks``: records, queues, memory of ended tasks, claims, streams."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

__all__ = ["TASKS"]

_TASKS = "_core/tasks"

TASKS = [
    Mutant(
        "the rest of a poll's answer is the answer to the next question",
        "_core/tasks/record.py",
        "if by_error and ladder.half_told:",
        "if False:",
        "tests/core/test_questions.py::"
        "test_the_error_of_an_answer_may_come_behind_the_next_question",
    ),
    Mutant(
        "a second try forgets on which socket the first was written",
        f"{_TASKS}/table.py",
        "record.second_try(self.given_up.take(uuid), stream=",
        "record.second_try(0 * self.given_up.take(uuid), stream=",
        "tests/core/test_second_tries.py::test_one_that_the_server_runs_ends_as_a_timeout",
    ),
    Mutant(
        "a second try of what was a stream is not told so",
        f"{_TASKS}/table.py",
        "record.second_try(self.given_up.take(uuid), stream=stream)",
        "record.second_try(self.given_up.take(uuid))",
    ),
    Mutant(
        "a stream that flows for longer than its taskUUID is remembered is none",
        f"{_TASKS}/table.py",
        "stream = left or self.was_stream(uuid)",
        "stream = self.was_stream(uuid)",
        "tests/core/test_streams.py::"
        "test_the_last_piece_of_a_first_try_is_no_answer_to_a_second_that_wants_the_whole",
    ),
    Mutant(
        "a result for a stream that another process sent is its whole",
        f"{_TASKS}/table.py",
        "                self.claims.take(uuid)\n",
        "                pass\n",
        "tests/core/test_streams.py::"
        "test_the_last_piece_of_what_another_process_sent_is_not_kept_as_its_answer",
    ),
    Mutant(
        "pieces of a stream that another process sent are not noticed",
        f"{_TASKS}/left.py",
        "        self.foreign[uuid] = None\n",
        "",
        "tests/core/test_streams.py::"
        "test_the_last_piece_of_what_another_process_sent_is_not_kept_as_its_answer",
    ),
    Mutant(
        "what was given up while it was taken over is run without being owned",
        "journal/keeper.py",
        "            self._left_since.add(record.uuid)\n",
        "",
        "tests/journal/test_given_up.py::test_what_is_given_up_while_it_is_taken_over_is_not_run",
    ),
    Mutant(
        "who asks by a key is not told that a stream has it",
        "journal/keeper.py",
        "                    payload = entry.payload  #",
        "                    pass  #",
        "tests/journal/test_given_up.py::test_a_stream_that_is_run_by_its_key_is_known_to_be_one",
    ),
    Mutant(
        "another task under a taskUUID that was given up counts as its second try",
        f"{_TASKS}/table.py",
        "if first is not None and not is_same_task(first, record.payload):",
        "if first is not None and False:",
        "tests/core/test_second_tries.py::test_another_task_under_the_same_taskuuid_is_refused",
    ),
    Mutant(
        "what a task asked for is forgotten though its answer waits for a claim",
        f"{_TASKS}/table.py",
        "lambda uuid: uuid in self.claims.kept or uuid in self.left.records",
        "lambda uuid: uuid in self.left.records",
        "tests/core/test_second_tries.py::"
        "test_another_task_is_refused_as_long_as_an_answer_of_the_first_may_be_had",
    ),
    Mutant(
        "what a task asked for is forgotten though its stream still flows",
        f"{_TASKS}/table.py",
        "lambda uuid: uuid in self.claims.kept or uuid in self.left.records",
        "lambda uuid: uuid in self.claims.kept",
        "tests/core/test_second_tries.py::"
        "test_another_task_is_refused_as_long_as_an_answer_of_the_first_may_be_had",
    ),
    Mutant(
        "what a task asked for is forgotten before its end is recorded",
        f"{_TASKS}/table.py",
        "if not (answered and self._out.journaled):",
        "if True:",
        "tests/journal/test_second_tries.py::"
        "test_a_result_that_was_not_recorded_is_no_answer_to_another_task",
    ),
    Mutant(
        "an open task without a key is anybody's",
        "journal/binding.py",
        "    if new.key is None and entry.payload is not None:\n",
        "    if False:\n",
        "tests/journal/test_second_tries.py::"
        "test_an_open_task_without_a_key_is_not_taken_over_by_another",
    ),
    Mutant(
        "what tasks asked for is kept without a limit",
        f"{_TASKS}/requests.py",
        "while self.size > self._limit_bytes:",
        "while False:",
        "tests/core/test_second_tries.py::test_of_very_many_given_up_at_once_the_last_are_compared",
    ),
    Mutant(
        "equal ids of the output are not looked at",
        f"{_TASKS}/items.py",
        "    if one[1] and other[1]:\n        return one[1] == other[1]\n",
        "",
        "tests/core/test_fine_rules.py::test_two_copies_of_one_image_may_have_other_addresses",
    ),
    Mutant(
        "one result with a field more is another result",
        f"{_TASKS}/items.py",
        "return one[2] == other[2] or _is_output(common)",
        "return one[2] == other[2]",
        "tests/core/test_questions.py::test_an_archive_that_tells_more_brings_no_result_twice",
    ),
    Mutant(
        "two equal entries of a listing are one result",
        f"{_TASKS}/items.py",
        "        if not listing or _is_named(identity):\n            unmatched.append(entry)",
        "        unmatched.append(entry)",
        "tests/core/test_fine_rules.py::test_two_equal_entries_of_a_listing_are_two_results",
    ),
    Mutant(
        "misses are not forgotten when the server shows the task",
        f"{_TASKS}/record.py",
        "self.ladder.misses = self.ladder.denials = 0",
        "self.ladder.denials = 0",
        "tests/core/test_recovery_async.py::"
        "test_async_an_acknowledgement_lost_with_the_socket_is_found_out_by_a_poll",
    ),
    Mutant(
        "denials are not forgotten when something else comes",
        f"{_TASKS}/record.py",
        '''        """Something else than a denial came."""
        if self.ladder is not UNTOUCHED:
            self.ladder.denials = 0''',
        '''        """Something else than a denial came."""''',
        "tests/core/test_fine_rules.py::test_denials_that_another_word_interrupts_start_anew",
    ),
    Mutant(
        "what answered the copy before counts for the next copy",
        f"{_TASKS}/record.py",
        "            self.ladder.answered_at = 0.0\n",
        "",
        "tests/core/test_questions.py::test_the_last_call_asks_both_ways",
    ),
    Mutant(
        "questions about the copy before count for the next copy",
        f"{_TASKS}/record.py",
        "            self.ladder.exhausted = self.ladder.troubled = self.ladder.unknown = 0\n",
        "",
        "tests/core/test_fine_rules.py::"
        "test_what_was_asked_about_the_first_copy_says_nothing_of_the_second",
    ),
    Mutant(
        "an error is heard once for each result of a task",
        f"{_TASKS}/record.py",
        "elif ladder.asks > word.asks:",
        "else:",
        "tests/core/test_fine_rules.py::"
        "test_an_error_is_said_once_for_each_question_however_many_results_it_is_about",
    ),
    Mutant(
        "what was said is never taken back",
        f"{_TASKS}/record.py",
        "if word is not None and question in (None, word.question):",
        "if word is not None and question in ():",
        "tests/core/test_questions.py::test_a_verdict_that_is_taken_back_is_not_believed",
    ),
    Mutant(
        "an unsure miss exhausts a kind of question at once",
        f"{_TASKS}/record.py",
        "if sure or ladder.troubled & question.bit:",
        "if sure or question.bit:",
        "tests/core/test_fine_rules.py::"
        "test_trouble_says_nothing_about_the_task_so_the_same_question_is_asked_again",
    ),
    Mutant(
        "a task that killed a socket is batched with others again",
        f"{_TASKS}/record.py",
        "        self.own_ladder().alone = True\n",
        "        self.own_ladder()\n",
        "tests/core/test_fault_table.py::TestTooBig::"
        "test_outbound_tasks_that_shared_the_frame_go_alone_and_are_unharmed",
    ),
    Mutant(
        "a task that killed a socket is sent with others behind it",
        f"{_TASKS}/table.py",
        "            if alone:\n                break\n",
        "",
        "tests/core/test_fine_rules.py::"
        "test_a_task_that_may_have_killed_a_socket_goes_alone_though_it_was_taken_back",
    ),
    Mutant(
        "a stream that was given up has as many results as ways to tell them",
        f"{_TASKS}/table.py",
        "if end is DONE or (uuid in self.claims.kept and self.was_stream(uuid)):",
        "if end is DONE:",
        "tests/core/test_claims.py::test_the_archives_word_on_a_stream_that_was_kept_is_a_copy",
    ),
    Mutant(
        "the first strike condemns",
        f"{_TASKS}/record.py",
        "return self.ladder.strikes > 2",
        "return self.ladder.strikes > 0",
        "tests/core/test_fault_table.py::TestTooBig::"
        "test_outbound_the_same_frame_never_kills_a_third_socket",
    ),
    Mutant(
        "a request is blamed beside open questions as if it was alone",
        f"{_TASKS}/record.py",
        "self.ladder.strikes += 2 if sure else 1",
        "self.ladder.strikes += 2",
        "tests/core/test_fine_rules_of_sockets.py::"
        "test_a_request_beside_open_questions_is_blamed_later_than_one_alone",
    ),
    Mutant(
        "a frame that was not sent counts as sent",
        f"{_TASKS}/table.py",
        "elif record.unwrote():",
        "elif record.ended and record.unwrote():",
        "tests/core/test_life.py::"
        "test_a_frame_that_never_touched_the_socket_is_written_again_in_order",
    ),
    Mutant(
        "a task given up in a frame that was not sent counts as sent",
        f"{_TASKS}/table.py",
        "self.given_up.take(record.uuid)",
        "pass",
        "tests/core/test_second_tries.py::"
        "test_a_first_try_in_a_frame_that_never_touched_the_socket_left_no_trace",
    ),
    Mutant(
        "the refusal of a copy that is replayed on each socket is insisted on",
        f"{_TASKS}/record.py",
        "if ladder.barred is not None:",
        "if False:",
        "tests/core/test_refused_copies.py::test_nor_does_one_that_is_replayed_on_each_socket",
    ),
    Mutant(
        "frames taken back change the order",
        f"{_TASKS}/table.py",
        "for record in reversed(frame.records):",
        "for record in frame.records:",
        "tests/core/test_life.py::"
        "test_a_frame_that_never_touched_the_socket_is_written_again_in_order",
    ),
    Mutant(
        "bytes in flight have no limit",
        f"{_TASKS}/table.py",
        "            and self.in_flight_bytes + size <= self._options.max_in_flight_bytes\n",
        "",
    ),
    Mutant(
        "tasks in flight have no limit",
        f"{_TASKS}/table.py",
        "self.in_flight < self._options.max_in_flight\n",
        "self.in_flight < 1_000_000\n",
    ),
    Mutant(
        "a task that stops waiting lets nobody in",
        f"{_TASKS}/table.py",
        "        if self.waiting:\n            # A task",
        "        if self.waiting and was_admitted:\n            # A task",
        "tests/core/test_fine_rules.py::test_a_task_that_stops_waiting_lets_a_smaller_one_in",
    ),
    Mutant(
        "a task that ended unsent stays in the queue",
        f"{_TASKS}/table.py",
        "            self._stale += 1\n            self._drop_stale()\n",
        "            self._stale += 1\n",
    ),
    Mutant(
        "a task that was sent and given up is not remembered",
        f"{_TASKS}/table.py",
        "            answered or record.sends or record.ladder.reused\n",
        "            answered or record.ladder.reused\n",
    ),
    Mutant(
        "an answered taskUUID may be used again",
        f"{_TASKS}/table.py",
        "if uuid in self.tasks or (own and self.answered.knows(uuid)):",
        "if uuid in self.tasks:",
    ),
    Mutant(
        "a late result that waits for a claim is no first try",
        f"{_TASKS}/table.py",
        "            or uuid in self.claims.kept\n"
        "            or uuid in self.left.foreign\n        ):",
        "            or uuid in self.left.foreign\n        ):",
        "tests/core/test_second_tries.py::"
        "test_a_result_for_a_taskuuid_of_an_earlier_process_is_an_answer_too",
    ),
    Mutant(
        "a text of any length is a taskUUID",
        f"{_TASKS}/table.py",
        "if len(uuid) > LONGEST_UUID or not self.claims.add(uuid, item):",
        "if not self.claims.add(uuid, item):",
        "tests/core/test_claims.py::test_a_text_that_is_no_taskuuid_is_not_kept",
    ),
    Mutant(
        "the last question is asked at the deadline",
        f"{_TASKS}/record.py",
        "self.wake_at = deadline - (last_call if last_call < LAST_CALL else LAST_CALL)",
        "self.wake_at = deadline",
        "tests/core/test_questions.py::test_the_last_call_asks_both_ways",
    ),
    Mutant(
        "an outage looks like a timeout",
        f"{_TASKS}/table.py",
        "    elif in_doubt or ladder",
        "    elif (in_doubt and not ladder.disturbed) or ladder",
    ),
    Mutant(
        "the claim store does not give size back",
        f"{_TASKS}/claims.py",
        "        self.size -= found[1]\n",
        "",
    ),
    Mutant(
        "the claim store has no limit in bytes",
        f"{_TASKS}/claims.py",
        "while len(self.kept) > self._limit or self.size > self._limit_bytes:",
        "while len(self.kept) > self._limit:",
        "tests/core/test_claims.py::test_the_store_holds_no_more_than_it_may",
    ),
    Mutant(
        "the claim store does not give back what it drops",
        f"{_TASKS}/claims.py",
        "            self.size -= dropped\n",
        "            self.size -= 0 * dropped\n",
    ),
    Mutant(
        "copies of a late result are kept",
        f"{_TASKS}/claims.py",
        "if len(items) >= MOST_ITEMS or any(are_copies(item, kept) for kept in items):",
        "if len(items) >= MOST_ITEMS:",
    ),
    Mutant(
        "what is kept for one task has no limit",
        f"{_TASKS}/claims.py",
        "if len(items) >= MOST_ITEMS or any(",
        "if any(",
        "tests/core/test_fine_rules.py::"
        "test_no_more_late_results_of_one_task_are_kept_than_a_model_gives",
    ),
    Mutant(
        "a task that was given up stays so though its second try was answered",
        f"{_TASKS}/tombstones.py",
        "        entry = self._young.pop(uuid, 0) or old\n",
        "        entry = self._young.get(uuid, 0) or old\n",
        "tests/core/test_tombstones.py::"
        "test_a_packed_entry_tells_all_that_was_remembered_until_it_is_taken",
    ),
    Mutant(
        "an entry of the older half is not taken out",
        f"{_TASKS}/tombstones.py",
        "        old = self._old.pop(uuid, 0)\n",
        "        old = self._old.get(uuid, 0)\n",
        "tests/core/test_tombstones.py::"
        "test_a_packed_entry_tells_all_that_was_remembered_until_it_is_taken",
    ),
    Mutant(
        "packed entries cannot be taken out",
        f"{_TASKS}/tombstones.py",
        "        self._slots[place] &= _PRINT\n",
        "",
        "tests/core/test_tombstones.py::"
        "test_a_packed_entry_tells_all_that_was_remembered_until_it_is_taken",
    ),
    Mutant(
        "packed entries are not found",
        f"{_TASKS}/tombstones.py",
        "        if found is None and self._segments:",
        "        if found is None and not self._segments:",
        "tests/core/test_tombstones.py::"
        "test_a_packed_entry_tells_all_that_was_remembered_until_it_is_taken",
    ),
    Mutant(
        "packed entries lose their generations",
        f"{_TASKS}/tombstones.py",
        "generations[place] = entry >> _BITS",
        "generations[place] = 0",
        "tests/core/test_tombstones.py::"
        "test_a_packed_entry_tells_all_that_was_remembered_until_it_is_taken",
    ),
    Mutant(
        "packed entries are kept for ever",
        f"{_TASKS}/tombstones.py",
        "        while segments and now >= segments[0].newest + self._keep:\n",
        "        while segments and now >= segments[0].newest + 1e9:\n",
        "tests/core/test_tombstones.py::"
        "test_all_of_three_minutes_are_remembered_and_then_forgotten",
    ),
    Mutant(
        "entries are forgotten as soon as they are old",
        f"{_TASKS}/tombstones.py",
        "self._old, self._young = self._young, {}",
        "self._old, self._young = {}, {}",
    ),
    Mutant(
        "the schedule forgets its heap when it is rebuilt",
        f"{_TASKS}/schedule.py",
        "self._heap = [e for e in self._heap if self._alive(e[0], e[2])]",
        "self._heap = []",
    ),
    Mutant(
        "the schedule forgets its queue when it is rebuilt",
        f"{_TASKS}/schedule.py",
        "live = [(at, record) for at, record in entries if self._alive(at, record)]",
        "live = [(at, record) for at, record in entries if not self._alive(at, record)]",
        "tests/core/test_fine_rules.py::test_a_heap_that_was_rebuilt_gives_what_is_due_in_order",
    ),
    Mutant(
        "a heap that was rebuilt is no heap",
        f"{_TASKS}/schedule.py",
        "        heapify(self._heap)\n",
        "        self._heap.reverse()\n",
    ),
    Mutant(
        "dead entries are never dropped",
        f"{_TASKS}/schedule.py",
        "            self._rebuild()\n",
        "            pass\n",
        "tests/core/test_fine_rules.py::test_a_heap_that_was_rebuilt_gives_what_is_due_in_order",
    ),
    Mutant(
        "an entry that is due sooner does not tell so",
        f"{_TASKS}/schedule.py",
        "        return sooner\n",
        "        return False\n",
        "tests/core/test_schedule.py::test_what_is_due_comes_in_order_and_once",
    ),
    Mutant(
        "what is due is taken in one go",
        f"{_TASKS}/schedule.py",
        "for _ in range(TURN):",
        "for _ in range(1 << 62):",
        "tests/core/test_life.py::test_many_deadlines_at_once_are_met_in_pieces",
    ),
    Mutant(
        "one task of a kind tells how long the next one takes",
        f"{_TASKS}/durations.py",
        "return known if self.seen >= FEW else max(known, unlearned)",
        "return known",
        "tests/core/test_posts_broken.py::"
        "test_a_request_that_was_lost_in_the_cut_is_sent_over_the_socket_for_its_whole",
    ),
    Mutant(
        "deltas are handed on after a cut",
        f"{_TASKS}/deltas.py",
        "        if self.suspended:\n            return bool(item",
        "        if False:\n            return bool(item",
        "tests/core/test_streams.py::"
        "test_after_a_cut_the_rest_comes_as_one_piece_out_of_the_archive",
    ),
    Mutant(
        "a cut does not suspend a stream",
        f"{_TASKS}/record.py",
        "            self.deltas.suspended = True\n",
        "",
        "tests/core/test_fine_rules_of_sockets.py::"
        "test_a_stream_that_is_given_up_behind_a_cut_is_not_read_on",
    ),
    Mutant(
        "a second try takes the last piece of the first for the whole",
        f"{_TASKS}/record.py",
        "            deltas.suspended = True\n",
        "            self.deltas = None\n",
        "tests/core/test_streams.py::"
        "test_the_last_piece_of_a_first_try_is_no_answer_to_a_second_that_wants_the_whole",
    ),
    Mutant(
        "what a key was bound to is not known to be a stream",
        f"{_TASKS}/record.py",
        '            self.delivery = "stream"\n',
        "",
        "tests/core/test_streams.py::"
        "test_the_last_piece_of_a_first_try_is_no_answer_to_a_second_that_wants_the_whole",
    ),
    Mutant(
        "a copy of a stream is a stream again",
        f"{_TASKS}/record.py",
        "            self.deltas.suspended = True\n            self.want_whole()\n",
        "            self.deltas.suspended = True\n",
        "tests/core/test_posts_broken.py::"
        "test_a_request_that_was_lost_in_the_cut_is_sent_over_the_socket_for_its_whole",
    ),
    Mutant(
        "a whole that does not fit is taken",
        f"{_TASKS}/deltas.py",
        "self.suspended = not fits and (self.suspended or self.polled)",
        "self.suspended = False",
        "tests/core/test_streams.py::test_a_whole_that_does_not_fit_interrupts_the_stream",
    ),
    Mutant(
        "what answers a poll is taken for the last part of a stream",
        f"{_TASKS}/deltas.py",
        "self.suspended = not fits and (self.suspended or self.polled)",
        "self.suspended = not fits and self.suspended",
        "tests/core/test_streams.py::"
        "test_what_may_answer_a_poll_is_not_taken_for_the_last_part[0-late]",
    ),
    Mutant(
        "the rest of a call is looked for by its escapes",
        f"{_TASKS}/deltas.py",
        "            written = json.dumps(json.loads(token + end))\n",
        "            written = token + end\n",
        "tests/core/test_streams.py::test_after_a_cut_a_call_may_be_told_with_other_escapes",
    ),
    Mutant(
        "the whole is handed on though a part was",
        f"{_TASKS}/deltas.py",
        "                given = given[len(had) :]\n",
        "                given = given[0:]\n",
    ),
    Mutant(
        "calls that were handed on are handed on again",
        f"{_TASKS}/deltas.py",
        "missing = call if had is None else had.missing(call)",
        "missing = call",
    ),
    Mutant(
        "a tool that is called twice without ids is one broken call",
        f"{_TASKS}/deltas.py",
        "return without_ids and bool(piece.arguments.strip()) and self._is_whole()",
        "return False",
        "tests/core/test_deltas.py::test_calls_of_one_tool_without_ids_and_numbers",
    ),
    Mutant(
        "joined deltas lose a part",
        f"{_TASKS}/deltas.py",
        "            delta[name] = a[name] + b[name]\n",
        "            delta[name] = b[name]\n",
    ),
    Mutant(
        "deltas that cannot be joined are lost",
        f"{_TASKS}/deltas.py",
        "            if joined is None:\n"
        "                self.pending.append(item)\n"
        "            else:",
        "            if joined is None:\n                pass\n            else:",
    ),
    Mutant(
        "a POST that was given up is heard",
        f"{_TASKS}/posts.py",
        "return self.open.get(uuid) if self._numbers.get(uuid) == number else None",
        "return self.open.get(uuid)",
        "tests/core/test_fine_rules.py::test_what_an_earlier_post_of_a_task_says_changes_nothing",
    ),
    Mutant(
        "POSTs wait for nothing while the server is away",
        f"{_TASKS}/posts.py",
        "        if self._opens_at != FOREVER:\n            return\n",
        "",
    ),
    Mutant(
        "POSTs have no limit",
        f"{_TASKS}/posts.py",
        "while self.waiting and len(self.open) < self._out.options.max_posts:",
        "while self.waiting:",
        "tests/core/test_posts.py::test_so_many_posts_at_once_and_the_rest_in_turn",
    ),
    Mutant(
        "a stream that was given up is read for ever",
        f"{_TASKS}/posts.py",
        "            if self._numbers.get(record.uuid) == number:\n"
        "                late.append(record)",
        "            if self._numbers.get(record.uuid) != number:\n"
        "                late.append(record)",
        "tests/core/test_posts_given_up.py::"
        "test_a_stream_that_is_given_up_is_read_until_its_deadline_and_no_longer",
    ),
    Mutant(
        "an answered POST does not calm the next failure",
        f"{_TASKS}/posts.py",
        '"""The server answered: the count of failures starts again."""\n'
        "        self._failures = 0",
        '"""The server answered: the count of failures starts again."""',
        "tests/core/test_posts_broken.py::test_an_answer_makes_the_next_failure_the_first_again",
    ),
    Mutant(
        "streams that were given up have no limit",
        f"{_TASKS}/left.py",
        "while len(self.records) > self._limit or self.size > self._limit_bytes:",
        "while self.size > self._limit_bytes:",
        "tests/core/test_posts_given_up.py::"
        "test_no_more_are_read_than_can_be_claimed_and_none_behind_the_end",
    ),
    Mutant(
        "a stream that was given up is read on after a cut",
        f"{_TASKS}/left.py",
        "if record.generation >= 0]:",
        "if record.generation < 0]:",
        "tests/core/test_posts_given_up.py::"
        "test_a_stream_that_is_given_up_is_read_until_its_deadline_and_no_longer",
    ),
    Mutant(
        "a field that is null is output",
        f"{_TASKS}/items.py",
        "if value is not None])",
        "if True or value])",
        "tests/core/test_shapes.py::test_async_nor_does_a_field_that_nobody_knows_make_it_a_result",
    ),
    Mutant(
        "an index as text is none",
        "models/results.py",
        "        return int(index)\n    if isinstance(index, float)",
        "        return None\n    if isinstance(index, float)",
        "tests/core/test_shapes.py::test_equal_results_are_told_apart_by_an_index_of_another_type",
    ),
    Mutant(
        "two texts with one index are one result",
        f"{_TASKS}/items.py",
        "return one[0] == other[0] and (mine == theirs or not (mine and theirs))",
        "return one[0] == other[0] and (mine == theirs or True)",
        "tests/core/test_shapes.py::test_an_index_that_counts_within_a_frame_loses_no_result",
    ),
    Mutant(
        "a hole in a stream is none",
        f"{_TASKS}/deltas.py",
        "        if not self.finished:\n            self.suspended = True\n",
        "        return\n",
        "tests/core/test_holes.py::test_a_piece_that_cannot_be_read_is_no_silent_hole",
    ),
    Mutant(
        "an error in words of its own makes a whole",
        f"{_TASKS}/deltas.py",
        "if self.suspended or self._unclear or not self.count:",
        "if self.suspended or not self.count:",
        "tests/core/test_holes.py::test_an_error_in_words_of_its_own_makes_no_whole_of_what_came",
    ),
    Mutant(
        "a note of nulls is the last part of a stream",
        f"{_TASKS}/deltas.py",
        "output = any(item.get(name) is not None for name in _OUTPUT)",
        "output = any(name in item for name in _OUTPUT)",
        "tests/core/test_holes.py::test_a_note_of_nulls_is_not_the_last_part",
    ),
]
