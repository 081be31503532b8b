"""``to_task``: what maps to what, what is refused by name, what is dropped with a warning."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from anthropic.types import TextBlock as AnthropicText
from anthropic.types import ToolUseBlock as AnthropicToolUse

from runware_ws import HAIKU_MODEL, ConfigurationError, InvalidTask
from runware_ws.messages import DEFAULT_MODEL, UnsupportedWarning, is_haiku, to_task

from .support import PNG, UUID, request

URL = "https://example.com/a.png"
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def wire(fields: dict[str, Any], **options: Any) -> dict[str, Any]:
    before = copy.deepcopy(fields)
    task = to_task(fields, task_uuid=UUID, **options).to_wire()
    assert fields == before
    return task


def image(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source}


def document(**source: Any) -> dict[str, Any]:
    return {"type": "document", "source": source}


# What maps to what


def test_the_smallest_request() -> None:
    assert wire(request()) == {
        "taskType": "textInference",
        "taskUUID": UUID,
        "model": HAIKU_MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
        "settings": {"maxTokens": 64},
        "includeUsage": True,
    }


@pytest.mark.parametrize(
    "model",
    [
        "anthropic/claude-haiku-4.5",
        "anthropic:claude@haiku-4.5",
        "claude-haiku-4.5",
        "claude-haiku-4-5",
        "claude-haiku-4-5-20251001",
        "claude-haiku-4-5-latest",
        "anthropic/claude-haiku-4-5",
    ],
)
def test_all_names_are_one_model(model: str) -> None:
    assert is_haiku(model)
    assert wire(request(model=model)) == wire(request())


@pytest.mark.parametrize("model", ["claude-opus-4", "claude-haiku-4-5-turbo", "", 5, [HAIKU_MODEL]])
def test_other_models_are_refused(model: Any) -> None:
    assert not is_haiku(model)
    with pytest.raises(InvalidTask, match=r"^model: must be 'anthropic/claude-haiku-4.5'"):
        to_task(request(model=model))


def test_all_that_is_taken() -> None:
    task = wire(
        {
            "model": DEFAULT_MODEL,
            "max_tokens": 1024.0,
            "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Or else."}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
                {"role": "assistant", "content": "b"},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}],
                },
            ],
            "stop_sequences": ["END"],
            "stream": True,
            "metadata": {"user_id": "7", "anything": [1]},
            "tools": [WEATHER],
            "tool_choice": {"type": "any"},
        },
        thinking_level="low",
        include_cost=True,
    )
    assert task == {
        "taskType": "textInference",
        "taskUUID": UUID,
        "model": HAIKU_MODEL,
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c\nd"},
        ],
        "settings": {
            "systemPrompt": "Be brief.\nOr else.",
            "maxTokens": 1024,
            "stopSequences": ["END"],
            "thinkingLevel": "low",
        },
        "tools": [
            {
                "type": "function",
                "name": "get_weather",
                "description": "The weather in a city.",
                "schema": WEATHER["input_schema"],
            }
        ],
        "toolChoice": {"type": "any"},
        "deliveryMethod": "stream",
        "includeUsage": True,
        "includeCost": True,
    }


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"system": ""}, "systemPrompt"),
        ({"system": []}, "systemPrompt"),
        ({"tools": []}, "tools"),
        ({"stream": False}, "deliveryMethod"),
        ({"metadata": {}}, "metadata"),
    ],
)
def test_what_asks_for_nothing(fields: dict[str, Any], place: str) -> None:
    assert place not in str(wire(request(**fields)))


def test_thinking_that_is_off() -> None:
    assert wire(request(thinking={"type": "disabled"}))["settings"]["thinkingLevel"] == "off"


@pytest.mark.parametrize(
    "choice",
    [{"type": "auto"}, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": "get_weather"}],
)
def test_tool_choice(choice: dict[str, Any]) -> None:
    given = {**choice, "disable_parallel_tool_use": False}
    assert wire(request(tools=[WEATHER], tool_choice=given))["toolChoice"] == choice


def test_tools_of_the_provider() -> None:
    tools = [
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "code_execution_20250522", "name": "code_execution"},
        {"type": "custom", "strict": False, **WEATHER},
    ]
    kinds = [tool["type"] for tool in wire(request(tools=tools))["tools"]]
    assert kinds == ["search", "codeInterpreter", "function"]


def test_cache_marks_become_one_setting() -> None:
    mark = {"type": "ephemeral"}
    tool = {**WEATHER, "cache_control": mark}
    system = [{"type": "text", "text": "s", "cache_control": {**mark, "ttl": "1h"}}]
    task = wire(request(tools=[tool], system=system))
    assert task["settings"]["cache"] == {"scope": "system", "ttl": "1h"}
    block = {"type": "text", "text": "a", "cache_control": mark}
    task = wire(request([block], tools=[tool]))
    assert task["settings"]["cache"] == {"scope": "system+history", "ttl": "5m"}
    task = wire(request(cache_control=mark))
    assert task["settings"]["cache"] == {"scope": "system+history", "ttl": "5m"}


# Images and documents


def test_images_become_inputs_and_leave_no_word() -> None:
    task = wire(
        request(
            [
                image(type="url", url=URL),
                {"type": "text", "text": "What is this?"},
                image(type="base64", media_type="image/png", data=PNG),
            ]
        )
    )
    assert task["messages"] == [{"role": "user", "content": "What is this?"}]
    assert task["inputs"] == {"images": [URL, f"data:image/png;base64,{PNG}"]}


def test_documents_become_inputs() -> None:
    text = base64.b64encode("ä".encode()).decode()
    pdf = {
        **document(type="base64", media_type="application/pdf", data="JVBERi0="),
        "citations": {"enabled": False},
    }
    plain_text = document(type="text", media_type="text/plain", data="ä")
    task = wire(request([pdf, plain_text, document(type="url", url=URL)]))
    assert task["inputs"]["documents"] == [
        "data:application/pdf;base64,JVBERi0=",
        f"data:text/plain;base64,{text}",
        URL,
    ]


def test_a_message_of_images_only_gets_their_labels() -> None:
    picture = image(type="url", url=URL)
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, picture]},
        {"role": "assistant", "content": "I see."},
        {"role": "user", "content": [picture, document(type="url", url=URL), picture]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": [picture]}],
        },
    ]
    task = wire({"max_tokens": 1, "messages": messages})
    assert [message["content"] for message in task["messages"]] == [
        "Look:",
        "I see.",
        "[image 2]\n[document 1]\n[image 3]",
        '<tool_result tool_use_id="t">\n[image 4]\n</tool_result>',
    ]


# History


def test_an_agent_loop_round_trips_with_dicts_and_with_models() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": None}}
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "I will look."},
        {**call, "caller": {"type": "direct"}},
    ]
    models = [
        AnthropicText(type="text", text="I will look."),
        AnthropicToolUse.model_validate(call),
    ]
    dumped = [model.model_dump() for model in models]
    assert None in dumped[0].values()
    results = [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no", "is_error": True},
        {"type": "tool_result", "tool_use_id": "toolu_3"},
        {"type": "text", "text": "Well?"},
    ]
    tasks = [
        wire(
            {
                "max_tokens": 9,
                "messages": [
                    {"role": "user", "content": "Go"},
                    {"role": "assistant", "content": content},
                    {"role": "user", "content": results},
                ],
            }
        )
        for content in (blocks, models, dumped)
    ]
    assert tasks[0] == tasks[1] == tasks[2]
    assert tasks[0]["messages"][1:] == [
        {
            "role": "assistant",
            "content": 'I will look.\n<tool_use id="toolu_1" name="f">\n{"x":null}\n</tool_use>',
        },
        {
            "role": "user",
            "content": '<tool_result tool_use_id="toolu_1">\na\nb\n</tool_result>\n'
            '<tool_result tool_use_id="toolu_2" is_error="true">\nno\n</tool_result>\n'
            '<tool_result tool_use_id="toolu_3">\n\n</tool_result>\nWell?',
        },
    ]


def test_a_null_that_is_not_required_is_not_given() -> None:
    mark = {"type": "ephemeral", "ttl": None}
    blocks = [
        {"type": "text", "text": "a", "citations": None, "cache_control": mark},
        {"type": "image", "source": {"type": "url", "url": URL, "data": None}, "title": None},
        {"type": "tool_result", "tool_use_id": "t", "content": None, "is_error": None},
    ]
    tool = {"name": "f", "input_schema": {"default": None}, "description": None, "type": None}
    fields = {
        "max_tokens": 1,
        "messages": [{"role": "user", "content": blocks, "id": None}],
        "tools": [tool],
        "tool_choice": {"type": "auto", "name": None, "disable_parallel_tool_use": None},
        "system": None,
        "temperature": None,
        "metadata": None,
        "unheard_of": None,
    }
    task = wire(fields)
    assert task["messages"][0]["content"].startswith("a\n<tool_result")
    assert task["tools"] == [{"type": "function", "name": "f", "schema": {"default": None}}]
    assert task["toolChoice"] == {"type": "auto"}
    assert task["settings"]["cache"] == {"scope": "system+history", "ttl": "5m"}
    assert "systemPrompt" not in task["settings"]


# Refused by name, or dropped with a warning

_FILE = {"type": "file", "file_id": "f"}
UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    (request(temperature=0.3), "temperature"),
    (request(top_p=0.5), "top_p"),
    (request(top_k=5), "top_k"),
    (request(thinking={"type": "enabled", "budget_tokens": 2048}), "thinking"),
    (request(service_tier="auto"), "service_tier"),
    (request(container="c"), "container"),
    (request(**{"x" * 99: 1}), repr("x" * 60 + "…")),
    (request([{"type": "text", "text": "a"}, {"type": "audio"}]), "messages[0].content[1]"),
    (request([{"type": "text", "text": "a", "citations": []}]), "messages[0].content[0].citations"),
    (
        request([{"type": "text", "text": "a"}, {"type": "image", "source": _FILE}]),
        "messages[0].content[1].source",
    ),
    (
        request([{**document(type="url", url=URL), "title": "t"}]),
        "messages[0].content[0].title",
    ),
    (
        request([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "audio"}]}]),
        "messages[0].content[0].content[0]",
    ),
    (
        {"max_tokens": 1, "messages": [{"role": "user", "content": "a", "name": "n"}]},
        "messages[0].name",
    ),
    (request(system=[{"type": "image"}]), "system[0]"),
    (request(tools=[{"type": "bash_20250124", "name": "bash"}, WEATHER]), "tools[0]"),
    (request(tools=[{**WEATHER, "strict": True}]), "tools[0].strict"),
    (
        request(tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]),
        "tools[0].max_uses",
    ),
    (
        request(tools=[WEATHER], tool_choice={"type": "auto", "disable_parallel_tool_use": True}),
        "tool_choice.disable_parallel_tool_use",
    ),
    (request(cache_control={"type": "ephemeral", "scope": "global"}), "cache_control.scope"),
]


@pytest.mark.parametrize(("fields", "place"), UNSUPPORTED, ids=[place for _, place in UNSUPPORTED])
def test_unsupported(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidTask) as caught:
        to_task(fields)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{place}: ")
    with pytest.warns(UnsupportedWarning) as warned:
        to_task(fields, unsupported="drop")
    assert len(warned) == 1
    assert str(warned[0].message).endswith(f": {place}")
    assert warned[0].filename == __file__


def test_everything_that_is_unsupported_is_told_at_once() -> None:
    fields = request([{"type": "audio"}, {"type": "text", "text": "a"}], temperature=1, top_k=2)
    with pytest.raises(InvalidTask) as caught:
        to_task(fields, task_uuid=UUID)
    places = [problem.split(":")[0] for problem in caught.value.problems]
    assert places == ["messages[0].content[0]", "temperature", "top_k"]
    assert caught.value.task_uuid == UUID
    with pytest.warns(UnsupportedWarning, match=r"\[0\], temperature, top_k$"):
        task = to_task(fields, unsupported="drop", task_uuid=UUID)
    assert task == to_task(request("a"), task_uuid=UUID)


def test_a_dropped_tool_shifts_no_place() -> None:
    tools = [{"type": "bash_20250124"}, {**WEATHER, "name": "not good"}]
    with pytest.raises(InvalidTask, match=r"^tools\[1\]\.name: must match"):
        to_task(request(tools=tools), unsupported="drop")


def test_the_policy_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="unsupported must be"):
        to_task(request(), unsupported="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# Wrong under every policy


def _tool_use(**fields: Any) -> dict[str, Any]:
    return request([{"type": "tool_use", "id": "a", "name": "b", "input": {}, **fields}])


def _tool_result(**fields: Any) -> dict[str, Any]:
    return request([{"type": "tool_result", "tool_use_id": "a", **fields}])


DEEP = json.loads('{"a":' * 300 + "1" + "}" * 300)

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"messages": [{"role": "user", "content": "a"}]}, "max_tokens: is required"),
    ({"max_tokens": 1}, "messages: is required"),
    (request(max_tokens=0), "max_tokens: must be at least 1"),
    (request(max_tokens=64_001), "max_tokens: must be at most 64000"),
    (request(max_tokens=0.5), "max_tokens: must be an integer"),
    (request(max_tokens=True), "max_tokens: must be an integer"),
    (request(max_tokens=None), "max_tokens: is required"),
    (request(messages=None), "messages: is required"),
    ({"max_tokens": 1, "messages": []}, "messages: must have at least 1 item"),
    ({"max_tokens": 1, "messages": "a"}, "messages: must be an array"),
    ({"max_tokens": 1, "messages": ["a"]}, "messages[0]: must be an object"),
    ({"max_tokens": 1, "messages": [{"content": "a"}]}, "messages[0].role: is required"),
    ({"max_tokens": 1, "messages": [{"role": "user"}]}, "messages[0].content: is required"),
    (
        {"max_tokens": 1, "messages": [{"role": "system", "content": "a"}]},
        "messages[0].role: must be 'user' or 'assistant'",
    ),
    (request(""), "messages[0].content: must have at least 1 character"),
    (request([]), "messages[0].content: must have at least 1 character"),
    (request(5), "messages[0].content: must be a string or an array"),
    (request(["a"]), "messages[0].content[0]: must be a block"),
    (request([{"text": "a"}]), "messages[0].content[0]: must be a block"),
    (request([{"type": "text"}]), "messages[0].content[0].text: must be a string"),
    (request("\ud800"), "messages[0].content: must be valid Unicode"),
    (request([{"type": "image"}]), "messages[0].content[0].source: must be an object"),
    (request([image()]), "messages[0].content[0].source.type: must be"),
    (request([image(type="url")]), "messages[0].content[0].source.url: must be a string"),
    (
        request(
            "a",
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "a"}, image(type="url", url="no url")],
                }
            ],
        ),
        "messages[0].content[1].source: must be a UUID, a URL",
    ),
    (
        request([image(type="base64", media_type="image/png", data="!")]),
        "messages[0].content[0].source.data: must be Base64",
    ),
    (
        request([image(type="base64", media_type="text/html", data=PNG)]),
        "messages[0].content[0].source.media_type: must be the media type of the image",
    ),
    (
        request([document(type="text", data="\ud800")]),
        "messages[0].content[0].source.data: must be a string of valid Unicode",
    ),
    (_tool_use(id=5), "messages[0].content[0].id: must be a string"),
    (_tool_use(name=None), "messages[0].content[0].name: must be a string"),
    (_tool_use(input="{}"), "messages[0].content[0].input: must be an object"),
    (_tool_use(input={"a": float("nan")}), "messages[0].content: a: NaN and infinity"),
    (_tool_use(input=DEEP), "messages[0].content: cannot be written as JSON"),
    (_tool_use(id="\ud800"), "messages[0].content: cannot be written as JSON"),
    (_tool_result(tool_use_id=5), "messages[0].content[0].tool_use_id: must be a string"),
    (_tool_result(is_error="yes"), "messages[0].content[0].is_error: must be true or false"),
    (_tool_result(content=5), "messages[0].content[0].content: must be a string or an array"),
    (_tool_result(content=["a"]), "messages[0].content[0].content[0]: must be a block"),
    (request(system=5), "system: must be a string"),
    (request(system=["a"]), "system[0]: must be a block"),
    (request(system="a" * 200_001), "system: must have at most 200000"),
    (request(stop_sequences="a"), "stop_sequences: must be an array"),
    (request(stop_sequences=["a"] * 6), "stop_sequences: must have at most 5"),
    (request(stop_sequences=[""]), "stop_sequences[0]: must have at least 1"),
    (request(stream="yes"), "stream: must be true or false"),
    (request(metadata="me"), "metadata: must be an object"),
    (request(tools={}), "tools: must be an array"),
    (request(tools=["a"]), "tools[0]: must be an object"),
    (request(tools=[{"name": "a"}]), "tools[0]: a tool of type 'function' needs both"),
    (request(tools=[{**WEATHER, "input_schema": 5}]), "tools[0].input_schema: must be an object"),
    (request(tool_choice="auto"), "tool_choice: must be an object"),
    (request(tool_choice={"type": "tool"}), "tool_choice: type 'tool' needs name"),
    (request(tool_choice={"type": "some"}), "tool_choice.type: must be"),
    (request(cache_control={"type": "eternal"}), "cache_control: must be an object of type"),
    (request(cache_control={"type": "ephemeral", "ttl": "2h"}), "cache_control.ttl: must be"),
]


@pytest.mark.parametrize(("fields", "problem"), WRONG, ids=[problem for _, problem in WRONG])
@pytest.mark.parametrize("policy", ["error", "drop"])
def test_wrong(fields: dict[str, Any], problem: str, policy: Any) -> None:
    with pytest.raises(InvalidTask) as caught:  # and no warning, which would be an error
        to_task(fields, unsupported=policy)
    assert [each[: len(problem)] for each in caught.value.problems] == [problem]


def test_what_is_no_object() -> None:
    with pytest.raises(InvalidTask, match="must be an object"):
        to_task([])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidTask, match=r"^task_uuid: must be a UUID v4"):
        to_task(request(), task_uuid="x")
    with pytest.raises(InvalidTask, match=r"^thinking_level: must be"):
        to_task(request(), thinking_level="max")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
