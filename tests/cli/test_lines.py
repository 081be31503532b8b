"""What a line of the input becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runware_ws import HAIKU_MODEL
from runware_ws.cli.lines import Line, id_digest, line_key, read_line
from runware_ws.models import validate_task

NONE: frozenset[int] = frozenset()
ASKED = [{"role": "user", "content": "hi"}]
EXTRAS = {"includeCost": True, "includeUsage": True}
HAIKU = {"taskType": "textInference", "model": HAIKU_MODEL}


def line(value: Any, number: int = 1) -> Line:
    return read_line(number, json.dumps(value).encode(), NONE)


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
        (5, "must be a JSON object"),
        ({"id": 1}, "has none of"),
        ({"prompt": 7}, "prompt: must be a string"),
        ({"prompt": "x", "temperature": 1}, "temperature"),
        ({"prompt": "x", "maxTokens": 1}, "maxTokens"),
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


def test_the_key_follows_the_id_and_the_content() -> None:
    first = line({"id": 1, "prompt": "a"})
    assert first.key == line({"id": 1, "prompt": "a"}, number=9).key
    assert first.key != line({"id": 1, "prompt": "b"}).key
    assert line({"prompt": "a"}).key != line({"prompt": "a"}, number=2).key


def test_an_id_that_is_not_unique_does_not_count() -> None:
    text = b'{"id": 1, "prompt": "a"}'
    repeated = frozenset({id_digest(("id", 1))})
    assert read_line(1, text, repeated).key == line_key(1, None, False, text)
    assert read_line(1, text, repeated).key != read_line(2, text, repeated).key
