"""The rows of the fault table that the core decides; each test names its row.

Why a connection ends, and when the next is dialled, is in ``test_fault_table_of_dials.py``.
Rows about real sockets (a cut at any byte, TLS, DNS, a proxy) are in
``tests/client``; the herd and the rest are in ``tests/simulation``.
"""

from __future__ import annotations

import pytest

from runware_ws._core.states import ConnectionState, TaskState
from runware_ws.classify import Loss, LossKind
from runware_ws.errors import ClientClosed, OutcomeUnknown, ProtocolError, Submitted
from runware_ws.events import (
    Closed,
    Connected,
    Disconnected,
    PeerSuspected,
    SessionLost,
    UnknownTask,
)
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, error, item, uuid_of

SESSION_ERROR = {
    "code": "invalidConnectionSessionUUID",
    "message": "gone",
    "taskType": "authentication",
    "parameter": "connectionSessionUUID",
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


def test_a_written_task_that_meets_its_deadline_during_an_outage_is_unknown() -> None:
    bench = Bench()
    record = bench.begin_written(timeout=5)
    bench.cut(loss=Loss(LossKind.DEAD_PEER))
    bench.step(5)
    assert isinstance(ended(record, TaskState.UNKNOWN), OutcomeUnknown)
