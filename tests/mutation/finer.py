"""Mutants of sockets, tasks and ends that a second look found alive."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

__all__ = ["FINER"]

FINER = [
    Mutant(
        "a frame of the very size that was refused goes",
        "_core/core.py",
        "wire.frame_size(record.payload) >= limit",
        "wire.frame_size(record.payload) > limit",
        "tests/core/test_finer_rules.py::"
        "test_a_frame_of_the_very_size_that_was_refused_is_refused_before_the_wire",
    ),
    Mutant(
        "a claim in capitals is another's",
        "_core/core.py",
        "self._table.claims.take(uuid.lower())",
        "self._table.claims.take(uuid)",
        "tests/core/test_finer_rules.py::test_a_claim_may_be_written_in_capitals",
    ),
    Mutant(
        "a socket that has ended is heard",
        "_core/core.py",
        "if generation != connection.generation or not connection.open:",
        "if generation != connection.generation:",
        "tests/core/test_finer_rules.py::"
        "test_a_socket_that_has_ended_is_not_heard_though_none_came_after_it",
    ),
    Mutant(
        "what runs since an older socket is in no doubt",
        "_core/core.py",
        "broken = connection.state is not READY or record.generation != connection.generation",
        "broken = connection.state is not READY",
        "tests/core/test_finer_rules.py::"
        "test_a_second_try_that_runs_since_an_older_socket_is_in_doubt_at_its_deadline",
    ),
    Mutant(
        "a second drain is told",
        "_core/core.py",
        "        if not self._draining:\n            self._draining = True",
        "        if True:\n            self._draining = True",
        "tests/core/test_finer_rules.py::test_draining_twice_is_told_once",
    ),
    Mutant(
        "the answer to a suspect wakes nobody",
        "_core/core.py",
        "        if connection.culprits.suspects:\n"
        "            # The answer to one suspect lets the next one go.\n"
        "            self._out.wake = True\n",
        "",
        "tests/core/test_fine_rules_of_sockets.py::test_an_answered_suspect_lets_the_next_one_go",
    ),
    Mutant(
        "a task that the server has is a suspect",
        "_core/blame.py",
        "            and not record.ladder.confirmed\n        ]",
        "        ]",
        "tests/core/test_finer_rules_of_sockets.py::test_a_task_that_the_server_has_is_no_suspect",
    ),
    Mutant(
        "a peer that breaks the protocol blames a request",
        "_core/blame.py",
        "            and loss.kind is LossKind.CLOSED\n",
        "",
        "tests/core/test_finer_rules_of_sockets.py::"
        "test_a_peer_that_breaks_the_protocol_blames_no_request",
    ),
    Mutant(
        "a limit that was found goes up",
        "_core/connection/culprits.py",
        "self.limit = size if self.limit is None else min(self.limit, size)",
        "self.limit = size",
        "tests/core/test_finer_rules_of_sockets.py::test_the_smallest_limit_that_was_found_counts",
    ),
    Mutant(
        "timers that are always late save a dead peer",
        "_core/connection/liveness.py",
        "(late and self._looks < MOST_LOOKS)",
        "late",
        "tests/core/test_finer_rules_of_sockets.py::"
        "test_timers_that_are_always_late_save_no_dead_peer",
    ),
    Mutant(
        "a new socket is idle though tasks wait",
        "_core/connection/liveness.py",
        "        self._busy = True\n        self._busy_since = now\n        self._clear()",
        "        self._busy = False\n        self._busy_since = now\n        self._clear()",
        "tests/core/test_finer_rules_of_sockets.py::"
        "test_a_task_from_the_socket_before_makes_the_next_one_busy",
    ),
    Mutant(
        "a ping that is due wakes nobody",
        "_core/connection/liveness.py",
        "            self.ping_due = True\n            self._out.wake = True",
        "            self.ping_due = True",
        "tests/core/test_finer_rules_of_sockets.py::test_a_ping_that_is_due_wakes_the_writer",
    ),
    Mutant(
        "an overload counts for one dial only",
        "_core/connection/connection.py",
        "attempt = self._redials = max(attempt, 2)",
        "attempt = max(attempt, 2)",
        "tests/core/test_finer_rules_of_sockets.py::test_each_overload_makes_the_next_dial_later",
    ),
    Mutant(
        "a session is offered with a key that was refused twice",
        "_core/connection/connection.py",
        "if self._offered is not None and (self._key_strikes.count or not self._about_key(error)):",
        "if self._offered is not None and not self._about_key(error):",
        "tests/core/test_finer_rules_of_sockets.py::"
        "test_a_key_that_is_refused_twice_is_tried_without_the_session",
    ),
    Mutant(
        "the end of the last socket is told twice",
        "_core/connection/connection.py",
        "was_ready = self.state is _C.READY and self.open",
        "was_ready = self.state is _C.READY",
        "tests/core/test_finer_rules_of_sockets.py::"
        "test_the_end_of_a_socket_that_ends_the_client_is_told_once",
    ),
    Mutant(
        "any quota ends the client",
        "_core/connection/connection.py",
        'if fam is ErrorFamily.QUOTA and error.task_type == "authentication":',
        "if fam is ErrorFamily.QUOTA:",
        "tests/core/test_finer_rules_of_sockets.py::"
        "test_a_session_that_costs_too_much_does_not_end_the_client",
    ),
    Mutant(
        "what its user calls terminal may be the session's",
        "_core/connection/connection.py",
        "return offered and bool(tried) and down.verdict is not _TERMINAL",
        "return offered and bool(tried)",
        "tests/core/test_finer_rules_of_sockets.py::"
        "test_a_code_that_its_user_calls_terminal_ends_the_client_whatever_was_offered",
    ),
    Mutant(
        "the archive takes back what polls repeat",
        "_core/tasks/record.py",
        "if word is not None and question in (None, word.question):",
        "if word is not None:",
        "tests/core/test_finer_rules.py::"
        "test_what_a_poll_repeats_is_believed_whatever_the_archive_says_of_the_request",
    ),
    Mutant(
        "pieces of others' streams have no limit",
        "_core/tasks/left.py",
        "        if len(self.foreign) > self._limit:\n"
        "            self.foreign.popitem(last=False)\n",
        "",
        "tests/core/test_finer_rules.py::"
        "test_pieces_of_streams_that_others_sent_are_remembered_within_the_limit",
    ),
    Mutant(
        "another's stream stays another's when it is tried here",
        "_core/tasks/left.py",
        "        self.foreign.pop(uuid, None)\n        self.size",
        "        self.size",
        "tests/core/test_finer_rules.py::"
        "test_pieces_of_streams_that_others_sent_are_remembered_within_the_limit",
    ),
    Mutant(
        "what is given up twice takes up twice the room",
        "_core/tasks/requests.py",
        "        self.drop(uuid)\n        self._kept[uuid]",
        "        self._kept[uuid]",
        "tests/core/test_finer_rules.py::"
        "test_what_a_task_asked_for_is_counted_once_however_often_it_is_given_up",
    ),
    Mutant(
        "Retry-After of a POST has no cap",
        "_core/posting.py",
        "delay += min(loss.retry_after, self._out.options.retry_after_cap)",
        "delay += loss.retry_after",
        "tests/core/test_finer_rules.py::"
        "test_a_server_that_is_not_reached_puts_posts_off_for_no_longer_than_the_cap",
    ),
    Mutant(
        "what no HTTP side took was sent",
        "_core/posting.py",
        "            posts.end(record)\n"
        "            record.unwrote()\n"
        "            if not self._no_http:",
        "            posts.end(record)\n            if not self._no_http:",
        "tests/core/test_finer_rules.py::"
        "test_what_a_server_without_an_http_side_did_not_take_was_not_submitted",
    ),
    Mutant(
        "the refusal of a second try is safe to send again",
        "_core/failures.py",
        "        and not record.copied\n",
        "",
        "tests/core/test_finer_rules.py::test_a_refusal_of_a_second_try_is_not_safe_to_send_again",
    ),
    Mutant(
        "an error about a task refuses the key",
        "_core/failures.py",
        "is ErrorFamily.AUTH and error.task_uuid is None",
        "is ErrorFamily.AUTH",
        "tests/core/test_finer_rules.py::test_an_error_about_the_task_refuses_no_key",
    ),
    Mutant(
        "a verdict does not show that the server had the task",
        "_core/ends.py",
        "        record.confirm()\n        self.end(record, FAILED",
        "        self.end(record, FAILED",
        "tests/core/test_finer_rules.py::test_the_servers_verdict_shows_that_it_had_the_task",
    ),
    Mutant(
        "what is learned of kinds has no limit",
        "_core/tasks/durations.py",
        "            if len(self._kinds) >= self._limit:\n"
        "                del self._kinds[next(iter(self._kinds))]\n",
        "",
        "tests/core/test_finer_rules.py::test_what_is_learned_of_kinds_of_tasks_is_bounded",
    ),
    Mutant(
        "what is remembered of ended tasks has no limit",
        "_core/tasks/tombstones.py",
        "            while segments and sum(map(len, segments)) + slots > self._slots:\n"
        "                segments.popleft()\n",
        "",
        "tests/core/test_finer_rules.py::test_what_is_remembered_of_ended_tasks_is_bounded",
    ),
    Mutant(
        "the driver is not told when POSTs may go out",
        "_core/tasks/posts.py",
        "        self._opens_at = until\n        self._out.rearm = True\n",
        "        self._opens_at = until\n",
        "tests/core/test_finer_rules.py::test_the_driver_is_told_when_posts_may_go_out_again",
    ),
]
