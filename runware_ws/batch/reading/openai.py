"""Batch lines in the OpenAI style: ``{"custom_id": …, "method": …, "url": …, "body": {…}}``.

``body`` is a Chat Completions request. It is written anew as a Messages request, which has a
place for all that Runware takes, and :mod:`runware_ws.messages` translates that. What has no
place there is refused by its name. Places are told in the spelling of the line.
"""

from __future__ import annotations

import re
from typing import Any, cast

from runware_ws.batch.reading.openai_messages import Conversation
from runware_ws.errors import InvalidTask
from runware_ws.messages.reading import Reading, shown
from runware_ws.messages.request import ThinkingLevel, is_haiku, read_request
from runware_ws.models.jsonable import is_array, is_object
from runware_ws.models.text_inference import TextInference

__all__ = ["read_openai"]

_URL = "/chat/completions"
_LENGTHS = ("max_completion_tokens", "max_tokens")
_LEVELS: dict[object, ThinkingLevel] = {
    "none": "off",
    "low": "low",
    "medium": "medium",
    "high": "high",
}
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "frequency_penalty": (0,),
    "function_call": ("auto", "none"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "stream": (False,),
    "temperature": (1,),
    "top_logprobs": (0,),
    "top_p": (1,),
}
"""Fields that ask for nothing where they have one of these values: it is the default."""
_LABELS = ("metadata", "prompt_cache_key", "safety_identifier", "user")
"""Fields that only tell about the caller."""


def read_openai(reading: Reading, line: dict[str, Any]) -> TextInference:
    """Translate a batch line, without its id. ``reading`` has what was left out.

    Raises:
        InvalidTask: refused; ``problems`` lists places (``body.messages[0].name``) and rules.
    """
    reading.only(line, ("method", "url", "body"))
    if line.get("method", "POST") != "POST":
        reading.wrong("method", "must be 'POST'")
    url = line.get("url", _URL)
    if not isinstance(url, str) or not url.endswith(_URL):
        reading.wrong("url", f"{shown(url)} is not supported: only /v1/chat/completions")
    body = line["body"]
    if not is_object(body):
        reading.wrong("body", "must be an object")
        body = cast("dict[str, Any]", {"messages": [{"role": "user", "content": "x"}]})
    return _Body({name: each for name, each in body.items() if each is not None}, reading).task()


class _Body:
    """A Chat Completions request on its way to a Messages request."""

    def __init__(self, fields: dict[str, Any], reading: Reading) -> None:
        self._fields = fields
        self._reading = reading
        self._conversation = Conversation(reading)
        self._length: str | None = None
        self._level: ThinkingLevel | None = None
        self._number: Any = None
        # Messages cannot do without a limit, and this one is taken out again.
        self._request: dict[str, Any] = {"max_tokens": 1}

    def task(self) -> TextInference:
        for name, value in self._fields.items():
            self._field(name, value)
        if "messages" not in self._fields:
            self._reading.wrong("body.messages", "is required")
        self._request |= self._conversation.request()
        if self._reading.problems:
            raise _refused(self._reading.problems)
        try:
            task = read_request(self._reading, self._request, thinking_level=self._level)
            wire = task.to_wire()
            if self._number is not None:
                wire["numberResults"] = self._number
            if self._length is None:
                del wire["settings"]["maxTokens"]
                if not wire["settings"]:
                    del wire["settings"]
            return TextInference.from_wire(wire)
        except InvalidTask as error:
            raise _refused([self._place(problem) for problem in error.problems]) from None

    def _field(self, name: str, value: Any) -> None:
        reading, place = self._reading, f"body.{name}"
        if name == "model":
            if not is_haiku(value):
                reading.wrong(place, f"{shown(value)} is not known here; use 'claude-haiku-4-5'")
        elif name == "messages":
            self._conversation.read(value)
        elif name in _LENGTHS:
            if self._request["max_tokens"] != value and self._length is not None:
                reading.wrong(place, f"is not what {self._length} says")
            self._length, self._request["max_tokens"] = name, value
        elif name == "stop":
            self._request["stop_sequences"] = [value] if isinstance(value, str) else value
        elif name == "tools":
            self._request["tools"] = self._tools(value)
        elif name == "tool_choice":
            self._tool_choice(value)
        elif name == "n":
            self._number = value
        elif name == "stream" and value is True:
            reading.wrong(place, "a line of a file gets its answer whole: leave it out")
        elif name == "reasoning_effort" and isinstance(value, str) and value in _LEVELS:
            self._level = _LEVELS[value]
        elif value not in _NEUTRAL.get(name, ()) and name not in _LABELS:
            reading.unsupported(place if len(name) <= 60 else f"body.{shown(name)}")

    def _tools(self, value: Any) -> list[dict[str, Any]]:
        if not is_array(value):
            self._reading.wrong("body.tools", "must be an array")
            return []
        tools: list[dict[str, Any]] = []
        for number, entry in enumerate(value):
            tool = self._tool(entry, f"body.tools[{number}]")
            if tool is not None:
                tools.append(tool)
        return tools

    def _tool(self, entry: Any, place: str) -> dict[str, Any] | None:
        reading = self._reading
        if is_object(entry) and entry.get("type", "function") != "function":
            reading.unsupported(place, f"tools of type {shown(entry['type'])} are not supported")
            return None
        function = entry.get("function") if is_object(entry) else None
        if not is_object(entry) or not is_object(function):
            reading.wrong(place, "must be an object with a function")
            return None
        reading.only(entry, ("type", "function"), place)
        given = {key: each for key, each in function.items() if each not in (None, False)}
        reading.only(given, ("name", "description", "parameters"), f"{place}.function")
        tool: dict[str, Any] = {
            "input_schema": given.get("parameters", {"type": "object", "properties": {}})
        }
        return tool | {key: given[key] for key in ("name", "description") if key in given}

    def _tool_choice(self, value: Any) -> None:
        words = {"auto": "auto", "none": "none", "required": "any"}
        if isinstance(value, str) and value in words:
            self._request["tool_choice"] = {"type": words[value]}
            return
        function = value.get("function") if is_object(value) else None
        if is_object(function) and isinstance(function.get("name"), str):
            self._request["tool_choice"] = {"type": "tool", "name": function["name"]}
        else:
            self._reading.unsupported("body.tool_choice")

    def _place(self, problem: str) -> str:
        """A problem of the Messages request or of the task, in the spelling of the line."""
        found = re.match(r"messages\[([0-9]+)\](\.content\[[0-9]+\])?[^:]*", problem)
        if found is not None:
            place = self._conversation.place(int(found[1]), found[2])
            return f"body.{place}{problem[found.end() :]}"
        for ours, theirs in (
            (r"(?:settings\.maxTokens|max_tokens)", self._length or "max_tokens"),
            (r"(?:settings\.stopSequences|stop_sequences)", "stop"),
            (r"(tools\[[0-9]+\])\.input_schema", r"\1.function.parameters"),
            (r"(tools\[[0-9]+\])", r"\1.function"),
            (r"system", self._conversation.system_place),
            (r"numberResults", "n"),
        ):
            if re.match(ours, problem):
                return "body." + re.sub(f"^{ours}", theirs, problem)
        return f"body.{problem}"


def _refused(problems: list[str]) -> InvalidTask:
    return InvalidTask("; ".join(problems), problems=problems)
