"""Mutants around the core: driver, sockets, keys, handles, streams, maps, and the command line."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

__all__ = ["EDGES"]

_DRIVER, _MAP, _STREAMS = "_io/driver.py", "client/mapping.py", "client/streams.py"
_RUNNER = "batch/runner.py"

EDGES = [
    Mutant(
        "a frame that was not sent is not taken back",
        _DRIVER,
        "                self.core.not_written(generation, frame)\n",
        "                pass\n",
        "tests/client/test_driver.py::"
        "test_a_frame_that_was_not_sent_is_sent_by_the_next_socket_without_a_question",
    ),
    Mutant(
        "messages of one read but the first are dropped",
        _DRIVER,
        "                    core.receive(generation, more, at)\n",
        "",
        "tests/client/test_driver.py::test_all_messages_of_one_read_are_read",
    ),
    Mutant(
        "what the peer said before it closed is not read",
        _DRIVER,
        "            await anyio.sleep(BACKLOG_GRACE)\n",
        "",
        "tests/client/test_driver.py::test_what_had_come_before_a_failed_write_is_read",
    ),
    Mutant(
        "the bytes of large messages are not looked at",
        "_io/timer.py",
        "        return max(0, self._activity - before)\n",
        "        return 0\n",
        "tests/client/test_driver.py::"
        "test_the_bytes_of_a_large_message_in_the_making_keep_the_socket",
    ),
    Mutant(
        "those beyond the first turn are not woken",
        _DRIVER,
        "        if to_wake:\n            self._waker.set()\n",
        "",
        "tests/client/test_driver.py::test_everybody_is_woken_however_many_end_at_once",
    ),
    Mutant(
        "all are woken at once",
        _DRIVER,
        "        while to_wake and self._wakes_left:\n",
        "        while to_wake:\n",
        "tests/client/test_flood.py::"
        "test_others_have_their_turn_while_thousands_of_results_come_in",
    ),
    Mutant(
        "a fast socket gives nobody a turn",
        _DRIVER,
        "if in_a_row % FRAMES_IN_A_ROW == 0:",
        "if in_a_row < 0:",
        "tests/client/test_driver.py::test_a_socket_with_room_gives_others_their_turn",
    ),
    Mutant(
        "a socket that was given up is opened",
        _DRIVER,
        "            if generation <= self._given_up:\n                return\n",
        "",
        "tests/client/test_driver.py::"
        "test_a_socket_that_was_given_up_before_its_dial_is_not_opened",
    ),
    Mutant(
        "the reason of a loss is not redacted",
        _DRIVER,
        "        detail = self._keys.redact_text(loss.detail)\n",
        "        detail = loss.detail\n",
        "tests/client/test_secrets.py",
    ),
    Mutant(
        "the words of a key function are told",
        _DRIVER,
        'detail=f"api_key() raised {type(exc).__name__}")',
        'detail=f"api_key() raised {exc}")',
        "tests/client/test_keys.py::test_a_fetch_that_fails_is_tried_again",
    ),
    Mutant(
        "a task that was given up with its answer here is lost",
        _DRIVER,
        "            self.core.keep(record)\n",
        "            pass\n",
        "tests/client/test_cancellation.py::test_a_cancelled_run_gives_its_answer_or_keeps_it",
    ),
    Mutant(
        "a deadline that comes nearer does not wake the timer",
        "_io/timer.py",
        "        if deadline < self._armed:\n            self._changed.set()\n",
        "",
        "tests/client/test_virtual_time.py",
    ),
    Mutant(
        "a client that closes waits for its peer for ever",
        _DRIVER,
        "with anyio.move_on_after(self._config.close_timeout, shield=True) as scope:",
        "with anyio.move_on_after(1_000_000, shield=True) as scope:",
        "tests/client/test_virtual_time.py::test_closing_with_a_peer_that_does_not_answer",
    ),
    Mutant(
        "a client that closes leaves without a word",
        _DRIVER,
        "        self._graceful = close.graceful\n",
        "        self._graceful = False\n",
        "tests/client/test_cancellation.py::test_a_verb_cancelled_at_each_step",
    ),
    Mutant(
        "nobody is told that the last task ended",
        _DRIVER,
        "        if self._watchers and not self.pending:\n            self._notify()\n",
        "",
        "tests/client/test_close.py::test_drain_finishes_and_refuses_new_tasks",
    ),
    Mutant(
        "keys are not redacted",
        "_io/keys.py",
        "                    data = data.replace(secret, REDACTED)\n",
        "                    pass\n",
        "tests/client/test_secrets.py::test_a_short_key_is_redacted_whole",
    ),
    Mutant(
        "the key before a rotation is not redacted",
        "_io/keys.py",
        "            del self._secrets[:-4]\n",
        "            del self._secrets[:-1]\n",
        "tests/client/test_keys.py::test_the_key_before_a_rotation_is_still_redacted",
    ),
    Mutant(
        "a cancellation of a key function is ours",
        "_io/supervisor.py",
        "    if not results:\n        raise OwnCancellation\n",
        "    if not results:\n        raise asyncio.CancelledError\n",
        "tests/client/test_lifetime.py::"
        "test_a_key_function_that_ends_with_a_cancellation_of_its_own",
    ),
    Mutant(
        "a dropped socket lingers",
        "_io/transport/on_asyncio.py",
        "        if self.state is not State.CLOSED:\n"
        '            forget_unsent(self.transport.get_extra_info("socket"))\n',
        "",
        "tests/client/test_way.py::test_a_socket_that_is_dropped_ends_with_a_reset",
    ),
    Mutant(
        "a dropped socket lingers on trio",
        "_io/transport/on_trio.py",
        "        if self.state is not State.CLOSED:\n"
        "            forget_unsent(self.wire.socket_stream())\n",
        "",
        "tests/client/test_way.py::test_a_socket_that_is_dropped_ends_with_a_reset",
    ),
    Mutant(
        "redirects are followed",
        "_io/transport/on_asyncio.py",
        "        return exc\n",
        "        return super().process_redirect(exc)\n",
        "tests/client/test_way.py::test_redirects_are_not_followed",
    ),
    Mutant(
        "events that wait have no limit in bytes",
        "_io/feed.py",
        "while events and (len(events) >= self._limit or self._weight + weight > MOST_BYTES):",
        "while events and len(events) >= self._limit:",
        "tests/client/test_bounds.py::test_events_that_wait_are_bounded_in_bytes",
    ),
    Mutant(
        "events that are dropped keep their weight",
        "_io/feed.py",
        "            self._weight -= events.popleft()[1]\n",
        "            self._weight -= 0 * events.popleft()[1]\n",
        "tests/client/test_bounds.py::test_events_that_wait_are_bounded_in_bytes",
    ),
    Mutant(
        "events that are read keep their weight",
        "_io/feed.py",
        "        self._weight -= weight\n",
        "",
        "tests/client/test_bounds.py::test_events_that_were_read_make_room",
    ),
    Mutant(
        "a POST that was given up goes on",
        "_io/posts.py",
        "        if scope is not None:\n            scope.cancel()\n",
        "",
        "tests/client/test_every_await.py::test_a_verb_cancelled_at_each_suspension",
    ),
    Mutant(
        "a cancellation of a POST's own ends the client",
        "_io/posts.py",
        "if scope.cancel_called or tasks.cancelled:",
        "if True:",
        "tests/client/test_post.py::test_a_post_that_breaks_harms_nobody_else",
    ),
    Mutant(
        "the words of a POST are told",
        "_io/posts.py",
        "            return _broken(type(exc).__name__)\n",
        "            return _broken(str(exc))\n",
        "tests/client/test_post.py::"
        "test_the_words_of_a_post_that_breaks_before_it_is_sent_are_not_told",
    ),
    Mutant(
        "waiters of a handle stay when they are cancelled",
        "client/handle.py",
        "        except BaseException:\n            waiters.pop(waiter, None)\n            raise\n",
        "        except BaseException:\n            raise\n",
        "tests/client/test_bounds.py::test_a_handle_that_is_looked_at_often_keeps_no_waiter",
    ),
    Mutant(
        "a cancelled submit leaves its task",
        "client/client.py",
        "            await handle.wait_admitted()\n"
        "        except BaseException:\n            handle.give_up()\n",
        "            await handle.wait_admitted()\n        except BaseException:\n",
        "tests/client/test_limits.py::test_cancelled_while_waiting_for_room_was_never_sent",
    ),
    Mutant(
        "a closing that is cancelled waits for the handshake",
        "client/client.py",
        "        except BaseException:\n            driver.abort()\n            raise\n",
        "        except BaseException:\n            raise\n",
        "tests/client/test_driver.py::"
        "test_a_closing_that_is_cancelled_does_not_wait_for_the_handshake",
    ),
    Mutant(
        "a stream that is left goes on",
        _STREAMS,
        "            self._handle.give_up()\n",
        "            pass\n",
        "tests/client/test_every_await.py::test_a_verb_cancelled_at_each_suspension",
    ),
    Mutant(
        "a stream that was read keeps its answer for a claim",
        _STREAMS,
        "        self._taken = True\n",
        "",
        "tests/client/test_every_await.py",
    ),
    Mutant(
        "a stream that ended in the middle is a timeout",
        _STREAMS,
        "            if not self._deltas.count:\n                raise\n",
        "            raise\n",
        "tests/streams/test_client_streams.py::"
        "test_without_an_archive_a_cut_interrupts_and_tells_what_came",
    ),
    Mutant(
        "deltas that wait are lost when the task ends",
        _STREAMS,
        "        while not self._deltas.pending:\n",
        "        while not self._deltas.pending or self._record.ended:\n",
        "tests/streams/test_client_streams.py::test_deltas_come_in_order_and_make_the_whole",
    ),
    Mutant(
        "a map that is left loses the answers nobody read",
        _MAP,
        "            if ended is not None:\n                ended.give_up()\n",
        "            if ended is not None:\n                pass\n",
        "tests/client/test_map.py::test_what_had_come_and_was_not_taken_can_be_claimed",
    ),
    Mutant(
        "a map that is left lets its tasks run",
        _MAP,
        "            handle.give_up()\n        for _, ended",
        "            pass\n        for _, ended",
        "tests/client/test_map.py::test_leaving_early_cancels_the_rest",
    ),
    Mutant(
        "outcomes that wait make no room scarce",
        _MAP,
        "return self._concurrency - len(self.running) - len(self.done)",
        "return self._concurrency - len(self.running)",
        "tests/client/test_map.py::test_the_input_is_pulled_lazily",
    ),
    Mutant(
        "refusals pile up",
        _MAP,
        "        if len(self.done) >= TURN:\n",
        "        if len(self.done) < 0:\n",
        "tests/client/test_map.py::test_refusals_do_not_pile_up_before_they_are_read",
    ),
    Mutant(
        "a map gives nobody a turn",
        _MAP,
        "        if self._turn <= 0:\n",
        "        if self._turn <= -1_000_000:\n",
        "tests/client/test_map.py::test_others_have_their_turn",
    ),
    Mutant(
        "the error of a source is not raised",
        _MAP,
        "            elif run.broken is not None:\n                raise run.broken\n",
        "            elif run.broken is not None:\n                return\n",
        "tests/client/test_map.py::test_a_source_that_raises",
    ),
    Mutant(
        "the source of a map that is left runs on",
        _MAP,
        "            feeder.scope.cancel()\n",
        "            pass\n",
        "tests/client/test_map.py::test_leaving_early_closes_an_async_source",
    ),
    Mutant(
        "an endless source on a closed client is endless",
        _MAP,
        "                if self._refused > 1:\n",
        "                if self._refused > 1_000_000:\n",
        "tests/client/test_map.py::test_an_endless_source_ends_with_the_client",
    ),
    Mutant(
        "a line of a run has no key",
        _RUNNER,
        "            key = work.key(journal.scope)\n",
        "            key = None\n",
        "tests/batch/test_runner.py::test_two_runs_share_the_work",
    ),
    Mutant(
        "the keys of a run change with each start",
        "batch/run_tries.py",
        'return f"{scope}/{self.line.key:032x}{self.suffix}"',
        'return f"{scope}/{uuid4()}{self.suffix}"',
        "tests/cli/test_signals.py::test_killed_and_answered_meanwhile",
    ),
    Mutant(
        "the journal of a run goes though tasks are open",
        "batch/run_batch.py",
        "runner.report().left or runner.doubtful or runner.fatal",
        "runner.fatal",
        "tests/cli/test_signals.py::test_grace_is_short_and_the_rest_comes_next_time",
    ),
    Mutant(
        "a run forgets that a line timed out",
        _RUNNER,
        "not isinstance(answer, TaskError) and answer.submitted is not Submitted.NO",
        "isinstance(answer, Result)",
        "tests/cli/test_run.py::test_a_timeout_is_asked_for_and_not_run_twice",
    ),
    Mutant(
        "two runs share an output",
        "batch/writing/files.py",
        "        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "tests/cli/test_signals.py::test_two_runs_do_not_share_an_output",
    ),
    Mutant(
        "a definite verdict is told again though another try was asked for",
        "batch/run_tries.py",
        '            self.suffix = f"~{answer.task_uuid}"',
        "            pass",
        "tests/batch/test_runner.py::test_a_definite_error_is_tried_again_when_it_is_asked_for",
    ),
    Mutant(
        "what only the output knows is not asked for",
        "batch/run_seeding.py",
        "    if site is None or not unsure:\n",
        "    if site is None or unsure:\n",
        "tests/batch/test_runner.py::test_a_task_in_doubt_is_asked_for_without_its_journal",
    ),
    Mutant(
        "a second signal ends no run",
        "cli/run.py",
        "if again or not in_flight:",
        "if not in_flight:",
        "tests/cli/test_signals.py::test_a_second_signal_ends_at_once",
    ),
]
