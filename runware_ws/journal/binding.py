"""What the keeper has done in a transaction: tasks begin, keys are taken, tasks end.

All of it runs in the writer's thread, and may be undone and run again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from runware_ws._core.tasks.record import TaskRecord
from runware_ws.journal.keys import Keyed, under_uuid
from runware_ws.journal.outcomes import is_attempt_over
from runware_ws.journal.store import (
    BatchTransaction,
    EndedEntry,
    Entry,
    EntryState,
    GiveUpTransaction,
    NewEntry,
    Transaction,
)
from runware_ws.journal.tallies import Share, add_shares
from runware_ws.models.content import is_same_content, is_same_task

__all__ = [
    "Beginning",
    "Begun",
    "EndsWritten",
    "EntryEnd",
    "add_up",
    "bind",
    "end",
    "forget",
    "give_up",
    "nothing",
    "prune",
]


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of a task that was to be entered.

    ``entry``: the one that has its key, or its taskUUID; ``None`` if it is entered as it is.
    ``ours``: that entry is open, and we answer for it now. ``known``: it may have been sent.
    ``left_out``: the task had ended before it was entered, and is not in the journal.
    """

    entry: Entry | None = None
    ours: bool = False
    known: bool = True
    left_out: bool = False


_AS_IT_IS = Begun()
_LEFT_OUT = Begun(left_out=True)


class Beginning:
    """Tasks that are entered together, or part by part: a part is a range of them.

    A task may end while it is being entered, and then its caller wants to be told that it will
    never be sent. So it is left out, unless it is too late for that, because a transaction has it
    and may be committed at any moment.
    """

    def __init__(self) -> None:
        self.records: list[TaskRecord] = []
        self._new: list[NewEntry] = []
        self._out: set[TaskRecord] = set()
        self._lock = threading.Lock()
        # Those that a transaction has.
        self._taken: set[TaskRecord] = set()

    def add(self, record: TaskRecord) -> None:
        """One more. Its entry is made now, because a task forgets itself when it ends."""
        keyed: Keyed | None = record.entry
        key, digest = (None, b"") if keyed is None else (keyed.key, keyed.digest)
        self.records.append(record)
        self._new.append(NewEntry(record.uuid, key, digest, record.payload, time.time()))

    def leave_out(self, record: TaskRecord) -> bool:
        """Do not enter this task. False if it is too late."""
        with self._lock:
            if record in self._taken:
                return False
            self._out.add(record)
            return True

    def work(self, part: range, transaction: Transaction) -> list[Begun]:
        """Enter them."""
        records = self.part(part)
        with self._lock:
            self._taken.update(records)
        new = self._new[part.start : part.stop]
        some = [number for number, record in enumerate(records) if record not in self._out]
        # In the order of their keys: two processes that take them in different orders would wait
        # for each other.
        some.sort(key=lambda number: new[number].key or "")
        begun = [_LEFT_OUT] * len(records)
        found = _begin(transaction, [new[number] for number in some])
        for number, entry in zip(some, found, strict=True):
            begun[number] = _AS_IT_IS if entry is None else bind(transaction, new[number], entry)
        return begun

    def undone(self, part: range) -> None:
        """None of them was entered."""
        with self._lock:
            self._taken.difference_update(self.part(part))

    def part(self, part: range) -> list[TaskRecord]:
        """The tasks of a part."""
        return self.records[part.start : part.stop]


@dataclass(slots=True)  # Not frozen, see NewEntry.
class EntryEnd:
    """The end of an entry: an outcome that is recorded or, without a ``state``, it is forgotten.

    ``share``: what it adds to a tally. ``keep``: neither; it is only made sure that the entry is
    still ours.
    """

    uuid: str
    key: str | None
    state: EntryState | None = None
    outcome: bytes = b""
    share: Share | None = None
    keep: bool = False


@dataclass(frozen=True, slots=True)
class EndsWritten:
    """What became of ends that were written. False: there is no such open entry of ours any more.

    ``shares``: what those add to tallies that were not there before.
    """

    written: list[bool]
    shares: list[Share]


