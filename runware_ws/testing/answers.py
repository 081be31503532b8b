"""What a scripted server can answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

import orjson

from runware_ws.emulator import ReplyError
from runware_ws.testing.asked import Asked

__all__ = [
    "Answer",
    "Deltas",
    "Function",
    "Given",
    "ItemAnswer",
    "error",
    "give",
    "settle",
    "tool_call",
    "tool_calls",
]

Given: TypeAlias = str | dict[str, Any]
"""What the emulator sends in the end: text, or fields of the result item."""

ItemAnswer: TypeAlias = str | Mapping[str, Any] | ReplyError
"""The answer for one result: text, fields of the item, or an error."""

Deltas: TypeAlias = Iterator[Given] | AsyncIterator[Given]
"""The deltas of a streamed answer, as :meth:`Emulator.reply` takes them."""

Function: TypeAlias = Callable[[Asked], ItemAnswer | Awaitable[ItemAnswer] | Deltas]
"""Makes the answer when the request is there; may raise :class:`ReplyError`."""

Answer: TypeAlias = ItemAnswer | Sequence[ItemAnswer] | Function
"""An answer to a whole task. A list has one entry for each of its ``numberResults``."""


def error(code: str, message: str = "The task failed.", **fields: Any) -> ReplyError:
    """An answer that fails the task: the client gets ``TaskError`` with this ``code``."""
    return ReplyError(code, message, **fields)


def tool_call(
    name: str, arguments: Mapping[str, Any] | None = None, *, id: str = "call_1"
) -> dict[str, Any]:
    """One entry for :func:`tool_calls`. The arguments travel as JSON text."""
    return {"id": id, "name": name, "arguments": orjson.dumps(dict(arguments or {})).decode()}


def tool_calls(*calls: Mapping[str, Any], text: str | None = None) -> dict[str, Any]:
    """An answer in which the model calls tools; make the calls with :func:`tool_call`."""
    fields: dict[str, Any] = {
        "toolCalls": [dict(call) for call in calls],
        "finishReason": "tool_calls",
    }
    return fields if text is None else {"text": text, **fields}


def give(answer: Answer, asked: Asked) -> Given | Awaitable[ItemAnswer] | Deltas:
    """The emulator's answer for one result of a task; a function may give it later, or in deltas.

    Raises:
        ReplyError: the answer is an error.
        LookupError: a list has no entry for this result.
    """
    if callable(answer):
        made = answer(asked)
        if isinstance(made, Awaitable | Iterator | AsyncIterator):
            return made
        return settle(cast("object", made))
    if isinstance(answer, str | Mapping | ReplyError):
        return settle(cast("object", answer))
    if asked.index >= len(answer):
        raise LookupError(
            f"the reply has {len(answer)} results; result {asked.index} was asked for"
        )
    return settle(answer[asked.index])


def settle(answer: object) -> Given:
    """An answer for one result as the emulator takes it.

    Raises:
        ReplyError: the answer is an error.
        TypeError: it is no answer at all.
    """
    if isinstance(answer, str):
        return answer
    if isinstance(answer, Mapping):
        return dict(cast("Mapping[str, Any]", answer))
    if isinstance(answer, ReplyError):
        # A new one: each raise would add to the traceback of the old.
        raise ReplyError(answer.code, answer.message, **answer.fields)
    raise TypeError(f"a reply is text, a dict or error(…), not {type(answer).__name__}")
