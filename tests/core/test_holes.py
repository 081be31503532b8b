"""A piece of a stream that cannot be read, or names nobody, leaves a hole: the whole is asked for.

No stream ends as complete with a part of its text missing.
"""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import Carrier, TaskRecord
from runware_ws.errors import StreamInterrupted, TaskError
from tests.core.bench import OTHER_SESSION, ended, item
from tests.core.http_bench import CUT, DONE, HttpBench, texts
from tests.core.questions import questions

BROKEN = [
    # Half of a surrogate pair, as servers write that count in UTF-16.
    b'{"data":[{"taskUUID":"%b","delta":{"text":"\\ud83d"}}]}',
    b'{"data":[{"taskUUID":"%b","delta":{"text":"tw',
    b'{"taskUUID":"%b","delta":{"text":"tw',
    b'[{"taskUUID":"%b","delta":{"text":"two "}}]',
    *(
        b'{"data":[{"taskUUID":"%b","delta":' + delta + b"}]}"
        # Its output stands where, or as what, nobody would look for it.
        for delta in (
            b'"two "',
            b'["two "]',
            b'{"text":["two "]}',
            b'{"text":{"value":"two "}}',
            b'{"text":"two ","reasoningContent":7}',
            b'{"toolCalls":{"name":"look"}}',
            b'{"toolCalls":["look"]}',
        )
    ),
]


def _begun(carrier: Carrier) -> tuple[HttpBench, TaskRecord]:
    """A stream of which the first piece came."""
    bench = HttpBench()
    bench.begin()
    record = bench.stream(carrier)
    if carrier is Carrier.SOCKET:
        bench.written()
    else:
        bench.posting(record)
    _say(bench, record, "one ")
    return bench, record


def _say(bench: HttpBench, record: TaskRecord, text: str, **extra: Any) -> None:
    told = {"taskUUID": record.uuid, "delta": {"text": text}, **extra}
    _tell(bench, record, {"data": [told]})


def _tell(bench: HttpBench, record: TaskRecord, message: Any) -> None:
    if record.carrier is Carrier.SOCKET:
        bench.say(message)
    else:
        bench.event(record, message)


def _archived(bench: HttpBench, record: TaskRecord, text: str) -> None:
    bench.archive(record, {"data": [item(record, text, finishReason="stop")]})


@pytest.mark.parametrize("carrier", [Carrier.SOCKET, Carrier.HTTP])
@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("finish", [{"finishReason": "stop"}, {}], ids=["finish", "none"])
def test_a_piece_that_cannot_be_read_is_no_silent_hole(
    broken: bytes, carrier: Carrier, finish: dict[str, Any]
) -> None:
    bench, record = _begun(carrier)
    _tell(bench, record, broken % record.uuid.upper().encode())
    _say(bench, record, "three", **finish)
    if carrier is Carrier.HTTP:
        bench.end(record, DONE)
    assert not record.ended
    assert texts(record) == ["one "], "nobody can tell what came next"
    _archived(bench, record, "one two three")
    assert texts(record) == ["one ", "two three"]
    assert record.items[0]["text"] == "one two three"


@pytest.mark.parametrize("nothing", [None, "", [], {}, {"text": None}, {"toolCalls": None}])
@pytest.mark.parametrize("carrier", [Carrier.SOCKET, Carrier.HTTP])
def test_a_piece_with_nothing_in_it_leaves_no_hole(nothing: Any, carrier: Carrier) -> None:
    bench, record = _begun(carrier)
    _tell(bench, record, {"data": [{"taskUUID": record.uuid, "delta": nothing}]})
    _say(bench, record, "two", finishReason="stop")
    bench.end(record, DONE) if carrier is Carrier.HTTP else None
    assert record.items[0]["text"] == "one two"


def test_a_whole_that_does_not_begin_with_what_was_handed_on_is_told_as_such() -> None:
    bench, record = _begun(Carrier.SOCKET)
    bench.say(BROKEN[0] % record.uuid.encode())
    _archived(bench, record, "another")
    assert isinstance(ended(record, TaskState.FAILED), StreamInterrupted)


