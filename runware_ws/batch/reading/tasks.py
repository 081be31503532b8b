"""The task in a line. A line is one of:

* a task object in the wire's spelling (``{"taskType": …}`` or ``{"messages": […]}``);
  ``taskUUID``, ``taskType`` and ``model`` may be missing;
* a prompt: ``{"prompt": "…"}`` with ``system``, ``max_tokens``, ``stop_sequences`` or ``model``;
  whatever else it holds is the user's own, unless it looks like a parameter;
* a row: the prompt stands in a column that was named; all else is the user's own;
* a Messages request in the Anthropic style, bare or as the ``params`` of a batch line;
* a batch line in the OpenAI style, see :mod:`runware_ws.batch.reading.openai`.

The line's id is the first of ``custom_id``, ``id`` and ``task_id``: a string or a number. It is
not sent. A field that is ``null`` counts as not given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import ValidationError

from runware_ws.batch.reading.errors import LineError
from runware_ws.batch.reading.identity import LineId
from runware_ws.batch.reading.openai import read_openai
from runware_ws.errors import InvalidTask
from runware_ws.messages.reading import Reading
from runware_ws.messages.request import is_haiku, read_request
from runware_ws.models.base import place_of
from runware_ws.models.jsonable import dump_json, is_array, is_object
from runware_ws.models.text_inference import HAIKU_MODEL, TEXT_INFERENCE, TextInference

__all__ = ["ID_NAMES", "LineTask", "find_id", "make_task"]

ID_NAMES = ("custom_id", "id", "task_id")

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
        "maxcompletiontokens",
        "maxoutputtokens",
        "maxnewtokens",
        "systemprompt",
        "stopsequence",
        "stop",
        "tools",
        "toolchoice",
        "stream",
        "thinking",
        "thinkinglevel",
        "reasoningeffort",
        "responseformat",
        "n",
        "numberresults",
        "settings",
        "inputs",
        "images",
        "documents",
    ]
)
# ... and those that the model on Runware cannot take in any spelling.
_CANNOT = frozenset(["temperature", "topp", "topk", "frequencypenalty", "presencepenalty"])

# By these a task in the wire's spelling and a Messages request, which both have ``messages``, are
# told apart; fields that both have are in neither.
_WIRE_FIELDS = frozenset(
    [
        "taskType",
        "taskUUID",
        "settings",
        "inputs",
        "toolChoice",
        "deliveryMethod",
        "numberResults",
        "webhookURL",
        "includeCost",
        "includeUsage",
    ]
)
_MESSAGES_FIELDS = frozenset(
    [
        "max_tokens",
        "system",
        "stop_sequences",
        "tool_choice",
        "thinking",
        "metadata",
        "temperature",
        "top_p",
        "top_k",
        "stream",
        "cache_control",
        "service_tier",
        "container",
        "context_management",
        "mcp_servers",
        "output_config",
        "output_format",
        "inference_geo",
    ]
)


@dataclass(frozen=True, slots=True)
class LineTask:
    """What a line asks for. ``extra``: the fields that are the user's own."""

    task: dict[str, Any]
    dropped: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


def find_id(value: object) -> LineId:
    """The id of a decoded line; ``None`` where it has none."""
    if is_object(value):
        for name in ID_NAMES:
            found = value.get(name)
            if isinstance(found, str | int | float) and not isinstance(found, bool):
                return (name, found) if _can_be_told(found) else None
    return None


def _can_be_told(line_id: str | int | float) -> bool:
    """Whether an id can be written as JSON; one with half of a surrogate pair cannot."""
    try:
        dump_json(line_id)
    except ValueError:
        return False
    return True


def make_task(value: object, *, prompt_column: str | None = None, drop: bool = False) -> LineTask:
    """Make a task of a decoded line.

    ``prompt_column``: the field that holds the prompt; all others are the user's own. ``drop``:
    what the model on Runware does not take is left out and named, and otherwise refused.

    Raises:
        LineError: no task can be made of it.
    """
    if not is_object(value):
        raise LineError(f"a line must be a JSON object, not {_kind(value)}")
    given = {name: entry for name, entry in value.items() if entry is not None}
    for name in ID_NAMES:
        found = given.get(name, "")
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise LineError(f"{name}: must be a string or a number")
    reading = Reading(drop=drop)
    own = {name: entry for name, entry in given.items() if name not in ID_NAMES}
    if prompt_column is not None:
        extra = {name: entry for name, entry in own.items() if name != prompt_column}
        task = _asked(given.get(prompt_column), prompt_column)
        _check(task, prompt_column)
    else:
        task, extra = _by_form(reading, own)
    if reading.problems:
        raise LineError("; ".join(reading.problems))
    if task["taskType"] == TEXT_INFERENCE:
        # What a run costs and used is what its owner asks next.
        task.setdefault("includeCost", True)
        task.setdefault("includeUsage", True)
    return LineTask(task, tuple(reading.dropped), extra)


