"""Every row of the fault table that the core decides; each test names its row.

Rows about real sockets (a cut at any byte, TLS, DNS, a proxy) are in
``tests/client``; the herd and the rest are in ``tests/simulation``.
"""

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
from runware_ws.errors import (
    AuthenticationError,
    ClientClosed,
    ConnectionFailed,
    OutcomeUnknown,
    ProtocolError,
    Submitted,
)
from runware_ws.events import (
    Closed,
    Connected,
    DialFailed,
    Disconnected,
    KeyRefused,
    PeerSuspected,
    SessionLost,
    UnknownTask,
)
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, error, item, uuid_of

KEY_ERROR = {"code": "invalidApiKey", "message": "no", "taskType": "authentication"}
SESSION_ERROR = {
    "code": "invalidConnectionSessionUUID",
    "message": "gone",
    "taskType": "authentication",
    "parameter": "connectionSessionUUID",
}
LEGACY_KEY_ERROR = {
    "error": True,
    "errorId": 19,
    "errorMessageContentId": 1212,
    "errorMessage": "Invalid API key",
}


class TestHalfOpenSocket:
    def test_a_silent_peer_is_found_within_20_seconds_and_aborted(self) -> None:
        bench = Bench()
        bench.begin()
        start = bench.now
        record = bench.written_task()
        while not bench.closes():
            bench.step(0.1)
            bench.written()
            assert bench.now - start < 30
        assert bench.now - start <= 20
        assert not bench.closes()[0].graceful, "a dead peer answers no closing handshake"
        assert bench.core.state is ConnectionState.BACKOFF
        bench.reconnect()
        assert bench.offered() == SESSION
        bench.answer(record)
        assert record.state is TaskState.DONE

    def test_any_inbound_frame_counts_as_life_and_pings_go_out_only_in_silence(self) -> None:
        bench = Bench(keepalive=1000)
        bench.begin()
        for _ in range(100):
            bench.step(9)
            assert bench.written() == []
            bench.say({"data": [{"taskType": "t", "taskUUID": uuid_of(7), "text": "x"}]})
        assert bench.core.counters.pings == 0
        assert bench.closes() == []

    def test_a_ping_goes_out_when_nothing_was_sent_for_long(self) -> None:
        bench = Bench(keepalive=60)
        bench.begin()
        pings = 0
        for _ in range(40):
            bench.step(5)
            pings += sum(task["taskType"] == "ping" for task in bench.written())
            bench.say({"data": [{"taskType": "ping", "pong": True}]})
        assert pings == 3, "the server closes 120 s after the last message, unsure whose"


class TestReplay:
    """Replay duplicated, out of order, split, data and errors in one frame."""

    def test_the_same_replay_twice_in_any_order_completes_each_task_once(self) -> None:
        bench = Bench()
        bench.begin()
        good, bad, many = bench.task(), bench.task(), bench.task(expected=2)
        bench.written()
        bench.cut()
        bench.reconnect()
        frame = {
            "data": [item(many, "b"), item(good, "g"), item(many, "a")],
            "errors": [error(bad, "providerError", taskType="textInference")],
        }
        bench.say(frame)
        bench.say(frame)
        assert good.items == [item(good, "g")]
        assert [i["text"] for i in many.items] == ["b", "a"]
        assert bad.state is TaskState.FAILED
        assert len(bench.resolved()) == 3
        assert bench.core.sizes()["claims"] == 0

    def test_the_socket_dies_during_the_replay(self) -> None:
        bench = Bench()
        bench.begin()
        records = [bench.task() for _ in range(4)]
        bench.written()
        bench.cut()
        bench.reconnect()
        bench.answer(records[0])
        bench.cut()
        bench.reconnect()
        assert bench.offered() == SESSION
        for record in records[1:]:
            bench.answer(record)
        assert all(record.state is TaskState.DONE for record in records)


