"""Request models: construction, secrets, copies, and the dicts and bytes that they become."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import Any, cast, get_type_hints

import orjson
import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from runware_ws.errors import InvalidTask
from runware_ws.models import (
    HAIKU_MODEL,
    AuthenticationTask,
    Cache,
    GetResponseTask,
    GetTaskDetailsTask,
    Inputs,
    Message,
    PingTask,
    Settings,
    TextInference,
    Tool,
    ToolChoice,
)
from runware_ws.models.formats import is_uuid4, new_uuid
from runware_ws.models.text_inference import PromptFields

UUID = "0b0f6ee2-1ed6-4d6c-9a46-6a1c8a0f7a11"
KEY = "rw-5ecret-k3y"


def whole() -> TextInference:
    """A request with every field set."""
    return TextInference(
        task_uuid=UUID,
        messages=[Message(role="user", content="Hi"), Message(role="assistant", content="Hello")],
        settings=Settings(
            system_prompt="Be brief.",
            cache=Cache(scope="system", ttl="1h"),
            max_tokens=100,
            stop_sequences=["END"],
            thinking_level="low",
        ),
        inputs=Inputs(images=["https://example.com/a.png"], documents=[UUID]),
        tools=[Tool.function("f", {"type": "object", "default": None}), Tool(type="search")],
        tool_choice=ToolChoice(type="tool", name="f"),
        delivery_method="async",
        number_results=2,
        webhook_url="https://example.com/hook",
        include_cost=True,
        include_usage=False,
    )


WHOLE_WIRE: dict[str, Any] = {
    "taskType": "textInference",
    "taskUUID": UUID,
    "model": HAIKU_MODEL,
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    "settings": {
        "systemPrompt": "Be brief.",
        "cache": {"scope": "system", "ttl": "1h"},
        "maxTokens": 100,
        "stopSequences": ["END"],
        "thinkingLevel": "low",
    },
    "inputs": {"images": ["https://example.com/a.png"], "documents": [UUID]},
    "tools": [
        {"type": "function", "name": "f", "schema": {"type": "object", "default": None}},
        {"type": "search"},
    ],
    "toolChoice": {"type": "tool", "name": "f"},
    "deliveryMethod": "async",
    "numberResults": 2,
    "webhookURL": "https://example.com/hook",
    "includeCost": True,
    "includeUsage": False,
}


def problems_of(**fields: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidTask) as caught:
        TextInference(**fields)
    return caught.value.problems


def test_whole_request_round_trips() -> None:
    task = whole()
    assert task.to_wire() == WHOLE_WIRE
    assert orjson.loads(task.to_json()) == WHOLE_WIRE
    assert TextInference.from_wire(WHOLE_WIRE) == task
    assert TextInference.model_validate(WHOLE_WIRE) == task
    assert TextInference.model_validate_json(task.to_json()) == task


def test_only_what_is_set_is_sent() -> None:
    task = TextInference.prompt("Why?")
    assert set(task.to_wire()) == {"taskType", "taskUUID", "model", "messages"}
    assert task.messages == (Message(role="user", content="Why?"),)


def test_a_prompt_takes_each_field_but_messages() -> None:
    """By the types that the model keeps them in."""
    kept, taken = get_type_hints(TextInference), get_type_hints(PromptFields)
    del kept["messages"]
    assert taken == {name: kept[name] for name in TextInference.model_fields if name in kept}


def test_every_task_gets_its_own_uuid() -> None:
    made = {TextInference.prompt("x").task_uuid for _ in range(200)} | {new_uuid()}
    assert len(made) == 201
    assert all(is_uuid4(uuid) and uuid == uuid.lower() for uuid in made)


def test_uuid_is_kept_in_lower_case() -> None:
    assert TextInference.prompt("x", task_uuid=UUID.upper()).task_uuid == UUID


def test_none_means_not_set_in_python_only() -> None:
    unset: Any = {"settings": None, "includeCost": None}
    task = TextInference.prompt("x", **unset)
    assert "settings" not in task.to_wire()
    for field in ("settings", "inputs", "tools", "toolChoice", "deliveryMethod", "includeCost"):
        with pytest.raises(InvalidTask, match=rf"^{field}: "):
            TextInference.from_wire({**task.to_wire(), field: None})
        with pytest.raises(ValidationError):
            TextInference.model_validate({**task.to_wire(), field: None})
    with pytest.raises(InvalidTask, match=r"settings\.maxTokens: must be an integer"):
        TextInference.from_wire({**task.to_wire(), "settings": {"maxTokens": None}})


def test_none_is_no_escape_for_required_or_unknown_fields() -> None:
    assert problems_of(messages=None) == ("messages: must be an array",)
    assert problems_of(messages=[Message(role="user", content="x")], nope=None) == (
        "nope: is not a known field",
    )


def test_constructor_takes_both_spellings_but_not_at_once() -> None:
    assert Settings.model_validate({"maxTokens": 5}) == Settings(max_tokens=5)
    make = cast(Any, Settings)  # type checkers know the Python names only
    assert make(maxTokens=5) == Settings(max_tokens=5)
    with pytest.raises(InvalidTask, match="maxTokens: is given twice"):
        make(maxTokens=5, max_tokens=5)


def test_a_wire_dict_knows_only_wire_names() -> None:
    with pytest.raises(InvalidTask, match="max_tokens: is not a known field"):
        Settings.from_wire({"max_tokens": 5})


def test_all_problems_are_listed_by_place_and_rule() -> None:
    wire = {
        **WHOLE_WIRE,
        "taskUUID": "x",
        "settings": {"maxTokens": 0, "stopSequences": ["a"] * 6, "x": 1},
        "messages": [{"role": "system", "content": ""}],
        "numberResults": True,
        "webhookURL": "ftp://example.com",
        "inputs": {"images": ["./cat.png"], "documents": []},
    }
    with pytest.raises(InvalidTask) as caught:
        TextInference.from_wire(wire)
    assert set(caught.value.problems) == {
        "taskUUID: must be a UUID v4",
        "messages[0].role: must be 'user' or 'assistant'",
        "messages[0].content: must have at least 1 character(s)",
        "settings.maxTokens: must be at least 1",
        "settings.stopSequences: must have at most 5 item(s)",
        "settings.x: is not a known field",
        "inputs.documents: must have at least 1 item(s)",
        "inputs.images[0]: must be a UUID, a URL, a data URI or Base64 "
        "(for a file use runware_ws.models.data_uri)",
        "numberResults: must be an integer",
        "webhookURL: must be an http or https URL (only ASCII; percent-encode the rest)",
    }
    assert str(caught.value) == "; ".join(caught.value.problems)
    assert "pydantic" not in str(caught.value)


def test_errors_never_show_a_value_and_can_be_pickled() -> None:
    with pytest.raises(InvalidTask) as caught:
        TextInference.from_wire({**WHOLE_WIRE, "messages": KEY, "settings": {"maxTokens": KEY}})
    assert KEY not in "".join(traceback.format_exception(caught.value))
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.problems == caught.value.problems


def test_long_names_in_errors_are_cut() -> None:
    with pytest.raises(InvalidTask) as caught:
        TextInference.from_wire({**WHOLE_WIRE, "k" * 5000: 1})
    assert len(str(caught.value)) < 200


def test_a_float_without_fraction_is_an_integer_as_in_json_schema() -> None:
    settings = Settings.from_wire({"maxTokens": 4.0})
    assert type(settings.max_tokens) is int
    assert settings.to_json() == b'{"maxTokens":4}'


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(InvalidTask, match="lone surrogate"):
        Message(role="user", content="\ud800")


def test_tool_schema_is_a_json_object_and_a_copy() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"n": {"enum": [1, 2.5, None, "x"]}}}
    tool = Tool.function("f", schema)
    schema["properties"]["n"] = "changed"
    assert tool.to_wire()["schema"]["properties"]["n"] == {"enum": [1, 2.5, None, "x"]}
    refused: list[Any] = [[], "x", {1: 2}, {"x": object()}, {"a": [float("nan"), None]}]
    for bad in refused:
        with pytest.raises(InvalidTask, match=r"^schema: "):
            Tool.from_wire({"type": "function", "name": "f", "schema": bad})


@pytest.mark.parametrize(
    ("model", "wire", "rule"),
    [
        (Tool, {"type": "function", "name": "f"}, "both name and schema"),
        (Tool, {"type": "function", "schema": {}}, "both name and schema"),
        (ToolChoice, {"type": "tool"}, "needs name"),
    ],
)
def test_conditional_rules(
    model: type[Tool] | type[ToolChoice], wire: dict[str, Any], rule: str
) -> None:
    with pytest.raises(InvalidTask, match=rule):
        model.from_wire(wire)


def test_frozen_and_strict() -> None:
    task = whole()
    with pytest.raises(ValidationError):
        task.number_results = 3  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(task.messages, tuple)
    assert isinstance(task.settings and task.settings.stop_sequences, tuple)
    assert problems_of(messages=[Message(role="user", content="x")], include_cost=1) == (
        "includeCost: must be true or false",
    )


def test_copies() -> None:
    task = whole()
    assert copy.copy(task) == copy.deepcopy(task) == pickle.loads(pickle.dumps(task)) == task
    changed = task.model_copy(update={"number_results": 3, "webhookURL": None})
    assert changed.to_wire() == {
        **{k: v for k, v in WHOLE_WIRE.items() if k != "webhookURL"},
        "numberResults": 3,
    }
    assert task.model_copy() == task
    with pytest.raises(InvalidTask, match="numberResults: must be at most 4"):
        task.model_copy(update={"number_results": 5})


def test_usable_as_a_field_of_a_foreign_model() -> None:
    class Job(BaseModel):
        task: TextInference

    assert Job.model_validate({"task": WHOLE_WIRE}).task == whole()
    with pytest.raises(ValidationError):
        Job.model_validate({"task": {**WHOLE_WIRE, "settings": None}})


def test_utility_tasks() -> None:
    assert PingTask().to_json() == b'{"taskType":"ping","ping":true}'
    assert GetResponseTask(task_uuid=UUID).to_wire() == {
        "taskType": "getResponse",
        "taskUUID": UUID,
    }
    assert GetTaskDetailsTask(task_uuid=UUID.upper()).to_wire() == {
        "taskType": "getTaskDetails",
        "taskUUID": UUID,
    }
    with pytest.raises(InvalidTask, match="taskUUID"):
        GetResponseTask(task_uuid="nonsense")


def test_the_key_is_shown_by_to_json_only() -> None:
    task = AuthenticationTask(api_key=SecretStr(KEY), connection_session_uuid=UUID)
    assert orjson.loads(task.to_json()) == {
        "taskType": "authentication",
        "apiKey": KEY,
        "connectionSessionUUID": UUID,
    }
    shown = [repr(task), str(task), f"{task}", str(task.model_dump()), str(task.to_wire())]
    shown += [str(task.model_dump(mode="json")), task.model_dump_json(), repr(copy.copy(task))]
    assert not [text for text in shown if KEY in text]
    with pytest.raises(TypeError):
        pickle.dumps(task)


@pytest.mark.parametrize(
    "wire",
    [
        {"apiKey": KEY, "connectionSessionUUID": "x"},
        {"apiKey": KEY, "taskType": "ping"},
        {"apiKey": KEY, "extra": KEY},
        {"apiKey": [KEY]},
        {"apiKey": None},
        {"apiKey": ""},
        {},
    ],
)
def test_the_key_is_in_no_error(wire: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask) as caught:
        AuthenticationTask.from_wire(wire)
    assert KEY not in "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    with pytest.raises(ValidationError) as raw:
        AuthenticationTask.model_validate(wire)
    assert KEY not in str(raw.value)
