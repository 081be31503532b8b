"""What every output offers, whatever its format."""

from __future__ import annotations

import errno
from collections.abc import Container, Iterable, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from runware_ws.batch.writing.entries import (
    BATCH,
    COLUMNS,
    EMULATOR,
    OURS,
    ROW,
    RUNWARE,
    AnswerEntry,
    Bill,
    Shape,
    bill_of,
    inner,
)
from runware_ws.batch.writing.files import GONE
from runware_ws.batch.writing.jsontext import loads
from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.errors import Submitted
from runware_ws.models.jsonable import is_object

__all__ = [
    "AnyShape",
    "Found",
    "Order",
    "PriorAnswers",
    "PriorError",
    "Row",
    "Writer",
    "check_source",
    "foreign",
    "key_of",
    "prior_error",
    "read_record",
    "row_error",
    "unwritable",
]

Order = Iterable[tuple[int, int]]
"""The key and the number of each line, in the order of the input."""


AnyShape = Shape | Literal["row"]
"""Of a record, also in a side file."""

Row = dict[str, Any]
"""The cells of one line, by the names of :data:`~.entries.COLUMNS`."""


class PriorError(NamedTuple):
    """How a line ended in an earlier run.

    ``retryable``: it is to be tried again. ``unsure``: the taskUUID of a task that may have been
    run, and whose outcome nobody knows: ask for it before anything is sent anew. ``None``: there is
    no such task. ``task_uuid``: the task that ended so, whatever is known of it. ``safe``: nothing
    was run. ``retry_of``: the failed task that it was a new try of.
    """

    type: str
    code: str | None
    retryable: bool
    unsure: str | None = None
    task_uuid: str | None = None
    safe: bool = False
    retry_of: str | None = None


@dataclass(slots=True)
class PriorAnswers:
    """What an output held when it was opened, by line key.

    ``bill``: of all runs of this output, also of lines that were set aside. ``torn``:
    its last line was cut off, and was removed: that line is done again. ``begun``: lines that have
    a definite error here, and another try in the journal, whose end is not here yet. ``aside``:
    what was set aside; ``paid``: the lines and the taskUUIDs of what was paid for there.
    ``watched``: taskUUIDs of which somebody wants to know the lines; ``users``: these lines,
    ``None`` for several.
    """

    results: set[int] = field(default_factory=set[int])
    errors: dict[int, PriorError] = field(default_factory=dict[int, PriorError])
    begun: set[int] = field(default_factory=set[int])
    bill: Bill = field(default_factory=Bill)
    torn: bool = False
    aside: PriorAnswers | None = None
    paid: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])
    watched: Container[str] = frozenset[str]()
    users: dict[str, int | None] = field(default_factory=dict[str, int | None])

    def count(self, key: int, uuid: object, bill: Bill) -> None:
        """Add what the answer of a line cost, which is that of task ``uuid``.

        A kill while an answer was moved leaves it here and aside: it was paid for once.
        """
        name = uuid.lower() if isinstance(uuid, str) else ""
        if name in self.watched and self.users.setdefault(name, key) != key:
            self.users[name] = None
        if self.aside is None or (key, uuid) not in self.aside.paid:
            self.bill = self.bill.plus(bill)

    def is_others(self, uuid: str, key: int) -> bool:
        """Whether this watched taskUUID has been used for another line."""
        aside = self.aside is not None and self.aside.is_others(uuid, key)
        return aside or self.users.get(uuid.lower(), key) != key

    def done(self, key: int, *, retry_errors: bool = False) -> bool:
        """Whether this line needs nothing. ``retry_errors``: definite errors are tried again."""
        if key in self.results:
            return True
        error = self.errors.get(key)
        if error is None or key in self.begun:
            return False
        return not error.retryable and not retry_errors

    def keys(self) -> set[int]:
        """All lines that it has an answer for, errors included."""
        return self.results | self.errors.keys()

    def recall(self, key: int) -> bool:
        """Take up what was set aside of this line, if there is nothing else; whether it was so."""
        aside = self.aside
        if aside is None or key in self.results or key in self.errors:
            return False
        if key not in aside.results and key not in aside.errors:
            return False
        self.note(key, aside.errors.get(key))
        return True

    def note(self, key: int, error: PriorError | None) -> bool:
        """Take up one answer; whether the key was there before. A result beats every error."""
        again = key in self.results or key in self.errors
        if error is None:
            self.results.add(key)
            self.errors.pop(key, None)
        elif key not in self.results:
            self.errors[key] = error
        return again


