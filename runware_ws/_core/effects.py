"""What the core wants done. The driver performs these effects in order and decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runware_ws._core.tasks.record import TaskRecord
    from runware_ws.classify import Loss
    from runware_ws.events import Event

__all__ = [
    "Admit",
    "Authenticate",
    "Close",
    "Drop",
    "Effect",
    "Emit",
    "Ending",
    "Enter",
    "Frame",
    "Open",
    "Post",
    "PostEnding",
    "Progress",
    "Resolve",
    "TaskStep",
    "Tell",
    "Todo",
]


@dataclass(frozen=True, slots=True)
class Open:
    """Open socket number ``generation`` now."""

    generation: int


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Send the authentication message on this socket, before anything else.

    The driver holds the key; the core never sees it. ``session_uuid`` is the
    session to resume, ``None`` for a fresh one.
    """

    generation: int
    session_uuid: str | None


@dataclass(frozen=True, slots=True)
class Close:
    """Close this socket. ``graceful``: with a closing handshake, which a dead peer won't answer.

    After a ``Close`` the driver reports nothing more about the socket. A late
    report changes nothing, because its generation is old.
    """

    generation: int
    graceful: bool


@dataclass(slots=True, eq=False)
class Post:
    """Post this task over HTTP, as POST ``number``.

    The driver fetches the key, then says ``posting`` before the first byte goes out, ``posted``
    for each event of the answer, and ``post_ended`` once.
    """

    record: TaskRecord
    number: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Give a POST up. A late report about it changes nothing."""

    uuid: str
    number: int


class Ending(Enum):
    """How a POST ended.

    ``DONE``: the answer ended in order, with its end mark or as one whole JSON object. ``CUT``:
    the request may have arrived, and the rest of the answer will not come. ``REFUSED``: the
    answer is a refusal (an error status, a redirect, a wrong type, an event over the limit), or
    another attempt cannot help (TLS verification failed). ``UNREACHED``: not one byte of the
    request was sent.
    """

    DONE = "done"
    CUT = "cut"
    REFUSED = "refused"
    UNREACHED = "unreached"


@dataclass(frozen=True, slots=True)
class PostEnding:
    """The end of one POST.

    ``loss`` tells how it ended, with the HTTP status and Retry-After if there were any; ``None``
    if it is done. ``body`` is the beginning of a refusal's body, unchanged.
    """

    how: Ending
    loss: Loss | None = None
    body: bytes = b""


@dataclass(slots=True, eq=False)
class Enter:
    """Enter this task in the journal: it is not sent before the input ``entered`` says that it is
    there."""

    record: TaskRecord


@dataclass(slots=True, eq=False)
class Resolve:
    """These tasks ended, in this order. Each task is reported exactly once."""

    records: list[TaskRecord]


@dataclass(slots=True, eq=False)
class Progress:
    """A watched task has something new: an item or a progress note."""

    record: TaskRecord


@dataclass(slots=True, eq=False)
class Admit:
    """These tasks, which waited for room or for the journal, were admitted, in this order."""

    records: list[TaskRecord]


@dataclass(frozen=True, slots=True)
class Emit:
    """Something happened that a user may want to know about."""

    event: Event


class TaskStep(Enum):
    """What happened to one task on its way. Its end is told by :class:`Resolve`.

    ``NOT_WRITTEN``: not one byte of the last write went out. ``CUT``: what carried it broke;
    ``detail`` says how it goes on. ``ASKED``: ``detail`` is the kind of question.
    """

    SUBMITTED = "submitted"
    WRITTEN = "written"
    NOT_WRITTEN = "not written"
    CUT = "cut"
    ASKED = "asked"
    RESENT = "resent"


@dataclass(slots=True, eq=False)
class Tell:
    """A step of a task, at a time of the driver's clock: only where somebody follows tasks."""

    record: TaskRecord
    step: TaskStep
    at: float
    detail: str = ""


@dataclass(slots=True, eq=False)
class Frame:
    """One message to write. ``records``: the tasks it carries (none for pings and questions)."""

    data: bytes
    records: tuple[TaskRecord, ...] = ()


Effect = (
    Open | Authenticate | Close | Post | Drop | Enter | Resolve | Progress | Admit | Emit | Tell
)


@dataclass(slots=True, eq=False)
class Todo:
    """What the driver has to do after an input: returned by ``SessionCore.take()``.

    ``effects`` in their order; ``writable``: there may be something to write; ``deadline``: when
    ``on_deadline`` is due next, ``None`` if that has not changed.
    """

    effects: Sequence[Effect] = ()
    writable: bool = False
    deadline: float | None = None


WRITABLE = Todo(writable=True)
"""What there is to do after nearly every submit."""
