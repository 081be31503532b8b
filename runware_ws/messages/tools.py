"""Tools both ways: definitions and choice out, calls in, and history as plain text.

A message on Runware is a plain string, and the documentation does not say how a tool's result
goes back. So the calls and results of earlier turns are written as text, in the form that
:func:`tool_text` writes and :func:`parse_tool_text` reads. To use another form, change only
these two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runware_ws.messages.objects import ToolUseBlock
from runware_ws.messages.reading import Reading, as_object, shown
from runware_ws.models.jsonable import dump_json, encode_json, is_array, is_object, load_json
from runware_ws.models.tool_calls import ToolCall, call_source

__all__ = [
    "invalid_input",
    "parse_tool_text",
    "read_tool_choice",
    "read_tools",
    "tool_text",
    "tool_use_blocks",
]

# The text form

_MARKED = re.compile(r"^(?=\\*</?tool_(?:use|result))", re.MULTILINE)
_ESCAPED = re.compile(r"^\\(?=\\*</?tool_(?:use|result))", re.MULTILINE)
_STRING = r'("(?:[^"\\]|\\.)*")'
_USE = re.compile(rf"<tool_use id={_STRING} name={_STRING}>")
_RESULT = re.compile(rf'<tool_result tool_use_id={_STRING}( is_error="true")?>')


def _quoted(text: str) -> str:
    return dump_json(text).decode("utf-8")


def _block_text(block: Mapping[str, Any]) -> str:
    if block["type"] == "tool_use":
        head = f"<tool_use id={_quoted(block['id'])} name={_quoted(block['name'])}>"
        return f"{head}\n{dump_json(block['input']).decode('utf-8')}\n</tool_use>"
    if block["type"] == "tool_result":
        error = ' is_error="true"' if block.get("is_error") else ""
        head = f"<tool_result tool_use_id={_quoted(block['tool_use_id'])}{error}>"
        return f"{head}\n{_MARKED.sub(_BACKSLASH, block['content'])}\n</tool_result>"
    return _MARKED.sub(_BACKSLASH, block["text"])


_BACKSLASH = r"\\"  # one backslash, as a template of ``re.sub``


def tool_text(blocks: Sequence[Mapping[str, Any]]) -> str:
    r"""Write the blocks of a message as the one string that a message is on Runware.

    Blocks are ``text``, ``tool_use`` (with ``input`` as an object) and ``tool_result`` (with
    ``content`` as a string). Each stands on lines of its own::

        I will look.
        <tool_use id="toolu_1" name="get_weather">
        {"city":"Oslo"}
        </tool_use>

        <tool_result tool_use_id="toolu_1">
        -3 °C
        </tool_result>

    A failed tool has ``is_error="true"`` in its first line. ``id`` and ``name`` are JSON strings,
    the input is JSON on one line, and a result is written unchanged, because a model reads a file
    better without escapes. A line of text or of a result that begins like one of these tags gets a
    backslash in front, so that no tool and no user can end a block or forge one.

    Raises:
        ValueError: something cannot be written as JSON.
    """
    return "\n".join(map(_block_text, blocks))


def _unquoted(text: str) -> str | None:
    try:
        value = load_json(text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _use_at(lines: list[str], at: int) -> dict[str, Any] | None:
    head = _USE.fullmatch(lines[at])
    if head is None or lines[at + 2 : at + 3] != ["</tool_use>"]:
        return None
    identity, name = _unquoted(head[1]), _unquoted(head[2])
    try:
        given = load_json(lines[at + 1])
    except ValueError:
        return None
    if identity is None or name is None or not is_object(given):
        return None
    return {"type": "tool_use", "id": identity, "name": name, "input": given}


def _result_at(lines: list[str], at: int, end: int) -> dict[str, Any] | None:
    head = _RESULT.fullmatch(lines[at])
    identity = _unquoted(head[1]) if head is not None else None
    if head is None or identity is None:
        return None
    content = _ESCAPED.sub("", "\n".join(lines[at + 1 : end]))
    block = {"type": "tool_result", "tool_use_id": identity, "content": content}
    return {**block, "is_error": True} if head[2] else block


def parse_tool_text(text: str) -> list[dict[str, Any]]:
    """Read back what :func:`tool_text` wrote.

    The blocks are those that were written, except that adjacent text blocks come back as one,
    joined by line breaks. Anything else is text. Never raises.
    """
    lines = text.split("\n")
    ends = [at for at, line in enumerate(lines) if line == "</tool_result>"][::-1]
    blocks: list[dict[str, Any]] = []
    words: list[str] = []

    def flush() -> None:
        if words:
            blocks.append({"type": "text", "text": _ESCAPED.sub("", "\n".join(words))})
            words.clear()

    at = 0
    while at < len(lines):
        while ends and ends[-1] <= at:
            ends.pop()
        if (use := _use_at(lines, at)) is not None:
            flush()
            blocks.append(use)
            at += 3
        # A result has at least one line of content, which may be empty.
        elif ends and ends[-1] > at + 1 and (found := _result_at(lines, at, ends[-1])) is not None:
            flush()
            blocks.append(found)
            at = ends[-1] + 1
        else:
            words.append(lines[at])
            at += 1
    flush()
    return blocks


# Definitions and choice, on their way out

_FUNCTION_KEYS = ("type", "name", "description", "input_schema", "cache_control")
# Both run on the provider's side, in either shape. The date is Anthropic's version of the tool.
_SERVER_TOOLS = (
    (re.compile(r"web_search_[0-9]{8}"), "search"),
    (re.compile(r"code_execution_[0-9]{8}"), "codeInterpreter"),
)


def _read_tool(reading: Reading, value: object, place: str) -> dict[str, Any] | None:
    tool = as_object(value)
    if tool is None:
        reading.wrong(place, "must be an object")
        return None
    if "cache_control" in tool and tool["cache_control"] is not None:
        reading.cache_control(tool["cache_control"], f"{place}.cache_control", "system")
    kind = tool.get("type", "custom")
    # A flag that is off requests nothing.
    given = {key: each for key, each in tool.items() if each is not None and each is not False}
    if kind == "custom":
        reading.only(given, _FUNCTION_KEYS, place)
        wire = {"type": "function"}
        wire |= {key: tool[key] for key in ("name", "description") if key in tool}
        if "input_schema" in tool:
            wire["schema"] = tool["input_schema"]
        return wire
    for pattern, wire_type in _SERVER_TOOLS:
        if isinstance(kind, str) and pattern.fullmatch(kind):
            reading.only(given, ("type", "name", "cache_control"), place)
            return {"type": wire_type}
    reading.unsupported(place, f"tools of type {shown(kind)} are not supported")
    return None


def read_tools(reading: Reading, value: object) -> list[dict[str, Any]]:
    """Translate ``tools`` into the wire's spelling. An empty list sends nothing."""
    if not is_array(value):
        reading.wrong("tools", "must be an array")
        return []
    wire: list[dict[str, Any]] = []
    for number, entry in enumerate(value):
        tool = _read_tool(reading, entry, f"tools[{number}]")
        if tool is not None:
            reading.places[f"tools[{len(wire)}]"] = f"tools[{number}]"
            wire.append(tool)
    return wire


