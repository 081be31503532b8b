"""Trouble that passes is not the end: strikes, bad dials, culprits, and dials that come near."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import ConnectionState, TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.classify import Loss, LossKind, Verdict
from runware_ws.errors import AuthenticationError, ConnectionFailed, InvalidTask, ProtocolError
from runware_ws.events import Closed
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended

KEY_ERROR = {"code": "invalidApiKey", "message": "no", "taskType": "authentication"}
PASSING = [
    Loss(LossKind.TLS_FAILED, detail="certificate has expired"),
    Loss(LossKind.PROXY_REFUSED, status=407),
    Loss(LossKind.CANNOT_DIAL, detail="something unforeseen"),
    Loss(LossKind.PEER_BROKE_PROTOCOL, detail="no WebSocket"),
    *(Loss(LossKind.HTTP_REFUSED, status=status) for status in (302, 402, 403, 404, 405)),
]


class SlowBackoff(Bench):
    """Attempt ``n`` is drawn as ``delays_of[n]``; the last one repeats."""

    def __init__(self, *delays: float, **options: Any) -> None:
        super().__init__(**options)

        def draw(attempt: int) -> float:
            self.delays.append(attempt)
            return delays[min(attempt, len(delays)) - 1]

        self.core._connection._draw = draw  # pyright: ignore[reportPrivateUsage]


class TestBackoff:
    def test_an_authenticated_connection_forgets_the_dials_that_failed(self) -> None:
        bench = Bench()
        bench.begin()
        bench.step(3)
        bench.cut()
        for _ in range(5):
            bench.step(0.25)
            bench.cut(loss=Loss(LossKind.DIAL_FAILED))
        assert bench.delays[-1] == 6
        bench.reconnect()
        bench.cut()
        assert bench.delays[-1] == 1

    def test_a_server_that_drops_us_right_after_the_authentication_is_spared(self) -> None:
        bench = Bench()
        bench.begin()
        for _ in range(5):
            bench.cut()
            bench.reconnect()
        assert bench.delays == [1, 2, 3, 4, 5]


class TestHurry:
    def test_a_task_of_an_idle_client_brings_a_far_dial_near(self) -> None:
        bench = SlowBackoff(0.3, 20.0)
        bench.begin()
        bench.cut()
        bench.reconnect(wait=0.3)
        bench.cut()
        bench.step(1)
        assert bench.opens() == [1, 2]
        record = bench.task()
        bench.step(0.3)
        assert bench.opens() == [1, 2, 3]
        bench.ready()
        bench.written()
        bench.answer(record)
        assert record.state is TaskState.DONE

    def test_the_driver_is_told(self) -> None:
        bench = SlowBackoff(0.3, 20.0)
        bench.begin()
        bench.cut(1013)
        record = bench.task()
        bench.core.cancel(record, bench.now)
        assert bench.core.next_deadline() == pytest.approx(bench.now + 0.3)

    def test_it_happens_once_for_each_dial(self) -> None:
        bench = SlowBackoff(4.0, 20.0)
        bench.begin()
        bench.cut(1013)
        for _ in range(8):
            bench.task()
            bench.step(0.5)
        assert bench.opens() == [1, 2], "4 s after the first task, not after the last"

    def test_a_near_dial_stays_where_it_is(self) -> None:
        bench = SlowBackoff(0.9, 20.0)
        bench.begin()
        bench.cut()
        bench.task()
        assert bench.delays == [1]

    def test_it_never_comes_before_the_retry_after(self) -> None:
        bench = SlowBackoff(0.3, 3.0, 20.0)
        bench.start()
        for _ in range(3):
            bench.cut(loss=Loss(LossKind.HTTP_REFUSED, status=503, retry_after=10))
            bench.step(bench.core.next_deadline() - bench.now)
        opens = len(bench.opens())
        bench.cut(loss=Loss(LossKind.HTTP_REFUSED, status=503, retry_after=10))
        bench.task()
        bench.step(12.9)
        assert len(bench.opens()) == opens
        bench.step(0.2)
        assert len(bench.opens()) == opens + 1

    def test_a_busy_client_of_a_server_that_is_down_keeps_to_its_backoff(self) -> None:
        bench = SlowBackoff(0.3, 0.3, 20.0)
        bench.begin()
        bench.task()
        bench.cut()
        for _ in range(3):
            bench.step(0.3)
            bench.cut(loss=Loss(LossKind.DIAL_FAILED))
        opens = len(bench.opens())
        bench.task()
        bench.step(15)
        assert len(bench.opens()) == opens


class TestStrikes:
    def test_a_revoked_key_ends_the_client_within_3_seconds(self) -> None:
        bench = SlowBackoff(0.5, 4.0, 24.0, 30.0)
        record = bench.begin_written()
        bench.cut()
        start = bench.now
        for _ in range(2):
            bench.step(0.5)
            bench.open()
            bench.say({"errors": [KEY_ERROR]})
            if bench.core.state is ConnectionState.AUTHENTICATING:
                bench.say({"errors": [KEY_ERROR]})
        assert isinstance(ended(record, TaskState.FAILED), AuthenticationError)
        assert bench.now - start <= 3

    @pytest.mark.parametrize("apart", [700.0, 20.0])
    def test_a_key_that_was_rotated_twice_is_no_refused_key(self, apart: float) -> None:
        bench = Bench(fixed_key=False, keepalive=10_000)
        bench.begin()
        for _ in range(3):
            bench.step(apart if apart > 600 else 5)
            bench.say({"data": [{"taskType": "ping", "pong": True}]})
            if bench.core.state is not ConnectionState.READY:
                bench.reconnect()
            bench.cut()
            bench.step(0.25)
            bench.open()
            bench.say({"errors": [KEY_ERROR]})
            bench.reconnect()
            if apart < 600:
                for _ in range(4):
                    bench.step(5)
                    bench.say({"data": [{"taskType": "ping", "pong": True}]})
            bench.cut()
            bench.reconnect()
        assert bench.core.failure is None

    def test_a_useful_answer_forgives_a_refused_key(self) -> None:
        bench = Bench(fixed_key=False)
        bench.begin()
        for _ in range(3):
            bench.cut()
            bench.step(0.25)
            bench.open()
            bench.say({"errors": [KEY_ERROR]})
            bench.reconnect()
            bench.answer(bench.written_task())
        assert bench.core.failure is None

    def test_1008_right_after_each_authentication_ends_the_client(
        self,
    ) -> None:
        bench = Bench(fixed_key=False)
        record = bench.begin_written()
        bench.cut(1008)
        bench.reconnect()
        bench.cut(1008)
        assert isinstance(ended(record, TaskState.FAILED), AuthenticationError)

    def test_1008_after_a_useful_exchange_is_not_about_the_key(self) -> None:
        bench = Bench(fixed_key=False)
        bench.begin()
        for _ in range(4):
            bench.answer(bench.written_task())
            bench.cut(1008)
            bench.reconnect()
        assert bench.core.failure is None
        assert bench.delays == [1, 2, 3, 4], "but the server is spared"

    def test_an_error_without_an_address_about_an_account_does_not_end_the_client(self) -> None:
        bench = Bench()
        bench.start()
        bench.open()
        bench.say({"errors": [{"code": "insufficientCredits", "message": "of some task"}]})
        assert bench.core.failure is None


class TestBadDials:
    @pytest.mark.parametrize("loss", PASSING, ids=str)
    def test_one_bad_dial_after_good_ones_is_backed_off_from(self, loss: Loss) -> None:
        bench = Bench()
        record = bench.begin_written()
        bench.cut()
        for _ in range(2):
            bench.step(0.25)
            bench.cut(loss=loss)
        assert bench.core.state is ConnectionState.BACKOFF
        bench.reconnect()
        bench.answer(record)
        assert record.state is TaskState.DONE

    @pytest.mark.parametrize("loss", PASSING, ids=str)
    def test_if_it_lasts_it_is_over(self, loss: Loss) -> None:
        bench = Bench(delay=20)
        bench.begin()
        bench.cut()
        start = bench.now
        while bench.core.failure is None:
            bench.step(20)
            bench.cut(loss=loss)
            assert bench.now - start < 300
        assert bench.now - start > 60
        failure = bench.core.failure
        assert isinstance(failure, AuthenticationError | ConnectionFailed | ProtocolError)
        assert len(bench.events(Closed)) == 1

    def test_many_dials_within_a_moment_do_not_last(self) -> None:
        bench = Bench(delay=0.1)
        bench.begin()
        bench.cut()
        for _ in range(100):
            bench.step(0.1)
            bench.cut(loss=Loss(LossKind.HTTP_REFUSED, status=404))
        assert bench.core.failure is None

    def test_a_dial_that_ends_otherwise_begins_the_count_anew(self) -> None:
        bench = Bench(delay=20)
        bench.begin()
        bench.cut()
        for number in range(40):
            bench.step(20)
            kind = LossKind.DIAL_FAILED if number % 4 == 3 else LossKind.TLS_FAILED
            bench.cut(loss=Loss(kind))
        assert bench.core.failure is None

    def test_a_verdict_of_the_user_is_obeyed_at_once(self) -> None:
        bench = Bench(http_statuses={404: Verdict.TERMINAL})
        bench.begin()
        bench.cut()
        bench.step(0.25)
        bench.cut(loss=Loss(LossKind.HTTP_REFUSED, status=404))
        assert isinstance(bench.core.failure, ConnectionFailed)

    def test_401_is_about_the_key_at_any_time(self) -> None:
        bench = Bench()
        bench.begin()
        bench.cut()
        for _ in range(2):
            bench.step(0.25)
            bench.cut(loss=Loss(LossKind.HTTP_REFUSED, status=401))
        assert isinstance(bench.core.failure, AuthenticationError)


class Play:
    """A server that answers all tasks but one, over which it closes with ``code``.

    ``empty``: it answers questions about what it does not know with nothing.
    """

    def __init__(self, code: int, *, empty: bool = False, **options: Any) -> None:
        self.code = code
        self.empty = empty
        self.bench = Bench(resend_after=0, fixed_key=False, **options)
        self.bench.begin()
        self.sockets = 1

    def run(self, bad: TaskRecord, *others: TaskRecord, seconds: float = 60.0) -> None:
        """Let it go on until all have ended."""
        bench = self.bench
        known = {record.uuid: record for record in (bad, *others)}
        for _ in range(int(seconds / 0.05)):
            if all(record.ended for record in known.values()):
                return
            bench.step(0.05)
            frame = None
            if bench.core.state is ConnectionState.READY:
                frame = bench.core.next_frame(bench.now)
            elif bench.core.state is ConnectionState.DIALING:
                self.sockets += 1
                bench.ready()
            if frame is None:
                continue
            if bad in frame.records:
                bench.cut(self.code)
                continue
            for record in frame.records:
                bench.answer(record)
            if not frame.records:
                for record in known.values():
                    if record.ladder.question is None or record.ended:
                        continue
                    if self.empty:
                        bench.say({"data": []})
                    else:
                        kind = record.ladder.question.value
                        bench.refuse(record, "taskNotFound", taskType=kind)
        raise AssertionError([record for record in known.values() if not record.ended])


class TestCulprits:
    @pytest.mark.parametrize("code", [1002, 1003, 1007, 1008])
    def test_a_request_that_the_server_closes_over_fails_alone(self, code: int) -> None:
        play = Play(code)
        bad, good = play.bench.task(), play.bench.task()
        play.run(bad, good)
        failure = ended(bad, TaskState.FAILED)
        assert isinstance(failure, ProtocolError)
        assert str(code) in failure.message
        assert good.state is TaskState.DONE
        assert play.sockets <= 4
        assert play.bench.core.failure is None
        after = play.bench.task()
        play.bench.step(1)
        if play.bench.core.state is not ConnectionState.READY:
            play.bench.reconnect()
        play.bench.written()
        play.bench.answer(after)
        assert after.state is TaskState.DONE

    @pytest.mark.parametrize("empty", [False, True])
    @pytest.mark.parametrize("code", [1002, 1003, 1007, 1008])
    def test_it_fails_alone_where_questions_are_all_that_is_answered_before(
        self, code: int, *, empty: bool
    ) -> None:
        play = Play(code, empty=empty, resend_early=True)
        bad, good = play.bench.task(), play.bench.task()
        play.run(bad, good)
        assert isinstance(ended(bad, TaskState.FAILED), ProtocolError)
        assert good.state is TaskState.DONE
        assert play.bench.core.failure is None

    def test_an_empty_message_that_answers_nothing_forgives_nothing(self) -> None:
        bench = Bench()
        bench.begin()
        for _ in range(2):
            bench.say({"data": []})
            bench.cut(1007)
            if bench.core.state is ConnectionState.BACKOFF:
                bench.reconnect()
        assert isinstance(bench.core.failure, ProtocolError)

    @pytest.mark.parametrize("batch", [1, 5, 64])
    def test_it_is_found_among_many_and_nobody_else_is_harmed(self, batch: int) -> None:
        play = Play(1007, batch_tasks=batch)
        records = [play.bench.task() for _ in range(30)]
        bad = records.pop(11)
        play.run(bad, *records)
        assert isinstance(ended(bad, TaskState.FAILED), ProtocolError)
        assert {record.state for record in records} == {TaskState.DONE}
        assert bad.sends == 3 if batch > 1 else bad.sends in (2, 3)

    def test_two_of_them_are_both_found(self) -> None:
        play = Play(1007, batch_tasks=64)
        one = play.bench.task()
        good = [play.bench.task() for _ in range(5)]
        play.run(one, *good)
        play.bench.step(5)
        if play.bench.core.state is not ConnectionState.READY:
            play.bench.reconnect()
        two = play.bench.task()
        more = [play.bench.task() for _ in range(5)]
        play.run(two, *more)
        for record in (one, two):
            assert isinstance(ended(record, TaskState.FAILED), ProtocolError)
        assert {record.state for record in (*good, *more)} == {TaskState.DONE}

    def test_a_result_that_the_server_cannot_send_harms_its_task_only(self) -> None:
        bench = Bench()
        bench.begin()
        first = bench.written_task(size=2_000)
        bench.answer(first)
        giant, other = bench.task(timeout=1000), bench.task(timeout=1000)
        bench.written()
        for _ in range(2):
            bench.cut(1009)
            bench.reconnect()
        for _ in range(200):
            if giant.ended and other.ended:
                break
            if bench.core.state is not ConnectionState.READY:
                bench.reconnect(OTHER_SESSION)
            bench.step(0.3)
            for task in bench.written():
                if task["taskUUID"] == giant.uuid:
                    bench.cut(1009)
                elif task["taskUUID"] == other.uuid and not other.ended:
                    reply = {"data": [{"taskUUID": other.uuid, "text": "yes"}]}
                    bench.say({"data": [{**task, "response": reply}]})
        assert isinstance(ended(giant, TaskState.FAILED), ProtocolError)
        assert other.state is TaskState.DONE
        for size in (10, 500, 1_900):
            bench.task(size=size)

    def test_a_small_frame_is_never_believed_to_be_over_the_limit(self) -> None:
        play = Play(1009)
        bad = play.bench.task(size=500)
        play.run(bad)
        assert isinstance(ended(bad, TaskState.FAILED), ProtocolError)
        later = play.bench.task(size=500)
        assert not later.ended

    def test_a_limit_is_forgotten_when_a_bigger_frame_goes_through(self) -> None:
        play = Play(1009)
        bench = play.bench
        bad = bench.task(size=10_000)
        play.run(bad)
        with pytest.raises(InvalidTask, match="refused a frame"):
            bench.task(size=12_000)
        small = [bench.task(size=9_000) for _ in range(3)]
        play.run(bad, *small)
        assert {record.state for record in small} == {TaskState.DONE}
        bench.task(size=12_000)


def test_nothing_comes_after_closed() -> None:
    bench = Bench(fixed_key=True)
    bench.start()
    bench.task()
    bench.open()
    bench.say({"errors": [KEY_ERROR]})
    bench.say({"data": [{"taskUUID": "y", "text": "z"}]})
    bench.core.drain(bench.now)
    bench.core.close(bench.now)
    bench.core.fail(ConnectionFailed("too late"), bench.now)
    bench.step(1000)
    assert isinstance(bench.events()[-1], Closed)
    assert len(bench.events(Closed)) == 1


class TestSessionsThatAreRefused:
    def test_the_session_of_an_earlier_process_is_refused_and_the_socket_closed(self) -> None:
        bench = Bench(session_uuid=SESSION)
        bench.start()
        record = bench.task()
        bench.open()
        gone = {"code": "sessionExpired", "message": "no", "taskType": "authentication"}
        bench.say({"errors": [gone]})
        bench.cut(1008)
        assert not record.ended
        bench.reconnect(OTHER_SESSION, wait=1)
        assert bench.offered() is None
        assert bench.written()

    @pytest.mark.parametrize("earlier", [False, True])
    def test_the_server_closes_over_a_session_without_a_word(self, earlier: bool) -> None:
        bench = Bench(session_uuid=SESSION if earlier else None)
        if earlier:
            bench.start()
            record = bench.task()
        else:
            record = bench.begin_written()
            bench.cut()
            bench.step(0.5)
        dials = 0
        while True:
            bench.open()
            if bench.offered() is None:
                break
            bench.cut(1008)
            assert not record.ended
            dials += 1
            assert dials < 3
            bench.step(0.5)
        bench.cut(1008)
        bench.step(0.5)
        if not record.ended:
            # A key that worked before gets one more try.
            bench.open()
            bench.cut(1008)
        assert isinstance(ended(record, TaskState.FAILED), AuthenticationError)
