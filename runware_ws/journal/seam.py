"""What the keeper of a journal tells the core."""

from __future__ import annotations

from typing import Any, Protocol

from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import RunwareError

__all__ = ["JournaledCore"]


class JournaledCore(Protocol):
    """The inputs of ``SessionCore`` that are the journal's."""

    def knows(self, uuid: str) -> bool: ...

    def submit(self, record: TaskRecord) -> None: ...

    def entered(self, record: TaskRecord, now: float, *, known: bool = False) -> None: ...

    def rebind(self, record: TaskRecord, uuid: str, payload: bytes) -> None: ...

    def elsewhere(self, record: TaskRecord) -> None: ...

    def recorded(
        self, record: TaskRecord, uuid: str, items: list[dict[str, Any]], now: float
    ) -> None: ...

    def unrecorded(self, record: TaskRecord, error: RunwareError, now: float) -> None: ...

    def refuse(self, record: TaskRecord, error: RunwareError, now: float) -> None: ...

    def fail(self, failure: RunwareError, now: float) -> None: ...
