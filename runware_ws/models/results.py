"""What the server answered, read lazily and tolerantly.

Results are made on the hot path, thousands a second. So a new one only keeps the decoded objects,
and attributes read them on demand. The seed calls the response structure unknown: every field that
arrives stays in ``raw``, and a known field of a wrong type reads as ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from operator import itemgetter
from typing import Any, Self

from runware_ws.models.jsonable import is_object
from runware_ws.models.timing import UNTIMED, Moments, Timing
from runware_ws.models.tool_calls import ToolCall, parse_tool_calls
from runware_ws.models.usage import Usage

__all__ = ["RecoveredBy", "Result", "ResultItem", "in_order", "result_index"]


class RecoveredBy(StrEnum):
    """How a result came.

    ``LIVE``: over the socket that sent the task. ``REPLAY``: over a later socket of the same
    session. ``POLL``: by ``getResponse``. ``ARCHIVE``: by ``getTaskDetails``. ``RESUBMIT``: the
    task had never arrived and was sent again. ``JOURNAL``: it was recorded by an earlier use of
    the same idempotency key.
    """

    LIVE = "live"
    REPLAY = "replay"
    POLL = "poll"
    ARCHIVE = "archive"
    RESUBMIT = "resubmit"
    JOURNAL = "journal"


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def result_index(item: Mapping[str, Any]) -> int | None:
    """The number of a result. One copy may tell it as text, and another as a number."""
    index = item.get("resultIndex")
    if isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 10:
        return int(index)
    if isinstance(index, float) and index.is_integer():
        return int(index)
    return _int(index)


def in_order(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Raw results in the order of their ``resultIndex``; as they came if one of them has none."""
    indices = [result_index(item) for item in items]
    known = [index for index in indices if index is not None]
    if len(known) < len(items) or known == sorted(known):
        return items
    return [item for _, item in sorted(zip(known, items, strict=True), key=itemgetter(0))]


class ResultItem:
    """One item of a result: a view of the object that the server sent.

    ``raw`` is that object, not a copy: do not change it. ``item["key"]``, ``item.get("key")`` and
    ``"key" in item`` read it directly. Attributes are ``None`` if the server sent nothing or
    something of another type. Field names: observed, unless said otherwise.
    """

    __slots__ = ("raw",)

    raw: dict[str, Any]

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw

    @property
    def task_uuid(self) -> str | None:
        """The task's UUID (seed), in lower case."""
        uuid = _str(self.raw.get("taskUUID"))
        return None if uuid is None else uuid.lower()

    @property
    def task_type(self) -> str | None:
        """The task's type (seed)."""
        return _str(self.raw.get("taskType"))

    @property
    def text(self) -> str | None:
        """The generated text; ``None`` if there is none (an image, a bare tool call)."""
        return _str(self.raw.get("text"))

    @property
    def finish_reason(self) -> str | None:
        """``stop``, ``length``, ``content_filter``, ``unknown``; others may come."""
        return _str(self.raw.get("finishReason"))

    @property
    def reasoning_content(self) -> str | None:
        """The model's reasoning, if the server shows it."""
        return _str(self.raw.get("reasoningContent"))

    @property
    def usage(self) -> Usage | None:
        """Token counts; they come with ``includeUsage``."""
        usage = self.raw.get("usage")
        return Usage(usage) if is_object(usage) else None

    @property
    def cost(self) -> float | None:
        """The price of this item in US dollars; it comes with ``includeCost``."""
        return _number(self.raw.get("cost"))

    @property
    def result_index(self) -> int | None:
        """The number of this item among the task's results, also where the server writes text."""
        return result_index(self.raw)

    @property
    def status(self) -> str | None:
        """``processing``, ``success`` or ``error`` of a polled item (documented)."""
        return _str(self.raw.get("status"))

    @property
    def progress(self) -> float | None:
        """0 to 100, of a polled item that is not done (documented)."""
        return _number(self.raw.get("progress"))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...] | None:
        """The tools that the model wants called; ``None`` if it wants none. Shape: unsure."""
        return parse_tool_calls(self.raw.get("toolCalls"))

    @property
    def delta_text(self) -> str | None:
        """The text of a streamed item's delta (documented for REST)."""
        return self._delta("text")

    @property
    def delta_reasoning(self) -> str | None:
        """The reasoning of a streamed item's delta (documented for REST)."""
        return self._delta("reasoningContent")

    def _delta(self, key: str) -> str | None:
        delta = self.raw.get("delta")
        return _str(delta.get(key)) if is_object(delta) else None

    def __getitem__(self, key: str) -> Any:
        return self.raw[key]

    def __contains__(self, key: object) -> bool:
        return key in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def get(self, key: str, default: Any = None) -> Any:
        """Return ``raw[key]``, or ``default`` if the server did not send it."""
        return self.raw.get(key, default)

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, ResultItem) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal by mutable content

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, Any]]]:
        return type(self), (self.raw,)

    def __repr__(self) -> str:
        return f"ResultItem({_brief(self.text)}, keys={sorted(map(str, self.raw))})"


