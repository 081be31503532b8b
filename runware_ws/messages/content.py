"""The content of messages: blocks become one text, images and documents become inputs."""

from __future__ import annotations

import base64
import re
from typing import Any, Literal

from runware_ws.messages.reading import CacheScope, Reading, as_data, as_object, shown
from runware_ws.messages.tools import tool_text
from runware_ws.models.formats import is_base64
from runware_ws.models.jsonable import is_array, is_object

__all__ = ["read_content", "read_system"]

_MEDIA_TYPE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.+-]*/[a-zA-Z0-9][a-zA-Z0-9.+-]*")
_BLOCK = "must be a block: an object with a type"
_MEDIA = ("image", "document")
# The service has no field for the reasoning of earlier turns, and Anthropic's own API drops it
# from later context. Refusing it would break every loop that sends back what it received.
_REASONING = ("thinking", "redacted_thinking")


def _marks(reading: Reading, block: dict[str, Any], place: str, scope: CacheScope) -> None:
    if "cache_control" in block:
        reading.cache_control(block["cache_control"], f"{place}.cache_control", scope)


def _block_of(reading: Reading, value: object, place: str) -> dict[str, Any] | None:
    block = as_object(value)
    if block is None or not isinstance(block.get("type"), str):
        reading.wrong(place, _BLOCK)
        return None
    return block


def _text(reading: Reading, block: dict[str, Any], place: str, scope: CacheScope) -> str | None:
    _marks(reading, block, place, scope)
    reading.only(block, ("type", "text", "cache_control"), place)
    text = block.get("text")
    if isinstance(text, str):
        return text
    reading.wrong(f"{place}.text", "must be a string")
    return None


# Media


def _base64_source(
    reading: Reading, source: dict[str, Any], place: str, kind: Literal["image", "document"]
) -> str | None:
    reading.only(source, ("type", "media_type", "data"), place)
    media_type, data = source.get("media_type"), source.get("data")
    good = isinstance(media_type, str) and _MEDIA_TYPE.fullmatch(media_type) is not None
    if not good or (kind == "image" and not str(media_type).lower().startswith("image/")):
        reading.wrong(f"{place}.media_type", f"must be the media type of the {kind}")
    elif not isinstance(data, str) or not is_base64(data):
        reading.wrong(f"{place}.data", "must be Base64")
    else:
        return f"data:{media_type};base64,{data}"
    return None


def _source(
    reading: Reading, value: object, place: str, kind: Literal["image", "document"]
) -> str | None:
    source = as_object(value)
    if source is None:
        reading.wrong(place, "must be an object")
        return None
    form = source.get("type")
    if form == "base64":
        return _base64_source(reading, source, place, kind)
    if form == "url":
        reading.only(source, ("type", "url"), place)
        url = source.get("url")
        if isinstance(url, str):
            return url
        reading.wrong(f"{place}.url", "must be a string")
    elif form == "text" and kind == "document":
        reading.only(source, ("type", "media_type", "data"), place)
        data = source.get("data")
        if isinstance(data, str) and not _has_surrogate(data):
            return "data:text/plain;base64," + base64.b64encode(data.encode()).decode("ascii")
        reading.wrong(f"{place}.data", "must be a string of valid Unicode")
    elif isinstance(form, str):
        reading.unsupported(place, f"sources of type {shown(form)} are not supported")
    else:
        reading.wrong(f"{place}.type", "must be 'base64' or 'url'")
    return None


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _media(
    reading: Reading, block: dict[str, Any], place: str, kind: Literal["image", "document"]
) -> str | None:
    """Read the media of a block; return its label, ``None`` if it was refused or dropped."""
    _marks(reading, block, place, "system+history")
    given = dict(block)
    citations = given.get("citations")
    if kind == "document" and is_object(citations) and citations.get("enabled") in (None, False):
        del given["citations"]  # a flag that is off requests nothing
    reading.only(given, ("type", "source", "cache_control"), place)
    value = _source(reading, block.get("source"), f"{place}.source", kind)
    return None if value is None else reading.media(kind, value, f"{place}.source")


# Tools