def end(ends: Sequence[EntryEnd], transaction: Transaction) -> EndsWritten:
    """Write these ends; :func:`add_up` does the rest."""
    now = time.time()
    # To ask what a transaction offers takes longer than to write one.
    if len(ends) > 1 and isinstance(transaction, BatchTransaction):
        ended = [
            EndedEntry(each.uuid, each.state, each.outcome, now)
            for each in ends
            if each.state is not None
        ]
        written = iter(transaction.end_many(ended))
    else:
        written = iter(
            [
                transaction.end(each.uuid, each.state, each.outcome, now)
                for each in ends
                if each.state is not None
            ]
        )
    answers: list[bool] = []
    shares: list[Share] = []
    for each in ends:
        if each.state is None:
            if not each.keep:
                transaction.drop(each.uuid)
            answers.append(True)
        elif next(written):
            answers.append(True)
            if each.share is not None:
                shares.append(each.share)
        else:
            answers.append(_was_written(transaction, each))
    return EndsWritten(answers, shares)


def add_up(ends: Sequence[EndsWritten], transaction: Transaction) -> None:
    """Add to the tallies what these ends add to them."""
    add_shares([share for each in ends for share in each.shares], transaction)


def _was_written(transaction: Transaction, ended: EntryEnd) -> bool:
    """Whether it is there already: a connection may break after the commit, before we hear of it.
    Then it is written a second time."""
    found = _find(transaction, ended.uuid, ended.key)
    return found is not None and found.outcome == ended.outcome


def _find(transaction: Transaction, uuid: str, key: str | None) -> Entry | None:
    if key is not None:
        near: Iterable[Entry | None] = [transaction.find(key)]
    else:
        near = transaction.entries(after=uuid[:-1], limit=64)
    return next((each for each in near if each is not None and each.uuid == uuid), None)


def renewed(new: NewEntry) -> NewEntry:
    """The same task under a taskUUID of its own."""
    uuid = str(uuid4())
    return replace(new, uuid=uuid, payload=under_uuid(new.payload, new.uuid, uuid))


def _begin(transaction: Transaction, new: Sequence[NewEntry]) -> Sequence[Entry | None]:
    if len(new) > 1 and isinstance(transaction, BatchTransaction):
        return transaction.begin_many(new)
    return [transaction.begin(each) for each in new]


def bind(transaction: Transaction, new: NewEntry, entry: Entry) -> Begun:
    """What becomes of a task whose key, or whose taskUUID, ``entry`` has."""
    if entry.key != new.key:
        # The task was used before, under another key or under none.
        if new.key is None:
            return Begun(entry)
        other = renewed(new)
        taken = transaction.begin(other)
        if taken is None:
            return Begun(_opened(other), ours=True, known=False)
        entry = taken
    if not _is_same(entry, new):
        return Begun(entry)
    if is_attempt_over(entry):
        other = renewed(new)
        if transaction.again(entry.uuid, other):
            return Begun(_opened(other), ours=True, known=False)
        # Another process has begun the next attempt meanwhile.
        if (taken := transaction.begin(other)) is None:
            return Begun(_opened(other), ours=True, known=False)
        return Begun(taken)
    if entry.state is EntryState.OPEN:
        return Begun(entry, transaction.adopt(entry.uuid, entry.owner))
    return Begun(entry)


def _is_same(entry: Entry, new: NewEntry) -> bool:
    """Whether this entry is of the same task. Without a key, it is known while it is open."""
    if new.key is None and entry.payload is not None:
        return is_same_task(entry.payload, new.payload)
    return is_same_content(entry.digest, new.digest, new.payload)


def _opened(new: NewEntry) -> Entry:
    """The entry that was made of it; what we do not know of it nobody asks."""
    return Entry(
        new.uuid,
        new.key,
        0,
        new.digest,
        new.payload,
        owner=0,
        state=EntryState.OPEN,
        outcome=None,
        created=new.created,
        ended=None,
    )


def forget(uuids: Sequence[str], transaction: Transaction) -> None:
    """Forget these entries."""
    for uuid in uuids:
        transaction.drop(uuid)


def give_up(uuids: Sequence[str], transaction: Transaction) -> None:
    """Leave these entries to whoever asks for them, if this store can do it."""
    if isinstance(transaction, GiveUpTransaction):
        transaction.give_up(uuids)


def nothing(_: Transaction) -> None:
    """Only show that we are not fenced."""


def prune(transaction: Transaction, *, keep: float, max_bytes: int) -> int:
    """Forget what is old, or too much."""
    return transaction.prune(time.time() - keep, max_bytes)
