"""Batch lines in the OpenAI style."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runware_ws import HAIKU_MODEL
from runware_ws.models import validate_task

from .support import read_one

ASKED = [{"role": "user", "content": "hi"}]
EXTRAS = {"includeCost": True, "includeUsage": True}
HAIKU = {"taskType": "textInference", "model": HAIKU_MODEL}
TEXT = {"type": "text", "text": "x"}
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Oslo"}'}}
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}


def batch(**body: Any) -> dict[str, Any]:
    whole = {"model": "claude-haiku-4-5", "messages": ASKED, **body}
    return {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": whole}


def task_of(line: dict[str, Any]) -> dict[str, Any]:
    read = read_one(json.dumps(line).encode())
    assert read.problem is None
    assert read.task is not None
    assert read.id == ("custom_id", "a")
    validate_task(read.task)
    return read.task


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


TAKEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"max_tokens": 9}, {"settings": {"maxTokens": 9}}),
    ({"max_completion_tokens": 1}, {"settings": {"maxTokens": 1}}),
    ({"max_tokens": 9, "max_completion_tokens": 9}, {"settings": {"maxTokens": 9}}),
    ({"stop": "x"}, {"settings": {"stopSequences": ["x"]}}),
    ({"stop": ["x", "y"]}, {"settings": {"stopSequences": ["x", "y"]}}),
    ({"n": 2}, {"numberResults": 2}),
    ({"reasoning_effort": "high"}, {"settings": {"thinkingLevel": "high"}}),
    (
        {
            "messages": [
                {"role": "system", "content": "be"},
                {"role": "developer", "content": [{"type": "text", "text": "good"}]},
                *ASKED,
            ]
        },
        {"settings": {"systemPrompt": "be\ngood"}},
    ),
    (
        {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"},
        {
            "tools": [
                {
                    "type": "function",
                    "name": "f",
                    "description": "d",
                    "schema": {"type": "object"},
                }
            ],
            "toolChoice": {"type": "any"},
        },
    ),
    (
        {
            "tools": [{"type": "function", "function": {"name": "f", "strict": False}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
        },
        {
            "tools": [
                {
                    "type": "function",
                    "name": "f",
                    "schema": {"type": "object", "properties": {}},
                }
            ],
            "toolChoice": {"type": "tool", "name": "f"},
        },
    ),
    (
        {
            "temperature": 1,
            "top_p": 1.0,
            "presence_penalty": 0,
            "frequency_penalty": 0.0,
            "logprobs": False,
            "stream": False,
            "store": False,
            "user": "u",
            "metadata": {"a": "b"},
            "response_format": {"type": "text"},
            "parallel_tool_calls": True,
            "logit_bias": {},
            "seed": None,
            "stop": None,
            "tools": None,
        },
        {},
    ),
]


@pytest.mark.parametrize(("body", "task"), TAKEN)
def test_a_line_becomes_a_task(body: dict[str, Any], task: dict[str, Any]) -> None:
    assert task_of(batch(**body)) == {**HAIKU, "messages": ASKED, **task, **EXTRAS}


def test_the_frame_of_a_line_may_be_short() -> None:
    bare = {"custom_id": "a", "body": {"messages": ASKED}}
    assert task_of(bare) == task_of(batch())
    absolute = {**bare, "url": "https://example.com/v1/chat/completions", "method": "POST"}
    assert task_of(absolute) == task_of(batch())


def test_images_and_files() -> None:
    task = task_of(
        batch(
            messages=user(
                {"type": "text", "text": "what?"},
                {"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
            )
        )
    )
    assert task["messages"] == [{"role": "user", "content": "what?"}]
    assert task["inputs"] == {"images": [PNG, "https://example.com/a.png"], "documents": [PDF]}


def test_a_history_of_tools() -> None:
    big = 12345678901234567890123
    second = {**CALL, "id": "c2", "function": {"name": "f", "arguments": f'{{"n": {big}}}'}}
    turns: list[dict[str, Any]] = [
        *ASKED,
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "c1", "content": "cold"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "warm"}]},
        {"role": "assistant", "content": "So.", "tool_calls": [], "audio": None},
        *ASKED,
    ]
    contents = [
        (each["role"], each["content"]) for each in task_of(batch(messages=turns))["messages"]
    ]
    assert contents == [
        ("user", "hi"),
        (
            "assistant",
            '<tool_use id="c1" name="f">\n{"city":"Oslo"}\n</tool_use>\n'
            f'<tool_use id="c2" name="f">\n{{"n":{big}}}\n</tool_use>',
        ),
        (
            "user",
            '<tool_result tool_use_id="c1">\ncold\n</tool_result>\n'
            '<tool_result tool_use_id="c2">\nwarm\n</tool_result>',
        ),
        ("assistant", "So."),
        ("user", "hi"),
    ]


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 0.5}, "body.temperature"),
    ({"top_p": 0.5}, "body.top_p"),
    ({"seed": 4}, "body.seed"),
    ({"logprobs": True}, "body.logprobs"),
    ({"response_format": {"type": "json_object"}}, "body.response_format"),
    ({"parallel_tool_calls": False}, "body.parallel_tool_calls"),
    ({"reasoning_effort": "minimal"}, "body.reasoning_effort"),
    ({"unheard_of": 1}, "body.unheard_of"),
    ({"messages": [{**ASKED[0], "name": "n"}]}, "body.messages[0].name"),
    (
        {
            "messages": user(
                {"type": "text", "text": "hi"},
                {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
            )
        },
        "body.messages[0].content[1]",
    ),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "body.tools[0]"),
]


@pytest.mark.parametrize(("body", "place"), UNSUPPORTED, ids=[place for _, place in UNSUPPORTED])
def test_what_cannot_be_taken_is_refused_or_dropped_by_name(
    body: dict[str, Any], place: str
) -> None:
    text = json.dumps(batch(**body)).encode()
    refused = read_one(text)
    assert refused.task is None
    assert (refused.problem or "").startswith(f"{place}: ")
    dropped = read_one(text, unsupported="drop")
    assert dropped.dropped == (place,)
    assert dropped.task == {**HAIKU, "messages": ASKED, **EXTRAS}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({**batch(), "method": "GET"}, "method: must be 'POST'"),
        ({**batch(), "url": "/v1/embeddings"}, "url: '/v1/embeddings' is not supported"),
        ({**batch(), "url": "/v1/responses"}, "url: '/v1/responses' is not supported"),
        ({**batch(), "body": 5}, "body: must be an object"),
        ({**batch(), "more": 5}, "more: is not supported"),
        ({**batch(), "body": {}}, "body.messages: is required"),
        (batch(model="gpt-4o-mini"), "body.model: 'gpt-4o-mini' is not known here"),
        (batch(messages=5), "body.messages: must be an array"),
        (batch(messages=[]), "body.messages: must have at least 1"),
        (batch(messages=["hi"]), "body.messages[0]: must be an object"),
        (batch(messages=[{"role": "user"}]), "body.messages[0].content: is required"),
        (batch(messages=[{"role": "robot", "content": ""}]), "body.messages[0].role: must be"),
        (batch(messages=[*ASKED, {"role": "system", "content": "x"}]), "body.messages[1]: on Run"),
        (batch(messages=[{"role": "user", "content": ""}]), "body.messages[0].content: must have"),
        (
            batch(messages=[{"role": "system", "content": "x"}, {"role": "user", "content": ""}]),
            "body.messages[1].content: must have",
        ),
        (batch(messages=user({"text": "x"})), "body.messages[0].content[0]: must be a part"),
        (
            batch(messages=user(TEXT, {"type": "image_url", "image_url": {"url": "no url"}})),
            "body.messages[0].content[1]: must be a UUID, a URL",
        ),
        (
            batch(messages=user({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}})),
            "body.messages[0].content[0].image_url.detail: is not supported",
        ),
        (
            batch(messages=user({"type": "file", "file": {"file_id": "f"}})),
            "body.messages[0].content[0].file.file_id: is not supported",
        ),
        (
            batch(messages=[*ASKED, {"role": "tool", "content": "x"}]),
            "body.messages[1].tool_call_id: must be a string",
        ),
        (
            batch(
                messages=[
                    *ASKED,
                    {
                        "role": "assistant",
                        "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{"}}],
                    },
                ]
            ),
            "body.messages[1].tool_calls[0].function.arguments: must be the JSON of an object",
        ),
        (batch(max_tokens=0), "body.max_tokens: must be at least 1"),
        (batch(max_completion_tokens=10**6), "body.max_completion_tokens: must be at most"),
        (batch(max_tokens=1, max_completion_tokens=2), "body.max_completion_tokens: is not what"),
        (batch(stop=["a"] * 6), "body.stop: must have at most 5"),
        (batch(n=9), "body.n: must be at most 4"),
        (batch(stream=True), "body.stream: a line of a file gets its answer whole"),
        (batch(tools=[{"type": "function"}]), "body.tools[0]: must be an object with a function"),
        (
            batch(tools=[{"type": "function", "function": {"name": "no good"}}]),
            "body.tools[0].function.name: must match",
        ),
        (
            batch(tools=[{"type": "function", "function": {**FUNCTION, "strict": True}}]),
            "body.tools[0].function.strict: is not supported",
        ),
        (
            batch(tools=[{"type": "function", "function": {"name": "f", "parameters": 5}}]),
            "body.tools[0].function.parameters: must be an object",
        ),
        (batch(tool_choice={"type": "allowed_tools"}), "body.tool_choice: is not supported"),
        (
            batch(messages=[{"role": "system", "content": "x" * 200_001}, *ASKED]),
            "body.messages[0].content: must have at most 200000",
        ),
    ],
)
def test_what_is_wrong_is_told_in_the_lines_spelling(line: dict[str, Any], problem: str) -> None:
    read = read_one(json.dumps(line).encode())
    assert read.task is None
    assert problem in (read.problem or "")
    assert not (read.problem or "").count("body.body")
