"""What a model answers that must call a tool. Pure: no I/O, no clock."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from .exact import dump_exact
from .options import EmulatorOptions
from .replies import ReplyError, Request
from .schema_check import SchemaError
from .schema_sample import sample
from .tokens import limited, most_tokens

__all__ = ["expected_arguments", "forced_answer"]


def _functions(task: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """The tools of a task that its caller runs, and where each stands."""
    tools: object = task.get("tools")
    if not isinstance(tools, list):
        return []
    return [
        (number, cast("dict[str, Any]", tool))
        for number, tool in enumerate(cast("list[object]", tools))
        if isinstance(tool, dict) and cast("dict[str, Any]", tool).get("type") == "function"
    ]


def _forced(task: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
    """The tool that a task must call: the one that it names, or of ``any`` the first.

    ``None`` if it need not call one. The choice "only takes effect when tools are defined", says
    the published schema.
    """
    choice: object = task.get("toolChoice")
    if not isinstance(choice, dict) or not task.get("tools"):
        return None
    chosen = cast("dict[str, Any]", choice)
    functions = _functions(task)
    if chosen.get("type") == "any":
        return functions[0] if functions else None
    if chosen.get("type") != "tool":
        return None
    for number, tool in functions:
        if tool.get("name") == chosen.get("name"):
            return number, tool
    message = "'toolChoice.name' is the name of no function in 'tools'."
    raise ReplyError("invalidToolChoice", message, parameter="toolChoice.name")


def expected_arguments(tool: dict[str, Any]) -> Any:
    """What the emulator calls this tool with: always the same, valid against its ``schema``.

    Raises:
        ValueError: no value was found for the schema, or it is none.
    """
    return sample(tool.get("schema", {"type": "object"}))


def forced_answer(request: Request, options: EmulatorOptions) -> dict[str, Any] | None:
    """The answer of a task that must call a tool; ``None`` if it need not.

    Raises:
        ReplyError: it names a tool that is not there, or no arguments could be made for its schema.
    """
    found = _forced(request.task)
    if found is None:
        return None
    number, tool = found
    try:
        arguments = expected_arguments(tool)
    except SchemaError as problem:
        message = (
            f"The emulator cannot make arguments for 'tools[{number}].schema': {problem}. "
            "Answer this task with a reply of your own."
        )
        raise ReplyError("invalidSchema", message, parameter=f"tools[{number}].schema") from None
    seed = f"{request.task_uuid}/{request.index}".encode()
    identity = f"call_{hashlib.blake2b(seed, digest_size=8).hexdigest()}"
    named = {"name": tool.get("name", "")}
    call: dict[str, Any]
    if options.tool_calls == "flat":
        call = {"id": identity, **named, "arguments": arguments}
    else:
        written = {**named, "arguments": dump_exact(arguments).decode()}
        nested = {"type": "function", "function": written}
        call = {"id": identity, **(nested if options.tool_calls == "nested" else written)}
    answer = limited({"toolCalls": [call]}, most_tokens(request.task, options.default_max_tokens))
    assert isinstance(answer, dict)
    answer.setdefault("finishReason", options.tool_finish)
    return answer
