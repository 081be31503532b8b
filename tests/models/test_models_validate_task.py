"""``validate_task``: the gate before the wire."""

from __future__ import annotations

import copy
import pickle
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runware_ws.errors import InvalidTask
from runware_ws.models import (
    HAIKU_MODEL,
    AuthenticationTask,
    GetResponseTask,
    PingTask,
    TextInference,
    ValidatedTask,
    validate_task,
)
from runware_ws.models.formats import is_uuid4

UUID = "0b0f6ee2-1ed6-4d6c-9a46-6a1c8a0f7a11"
MESSAGES = [{"role": "user", "content": "Hi"}]

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


def test_model_instance() -> None:
    task = TextInference.prompt("Hi", task_uuid=UUID, delivery_method="stream", number_results=1)
    checked = validate_task(task)
    assert checked == ValidatedTask(UUID, "textInference", "stream", 1, HAIKU_MODEL, task.to_json())
    assert (checked.uuid, checked.payload) == (UUID, task.to_json())


def test_defaults() -> None:
    checked = validate_task({"model": HAIKU_MODEL, "messages": MESSAGES})
    assert checked.task_type == "textInference"
    assert checked.delivery == "sync"
    assert checked.number_results == 1
    assert orjson.loads(checked.payload) == {
        "taskType": "textInference",
        "taskUUID": checked.uuid,
        "model": HAIKU_MODEL,
        "messages": MESSAGES,
    }


def test_known_model_is_checked_wholly() -> None:
    with pytest.raises(InvalidTask, match=r"settings\.maxTokens: must be at most 64000"):
        validate_task(
            {"model": HAIKU_MODEL, "messages": MESSAGES, "settings": {"maxTokens": 64001}}
        )


def test_other_models_pass_with_their_envelope_checked() -> None:
    task = {
        "taskType": "imageInference",
        "taskUUID": UUID.upper(),
        "model": "runware:101@1",
        "numberResults": 20,
        "deliveryMethod": "async",
        "positivePrompt": "a cat",
        "seed": None,
    }
    before = copy.deepcopy(task)
    checked = validate_task(MappingProxyType(task))
    assert checked == ValidatedTask(
        UUID, "imageInference", "async", 20, "runware:101@1", checked.payload
    )
    assert orjson.loads(checked.payload) == {**task, "taskUUID": UUID}
    assert task == before


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ({}, "taskType: is required"),
        ({"taskType": ""}, "taskType: must be a non-empty string"),
        ({"taskType": None}, "taskType: must be a non-empty string"),
        ({"taskType": 5}, "taskType: must be a non-empty string"),
        ({"taskType": "authentication"}, "the client itself sends"),
        ({"taskType": "ping", "ping": True}, "the client itself sends"),
        ({"taskType": "getResponse"}, "taskUUID: is required"),
        ({"taskType": "x", "taskUUID": "x"}, "taskUUID: must be a UUID v4"),
        ({"taskType": "x", "taskUUID": None}, "taskUUID: must be a UUID v4"),
        ({"taskType": "x", "taskUUID": UUID + "\n"}, "taskUUID: must be a UUID v4"),
        ({"taskType": "x", "numberResults": 0}, "numberResults: must be a positive integer"),
        ({"taskType": "x", "numberResults": True}, "numberResults: must be a positive integer"),
        ({"taskType": "x", "numberResults": "2"}, "numberResults: must be a positive integer"),
        ({"taskType": "x", "numberResults": None}, "numberResults: must be a positive integer"),
        ({"taskType": "x", "deliveryMethod": None}, "deliveryMethod: must be a string"),
        ({"taskType": "x", "f": object()}, "cannot be written as JSON"),
        ({"taskType": "x", "f": "\ud800"}, "cannot be written as JSON"),
        ({"taskType": "x", 1: 2}, "cannot be written as JSON"),
        ({"taskType": "x", "f": [{"g": float("nan")}]}, "f[0].g: NaN and infinity"),
        ({"taskType": "x", "f": (1, float("-inf"))}, "f[1]: NaN and infinity"),
    ],
)
def test_broken_envelopes_are_refused(task: dict[Any, Any], problem: str) -> None:
    with pytest.raises(InvalidTask) as caught:
        validate_task(task)
    assert problem in str(caught.value)
    assert len(caught.value.problems) == 1
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_all_problems_of_an_envelope_are_listed() -> None:
    with pytest.raises(InvalidTask) as caught:
        validate_task({"taskUUID": 1, "numberResults": 0, "deliveryMethod": 0, "f": {1, 2}})
    assert len(caught.value.problems) == 5


def test_deep_nesting_is_refused_not_a_crash() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InvalidTask):
        validate_task({"taskType": "x", "f": deep})
    with pytest.raises(InvalidTask):
        validate_task({"model": HAIKU_MODEL, "messages": deep})
    tool = {"type": "function", "name": "f", "schema": {"a": deep}}
    with pytest.raises(InvalidTask):
        validate_task({"model": HAIKU_MODEL, "messages": MESSAGES, "tools": [tool]})


def test_a_circle_is_refused_not_a_crash() -> None:
    circle: dict[str, Any] = {"taskType": "x"}
    circle["self"] = circle
    with pytest.raises(InvalidTask, match="cannot be written as JSON"):
        validate_task(circle)


def test_utility_models_pass_and_the_clients_own_are_refused() -> None:
    checked = validate_task(GetResponseTask(task_uuid=UUID))
    assert (checked.uuid, checked.task_type, checked.model) == (UUID, "getResponse", None)
    for own in (PingTask(), AuthenticationTask.from_wire({"apiKey": "s3cret"})):
        with pytest.raises(InvalidTask, match="the client itself sends") as caught:
            validate_task(own)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("task", [None, 5, "x", [], [("taskType", "x")]])
def test_what_is_no_task_is_refused(task: Any) -> None:
    with pytest.raises(InvalidTask, match="must be a TextInference or a dict"):
        validate_task(task)


def test_repr_is_short() -> None:
    checked = validate_task(TextInference.prompt("secret plans " * 1000))
    assert "secret" not in repr(checked)
    assert len(repr(checked)) < 250
    assert pickle.loads(pickle.dumps(checked)) == checked


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(st.dictionaries(st.text("abcdef", min_size=1), json_values, max_size=5))
def test_any_json_object_travels_unchanged(fields: dict[str, Any]) -> None:
    task = {"taskType": "someFutureTask", **fields}
    before = copy.deepcopy(task)
    checked = validate_task(task)
    assert task == before
    assert is_uuid4(checked.uuid)
    assert orjson.loads(checked.payload) == {**task, "taskUUID": checked.uuid}


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(
    st.dictionaries(
        st.sampled_from(["taskType", "taskUUID", "model", "messages", "numberResults", "settings",
                         "deliveryMethod", "tools"]),
        json_values | st.just(HAIKU_MODEL) | st.just("textInference") | st.just(MESSAGES),
    )
)  # fmt: skip
def test_any_dict_is_accepted_or_refused_with_reasons(task: dict[str, Any]) -> None:
    before = copy.deepcopy(task)
    try:
        checked = validate_task(task)
    except InvalidTask as refusal:
        reasons = refusal.problems
        checked = None
    else:
        reasons = ()
    assert task == before
    assert bool(reasons) is (checked is None)
    if checked is not None:
        assert orjson.loads(checked.payload)["taskUUID"] == checked.uuid
