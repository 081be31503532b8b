"""What a line of the input becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runware_ws import HAIKU_MODEL, InvalidTask
from runware_ws.batch.reading import Line
from runware_ws.models import validate_task

from .support import read_one

ASKED = [{"role": "user", "content": "hi"}]
EXTRAS = {"includeCost": True, "includeUsage": True}
HAIKU = {"taskType": "textInference", "model": HAIKU_MODEL}


def line(value: Any, **options: Any) -> Line:
    return read_one(json.dumps(value).encode(), **options)


def batch(**params: Any) -> dict[str, Any]:
    whole = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": ASKED, **params}
    return {"custom_id": "a", "params": whole}


@pytest.mark.parametrize(
    ("value", "task"),
    [
        ({"prompt": "hi"}, {**HAIKU, "messages": ASKED}),
        (
            {"prompt": "hi", "system": "be", "max_tokens": 5, "entry_point": "f", "task_id": "x/1"},
            {**HAIKU, "messages": ASKED, "settings": {"systemPrompt": "be", "maxTokens": 5}},
        ),
        ({"messages": ASKED}, {**HAIKU, "messages": ASKED}),
        (
            {"messages": ASKED, "model": "anthropic/claude-haiku-4.5", "id": 4},
            {**HAIKU, "messages": ASKED},
        ),
        (batch(), {**HAIKU, "messages": ASKED, "settings": {"maxTokens": 9}}),
        (
            batch(model=HAIKU_MODEL, stream=False, stop_sequences=["x"], max_tokens=9),
            {**HAIKU, "messages": ASKED, "settings": {"stopSequences": ["x"], "maxTokens": 9}},
        ),
        (
            batch(system=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            {**HAIKU, "messages": ASKED, "settings": {"systemPrompt": "a\nb", "maxTokens": 9}},
        ),
        (
            batch(messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}]),
            {**HAIKU, "messages": ASKED, "settings": {"maxTokens": 9}},
        ),
        (
            batch(
                model="claude-haiku-4-5-20251001",
                tools=[{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
                tool_choice={"type": "tool", "name": "f"},
            ),
            {
                **HAIKU,
                "messages": ASKED,
                "settings": {"maxTokens": 9},
                "tools": [
                    {
                        "type": "function",
                        "name": "f",
                        "description": "d",
                        "schema": {"type": "object"},
                    }
                ],
                "toolChoice": {"type": "tool", "name": "f"},
            },
        ),
    ],
)
def test_a_line_becomes_a_valid_task(value: Any, task: dict[str, Any]) -> None:
    read = line(value)
    assert read.problem is None
    assert read.task is not None
    assert read.task == {**task, **EXTRAS}
    validate_task(read.task)


def test_a_task_of_another_kind_stays_as_it_is() -> None:
    assert line({"taskType": "modelSearch", "search": "x"}).task == {
        "taskType": "modelSearch",
        "search": "x",
    }


def test_what_the_line_says_about_costs_stays() -> None:
    task = line({"messages": ASKED, "includeCost": False}).task
    assert task is not None
    assert task["includeCost"] is False


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (5, "must be a JSON object, not a number"),
        ([[1]], "must be a JSON object, not an array"),
        ("x", "must be a JSON object, not a string"),
        (True, "must be a JSON object, not true or false"),
        ({"id": 1}, "has none of"),
        ({"prompt": 7}, "prompt: must be a string"),
        ({"prompt": "x", "temperature": 1}, "temperature"),
        ({"prompt": "x", "maxTokens": 1}, "maxTokens"),
        ({"prompt": "x", "max_completion_tokens": 1}, "max_completion_tokens: a prompt line does"),
        ({"prompt": "x", "response_format": {}}, "response_format: a prompt line does"),
        ({"prompt": "x", "reasoning_effort": "low"}, "reasoning_effort: a prompt line does"),
        ({"prompt": "x", "presence_penalty": 1}, "presence_penalty: is not supported"),
        ({"prompt": ""}, "prompt: must have at least 1 character"),
        ({"prompt": "x", "max_tokens": -1}, "max_tokens: must be at least 1"),
        (
            {"prompt": "x", "system": 5, "max_tokens": "7"},
            "system: must be a string; max_tokens: m",
        ),
        ({"prompt": "x", "stop_sequences": ["a", ""]}, "stop_sequences[1]: must have at least"),
        ({"prompt": "x", "model": "gpt"}, "model: 'gpt'"),
        ({"prompt": "x", "id": [1]}, "id: must be a string or a number"),
        ({"custom_id": "a", "params": 1}, "params: must be an object"),
        ({"custom_id": "a", "params": {"messages": ASKED}}, "params.model: is required"),
        ({"custom_id": "a", "params": {"model": HAIKU_MODEL}}, "params.messages: is required"),
        ({"custom_id": "a", "params": {}, "more": 1}, "more: is not known"),
        (batch(temperature=0.5), "params.temperature"),
        (batch(top_p=0.5), "params.top_p"),
        (batch(top_k=5), "params.top_k"),
        ({"custom_id": "a", "params": {"model": HAIKU_MODEL, "messages": ASKED}}, "max_tokens"),
        (batch(stream=True), "params.stream"),
        (batch(thinking={"type": "enabled", "budget_tokens": 1024}), "params.thinking"),
        (batch(model="claude-opus-4-5"), "params.model: must be"),
        (batch(system=5), "params.system"),
        (batch(messages="hi"), "params.messages: must be an array"),
        (batch(messages=["hi"]), "params.messages[0]: must be an object"),
        (batch(messages=[{"role": "user", "content": "x", "name": "y"}]), "messages[0].name"),
        (
            batch(messages=[{"role": "user", "content": [{"type": "image"}]}]),
            "params.messages[0].content[0].source: must be an object",
        ),
        (
            batch(system=[{"type": "text", "text": "a", "cache_control": {}}]),
            "params.system[0].cache_control",
        ),
        (batch(tools=[{"type": "web_search", "name": "w"}]), "params.tools[0]"),
        (batch(tools=[{"name": "w", "cache_control": 1}]), "params.tools[0].cache_control"),
        (batch(tool_choice={"type": "any", "disable_parallel_tool_use": True}), "tool_choice.dis"),
    ],
)
def test_a_line_that_makes_no_task_says_why(value: Any, problem: str) -> None:
    read = line(value)
    assert read.task is None
    assert problem in (read.problem or "")


# A bare Messages request, told apart from our own task


@pytest.mark.parametrize(
    "more",
    [
        {"max_tokens": 9},
        {"max_tokens": 9, "system": "be"},
        {"max_tokens": 9, "model": "claude-haiku-4-5-20251001", "stop_sequences": ["x"]},
        {
            "max_tokens": 9,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        },
        {"max_tokens": 9, "temperature": None, "metadata": {"user_id": "u"}},
    ],
)
def test_a_bare_messages_request(more: dict[str, Any]) -> None:
    request = {"messages": ASKED, **more}
    read = line({"custom_id": "a", **request})
    params = {"model": "claude-haiku-4-5", **request}
    assert read.problem is None
    assert read.task == line({"custom_id": "a", "params": params}).task
    assert read.task is not None
    assert read.task["settings"]["maxTokens"] == 9
    validate_task(read.task)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"messages": ASKED, "max_tokens": 9, "temperature": 0}, "temperature: is not supported"),
        ({"messages": ASKED, "system": "be"}, "max_tokens: is required"),
        ({"messages": ASKED, "max_tokens": 9, "stream": True}, "stream: a line of a file"),
        ({"messages": ASKED, "max_tokens": 9, "model": "claude-opus-4-5"}, "model: must be"),
        ({"messages": ASKED, "model": "claude-opus-4-5"}, "model: must be"),
    ],
)
def test_a_bare_messages_request_is_refused_by_field(value: Any, problem: str) -> None:
    assert problem in (line(value).problem or "")


def test_a_task_of_ours_stays_ours() -> None:
    own = {"messages": ASKED, "settings": {"maxTokens": 9}, "numberResults": 2}
    task = line(own).task
    assert task == {**HAIKU, **own, **EXTRAS}


# Nulls


def test_null_is_absent() -> None:
    schema = {"type": "object", "default": None}
    own = {
        "id": None,
        "custom_id": "a",
        "taskUUID": None,
        "model": None,
        "messages": [{"role": "user", "content": "hi", "name": None}],
        "settings": {"maxTokens": None, "cache": {"ttl": "1h", "scope": None}},
        "tools": [{"type": "function", "name": "f", "description": None, "schema": schema}],
        "inputs": None,
        "max_tokens": None,
    }
    read = line(own)
    assert read.id == ("custom_id", "a")
    assert read.task == {
        **HAIKU,
        "messages": ASKED,
        "settings": {"cache": {"ttl": "1h"}},
        "tools": [{"type": "function", "name": "f", "schema": schema}],
        **EXTRAS,
    }
    assert read.task is not None
    validate_task(read.task)
    nulls = {"system": None, "max_tokens": None, "temperature": None, "note": None}
    assert line({"prompt": "hi", **nulls}) == line({"prompt": "hi"})
    assert line(batch(temperature=None, system=None)).task == line(batch()).task
    task = line({"messages": [{"role": "user", "content": None}]}).task
    assert task is not None
    with pytest.raises(InvalidTask, match="content: is required"):
        validate_task(task)
    assert line({"prompt": None}).problem is not None
    assert "params.model: is required" in (line(batch(model=None)).problem or "")


def test_answers_of_the_anthropic_package_go_back_as_they_are() -> None:
    text = {"type": "text", "text": "I look.", "citations": None}
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"x": None}, "caller": None}
    turns = [*ASKED, {"role": "assistant", "content": [text, call]}]
    read = line(batch(messages=turns))
    assert read.task is not None
    assert '{"x":null}' in read.task["messages"][1]["content"]


# Dropped on demand


@pytest.mark.parametrize(
    ("value", "dropped"),
    [
        (batch(temperature=0.5, top_p=1), ["params.temperature", "params.top_p"]),
        ({"messages": ASKED, "max_tokens": 9, "top_k": 3}, ["top_k"]),
        ({"prompt": "hi", "max_tokens": 9, "temperature": 1}, ["temperature"]),
        (
            {"messages": [{**ASKED[0], "name": "n"}], "settings": {"maxTokens": 9, "topP": 1}},
            ["messages[0].name", "settings.topP"],
        ),
        (
            {"custom_id": "a", "body": {"messages": ASKED, "max_tokens": 9, "seed": 4}},
            ["body.seed"],
        ),
    ],
)
def test_what_cannot_be_taken_is_dropped_and_named(value: Any, dropped: list[str]) -> None:
    read = line(value, unsupported="drop")
    assert read.problem is None
    assert sorted(read.dropped) == dropped
    assert read.task == {**HAIKU, "messages": ASKED, "settings": {"maxTokens": 9}, **EXTRAS}
    refused = line(value)
    if refused.task is None:
        assert dropped[0] in (refused.problem or "")
    else:
        with pytest.raises(ValueError, match="is not a known field"):
            validate_task(refused.task)


def test_what_is_wrong_is_not_dropped() -> None:
    assert line(batch(max_tokens="9"), unsupported="drop").task is None
    assert line({"prompt": "x", "maxTokens": 1}, unsupported="drop").task is None


# Prompts and rows


def test_what_is_the_users_own_is_kept_aside() -> None:
    read = line({"id": 7, "prompt": "hi", "note": {"a": 1}, "score": 0.5})
    assert read.extra == {"note": {"a": 1}, "score": 0.5}
    row = {"id": 7, "question": "hi", "temperature": 20, "messages": "none", "empty": None}
    read = line(row, prompt_column="question")
    assert read.task == {**HAIKU, "messages": ASKED, **EXTRAS}
    assert read.extra == {"temperature": 20, "messages": "none"}
    assert read.id == ("id", 7)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "hi"}, "question: is missing"),
        ({"question": None}, "question: is missing"),
        ({"question": 7}, "question: must be a string"),
    ],
)
def test_a_row_without_its_prompt(row: Any, problem: str) -> None:
    assert line(row, prompt_column="question").problem == problem


# What a line may hold


def test_integers_are_exact() -> None:
    big = 12345678901234567890123
    one, two = line({"id": big, "prompt": "x"}), line({"id": big + 1, "prompt": "x"})
    assert (one.id, two.id) == (("id", big), ("id", big + 1))
    assert one.key != two.key
    schema = {"properties": {"n": {"maximum": big}}}
    tool = {"name": "f", "input_schema": schema}
    for value in (
        batch(tools=[tool]),
        {"messages": ASKED, "tools": [{"type": "function", "name": "f", "schema": schema}]},
    ):
        task = line(value).task
        assert task is not None
        assert json.loads(validate_task(task).payload)["tools"][0]["schema"] == schema


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (rb'{"prompt":"a\ud800"}', "prompt: must be valid Unicode (a lone surrogate"),
        (b'{"prompt":"\xed\xa0\x80"}', "prompt: must be valid Unicode"),
        (rb'{"id":"\ud800","prompt":"x"}', "id: must be valid Unicode"),
        (
            rb'{"messages":[{"role":"user","content":"\udfff"}]}',
            "messages[0].content: must be valid",
        ),
        (rb'{"prompt":"x","\ud800":1}', "a name must be valid Unicode"),
        (rb'{"params":{"tools":[{"description":"\ud800"}]}}', "params.tools[0].description: must"),
        (b'{"prompt":"x","score":NaN}', "score: NaN and infinity are not JSON"),
        (b'{"prompt":"x","score":[1e999]}', "score[0]: NaN and infinity are not JSON"),
        (b'{"prompt":"x","deep":' + b"[" * 3000 + b"]" * 3000 + b"}", "nested too deeply"),
        (b'{"prompt":"x","n":' + b"1" * 5000 + b"}", "more digits than can be read"),
        (b'{"messages":' + b"[" * 600 + b"]" * 600 + b"}", ""),
        (b'{"messages":' + b"[" * 990 + b"]" * 990 + b"}", ""),
    ],
)
def test_what_cannot_be_sent_is_the_lines_own_error(text: bytes, problem: str) -> None:
    read = read_one(text)
    if problem:
        assert problem in (read.problem or "")
    if read.task is not None:
        with pytest.raises(ValueError, match=r"messages|nested"):
            validate_task(read.task)


def test_the_last_of_doubled_names_counts() -> None:
    assert read_one(b'{"prompt":"a","prompt":"hi"}').task == line({"prompt": "hi"}).task
