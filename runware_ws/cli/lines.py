"""One line of the input of ``run``, and the task in it.

A line is one of:

* a task object in the wire's spelling (``{"taskType": …}`` or ``{"messages": […]}``);
  ``taskUUID``, ``taskType`` and ``model`` may be missing;
* a prompt: ``{"prompt": "…"}`` with ``system``, ``max_tokens``, ``stop_sequences`` or ``model``;
  whatever else it holds is the user's own and ignored, unless it looks like a parameter;
* a batch line: ``{"custom_id": …, "params": {…}}``, see :mod:`runware_ws.cli.batch_lines`.

The line's id is the first of ``custom_id``, ``id`` and ``task_id``: a string or a number. It is
not sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

import orjson

from runware_ws import HAIKU_MODEL
from runware_ws.cli.batch_lines import LineError, haiku_name, task_of_params

__all__ = ["ID_NAMES", "Line", "LineId", "find_id", "id_digest", "line_key", "read_line"]

ID_NAMES = ("custom_id", "id", "task_id")
LineId = tuple[str, str | int | float] | None
"""The name under which a line has its id, and the id."""

_PROMPT_KEYS = {
    "system": "systemPrompt",
    "max_tokens": "maxTokens",
    "stop_sequences": "stopSequences",
}
# Words that ask for something. Ignoring one would give another answer than was asked for.
_ASKS = frozenset(
    [
        "maxtoken",
        "maxtokens",
        "systemprompt",
        "stopsequence",
        "stop",
        "temperature",
        "topp",
        "topk",
        "tools",
        "toolchoice",
        "stream",
        "thinking",
        "thinkinglevel",
        "n",
        "numberresults",
        "settings",
        "inputs",
        "images",
        "documents",
    ]
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the input. ``task`` is ``None`` if there is a ``problem``, which says why.

    ``key`` stands for the line in the output and in the journal: it changes when the line does.
    """

    number: int
    key: int
    id: LineId
    task: dict[str, Any] | None
    problem: str | None = None


def find_id(value: object) -> LineId:
    """The id of a decoded line; ``None`` where it has none."""
    if isinstance(value, dict):
        entry = cast("dict[str, Any]", value)
        for name in ID_NAMES:
            found = entry.get(name)
            if isinstance(found, str | int | float) and not isinstance(found, bool):
                return name, found
    return None


def id_digest(line_id: tuple[str, str | int | float]) -> int:
    """The id as a number of 64 bits, the same under each of the names."""
    return _digest(b"id", orjson.dumps(line_id[1]))


def line_key(number: int, line_id: LineId, unique: bool, text: bytes) -> int:
    """What identifies a line: its id if that is unique, otherwise its number; and its content.

    64 bits: among ten million lines the odds of two equal ones are one in 300,000.
    """
    if line_id is not None and unique:
        return _digest(b"id", orjson.dumps(line_id[1]), text)
    return _digest(b"line", str(number).encode(), text)


def _digest(*parts: bytes) -> int:
    return int.from_bytes(blake2b(b"\0".join(parts), digest_size=8).digest(), "big")


def read_line(number: int, text: bytes, repeated: frozenset[int]) -> Line:
    """Make a line of its text, which is JSON. ``repeated``: digests of ids that are not unique."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        # The whole file was checked before, so the file was changed under our hands.
        key = line_key(number, None, False, text)
        return Line(number, key, None, None, f"not JSON any more: {exc.msg}")
    line_id = find_id(value)
    unique = line_id is not None and id_digest(line_id) not in repeated
    key = line_key(number, line_id, unique, text)
    try:
        return Line(number, key, line_id, _task(value))
    except LineError as exc:
        return Line(number, key, line_id, None, str(exc))


def _task(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LineError(f"a line must be a JSON object, not {_kind(value)}")
    entry = cast("dict[str, Any]", value)
    for name in ID_NAMES:
        found = entry.get(name)
        if isinstance(found, bool) or not isinstance(found, str | int | float | None):
            raise LineError(f"{name}: must be a string or a number")
    own = {key: value for key, value in entry.items() if key not in ID_NAMES}
    if "taskType" in own or "messages" in own:
        task = _wire_task(own)
    elif "params" in own:
        for key in own:
            if key != "params":
                raise LineError(f"{key}: is not known beside params")
        task = task_of_params(own["params"])
    elif "prompt" in own:
        task = _prompt_task(own)
    else:
        raise LineError("has none of taskType, messages, prompt, params: no task can be made of it")
    if task["taskType"] == "textInference":
        # What a run costs and used is what its owner asks next.
        task.setdefault("includeCost", True)
        task.setdefault("includeUsage", True)
    return task


def _wire_task(task: dict[str, Any]) -> dict[str, Any]:
    task.setdefault("taskType", "textInference")
    if task["taskType"] != "textInference":
        return task
    if ("messages" in task and "model" not in task) or haiku_name(task.get("model")):
        task["model"] = HAIKU_MODEL
    return task


def _prompt_task(entry: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(entry["prompt"], str):
        raise LineError("prompt: must be a string")
    if "model" in entry and not haiku_name(entry["model"]):
        raise LineError(f"model: {entry['model']!r} is not known here; use 'claude-haiku-4-5'")
    task: dict[str, Any] = {
        "taskType": "textInference",
        "model": HAIKU_MODEL,
        "messages": [{"role": "user", "content": entry["prompt"]}],
    }
    settings: dict[str, Any] = {}
    for key, given in entry.items():
        if key in _PROMPT_KEYS:
            settings[_PROMPT_KEYS[key]] = given
        elif key.lower().replace("_", "") in _ASKS:
            raise LineError(
                f"{key}: a prompt line does not take this; taken are model, "
                f"{', '.join(_PROMPT_KEYS)}; write a task object for the rest"
            )
    if settings:
        task["settings"] = settings
    return task


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "an array"
    return "null" if value is None else type(value).__name__
