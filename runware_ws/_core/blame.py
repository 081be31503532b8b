"""Which task ended the socket: its request or its result was too much for one of the two sides.

The rules are in ``connection/culprits.py``; here they are applied to the tasks.
"""

from __future__ import annotations

from runware_ws._core.connection.connection import Connection, Down
from runware_ws._core.connection.culprits import PROOF
from runware_ws._core.context import Context
from runware_ws._core.ends import Ends
from runware_ws._core.recovery.recovery import Recovery
from runware_ws._core.states import FOREVER, WRITTEN
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._core.tasks.table import TaskTable
from runware_ws.classify import Loss, LossKind, Verdict
from runware_ws.errors import ProtocolError

__all__ = ["Blame"]

ROUND_TRIPS = 3


class Blame:
    """Finds the task that is to blame for the end of a socket, and ends it."""

    def __init__(
        self,
        out: Context,
        table: TaskTable,
        recovery: Recovery,
        connection: Connection,
        ends: Ends,
    ) -> None:
        self._out = out
        self._table = table
        self._recovery = recovery
        self._connection = connection
        self._culprits = connection.culprits
        self._ends = ends

    def judge(self, down: Down, asked: TaskRecord | None, now: float, *, asking: bool) -> bool:
        """A socket ended. True if it is known which task did it; that task has ended.

        ``asked``: the one task that was asked about during the search for a result. ``asking``:
        whether any question was open.
        """
        loss, culprits = down.loss, self._culprits
        if self._went_through():
            culprits.went_through()
        culprit: TaskRecord | None = None
        what = "the server closes the connection over it"
        if down.verdict is Verdict.TOO_BIG:
            uuids: tuple[str, ...] = ()
            if loss.kind is not LossKind.INBOUND_TOO_BIG:
                uuids = culprits.too_big(self._connection.generation)
            if not uuids:
                culprit = self._result(asked)
                what = self._over(loss)
            elif asking:
                # The answer to a question may have been too big as well as the request.
                self._result(None)
            if uuids and asked is None:
                culprit = self._request(uuids, sure=not asking)
                what = "the server refuses a frame of its size"
        elif (
            down.was_ready
            and loss.kind is LossKind.CLOSED
            and down.verdict in (Verdict.PROTOCOL, Verdict.KEY_REFUSED)
        ):
            culprit = self._suspect(now)
        if culprit is None:
            return False
        error = ProtocolError(
            f"{what}: {loss}", task_uuid=culprit.uuid, submitted=culprit.submitted
        )
        self._ends.fail(culprit, error, now)
        return True

    def limit(self) -> int | None:
        """A frame of this size is too big for the server; ``None``: no such size is known."""
        if self._culprits.limit is not None and self._went_through():
            self._culprits.went_through()
        return self._culprits.limit

    def _went_through(self) -> bool:
        """Whether the server answered a task of the biggest frame of this socket."""
        table = self._table
        for uuid in self._culprits.biggest(self._connection.generation):
            record = table.tasks.get(uuid)
            if record is None:
                if table.answered.knows(uuid):
                    return True
            elif record.ladder.confirmed:
                return True
        return False

    def _over(self, loss: Loss) -> str:
        if loss.kind is not LossKind.INBOUND_TOO_BIG:
            return "its result is too big for the server to send"
        return f"its result is over max_frame_bytes ({self._out.options.max_frame_bytes})"

    def _request(self, uuids: tuple[str, ...], *, sure: bool) -> TaskRecord | None:
        """The frame of these tasks was too big. The culprit, if it is known by now."""
        alive = [self._table.tasks[uuid] for uuid in uuids if uuid in self._table.tasks]
        if len(uuids) > 1:
            for record in alive:
                record.send_alone()
        elif alive and alive[0].struck(sure=sure):
            self._culprits.found_limit()
            return alive[0]
        return None

    def _result(self, asked: TaskRecord | None) -> TaskRecord | None:
        """A result was too big. The culprit, if it is known by now."""
        generation = self._connection.generation
        others = self._table.given_up_on == generation or any(
            record.generation == generation and record.pushed and record is not asked
            for record in self._table.tasks.values()
        )
        # What an earlier session replays may be another task's.
        uuid = self._culprits.result(
            None if asked is None or self._connection.offered else asked.uuid, alone=not others
        )
        if self._culprits.abandon_session:
            self._connection.session_uuid = None
        return self._table.tasks.get(uuid) if uuid is not None else None

    def _suspect(self, now: float) -> TaskRecord | None:
        """The server closed over a request. The culprit, if it is known by now."""
        tasks, culprits = self._table.tasks, self._culprits
        generation = self._connection.generation
        open_ones = [
            record
            for record in tasks.values()
            if record.generation == generation
            and record.state >= WRITTEN
            and not record.ladder.confirmed
        ]
        probable: TaskRecord | None = None
        if len(open_ones) == 1:
            # Long after its frame came, something else ended the socket.
            if now < open_ones[0].written_at + 2 * self._proof():
                probable = open_ones[0]
        else:
            uuid = culprits.in_the_air(now, self._proof())
            probable = tasks.get(uuid) if uuid is not None else None
        culprits.latest = ()
        culprits.suspects.update(record.uuid for record in open_ones)
        for record in open_ones:
            record.send_alone()
        if probable is None or not probable.struck():
            return None
        culprits.suspects.discard(probable.uuid)
        return probable

    # Suspects are sent one by one

    def _proof(self) -> float:
        """For how long a frame may still be refused, in seconds."""
        return PROOF + ROUND_TRIPS * self._connection.liveness.round_trip

    def hold(self, now: float) -> tuple[bool, bool]:
        """Whether resends may be written now, and whether new tasks may, during a search."""
        culprits, queue = self._culprits, self._table.queue
        suspects, latest = culprits.suspects, culprits.latest
        quiet_at = culprits.latest_at + self._proof()
        quiet = now >= quiet_at or (bool(latest) and all(map(self._is_innocent, latest)))
        if quiet:
            # The latest frame was not refused.
            suspects.difference_update(latest)
            culprits.latest = ()
        suspects.difference_update([uuid for uuid in suspects if self._is_innocent(uuid)])
        queued = bool(queue) and queue[0].uuid in suspects
        waiting = queued or not suspects.isdisjoint(self._recovery.resending)
        if quiet or not (waiting or (len(latest) == 1 and latest[0] in suspects)):
            return True, queued or not waiting
        if culprits.held_until == FOREVER:
            culprits.held_until = quiet_at
            self._out.rearm = True
        return False, False

    def _is_innocent(self, uuid: str) -> bool:
        """Whether the server has answered the task, or said that it has it."""
        record = self._table.tasks.get(uuid)
        return record is None or record.ladder.confirmed

    def on_deadline(self, now: float) -> None:
        """What was held back may be written."""
        if now >= self._culprits.held_until:
            self._culprits.held_until = FOREVER
            self._out.wake = True
