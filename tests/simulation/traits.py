"""What the model server does where nobody outside knows: drawn once for each seed.

The sources are the facts about the wire; what they leave open is open here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any

from tests.simulation.streams import StreamPlan

__all__ = ["PIECES", "STRAYS", "TROUBLE", "Plan", "Traits", "draw_traits", "plainer"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the server will do with one task. Times in seconds after the registration."""

    uuid: str
    number: int = 1
    delivery: str = "sync"
    register: float = 0.0
    takes: tuple[float, ...] = (1.0,)
    ends: str = "ok"
    code: str = "inferenceError"
    loses: bool = False
    doubles: bool = False
    indexed: bool = True
    joined: bool = False
    twins: bool = False
    anonymous: bool = False
    padding: int = 0
    size: int = 0
    stream: StreamPlan | None = None
    poison: int | None = None
    """The server closes with this code each time that the request comes."""


@dataclass(frozen=True, slots=True)
class Traits:
    """One kind of server."""

    replay_first: bool = False
    """Replayed results come before the authentication's reply."""
    replay_batched: bool = False
    replay_shuffled: bool = False
    replay_gap: float = 0.0
    resumes: float = 1.0
    """The probability that a session that is still known is resumed."""
    refuses_by: str = "new"
    """A session that is not resumed: ``new`` UUID, or an ``error``."""
    renames: str = ""
    """A session that is resumed is called otherwise: by a ``new`` UUID, or ``none``."""
    dying: str = "again"
    """Results written into a dying socket: buffered ``again`` (they may come twice),
    ``exact``-ly what did not arrive, or ``lost``."""
    archive: bool = True
    archive_delay: float = 0.0
    archive_array: bool = False
    """``getTaskDetails`` lists the whole array that the task was sent in."""
    archive_keeps: str = "nothing"
    """The refusal of a copy stands in the archive: ``while-running``, or ``for-good``."""
    details_running: str = "not-found"
    """``getTaskDetails`` of a running task: ``not-found`` or ``processing``."""
    answers_joined: bool = False
    answers_typed: str = "question"
    """What a not-found calls the task type: the ``question``, the ``task``, or ``none``."""
    error_key: str = "errors"
    upper: bool = False
    """UUIDs come back in capitals."""
    anonymous_conflicts: bool = False
    limit_in: int | None = None
    """The largest frame that the server takes; it closes with 1009."""
    auth_style: str = "code"
    """A refused key: an error with a ``code``, the ``old`` style, or a close with 1008."""
    echoes_key: bool = False
    after_cut: str = "on"
    """The deltas of a running stream, once its socket died: the server goes ``on`` where it was
    (what was made meanwhile is replayed), begins again (``restart``), leaves a ``hole``, sends the
    ``whole`` only, or ``nothing``."""
    reads_rest: float = 0.0
    """What a socket that died had brought is read up to so many seconds later."""
    response_unknown: str = "error"
    """``getResponse`` of an unknown id: an ``error``, or an ``empty`` list, which names nobody."""
    response_running: str = "processing"
    """``getResponse`` of a running task: ``processing``, ``empty``, or as of an ``unknown`` one."""
    response_sync: bool = False
    """``getResponse`` knows sync tasks too."""
    details_unknown: str = "error"
    """``getTaskDetails`` of an unknown id: as for ``getResponse``."""
    denials_nameless: bool = False
    """An error that tells that there is no such task names no task."""
    failed_in: str = "data"
    """Where ``getResponse`` has a failed task: in ``data``, or in ``errors``."""
    failed_typed: str = "task"
    """What such an error gives as its type: the ``task``'s, the ``question``'s, or ``none``."""
    question_fails: str = ""
    """This kind of question always fails."""
    question_mute: str = ""
    """This kind of question is never answered."""
    question_code: str = "internalServerError"
    question_errors: int = 1
    """So many errors say in one message what is wrong with a question."""
    question_typed: bool = True
    """An error about a question names the question's type, or none."""
    archive_field: str = ""
    """One field more than a live result has."""
    archive_pieces: str = ""
    """How the archive lists what was streamed: as a whole, or as the pieces that were sent: in one
    ``frame``, as a list of ``items`` or of ``frames``, with the whole ``behind`` or ``before``
    them."""
    details_typed: str = "question"
    """What an entry of the archive gives as its type: the ``question``'s, the ``task``'s, or
    ``none``."""
    details_bare: bool = False
    """What it tells of a running task is a status, in place of request and response."""
    answers_shuffled: bool = False
    """The questions of one message are answered in any order."""
    answers_late: float = 0.0
    """The questions of one message are answered in two or four parts, the last one so many seconds
    later."""
    answers_buffered: bool = False
    """An answer to a question that did not arrive is replayed, as results are."""
    copies_busy: str = ""
    """Copies are refused with this code, without a look at whether the first one is there."""
    refusals_buffered: bool = False
    """The refusal of a copy is replayed, as results are."""
    refusal_closes: bool = False
    """Behind the error about a session the socket is closed with 1008."""
    receipt: str = "bare"
    """What the acknowledgement of an async task has beside its type and UUID."""
    receipts: int = 1
    """How often it comes."""
    sync_note: bool = False
    """Sync tasks are told to be ``processing``."""
    nulls: bool = False
    """All fields are written, and null where there is nothing."""
    before_auth: str = ""
    """Before the reply to the authentication comes an error with this code, which names nobody."""
    limit_out: int | None = None
    """The largest frame that goes out: instead of a larger one comes a close with 1009."""

    @property
    def reliable(self) -> bool:
        """Whether every answer can be had in the end, whatever happens to sockets."""
        tells = self.archive and self.tells("getTaskDetails")
        tells = tells and self.limit_in is None and self.limit_out is None
        return tells and self.archive_keeps != "for-good"

    def tells(self, question: str) -> bool:
        """Whether this kind of question is answered with the truth."""
        return question not in (self.question_fails, self.question_mute)


