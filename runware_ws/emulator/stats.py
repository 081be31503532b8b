"""What the emulator counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["Stats"]


@dataclass(slots=True)
class Stats:
    """Counters of one emulator since its start. Holds no API key.

    ``executions`` says how often each ``taskUUID`` was executed. ``dials`` are the times of
    the TCP connections on the event loop's clock, in seconds. Results and errors of tasks
    are counted in items: ``results_sent`` and ``errors_sent`` when written live, ``replayed``
    when written after a resume, ``buffered`` when kept for an absent socket, ``lost_results``
    when lost with a dying socket, ``expired_results`` when their session was gone,
    ``handed_over`` when somebody else had it. ``late_requests`` were read when their socket was
    gone, ``poisoned`` ones ended it. ``mute_questions`` got no answer. Deltas are
    counted in ``deltas_sent`` only, again when they come again. ``posts`` are HTTP requests with
    an accepted key. ``tasks_turned_away`` were refused because of the queue or the rate.
    """

    connections: int = 0
    upgrades_rejected: int = 0
    authentications: int = 0
    refused: int = 0
    resumes: int = 0
    resumes_refused: int = 0
    session_takeovers: int = 0
    tasks_accepted: int = 0
    tasks_turned_away: int = 0
    results_sent: int = 0
    errors_sent: int = 0
    acks_sent: int = 0
    deltas_sent: int = 0
    streams: int = 0
    posts: int = 0
    posts_rejected: int = 0
    replayed: int = 0
    buffered: int = 0
    lost_results: int = 0
    lost_requests: int = 0
    expired_results: int = 0
    handed_over: int = 0
    late_requests: int = 0
    poisoned: int = 0
    empty_answers: int = 0
    failed_questions: int = 0
    mute_questions: int = 0
    conflicts: int = 0
    polls: int = 0
    details: int = 0
    pings: int = 0
    protocol_pings: int = 0
    invalid_messages: int = 0
    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    cuts: int = 0
    idle_closes: int = 0
    reply_failures: int = 0
    dials: list[float] = field(default_factory=list[float])
    executions: Counter[str] = field(default_factory=Counter[str])

    @property
    def executed_twice(self) -> list[str]:
        """The ``taskUUID`` of every task that ran more than once. A client must keep it empty."""
        return [uuid for uuid, number in self.executions.items() if number > 1]

    @property
    def executed(self) -> int:
        """How many tasks ran, each counted as often as it ran."""
        return self.executions.total()

    def summary(self) -> dict[str, Any]:
        """All counters as plain numbers, ready for JSON."""
        plain: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int):
                plain[item.name] = value
        plain["dials"] = len(self.dials)
        plain["executed"] = self.executed
        plain["executed_twice"] = len(self.executed_twice)
        return plain
