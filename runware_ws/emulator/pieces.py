"""From an answer to its deltas, and from deltas to the whole answer. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from .options import EmulatorOptions
from .replies import Answer, Request, generated_item
from .tokens import TOKEN, arguments_text, calls_of, most_tokens

__all__ = ["DeltaScript", "cut_answer", "gather"]

_IN_DELTA = ("text", "reasoningContent", "toolCalls")


def _slices(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


def cut_answer(
    answer: Answer, options: EmulatorOptions, giant: int = 0
) -> Iterator[dict[str, Any]]:
    """The deltas of a whole answer: reasoning, text, tool calls, ``tokens_per_delta`` each.

    ``giant``: the last text delta pads the text to so many bytes.
    """
    fields: dict[str, Any] = {"text": answer} if isinstance(answer, str) else answer
    size = TOKEN * options.tokens_per_delta
    for piece in _slices(str(fields.get("reasoningContent") or ""), size):
        yield {"reasoningContent": piece}
    text = str(fields.get("text") or "")
    for piece in _slices(text, size):
        yield {"text": piece}
    if len(text) < giant:
        yield {"text": "x" * (giant - len(text))}
    calls = calls_of(fields)
    if options.stream_tool_calls == "whole" or not calls:
        if fields.get("toolCalls"):
            yield {"toolCalls": fields["toolCalls"]}
        return
    for index, call in enumerate(calls):
        yield from _cut_call(index, call, size)


def _cut_call(index: int, call: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
    nested = isinstance(call.get("function"), dict)
    source: dict[str, Any] = call["function"] if nested else call
    arguments = arguments_text(call)
    head = {**source, "arguments": ""}
    entry = {**call, "index": index, "function": head} if nested else {**head, "index": index}
    yield {"toolCalls": [entry]}
    for piece in _slices(arguments, size):
        more = {"arguments": piece}
        yield {"toolCalls": [{"index": index, **({"function": more} if nested else more)}]}


def gather(pieces: list[Any]) -> dict[str, Any]:
    """The whole answer that a script of pieces makes; see :class:`DeltaScript` for their forms."""
    fields: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    calls: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        delta, beside = _parts(piece)
        fields.update(beside)
        for name in ("text", "reasoningContent"):
            if name in delta:
                texts.setdefault(name, []).append(delta[name])
        for number, entry in enumerate(calls_of(delta)):
            given = dict(entry)
            index: int = given.pop("index", number)
            nested: dict[str, Any] | None = given.pop("function", None)
            call = calls.setdefault(index, {})
            if nested is None:
                _gather_call(call, given)
            else:
                call.update(given)
                _gather_call(call.setdefault("function", {}), nested)
    fields.update((name, "".join(found)) for name, found in texts.items())
    if calls:
        fields["toolCalls"] = [calls[index] for index in sorted(calls)]
    return fields


def _gather_call(call: dict[str, Any], given: dict[str, Any]) -> None:
    """Add a piece to a call: text goes on, anything else stands for all of it."""
    had, more = call.get("arguments", ""), given.get("arguments", "")
    both = isinstance(had, str) and isinstance(more, str)
    call.update(given, arguments=had + more if both else more or had)


def _parts(piece: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The delta of a piece, and what stands beside it in the item."""
    if isinstance(piece, str):
        return {"text": piece}, {}
    if not isinstance(piece, dict):
        raise TypeError(f"a delta is text or an object, not {type(piece).__name__}")
    fields = cast("dict[str, Any]", piece)
    if "delta" in fields:
        return fields["delta"], {name: v for name, v in fields.items() if name != "delta"}
    inside = {name: fields[name] for name in _IN_DELTA if name in fields}
    return inside, {name: v for name, v in fields.items() if name not in _IN_DELTA}


class DeltaScript:
    """Pieces in, wire items out.

    A piece is text; or the fields of a delta (``text``, ``reasoningContent``, ``toolCalls``); or
    an item with ``delta`` and what stands beside it (``finishReason``, ``usage``, ``cost``). The
    last item carries the reason why the answer ended, and usage and cost where the task asks.

    A whole answer has its limit already. The text of a script is cut where the task's limit of
    tokens is passed: :attr:`full` is set then, and no further piece is wanted.
    """

    def __init__(self, request: Request, answer: object, options: EmulatorOptions) -> None:
        self._request = request
        self._answer: Answer | None = answer if isinstance(answer, (str, dict)) else None
        self._options = options
        self._pieces: list[Any] = []
        self._held: dict[str, Any] | None = None
        self._whole: dict[str, Any] | None = None
        self._number = 0
        self._finished = False
        self.full = False
        most = most_tokens(request.task, options.default_max_tokens)
        self._left = None if most is None or self._answer is not None else most * TOKEN
        # Of a whole answer the last delta is known; a script's next piece may be long in coming.
        self._holds = self._answer is not None and options.stream_finish in (
            "with-last",
            "in-fields",
        )

    def feed(self, piece: Any) -> list[dict[str, Any]]:
        """The items that a piece makes ready."""
        delta, beside = _parts(piece)
        if self._left is not None and "text" in delta:
            text = str(delta["text"])
            if len(text) > self._left:
                self.full = True
                if self._left == 0:
                    return []
                delta = {**delta, "text": text[: self._left]}
                beside.pop("finishReason", None)
                piece = {**beside, "delta": delta}
            self._left -= len(delta["text"])
        self._pieces.append(piece)
        self._finished = self._finished or "finishReason" in beside
        item = {**self._head(), "delta": delta, **beside}
        if not self._holds:
            return [self._numbered(item)]
        ready, self._held = self._held, item
        return [] if ready is None else [self._numbered(ready)]

    def finish(self) -> list[dict[str, Any]]:
        """The last item, unless a piece brought the finish reason itself."""
        how = self._options.stream_finish
        if self._finished or how == "never":
            return []
        whole = self.whole()
        if how == "whole":
            return [self._numbered(dict(whole))]
        last = self._held or {**self._head(), "delta": {}}
        last.update({n: v for n, v in whole.items() if n not in _IN_DELTA and n not in last})
        last.setdefault("finishReason", "stop")
        if how == "in-fields":
            last.update(last.pop("delta"))
        return [self._numbered(last)]

    def whole(self) -> dict[str, Any]:
        """The whole result, as the archive has it. Only after the last piece."""
        if self._whole is not None:
            return self._whole
        fields = gather(self._pieces)
        if self._answer is not None:
            given = self._answer if isinstance(self._answer, dict) else {"text": self._answer}
            # The text may have been padded on its way.
            fields = {**given, **({"text": fields["text"]} if "text" in fields else {})}
        if self.full:
            fields["finishReason"] = "length"
        always = self._options.result_index == "always"
        self._whole = generated_item(self._request, fields, with_index=always)
        return self._whole

    def _head(self) -> dict[str, Any]:
        task = self._request.task
        return {"taskType": task["taskType"], "taskUUID": task["taskUUID"]}

    def _numbered(self, item: dict[str, Any]) -> dict[str, Any]:
        name = self._options.delta_sequence
        if name is not None:
            item[name] = self._number
        self._number += 1
        return item