class Writer(Protocol):
    """One output, locked against other runs until :meth:`close`.

    Call :meth:`known` first, then :meth:`write` for each line that ends, then :meth:`finish`
    once, also after an end before time. Whoever leaves out ``finish`` (a kill) loses nothing: the
    next run goes on from what was written. Each method raises ``Stop`` with the place and the cure
    if the output cannot be read or written; what it held before is then still there, whole.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def can_resume(self) -> bool:
        """Whether it can be read again: a file, no pipe."""
        ...

    def known(self, watched: Container[str] = frozenset()) -> PriorAnswers:
        """What earlier runs wrote; a torn tail is mended. ``watched``: taskUUIDs of
        which somebody wants to know the lines.

        Raises:
            Stop: it holds what this command did not write, or answers from elsewhere.
        """
        ...

    def set_aside(self, keys: Set[int]) -> None:
        """These lines are in the input no more: :meth:`finish` moves them to ``OUT.stale``."""
        ...

    def bring_back(self, keys: Set[int]) -> None:
        """These lines are in the input again: what was set aside of them comes back, at once."""
        ...

    def write(self, entry: AnswerEntry) -> None:
        """Write one line, whole or not at all, so that the death of this process keeps it.

        A line that is written again replaces its older answer, unless that is a result and the
        new one an error.
        """
        ...

    def finish(self, order: Order | None = None) -> None:
        """Leave one line for each key, and the table of a table format.

        ``order`` is needed with ``sort`` only, which puts the lines in this order, under these
        numbers. Without ``sort`` it is ignored; with it, ``None`` leaves the order as it is.
        """
        ...

    def close(self) -> None:
        """Let go of the file and of the lock. Idempotent."""
        ...


def unwritable(name: str, exc: OSError, written: int = 0) -> Stop:
    """The end of a run whose output cannot be written."""
    kept = f"; the {written} lines that this run wrote before are kept" if written else ""
    if exc.errno == GONE:
        kept = ""
    cure = ": make room, then run it again" if exc.errno in _NO_ROOM else ""
    return Stop(ExitCode.USAGE, f"{name}: cannot be written: {exc.strerror or exc}{kept}{cure}")


_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def foreign(place: str) -> Stop:
    """The refusal of a file, or of a line of it, that some other program wrote."""
    return Stop(
        ExitCode.USAGE,
        f"{place}: was not written by this command: choose another output, or move this file away",
    )


def check_source(place: str, found: object, wanted: str) -> None:
    """Refuse answers that come from elsewhere.

    Raises:
        Stop: ``found`` is not ``wanted``.
    """
    if found == wanted:
        return
    if not isinstance(found, str):
        words = "does not tell where its answer comes from (an earlier version wrote it)"
    else:
        words = f"its answer comes from {_said(found)}, and this run asks {_said(wanted)}"
    raise Stop(ExitCode.USAGE, f"{place}: {words}: choose another output, or move this file away")


def _said(source: str) -> str:
    return {EMULATOR: "the emulator (--emulate)", RUNWARE: "Runware"}.get(source, source)


def key_of(text: object) -> int | None:
    """A key as an output spells it, read back."""
    if not isinstance(text, str) or not text.isascii() or not text.isalnum():
        return None
    try:
        return int(text, 16)
    except ValueError:
        return None


class Found(NamedTuple):
    """A record that was read back. ``error`` is ``None`` for a result."""

    key: int
    shape: AnyShape
    source: object
    error: PriorError | None
    bill: Bill
    task_uuid: object


def read_record(record: object) -> Found | None:
    """What a decoded line of JSONL says; ``None``: this command did not write it."""
    if not is_object(record):
        return None
    if "source" in record:
        key = key_of(record.get("key"))
        if key is None or not all(name in record for name in COLUMNS):
            return None
        error, bill = row_error(record), bill_of(record)
        return Found(key, ROW, record["source"], error, bill, record["task_uuid"])
    beside = record.get("runware")
    if "custom_id" in record and is_object(beside):
        shape, error, result = BATCH, beside.get("error"), record.get("result")
        if not is_object(result):
            return None
    else:
        shape, beside = OURS, record
        error, result = record.get("error"), record.get("result")
    key = key_of(beside.get("key"))
    if key is None or not (is_object(error) or is_object(result)):
        return None
    prior = prior_error(error) if is_object(error) else None
    ended = error if is_object(error) else result
    if shape == BATCH and prior is None:
        ended = inner(record, "result", "message", "runware")
    uuid = ended.get("task_uuid") if is_object(ended) else None
    return Found(key, shape, beside.get("from"), prior, bill_of(record), uuid)


def prior_error(error: dict[str, Any]) -> PriorError:
    """The error of a record, read back."""
    code, kind, uuid = error.get("code"), str(error.get("type")), error.get("task_uuid")
    # On a TaskError the server gave its verdict.
    unsure = kind != "TaskError" and error.get("submitted") != Submitted.NO.value
    known = uuid if isinstance(uuid, str) else None
    retry_of = error.get("retry_of")
    return PriorError(
        kind,
        None if code is None else str(code),
        error.get("retryable") is True,
        known if unsure else None,
        known,
        error.get("safe_to_resend") is True,
        retry_of if isinstance(retry_of, str) else None,
    )


def row_error(row: Row) -> PriorError | None:
    """The error in a row; ``None`` if it holds a result."""
    if row["error_type"] is None:
        return None
    told: object = None
    with suppress(ValueError):
        told = loads(str(row["raw"] or "").encode())
    whole = told if is_object(told) else {}
    # The cells count, in case somebody changed one.
    return prior_error(
        whole
        | {
            "type": row["error_type"],
            "code": row["error_code"],
            "retryable": row["error_retryable"],
            "task_uuid": row["task_uuid"],
        }
    )