class TestSessionGone:
    def test_a_new_session_uuid_is_adopted_and_the_loss_is_told(self) -> None:
        bench = Bench()
        record = bench.begin_in_doubt(OTHER_SESSION)
        assert bench.events(SessionLost)[0].at_risk == (record.uuid,)
        bench.cut()
        bench.step(0.25)
        bench.open()
        assert bench.offered() == OTHER_SESSION

    @pytest.mark.parametrize("closes", [False, True])
    def test_a_refused_session_is_given_up_once_and_a_fresh_one_is_taken(
        self, closes: bool
    ) -> None:
        bench = Bench()
        record = bench.begin_written()
        bench.cut()
        bench.step(0.25)
        bench.open()
        bench.say({"errors": [SESSION_ERROR]})
        assert bench.offered() is None
        if closes:
            bench.cut()
            bench.step(0.25)
            bench.open()
            assert bench.offered() is None
        bench.say(
            {"data": [{"taskType": "authentication", "connectionSessionUUID": OTHER_SESSION}]}
        )
        assert bench.core.state is ConnectionState.READY
        (lost,) = bench.events(SessionLost)
        assert lost.session_uuid == SESSION
        assert lost.at_risk == (record.uuid,)


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


class TestClockAndLoop:
    """Clock step, suspend, blocked loop: read the backlog before judging the peer."""

    def test_a_timer_that_comes_late_probes_before_it_judges(self) -> None:
        bench = Bench()
        bench.begin()
        bench.step(10)
        bench.written()
        bench.now += 3600
        bench.core.on_deadline(bench.now)
        assert bench.closes() == []
        assert len(bench.events(PeerSuspected)) == 1
        assert [task["taskType"] for task in bench.written()] == ["ping"], "one probe"
        bench.say({"data": [{"taskType": "ping", "pong": True}]})
        bench.step(5)
        assert bench.closes() == []

    def test_a_pong_that_waits_in_the_backlog_saves_the_peer(self) -> None:
        bench = Bench()
        bench.begin()
        bench.step(10)
        bench.written()
        bench.now += 9.2
        bench.core.on_deadline(bench.now)
        bench.say({"data": [{"taskType": "ping", "pong": True}]})
        bench.step(5)
        assert bench.closes() == []

    def test_a_peer_that_stays_silent_after_the_probe_is_dead(self) -> None:
        bench = Bench()
        bench.begin()
        bench.step(10)
        bench.now += 3600
        bench.core.on_deadline(bench.now)
        bench.step(4)
        assert len(bench.closes()) == 1


class TestTooBig:
    """A frame over the limit (1009), either way: it fails its task, not the session."""

    def test_outbound_the_same_frame_never_kills_a_third_socket(self) -> None:
        bench = Bench(resend_after=0, batch_tasks=1)
        bench.begin()
        small, huge = bench.task(), bench.task(size=100_000)
        bench.written()
        bench.answer(small)
        for _ in range(5):
            if huge.ended:
                break
            bench.cut(1009)
            bench.reconnect()
            for _ in range(20):
                if any(kind == "textInference" for kind, _ in bench.deny(20)):
                    break
        failure = ended(huge, TaskState.FAILED)
        assert isinstance(failure, ProtocolError)
        assert huge.sends == 2
        other = bench.task()
        assert other.state is TaskState.QUEUED

    def test_outbound_tasks_that_shared_the_frame_go_alone_and_are_unharmed(self) -> None:
        bench = Bench(resend_after=0, resend_early=True, batch_bytes=1_000_000)
        bench.begin()
        small, huge = bench.task(), bench.task(size=100_000)
        bench.written()
        sockets_killed = 0
        while not huge.ended:
            sockets_killed += 1
            assert sockets_killed < 5
            bench.cut(1009)
            bench.reconnect()
            for _ in range(40):
                bench.step(0.25)
                frame = bench.core.next_frame(bench.now)
                if frame is None:
                    continue
                if frame.records:
                    assert len(frame.records) == 1
                    if frame.records[0] is small:
                        bench.answer(small)
                for record in (small, huge):
                    if record.ladder.question is not None:
                        bench.refuse(record, "taskNotFound", taskType=record.ladder.question.value)
                if huge.sends > sockets_killed:
                    break
        assert small.state is TaskState.DONE
        assert huge.state is TaskState.FAILED

    def test_inbound_a_giant_result_is_searched_for_and_fails_its_task_only(self) -> None:
        too_big = Loss(LossKind.INBOUND_TOO_BIG, detail="frame exceeds limit")
        bench = Bench()
        bench.begin()
        giant, other = bench.task(timeout=1000), bench.task(timeout=1000)
        bench.written()
        bench.cut(loss=too_big)
        bench.reconnect()
        assert bench.offered() == SESSION
        bench.cut(loss=too_big)
        bench.step(0.25)
        bench.open()
        assert bench.offered() is None, "the replay would kill a third socket"
        bench.say(
            {"data": [{"taskType": "authentication", "connectionSessionUUID": OTHER_SESSION}]}
        )
        for _ in range(10):
            bench.step(0.3)
            for task in bench.written():
                if task["taskType"] != "getTaskDetails":
                    assert task["taskType"] == "ping"
                elif task["taskUUID"] == other.uuid:
                    answer = {**task, "response": {"data": [item(other)]}}
                    bench.say({"data": [answer]})
                else:
                    bench.cut(loss=too_big)
                    bench.reconnect(OTHER_SESSION)
        failure = ended(giant, TaskState.FAILED)
        assert isinstance(failure, ProtocolError)
        assert failure.submitted is not Submitted.NO
        assert not failure.safe_to_resend
        assert other.state is TaskState.DONE


