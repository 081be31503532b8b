"""Mutants of the connection: dials, keys, pings, and who ends a socket."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

__all__ = ["CONNECTION"]

_CONNECTION = "_core/connection"
_DIALS = f"{_CONNECTION}/connection.py"
_LIVENESS = f"{_CONNECTION}/liveness.py"
_CULPRITS = f"{_CONNECTION}/culprits.py"
_BLAME = "_core/blame.py"

CONNECTION = [
    Mutant(
        "the bytes of a large message in the making are no sign of life",
        _LIVENESS,
        "        self._moved += amount\n",
        "        self._moved += 0 * amount\n",
        "tests/core/test_liveness.py::test_a_large_message_proves_life_only_while_it_flows",
    ),
    Mutant(
        "a trickle of bytes is life",
        _LIVENESS,
        "if self._moved and self._moved >= FLOW * (now - self._moved_since):",
        "if self._moved:",
        "tests/core/test_liveness.py::test_a_large_message_proves_life_only_while_it_flows",
    ),
    Mutant(
        "an idle connection is pinged as a busy one",
        _LIVENESS,
        "        idle = self.last_in + self._options.ping_after\n",
        "        idle = self.last_in + self._busy_after\n",
        "tests/core/test_liveness.py::"
        "test_an_idle_connection_is_pinged_as_before_and_left_within_20_seconds",
    ),
    Mutant(
        "a busy connection is pinged as an idle one",
        _LIVENESS,
        "        return min(idle, max(self.last_in, self._busy_since) + self._busy_after)\n",
        "        return idle\n",
        "tests/core/test_liveness.py::"
        "test_with_a_task_in_flight_a_silent_peer_is_left_within_5_seconds",
    ),
    Mutant(
        "a task puts off the ping of an idle connection",
        _LIVENESS,
        "        return min(idle, max(self.last_in",
        "        return max(0, max(self.last_in",
        "tests/core/test_liveness.py::"
        "test_a_task_that_is_written_does_not_put_off_the_ping_of_an_idle_connection",
    ),
    Mutant(
        "a busy connection has the patience of an idle one",
        _LIVENESS,
        "return min(idle, max(self._pinged_at, self._busy_since) + self._patience())",
        "return idle",
        "tests/core/test_liveness.py::"
        "test_with_a_task_in_flight_a_silent_peer_is_left_within_5_seconds",
    ),
    Mutant(
        "a far server is as near as any",
        _LIVENESS,
        "return max(self._options.busy_ping_timeout, ROUND_TRIPS * self.round_trip)",
        "return self._options.busy_ping_timeout",
        "tests/core/test_fine_rules.py::test_a_far_server_has_three_round_trips",
    ),
    Mutant(
        "a silent peer is dead without a look",
        _LIVENESS,
        "if self._look_until is None or (late and self._looks < MOST_LOOKS):",
        "if late and self._looks < MOST_LOOKS:",
        "tests/core/test_fault_table.py::TestClockAndLoop::"
        "test_a_pong_that_waits_in_the_backlog_saves_the_peer",
    ),
    Mutant(
        "a timer that came late is no reason to ask once more",
        _LIVENESS,
        "late = now - due > LATE",
        "late = now - due > 1_000_000",
        "tests/core/test_fault_table.py::TestClockAndLoop::"
        "test_a_timer_that_comes_late_probes_before_it_judges",
    ),
    Mutant(
        "our own silence is not broken",
        _LIVENESS,
        "elif now >= self.last_out + self._options.keepalive:",
        "elif now >= self.last_out + 1_000_000:",
        "tests/core/test_fault_table.py::TestHalfOpenSocket::"
        "test_a_ping_goes_out_when_nothing_was_sent_for_long",
    ),
    Mutant(
        "a message does not withdraw the ping",
        _LIVENESS,
        "            # If the ping was not written yet, it is no longer needed.\n"
        "            self.ping_due = False\n",
        "",
        "tests/core/test_fine_rules.py::test_a_message_makes_a_ping_that_was_not_written_needless",
    ),
    Mutant(
        "a refused key is asked for once only",
        _DIALS,
        "final = strikes > 1 or hopeless",
        "final = strikes > 0 or hopeless",
        "tests/core/test_fault_table_of_dials.py::TestKeyRefused::"
        "test_on_a_reconnect_the_key_is_fetched_once_more_then_it_is_over",
    ),
    Mutant(
        "a key that never worked is tried again",
        _DIALS,
        "hopeless = sure and self._fixed_key and not self._was_ready",
        "hopeless = False",
        "tests/core/test_fault_table_of_dials.py::TestKeyRefused::"
        "test_a_fixed_key_that_never_worked_is_not_tried_again",
    ),
    Mutant(
        "a lost session is offered for ever",
        _DIALS,
        "            self._offered = self.session_uuid = None\n",
        "            self._offered = None\n",
        "tests/core/test_fault_table.py::TestSessionGone::"
        "test_a_refused_session_is_given_up_once_and_a_fresh_one_is_taken",
    ),
    Mutant(
        "any reply resumes the session",
        _DIALS,
        "resumed = uuid is not None and offered is not None and uuid.lower() == offered.lower()",
        "resumed = uuid is not None and offered is not None",
        "tests/core/test_archive.py::test_a_listing_of_the_whole_array_gives_each_task_its_own",
    ),
    Mutant(
        "a session in capitals is another one",
        _DIALS,
        "uuid.lower() == offered.lower()",
        "uuid == offered",
        "tests/core/test_fine_rules_of_sockets.py::test_a_session_in_capitals_is_the_same",
    ),
    Mutant(
        "success forgives no refused key",
        _DIALS,
        "            self._key_strikes.forgive()\n",
        "",
        "tests/core/test_fine_rules.py::test_a_key_that_worked_again_has_one_more_refusal",
    ),
    Mutant(
        "success forgives no broken protocol",
        _DIALS,
        "            self._protocol_strikes.forgive()\n",
        "",
        "tests/core/test_fault_table_of_dials.py::TestCloseCodes::"
        "test_a_protocol_error_long_ago_is_forgiven",
    ),
    Mutant(
        "what the server broke over is forgotten at once",
        _DIALS,
        "        if lived >= STEADY:\n            self._broken.forgive()\n",
        "        self._broken.forgive()\n",
        "tests/core/test_trouble.py::TestStrikes::"
        "test_1008_after_a_useful_exchange_is_not_about_the_key",
    ),
    Mutant(
        "the redials of an hour ago still count",
        _DIALS,
        "        self._redials = max(0, self._brief - 1)\n",
        "",
        "tests/core/test_fault_table_of_dials.py::TestBackoff::"
        "test_the_backoff_grows_until_a_connection_was_good",
    ),
    Mutant(
        "sockets that end at once are redialled at once",
        _DIALS,
        "            self._brief += 1\n",
        "            self._brief = 0\n",
        "tests/core/test_fault_table_of_dials.py::TestBackoff::"
        "test_the_backoff_grows_until_a_connection_was_good",
    ),
    Mutant(
        "Retry-After is not heard",
        _DIALS,
        "self._dial_from += min(loss.retry_after, self._options.retry_after_cap)",
        "self._dial_from += 0.0 * loss.retry_after",
        "tests/core/test_fault_table_of_dials.py::TestCloseCodes::"
        "test_retry_after_is_honoured_with_jitter_on_top_and_capped",
    ),
    Mutant(
        "Retry-After has no cap",
        _DIALS,
        "self._dial_from += min(loss.retry_after, self._options.retry_after_cap)",
        "self._dial_from += loss.retry_after",
        "tests/core/test_fault_table_of_dials.py::TestCloseCodes::"
        "test_retry_after_is_honoured_with_jitter_on_top_and_capped",
    ),
    Mutant(
        "a task pulls the dial before the Retry-After",
        _DIALS,
        "near = max(now, self._dial_from) + self._draw(",
        "near = now + self._draw(",
        "tests/core/test_trouble.py::TestHurry::test_it_never_comes_before_the_retry_after",
    ),
    Mutant(
        "each task pulls the dial near",
        _DIALS,
        "        self._hurried = True\n",
        "",
        "tests/core/test_fine_rules_of_sockets.py::test_a_dial_is_pulled_near_once",
    ),
    Mutant(
        "no task pulls the dial near",
        _DIALS,
        "        if near < self._dial_at:\n",
        "        if near < 0.0:\n",
        "tests/core/test_trouble.py::TestHurry::"
        "test_a_task_of_an_idle_client_brings_a_far_dial_near",
    ),
    Mutant(
        "a dial that is refused for good ends a client that was connected",
        _DIALS,
        "return self._was_ready and told != 401",
        "return not self._was_ready and told != 401",
        "tests/core/test_fault_table_of_dials.py::TestKeyRefused::"
        "test_1008_and_http_401_and_403_count_as_a_refused_key",
    ),
    Mutant(
        "bad dials are never believed",
        f"{_CONNECTION}/strikes.py",
        "return self._count >= MOST_BAD_DIALS and now >= self._since + LASTING",
        "return False",
        "tests/core/test_trouble.py::TestBadDials::test_if_it_lasts_it_is_over",
    ),
    Mutant(
        "bad dials are believed at once",
        f"{_CONNECTION}/strikes.py",
        "return self._count >= MOST_BAD_DIALS and now >= self._since + LASTING",
        "return self._count >= MOST_BAD_DIALS",
        "tests/core/test_trouble.py::TestBadDials::test_many_dials_within_a_moment_do_not_last",
    ),
    Mutant(
        "strikes are never forgotten",
        f"{_CONNECTION}/strikes.py",
        "        if now > self._last + FORGOTTEN:\n            self.count = 0\n",
        "",
        "tests/core/test_fine_rules_of_sockets.py::test_a_refused_key_of_long_ago_does_not_count",
    ),
    Mutant(
        "a dial has no limit of time",
        _DIALS,
        "self._open_until = now + self._options.open_timeout",
        "self._open_until = now + 1_000_000",
        "tests/core/test_fault_table_of_dials.py::TestSlowOpen::"
        "test_one_deadline_stands_over_dial_and_authentication",
    ),
    Mutant(
        "old sockets are heard",
        "_core/core.py",
        "if generation != connection.generation or not connection.open:",
        "if not connection.open:",
        "tests/core/test_fault_table.py::TestStrangers::"
        "test_what_an_old_socket_says_late_changes_nothing",
    ),
    Mutant(
        "the end of an old socket ends the new one",
        _DIALS,
        "        if generation != self.generation or self.state not in (\n",
        "        if self.state not in (\n",
        "tests/core/test_fault_table.py::TestStrangers::"
        "test_what_an_old_socket_says_late_changes_nothing",
    ),
    Mutant(
        "a frame of an old socket is taken back",
        "_core/core.py",
        "        if generation == self._connection.generation:\n"
        "            self._recovery.not_sent()",
        "        if generation <= self._connection.generation:\n"
        "            self._recovery.not_sent()",
        equivalent="The driver reports a frame before it reports the end of its socket, and opens "
        "the next one behind that report: the generation is always the current one.",
    ),
    Mutant(
        "a limit is found where a large frame went through",
        _BLAME,
        "        if self._went_through():\n            culprits.went_through()\n"
        "        culprit: TaskRecord | None = None\n",
        "        culprit: TaskRecord | None = None\n",
        "tests/core/test_fine_rules_of_sockets.py::"
        "test_what_went_through_is_not_too_big_so_it_was_a_result",
    ),
    Mutant(
        "a limit that was found is kept though more goes through",
        _CULPRITS,
        "        if self.limit is not None and self.limit <= self._accepted:\n"
        "            self.limit = None\n",
        "",
        "tests/core/test_trouble.py::TestCulprits::"
        "test_a_limit_is_forgotten_when_a_bigger_frame_goes_through",
    ),
    Mutant(
        "any limit is believed",
        _CULPRITS,
        "        if size >= SMALLEST_LIMIT:\n",
        "        if size:\n",
        "tests/core/test_trouble.py::TestCulprits::"
        "test_a_small_frame_is_never_believed_to_be_over_the_limit",
    ),
    Mutant(
        "the session of a giant result is offered again",
        _BLAME,
        "            self._connection.session_uuid = None\n",
        "            pass\n",
        "tests/core/test_fault_table.py::TestTooBig::"
        "test_inbound_a_giant_result_is_searched_for_and_fails_its_task_only",
    ),
    Mutant(
        "the task that was asked about first is the one with the giant result",
        _CULPRITS,
        "if self._evidence >= PROVEN:",
        "if self._evidence:",
        "tests/core/test_fine_rules_of_sockets.py::"
        "test_the_first_task_that_was_asked_about_may_be_innocent",
    ),
    Mutant(
        "all are asked at once though one has a giant result",
        _CULPRITS,
        "return 1 if self.abandon_session else usual",
        "return usual",
        "tests/core/test_fault_table.py::TestTooBig::"
        "test_inbound_a_giant_result_is_searched_for_and_fails_its_task_only",
    ),
    Mutant(
        "the search for a giant result never ends",
        _DIALS,
        "        if lived >= SEARCH:\n            self.culprits.forgive()\n",
        "",
        "tests/core/test_fine_rules_of_sockets.py::test_the_search_for_a_giant_result_ends",
    ),
    Mutant(
        "a request that the server closes over ends the client",
        _BLAME,
        "            culprit = self._suspect(now)\n",
        "            pass\n",
        "tests/core/test_trouble.py::TestCulprits::"
        "test_a_request_that_the_server_closes_over_fails_alone",
    ),
    Mutant(
        "suspects are sent together",
        _BLAME,
        "        return False, False\n",
        "        return True, True\n",
        "tests/core/test_fine_rules_of_sockets.py::test_suspects_go_out_one_by_one",
    ),
    Mutant(
        "what is held back stays so",
        _BLAME,
        "            self._culprits.held_until = FOREVER\n            self._out.wake = True\n",
        "            self._culprits.held_until = FOREVER\n",
        "tests/core/test_fine_rules_of_sockets.py::test_what_was_held_back_wakes_the_writer",
    ),
    Mutant(
        "an answered task stays a suspect",
        _BLAME,
        "return record is None or record.ladder.confirmed",
        "return False",
        "tests/core/test_fine_rules_of_sockets.py::test_an_answered_suspect_lets_the_next_one_go",
    ),
    Mutant(
        "every code of an error before the reply is about the authentication",
        "_core/inbound/meaning.py",
        'return error.family is ErrorFamily.AUTH or "session" in error.code[:200].lower()',
        "return True",
        "tests/core/test_questions.py::"
        "test_an_error_without_an_address_before_the_authentications_reply_is_not_about_it",
    ),
    Mutant(
        "two refusals in one frame are two",
        "_core/task_errors.py",
        "                    if not refused:\n                        refused = True\n",
        "                    if not refused:\n                        refused = False\n",
        "tests/core/test_hostile_peer.py::test_two_refusals_in_one_frame_are_one",
    ),
    Mutant(
        "refused POSTs that were under way together count one by one",
        _DIALS,
        "if self.over or number >= self._post_struck:",
        "if self.over:",
        "tests/core/test_posts_refused.py::test_posts_that_were_under_way_together_were_sent_with_one_key",
    ),
    Mutant(
        "a failed client tells of its end twice",
        "_core/core.py",
        "        if not over.told:\n",
        "        if True:\n",
        equivalent="Behind the first Closed the context is silenced, and drops all events.",
    ),
    Mutant(
        "a client that failed takes tasks",
        "_core/core.py",
        "if connection.over or self._draining:\n            raise",
        "if self._draining:\n            raise",
        "tests/core/test_fault_table_of_dials.py::TestKeyRefused::"
        "test_a_fixed_key_that_never_worked_is_not_tried_again",
    ),
    Mutant(
        "a draining client takes tasks",
        "_core/core.py",
        "if connection.over or self._draining:\n            raise",
        "if connection.over:\n            raise",
        "tests/core/test_life.py::test_draining_refuses_new_tasks_and_finishes_the_old",
    ),
    Mutant(
        "an empty answer to a question tells nothing of the socket",
        "_core/answers.py",
        "                if self._recovery.empty(now):\n",
        "                if self._recovery.empty(now) and False:\n",
        "tests/core/test_trouble.py::TestCulprits::"
        "test_it_fails_alone_where_questions_are_all_that_is_answered_before",
    ),
    Mutant(
        "an empty message that answers nothing forgives a broken protocol",
        "_core/answers.py",
        "                if self._recovery.empty(now):\n",
        "                if self._recovery.empty(now) or True:\n",
        "tests/core/test_trouble.py::TestCulprits::"
        "test_an_empty_message_that_answers_nothing_forgives_nothing",
    ),
]
