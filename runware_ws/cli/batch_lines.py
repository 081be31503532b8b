"""Lines of the batch format, translated: ``{"custom_id": …, "params": {…}}``.

``params`` is a Messages request in the Anthropic style. What Haiku on Runware has no word for is
refused by name, because dropping it in silence would change the answer.
"""

from __future__ import annotations

from typing import Any, cast

from runware_ws import HAIKU_MODEL

__all__ = ["LineError", "haiku_name", "task_of_params"]

_TAKEN = "model, max_tokens, system, messages, stop_sequences, tools, tool_choice"
_NAMES = frozenset({HAIKU_MODEL, "anthropic/claude-haiku-4.5", "claude-haiku-4.5"})
# An explicit "no" asks for nothing, so it is as good as the missing field.
_HARMLESS: dict[str, Any] = {"stream": False, "thinking": {"type": "disabled"}}


class LineError(ValueError):
    """A line that no task can be made of. The message says what and where."""


def haiku_name(model: object) -> bool:
    """Whether ``model`` is one of the names of Claude Haiku 4.5."""
    if not isinstance(model, str):
        return False
    return model in _NAMES or model.removeprefix("anthropic/").startswith("claude-haiku-4-5")


def _text(content: object, place: str) -> str:
    """A string, or a list of text blocks, which are joined by line ends."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise LineError(f"{place}: must be a string or a list of text blocks")
    texts: list[str] = []
    for number, entry in enumerate(cast("list[object]", content)):
        where = f"{place}[{number}]"
        if not isinstance(entry, dict):
            raise LineError(f"{where}: must be a text block")
        block = cast("dict[str, Any]", entry)
        if block.get("type") != "text":
            raise LineError(
                f"{where}: blocks of type {block.get('type')!r} are not supported, only text"
            )
        for key in block:
            if key not in ("type", "text"):
                raise LineError(f"{where}.{key}: is not supported here: leave it out")
        if not isinstance(block.get("text"), str):
            raise LineError(f"{where}.text: must be a string")
        texts.append(block["text"])
    return "\n".join(texts)


def _objects(value: object, place: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise LineError(f"{place}: must be a list")
    found: list[dict[str, Any]] = []
    for number, entry in enumerate(cast("list[object]", value)):
        if not isinstance(entry, dict):
            raise LineError(f"{place}[{number}]: must be an object")
        found.append(cast("dict[str, Any]", entry))
    return found


def _only(given: dict[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in given:
        if key not in known:
            raise LineError(f"{place}.{key}: is not supported here; known are {', '.join(known)}")


def _messages(value: object) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for number, message in enumerate(_objects(value, "params.messages")):
        place = f"params.messages[{number}]"
        _only(message, ("role", "content"), place)
        messages.append(
            {
                "role": message.get("role"),
                "content": _text(message.get("content"), f"{place}.content"),
            }
        )
    return messages


def _tools(value: object) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    for number, tool in enumerate(_objects(value, "params.tools")):
        place = f"params.tools[{number}]"
        if tool.get("type", "custom") != "custom":
            raise LineError(f"{place}: tools of type {tool['type']!r} are not supported")
        _only(tool, ("type", "name", "description", "input_schema"), place)
        wire: dict[str, Any] = {"type": "function"}
        for name, wire_name in (("name", "name"), ("description", "description")):
            if name in tool:
                wire[wire_name] = tool[name]
        if "input_schema" in tool:
            wire["schema"] = tool["input_schema"]
        tools.append(wire)
    return tools


def _tool_choice(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LineError("params.tool_choice: must be an object")
    choice = cast("dict[str, Any]", value)
    _only(choice, ("type", "name"), "params.tool_choice")
    return dict(choice)


def task_of_params(value: object) -> dict[str, Any]:
    """Translate the ``params`` of a batch line into a task in the wire's spelling.

    Bounds are not checked here: the client checks every task before it is sent.

    Raises:
        LineError: a parameter, block or model that Haiku on Runware does not take.
    """
    if not isinstance(value, dict):
        raise LineError("params: must be an object")
    params = cast("dict[str, Any]", value)
    task: dict[str, Any] = {"taskType": "textInference", "model": HAIKU_MODEL}
    settings: dict[str, Any] = {}
    for key, given in params.items():
        match key:
            case "model":
                if not haiku_name(given):
                    raise LineError(
                        f"params.model: {given!r} is not known here; use 'claude-haiku-4-5'"
                    )
            case "messages":
                task["messages"] = _messages(given)
            case "system":
                settings["systemPrompt"] = _text(given, "params.system")
            case "max_tokens":
                settings["maxTokens"] = given
            case "stop_sequences":
                settings["stopSequences"] = given
            case "tools":
                task["tools"] = _tools(given)
            case "tool_choice":
                task["toolChoice"] = _tool_choice(given)
            case _:
                if key not in _HARMLESS or given != _HARMLESS[key]:
                    raise LineError(
                        f"params.{key}: Haiku on Runware does not take this; taken are {_TAKEN}"
                    )
    for key in ("model", "messages"):
        if key not in params:
            raise LineError(f"params.{key}: is required")
    if settings:
        task["settings"] = settings
    return task