@pytest.mark.parametrize("carrier", [Carrier.SOCKET, Carrier.HTTP])
def test_what_cannot_be_read_and_is_about_another_leaves_no_hole(carrier: Carrier) -> None:
    bench, record = _begun(carrier)
    other = bench.stream(Carrier.SOCKET)
    bench.written()
    bench.say(BROKEN[0] % other.uuid.encode())
    bench.say(b"no JSON at all")
    if carrier is Carrier.HTTP:
        bench.event(record, b"keep-alive")
        bench.say(BROKEN[0] % record.uuid.encode())
    _say(bench, record, "two", finishReason="stop")
    bench.end(record, DONE) if carrier is Carrier.HTTP else None
    assert record.items[0]["text"] == "one two"


@pytest.mark.parametrize("uuid", [{}, {"taskUUID": ""}, {"taskUUID": None}])
def test_a_piece_that_names_nobody_may_be_anybodys(uuid: dict[str, Any]) -> None:
    bench, record = _begun(Carrier.SOCKET)
    posted = bench.sent()
    bench.say({"data": [{**uuid, "delta": {"text": "two "}}]})
    bench.step(1)
    later = bench.stream(Carrier.SOCKET)
    bench.written()
    for each in (record, later, posted):
        _say(bench, each, "three", finishReason="stop")
    bench.end(posted, DONE)
    assert not record.ended
    assert [each.items[0]["text"] for each in (later, posted)] == ["three", "three"]
    _archived(bench, record, "one two three")
    assert record.items[0]["text"] == "one two three"


@pytest.mark.parametrize("nameless", [False, True])
@pytest.mark.parametrize("carrier", [Carrier.SOCKET, Carrier.HTTP])
def test_a_stream_that_was_given_up_is_not_kept_with_a_hole(
    carrier: Carrier, nameless: bool
) -> None:
    bench, record = _begun(carrier)
    bench.core.cancel(record, bench.now)
    if nameless and carrier is Carrier.SOCKET:
        bench.say({"data": [{"delta": {"text": "two "}}]})
    else:
        _tell(bench, record, BROKEN[0] % record.uuid.encode())
    _say(bench, record, "three", finishReason="stop")
    if carrier is Carrier.HTTP:
        bench.end(record, DONE) if not bench.drops() else None
    assert bench.core.claim(record.uuid) is None
    assert bench.core.sizes()["left"] == 0


# Errors beside pieces, and in their place


def test_an_error_in_a_piece_is_the_tasks_own() -> None:
    bench, record = _begun(Carrier.SOCKET)
    trouble = {"code": "inferenceError", "message": "m"}
    bench.say({"data": [{"taskUUID": record.uuid, "delta": {}, "error": trouble}]})
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == "inferenceError"


@pytest.mark.parametrize("empty", [None, {}, [], [{}], {"code": None}])
@pytest.mark.parametrize("field", ["error", "errors"])
@pytest.mark.parametrize("carrier", [Carrier.SOCKET, Carrier.HTTP])
def test_an_empty_error_beside_a_piece_is_none(carrier: Carrier, field: str, empty: Any) -> None:
    bench, record = _begun(carrier)
    told = {"taskUUID": record.uuid, "delta": {"text": "two"}, field: empty}
    _tell(bench, record, told if carrier is Carrier.HTTP else {"data": [told]})
    _say(bench, record, "", finishReason="stop")
    bench.end(record, DONE) if carrier is Carrier.HTTP else None
    assert record.items[0]["text"] == "one two"


@pytest.mark.parametrize(
    "words",
    [
        {"code": "providerError", "message": "overloaded"},
        {"message": "overloaded", "type": "server_error"},
    ],
    ids=str,
)
def test_an_error_in_words_of_its_own_makes_no_whole_of_what_came(words: dict[str, Any]) -> None:
    bench, record = _begun(Carrier.HTTP)
    bench.event(record, words)
    bench.event(record, {"usage": {"promptTokens": 3}})
    bench.end(record, DONE)
    assert not record.ended
    asked = {"taskType": "getTaskDetails", "taskUUID": record.uuid}
    bench.step(1)
    assert asked in questions(bench)
    told = {"code": "providerError", "taskType": record.task_type, "taskUUID": record.uuid}
    bench.say({"data": [{**asked, "response": {"errors": [told]}}]})
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


