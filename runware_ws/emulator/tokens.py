"""Tokens: how many an answer has, and where ``maxTokens`` cuts it. Pure: no I/O, no clock."""

from __future__ import annotations

from typing import Any, cast

from .exact import dump_exact

__all__ = [
    "TOKEN",
    "answer_tokens",
    "arguments_text",
    "calls_of",
    "count_tokens",
    "limited",
    "most_tokens",
]

TOKEN = 4
"""Characters of one token. The last one may have fewer."""


def count_tokens(text: str) -> int:
    """How many tokens a text has; at least 1, as an empty answer has an end too."""
    return max(1, _tokens(text))


def _tokens(text: str) -> int:
    return (len(text) + TOKEN - 1) // TOKEN


def _source(call: dict[str, Any]) -> dict[str, Any]:
    """The object with the arguments of a call, which some gateways nest in ``function``."""
    nested: object = call.get("function")
    return cast("dict[str, Any]", nested) if isinstance(nested, dict) else call


def arguments_text(call: dict[str, Any]) -> str:
    """The arguments of a tool call as the JSON text that a model writes."""
    arguments: object = _source(call).get("arguments", "")
    return arguments if isinstance(arguments, str) else dump_exact(arguments).decode()


def calls_of(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The tool calls of an answer; none if it is no list of objects, which is sent as it is."""
    calls: object = fields.get("toolCalls")
    if not isinstance(calls, list) or not all(
        isinstance(call, dict) for call in cast("list[object]", calls)
    ):
        return []
    return cast("list[dict[str, Any]]", calls)


def answer_tokens(fields: dict[str, Any]) -> int:
    """How many tokens an answer has: those of its text and of the arguments of its tool calls."""
    made = sum(_tokens(arguments_text(call)) for call in calls_of(fields))
    return max(1, _tokens(str(fields.get("text") or "")) + made)


def most_tokens(task: dict[str, Any], default: int | None) -> int | None:
    """The limit of a task: ``settings.maxTokens`` (the published schema), or ``default``.

    ``None``: no limit. What is no number from 1 on counts as not given: other models than the
    published one are not checked.
    """
    settings: object = task.get("settings")
    if isinstance(settings, dict):
        given: object = cast("dict[str, object]", settings).get("maxTokens")
        if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
            return given
    return default


def limited(answer: dict[str, Any] | str, most: int | None) -> dict[str, Any] | str:
    """The answer with at most so many tokens. ``None``: all of it.

    What is cut ends with the reason ``length`` (PROTOCOL: delivery of results). The text comes
    first, then the tool calls in their order: of the one that is cut only the beginning of its
    arguments is there, which is no JSON any more. An answer that has a ``finishReason`` or a
    ``usage`` of its own is left as it is.
    """
    fields: dict[str, Any] = {"text": answer} if isinstance(answer, str) else answer
    if most is None or "finishReason" in fields or "usage" in fields:
        return answer
    if answer_tokens(fields) <= most:
        return answer
    short: dict[str, Any] = {**fields, "finishReason": "length"}
    text = str(fields.get("text") or "")
    if text:
        short["text"] = text[: most * TOKEN]
    left = most - _tokens(short.get("text") or "")
    calls = calls_of(short)
    if calls:
        del short["toolCalls"]
    kept: list[dict[str, Any]] = []
    for call in calls:
        if left <= 0:
            break
        written = arguments_text(call)
        kept.append(call if _tokens(written) <= left else _cut_call(call, written[: left * TOKEN]))
        left -= _tokens(written)
    return {**short, "toolCalls": kept} if kept else short


def _cut_call(call: dict[str, Any], arguments: str) -> dict[str, Any]:
    source = {**_source(call), "arguments": arguments}
    return {**call, "function": source} if isinstance(call.get("function"), dict) else source