def _brief(text: str | None) -> str:
    if text is None or len(text) <= 60:
        return f"text={text!r}"
    return f"text={text[:57] + '…'!r} ({len(text)} characters)"


class Result:
    """The whole answer to one task.

    ``text``, ``finish_reason``, ``reasoning_content`` and ``tool_calls`` are those of the first
    item; with ``numberResults`` above 1 look at ``items``. ``usage`` and ``cost`` are **sums over
    all items**: what the task cost.

    ``raw`` holds the objects as they came. They are in the order of their ``result_index`` if all
    have one, otherwise in the order of arrival, which means nothing. They are not copies: do not
    change them.

    ``timing`` does not count where results are compared.
    """

    __slots__ = ("_items", "_moments", "raw", "recovered_by", "task_uuid")

    task_uuid: str
    raw: list[dict[str, Any]]
    recovered_by: RecoveredBy

    def __init__(
        self,
        task_uuid: str,
        raw: list[dict[str, Any]],
        recovered_by: RecoveredBy = RecoveredBy.LIVE,
        moments: Moments = UNTIMED,
    ) -> None:
        self.task_uuid = task_uuid
        self.raw = raw if len(raw) < 2 else in_order(raw)
        self.recovered_by = recovered_by
        self._moments = moments
        self._items: tuple[ResultItem, ...] | None = None

    @property
    def items(self) -> tuple[ResultItem, ...]:
        """The items, in the order of ``raw``."""
        items = self._items
        if items is None or len(items) != len(self.raw):
            items = self._items = tuple(map(ResultItem, self.raw))
        return items

    @property
    def timing(self) -> Timing:
        """When the task was written, began to answer, and was done."""
        return Timing.of(self._moments)

    @property
    def text(self) -> str | None:
        """The text of the first item; ``None`` if there is none."""
        return _str(self.raw[0].get("text")) if self.raw else None

    @property
    def finish_reason(self) -> str | None:
        """Why the first item ended."""
        return self.items[0].finish_reason if self.raw else None

    @property
    def reasoning_content(self) -> str | None:
        """The reasoning of the first item."""
        return self.items[0].reasoning_content if self.raw else None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...] | None:
        """The tool calls of the first item."""
        return self.items[0].tool_calls if self.raw else None

    @property
    def usage(self) -> Usage | None:
        """Token counts, summed over all items that carry them; ``None`` if none does."""
        return Usage.total([u for item in self.items if (u := item.usage) is not None])

    @property
    def cost(self) -> float | None:
        """US dollars, summed over all items that carry a price; ``None`` if none does."""
        costs = [cost for item in self.items if (cost := item.cost) is not None]
        return math.fsum(costs) if costs else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        return (self.task_uuid, self.recovered_by, self.raw) == (
            other.task_uuid,
            other.recovered_by,
            other.raw,
        )

    __hash__ = None  # type: ignore[assignment]  # equal by mutable content

    def __reduce__(
        self,
    ) -> tuple[type[Self], tuple[str, Sequence[dict[str, Any]], RecoveredBy, Moments]]:
        return type(self), (self.task_uuid, self.raw, self.recovered_by, self._moments)

    def __repr__(self) -> str:
        return (
            f"Result(task_uuid={self.task_uuid!r}, items={len(self.raw)}, {_brief(self.text)}, "
            f"finish_reason={self.finish_reason!r}, cost={self.cost!r}, "
            f"recovered_by={self.recovered_by.value!r})"
        )
