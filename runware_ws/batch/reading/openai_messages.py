"""The messages of a Chat Completions request, as those of a Messages request."""

from __future__ import annotations

from typing import Any, cast

from runware_ws.messages.reading import Reading, shown
from runware_ws.models.jsonable import is_array, is_object, load_json

__all__ = ["Conversation"]

_SYSTEM = ("system", "developer")


class Conversation:
    """Reads messages. Places are in the caller's spelling, below ``body``."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._system: list[dict[str, Any]] = []
        self._messages: list[dict[str, Any]] = []
        self._places: list[str] = []
        self.system_place = "messages[0].content"

    def request(self) -> dict[str, Any]:
        """The ``messages`` and ``system`` of the Messages request."""
        found: dict[str, Any] = {"messages": self._messages}
        return {**found, "system": self._system} if self._system else found

    def place(self, number: int, part: str | None) -> str:
        """Where a message of the Messages request came from."""
        if number >= len(self._places):
            return "messages"
        if self._messages[number]["role"] != "user" or self._results(number) is not None:
            part = None
        return f"{self._places[number]}{part or '.content'}"

    def _results(self, number: int = -1) -> list[dict[str, Any]] | None:
        """The results of tools in a message; ``None`` if it is none of them."""
        content = self._messages[number]["content"] if self._messages else None
        if is_array(content) and content and content[0]["type"] == "tool_result":
            return cast("list[dict[str, Any]]", content)
        return None

    def read(self, value: object) -> None:
        """Take the messages in."""
        if not is_array(value):
            self._reading.wrong("body.messages", "must be an array")
            return
        if not value:
            self._reading.wrong("body.messages", "must have at least 1 item(s)")
        for number, entry in enumerate(value):
            place = f"body.messages[{number}]"
            if not is_object(entry):
                self._reading.wrong(place, "must be an object")
                continue
            message = {name: each for name, each in entry.items() if each is not None}
            self._message(message, place, number)

    def _message(self, message: dict[str, Any], place: str, number: int) -> None:
        role = message.get("role")
        if role in _SYSTEM:
            self._reading.only(message, ("role", "content"), place)
            self._system_message(message, place, number)
        elif role == "user":
            self._reading.only(message, ("role", "content"), place)
            self._add("user", self._content(message, place), number)
        elif role == "assistant":
            self._assistant(message, place, number)
        elif role == "tool":
            self._reading.only(message, ("role", "content", "tool_call_id"), place)
            self._tool_result(message, place, number)
        else:
            self._reading.wrong(
                f"{place}.role", "must be system, developer, user, assistant or tool"
            )

    def _add(self, role: str, content: Any, number: int) -> None:
        self._messages.append({"role": role, "content": content})
        self._places.append(f"messages[{number}]")

    def _system_message(self, message: dict[str, Any], place: str, number: int) -> None:
        if self._messages:
            self._reading.wrong(
                place, "on Runware system and developer messages can only stand before all others"
            )
            return
        content = self._content(message, place)
        if not self._system:
            self.system_place = f"messages[{number}].content"
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks:
            if block["type"] == "text":
                self._system.append(block)
            else:
                self._reading.wrong(f"{place}.content", "must be text")

    def _assistant(self, message: dict[str, Any], place: str, number: int) -> None:
        given = {name: each for name, each in message.items() if each not in ([], "")}
        self._reading.only(given, ("role", "content", "tool_calls"), place)
        calls = given.get("tool_calls", [])
        if not calls:
            self._add("assistant", self._content(message, place), number)
            return
        content: Any = self._content(given, place) if "content" in given else []
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not is_array(calls):
            self._reading.wrong(f"{place}.tool_calls", "must be an array")
            return
        for at, call in enumerate(calls):
            block = self._call(call, f"{place}.tool_calls[{at}]")
            if block is not None:
                blocks.append(block)
        self._add("assistant", blocks, number)

    def _call(self, call: Any, place: str) -> dict[str, Any] | None:
        function = call.get("function") if is_object(call) else None
        if not is_object(call) or not is_object(function):
            self._reading.wrong(place, "must be an object with a function")
            return None
        for name, value in (("id", call.get("id")), ("function.name", function.get("name"))):
            if not isinstance(value, str):
                self._reading.wrong(f"{place}.{name}", "must be a string")
                return None
        try:
            arguments = load_json(function.get("arguments") or "{}")
        except (ValueError, TypeError, AttributeError):
            arguments = None
        if not is_object(arguments):
            self._reading.wrong(f"{place}.function.arguments", "must be the JSON of an object")
            return None
        return {
            "type": "tool_use",
            "id": call["id"],
            "name": function["name"],
            "input": arguments,
        }

    def _tool_result(self, message: dict[str, Any], place: str, number: int) -> None:
        if not isinstance(message.get("tool_call_id"), str):
            self._reading.wrong(f"{place}.tool_call_id", "must be a string")
            return
        block = {
            "type": "tool_result",
            "tool_use_id": message["tool_call_id"],
            "content": self._content(message, place),
        }
        results = self._results()
        if results is None:
            self._add("user", [block], number)
        else:
            results.append(block)  # The results of one turn stand in one message.

    # Content

    def _content(self, message: dict[str, Any], place: str) -> Any:
        content = message.get("content")
        place = f"{place}.content"
        if isinstance(content, str):
            return content
        if not is_array(content):
            rule = "is required" if content is None else "must be a string or an array of parts"
            self._reading.wrong(place, rule)
            return []
        blocks: list[dict[str, Any]] = []
        for number, part in enumerate(content):
            block = self._part(part, f"{place}[{number}]")
            if block is not None:
                blocks.append(block)
        return blocks

    def _part(self, part: Any, place: str) -> dict[str, Any] | None:
        kind = part.get("type") if is_object(part) else None
        if not is_object(part) or not isinstance(kind, str):
            self._reading.wrong(place, "must be a part: an object with a type")
            return None
        if kind == "text":
            self._reading.only(part, ("type", "text"), place)
            if isinstance(part.get("text"), str):
                return {"type": "text", "text": part["text"]}
            self._reading.wrong(f"{place}.text", "must be a string")
        elif kind == "image_url":
            return self._image(part.get("image_url"), f"{place}.image_url")
        elif kind == "file":
            return self._file(part.get("file"), f"{place}.file")
        else:
            self._reading.unsupported(place, f"parts of type {shown(kind)} are not supported")
        return None

    def _image(self, image: Any, place: str) -> dict[str, Any] | None:
        url = image.get("url") if is_object(image) else image
        if not isinstance(url, str):
            self._reading.wrong(f"{place}.url", "must be a string")
            return None
        if is_object(image):
            asks = {name: each for name, each in image.items() if each not in (None, "auto")}
            self._reading.only(asks, ("url",), place)
        return {"type": "image", "source": {"type": "url", "url": url}}

    def _file(self, file: Any, place: str) -> dict[str, Any] | None:
        data = file.get("file_data") if is_object(file) else None
        if is_object(file):
            self._reading.only(file, ("file_data", "filename"), place)
        if isinstance(data, str):
            return {"type": "document", "source": {"type": "url", "url": data}}
        if not is_object(file) or "file_id" not in file:
            self._reading.wrong(f"{place}.file_data", "must be a string")
        return None
