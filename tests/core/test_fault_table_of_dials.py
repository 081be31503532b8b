"""Rows of the fault table about why a connection ends or never opens, and when to dial again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws._core.states import ConnectionState, TaskState
from runware_ws.classify import (
    CLOSE_CODES,
    HTTP_STATUSES,
    Loss,
    LossKind,
    Verdict,
    classify_close,
    classify_http,
    classify_loss,
)
from runware_ws.errors import AuthenticationError, ConnectionFailed, ProtocolError, Submitted
from runware_ws.events import Closed, DialFailed, KeyRefused
from tests.core.bench import SESSION, Bench, ended

KEY_ERROR = {"code": "invalidApiKey", "message": "no", "taskType": "authentication"}
LEGACY_KEY_ERROR = {
    "error": True,
    "errorId": 19,
    "errorMessageContentId": 1212,
    "errorMessage": "Invalid API key",
}


class TestKeyRefused:
    @pytest.mark.parametrize(
        "frame",
        [
            {"errors": [KEY_ERROR]},
            {"error": KEY_ERROR},
            {"error": [KEY_ERROR]},
            LEGACY_KEY_ERROR,
        ],
    )
    def test_a_fixed_key_that_never_worked_is_not_tried_again(self, frame: object) -> None:
        bench = Bench(fixed_key=True)
        bench.start()
        record = bench.task()
        bench.open()
        bench.say(frame)
        assert bench.core.state is ConnectionState.FAILED
        failure = ended(record, TaskState.FAILED)
        assert isinstance(failure, AuthenticationError)
        assert failure.submitted is Submitted.NO
        bench.step(1000)
        assert bench.opens() == [1]
        assert bench.events(KeyRefused)[-1].final
        with pytest.raises(AuthenticationError):
            bench.task()

    def test_on_a_reconnect_the_key_is_fetched_once_more_then_it_is_over(self) -> None:
        bench = Bench(fixed_key=True)
        record = bench.begin_written()
        bench.cut()
        for _ in range(2):
            bench.step(1)
            bench.open()
            bench.say({"errors": [KEY_ERROR]})
            if bench.core.state is ConnectionState.AUTHENTICATING:
                bench.say({"errors": [KEY_ERROR]})
        assert bench.core.state is ConnectionState.FAILED
        failure = ended(record, TaskState.FAILED)
        assert isinstance(failure, AuthenticationError)
        assert failure.submitted is Submitted.MAYBE
        bench.step(1000)
        assert bench.opens() == [1, 2, 3]

    def test_a_rotated_key_works_on_the_second_fetch(self) -> None:
        bench = Bench(fixed_key=False)
        record = bench.begin_written()
        bench.cut()
        bench.step(0.25)
        bench.open()
        bench.say({"errors": [KEY_ERROR]})
        bench.reconnect()
        bench.answer(record)
        assert record.state is TaskState.DONE
        assert [event.final for event in bench.events(KeyRefused)] == [False]

    @pytest.mark.parametrize(
        "loss",
        [
            Loss(LossKind.CLOSED, code=1008),
            Loss(LossKind.HTTP_REFUSED, status=401),
            Loss(LossKind.HTTP_REFUSED, status=403),
        ],
    )
    def test_1008_and_http_401_and_403_count_as_a_refused_key(self, loss: Loss) -> None:
        bench = Bench(fixed_key=False)
        bench.start()
        bench.cut(loss=loss)
        bench.step(1)
        bench.cut(loss=loss)
        assert isinstance(bench.core.failure, AuthenticationError)
        bench.step(1000)
        assert bench.opens() == [1, 2]

    def test_a_server_that_is_only_overloaded_is_no_refusal_of_the_key(self) -> None:
        bench = Bench()
        bench.start()
        bench.open()
        bench.say({"errors": [{"code": "rateLimitExceeded", "message": "slow down"}]})
        assert bench.core.failure is None
        bench.reconnect()
        assert bench.core.state is ConnectionState.READY

    @pytest.mark.parametrize("name", ["retry_after", "retryAfter"])
    def test_what_it_asks_to_wait_is_waited_for_with_jitter_on_top(self, name: str) -> None:
        bench = Bench(delay=0.25)
        bench.start()
        bench.open()
        busy = {"code": "rateLimitExceeded", "message": "slow down", "taskType": "authentication"}
        bench.say({"errors": [{**busy, name: 7}]})
        assert bench.events(DialFailed)[-1].retry_after == pytest.approx(7.25)
        bench.task()
        bench.step(7.2)
        assert bench.opens() == [1], "nor does a task bring it nearer"
        bench.step(0.1)
        assert bench.opens() == [1, 2]


class TestCloseCodes:
    @pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, None])
    def test_an_unasked_close_is_never_a_silent_clean_end(self, code: int | None) -> None:
        bench = Bench()
        bench.begin()
        bench.cut(code)
        assert bench.core.state is ConnectionState.BACKOFF
        assert bench.delays == [1]
        bench.reconnect()
        assert bench.offered() == SESSION

    def test_1012_waits_with_a_wider_jitter(self) -> None:
        bench = Bench()
        bench.begin()
        bench.cut(1012)
        assert bench.delays == [2]

    @pytest.mark.parametrize(
        "loss",
        [
            Loss(LossKind.CLOSED, code=1011),
            Loss(LossKind.CLOSED, code=1013),
            Loss(LossKind.HTTP_REFUSED, status=429),
            Loss(LossKind.HTTP_REFUSED, status=500),
            Loss(LossKind.HTTP_REFUSED, status=503),
        ],
    )
    def test_an_overloaded_server_is_backed_off_from(self, loss: Loss) -> None:
        bench = Bench()
        bench.start()
        if loss.kind is LossKind.CLOSED:
            bench.ready()
        bench.cut(loss=loss)
        assert bench.delays == [2]

    def test_retry_after_is_honoured_with_jitter_on_top_and_capped(self) -> None:
        bench = Bench(delay=0.25, retry_after_cap=60)
        bench.start()
        bench.cut(loss=Loss(LossKind.HTTP_REFUSED, status=429, retry_after=7))
        assert bench.events(DialFailed)[-1].retry_after == pytest.approx(7.25)
        bench.step(7.2)
        assert bench.opens() == [1]
        bench.step(0.1)
        assert bench.opens() == [1, 2]
        bench.cut(loss=Loss(LossKind.HTTP_REFUSED, status=503, retry_after=86_400))
        assert bench.events(DialFailed)[-1].retry_after == pytest.approx(60.25)

    @pytest.mark.parametrize("code", [1002, 1003, 1007, 1010])
    def test_a_protocol_error_gets_one_reconnect_then_it_is_over(self, code: int) -> None:
        bench = Bench()
        record = bench.begin_written()
        bench.cut(code)
        bench.reconnect()
        bench.cut(code)
        assert bench.core.state is ConnectionState.FAILED
        failure = ended(record, TaskState.FAILED)
        assert isinstance(failure, ProtocolError)
        assert str(code) in failure.message
        (closed,) = bench.events(Closed)
        assert str(code) in closed.reason

    def test_a_protocol_error_long_ago_is_forgiven(self) -> None:
        bench = Bench(keepalive=1000)
        bench.begin()
        bench.cut(1002)
        bench.reconnect()
        for _ in range(10):
            bench.step(5)
            bench.say({"data": [{"taskType": "ping", "pong": True}]})
        bench.cut(1002)
        assert bench.core.state is ConnectionState.BACKOFF

    @pytest.mark.parametrize(
        "loss",
        [
            Loss(LossKind.TLS_FAILED, detail="self-signed certificate"),
            Loss(LossKind.PROXY_REFUSED, status=407),
        ],
    )
    def test_tls_verification_and_407_are_terminal_at_once(self, loss: Loss) -> None:
        bench = Bench()
        bench.start()
        bench.cut(loss=loss)
        assert isinstance(bench.core.failure, ConnectionFailed)
        assert str(loss) in bench.core.failure.message

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
    def test_a_proxy_that_is_busy_is_backed_off_from(self, status: int) -> None:
        bench = Bench(delay=1)
        bench.start()
        for number in range(1, 6):
            bench.cut(loss=Loss(LossKind.PROXY_REFUSED, status=status, retry_after=7))
            bench.step(7.9)
            assert bench.opens() == list(range(1, number + 1))
            bench.step(0.2)
            assert bench.opens() == list(range(1, number + 2))

    def test_a_failed_lookup_is_dialled_again_without_a_limit_of_attempts(self) -> None:
        bench = Bench(delay=1)
        bench.start()
        for _ in range(50):
            bench.cut(loss=Loss(LossKind.DIAL_FAILED, detail="Name or service not known"))
            bench.step(1)
        assert bench.opens() == list(range(1, 52))
        assert bench.delays == list(range(1, 51))

    @given(st.integers(0, 65_535))
    def test_the_table_of_close_codes_is_total_and_overridable(self, code: int) -> None:
        assert classify_close(code) in Verdict
        assert classify_close(code, {code: Verdict.TERMINAL}) is Verdict.TERMINAL
        assert classify_close(code, {code + 1: Verdict.TERMINAL}) is classify_close(code)

    @given(st.integers(0, 999) | st.none())
    def test_the_table_of_http_statuses_is_total_and_overridable(self, status: int | None) -> None:
        assert classify_http(status) in Verdict
        if status is not None:
            assert classify_http(status, {status: Verdict.RESUME}) is Verdict.RESUME

    def test_the_tables_are_sorted_and_give_reasons(self) -> None:
        for table in (CLOSE_CODES, HTTP_STATUSES):
            assert [row[0] for row in table] == sorted({row[0] for row in table})
            assert table[0][0] == 0
            assert all(row[2] for row in table)

    @pytest.mark.parametrize("kind", LossKind)
    def test_every_kind_of_loss_has_a_verdict(self, kind: LossKind) -> None:
        assert classify_loss(Loss(kind)) in Verdict

    def test_an_override_reaches_the_client(self) -> None:
        bench = Bench(close_codes={4001: Verdict.TERMINAL})
        bench.begin()
        bench.cut(4001)
        assert isinstance(bench.core.failure, ConnectionFailed)


class TestSlowOpen:
    """Connected, but the auth reply never comes; data before the auth reply."""

    def test_one_deadline_stands_over_dial_and_authentication(self) -> None:
        bench = Bench(open_timeout=15)
        bench.start()
        bench.step(10)
        bench.open()
        bench.step(4.9)
        assert bench.closes() == []
        bench.step(0.2)
        assert [close.generation for close in bench.closes()] == [1]
        assert "15 s" in bench.events(DialFailed)[-1].reason
        bench.reconnect()
        assert bench.core.state is ConnectionState.READY

    def test_a_dial_that_hangs_is_given_up_too(self) -> None:
        bench = Bench(open_timeout=15)
        bench.start()
        bench.step(15.3)
        assert bench.opens() == [1, 2]
        assert [close.generation for close in bench.closes()] == [1]

    def test_data_before_the_authentication_reply_is_routed(self) -> None:
        bench = Bench()
        record = bench.begin_written()
        bench.cut()
        bench.step(0.25)
        bench.open()
        bench.say({"data": [{"taskType": "ping", "pong": True}]})
        bench.answer(record)
        assert record.state is TaskState.DONE


class TestBackoff:
    def test_the_backoff_grows_until_a_connection_was_good(self) -> None:
        bench = Bench()
        bench.begin()
        for _ in range(3):
            bench.cut()
            bench.reconnect()
        assert bench.delays == [1, 2, 3], "authenticated, but nothing came of it"
        record = bench.written_task()
        bench.answer(record)
        bench.cut()
        assert bench.delays[-1] == 1
        bench.reconnect()
        bench.step(6)
        bench.cut()
        assert bench.delays[-1] == 1