TROUBLE = (
    "archiveUnavailable",
    "invalidRequest",
    "insufficientCredits",
    "providerUnavailable",
    "internalServerError",
    "rateLimitExceeded",
    "unauthorized",
)
"""Why a question fails."""

STRAYS = ("insufficientCredits", "internalServerError", "rateLimitExceeded", "invalidRequest")
"""Codes of errors that name nobody."""

PIECES = ("frame", "items", "frames", "behind", "before")
"""How the archive lists a stream piece by piece."""

CHOICES: dict[str, tuple[Any, ...]] = {
    "renames": ("",) * 6 + ("new", "none"),
    "reads_rest": (0.0, 0.0, 0.0, 1.0),
    "response_unknown": ("error", "empty"),
    "response_running": ("processing", "processing", "unknown", "empty"),
    "response_sync": (False, False, True),
    "details_unknown": ("error", "error", "error", "empty"),
    "denials_nameless": (False,) * 5 + (True,),
    "failed_in": ("data", "errors"),
    "failed_typed": ("task", "question", "none"),
    "question_fails": ("",) * 10 + ("getResponse", "getTaskDetails"),
    "question_mute": ("",) * 10 + ("getResponse", "getTaskDetails"),
    "question_code": TROUBLE,
    "question_errors": (1, 1, 2),
    "question_typed": (False, True),
    "details_typed": ("question", "question", "task", "none"),
    "details_bare": (False, True),
    "answers_shuffled": (False, True),
    "answers_buffered": (False, False, True),
    "answers_late": (0.0, 0.0, 0.0, 3.0),
    "copies_busy": ("",) * 3 + ("rateLimitExceeded",),
    "refusals_buffered": (False, True),
    "refusal_closes": (False, False, True),
    "receipt": ("bare", "cost", "message", "queue", "status", "all"),
    "receipts": (1, 1, 2),
    "sync_note": (False, False, True),
    "nulls": (False, False, False, True),
    "before_auth": ("",) * 6 + ("notice", *STRAYS),
    "limit_out": (None,) * 14 + (4_000,),
    "archive_field": ("", "", "model", "createdAt"),
    "archive_pieces": ("",) * 4 + PIECES,
}
"""Traits that are drawn from streams of their own: one more of them changes no other draw."""


def draw_traits(rng: Random, seed: int, *, without: Collection[str] = ()) -> Traits:
    """One kind of server, from ``rng`` and ``seed``; those ``without`` stay as they are plain."""
    traits = Traits(
        replay_first=rng.random() < 0.4,
        replay_batched=rng.random() < 0.4,
        replay_shuffled=rng.random() < 0.4,
        replay_gap=rng.choice((0.0, 0.0, 0.02, 0.2, 0.45)),
        resumes=rng.choice((1.0, 1.0, 1.0, 0.8, 0.5, 0.0)),
        refuses_by=rng.choice(("new", "error", "error-session")),
        dying=rng.choice(("again", "again", "exact", "lost")),
        archive=rng.random() < 0.85,
        archive_delay=rng.choice((0.0, 0.0, 0.5, 2.0, 60.0 * rng.random())),
        archive_array=rng.random() < 0.4,
        archive_keeps=rng.choice(("nothing",) * 4 + ("while-running", "while-running", "for-good")),
        details_running=rng.choice(("not-found", "processing")),
        answers_joined=rng.random() < 0.5,
        answers_typed=rng.choice(("question", "task", "none")),
        error_key=rng.choice(("errors", "errors", "error", "error-one")),
        upper=rng.random() < 0.1,
        anonymous_conflicts=rng.random() < 0.05,
        limit_in=6_000 if rng.random() < 0.06 else None,
        auth_style=rng.choice(("code", "code", "old", "close")),
        echoes_key=rng.random() < 0.2,
        after_cut=rng.choice(("on", "restart", "hole", "whole", "nothing")),
    )
    drawn = {name: Random(f"{seed} {name}").choice(among) for name, among in CHOICES.items()}
    drawn = {name: value for name, value in drawn.items() if name not in without}
    return replace(traits, **drawn)


def plainer(traits: Traits) -> Iterator[Traits]:
    """The same server with one trait less, for each trait that it has."""
    for trait in fields(Traits):
        if getattr(traits, trait.name) != trait.default:
            plain: dict[str, Any] = {trait.name: trait.default}
            yield replace(traits, **plain)
