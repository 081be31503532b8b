"""From a message to the tasks it speaks of.

What the server says is tolerated whatever it is: nothing here raises, a
foreign or broken item changes no unrelated task, and an error goes to a task
only where it provably belongs there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from runware_ws._core import failures, wire
from runware_ws._core.connection.connection import Connection
from runware_ws._core.context import Context
from runware_ws._core.inbound.meaning import (
    RESULT,
    Meaning,
    archived,
    fresh_items,
    meaning,
    meaning_for,
)
from runware_ws._core.recovery.recovery import Recovery, is_answer_to_question
from runware_ws._core.states import DONE, ConnectionState, TaskState
from runware_ws._core.tasks.record import GROUND, TaskRecord
from runware_ws._core.tasks.table import TaskTable
from runware_ws.errors import RunwareError, StreamInterrupted
from runware_ws.events import MalformedFrame, ServerNotice
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.results import RecoveredBy
from runware_ws.models.wire_errors import WireError, parse_errors, parse_item_error

__all__ = ["Router"]


class End(Protocol):
    """Ends a task (the core's)."""

    def __call__(
        self,
        record: TaskRecord,
        state: TaskState,
        now: float,
        error: RunwareError | None = None,
    ) -> None: ...


class Router:
    """Reads messages of the current socket."""

    def __init__(
        self,
        out: Context,
        table: TaskTable,
        recovery: Recovery,
        connection: Connection,
        *,
        redact: Callable[[str], str],
        end: End,
    ) -> None:
        self._out = out
        self._table = table
        self._recovery = recovery
        self._connection = connection
        self._redact = redact
        self._end = end

    def receive(self, data: bytes | str, now: float) -> None:
        """Take one message in. Never raises, whatever it holds."""
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        counters = self._out.counters
        counters.frames_in += 1
        counters.bytes_in += len(data)
        try:
            frame = wire.decode(data)
        except wire.MalformedFrameError as exc:
            self._malformed(str(exc), data, now)
            return
        items = frame.get("data")
        if items is not None:
            if type(items) is not list:
                items = [items]
            self._items(cast("list[Any]", items), data, now)
        if "errors" in frame or "error" in frame:
            self._errors(frame, now)
        elif items is None:
            self._malformed("neither data nor errors", data, now)

    # Items

    def _items(self, items: list[Any], data: bytes, now: float) -> None:
        broken = False
        tasks = self._table.tasks
        groups: dict[str, list[dict[str, Any]]] | None = None
        size = len(data) // (len(items) or 1)
        for item in items:
            if item.__class__ is not dict:
                broken = True
                continue
            uuid = item.get("taskUUID")
            if type(uuid) is not str:
                self._connection.control_item(item, now)
                continue
            record = tasks.get(uuid)
            if record is None:
                uuid = uuid.lower()
                record = tasks.get(uuid)
                if record is None:
                    self._stray(uuid, item, size, now)
                    continue
            ladder = record.ladder
            if record.expected == 1 and ladder.question is None:
                means = meaning_for(record, item)
                if means is RESULT and ladder is GROUND and record.deltas is None:
                    self._straight(record, item, now)
                else:
                    self._item(record, item, means, now)
            else:
                # The results of one task in one frame are judged together.
                if groups is None:
                    groups = {}
                groups.setdefault(uuid, []).append(item)
        if groups is not None:
            for uuid, group in groups.items():
                record = tasks.get(uuid)
                if record is not None:
                    self._group(record, group, now)
        if broken:
            self._malformed("an item is not an object", data, now)

    def _straight(self, record: TaskRecord, item: dict[str, Any], now: float) -> None:
        """The answer to a task that was never on the ladder: most are, so this way is short."""
        connection = self._connection
        connection.progress()
        record.items = [item]
        if record.generation != connection.generation:
            record.recovered_by = RecoveredBy.REPLAY
        elif record.sends == 1 and record.expectation is not None:
            record.expectation.observe(now - record.written_at)
        self._table.note(record)
        self._end(record, DONE, now)

    def _stray(self, uuid: str, item: dict[str, Any], size: int, now: float) -> None:
        if item.get("taskType") in ("authentication", "ping"):
            self._connection.control_item(item, now)
            return
        if self._table.end_of(uuid) is not None:
            # A copy of something of ours: this socket does work.
            self._connection.progress()
        means = meaning(item)
        if means is Meaning.RESULT:
            self._table.stray(uuid, item, size, now)
        elif means is Meaning.ARCHIVE:
            for result in archived(item)[0]:
                self._table.stray(uuid, result, size, now)

    def _group(self, record: TaskRecord, items: list[dict[str, Any]], now: float) -> None:
        results: list[dict[str, Any]] = []
        others: list[tuple[dict[str, Any], Meaning]] = []
        for item in items:
            means = meaning_for(record, item)
            if means is Meaning.RESULT:
                results.append(item)
            else:
                others.append((item, means))
        if results:
            self._results(record, results, now, polled=record.ladder.question is not None)
        for item, means in others:
            if record.ended:
                return
            self._item(record, item, means, now)

    def _item(self, record: TaskRecord, item: dict[str, Any], means: Meaning, now: float) -> None:
        if means is Meaning.RESULT:
            self._results(record, [item], now, polled=record.ladder.question is not None)
        elif means is Meaning.ARCHIVE:
            self._archive(record, item, now)
        elif means is Meaning.DELTA:
            self._piece(record, item, now)
        elif means is Meaning.ERROR:
            # Where only the status says so, the item itself is all there is to tell.
            item = _redacted(item, self._redact)
            error = parse_item_error(item) or parse_item_error({**item, "status": "error"})
            assert error is not None
            if error.family in (ErrorFamily.NOT_FOUND, ErrorFamily.CONFLICT):
                self._task_error(record, error, now)
            else:
                self._fail_task(record, error, now)
        else:
            self._note(record, item, means, now)

    def _note(self, record: TaskRecord, item: dict[str, Any], means: Meaning, now: float) -> None:
        """A receipt, or word that the task is still running."""
        first = not record.ladder.confirmed
        self._recovery.still_running(record, now)
        if record.state is TaskState.WRITTEN:
            record.move(TaskState.ACKNOWLEDGED)
        if first and record.delivery not in ("sync", "stream"):
            self._recovery.watch_async(record, now)
        if means is Meaning.PROGRESS and item != record.ladder.progress:
            record.climb().progress = item
            self._table.note(record)

    def _piece(self, record: TaskRecord, item: dict[str, Any], now: float) -> None:
        """The next piece of a stream."""
        self._connection.progress()
        self._recovery.still_running(record, now)
        if record.state is TaskState.WRITTEN:
            record.move(TaskState.ACKNOWLEDGED)
        pieces = record.deltas
        if pieces is None:
            # Nobody asked for pieces: a sign of life.
            return
        if record.ladder.disturbed or record.generation != self._connection.generation:
            pieces.suspended = True
        last = pieces.add(item, now)
        if pieces.suspended:
            if last:
                # It is done there, so the archive has the whole of it, now or in a moment.
                self._recovery.ask_now(record, now)
            return
        self._table.note(record)
        if last:
            record.items = [*record.items, pieces.whole()]
            self._end(record, TaskState.DONE, now)

    def _results(
        self, record: TaskRecord, items: list[dict[str, Any]], now: float, *, polled: bool
    ) -> None:
        if polled and record.delivery == "async":
            source = RecoveredBy.POLL
        else:
            source = self._recovery.source(record, self._connection.generation)
            polled = False
        self._accept(record, items, source, now, listing=polled)

    def _accept(
        self,
        record: TaskRecord,
        items: list[dict[str, Any]],
        source: RecoveredBy,
        now: float,
        *,
        listing: bool,
    ) -> None:
        """Take the items that are new; the task ends when all of its results are here."""
        self._connection.progress()
        if record.deltas is not None and not record.deltas.complete(items[0], now):
            text = record.deltas.text()
            error = StreamInterrupted(
                "the stream was cut, and the whole answer does not begin with what had arrived",
                text=text,
                task_uuid=record.uuid,
            )
            self._end(record, TaskState.FAILED, now, error)
            return
        if record.expected == 1:
            fresh = items[:1]
        else:
            fresh = fresh_items(record, items, listing=listing)
            self._out.counters.duplicates += len(items) - len(fresh)
        if fresh:
            record.items = [*record.items, *fresh][: record.expected]
            record.came_by(source)
            self._table.note(record)
        if len(record.items) >= record.expected:
            self._learn(record, source, now)
            self._end(record, TaskState.DONE, now)
            return
        self._recovery.still_running(record, now)
        if record.state is TaskState.WRITTEN:
            record.move(TaskState.ACKNOWLEDGED)
        if len(fresh) < len(items) and record.delivery == "sync":
            # A copy, or a twin that only the archive can tell from one.
            self._recovery.ask_soon(record, now)

    def _learn(self, record: TaskRecord, source: RecoveredBy, now: float) -> None:
        expectation = record.expectation
        if expectation is None or record.sends != 1:
            # Without one known beginning there is no duration.
            return
        if source is RecoveredBy.LIVE:
            expectation.observe(now - record.written_at)
        elif source is RecoveredBy.POLL and not record.ladder.disturbed:
            expectation.done(record.ladder.asked_at - record.written_at, record.ladder.polls)

    def _archive(self, record: TaskRecord, item: dict[str, Any], now: float) -> None:
        results, errors = archived(item)
        if results:
            record.climb().confirmed = True
            self._accept(record, results, RecoveredBy.ARCHIVE, now, listing=True)
        elif not errors:
            if item.get("request"):
                self._recovery.still_running(record, now)
            else:
                # It names the task and knows nothing of it.
                self._recovery.denied(record, ErrorFamily.NOT_FOUND, now)
        if errors and not record.ended:
            told = {"taskUUID": record.uuid, "errors": errors}
            error = parse_item_error(_redacted(told, self._redact))
            if error is not None:
                self._fail_task(record, error, now)

    # Errors

    def _errors(self, frame: dict[str, Any], now: float) -> None:
        authenticating = self._connection.state is ConnectionState.AUTHENTICATING
        told = {key: value for key, value in frame.items() if key != "data"}
        for error in parse_errors(_redacted(told, self._redact)):
            if error.task_type == "authentication" or (
                authenticating and error.task_uuid is None and error.task_type is None
            ):
                if authenticating:
                    # One refusal to a frame: a second one speaks of the same try.
                    authenticating = False
                    self._connection.authentication_refused(error, now)
                continue
            record = None
            if error.task_uuid is not None:
                record = self._table.tasks.get(error.task_uuid)
            else:
                record = self._only_suspect(error)
            if record is not None:
                self._task_error(record, error, now)
            elif error.task_uuid is None or self._table.end_of(error.task_uuid) is None:
                self._out.counters.notices += 1
                self._out.emit(ServerNotice(at=now, code=error.code, message=error.message))

    def _task_error(self, record: TaskRecord, error: WireError, now: float) -> None:
        """The server says an error about a task, or about a question about it."""
        self._connection.progress()
        ladder = record.ladder
        if error.family is ErrorFamily.CONFLICT and (
            record.sends > 1 or ladder.disturbed or ladder.confirmed or ladder.reused
        ):
            self._recovery.receipt(record, now)
        elif not is_answer_to_question(record, error) or self._recovery.denied(
            record, error.family, now
        ):
            self._fail_task(record, error, now)

    def _fail_task(self, record: TaskRecord, error: WireError, now: float) -> None:
        record.climb().confirmed = True
        self._end(record, TaskState.FAILED, now, failures.task_error(error, record))

    def _only_suspect(self, error: WireError) -> TaskRecord | None:
        """The task that an error without a taskUUID provably belongs to, if there is one.

        It names its type of task, and in this session there was never anything else
        that it can be about: one socket, one task, written once, and no question.
        """
        tasks = self._table.tasks
        if len(tasks) != 1 or self._connection.tasks_written != 1 or self._connection.resumed:
            return None
        record = next(iter(tasks.values()))
        ladder = record.ladder
        mine = (
            record.generation == self._connection.generation
            and not (ladder.disturbed or ladder.confirmed or ladder.asks)
            and error.task_type == record.task_type
        )
        return record if mine else None

    def _malformed(self, reason: str, data: bytes, now: float) -> None:
        counters = self._out.counters
        counters.malformed += 1
        sample = wire.sample(data, self._redact)
        self._out.emit(
            MalformedFrame(at=now, reason=reason, sample=sample, count=counters.malformed)
        )


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """The same value with ``redact`` applied to every string in it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: _redacted(entry, redact) for key, entry in items}
    if isinstance(value, list):
        return [_redacted(entry, redact) for entry in cast("list[Any]", value)]
    return value
