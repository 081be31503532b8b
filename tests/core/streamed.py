"""Answers and their deltas, for hypothesis: text, reasoning and calls in any mixture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from runware_ws.models.jsonable import is_array, is_object

EXAMPLES = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
"""The same ones each time, however slow the machine is."""

_FIRST: list[Any] = ["", None, {}, "the first piece"]
"""What the head of a call may have as its arguments."""

Shape = Literal["flat", "nested"]
Numbers = Literal["index", "offset", "none"]

_WORD = st.text('ab\u00e9\\"{}[]:, \n\U0001f600', max_size=6)
_LEAF = st.none() | st.booleans() | st.integers(-999, 999) | st.floats(-9, 9) | _WORD
_VALUE: st.SearchStrategy[Any] = st.recursive(
    _LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORD, inner, max_size=3),
    max_leaves=5,
)
_OBJECT: st.SearchStrategy[Any] = st.dictionaries(_WORD, _VALUE, max_size=3)


@dataclass
class Call:
    """A call of an answer. ``text`` is what the model wrote as its arguments."""

    id: str | None
    name: str
    text: str
    value: dict[str, Any] | None  # None: the text is broken


@dataclass
class Answer:
    """A whole answer, and how its server writes calls."""

    text: str
    reasoning: str
    calls: list[Call]
    shape: Shape = "flat"
    numbers: Numbers = "index"

    def entry(self, call: Call, arguments: Any) -> dict[str, Any]:
        source = {"name": call.name, "arguments": arguments}
        head = {} if call.id is None else {"id": call.id}
        return {**head, **(source if self.shape == "flat" else {"function": source})}

    def whole(self, arguments: list[Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {"taskUUID": "u", "finishReason": "stop"}
        if self.reasoning:
            fields["reasoningContent"] = self.reasoning
        if self.text or not self.calls:
            fields["text"] = self.text
        if self.calls:
            fields["toolCalls"] = list(map(self.entry, self.calls, arguments))
        return fields


def spaced(draw: st.DrawFn, value: Any) -> str:
    """JSON text of a value, with white space between its tokens."""

    def space() -> str:
        return draw(st.sampled_from(["", "", " ", "\n  "]))

    def write(node: Any) -> str:
        if is_object(node):
            pairs = [
                f"{space()}{write(key)}{space()}:{space()}{write(entry)}{space()}"
                for key, entry in node.items()
            ]
            return "{" + ",".join(pairs) + "}"
        if is_array(node):
            return "[" + ",".join(f"{space()}{write(entry)}{space()}" for entry in node) + "]"
        return orjson.dumps(node).decode()

    return space() + write(value) + space()


def slices(draw: st.DrawFn, whole: str) -> list[str]:
    cuts = sorted({0, len(whole), *draw(st.lists(st.integers(0, len(whole)), max_size=4))})
    return [whole[a:b] for a, b in pairwise(cuts)]


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    numbers: Numbers = draw(st.sampled_from(["index", "offset", "none"]))
    calls: list[Call] = []
    for number in range(draw(st.integers(0, 3))):
        value = draw(_OBJECT)
        # Without numbers only ids tell calls apart; with an offset, only they find the first one.
        named = numbers != "index" or draw(st.booleans())
        name = draw(st.sampled_from(["f", "g"]))
        text = spaced(draw, value)
        broken = draw(st.booleans()) and draw(st.booleans())
        calls.append(
            Call(
                f"call-{number}" if named else None,
                name,
                text.strip()[:-1] + "!" if broken else text,
                None if broken else value,
            )
        )
    text, reasoning = draw(_WORD), draw(_WORD)
    return Answer(text, reasoning, calls, draw(st.sampled_from(["flat", "nested"])), numbers)


def mixed(draw: st.DrawFn, rows: list[list[Any]]) -> list[Any]:
    """One row of all, each in its own order."""
    rows = [row for row in rows if row]
    found: list[Any] = []
    while rows:
        row = draw(st.sampled_from(rows))
        found.append(row.pop(0))
        rows = [row for row in rows if row]
    return found


def of_call(draw: st.DrawFn, answer: Answer, number: int) -> list[dict[str, Any]]:
    """One call in the entries of deltas: a head and the pieces of its arguments."""
    call = answer.calls[number]
    index: dict[str, Any] = {}
    if answer.numbers != "none":
        index["index"] = number + (answer.numbers == "offset")
    pieces = slices(draw, call.text)
    first = draw(st.sampled_from(_FIRST))
    if first == "the first piece":
        first = pieces.pop(0)
    heads = [{**answer.entry(call, first), **index}]
    more = [{"arguments": piece} for piece in pieces]
    if answer.shape == "nested":
        return heads + [{**index, "function": each} for each in more]
    return heads + [{**index, **each} for each in more]


@st.composite
def streams(draw: st.DrawFn) -> tuple[Answer, list[dict[str, Any]]]:
    """An answer and its deltas, text, reasoning and calls in any mixture."""
    answer = draw(answers())
    calls = [of_call(draw, answer, number) for number in range(len(answer.calls))]
    if answer.numbers == "none":
        calls = [[entry for row in calls for entry in row]]
    parts: list[list[dict[str, Any]]] = [[{"toolCalls": [entry]} for entry in row] for row in calls]
    parts.append([{"text": piece} for piece in slices(draw, answer.text)])
    parts.append([{"reasoningContent": piece} for piece in slices(draw, answer.reasoning)])
    return answer, [{"taskUUID": "u", "delta": delta} for delta in mixed(draw, parts)]


def arguments_in(draw: st.DrawFn, call: Call, shape: str) -> Any:
    """What the archive may have as the arguments of a call."""
    if call.value is None or shape == "same":
        return call.text
    if shape == "object":
        return call.value
    return spaced(draw, call.value)
