"""What an error says where a question about a task was asked: about the task, or the question.

The same error may be either, and a task must not end with a word about a question. So an error
is the task's own only if it names the task's own type, or if no question can have caused it.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

from runware_ws._core.inbound.meaning import is_answer_about
from runware_ws._core.states import FOREVER
from runware_ws._core.tasks.ladder import ABOUT_OTHERS, READ_ONLY, QuestionType
from runware_ws._core.tasks.record import LAST_CALL, TaskRecord
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.wire_errors import WireError

__all__ = [
    "VERDICT_AFTER",
    "VERDICT_TIMES",
    "Meant",
    "insists",
    "is_answer_to_question",
    "is_listed_verdict",
    "is_lost",
    "is_receipt",
    "is_refusal_of_copy",
    "latest_to_hear",
    "meant",
]


VERDICT_AFTER = 5.0
VERDICT_TIMES = 3
"""An error that may be the question's is the task's own once it was said so often, for so long."""
LOST_AFTER = 120.0
LOST_TIMES = 6
"""A task that polls had told of is lost once it was denied so often, for so long."""


class Meant(Enum):
    """What an error that answers a question means.

    ``DENIAL``: there is no such task. ``VERDICT``: the task itself may have failed so, which is
    believed once the server repeats it. ``TROUBLE``: nothing about the task (load, rate, key,
    account, or the archive itself). ``UNSUPPORTED``: this kind of question is not taken.
    """

    DENIAL = "denial"
    VERDICT = "verdict"
    TROUBLE = "trouble"
    UNSUPPORTED = "unsupported"


_NEVER_THE_TASKS = frozenset(
    {ErrorFamily.RATE, ErrorFamily.SERVER, ErrorFamily.AUTH, ErrorFamily.QUOTA}
)

# The service's own trouble, under whatever family its code comes. Names as seen, and their like.
_TROUBLE = re.compile(
    r"archive|unavailable|noavailable|overload|capacity|busy|maintenance|getresponse|gettaskdetails",
    re.IGNORECASE,
)

# Other things than a task that may not be found: what is missing is named before ``NotFound``.
_OF_A_TASK = re.compile(r"(task.*|.*task|response|result|request|)(notfound|expired)|404", re.I)


def is_answer_to_question(record: TaskRecord, error: WireError, *, early: bool) -> bool:
    """Whether an error may be about a question, rather than about the task itself.

    ``early``: it came before the reply to the authentication, so it may be a replayed answer.
    """
    ladder = record.ladder
    if record.task_type in READ_ONLY and error.task_type == record.task_type:
        # The task is itself such a question, and this is its answer.
        return False
    if error.task_type in ABOUT_OTHERS:
        return True
    if error.task_type == record.task_type:
        # A server that does not know a task may still name the type that it was asked about.
        return ladder.may_answer and _denies(error)
    if ladder.outstanding or (early and ladder.may_answer):
        return True
    # Each may have been answered; but an answer may come twice, and a task that was taken in is
    # not refused.
    return ladder.may_answer and meant(error) is not Meant.VERDICT


def is_listed_verdict(record: TaskRecord, item: dict[str, Any], error: WireError) -> bool:
    """Whether an item's error is that of a generation that a poll lists: those tell a status.

    One under a question's type may be about the question, if its code says so.
    """
    if item.get("status") is None or error.family in (ErrorFamily.NOT_FOUND, ErrorFamily.CONFLICT):
        return False
    return not is_answer_about(record, item) or (
        error.task_type == QuestionType.POLL and meant(error) is Meant.VERDICT
    )


def is_receipt(record: TaskRecord, error: WireError) -> bool:
    """Whether a conflict only says that an earlier copy of this very task had arrived.

    A task with a key may have been sent by a process whose journal is lost: the key is new
    then, and the taskUUID that its caller gave is not.
    """
    ladder = record.ladder
    return error.family is ErrorFamily.CONFLICT and (
        record.copied or ladder.disturbed or ladder.confirmed or record.entry is not None
    )


def is_refusal_of_copy(record: TaskRecord, error: WireError) -> bool:
    """Whether an error may only say that another copy of the task was not let in.

    A server that is busy, or out of money, says so before it looks whether it has the task.
    """
    return record.copied and error.family in _NEVER_THE_TASKS


def _denies(error: WireError) -> bool:
    code = error.code.strip()[:200]
    return error.family is ErrorFamily.NOT_FOUND and _OF_A_TASK.fullmatch(code) is not None


def meant(error: WireError) -> Meant:
    """What an error means that may be about a question."""
    if _denies(error):
        return Meant.DENIAL
    fam = error.family
    if fam in _NEVER_THE_TASKS or _TROUBLE.search(error.code[:200]):
        return Meant.TROUBLE
    if fam is ErrorFamily.VALIDATION:
        # A task that was refused for what it asks was refused when it came.
        return Meant.UNSUPPORTED
    return Meant.VERDICT


def is_lost(record: TaskRecord, now: float) -> bool:
    """Whether a denied task was denied so often that the server must have lost it.

    Only one that a poll has told of: for all that is known, others may look unknown as long as
    they run.
    """
    if not record.ladder.found or record.delivery != "async":
        return False
    times, since = record.denied(now)
    return times >= LOST_TIMES and now - since >= LOST_AFTER


def insists(
    record: TaskRecord, error: WireError, question: QuestionType, now: float, *, older: int = 0
) -> bool:
    """Whether this error came in answer to one question after the other: then it is the task's.

    ``older``: so many older questions may still be answered, by which each may say it once. Those
    are no more than were asked before it was said for the first time.
    """
    word = record.heard(error.code, question, now)
    enough = VERDICT_TIMES + min(older, word.first)
    return word.times >= enough and now - word.since >= VERDICT_AFTER


def latest_to_hear(record: TaskRecord, now: float) -> float:
    """When a task that may have ended by the refusal of a copy is to be asked for at the latest:
    the server has to insist on it."""
    at = record.deadline - LAST_CALL - VERDICT_AFTER
    return at if record.ladder.barred is not None and at > now else FOREVER
