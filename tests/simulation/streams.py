"""Streams as the model server makes them: a whole answer, cut into deltas at random places.

Documented: deltas of text and of reasoning, ``finishReason``, ``usage``, ``cost``. The rest is
open, so each stream draws it: pieces of tool calls, what the last item looks like, whether the
socket gets deltas at all, and what an event over HTTP says of the task it belongs to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

__all__ = ["Call", "StreamPlan", "draw_stream"]

LASTS = ("marked", "marked", "separate", "whole")
LASTS_AS_FIELDS = ("bare", "fields")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call. ``arguments`` is the JSON text as the server streams it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One stream. ``deltas`` are made at ``at``, in seconds after the registration."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    deltas: tuple[dict[str, Any], ...] = ()
    at: tuple[float, ...] = ()
    pushes: bool = True
    """Deltas come over the socket; or one whole result does."""
    last: str = "marked"
    """Where the end stands: in the last delta (``marked``), in an item of its own with a delta
    that is empty (``separate``) or without one (``bare``), beside the last piece in the fields of
    a result (``fields``), beside the ``whole``, or nowhere (``unmarked``)."""
    usage: bool = False
    objects: bool = False
    """The whole has the arguments of calls as objects; or as JSON text."""
    enveloped: bool = False
    """Over HTTP, events are in the socket's envelope; or bare."""
    nameless: bool = False
    """Over HTTP, events bear the taskUUID ``""``."""
    mixed: bool = False
    """Over HTTP, events of another task are among them."""
    ends_open: bool = False
    """Over HTTP, no end mark follows."""
    fails_after: int = 0
    """Where the task fails: behind so many deltas."""

    def whole(self) -> dict[str, Any]:
        """The fields of the whole result."""
        whole: dict[str, Any] = {}
        if self.text or not self.calls:
            whole["text"] = self.text
        if self.reasoning:
            whole["reasoningContent"] = self.reasoning
        if self.calls:
            whole["toolCalls"] = [
                {
                    "id": call.id,
                    "name": call.name,
                    "arguments": json.loads(call.arguments) if self.objects else call.arguments,
                }
                for call in self.calls
            ]
        return {**whole, **self.end()}

    def is_whole(self, item: dict[str, Any]) -> bool:
        """Whether an item holds the whole result."""
        whole = self.whole()
        texts = ("text", "reasoningContent")
        same = all((item.get(name) or "") == (whole.get(name) or "") for name in texts)
        return same and self._has_calls(item)

    def _has_calls(self, item: dict[str, Any]) -> bool:
        calls: list[dict[str, Any]] = item.get("toolCalls") or []
        told = [(call.get("id"), call.get("name"), _read(call.get("arguments"))) for call in calls]
        return told == [(call.id, call.name, json.loads(call.arguments)) for call in self.calls]

    def end(self) -> dict[str, Any]:
        """What the end of a stream tells."""
        reason = "tool_calls" if self.calls else "stop"
        end: dict[str, Any] = {"finishReason": reason, "cost": 0.002}
        if self.usage:
            end["usage"] = {"promptTokens": 7, "completionTokens": len(self.deltas)}
        return end

    def items(self) -> list[dict[str, Any]]:
        """What is streamed, each without its envelope: as many as ``at`` has times."""
        items: list[dict[str, Any]] = [{"delta": delta} for delta in self.deltas]
        if self.last == "marked":
            items[-1].update(self.end())
        elif self.last == "fields":
            items[-1] = {**self.deltas[-1], **self.end()}
        elif self.last == "separate":
            items.append({"delta": {}, **self.end()})
        elif self.last == "bare":
            items.append(self.end())
        elif self.last == "whole":
            items.append(self.whole())
        return items


