"""How the core handles POSTs. In everything else their tasks are like any others.

A broken POST is treated like a dead socket: its task goes on over the socket, on
the recovery ladder. A POST that was never sent goes back to its queue. A refusal
is raised as the error that it is: never a silent detour, never a second copy.
"""

from __future__ import annotations

from collections.abc import Callable

from runware_ws._core import failures, wire
from runware_ws._core.answers import Answers
from runware_ws._core.connection.connection import Connection, Over
from runware_ws._core.context import Context
from runware_ws._core.effects import Ending, PostEnding, TaskStep
from runware_ws._core.ends import Ends
from runware_ws._core.inbound.router import Router
from runware_ws._core.recovery.recovery import Recovery
from runware_ws._core.recovery.words import is_receipt
from runware_ws._core.tasks.record import Carrier, TaskRecord
from runware_ws._core.tasks.table import TaskTable
from runware_ws.events import NoHttpSide

__all__ = ["Posting"]

_NO_HTTP_SIDE = (501, 426)
"""Statuses by which a server says that it takes no POST at all (as HTTP defines them)."""


class Posting:
    """Acts on the inputs of POSTs."""

    def __init__(
        self,
        out: Context,
        table: TaskTable,
        recovery: Recovery,
        connection: Connection,
        ends: Ends,
        router: Router,
        answers: Answers,
        *,
        draw: Callable[[int], float],
    ) -> None:
        self._out = out
        self._table = table
        self._posts = table.posts
        self._recovery = recovery
        self._connection = connection
        self._ends = ends
        self._router = router
        self._answers = answers
        self._draw = draw
        # Whether the server said that it has no HTTP side.
        self._no_http = False

    def choose(self, record: TaskRecord) -> None:
        """Choose how a new task travels: over HTTP or over the socket."""
        if self._no_http and record.carrier is Carrier.EITHER:
            record.leave_http()

    def posting(self, uuid: str, number: int, now: float) -> bool:
        """The first byte of POST ``number`` is about to be sent. False: it was given up."""
        record = self._posts.find(uuid, number)
        if record is not None and not record.posted:
            record.wrote(number, now)
            self._out.tell(record, TaskStep.WRITTEN, now)
            counters = self._out.counters
            counters.posts += 1
            counters.bytes_out += wire.frame_size(record.payload)
        return record is not None

    def posted(self, uuid: str, number: int, data: bytes, now: float) -> None:
        """One event of the answer to POST ``number`` came."""
        record = self._posts.find(uuid, number)
        if record is None:
            return
        if not record.posted:
            # What is answered was sent, whether that was told or not.
            self.posting(uuid, number, now)
        self._posts.reached()
        self._connection.post_accepted()
        for said in self._router.read_post(record, data):
            self._answers.take(said, now)

    def ended(self, uuid: str, number: int, ending: PostEnding, now: float) -> Over | None:
        """POST ``number`` is over. Returns the end of the client if the key is refused for good."""
        record = self._posts.find(uuid, number)
        if record is None:
            return None
        if not record.posted and ending.how is not Ending.REFUSED:
            self._unreached(record, ending, now)
            return None
        self._posts.reached()
        if record.ended:
            self._left_ended(record, ending, now)
            return None
        if ending.how is Ending.REFUSED:
            return self._refused(record, ending, now)
        self._posts.end(record)
        if self._is_whole(record, ending, now):
            self._answers.finish_stream(record, now)
        else:
            self._recovery.post_cut(record, now)
        return None

    @staticmethod
    def _is_whole(record: TaskRecord, ending: PostEnding, now: float) -> bool:
        deltas = record.deltas
        return deltas is not None and (
            deltas.finished or (ending.how is Ending.DONE and deltas.ended(now))
        )

    def _left_ended(self, record: TaskRecord, ending: PostEnding, now: float) -> None:
        """The POST of a stream that was given up is over."""
        self._posts.end(record)
        if ending.how is not Ending.REFUSED and self._is_whole(record, ending, now):
            self._answers.keep_left(record, now)
        else:
            self._table.left.forget(record.uuid)

    def finish(self, record: TaskRecord, now: float) -> bool:
        """The deadline of a task passed. True where all of it came, but for the POST's own end."""
        if not record.posted or record.deltas is None or not record.deltas.finished:
            return False
        self._answers.finish_stream(record, now)
        return True

    def _unreached(self, record: TaskRecord, ending: PostEnding, now: float) -> None:
        """Not one byte was sent: the task goes back to its queue, and all POSTs wait a while."""
        posts, loss = self._posts, ending.loss
        if not posts.shut_now:  # Of several that fail together the first one decides.
            delay = self._draw(posts.unreached(str(loss) if loss is not None else "not sent"))
            if loss is not None and loss.retry_after is not None:
                delay += min(loss.retry_after, self._out.options.retry_after_cap)
            posts.shut(now + delay)
        posts.end(record)
        posts.add(record)

    def _refused(self, record: TaskRecord, ending: PostEnding, now: float) -> Over | None:
        posts = self._posts
        status = ending.loss.status if ending.loss is not None else None
        if status in _NO_HTTP_SIDE and record.carrier is Carrier.EITHER:
            posts.end(record)
            record.unwrote()
            if not self._no_http:
                self._no_http = True
                self._out.emit(NoHttpSide(at=now, status=status))
            self._table.to_socket(record)
            return None
        errors = self._router.errors_in(ending.body)
        refusal = failures.post_refused_key(ending, errors)
        if refusal is None:
            posts.end(record)
            if any(is_receipt(record, error) for error in errors):
                self._recovery.post_cut(record, now)
                self._recovery.receipt(record, now)
                return None
            error = failures.post_refusal(ending, record, errors)
            self._ends.fail(record, error, now)
            return None
        over = self._connection.post_refused_key(refusal, record.generation, posts.latest, now)
        posts.end(record)
        record.unwrote()
        if over is None and record.key_refused():
            # Others may use the key: it is about this task.
            error = failures.for_task(refusal, record.uuid, record.submitted)
            self._ends.fail(record, error, now)
        elif over is None:
            posts.add(record)
        return over
