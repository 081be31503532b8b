"""Turns the deltas of an answer into the events of a Messages stream. Pure: no I/O, no waiting.

The order is that of the shape: ``message_start``; for each block ``content_block_start``,
``content_block_delta``, ``content_block_stop``; ``message_delta`` with the stop reason and the
counts; ``message_stop``. Only one block is open at a time, and no call is closed half-way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from runware_ws.errors import ProtocolError
from runware_ws.messages.objects import (
    ContentBlock,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    EndDelta,
    InputJsonDelta,
    Message,
    MessageDeltaEvent,
    MessageEvent,
    MessageStartEvent,
    MessageStopEvent,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
)
from runware_ws.messages.request import DEFAULT_MODEL
from runware_ws.messages.response import message_id, stop_reason, usage_of
from runware_ws.messages.tools import tool_id
from runware_ws.models.delta import Delta, ToolCallPiece
from runware_ws.models.jsonable import encode_json, is_object, load_json
from runware_ws.models.results import Result
from runware_ws.models.usage import Usage as RunwareUsage

__all__ = ["Delta", "EventBuilder", "ToolCallPiece", "delta_of", "events_of", "events_of_result"]


def delta_of(result: Result) -> Delta:
    """A whole result as one delta."""
    return Delta(
        text=result.text,
        reasoning=result.reasoning_content,
        tool_calls=tuple(
            ToolCallPiece(number, call.id, call.name, encode_json(call.arguments).decode("utf-8"))
            for number, call in enumerate(result.tool_calls or ())
        ),
        finish_reason=result.finish_reason,
        usage=result.usage,
    )


@dataclass(slots=True)
class _Tool:
    """A tool call in progress. ``sent``: how many of its ``pieces`` went out."""

    index: int
    id: str | None = None
    name: str | None = None
    pieces: list[str] = field(default_factory=list[str])
    sent: int = 0
    closed: bool = False

    def whole(self) -> bool:
        """Whether the arguments are already a whole object, so that nothing can follow."""
        # Most deltas do not end an object, and parsing everything again each time would be slow.
        return (
            self.name is not None
            and bool(self.pieces)
            and self.pieces[-1].rstrip().endswith("}")
            and is_object(_read("".join(self.pieces)))
        )


class EventBuilder:
    """Turns deltas into events, and keeps the message that they add up to.

    Feed it with :meth:`feed`, then call :meth:`finish` once; both return the events that follow.
    ``message()`` is the answer so far, and after the end the whole answer. For a stream that was
    cut, do not call :meth:`finish`.
    """

    def __init__(self, task_uuid: str, model: str = DEFAULT_MODEL) -> None:
        self.task_uuid = task_uuid
        self._model = model
        self._started = False
        self._finished = False
        self._content: list[ContentBlock] = []
        self._pieces: list[str] = []
        self._open: Literal["text", "thinking", "tool_use"] | None = None
        self._tool: _Tool | None = None
        self._tools: dict[int, _Tool] = {}
        self._waiting: list[tuple[Literal["text", "thinking"], str]] = []
        self._broken: ProtocolError | None = None
        self._finish_reason: str | None = None
        self._usage: RunwareUsage | None = None

    def feed(self, delta: Delta) -> list[MessageEvent]:
        """The events for one delta; the first call also starts the message.

        Raises:
            ProtocolError: a piece came for a tool call whose block is closed. The message can
                then neither go on nor be finished.
            RuntimeError: the message is already finished.
        """
        self._check()
        events = self._start()
        if delta.reasoning:
            events += self._flow("thinking", delta.reasoning)
        if delta.text:
            events += self._flow("text", delta.text)
        for piece in delta.tool_calls:
            events += self._tool_piece(piece)
        if self._waiting and delta.tool_calls:
            events += self._flow_waiting()
        self._finish_reason = delta.finish_reason or self._finish_reason
        self._usage = delta.usage or self._usage
        return events

    def finish(self) -> list[MessageEvent]:
        """The events that end the message.

        Only for the true end of the answer. The rest of its calls goes out as it is, even if
        the model stopped in the middle of one or did not write JSON.

        Raises:
            ProtocolError: as :meth:`feed` raised before.
            RuntimeError: the message is already finished.
        """
        self._check()
        events = [*self._start(), *self._flush_tools(), *self._flow_waiting(), *self._close()]
        self._finished = True
        message = self.message()
        end = EndDelta(stop_reason=message.stop_reason, stop_sequence=None)
        return [
            *events,
            MessageDeltaEvent(type="message_delta", delta=end, usage=message.usage),
            MessageStopEvent(type="message_stop"),
        ]

    def message(self) -> Message:
        """The message that the events add up to so far. It has no ``runware``."""
        tools = any(block["type"] == "tool_use" for block in self._content)
        content = list(self._content)
        if self._open is not None:
            content[-1] = self._whole(content[-1])
        return Message(
            id=message_id(self.task_uuid),
            type="message",
            role="assistant",
            content=content,
            model=self._model,
            stop_reason=stop_reason(self._finish_reason, tool_calls=tools)
            if self._finished
            else None,
            stop_sequence=None,
            usage=usage_of(self._usage),
        )

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._finished:
            raise RuntimeError("the message is finished")

    # Blocks

    def _start(self) -> list[MessageEvent]:
        if self._started:
            return []
        self._started = True
        message = self.message()
        message["usage"] = Usage(input_tokens=0, output_tokens=0)  # reported at the end
        return [MessageStartEvent(type="message_start", message=message)]

    def _begin(self, block: ContentBlock) -> list[MessageEvent]:
        events = self._close()
        self._content.append(block)
        self._open = block["type"]
        # A copy with its own input, because code that accumulates events writes into the block.
        first = type(block)(block)
        if isinstance(first, ToolUseBlock):
            first.input = {}
        return [
            *events,
            ContentBlockStartEvent(
                type="content_block_start", index=len(self._content) - 1, content_block=first
            ),
        ]

    def _delta(self, delta: TextDelta | ThinkingDelta | InputJsonDelta, piece: str) -> MessageEvent:
        self._pieces.append(piece)
        index = len(self._content) - 1
        return ContentBlockDeltaEvent(type="content_block_delta", index=index, delta=delta)

    def _close(self) -> list[MessageEvent]:
        if self._open is None:
            return []
        self._content[-1] = self._whole(self._content[-1])
        self._pieces.clear()
        self._open = None
        if self._tool is not None:
            self._tool.closed = True
            self._tool = None
        return [ContentBlockStopEvent(type="content_block_stop", index=len(self._content) - 1)]

    def _whole(self, block: ContentBlock) -> ContentBlock:
        text = "".join(self._pieces)
        if block["type"] == "text":
            return TextBlock(block, text=text)
        if block["type"] == "thinking":
            return ThinkingBlock(block, thinking=text)
        return ToolUseBlock(block, input=_input(text))

    # Text and reasoning

    def _flow(self, kind: Literal["text", "thinking"], piece: str) -> list[MessageEvent]:
        if self._waiting or not self._calls_are_whole():
            self._waiting.append((kind, piece))
            return []
        events: list[MessageEvent] = []
        if self._open != kind:
            events += self._flush_tools()
            if kind == "text":
                events += self._begin(TextBlock(type="text", text=""))
            else:
                events += self._begin(ThinkingBlock(type="thinking", thinking="", signature=""))
        delta = (
            TextDelta(type="text_delta", text=piece)
            if kind == "text"
            else ThinkingDelta(type="thinking_delta", thinking=piece)
        )
        return [*events, self._delta(delta, piece)]

    def _flow_waiting(self) -> list[MessageEvent]:
        """The deltas that had to wait for the end of a call, if all calls are whole now."""
        if not self._calls_are_whole():
            return []
        waiting, self._waiting = self._waiting, []
        return [event for kind, piece in waiting for event in self._flow(kind, piece)]

    # Tool calls. Pieces of several calls may come mixed, but only one block is open at a time. So
    # the first call flows, and the others are held back until other content comes or the answer
    # ends. Other content waits until all calls are whole, because a closed block gets no more.

    def _tool_piece(self, piece: ToolCallPiece) -> list[MessageEvent]:
        tool = self._tools.setdefault(piece.index, _Tool(piece.index))
        if tool.closed:
            if not piece.arguments.strip():
                return []
            self._broken = ProtocolError(
                "a piece of a tool call came after its end", task_uuid=self.task_uuid
            )
            raise self._broken
        tool.id = tool.id or piece.id
        tool.name = piece.name if tool.name is None else tool.name
        # Readers of the events parse what they have, and white space alone is not JSON.
        arguments = piece.arguments if tool.pieces else piece.arguments.lstrip()
        tool.pieces += [arguments] if arguments else []
        return self._release(tool) if self._tool in (None, tool) else []

    def _release(self, tool: _Tool) -> list[MessageEvent]:
        """Send the held pieces of a call; open its block first if necessary."""
        if tool.name is None:
            return []
        events: list[MessageEvent] = []
        if self._tool is not tool:
            identity = tool.id or tool_id(self.task_uuid, tool.index)
            events += self._begin(
                ToolUseBlock(type="tool_use", id=identity, name=tool.name, input={})
            )
            self._tool = tool
        held = tool.pieces[tool.sent :]
        tool.sent = len(tool.pieces)
        for piece in held:
            delta = InputJsonDelta(type="input_json_delta", partial_json=piece)
            events.append(self._delta(delta, piece))
        return events

    def _calls_are_whole(self) -> bool:
        return all(tool.closed or tool.whole() for tool in self._tools.values())

    def _flush_tools(self) -> list[MessageEvent]:
        """End all calls. A call whose name never came is left out, as in a whole result."""
        events = self._close() if self._tool is not None else []
        for _, tool in sorted(self._tools.items()):
            if not tool.closed and tool.name is not None:
                events += [*self._release(tool), *self._close()]
            tool.closed = True
            tool.pieces.clear()
        return events


def _read(text: str) -> Any:
    try:
        return load_json(text)
    except ValueError:
        return None


def _input(text: str) -> dict[str, Any]:
    value = _read(text)
    return value if is_object(value) else {}


def events_of(
    deltas: Iterable[Delta], task_uuid: str, model: str = DEFAULT_MODEL
) -> Iterator[MessageEvent]:
    """All events for an answer in deltas. Raises what ``EventBuilder`` raises."""
    builder = EventBuilder(task_uuid, model)
    for delta in deltas:
        yield from builder.feed(delta)
    yield from builder.finish()


def events_of_result(result: Result, model: str = DEFAULT_MODEL) -> Iterator[MessageEvent]:
    """All events for a whole result, for code that must stream an answer that it already has."""
    return events_of([delta_of(result)], result.task_uuid, model)
