"""JSON both ways without loss: integers beyond 64 bits, in requests and in answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws import Delta, InvalidTask, Result, TextInference, Tool
from runware_ws._core.wire import MalformedFrameError, decode, with_delivery
from runware_ws.messages import delta_of, to_message, to_task
from runware_ws.models import RecoveredBy, validate_task
from runware_ws.models.jsonable import dump_json, encode_json, json_object_snapshot, load_json

BIG = 12345678901234567890123
UUID = "7f3d7a52-3a0f-4d59-9f0e-0d6a3f1b2c4d"
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, BIG, -BIG]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


@given(JSON)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    text = dump_json(value)
    again = load_json(text)
    assert again == value
    assert json.dumps(again) == json.dumps(json.loads(text))  # in type too: 1 is not 1.0
    assert load_json(text.decode()) == value


@given(JSON, st.sampled_from([0, 300, 1000, 3000]), st.sampled_from([None, (",", ":")]))
def test_a_frame_of_any_length_is_exact(
    value: Any, length: int, separators: tuple[str, str] | None
) -> None:
    # With and without spaces: what orjson would write in the same way is not searched.
    frame = {"value": value, "text": "é" * length}
    for escaped in (True, False):
        text = json.dumps(frame, ensure_ascii=escaped, separators=separators)
        data = text.encode("utf-8", "surrogatepass")
        assert json.dumps(decode(data)) == json.dumps(json.loads(text))


def test_long_ids_stay_apart() -> None:
    assert load_json(f"[{BIG},{BIG + 1}]") == [BIG, BIG + 1]
    assert load_json('["1234567890123456789012",0.1234567890123456789012]') == [
        "1234567890123456789012",
        0.1234567890123456789012,
    ]


def test_what_was_refused_still_is() -> None:
    for text in ("[NaN]", '"\\ud800"', f"[{BIG},NaN]", f'[{BIG},"\\ud800"]', f"[{BIG}"):
        with pytest.raises(ValueError, match="line 1"):
            load_json(text)
    for value in ({"a": BIG, "b": float("nan")}, [BIG, "\ud800"], {1: BIG}, [BIG, {1}]):
        with pytest.raises(ValueError, match=r"cannot be written|surrogates|must be str"):
            dump_json(value)
    deep: Any = BIG
    for _ in range(300):
        deep = [deep]
    with pytest.raises(ValueError, match="cannot be written as JSON: Recursion limit"):
        dump_json(deep)
    with pytest.raises(ValueError, match=r"nested too deeply|depth|recursion"):
        load_json("[" * 1100 + str(BIG) + "]" * 1100)


def test_options_hold_beside_big_integers() -> None:
    import orjson

    assert encode_json({"b": BIG, "a": (1, -BIG)}, option=orjson.OPT_SORT_KEYS) == (
        b'{"a":[1,-%d],"b":%d}' % (BIG, BIG)
    )
    snapshot = json_object_snapshot({"maximum": BIG})
    assert snapshot == {"maximum": BIG}
    assert type(snapshot["maximum"]) is int


def test_a_schema_goes_out_exactly() -> None:
    schema = {"type": "object", "properties": {"id": {"const": BIG}}}
    task = TextInference.prompt("x", tools=[Tool.function("f", schema)])
    for payload in (
        task.to_json(),
        validate_task(task).payload,
        validate_task(task.to_wire()).payload,
    ):
        assert json.loads(payload)["tools"][0]["schema"] == schema
        assert b'"const":%d' % BIG in payload
    other = {"taskType": "modelSearch", "seed": BIG}
    assert json.loads(validate_task(other).payload)["seed"] == BIG
    assert json.loads(with_delivery(validate_task(other).payload, "async"))["seed"] == BIG
    with pytest.raises(InvalidTask, match="seed: NaN"):
        validate_task({**other, "seed": float("nan"), "more": BIG})


def test_the_history_of_tools_goes_out_exactly() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"id": BIG}}
    asked = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [block]}]
    task = to_task({"max_tokens": 1, "messages": asked})
    assert f'{{"id":{BIG}}}' in task.messages[1].content


@pytest.mark.parametrize("arguments", [{"id": BIG}, f'{{"id":{BIG}}}'], ids=["object", "text"])
def test_arguments_of_calls_come_in_exactly(arguments: Any) -> None:
    call = {"id": "t", "name": "f", "arguments": arguments}
    item = {"taskType": "textInference", "taskUUID": UUID, "toolCalls": [call]}
    frame = decode(json.dumps({"data": [item]}).encode())
    result = Result(UUID, frame["data"], RecoveredBy.LIVE)
    assert result.tool_calls is not None
    assert result.tool_calls[0].arguments == {"id": BIG}
    (block,) = to_message(result).content
    assert block.type == "tool_use"
    assert block.input == {"id": BIG}
    assert json.loads(delta_of(result).tool_calls[0].arguments) == {"id": BIG}
    streamed = Delta.of({"delta": {"toolCalls": frame["data"][0]["toolCalls"]}})
    assert json.loads(streamed.tool_calls[0].arguments) == {"id": BIG}


def test_depth_is_judged_beside_big_integers() -> None:
    assert decode(b'{"a":[%b%d%b]}' % (b"[" * 150, BIG, b"]" * 150))
    with pytest.raises(MalformedFrameError, match="nested too deeply"):
        decode(b'{"a":[%b%d%b]}' % (b"[" * 300, BIG, b"]" * 300))
    with pytest.raises(MalformedFrameError, match="not JSON"):
        decode(b'{"a":%d' % BIG)
