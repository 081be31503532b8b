"""One batch of messages: what is known of it, and under which keys the journal has it.

``gateway-batches/CALLER/ID`` is its record. Under ``gateway-batch/CALLER/ID/`` are ``requests`` (a
line each), ``cancel`` (when that was asked for), ``line/N`` (how a line ended), ``end`` (when the
last of them did, and how many ended how) and ``task/N``: the task of a line.

All but the tasks are notes, and held until the batch has ended. A line that is never to be sent has
a note under the key of its task, too. So whoever comes first decides: either the line has a task,
whose end is waited for, or none can be begun any more, by any process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from runware_ws.models.jsonable import encode_json, load_json

__all__ = [
    "ALL_BATCHES",
    "BATCH_LIFE",
    "Batch",
    "batches_of",
    "is_batch_id",
    "lines_of",
    "new_batch_id",
]

ALL_BATCHES = "gateway-batches/"
"""How the keys of all records begin."""

BATCH_LIFE = 86_400.0
"""Seconds until what has not begun is ``expired``."""

_HELD = 30 * 86_400.0
"""Seconds until its notes are pruned although it has not ended: no gateway came to end it."""

_KINDS = ("succeeded", "errored", "canceled", "expired")


_ID = re.compile(r"msgbatch_[0-9a-f]{32}")


def new_batch_id() -> str:
    """What tells one batch from all others."""
    return f"msgbatch_{uuid4().hex}"


def is_batch_id(text: str) -> bool:
    """Whether it can be one. What cannot need not be looked for: not every store takes it."""
    return _ID.fullmatch(text) is not None


def batches_of(caller: str) -> str:
    """How the keys of the records of a caller's batches begin."""
    return f"{ALL_BATCHES}{caller}/"


def lines_of(caller: str) -> str:
    """How the keys of all that belongs to a caller's batches begin, their tasks among it."""
    return f"gateway-batch/{caller}/"


@dataclass(slots=True)
class Batch:
    """``made``, ``canceled``, ``ended``: wall-clock seconds; ``None``: not yet. ``total``: the
    number of its lines. ``counts``: how many ended in which way; told once all have."""

    id: str
    caller: str
    made: float
    total: int
    canceled: float | None = None
    ended: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def record_key(self) -> str:
        """The key of its record."""
        return f"{batches_of(self.caller)}{self.id}"

    @property
    def prefix(self) -> str:
        """How its other keys begin."""
        return f"{lines_of(self.caller)}{self.id}/"

    @property
    def expires(self) -> float:
        """When what has not begun is ``expired``."""
        return self.made + BATCH_LIFE

    @property
    def held_until(self) -> float:
        """For its notes."""
        return self.made + _HELD

    def key(self, name: str) -> str:
        """The key of ``requests``, ``cancel`` or ``end``."""
        return f"{self.prefix}{name}"

    def line_key(self, number: int) -> str:
        """The key of how a line ended."""
        return f"{self.prefix}line/{number}"

    def task_key(self, number: int) -> str:
        """The key of a line's task."""
        return f"{self.prefix}task/{number}"

    def release(self, at: float) -> Mapping[str, float]:
        """What is to be released. The record goes first, so that a batch that is still found has
        all of its results."""
        return {self.record_key: max(at - 0.01, 0.0), self.prefix: at}

    def written(self) -> bytes:
        """Its record."""
        return encode_json({"made": self.made, "lines": self.total})

    @classmethod
    def read(cls, batch_id: str, caller: str, notes: Mapping[str, bytes]) -> Batch | None:
        """A batch of what the journal has of it; ``None``: nothing, or not any more."""
        batch = cls(batch_id, caller, 0.0, 0)
        record: Any = load_json(notes.get(batch.record_key, b"null"))
        if record is None:
            return None
        batch.made, batch.total = record["made"], record["lines"]
        cancel = notes.get(batch.key("cancel"))
        batch.canceled = None if cancel is None else float(cancel)
        end: Any = load_json(notes.get(batch.key("end"), b"null"))
        if end is not None:
            batch.ended, batch.counts = end["ended"], end["counts"]
        return batch

    def told(self, url: str) -> dict[str, Any]:
        """As the Messages shape has it. ``url``: where the batches of this gateway are."""
        over = self.ended is not None
        # As the shape says: until all have ended, each counts as ``processing``.
        counts = {kind: self.counts.get(kind, 0) if over else 0 for kind in _KINDS}
        counts["processing"] = 0 if over else self.total
        status = "in_progress" if self.canceled is None else "canceling"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": "ended" if over else status,
            "request_counts": counts,
            "created_at": _time(self.made),
            "expires_at": _time(self.expires),
            "ended_at": _time(self.ended),
            "cancel_initiated_at": _time(self.canceled),
            "archived_at": None,
            "results_url": f"{url}/{self.id}/results" if over else None,
        }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