def _read(arguments: Any) -> Any:
    """Arguments as an object, or as JSON text."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def _split(rng: Random, text: str) -> list[str]:
    """``text`` in pieces, cut at random places; some may be empty."""
    cuts = sorted(rng.randint(0, len(text)) for _ in range(rng.choice((0, 1, 3, 8))))
    return [text[begin:end] for begin, end in pairwise((0, *cuts, len(text)))]


def _words(rng: Random, begin: str) -> str:
    """Text in which no two places look alike, or in which all do."""
    if rng.random() < 0.3:
        return begin + "ha" * rng.randint(1, 30)
    return begin + "".join(f" {number}ü✓" for number in range(rng.randint(0, 25)))


def _arguments(rng: Random, number: int) -> str:
    separators = rng.choice(((", ", ": "), (",", ":")))
    value = {"city": f"Zürich {number}", "n": number, "deep": {"list": [1, 2.5, None, "]}"]}}
    return json.dumps(value if rng.random() < 0.8 else {}, separators=separators)


def _pieces_of_calls(rng: Random, calls: tuple[Call, ...]) -> list[dict[str, Any]]:
    """Deltas of the calls: one after the other, or some of several in one."""
    pieces: list[list[dict[str, Any]]] = []
    for index, call in enumerate(calls):
        parts = _split(rng, call.arguments)
        named = {"index": index, "id": call.id, "name": call.name, "arguments": parts[0]}
        mine = [named, *({"index": index, "arguments": part} for part in parts[1:])]
        if pieces and rng.random() < 0.3:
            pieces[-1] += mine[:1]
            mine = mine[1:]
        pieces += [[piece] for piece in mine]
    return [{"toolCalls": piece} for piece in pieces]


def _deltas(
    rng: Random, text: str, reasoning: str, calls: tuple[Call, ...]
) -> tuple[dict[str, Any], ...]:
    """Reasoning, then text, then calls; the first of the text may share a delta."""
    deltas: list[dict[str, Any]] = [{}] if rng.random() < 0.2 else []
    if reasoning:
        deltas += [{"reasoningContent": piece} for piece in _split(rng, reasoning)]
    if text or not calls:
        pieces: list[dict[str, Any]] = [{"text": piece} for piece in _split(rng, text)]
        if deltas and rng.random() < 0.3:
            pieces[0] = {**deltas.pop(), **pieces[0]}
        deltas += pieces
    return (*deltas, *_pieces_of_calls(rng, calls))


def _last(rng: Random, text: str, deltas: tuple[dict[str, Any], ...]) -> str:
    if rng.random() < 0.08:
        return "unmarked"
    last = rng.choice(LASTS + LASTS_AS_FIELDS)
    piece = deltas[-1].get("text", "")
    before = text.removesuffix(piece)
    if last == "fields" and (not piece or (before and piece.startswith(before))):
        # It would look like the end alone, or like the whole.
        return "bare"
    return last


def draw_stream(rng: Random, uuid: str, scale: float) -> StreamPlan:
    """A stream that takes ``scale`` seconds at most."""
    text = _words(rng, f"{uuid}#") if rng.random() < 0.9 else ""
    reasoning = _words(rng, "hm") if rng.random() < 0.4 else ""
    calls: tuple[Call, ...] = ()
    if rng.random() < 0.3:
        calls = tuple(
            Call(f"call-{number}", rng.choice(("weather", "search")), _arguments(rng, number))
            for number in range(rng.randint(1, 3))
        )
    deltas = _deltas(rng, text, reasoning, calls)
    last = _last(rng, text, deltas)
    count = len(deltas) + (last in ("separate", "bare", "whole"))
    times = sorted(scale * rng.random() for _ in range(count))
    if rng.random() < 0.2:
        times = [times[-1]] * count
    return StreamPlan(
        text=text,
        reasoning=reasoning,
        calls=calls,
        deltas=deltas,
        at=tuple(times),
        pushes=rng.random() < 0.8,
        last=last,
        usage=rng.random() < 0.5,
        objects=rng.random() < 0.5,
        enveloped=rng.random() < 0.5,
        nameless=rng.random() < 0.3,
        mixed=rng.random() < 0.2,
        ends_open=rng.random() < 0.1,
        fails_after=rng.randint(0, count - 1),
    )
