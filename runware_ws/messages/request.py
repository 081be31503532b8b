"""Turns a Messages request into a task: ``to_task``. Pure, and the only such translation.

The names and rules are those of the Messages shape as the gateway of ``anthropic/claude-haiku-4.5``
publishes it ("second seed"): ``messages`` and ``max_tokens`` are required, and what Runware's
Haiku does not support is refused by name. A ``null`` counts as not given, wherever it stands in
the shape: ``model_dump()`` writes many. ``docs/messages.md`` has the tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from runware_ws.errors import ConfigurationError, InvalidTask
from runware_ws.messages.content import read_content, read_system
from runware_ws.messages.reading import Reading, as_object
from runware_ws.messages.tools import read_tool_choice, read_tools
from runware_ws.models.jsonable import is_array
from runware_ws.models.text_inference import HAIKU_MODEL, TEXT_INFERENCE, TextInference

__all__ = ["DEFAULT_MODEL", "ThinkingLevel", "Unsupported", "is_haiku", "read_request", "to_task"]

DEFAULT_MODEL = "anthropic/claude-haiku-4.5"
"""The model's name in the Messages shape (second seed)."""

Unsupported = Literal["error", "drop"]
"""What becomes of a field that Runware cannot take: the request is refused, or the field is left
out with an :class:`UnsupportedWarning`."""
ThinkingLevel = Literal["off", "low", "medium", "high"]
"""How much the model thinks, in Runware's words."""

_NAMES = frozenset({HAIKU_MODEL, DEFAULT_MODEL, "claude-haiku-4.5"})
# Anthropic's own name, with or without the date of a version.
_ANTHROPIC_NAME = re.compile(r"(?:anthropic/)?claude-haiku-4-5(?:-[0-9]{8}|-latest)?")

# The caller's names for the fields that the wire's checks complain about.
_PLACES = (
    ("settings.systemPrompt", "system"),
    ("settings.maxTokens", "max_tokens"),
    ("settings.stopSequences", "stop_sequences"),
    ("settings.thinkingLevel", "thinking_level"),
    ("toolChoice", "tool_choice"),
    ("includeCost", "include_cost"),
    ("taskUUID", "task_uuid"),
)
_TOOL_PLACE = re.compile(r"(tools\[[0-9]+\])(\.schema)?")
_INPUT_PLACE = re.compile(r"inputs\.(?:images|documents)\[[0-9]+\]")


def is_haiku(model: object) -> bool:
    """Whether ``model`` is one of the names of Claude Haiku 4.5.

    They are ``anthropic/claude-haiku-4.5``, the AIR id ``anthropic:claude@haiku-4.5``, and
    Anthropic's own ``claude-haiku-4-5`` with or without a date.
    """
    if not isinstance(model, str):
        return False
    return model in _NAMES or _ANTHROPIC_NAME.fullmatch(model) is not None


def to_task(
    request: Mapping[str, Any],
    *,
    unsupported: Unsupported = "error",
    thinking_level: ThinkingLevel | None = None,
    include_cost: bool | None = None,
    task_uuid: str | None = None,
    stacklevel: int = 1,
) -> TextInference:
    """Translate a Messages request into a task. ``request`` is never changed.

    ``model`` may be left out. ``usage`` is always requested, because a message must have it.
    ``metadata`` is checked but not sent: Runware has no field for it.

    Args:
        request: the fields of the Messages shape. Blocks are dicts, or pydantic models such as
            those of the ``anthropic`` package.
        unsupported: what happens to a parameter or block that is valid in this shape but that
            the model on Runware does not support. ``"error"``: refused by name. ``"drop"``: left
            out, with one :class:`UnsupportedWarning` that names them all.
        thinking_level: Runware's own setting; ``None``: the server's default.
        include_cost: ask for the price; it is then in ``message.runware.cost``.
        task_uuid: the task's UUID v4; ``None``: a fresh one.
        stacklevel: the frame that the warning points to; 1: the caller.

    Raises:
        InvalidTask: refused before it is sent. ``problems`` lists places and rules, in the
            request's spelling: ``messages[0].content[1].source``.
    """
    if unsupported not in ("error", "drop"):
        raise ConfigurationError("unsupported must be 'error' or 'drop'")
    reading = Reading(drop=unsupported == "drop")
    task = read_request(
        reading,
        request,
        thinking_level=thinking_level,
        include_cost=include_cost,
        task_uuid=task_uuid,
    )
    reading.warn(stacklevel + 1)
    return task


