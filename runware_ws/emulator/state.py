"""What the parts of the emulated server share, and the few steps that several of them take.

It knows the sockets by what they offer (:class:`~.sessions.Outlet`), not by what they are.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import anyio
from anyio.abc import TaskGroup

from .admission import Admission
from .calls import forced_answer
from .exact import dump_exact
from .faults import Faults, LiveSocket
from .keys import KeyRing
from .latency import Latency
from .options import EmulatorOptions
from .playing import Player
from .replies import Answer, Reply, ReplyError, Request, default_text
from .sessions import Session, SessionStore
from .stats import Stats
from .tasks import AcceptedTask, TaskStore
from .timers import Timers
from .units import Envelope, Kind, Unit
from .validation import task_error

__all__ = ["ServerState"]


class ServerState:
    """Sessions, tasks, replies, faults and counters of one emulator."""

    def __init__(
        self, keys: KeyRing, options: EmulatorOptions, latency: Latency, seed: int, path: str
    ) -> None:
        self.keys = keys
        self.options = options
        self.latency = latency
        self.path = path
        self.rng = random.Random(f"{seed}/server")
        self.stats = Stats()
        self.timers = Timers()
        self.sessions = SessionStore()
        self.tasks = TaskStore()
        self.admission = Admission()
        self.replies: dict[str, Reply] = {"textInference": self._default_answer}
        self.group: TaskGroup | None = None
        self.sockets: dict[LiveSocket, None] = {}  # the live ones, oldest first
        self.faults = Faults(
            random.Random(f"{seed}/faults"),
            sockets=self.sockets.keys(),
            sessions=self.sessions,
            keys=keys,
            timers=self.timers,
            stats=self.stats,
        )
        self.player = Player(self.faults, self.timers)

    # -- options, unless a fault says otherwise ------------------------------------------

    @property
    def shuffle(self) -> bool:
        """Whether pending items leave in random order."""
        ordered = self.faults.shuffled
        return self.options.shuffle if ordered is None else ordered

    @property
    def merge_limit(self) -> int:
        """Most items in one frame."""
        return self.faults.merge_limit or self.options.merge_limit

    @property
    def merge_window(self) -> float:
        """Seconds to collect items before writing."""
        ordered = self.faults.merge_window
        return self.options.merge_window if ordered is None else ordered

    def dying(self) -> tuple[bool, bool, float]:
        """Whether a cut loses results, whether it loses requests or delays them, and its window."""
        options = self.options
        results = self.faults.lose_results
        requests = self.faults.lose_requests
        window = self.faults.window
        return (
            options.dying_results == "lost" if results is None else results,
            options.dying_requests != "received" if requests is None else requests,
            options.dying_window if window is None else window,
        )

    @property
    def read_late(self) -> bool:
        """Whether what reaches a dying socket is read when the socket is gone."""
        return self.faults.lose_requests is None and self.options.dying_requests == "late"

    def _default_answer(self, request: Request) -> Answer:
        """The default reply of ``textInference``: the call of a forced tool, or an echo."""
        return forced_answer(request, self.options) or default_text(request)

    def change(self, options: EmulatorOptions) -> None:
        """Behave like this from now on. A greater capacity lets the queue in at once."""
        self.options = options
        self.admission.fill(options)

    # -- steps ---------------------------------------------------------------------------

    def deliver(self, session: Session, envelope: Envelope) -> None:
        """Send to the session's socket, or keep for the next one."""
        if session.socket is None:
            self.keep(session, envelope.units)
            return
        session.socket.push(envelope)
        if self.faults.results_doubled:
            session.socket.push(envelope)

    def keep(self, session: Session, units: Sequence[Unit]) -> None:
        """Keep for the next socket of the session, if it can be resumed."""
        options = self.options
        kinds = {Kind.ACK: options.buffer_acks, Kind.ANSWER: options.buffer_answers}
        kept = [unit for unit in units if kinds.get(unit.kind, True)]
        if session.elsewhere:
            self.stats.handed_over += len(kept)
        elif session.forgotten:
            self.stats.expired_results += len(kept)
        elif kept:
            self.stats.buffered += len(kept)
            session.keep(kept)

    def registered(self, record: AcceptedTask) -> bool:
        """Whether questions about the task can find it."""
        return anyio.current_time() >= record.accepted_at + self.options.registration_delay

    def archive(self, record: AcceptedTask) -> None:
        """One more generation of the task has ended."""
        record.pending -= 1
        if record.done:
            record.finished_at = anyio.current_time()
            self.tasks.finish(record, self.options.archive_limit)

    def release(self, record: AcceptedTask) -> None:
        """One more generation has ended, and was told: with the last one the slot is free."""
        if record.done:
            self.admission.leave(self.options)

    def reply_problem(self, record: AcceptedTask, exc: Exception) -> dict[str, Any]:
        """The error object for an exception of a registered reply."""
        if isinstance(exc, ReplyError):
            error = task_error(exc.code, exc.message, record.task, **exc.fields)
            try:
                dump_exact(error)
            except (TypeError, ValueError) as problem:
                exc = problem
            else:
                return error
        self.stats.reply_failures += 1
        message = f"The registered reply raised {type(exc).__name__}: {exc}"
        # It may quote anything.
        message = message.encode("utf-8", "backslashreplace").decode()
        return task_error("internalServerError", message, record.task)