def _tool_use(reading: Reading, block: dict[str, Any], place: str) -> dict[str, Any] | None:
    _marks(reading, block, place, "system+history")
    caller = as_object(block.get("caller"))
    given = {k: v for k, v in block.items() if k != "caller" or caller != {"type": "direct"}}
    reading.only(given, ("type", "id", "name", "input", "cache_control"), place)
    for key in ("id", "name"):
        if not isinstance(block.get(key), str):
            reading.wrong(f"{place}.{key}", "must be a string")
            return None
    value = as_data(block.get("input"))
    if value is None:
        reading.wrong(f"{place}.input", "must be an object")
        return None
    return {"type": "tool_use", "id": block["id"], "name": block["name"], "input": value}


def _result_content(reading: Reading, value: object, place: str) -> str | None:
    if value is None or isinstance(value, str):
        return value or ""
    if not is_array(value):
        reading.wrong(place, "must be a string or an array of blocks")
        return None
    texts: list[str] = []
    labels: list[str] = []
    for number, entry in enumerate(value):
        where = f"{place}[{number}]"
        block = _block_of(reading, entry, where)
        if block is None:
            continue
        if block["type"] == "text":
            texts.append(_text(reading, block, where, "system+history") or "")
        elif block["type"] in _MEDIA:
            labels.append(_media(reading, block, where, block["type"]) or "")
        else:
            reading.unsupported(where, f"blocks of type {shown(block['type'])} are not supported")
    return "\n".join(texts) or "\n".join(filter(None, labels))


def _tool_result(reading: Reading, block: dict[str, Any], place: str) -> dict[str, Any] | None:
    _marks(reading, block, place, "system+history")
    reading.only(block, ("type", "tool_use_id", "content", "is_error", "cache_control"), place)
    if not isinstance(block.get("tool_use_id"), str):
        reading.wrong(f"{place}.tool_use_id", "must be a string")
        return None
    if not isinstance(block.get("is_error", False), bool):
        reading.wrong(f"{place}.is_error", "must be true or false")
        return None
    content = _result_content(reading, block.get("content"), f"{place}.content")
    if content is None:
        return None
    found = {"type": "tool_result", "tool_use_id": block["tool_use_id"], "content": content}
    return {**found, "is_error": True} if block.get("is_error") else found


# A whole message


def _part(reading: Reading, block: dict[str, Any], place: str) -> dict[str, Any] | None:
    kind = block["type"]
    if kind == "text":
        text = _text(reading, block, place, "system+history")
        return None if text is None else {"type": "text", "text": text}
    if kind == "tool_use":
        return _tool_use(reading, block, place)
    if kind == "tool_result":
        return _tool_result(reading, block, place)
    if kind not in _REASONING:
        reading.unsupported(place, f"blocks of type {shown(kind)} are not supported")
    return None


def _written(reading: Reading, parts: list[dict[str, Any]], place: str) -> str | None:
    try:
        return tool_text(parts)
    except ValueError as error:
        reading.wrong(place, str(error))
        return None


def read_content(reading: Reading, value: object, place: str) -> str | None:
    """Translate the content of one message; ``None`` if it was refused.

    Images and documents go to ``reading``. A message that has nothing else gets their labels as
    its text (``[image 1]``), because a message on Runware cannot be empty.
    """
    if isinstance(value, str):
        return _written(reading, [{"type": "text", "text": value}], place)
    if not is_array(value):
        reading.wrong(place, "must be a string or an array of blocks")
        return None
    parts: list[dict[str, Any]] = []
    labels: list[str] = []
    for number, entry in enumerate(value):
        where = f"{place}[{number}]"
        block = _block_of(reading, entry, where)
        if block is None:
            continue
        if block["type"] in _MEDIA:
            label = _media(reading, block, where, block["type"])
            labels += [label] if label else []
        elif (part := _part(reading, block, where)) is not None:
            parts.append(part)
    text = _written(reading, parts, place)
    return "\n".join(labels) if text == "" else text


def read_system(reading: Reading, value: object) -> str | None:
    """Translate ``system``; text blocks are joined by line breaks. ``None`` if it is empty."""
    if isinstance(value, str):
        return value or None
    if not is_array(value):
        reading.wrong("system", "must be a string or an array of text blocks")
        return None
    texts: list[str] = []
    for number, entry in enumerate(value):
        place = f"system[{number}]"
        block = _block_of(reading, entry, place)
        if block is None:
            continue
        if block["type"] == "text":
            texts.append(_text(reading, block, place, "system") or "")
        else:
            reading.unsupported(place, f"blocks of type {shown(block['type'])} are not supported")
    return "\n".join(texts) or None
