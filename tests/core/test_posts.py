"""Streams over HTTP are tasks of the core: when they are posted, and what each end means."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runware_ws._core.effects import Drop, Ending, Post, PostEnding
from runware_ws._core.states import TaskState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.record import Carrier, TaskRecord
from runware_ws.classify import Loss, LossKind
from runware_ws.errors import (
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    HttpRefused,
    OutcomeUnknown,
    ProtocolError,
    RunwareError,
    StreamInterrupted,
    Submitted,
    TaskError,
    TaskTimeout,
)
from runware_ws.events import Closed, KeyRefused, LateResult, NoHttpSide, TaskResent
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, item

DONE = PostEnding(Ending.DONE)
CUT = PostEnding(Ending.CUT, Loss(LossKind.CLOSED, detail="cut"))
UNREACHED = PostEnding(Ending.UNREACHED, Loss(LossKind.DIAL_FAILED, detail="refused"))


def refused(status: int, body: bytes = b"", retry_after: float | None = None) -> PostEnding:
    """The server answered with this status."""
    loss = Loss(LossKind.HTTP_REFUSED, status=status, retry_after=retry_after)
    return PostEnding(Ending.REFUSED, loss, body)


class HttpBench(Bench):
    """A bench with an HTTP side that the test plays."""

    def stream(self, carrier: Carrier = Carrier.HTTP, **options: Any) -> TaskRecord:
        """Hand a stream over that goes by HTTP."""
        return self.task(delivery="stream", deltas=Deltas(), carrier=carrier, **options)

    def posts(self) -> list[Post]:
        """All POSTs that the core ordered so far."""
        self.take()
        return [effect for effect in self.effects if isinstance(effect, Post)]

    def drops(self) -> list[int]:
        """The numbers of the POSTs that were given up."""
        self.take()
        return [effect.number for effect in self.effects if isinstance(effect, Drop)]

    def number(self, record: TaskRecord) -> int:
        """The last POST of a task."""
        return [post.number for post in self.posts() if post.record is record][-1]

    def posting(self, record: TaskRecord) -> None:
        """The first byte goes out."""
        assert self.core.posting(record.uuid, self.number(record), self.now)
        self.take()

    def sent(self, **options: Any) -> TaskRecord:
        """A stream whose POST is on its way."""
        record = self.stream(**options)
        self.posting(record)
        return record

    def event(self, record: TaskRecord, message: Any) -> None:
        """An event of the answer."""
        data = message if isinstance(message, bytes) else orjson.dumps(message)
        self.core.posted(record.uuid, self.number(record), data, self.now)
        self.take()

    def delta(self, record: TaskRecord, text: str, **extra: Any) -> None:
        """A delta of the answer."""
        self.event(record, {"taskUUID": record.uuid, "delta": {"text": text}, **extra})

    def end(self, record: TaskRecord, ending: PostEnding) -> None:
        """The POST is over."""
        self.core.post_ended(record.uuid, self.number(record), ending, self.now)
        self.take()


def texts(record: TaskRecord) -> list[str]:
    """What a reader sees."""
    assert record.deltas is not None
    return [entry["delta"].get("text", "") for entry in record.deltas.pending]


# The common way


def test_a_stream_is_posted_at_once_and_needs_no_socket() -> None:
    bench = HttpBench()
    bench.start()
    record = bench.stream()
    assert [post.record for post in bench.posts()] == [record]
    assert record.submitted is Submitted.NO
    bench.posting(record)
    assert record.submitted is Submitted.MAYBE
    bench.delta(record, "a")
    assert record.submitted is Submitted.YES
    bench.delta(record, "b", finishReason="stop", cost=0.5)
    assert texts(record) == ["a", "b"]
    assert not record.ended, "the POST is still under way"
    bench.end(record, DONE)
    assert record.state is TaskState.DONE
    (result,) = record.items
    assert (result["text"], result["finishReason"], result["cost"]) == ("ab", "stop", 0.5)
    assert not bench.drops()
    assert bench.core.counters.posts == 1


def test_the_end_mark_makes_the_whole_without_a_finish_reason() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "whole")
    bench.end(record, DONE)
    assert record.items[0]["text"] == "whole"


def test_a_finished_stream_that_breaks_before_its_end_mark_is_whole() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "whole", finishReason="stop")
    bench.end(record, CUT)
    assert record.items[0]["text"] == "whole"


def test_a_finished_stream_whose_end_mark_never_comes_is_whole_at_the_deadline() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent(timeout=20)
    bench.delta(record, "whole", finishReason="stop")
    bench.step(21)
    assert record.items[0]["text"] == "whole"
    assert bench.drops() == [-1]


def test_a_whole_result_is_one_delta_and_comes_unaltered() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    answer = item(record, "all of it", finishReason="stop", odd={"kept": [1]})
    bench.event(record, {"data": [answer]})
    bench.end(record, DONE)
    assert texts(record) == ["all of it"]
    assert record.items == [answer]


def test_items_belong_to_their_request_unless_they_name_another() -> None:
    bench = HttpBench()
    bench.begin()
    record, other = bench.sent(), bench.sent()
    bench.event(record, {"taskUUID": "", "delta": {"text": "a"}})
    bench.event(record, {"delta": {"text": "b"}})
    bench.event(record, {"taskUUID": record.uuid.upper(), "delta": {"text": "c"}})
    bench.event(record, {"taskUUID": other.uuid, "delta": {"text": "not mine"}})
    bench.event(record, {"data": [item(other, "not mine")]})
    assert (texts(record), texts(other)) == (["a", "b", "c"], [])
    assert bench.core.counters.strays == 2
    bench.event(record, {"errors": [{"code": "inferenceError", "taskUUID": other.uuid}]})
    assert not record.ended
    assert not other.ended


def test_what_cannot_be_read_is_counted_and_skipped() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    for data in (b"not json", b"[1]", b'{"data": 3}'):
        bench.event(record, data)
    bench.delta(record, "a", finishReason="stop")
    bench.end(record, DONE)
    assert record.items[0]["text"] == "a"
    assert bench.core.counters.malformed == 2


def test_an_error_in_the_stream_is_the_tasks_own() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "a")
    bench.event(record, {"errors": [{"code": "rateLimitExceeded", "message": "m"}]})
    error = ended(record, TaskState.FAILED)
    assert isinstance(error, TaskError)
    assert (error.code, error.safe_to_resend) == ("rateLimitExceeded", False)
    assert bench.drops() == [-1]


# The rules of all tasks


def test_limits_hold_over_both_carriers() -> None:
    bench = HttpBench(max_in_flight=2)
    bench.begin()
    first = bench.sent()
    bench.written_task()
    third = bench.stream()
    assert third.state is TaskState.WAITING
    bench.delta(first, "a", finishReason="stop")
    bench.end(first, DONE)
    assert bench.posts()[-1].record is third


def test_so_many_posts_at_once_and_the_rest_in_turn() -> None:
    bench = HttpBench(max_posts=1)
    bench.begin()
    first, second, third = bench.sent(), bench.stream(), bench.stream()
    assert [post.record for post in bench.posts()] == [first]
    bench.core.cancel(second, bench.now)
    bench.end(first, refused(429))
    assert [post.record for post in bench.posts()] == [first, third]
    assert not bench.drops(), "the second was never posted"


def test_a_task_uuid_is_taken_once_whatever_carries_it() -> None:
    bench = HttpBench()
    bench.begin()
    bench.sent()
    bench.numbers -= 1
    with pytest.raises(RunwareError, match="used before"):
        bench.task()


def test_drain_and_close_hold_for_streams() -> None:
    bench = HttpBench()
    bench.begin()
    unsent, sent, begun = bench.stream(), bench.sent(), bench.sent()
    bench.delta(begun, "a")
    bench.core.drain(bench.now)
    with pytest.raises(ClientClosed):
        bench.stream()
    bench.core.close(bench.now)
    assert sorted(bench.drops()) == [-3, -2, -1]
    told = [ended(record, TaskState.CLOSED) for record in (unsent, sent, begun)]
    assert [error.submitted.value for error in told if error] == ["no", "maybe", "yes"]
    assert isinstance(bench.events()[-1], Closed)


def test_a_deadline_before_the_first_byte_leaves_nothing_in_doubt() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream(timeout=10)
    bench.step(11)
    error = ended(record, TaskState.TIMED_OUT)
    assert isinstance(error, TaskTimeout)
    assert (error.submitted, error.safe_to_resend) == (Submitted.NO, True)
    assert bench.drops() == [-1]


@pytest.mark.parametrize("connected", [True, False])
def test_a_deadline_of_a_running_post_has_nothing_to_do_with_sockets(connected: bool) -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent(timeout=10)
    bench.cut()
    if connected:
        bench.reconnect()
    bench.step(11)
    assert isinstance(ended(record, TaskState.TIMED_OUT), TaskTimeout)


@pytest.mark.parametrize("session", [SESSION, OTHER_SESSION])
def test_a_cut_of_the_socket_does_not_touch_a_running_post(session: str) -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "a")
    bench.cut()
    bench.reconnect(session)
    bench.step(5)
    assert bench.written() == [], "nothing is asked: the POST is under way"
    bench.delta(record, "b", finishReason="stop")
    bench.end(record, DONE)
    assert record.items[0]["text"] == "ab"


def test_what_a_post_says_that_was_given_up_changes_nothing() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream()
    number = bench.number(record)
    bench.core.cancel(record, bench.now)
    assert bench.drops() == [number]
    before = bench.core.sizes()
    for data in (b'{"delta": {"text": "late"}}', b"garbage"):
        bench.core.posted(record.uuid, number, data, bench.now)
    assert bench.core.posting(record.uuid, number, bench.now) is False, "nothing is to be sent"
    bench.core.post_ended(record.uuid, number, CUT, bench.now)
    assert bench.core.sizes() == before
    assert record.state is TaskState.CANCELLED


# Streams that are given up


def test_a_stream_that_is_given_up_can_be_claimed_once_it_is_whole() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "one, ")
    bench.core.cancel(record, bench.now)
    assert record.state is TaskState.CANCELLED
    assert not bench.drops(), "it is paid for: it is read to its end"
    bench.delta(record, "two", finishReason="stop")
    assert bench.core.claim(record.uuid) is None
    bench.end(record, DONE)
    assert [event.task_uuid for event in bench.events(LateResult)] == [record.uuid]
    (claimed,) = bench.core.claim(record.uuid) or []
    assert claimed["text"] == "one, two"
    assert bench.core.sizes()["posts"] == bench.core.sizes()["left"] == 0


@pytest.mark.parametrize("ending", [CUT, refused(500)])
def test_a_stream_that_is_given_up_and_breaks_leaves_nothing(ending: PostEnding) -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "one, ")
    bench.core.cancel(record, bench.now)
    bench.end(record, ending)
    bench.step(30)
    assert bench.core.claim(record.uuid) is None
    assert bench.core.sizes()["posts"] == bench.core.sizes()["left"] == 0


def test_an_error_in_a_stream_that_is_given_up_leaves_nothing() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "one, ")
    bench.core.cancel(record, bench.now)
    bench.event(record, {"errors": [{"code": "inferenceError"}]})
    assert bench.core.claim(record.uuid) is None
    assert bench.core.sizes()["left"] == 0


def test_a_stream_that_is_given_up_is_read_until_its_deadline_and_no_longer() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent(timeout=20)
    bench.core.cancel(record, bench.now)
    bench.step(19)
    assert not bench.drops()
    bench.step(2)
    assert bench.drops() == [-1]


def test_no_more_are_read_than_can_be_claimed_and_none_behind_the_end() -> None:
    bench = HttpBench(claim_limit=1)
    bench.begin()
    first, second = bench.sent(), bench.sent()
    bench.core.cancel(first, bench.now)
    bench.core.cancel(second, bench.now)
    assert bench.drops() == [-1]
    bench.core.close(bench.now)
    assert bench.drops() == [-1, -2]


def test_a_socket_stream_that_is_given_up_can_be_claimed_as_well() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream(Carrier.SOCKET)
    bench.written()
    say = {"taskType": record.task_type, "taskUUID": record.uuid}
    bench.say({"data": [{**say, "delta": {"text": "one, "}}]})
    bench.core.cancel(record, bench.now)
    bench.say({"data": [{**say, "delta": {"text": "two"}, "finishReason": "stop"}]})
    (claimed,) = bench.core.claim(record.uuid) or []
    assert claimed["text"] == "one, two"


def test_what_comes_of_a_given_up_stream_after_a_cut_is_no_whole() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream(Carrier.SOCKET)
    bench.written()
    bench.core.cancel(record, bench.now)
    bench.cut()
    bench.reconnect()
    bench.answer(record, "the last part, perhaps", finishReason="stop")
    assert bench.core.claim(record.uuid) is None


def test_a_socket_stream_that_is_given_up_in_an_outage_is_not_read_for_ever() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream(Carrier.SOCKET)
    bench.written()
    bench.cut()
    bench.core.cancel(record, bench.now)
    bench.reconnect()
    assert bench.core.sizes()["left"] == 0
    bench.answer(record, "the last part, perhaps", finishReason="stop")
    assert bench.core.claim(record.uuid) is None


# Cuts


def test_after_a_cut_the_rest_comes_over_the_socket() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "one, ")
    bench.end(record, CUT)
    bench.step(0)
    (question,) = bench.written()
    assert question == {"taskType": "getTaskDetails", "taskUUID": record.uuid}
    bench.say({"data": [{**question, "response": item(record, "one, two", finishReason="stop")}]})
    assert texts(record) == ["one, ", "two"]
    assert record.state is TaskState.DONE


def test_after_a_cut_in_an_outage_the_task_is_asked_for_once_there_is_a_socket() -> None:
    bench = HttpBench()
    bench.start()
    record = bench.sent()
    bench.end(record, CUT)
    bench.ready()
    bench.step(0)
    (question,) = bench.written()
    assert question["taskType"] == "getTaskDetails"


def test_a_whole_that_does_not_fit_interrupts_the_stream() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "abc")
    bench.end(record, CUT)
    bench.step(0)
    (question,) = bench.written()
    bench.say({"data": [{**question, "response": item(record, "xyz")}]})
    error = ended(record, TaskState.FAILED)
    assert isinstance(error, StreamInterrupted)
    assert error.text == "abc"


def test_a_request_that_was_lost_in_the_cut_is_sent_over_the_socket_for_its_whole() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.end(record, CUT)
    assert bench.resent(record) >= 20, "not before it would be done, if it had arrived"
    assert orjson.loads(record.payload)["deliveryMethod"] == "sync"
    assert [event.task_uuid for event in bench.events(TaskResent)] == [record.uuid]
    bench.answer(record, "whole")
    assert texts(record) == ["whole"]


def test_never_means_never_for_streams_too() -> None:
    bench = HttpBench(resubmit="never")
    bench.begin()
    record = bench.sent(timeout=30)
    bench.end(record, CUT)
    for _ in range(40):
        bench.step(1)
        for task in bench.written():
            assert task["taskType"] in ("getTaskDetails", "getResponse", "ping")
            if task["taskType"] != "ping":
                bench.refuse(record, "taskNotFound", taskType=task["taskType"])
    assert isinstance(ended(record, TaskState.UNKNOWN), OutcomeUnknown)


def test_an_end_without_a_word_is_a_cut() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.end(record, DONE)
    bench.step(0)
    (question,) = bench.written()
    assert question["taskType"] == "getTaskDetails"


# The server is not reached


@pytest.mark.parametrize("how", [Ending.UNREACHED, Ending.CUT, Ending.DONE])
def test_what_was_never_sent_goes_back_to_the_queue(how: Ending) -> None:
    bench = HttpBench(delay=2.0)
    bench.begin()
    first, second = bench.stream(), bench.stream()
    ending = PostEnding(how, Loss(LossKind.DIAL_FAILED, detail="refused"))
    bench.end(first, ending)
    bench.end(second, ending)
    third = bench.stream()
    assert len(bench.posts()) == 2
    bench.step(1.9)
    assert len(bench.posts()) == 2
    bench.step(0.2)
    assert [post.record for post in bench.posts()[2:]] == [first, second, third]
    assert bench.delays == [1], "one gate for all"
    assert first.submitted is Submitted.NO


def test_an_unreached_server_is_told_at_the_deadline() -> None:
    bench = HttpBench(delay=5.0)
    bench.begin()
    record = bench.stream(timeout=12)
    while not record.ended:
        bench.end(record, UNREACHED)
        bench.step(5)
    error = ended(record, TaskState.TIMED_OUT)
    assert error is not None
    assert error.submitted is Submitted.NO
    assert "dial failed: refused" in error.message
    assert bench.delays == [1, 2, 3]


def test_an_answer_makes_the_next_failure_the_first_again() -> None:
    bench = HttpBench(delay=1.0)
    bench.begin()
    record = bench.stream()
    bench.end(record, UNREACHED)
    bench.step(1)
    bench.posting(record)
    bench.delta(record, "a")
    other = bench.stream()
    bench.end(other, UNREACHED)
    assert bench.delays == [1, 1]


# Refusals


ERRORS = orjson.dumps({"errors": [{"code": "invalidModel", "message": "no such model"}]})


@pytest.mark.parametrize(
    ("ending", "kind", "submitted", "safe"),
    [
        (refused(400, ERRORS), TaskError, "yes", True),
        (refused(402, ERRORS), TaskError, "yes", True),
        (refused(403), HttpRefused, "no", True),
        (refused(400), HttpRefused, "no", True),
        (refused(404), HttpRefused, "no", True),
        (refused(302), HttpRefused, "no", True),
        (refused(429, ERRORS, 7.0), HttpRefused, "no", True),
        (refused(408), HttpRefused, "maybe", False),
        (refused(500, ERRORS), HttpRefused, "maybe", False),
        (refused(501), HttpRefused, "maybe", False),
        (refused(503), HttpRefused, "maybe", False),
        (refused(200), ProtocolError, "yes", False),
        (PostEnding(Ending.REFUSED, Loss(LossKind.INBOUND_TOO_BIG)), ProtocolError, "yes", False),
    ],
)
def test_a_refusal_is_told_as_the_error_it_is(
    ending: PostEnding, kind: type[RunwareError], submitted: str, safe: bool
) -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.end(record, ending)
    error = ended(record, TaskState.FAILED)
    assert error is not None
    assert type(error) is kind
    assert (error.submitted.value, error.safe_to_resend) == (submitted, safe)
    assert error.task_uuid == record.uuid
    bench.step(30)
    assert [t for t in bench.written() if t["taskType"] != "ping"] == [], "no silent detour"
    assert len(bench.posts()) == 1, "no second copy"
    if isinstance(error, HttpRefused):
        assert ending.loss is not None
        assert (error.status, error.retry_after) == (ending.loss.status, ending.loss.retry_after)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (LossKind.TLS_FAILED, ConnectionFailed),
        (LossKind.PROXY_REFUSED, ConnectionFailed),
        (LossKind.CANNOT_DIAL, ConfigurationError),
    ],
)
def test_what_no_try_can_cure_is_told_before_anything_is_sent(
    kind: LossKind, error: type[RunwareError]
) -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream()
    bench.end(record, PostEnding(Ending.REFUSED, Loss(kind, detail="why")))
    told = ended(record, TaskState.FAILED)
    assert told is not None
    assert type(told) is error
    assert told.submitted is Submitted.NO
    assert "why" in told.message
    assert len(bench.posts()) == 1


def test_what_was_refused_for_the_moment_may_be_tried_again() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.end(record, refused(503))
    bench.numbers -= 1
    again = bench.stream()
    assert again.uuid == record.uuid
    (question,) = bench.written()
    assert question["taskType"] == "getTaskDetails", "it may have run: it is asked for first"


@pytest.mark.parametrize("status", [501, 426])
def test_a_server_without_an_http_side_gets_streams_over_the_socket(status: int) -> None:
    bench = HttpBench()
    bench.begin()
    first, second = bench.sent(carrier=Carrier.EITHER), bench.sent(carrier=Carrier.EITHER)
    bench.end(first, refused(status))
    bench.end(second, refused(status))
    third = bench.stream(carrier=Carrier.EITHER)
    assert [event.status for event in bench.events(NoHttpSide)] == [status], "told once"
    tasks = bench.written()
    assert [task["taskUUID"] for task in tasks] == [r.uuid for r in (first, second, third)]
    assert {task["deliveryMethod"] for task in tasks} == {"stream"}
    assert not bench.events(TaskResent)
    bench.say({"data": [{"taskUUID": first.uuid, "delta": {"text": "a"}, "finishReason": "stop"}]})
    assert first.items[0]["text"] == "a"


# The key


def test_a_fixed_key_that_never_worked_ends_the_client_at_once() -> None:
    bench = HttpBench()
    bench.start()
    record = bench.sent()
    bench.end(record, refused(401))
    assert isinstance(ended(record, TaskState.FAILED), AuthenticationError)
    assert isinstance(bench.core.failure, AuthenticationError)


def test_a_refused_key_is_fetched_once_more_and_then_the_client_ends() -> None:
    bench = HttpBench(fixed_key=False)
    bench.begin()
    other = bench.written_task()
    record = bench.sent()
    bench.end(record, refused(401))
    assert bench.number(record) == -2, "at once, with a fresh key"
    assert record.submitted is Submitted.NO
    bench.step(0.1)
    bench.posting(record)
    bench.end(record, refused(401))
    assert [event.final for event in bench.events(KeyRefused)] == [False, True]
    for task in (record, other):
        assert isinstance(ended(task, TaskState.FAILED), AuthenticationError)
    assert isinstance(bench.events()[-1], Closed)


def test_posts_that_were_under_way_together_were_sent_with_one_key() -> None:
    bench = HttpBench(fixed_key=False)
    bench.begin()
    records = [bench.sent() for _ in range(5)]
    bench.step(0.1)
    for record in records:
        bench.end(record, refused(401))
    assert bench.core.failure is None
    assert len(bench.events(KeyRefused)) == 1
    assert len(bench.posts()) == 10
    bench.step(0.1)
    for record in records:
        bench.posting(record)
        bench.delta(record, "a", finishReason="stop")
        bench.end(record, DONE)
    # Forgiven by success.
    late = bench.sent()
    bench.step(0.1)
    bench.end(late, refused(401))
    assert bench.core.failure is None


def test_403_is_about_the_key_only_where_the_error_says_so() -> None:
    bench = HttpBench(fixed_key=False)
    bench.begin()
    record = bench.sent()
    bench.end(record, refused(403, orjson.dumps({"errors": [{"code": "invalidApiKey"}]})))
    assert len(bench.events(KeyRefused)) == 1
    other = bench.sent()
    told = {"errors": [{"code": "contentPolicyViolation", "taskUUID": other.uuid}]}
    bench.end(other, refused(403, orjson.dumps(told)))
    assert isinstance(ended(other, TaskState.FAILED), TaskError)
    assert len(bench.events(KeyRefused)) == 1


# Resends that were taken back


def test_a_resend_that_was_not_sent_is_none() -> None:
    bench = Bench(resend_early=True, resend_after=0)
    record = bench.begin_in_doubt(OTHER_SESSION)
    for kind in ("getTaskDetails", "getResponse"):
        assert [task["taskType"] for task in bench.written()] == [kind]
        bench.refuse(record, "taskNotFound", taskType=kind)
        bench.step(0)
    frame = bench.core.next_frame(bench.now)
    assert frame is not None
    assert frame.records == (record,)
    bench.core.not_written(bench.core.generation, frame)
    bench.cut()
    bench.reconnect()
    assert bench.core.counters.resends == 0
    assert not bench.events(TaskResent)
    bench.answer(record)
    assert record.recovered_by.value == "replay"
