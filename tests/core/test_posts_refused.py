"""What a refused POST means for its task, for streams over HTTP at all, and for the key."""

from __future__ import annotations

import orjson
import pytest

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import Carrier
from runware_ws.classify import Loss, LossKind
from runware_ws.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailed,
    HttpRefused,
    ProtocolError,
    RunwareError,
    Submitted,
    TaskError,
)
from runware_ws.events import Closed, KeyRefused, NoHttpSide, TaskResent
from tests.core.bench import ended
from tests.core.http_bench import DONE, HttpBench, refused

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
