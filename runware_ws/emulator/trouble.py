"""Faults of questions, of reading, and of single requests: part of :class:`~.faults.Faults`."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .sessions import SessionStore
from .timers import Timer, Timers
from .units import PING

__all__ = ["Asked", "QuestionFault", "Trouble"]

Asked: TypeAlias = Literal["getResponse", "getTaskDetails"]
Trickle: TypeAlias = Literal["pings", "bytes"]

_ENDLESS = b"\x81\x7f" + (1 << 24).to_bytes(8, "big")
"""The head of a text frame of 16 MiB, which clients take."""


@dataclass(frozen=True, slots=True)
class QuestionFault:
    """How questions fail until a moment. ``kind`` ``None``: both kinds."""

    code: str
    kind: Asked | None
    typed: bool
    until: float


@dataclass(slots=True)
class _Poison:
    code: int
    marker: str
    nth: int
    times: int | None
    uuid: str = ""

    def is_in(self, task: dict[str, Any], prompt: str) -> bool:
        if not self.nth:
            return self.marker in prompt
        if not self.uuid:
            self.nth -= 1
            if self.nth:
                return False
            self.uuid = str(task.get("taskUUID"))
            self.nth = 1
        return task.get("taskUUID") == self.uuid


class Trouble:
    """Orders about questions, reading, and single requests."""

    _sockets: Collection[Any]
    _sessions: SessionStore
    _timers: Timers
    _trickling: Timer | None

    def _reset_trouble(self) -> None:
        self._stop_trickling()
        self.question_faults: list[QuestionFault] = []
        self.archive_denied_until = -math.inf
        self.stalled_until = -math.inf
        self._poisons: list[_Poison] = []

    # -- questions -----------------------------------------------------------------------

    def fail_questions(
        self,
        code: str = "internalServerError",
        kind: Asked | None = None,
        *,
        typed: bool = True,
        seconds: float | None = None,
    ) -> None:
        """Answer questions with an error that says nothing of the task.

        ``kind``: only this one. ``typed``: the error names the question's type. ``seconds``
        ``None``: until healed. A later order goes before an earlier one.
        """
        fault = QuestionFault(code, kind, typed, self._end(seconds))
        self.question_faults.insert(0, fault)

    def deny_archive(self, seconds: float | None = None) -> None:
        """``getTaskDetails`` knows no task, for so long. ``None``: until healed."""
        self.archive_denied_until = self._end(seconds)

    def question_fault(self, kind: str) -> QuestionFault | None:
        """How a question of this kind fails now."""
        now = self._timers.now()
        for fault in self.question_faults:
            if fault.kind in (None, kind) and now < fault.until:
                return fault
        return None

    @property
    def archive_denied(self) -> bool:
        """Whether the archive denies what it has."""
        return self._timers.now() < self.archive_denied_until

    # -- reading -------------------------------------------------------------------------

    def stall(self, seconds: float) -> None:
        """Read nothing from any socket for so long, HTTP apart; writing goes on.

        What sockets bring that end meanwhile is read afterwards, like the rest.
        """
        if seconds <= 0:
            raise ValueError("seconds must be positive")
        self.stalled_until = max(self.stalled_until, self._end(seconds))
        self._timers.after(seconds, self._end_stall)

    @property
    def stall_left(self) -> float:
        """Seconds until sockets are read again."""
        return max(0.0, self.stalled_until - self._timers.now())

    def _end_stall(self) -> None:
        if self.stall_left <= 0:
            for connection in list(self._sockets):
                connection.end_stall()

    def trickle(self, what: Trickle, every: float = 0.5) -> None:
        """Send something in a blackhole all the same, from all sockets, every so many seconds.

        Protocol ``"pings"``, or single ``"bytes"`` of a message that never ends: such sockets
        are cut when the blackhole does. What was sent last in the blackhole is still whole.
        """
        if every <= 0:
            raise ValueError("every must be positive")
        for connection in list(self._sockets) if what == "bytes" else []:
            connection.trickle(_ENDLESS)

        def drop() -> None:
            for connection in list(self._sockets):
                connection.trickle(PING if what == "pings" else b" ")
            self._trickling = self._timers.after(every, drop)

        self._stop_trickling()
        self._trickling = self._timers.after(every, drop)

    def _stop_trickling(self) -> None:
        if self._trickling is not None:
            self._trickling.cancel()
            self._trickling = None

    # -- requests and sessions -----------------------------------------------------------

    def poison(
        self, code: int = 1008, *, marker: str = "", nth: int = 0, times: int | None = None
    ) -> None:
        """Close a socket with ``code`` each time that a certain task comes on it.

        It is one whose prompt has the ``marker`` in it, or the ``nth`` task from now on. Nothing
        of its message is done. ``times``: as often at most.

        Raises:
            ValueError: not exactly one of the two was given.
        """
        if bool(marker) == (nth > 0) or nth < 0:
            raise ValueError("give either a marker, or nth, at least 1")
        self._poisons.append(_Poison(code, marker, nth, times))

    def poisoned(self, task: dict[str, Any], prompt: str) -> int | None:
        """The code that this task ends its socket with, used up by one."""
        for poison in list(self._poisons):
            if poison.is_in(task, prompt):
                if poison.times is not None:
                    poison.times -= 1
                    if poison.times <= 0:
                        self._poisons.remove(poison)
                return poison.code
        return None

    @property
    def poison_waits(self) -> bool:
        """Whether tasks have to be looked at."""
        return bool(self._poisons)

    def hand_over_sessions(self) -> int:
        """Let somebody else have each session, until it is resumed; returns how many.

        What a session would keep meanwhile goes to them; a live socket still gets what comes.
        """
        known = self._sessions.all()
        for session in known:
            session.elsewhere = True
        return len(known)

    def _end(self, seconds: float | None) -> float:
        return math.inf if seconds is None else self._timers.now() + seconds
