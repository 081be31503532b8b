"""The server's checks of a request, written by hand from the published model schema.

The rules of Claude Haiku 4.5 are complete. For other models and task types only what every
task has in common is checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, TypeGuard, cast
from uuid import UUID

__all__ = [
    "HAIKU",
    "BrokenRuleError",
    "check_stream",
    "check_task",
    "is_list",
    "is_uuid",
    "task_error",
]

HAIKU = "anthropic:claude@haiku-4.5"
DOCUMENTATION = "https://runware.ai/docs/models/anthropic-claude-haiku-4-5"

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:\S+")
_BASE64 = re.compile(r"[a-zA-Z0-9+/=]+")
_DATA_URI = re.compile(r"data:image/[a-zA-Z]+;base64,[a-zA-Z0-9+/=]+")


class BrokenRuleError(Exception):
    """A rule that a request breaks."""

    def __init__(self, code: str, message: str, parameter: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.parameter = parameter


Check: TypeAlias = Callable[[Any, str], None]


def task_error(
    code: str, message: str, task: dict[str, Any] | None = None, /, **fields: Any
) -> dict[str, Any]:
    """An error object as the server sends it, scoped to ``task`` where it can be."""
    error: dict[str, Any] = {"code": code, "message": message}
    for name in ("taskType", "taskUUID"):
        value = task.get(name) if task is not None else None
        if isinstance(value, str):
            error[name] = value
    error["documentation"] = DOCUMENTATION
    error.update(fields)
    return {name: value for name, value in error.items() if value is not None}


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether a value is a JSON array."""
    return isinstance(value, list)


def is_uuid(value: object) -> bool:
    """Whether a value is the text of a UUID, in its 36-character form."""
    if not isinstance(value, str) or len(value) != 36:
        return False
    try:
        UUID(value)
    except ValueError:
        return False
    return True


def _invalid(path: str, why: str) -> BrokenRuleError:
    leaf = path.rpartition(".")[2].partition("[")[0]
    return BrokenRuleError(f"invalid{leaf[:1].upper()}{leaf[1:]}", f"'{path}' {why}.", path)


def _missing(path: str) -> BrokenRuleError:
    leaf = path.rpartition(".")[2]
    return BrokenRuleError(f"missing{leaf[:1].upper()}{leaf[1:]}", f"'{path}' is required.", path)


def _text(shortest: int = 0, longest: int | None = None) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise _invalid(path, "must be a string")
        if len(value) < shortest:
            raise _invalid(path, f"must have at least {shortest} characters")
        if longest is not None and len(value) > longest:
            raise _invalid(path, f"must have at most {longest} characters")

    return check


def _integer(least: int, most: int) -> Check:
    def check(value: Any, path: str) -> None:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole:
            raise _invalid(path, "must be an integer")
        if not least <= value <= most:
            raise _invalid(path, f"must be from {least} to {most}")

    return check


def _one_of(*values: str) -> Check:
    def check(value: Any, path: str) -> None:
        if value not in values:
            raise _invalid(path, "must be one of " + ", ".join(values))

    return check