class TestStrangers:
    def test_an_unknown_uuid_is_stored_and_told(self) -> None:
        bench = Bench()
        bench.begin()
        bench.say({"data": [{"taskType": "t", "taskUUID": uuid_of(1), "text": "?"}]})
        assert [event.task_uuid for event in bench.events(UnknownTask)] == [uuid_of(1)]

    def test_what_an_old_socket_says_late_changes_nothing(self) -> None:
        bench = Bench()
        record = bench.begin_in_doubt()
        old = bench.core.generation - 1
        before = bench.core.counters.frames_in
        bench.core.receive(old, b'{"data":[]}', bench.now)
        bench.core.lost(old, Loss(LossKind.CLOSED), bench.now)
        bench.core.connected(old, bench.now)
        assert bench.core.state is ConnectionState.READY
        assert bench.core.counters.frames_in == before
        assert not record.ended


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


class TestDrainAndClose:
    def test_drain_and_close_during_a_reconnect_end_every_task(self) -> None:
        bench = Bench()
        record = bench.begin_written()
        bench.cut()
        bench.core.drain(bench.now)
        bench.core.drain(bench.now)
        bench.core.close(bench.now)
        bench.core.close(bench.now)
        failure = ended(record, TaskState.CLOSED)
        assert isinstance(failure, ClientClosed)
        assert failure.submitted is Submitted.MAYBE
        bench.step(1000)
        assert bench.opens() == [1]
        assert len(bench.events(Closed)) == 1


class TestEvents:
    def test_state_events_are_paired_and_ordered(self) -> None:
        bench = Bench()
        bench.begin()
        for code in (None, 1001, 1012, None):
            bench.cut(code)
            bench.reconnect()
        bench.core.close(bench.now)
        story = [
            (type(event).__name__, event.generation)
            for event in bench.events()
            if isinstance(event, Connected | Disconnected)
        ]
        assert story == [
            (name, generation)
            for generation in range(1, 6)
            for name in ("Connected", "Disconnected")
        ]
        assert isinstance(bench.events()[-1], Closed)


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


def test_a_written_task_that_meets_its_deadline_during_an_outage_is_unknown() -> None:
    bench = Bench()
    record = bench.begin_written(timeout=5)
    bench.cut(loss=Loss(LossKind.DEAD_PEER))
    bench.step(5)
    assert isinstance(ended(record, TaskState.UNKNOWN), OutcomeUnknown)
