"""What the parts of the core share: options, queued effects, counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runware_ws._core.effects import Admit, Effect, Emit, Resolve, TaskStep, Tell
from runware_ws._core.states import FOREVER, TaskState
from runware_ws.models.results import RecoveredBy

if TYPE_CHECKING:
    from runware_ws._core.tasks.record import TaskRecord
    from runware_ws.config import Config
    from runware_ws.events import Event

__all__ = ["Context", "Counters"]


@dataclass(slots=True)
class Counters:
    """Plain counts since the client started."""

    submitted: int = 0
    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dials: int = 0
    connections: int = 0
    resumes: int = 0
    sessions_lost: int = 0
    pings: int = 0
    posts: int = 0
    polls: int = 0
    archive_questions: int = 0
    resends: int = 0
    receipts: int = 0
    duplicates: int = 0
    malformed: int = 0
    strays: int = 0
    notices: int = 0
    ends: list[int] = field(default_factory=lambda: [0] * len(TaskState))
    """Ended tasks, by their last :class:`TaskState`."""
    sources: list[int] = field(default_factory=lambda: [0] * len(RecoveredBy))
    """Answered tasks, by the rank of how their result came (``SOURCE_RANK``)."""


class Context:
    """Effects in order, and two flags that the driver checks after each input.

    ``wake``: there may be something to write. ``rearm``: the next deadline may
    have come nearer. ``silenced``: the client's last event was emitted. ``journaled``: a task is
    entered in a journal before it is sent. ``traced``: somebody follows single tasks.
    """

    __slots__ = (
        "counters",
        "effects",
        "journaled",
        "jumped_at",
        "options",
        "rearm",
        "silenced",
        "traced",
        "wake",
    )

    def __init__(self, options: Config, *, journaled: bool = False) -> None:
        self.options = options
        self.journaled = journaled
        self.effects: list[Effect] = []
        self.counters = Counters()
        self.wake = False
        self.rearm = True
        self.silenced = False
        self.traced = False
        # When it was last noticed that time had passed unseen.
        self.jumped_at = -FOREVER

    def ended(self, record: TaskRecord) -> None:
        """Queue the end of a task; consecutive ends share one effect."""
        effects = self.effects
        if effects and type(last := effects[-1]) is Resolve:
            last.records.append(record)
        else:
            effects.append(Resolve([record]))

    def admitted(self, record: TaskRecord) -> None:
        """Queue that a task was admitted; consecutive ones share one effect."""
        effects = self.effects
        if effects and type(last := effects[-1]) is Admit:
            last.records.append(record)
        else:
            effects.append(Admit([record]))

    def tell(self, record: TaskRecord, step: TaskStep, at: float, detail: str = "") -> None:
        """Queue a step of a task, if anybody follows them."""
        if self.traced:
            self.effects.append(Tell(record, step, at, detail))

    def emit(self, event: Event) -> None:
        """Queue an event; none comes after the last one."""
        if not self.silenced:
            self.effects.append(Emit(event))