def _boolean(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        raise _invalid(path, "must be a boolean")


def _uuid(value: Any, path: str) -> None:
    if not is_uuid(value):
        raise _invalid(path, "must be a UUID")


def _uri(value: Any, path: str) -> None:
    if not isinstance(value, str) or not _URI.fullmatch(value):
        raise _invalid(path, "must be a URI")


def _document(value: Any, path: str) -> None:
    if not isinstance(value, str) or not (is_uuid(value) or _URI.fullmatch(value)):
        raise _invalid(path, "must be a UUID or a URI")


def _image(value: Any, path: str) -> None:
    if not isinstance(value, str) or not (
        is_uuid(value)
        or _DATA_URI.fullmatch(value)
        or _BASE64.fullmatch(value)
        or _URI.fullmatch(value)
    ):
        raise _invalid(path, "must be a UUID, a URI, a data URI or Base64")


def _list(each: Check, least: int = 0, most: int | None = None) -> Check:
    def check(value: Any, path: str) -> None:
        if not is_list(value):
            raise _invalid(path, "must be an array")
        if len(value) < least:
            raise _invalid(path, f"must have at least {least} item")
        if most is not None and len(value) > most:
            raise _invalid(path, f"must have at most {most} items")
        for index, item in enumerate(value):
            each(item, f"{path}[{index}]")

    return check


def _record(rules: dict[str, Check], required: tuple[str, ...] = ()) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise _invalid(path, "must be an object")
        prefix = f"{path}." if path else ""
        fields = cast("dict[str, Any]", value)
        for name in required:
            if name not in fields:
                raise _missing(prefix + name)
        for name, item in fields.items():
            rule = rules.get(name)
            if rule is None:
                message = f"'{prefix}{name}' is not a parameter of this task."
                raise BrokenRuleError("unknownParameter", message, prefix + name)
            rule(item, prefix + name)

    return check


def _object(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise _invalid(path, "must be an object")


def _tool_name(value: Any, path: str) -> None:
    _text(1, 64)(value, path)
    if not _TOOL_NAME.fullmatch(value):
        raise _invalid(path, "may hold letters, digits, '_' and '-' only")


def _tool(value: Any, path: str) -> None:
    _TOOL(value, path)
    if value["type"] == "function":
        for name in ("name", "schema"):
            if name not in value:
                raise _missing(f"{path}.{name}")


def _tool_choice(value: Any, path: str) -> None:
    _TOOL_CHOICE(value, path)
    if value["type"] == "tool" and "name" not in value:
        raise _missing(f"{path}.name")


_TOOL = _record(
    {
        "type": _one_of("function", "search", "codeInterpreter"),
        "name": _tool_name,
        "description": _text(),
        # The published schema forbids any property here, which would allow no tool at all.
        "schema": _object,
    },
    ("type",),
)
_TOOL_CHOICE = _record({"type": _one_of("auto", "any", "tool", "none"), "name": _text()}, ("type",))
_COMMON: dict[str, Check] = {
    "taskType": _text(1),
    "taskUUID": _uuid,
    "webhookURL": _uri,
    "includeCost": _boolean,
    "includeUsage": _boolean,
    "deliveryMethod": _one_of("sync", "async", "stream"),
    "numberResults": _integer(1, 4),
}
_HAIKU = _record(
    {
        **_COMMON,
        "model": _text(),
        "inputs": _record({"documents": _list(_document, 1), "images": _list(_image, 1)}),
        "settings": _record(
            {
                "systemPrompt": _text(1, 200_000),
                "cache": _record(
                    {"scope": _one_of("system", "system+history"), "ttl": _one_of("5m", "1h")}
                ),
                "maxTokens": _integer(1, 64_000),
                "stopSequences": _list(_text(1, 50), 0, 5),
                "thinkingLevel": _one_of("off", "low", "medium", "high"),
            }
        ),
        "messages": _list(
            _record(
                {"role": _one_of("user", "assistant"), "content": _text(1)}, ("role", "content")
            ),
            1,
        ),
        "toolChoice": _tool_choice,
        "tools": _list(_tool, 1),
    },
    ("taskType", "taskUUID", "model", "messages"),
)


def check_task(task: dict[str, Any]) -> None:
    """Check one task object whose ``taskType`` is known.

    Raises:
        BrokenRuleError: the first rule that it breaks.
    """
    if "taskUUID" not in task:
        raise _missing("taskUUID")
    if task.get("taskType") == "textInference":
        if "model" not in task:
            raise _missing("model")
        if task["model"] == HAIKU:
            _HAIKU(task, "")
            return
    for name, check in _COMMON.items():
        if name in task:
            limit = _integer(1, 20) if name == "numberResults" else check
            limit(task[name], name)


def check_stream(task: dict[str, Any], *, supported: bool) -> None:
    """Check what holds for a streamed task only.

    Raises:
        BrokenRuleError: the first rule that it breaks.
    """
    if task.get("deliveryMethod") != "stream":
        return
    if not supported:
        message = "Streaming is not supported here."
        raise BrokenRuleError("unsupportedDeliveryMethod", message, "deliveryMethod")
    if (task.get("numberResults") or 1) != 1:
        raise _invalid("numberResults", "must be 1 for a streamed task")
