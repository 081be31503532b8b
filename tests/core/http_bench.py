"""The bench with an HTTP side, which the test plays too."""

from __future__ import annotations

from typing import Any

import orjson

from runware_ws._core.effects import Drop, Ending, Post, PostEnding
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.record import Carrier, TaskRecord
from runware_ws.classify import Loss, LossKind
from tests.core.bench import Bench

DONE = PostEnding(Ending.DONE)
CUT = PostEnding(Ending.CUT, Loss(LossKind.CLOSED, detail="cut"))
UNREACHED = PostEnding(Ending.UNREACHED, Loss(LossKind.DIAL_FAILED, detail="refused"))


def refused(status: int, body: bytes = b"", retry_after: float | None = None) -> PostEnding:
    """The server answered with this status."""
    loss = Loss(LossKind.HTTP_REFUSED, status=status, retry_after=retry_after)
    return PostEnding(Ending.REFUSED, loss, body)


class HttpBench(Bench):
    """A bench with an HTTP side that the test plays."""

    def stream(self, carrier: Carrier = Carrier.HTTP, **options: Any) -> TaskRecord:
        """Hand a stream over that goes by HTTP."""
        return self.task(delivery="stream", deltas=Deltas(), carrier=carrier, **options)

    def posts(self) -> list[Post]:
        """All POSTs that the core ordered so far."""
        self.take()
        return [effect for effect in self.effects if isinstance(effect, Post)]

    def drops(self) -> list[int]:
        """The numbers of the POSTs that were given up."""
        self.take()
        return [effect.number for effect in self.effects if isinstance(effect, Drop)]

    def number(self, record: TaskRecord) -> int:
        """The last POST of a task."""
        return [post.number for post in self.posts() if post.record is record][-1]

    def posting(self, record: TaskRecord) -> None:
        """The first byte goes out."""
        assert self.core.posting(record.uuid, self.number(record), self.now)
        self.take()

    def sent(self, **options: Any) -> TaskRecord:
        """A stream whose POST is on its way."""
        record = self.stream(**options)
        self.posting(record)
        return record

    def event(self, record: TaskRecord, message: Any) -> None:
        """An event of the answer."""
        data = message if isinstance(message, bytes) else orjson.dumps(message)
        self.core.posted(record.uuid, self.number(record), data, self.now)
        self.take()

    def delta(self, record: TaskRecord, text: str, **extra: Any) -> None:
        """A delta of the answer."""
        self.event(record, {"taskUUID": record.uuid, "delta": {"text": text}, **extra})

    def end(self, record: TaskRecord, ending: PostEnding) -> None:
        """The POST is over."""
        self.core.post_ended(record.uuid, self.number(record), ending, self.now)
        self.take()


def texts(record: TaskRecord) -> list[str]:
    """What a reader sees."""
    assert record.deltas is not None
    return [entry["delta"].get("text", "") for entry in record.deltas.pending]
