"""The pure parts: validation, latency, frames, layering."""

from __future__ import annotations

import ast
import json
import random
import statistics
import uuid
from pathlib import Path
from typing import Any

import anyio
import jsonschema_rs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runware_ws.emulator as package
from runware_ws.emulator import Emulator, EmulatorOptions, Latency, parse_latency
from runware_ws.emulator.exact import dump_exact, load_exact
from runware_ws.emulator.timers import Timers
from runware_ws.emulator.units import Kind, Unit, close_frame, data_frame, pack
from runware_ws.emulator.validation import BrokenRuleError, check_task

from .wire import KEY, MODEL, ready, text_task, until

BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"nonsense": 1}, "unknownParameter", "nonsense"),
    ({"settings": {"temperature": 1}}, "unknownParameter", "settings.temperature"),
    ({"messages": []}, "invalidMessages", "messages"),
    ({"messages": [{"role": "system", "content": "x"}]}, "invalidRole", "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "missingContent", "messages[0].content"),
    ({"messages": [{"role": "user", "content": ""}]}, "invalidContent", "messages[0].content"),
    ({"taskUUID": "no"}, "invalidTaskUUID", "taskUUID"),
    ({"taskUUID": None}, "invalidTaskUUID", "taskUUID"),
    ({"numberResults": 5}, "invalidNumberResults", "numberResults"),
    ({"numberResults": True}, "invalidNumberResults", "numberResults"),
    ({"includeCost": 1}, "invalidIncludeCost", "includeCost"),
    ({"deliveryMethod": "pigeon"}, "invalidDeliveryMethod", "deliveryMethod"),
    ({"webhookURL": "nowhere"}, "invalidWebhookURL", "webhookURL"),
    ({"settings": {"maxTokens": 64_001}}, "invalidMaxTokens", "settings.maxTokens"),
    ({"settings": {"systemPrompt": ""}}, "invalidSystemPrompt", "settings.systemPrompt"),
    ({"settings": {"stopSequences": ["x"] * 6}}, "invalidStopSequences", "settings.stopSequences"),
    ({"settings": {"thinkingLevel": "deep"}}, "invalidThinkingLevel", "settings.thinkingLevel"),
    ({"settings": {"cache": {"ttl": "2h"}}}, "invalidTtl", "settings.cache.ttl"),
    ({"settings": []}, "invalidSettings", "settings"),
    ({"inputs": {"images": []}}, "invalidImages", "inputs.images"),
    ({"inputs": {"images": ["not an image!"]}}, "invalidImages", "inputs.images[0]"),
    ({"inputs": {"documents": ["bare words"]}}, "invalidDocuments", "inputs.documents[0]"),
    ({"toolChoice": {}}, "missingType", "toolChoice.type"),
    ({"toolChoice": {"type": "tool"}}, "missingName", "toolChoice.name"),
    ({"tools": [{"type": "function", "name": "f"}]}, "missingSchema", "tools[0].schema"),
    ({"tools": [{"type": "search", "name": "a b"}]}, "invalidName", "tools[0].name"),
    ({"tools": [{"type": "search", "name": "a" * 65}]}, "invalidName", "tools[0].name"),
]

GOOD: list[dict[str, Any]] = [
    {},
    {"numberResults": 4, "includeCost": True, "includeUsage": False, "deliveryMethod": "stream"},
    {"webhookURL": "https://example.com/hook"},
    {"settings": {"maxTokens": 1, "stopSequences": [], "cache": {"scope": "system", "ttl": "1h"}}},
    {"inputs": {"images": ["https://example.com/i.png", "data:image/png;base64,AAAA", "AAAA"]}},
    {"inputs": {"documents": [str(uuid.uuid4()), "https://example.com/d.pdf"]}},
    {"toolChoice": {"type": "tool", "name": "f"}, "tools": [{"type": "search"}]},
    {"tools": [{"type": "function", "name": "f", "schema": {"type": "object"}}]},
]


@pytest.mark.parametrize(("fields", "code", "parameter"), BAD)
def test_broken_rules(fields: dict[str, Any], code: str, parameter: str) -> None:
    with pytest.raises(BrokenRuleError) as broken:
        check_task(text_task(**fields))
    assert (broken.value.code, broken.value.parameter) == (code, parameter)


@pytest.mark.parametrize("fields", GOOD)
def test_good_requests(fields: dict[str, Any]) -> None:
    check_task(text_task(**fields))


@pytest.mark.parametrize("name", ["taskUUID", "model", "messages"])
def test_missing_fields(name: str) -> None:
    task = text_task()
    del task[name]
    with pytest.raises(BrokenRuleError) as broken:
        check_task(task)
    assert broken.value.parameter == name
    assert broken.value.code.startswith("missing")


def test_other_models_are_taken_as_they_come() -> None:
    check_task({**text_task(), "model": "other:model@1", "temperature": 1, "numberResults": 9})
    check_task({"taskType": "imageInference", "taskUUID": str(uuid.uuid4()), "width": 1})
    with pytest.raises(BrokenRuleError):
        check_task({"taskType": "imageInference", "taskUUID": "no"})