def read_tool_choice(reading: Reading, value: object) -> dict[str, Any] | None:
    """Translate ``tool_choice``: ``auto``, ``any``, ``tool`` and ``none`` mean the same in both."""
    choice = as_object(value)
    if choice is None:
        reading.wrong("tool_choice", "must be an object")
        return None
    given = {
        key: each
        for key, each in choice.items()
        if key != "disable_parallel_tool_use" or each is not False
    }
    reading.only(given, ("type", "name"), "tool_choice")
    return {key: given[key] for key in ("type", "name") if key in given}


# Calls, on their way in


def tool_use_blocks(calls: Sequence[ToolCall] | None, task_uuid: str) -> list[ToolUseBlock]:
    """Write the model's calls as ``tool_use`` blocks.

    A call without an id gets one made from the taskUUID and its number: the same each time.
    """
    return [
        ToolUseBlock(
            type="tool_use",
            id=call.id or tool_id(task_uuid, number),
            name=call.name,
            input=call.arguments,
        )
        for number, call in enumerate(calls or ())
    ]


def tool_id(task_uuid: str, number: int) -> str:
    """The id of a call that came without one."""
    return f"toolu_{task_uuid.replace('-', '')}_{number}"


def invalid_input(call: ToolCall) -> str | None:
    """The arguments of a call as the model wrote them, if they are not a JSON object."""
    source = call_source(call.raw)
    value = source.get("arguments", source.get("input"))
    if value is None or value == "" or is_object(value):
        return None
    text = value if isinstance(value, str) else encode_json(value).decode("utf-8")
    try:
        return None if is_object(load_json(text)) else text
    except ValueError:
        return text
