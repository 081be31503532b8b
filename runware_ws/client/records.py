"""The records of a client's tasks: made of what the verbs are given, once that was checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runware_ws._checks import seconds
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.durations import Durations
from runware_ws._core.tasks.record import FOREVER, SOCKET, Carrier, TaskRecord
from runware_ws.client.recovered import keyed_of, polled
from runware_ws.client.tasks import Task, validate_stream, validate_whole
from runware_ws.config import Config
from runware_ws.journal.keeper import JournalKeeper
from runware_ws.journal.keys import Keyed
from runware_ws.journal.outcomes import task_in
from runware_ws.journal.store import Entry
from runware_ws.models import ValidatedTask, validate_task
from runware_ws.telemetry.metadata import checked_metadata

__all__ = ["UNSET", "RecordMaker", "Unset"]


class Unset:
    def __repr__(self) -> str:
        return "the client's own"


UNSET = Unset()


class RecordMaker:
    """Makes records. ``journal``: that of the client, for tasks with a key."""

    def __init__(self, config: Config) -> None:
        self._default = config.timeout
        self._usual = FOREVER if config.timeout is None else config.timeout
        self._durations = Durations()
        self.journal: JournalKeeper | None = None

    def limit(self, timeout: float | Unset | None) -> float | None:
        """Seconds for a whole task; ``None``: no limit.

        Raises:
            ConfigurationError: it is not a finite number above 0.
        """
        if isinstance(timeout, Unset):
            return self._default
        return seconds("timeout", timeout, none="no limit")

    def whole(
        self,
        task: Task,
        key: str | None,
        timeout: float | Unset | None,
        metadata: Mapping[str, str] | None,
        now: float,
        waiter: Any = None,
        watched: bool = False,
    ) -> TaskRecord:
        """The record of a task whose answer is read as a whole."""
        # Nearly every task has the client's own limit, so that is added here.
        deadline = now + self._usual if timeout is UNSET else self._deadline(timeout, now)
        told = None if metadata is None else checked_metadata(metadata)
        if key is None:
            valid, entry = validate_whole(task), None
        else:
            valid = validate_whole(polled(task))
            entry = keyed_of(valid, key, self.journal)
        return self._record(valid, deadline, now, entry, told, waiter, watched)

    def stream(
        self,
        task: Task,
        key: str | None,
        timeout: float | Unset | None,
        metadata: Mapping[str, str] | None,
        now: float,
        *,
        deltas: Deltas,
        carrier: Carrier,
    ) -> TaskRecord:
        """The record of a task whose answer is read as a stream."""
        valid = validate_stream(task)
        deadline = self._deadline(timeout, now)
        entry = None if key is None else keyed_of(valid, key, self.journal)
        told = checked_metadata(metadata)
        return self._record(valid, deadline, now, entry, told, None, True, deltas, carrier)

    def adopted(self, entry: Entry, keyed: Keyed | None, now: float) -> TaskRecord:
        """The record of a task that a dead client left."""
        valid = validate_task(task_in(entry) or {})
        return self._record(valid, self._deadline(UNSET, now), now, keyed)

    def _deadline(self, timeout: float | Unset | None, now: float) -> float:
        limit = self.limit(timeout)
        return FOREVER if limit is None else now + limit

    def _record(
        self,
        valid: ValidatedTask,
        deadline: float,
        now: float,
        entry: Keyed | None,
        metadata: Mapping[str, str] | None = None,
        waiter: Any = None,
        watched: bool = False,
        deltas: Deltas | None = None,
        carrier: Carrier = SOCKET,
    ) -> TaskRecord:
        return TaskRecord(
            valid.uuid,
            valid.task_type,
            valid.payload,
            valid.delivery,
            valid.number_results,
            deadline,
            self._durations.of((valid.task_type, valid.model, valid.delivery)),
            watched,
            deltas,
            carrier,
            waiter,
            entry,
            valid.model,
            metadata,
            now,
        )