@pytest.mark.anyio
async def test_a_broken_task_harms_no_other() -> None:
    async with Emulator(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        good, bad = text_task(), text_task(numberResults=0)
        await wire.send(bad, good)
        error = await wire.error()
        assert error["code"] == "invalidNumberResults"
        assert error["parameter"] == "numberResults"
        assert (error["taskType"], error["taskUUID"]) == ("textInference", bad["taskUUID"])
        assert error["documentation"].startswith("https://runware.ai/docs")
        assert error["message"]
        assert (await wire.item())["taskUUID"] == good["taskUUID"]


def test_latency_forms() -> None:
    rng = random.Random(1)
    assert parse_latency(0).is_zero
    assert parse_latency("0ms").is_zero
    assert parse_latency("50ms").sample(rng) == pytest.approx(0.05)
    assert parse_latency("2m").low == 120
    assert parse_latency("1.5").low == 1.5
    assert parse_latency(Latency("exp", 1)) == Latency("exp", 1)
    uniform = [parse_latency("10ms-200ms").sample(rng) for _ in range(1000)]
    assert 0.01 <= min(uniform) < 0.03 < 0.18 < max(uniform) <= 0.2
    assert statistics.fmean(parse_latency("exp:50ms").sample(rng) for _ in range(5000)) < 0.06
    lognormal = [parse_latency("lognormal:50ms,0.5").sample(rng) for _ in range(5000)]
    assert statistics.median(lognormal) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("text", ["", "fast", "5ms-1ms", "exp:", "-5ms", "gauss:1s", "1h"])
def test_bad_latency_names_the_text_and_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="lognormal:50ms") as bad:
        parse_latency(text)
    assert repr(text) in str(bad.value)


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_bad_latency_numbers(value: float) -> None:
    with pytest.raises(ValueError, match="latency"):
        parse_latency(value)


@pytest.mark.parametrize("fields", [{"dying_window": -1}, {"merge_limit": 0}, {"replay_batch": 0}])
def test_options_refuse_nonsense(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        EmulatorOptions(**fields)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_have_the_right_length(size: int) -> None:
    from websockets.client import ClientProtocol
    from websockets.protocol import State
    from websockets.uri import parse_uri

    client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
    client.receive_data(data_frame(b"x" * size) + close_frame(4000, "bye"))
    message, close = client.events_received()
    assert len(getattr(message, "data")) == size  # noqa: B009 - events have no common type
    assert close is not None
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == 4000


def test_close_frames_refuse_what_does_not_fit() -> None:
    for code, reason in ((-1, ""), (65536, ""), (1000, "x" * 124)):
        with pytest.raises(ValueError, match="close"):
            close_frame(code, reason)


def test_data_and_errors_in_one_body() -> None:
    units = [Unit(Kind.RESULT, {"a": 1}), Unit(Kind.ERROR, {"b": 2}, is_error=True)]
    spellings: list[tuple[Any, Any]] = [
        ("errors", {"errors": [{"b": 2}]}),
        ("error", {"error": {"b": 2}}),
        ("error-list", {"error": [{"b": 2}]}),
    ]
    for style, errors in spellings:
        written = pack(units, EmulatorOptions(error_spelling=style))
        assert json.loads(written) == {"data": [{"a": 1}], **errors}


@pytest.mark.anyio
async def test_timers_keep_order_and_can_be_cancelled() -> None:
    timers = Timers()
    fired: list[int] = []

    def chain() -> None:
        fired.append(2)
        timers.after(0.0, lambda: fired.append(3))

    # The first to be set is due last, however late the loop is.
    timers.after(0.02, chain)
    timers.after(0.0, lambda: fired.append(1))
    timers.after(0.01, lambda: fired.append(99)).cancel()
    async with anyio.create_task_group() as group:
        group.start_soon(timers.run)
        await until(lambda: len(fired) == 3)
        group.cancel_scope.cancel()
    assert fired == [1, 2, 3]
    assert len(timers) == 0


def test_the_emulator_shares_nothing_with_the_client() -> None:
    folder = Path(package.__file__).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, file
                assert not (node.module or "").startswith("runware_ws"), file
            elif isinstance(node, ast.Import):
                assert not any(name.name.startswith("runware_ws") for name in node.names), file


def test_all_is_complete() -> None:
    assert len(package.__all__) == len(set(package.__all__))
    for name in package.__all__:
        assert hasattr(package, name)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "taskType": {"const": "textInference"},
        "taskUUID": {"type": "string"},
        "model": {"const": MODEL},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "role": {"enum": ["user", "assistant"]},
                    "content": {"type": "string", "minLength": 1},
                },
                "required": ["role", "content"],
                "additionalProperties": False,
            },
        },
        "numberResults": {"type": "integer", "minimum": 1, "maximum": 4},
        "includeCost": {"type": "boolean"},
    },
    "required": ["messages", "taskType", "taskUUID", "model"],
    "additionalProperties": False,
}

_value = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 6), st.floats(0, 6), st.text(max_size=2)
)
_message = st.dictionaries(
    st.sampled_from(["role", "content", "name"]),
    st.sampled_from(["user", "assistant", "", 1, None]),
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {"messages": st.one_of(st.lists(_message, max_size=2), _value)},
        optional={"numberResults": _value, "includeCost": _value, "else": _value},
    )
)
def test_hand_written_rules_agree_with_a_schema_validator(fields: dict[str, Any]) -> None:
    task = text_task(**fields)
    expected = jsonschema_rs.validator_for(SCHEMA).is_valid(task)
    try:
        check_task(task)
    except BrokenRuleError:
        assert not expected
    else:
        assert expected


def test_integers_are_exact() -> None:
    big = 12345678901234567890123
    for value in ({"a": [big, -big, 2**64 - 1, "x"]}, [0.1234567890123456789, big], big):
        assert load_exact(dump_exact(value)) == value
    with pytest.raises(orjson.JSONDecodeError):
        load_exact(b"[%d" % big)
    with pytest.raises(TypeError):
        dump_exact([big, object()])
