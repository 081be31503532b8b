"""Where a task stands on the recovery ladder: what was proved, asked and resent.

The rungs and their rules are in ``recovery/recovery.py``. This is only the task's position, and
only :class:`~runware_ws._core.tasks.record.TaskRecord` writes it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from runware_ws._core.states import FOREVER

__all__ = [
    "ABOUT_OTHERS",
    "EVERY_QUESTION",
    "READ_ONLY",
    "UNTOUCHED",
    "Identity",
    "Ladder",
    "QuestionType",
    "Word",
]

Identity = tuple[int | None, tuple[tuple[str, str], ...], dict[str, Any]]
"""What tells a result from the others of its task: its index, the ids of its output, its output."""


class QuestionType(StrEnum):
    """The read-only questions about a task."""

    POLL = "getResponse"
    ARCHIVE = "getTaskDetails"

    @property
    def other(self) -> QuestionType:
        """The other way to ask."""
        return QuestionType.ARCHIVE if self is QuestionType.POLL else QuestionType.POLL

    @property
    def bit(self) -> int:
        """Its place in a set of kinds."""
        return 1 if self is QuestionType.POLL else 2


EVERY_QUESTION = 3
"""The set of both kinds."""


# Observed: these only read, so any answer to one of them is its result.
ABOUT_OTHERS = frozenset(question.value for question in QuestionType)
READ_ONLY = ABOUT_OTHERS | {"modelSearch", "accountManagement"}


class Word:
    """An error that the server repeats in answer to questions about one task."""

    __slots__ = ("asks", "code", "first", "question", "since", "times")

    def __init__(self, code: str, question: QuestionType, since: float, asks: int) -> None:
        self.code = code
        self.question = question
        self.since = since
        self.times = 1
        self.asks = self.first = asks


class Ladder:
    """One task's position. ``next_at`` is infinite if nothing is planned.

    Most tasks never need a ladder of their own: they are written once and answered
    once, and share :data:`UNTOUCHED`.
    """

    __slots__ = (
        "alone",
        "answered_at",
        "ask_from",
        "asked_at",
        "asked_in",
        "asks",
        "asks_before",
        "barred",
        "confirmed",
        "conflicted",
        "denials",
        "denied_since",
        "disturbed",
        "exhausted",
        "first_resume",
        "found",
        "half_told",
        "key_refused",
        "known",
        "last_question",
        "misses",
        "next_at",
        "outstanding",
        "polls",
        "progress",
        "question",
        "refusals",
        "resends",
        "reused",
        "silences",
        "sockets",
        "strikes",
        "told",
        "troubled",
        "unknown",
        "word",
    )

    def __init__(self) -> None:
        # The server proved that it has the task. The socket or POST that carried it broke.
        self.confirmed = False
        self.disturbed = False
        # When it may first be asked about, and the socket on which it waits for the replay.
        # Neither starts again when that socket dies too, or frequent cuts would starve the task.
        self.ask_from = 0.0
        self.first_resume = 0
        # What is being asked, since when, and in which frame of questions. ``outstanding``: so many
        # questions may still be answered, those that were given up among them; ``silences``: so
        # many in a row were not answered in time; ``told``: the last one brought something, but an
        # error may belong to the same answer; ``half_told``: so it was when the next was asked.
        self.question: QuestionType | None = None
        self.asked_at = 0.0
        self.asked_in = 0
        self.last_question: QuestionType | None = None
        self.outstanding = self.silences = 0
        self.told = self.half_told = False
        self.next_at = FOREVER
        self.asks = 0
        self.polls = 0
        # Questions in a row that brought nothing; and since when, and how often, the server has
        # said that there is no such task although it had shown that it has it.
        self.misses = 0
        # So many sockets were ready since its first cut.
        self.sockets = 0
        self.denials = 0
        self.denied_since = 0.0
        # Whether a poll has told of it while it ran.
        self.found = False
        # What the server keeps saying in answer to questions: an error's code, who said it first,
        # since when, and how often.
        self.word: Word | None = None
        # How often it has been resent, and how many questions were asked before its last copy or
        # socket. Since that copy: when a question about it was first answered (0: never), the
        # kinds of question that cannot bring more, and those that the task counts as unknown by
        # (see ``exhaust``).
        self.resends = 0
        self.asks_before = 0
        self.answered_at = 0.0
        # The code with which a copy was not let in, and how often one seems to have been refused.
        self.barred: str | None = None
        self.refusals = 0
        self.exhausted = self.troubled = self.unknown = 0
        # Its taskUUID was given up without an answer before, so the server may know it.
        self.reused = False
        # A conflict told that an earlier copy had arrived: its answer may never come by itself.
        self.conflicted = False
        # A task whose frame ended a socket is sent alone, and not a third time.
        self.alone = False
        self.strikes = 0
        # Its POST was refused for the key.
        self.key_refused = False
        # The server's latest word on progress, and what tells the results that came from copies.
        self.progress: dict[str, Any] | None = None
        self.known: list[Identity] | None = None

    @property
    def may_answer(self) -> bool:
        """Whether an answer to a question about the task may come: ours, or its first try's."""
        return self.asks > 0 or self.reused


class _Untouched(Ladder):
    """Shared by all tasks without a ladder of their own, so it cannot be changed."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        # ``known`` is the last attribute that Ladder() sets.
        if hasattr(self, "known"):
            raise TypeError(f"a task's own ladder is changed, not {name} of all tasks")
        super().__setattr__(name, value)


UNTOUCHED = _Untouched()
"""The foot of the ladder: the position of every task that never needed recovery."""