def read_request(
    reading: Reading,
    request: Mapping[str, Any],
    *,
    thinking_level: ThinkingLevel | None = None,
    include_cost: bool | None = None,
    task_uuid: str | None = None,
    delivery: str | None = None,
) -> TextInference:
    """What :func:`to_task` does; ``reading`` has what was left out, and nothing is warned of.
    ``delivery``: of what is not to be streamed.

    Raises:
        InvalidTask: refused; ``problems`` holds those that ``reading`` had before, too.
    """
    fields = as_object(request)
    if fields is None:
        raise InvalidTask("a request must be an object", task_uuid=task_uuid)
    wire = _read(reading, fields, thinking_level)
    wire |= {"includeUsage": True} | ({} if include_cost is None else {"includeCost": include_cost})
    if delivery is not None:
        wire.setdefault("deliveryMethod", delivery)
    wire |= {} if task_uuid is None else {"taskUUID": task_uuid}
    if reading.problems:
        raise InvalidTask(
            "; ".join(reading.problems), problems=reading.problems, task_uuid=task_uuid
        )
    try:
        return TextInference.from_wire(wire)
    except InvalidTask as error:
        problems = [_in_request(reading, problem) for problem in error.problems]
        raise InvalidTask("; ".join(problems), problems=problems, task_uuid=task_uuid) from None


def _in_request(reading: Reading, problem: str) -> str:
    """A problem of the task, in the spelling of the request."""
    for wire, name in _PLACES:
        if problem.startswith(wire):
            return name + problem.removeprefix(wire)
    if (tool := _TOOL_PLACE.match(problem)) is not None:
        place = reading.places[tool[1]] + (".input_schema" if tool[2] else "")
        return place + problem[tool.end() :]
    if (media := _INPUT_PLACE.match(problem)) is not None:
        return reading.places[media[0]] + problem[media.end() :]
    return problem


def _read(
    reading: Reading, fields: Mapping[str, Any], thinking_level: ThinkingLevel | None
) -> dict[str, Any]:
    wire: dict[str, Any] = {"taskType": TEXT_INFERENCE, "model": HAIKU_MODEL}
    settings: dict[str, Any] = {}
    for name in ("messages", "max_tokens"):
        if name not in fields:
            reading.wrong(name, "is required")
    for name, value in fields.items():
        if name == "messages":
            wire["messages"] = _messages(reading, value)
        elif name in ("max_tokens", "stop_sequences", "system", "thinking"):
            _setting(reading, name, value, settings)
        else:
            _parameter(reading, name, value, wire)
    if thinking_level is not None:
        settings["thinkingLevel"] = thinking_level
    if (cache := reading.cache()) is not None:
        settings["cache"] = cache
    inputs = {"images": reading.images, "documents": reading.documents}
    if reading.images or reading.documents:
        wire["inputs"] = {kind: values for kind, values in inputs.items() if values}
    if settings:
        wire["settings"] = settings
    return wire


def _setting(reading: Reading, name: str, value: object, settings: dict[str, Any]) -> None:
    if name == "max_tokens":
        settings["maxTokens"] = value
    elif name == "stop_sequences":
        settings["stopSequences"] = value
    elif name == "system":
        if (system := read_system(reading, value)) is not None:
            settings["systemPrompt"] = system
    elif as_object(value) == {"type": "disabled"}:
        settings["thinkingLevel"] = "off"
    else:
        reading.unsupported(
            name, "a token budget is not supported: use thinking_level='low', 'medium' or 'high'"
        )


def _parameter(reading: Reading, name: str, value: object, wire: dict[str, Any]) -> None:
    if name == "model":
        if not is_haiku(value):
            reading.wrong(name, f"must be {DEFAULT_MODEL!r} or {HAIKU_MODEL!r}")
    elif name == "tools":
        if tools := read_tools(reading, value):
            wire["tools"] = tools
    elif name == "tool_choice":
        if (choice := read_tool_choice(reading, value)) is not None:
            wire["toolChoice"] = choice
    elif name == "stream":
        if not isinstance(value, bool):
            reading.wrong(name, "must be true or false")
        elif value:
            wire["deliveryMethod"] = "stream"
    elif name == "metadata":
        if as_object(value) is None:
            reading.wrong(name, "must be an object")
    elif name == "cache_control":
        reading.cache_control(value, name, "system+history")
    else:
        reading.only({name: value}, ())


def _messages(reading: Reading, value: object) -> list[dict[str, Any]]:
    if not is_array(value):
        reading.wrong("messages", "must be an array")
        return []
    messages: list[dict[str, Any]] = []
    for number, entry in enumerate(value):
        place = f"messages[{number}]"
        message = as_object(entry)
        if message is None:
            reading.wrong(place, "must be an object")
            continue
        reading.only(message, ("role", "content"), place)
        wire = {"role": message["role"]} if "role" in message else {}
        if "content" in message:
            content = read_content(reading, message["content"], f"{place}.content")
            if content is None:
                continue
            wire["content"] = content
        messages.append(wire)
    return messages