@pytest.mark.parametrize(
    "more", [{"delta": {"text": "two"}}, {"delta": {}, "finishReason": "stop"}]
)
def test_a_message_that_the_stream_goes_on_after_was_no_error(more: dict[str, Any]) -> None:
    bench, record = _begun(Carrier.HTTP)
    bench.event(record, {"message": "still thinking"})
    bench.event(record, more)
    bench.end(record, DONE)
    assert record.state is TaskState.DONE


@pytest.mark.parametrize("more", [{"usage": {"promptTokens": 3}}, {"heardOfByNobody": 1}], ids=str)
def test_a_note_of_nulls_is_not_the_last_part(more: dict[str, Any]) -> None:
    bench, record = _begun(Carrier.SOCKET)
    nulls = {"text": None, "toolCalls": None, "finishReason": None, "status": None}
    bench.say({"data": [{"taskUUID": record.uuid, **more, **nulls}]})
    assert not record.ended
    _say(bench, record, "two", finishReason="stop")
    assert record.items[0]["text"] == "one two"


# "Exactly as sent"


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("finished", [True, False])
def test_an_archive_that_keeps_the_pieces_has_the_whole_once_the_last_is_there(
    named: bool, finished: bool
) -> None:
    bench, record = _begun(Carrier.HTTP)
    bench.end(record, CUT)
    uuid = {"taskUUID": record.uuid} if named else {}
    pieces: list[dict[str, Any]] = [
        {**uuid, "delta": {"text": text}} for text in ("one ", "two ", "three")
    ]
    if finished:
        pieces[-1]["finishReason"] = "stop"
    bench.archive(record, {"data": pieces})
    assert record.ended is finished
    if finished:
        assert record.items[0]["text"] == "one two three"
        assert record.items[0]["finishReason"] == "stop"


def test_each_task_of_an_array_has_its_own_pieces() -> None:
    bench, record = _begun(Carrier.SOCKET)
    other = bench.stream(Carrier.SOCKET)
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    kept: list[dict[str, Any]] = []
    for text in ("one ", "two"):
        for each, whose in ((record, "mine "), (other, "other's ")):
            spoken = text if each is record else whose + text
            kept.append({"taskUUID": each.uuid, "delta": {"text": spoken}})
    kept[-1]["finishReason"] = kept[-2]["finishReason"] = "stop"
    bench.archive(record, {"data": kept})
    assert [each.items[0]["text"] for each in (record, other)] == [
        "one two",
        "other's one other's two",
    ]


# Answers to questions, from a server that writes all fields


@pytest.mark.parametrize("text", ["one two", "one "])
@pytest.mark.parametrize("question", ["getResponse", "getTaskDetails"])
def test_a_whole_with_a_null_delta_is_taken_from_any_answer(question: str, text: str) -> None:
    bench, record = _begun(Carrier.SOCKET)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    whole = item(record, text, finishReason="stop", status="success", delta=None)
    for _ in range(40):
        for asked in questions(bench):
            if asked["taskType"] != question:
                bench.refuse(record, "internalServerError", taskType=asked["taskType"])
            elif question == "getResponse":
                bench.say({"data": [whole]})
            else:
                bench.say({"data": [{**asked, "response": {"data": [whole]}}]})
        bench.step(0.5)
    assert [entry["text"] for entry in record.items] == [text]


def test_last_pieces_in_answer_to_questions_do_not_make_it_ask_without_pause() -> None:
    bench, record = _begun(Carrier.SOCKET)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    asked = 0
    for _ in range(200):
        for _question in questions(bench):
            asked += 1
            told = {"taskUUID": record.uuid, "delta": {"text": "two"}, "finishReason": "stop"}
            bench.say({"data": [told]})
        bench.step(0.01)
    assert 1 < asked < 5