def _by_form(reading: Reading, own: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if "taskType" in own:
        return _wire_task(reading, own), {}
    if "params" in own:
        _alone(own, "params")
        return _of_params(reading, own["params"]), {}
    if "messages" in own:
        if _is_messages_request(own):
            return _translated(reading, own, "", read_request), {}
        return _wire_task(reading, own), {}
    if "prompt" in own:
        return _prompt_task(reading, own)
    if "body" in own:
        return _translated(reading, own, "", read_openai), {}
    if "requests" in own:
        raise LineError("requests: must be the first field, in a file that has nothing else")
    raise LineError(
        "has none of taskType, messages, prompt, params, body: no task can be made of it; "
        "name the field that holds the prompt with --prompt-column"
    )


def _alone(own: dict[str, Any], name: str) -> None:
    for other in own:
        if other != name:
            raise LineError(f"{other}: is not known beside {name}")


# Messages


def _is_messages_request(own: dict[str, Any]) -> bool:
    if not _WIRE_FIELDS.isdisjoint(own):
        return False
    if not _MESSAGES_FIELDS.isdisjoint(own):
        return True
    model = own.get("model")
    if isinstance(model, str) and "claude" in model and not is_haiku(model):
        return True
    messages = own["messages"]
    return is_array(messages) and any(
        is_object(message) and is_array(message.get("content")) for message in messages
    )


def _of_params(reading: Reading, params: object) -> dict[str, Any]:
    if not is_object(params):
        raise LineError("params: must be an object")
    if params.get("model") is None:
        raise LineError("params.model: is required")
    return _translated(reading, params, "params.", read_request)


def _translated(
    reading: Reading,
    request: dict[str, Any],
    prefix: str,
    translate: Callable[[Reading, dict[str, Any]], TextInference],
) -> dict[str, Any]:
    """``prefix``: where the request stands in its line."""
    if request.get("stream"):
        raise LineError(f"{prefix}stream: a line of a file gets its answer whole: leave it out")
    try:
        wire = translate(reading, request).to_wire()
    except InvalidTask as error:
        raise LineError("; ".join(prefix + problem for problem in error.problems)) from None
    reading.dropped = [prefix + place for place in reading.dropped]
    # The run gives it, so that a second run of the same line can ask for the first.
    del wire["taskUUID"]
    return wire


# Our own


def _wire_task(reading: Reading, own: dict[str, Any]) -> dict[str, Any]:
    task = {"taskType": TEXT_INFERENCE, **own}
    if task["taskType"] != TEXT_INFERENCE:
        return task
    if "model" not in task or is_haiku(task["model"]):
        if "messages" in task:
            task["model"] = HAIKU_MODEL
        task = cast("dict[str, Any]", _without_nulls(task))
        if reading.drop:
            _drop_unknown(reading, task)
    return task


def _without_nulls(value: object) -> object:
    """A copy without fields that are null. In a tool's schema, a null is data."""
    if is_object(value):
        return {
            name: entry if name == "schema" else _without_nulls(entry)
            for name, entry in value.items()
            if entry is not None
        }
    return [_without_nulls(entry) for entry in value] if is_array(value) else value


def _drop_unknown(reading: Reading, task: dict[str, Any]) -> None:
    try:
        TextInference.model_validate(task)
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_input=False):
            if error["type"] == "extra_forbidden":
                *way, name = error["loc"]
                inner: Any = task
                for step in way:
                    inner = inner[step]
                del inner[name]
                reading.dropped.append(place_of(error["loc"]))


def _asked(prompt: object, name: str) -> dict[str, Any]:
    if prompt is None:
        raise LineError(f"{name}: is missing")
    if not isinstance(prompt, str):
        raise LineError(f"{name}: must be a string")
    return {
        "taskType": TEXT_INFERENCE,
        "model": HAIKU_MODEL,
        "messages": [{"role": "user", "content": prompt}],
    }


def _prompt_task(reading: Reading, own: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    task = _asked(own["prompt"], "prompt")
    settings: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, given in own.items():
        word = name.lower().replace("_", "")
        if name in _PROMPT_KEYS:
            settings[_PROMPT_KEYS[name]] = given
        elif name == "model":
            if not is_haiku(given):
                reading.wrong("model", f"{given!r} is not known here; use 'claude-haiku-4-5'")
        elif word in _CANNOT:
            reading.unsupported(name)
        elif word in _ASKS:
            reading.wrong(
                name,
                f"a prompt line does not take this; taken are model, {', '.join(_PROMPT_KEYS)}; "
                "write a task object for the rest",
            )
        elif name != "prompt":
            extra[name] = given
    if settings:
        task["settings"] = settings
    if not reading.problems:
        _check(task, "prompt")
    return task, extra


def _check(task: dict[str, Any], prompt: str) -> None:
    """Refuse a task of our making in the words of its line, before anything is run."""
    try:
        TextInference.from_wire(task)
    except InvalidTask as error:
        words = {f"settings.{wire}": own for own, wire in _PROMPT_KEYS.items()}
        words["messages[0].content"] = prompt
        problems = list(error.problems)
        for place, own in words.items():
            problems = [
                own + each.removeprefix(place) if each.startswith(place) else each
                for each in problems
            ]
        raise LineError("; ".join(problems)) from None


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    kinds = ((str, "a string"), (list, "an array"))
    return next((words for kind, words in kinds if isinstance(value, kind)), "a number")
