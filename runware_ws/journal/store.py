"""What a journal's store must do. Write your own, and try it with ``runware_ws.testing.stores``.

A store keeps *entries* (a task each) and *owners* (a client each). All of its methods block; they
are called from one thread, and never by two at once. Times are wall-clock seconds since the epoch,
because they are compared by other processes, perhaps on other machines.

What it rests on: a transaction is durable once :meth:`Store.transaction` was left without an
exception, and none of it is there otherwise; and an owner's lock is freed by the kernel or the
database when its process dies, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from runware_ws.errors import JournalError

__all__ = [
    "Adoption",
    "BatchTransaction",
    "Collided",
    "EndedEntry",
    "Entry",
    "EntryHead",
    "EntryState",
    "GiveUpTransaction",
    "HeadTransaction",
    "HoldTransaction",
    "NewEntry",
    "Store",
    "Transaction",
]


class Collided(JournalError):
    """A transaction met another one and was undone: it may be tried again at once."""


class EntryState(StrEnum):
    """``OPEN``: what became of the task is not recorded. ``DONE``: it has its result.
    ``FAILED``: the server's verdict is recorded."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


# Not frozen: one is made for each task, and a frozen one takes six times as long.
@dataclass(slots=True)
class NewEntry:
    """A task that is about to be sent for the first time.

    ``uuid``: its taskUUID. ``key``: the caller's idempotency key; ``None`` if there is none; at
    most 500 characters, without U+0000 and lone surrogates, which not every store can keep.
    ``digest``: of the content that belongs to the key. ``payload``: the task's JSON.
    """

    uuid: str
    key: str | None
    digest: bytes
    payload: bytes
    created: float


@dataclass(frozen=True, slots=True)
class Entry:
    """What is recorded of a task.

    ``attempt`` counts from 1. ``owner``: the client that answers for it, also when that is gone;
    negative where that has given it up, and anybody may take it.
    ``payload`` is ``None`` once there is an outcome. ``outcome``: JSON whose meaning is the
    journal's; ``None`` while it is open.
    """

    uuid: str
    key: str | None
    attempt: int
    digest: bytes
    payload: bytes | None
    owner: int
    state: EntryState
    outcome: bytes | None
    created: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class Adoption:
    """What dead owners left: entries that are the caller's now, and one session to resume.

    The entries are those that are open, and those without a key that are done: nobody was sure
    to have been given their results. ``session`` is that of the owner with the most open entries;
    ``None`` if none of those with open entries has recorded one.
    """

    entries: Sequence[Entry]
    session: str | None


class Transaction(Protocol):
    """All of it becomes durable at once, or nothing. Everything is about the store's own target."""

    def begin(self, new: NewEntry) -> Entry | None:
        """Insert an open entry of this owner. If its key is taken, or else its taskUUID, insert
        nothing and return the entry that has it."""
        ...

    def again(self, uuid: str, new: NewEntry) -> bool:
        """Make a failed entry the next attempt: open, this owner's, with the taskUUID and the rest
        of ``new``. False if ``uuid`` is not there (any more) or has not failed."""
        ...

    def adopt(self, uuid: str, owner: int) -> bool:
        """Make the open entry ``uuid`` of ``owner`` this owner's. False if it is not there, is not
        open, belongs to somebody else by now, or ``owner`` is alive. ``owner`` may be this one:
        then it is true while the entry is open."""
        ...

    def adopt_all(self) -> Adoption:
        """Take over everything that dead owners of this target left, and forget these owners."""
        ...

    def end(self, uuid: str, state: EntryState, outcome: bytes, now: float) -> bool:
        """Record the outcome of an open entry of this owner, and drop its payload. False if there
        is no such entry."""
        ...

    def drop(self, uuid: str) -> None:
        """Forget an entry of this owner, if there is one."""
        ...

    def session(self, session: str) -> None:
        """Record the session that this owner uses now."""
        ...

    def find(self, key: str) -> Entry | None:
        """The entry that has ``key``."""
        ...

    def entries(self, *, after: str = "", limit: int = 1_000) -> Sequence[Entry]:
        """Entries of this target in the order of their taskUUIDs, behind ``after``."""
        ...

    def prune(self, before: float, max_bytes: int) -> int:
        """Forget what ended before ``before``, and then the oldest outcomes until those left take
        at most ``max_bytes``. Open entries stay, and so does what ends in the future: it is held,
        and its bytes do not count. Returns how many went: a store may forget a part only, so that
        nobody waits for it; call again, in a transaction of its own, until it returns 0."""
        ...


@dataclass(slots=True)
class EndedEntry:
    """The arguments of one :meth:`Transaction.end`."""

    uuid: str
    state: EntryState
    outcome: bytes
    now: float


@runtime_checkable
class BatchTransaction(Protocol):
    """What a transaction may offer besides, where each statement has a way to go, as to a database
    on another host. Whoever writes uses it where it is there."""

    def begin_many(self, new: Sequence[NewEntry]) -> Sequence[Entry | None]:
        """What :meth:`Transaction.begin` returns for each, one after the other."""
        ...

    def end_many(self, ended: Sequence[EndedEntry]) -> Sequence[bool]:
        """What :meth:`Transaction.end` returns for each, one after the other."""
        ...


@dataclass(frozen=True, slots=True)
class EntryHead:
    """What an entry is called, and how far it is: an :class:`Entry` without its contents."""

    uuid: str
    key: str
    state: EntryState
    created: float
    ended: float | None


@runtime_checkable
class HeadTransaction(Protocol):
    """What a transaction may offer besides, so that looking for keys need not read everything."""

    def heads(self, prefix: str, limit: int) -> Sequence[EntryHead]:
        """The entries of this target whose keys begin with ``prefix``, those that were begun last
        first, ``limit`` at most."""
        ...


@runtime_checkable
class HoldTransaction(Protocol):
    """What a transaction may offer besides, so that what was held need not stay until then."""

    def release(self, prefix: str, now: float) -> int:
        """Say that the entries of this target whose keys begin with ``prefix``, and that have ended
        later than ``now``, ended now. Returns how many these are."""
        ...


@runtime_checkable
class GiveUpTransaction(Protocol):
    """What a transaction may offer besides, so that a key whose caller gave up is not waited for
    by others as long as its owner lives."""

    def give_up(self, uuids: Sequence[str]) -> None:
        """Leave those of these entries that are open and this owner's to whoever asks for them:
        from then on each is told with an owner that counts as dead for :meth:`Transaction.adopt`.
        :meth:`Transaction.adopt_all` still takes them only when this owner is dead."""
        ...


@runtime_checkable
class Store(Protocol):
    """A place for a journal. Open it once; every client has a store of its own."""

    @property
    def place(self) -> str:
        """Where it is, for messages; without a password."""
        ...

    def open(self, target: str, now: float) -> None:
        """Create what is missing, register a new owner, and take its lock.

        ``target`` names the server whose tasks these are: entries of another one are not seen.

        Raises:
            JournalError: it cannot be used: not a journal, broken, newer than this library,
                not writable. The message names the place and the cure.
        """
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """One transaction; durable once the block was left without an exception.

        Raises:
            Fenced: this owner was declared dead, so its entries are somebody else's by now.
            Collided: it met another one. A client that starts tries again at once.
            JournalError: it could not be made durable, and none of it is there. ``temporary``
                says whether the same may work later (locked, the database is away). Where a
                connection broke in the midst of the commit, nobody knows whether it is there: such
                a store says ``in_doubt``, and takes the same again as if it was the first time.
                ``about_data`` says that a value was refused, so the same without it may be
                written: then each task is tried alone.
        """
        ...

    def version(self) -> int:
        """A number that changes when another owner has committed. Cheap; no transaction."""
        ...

    def fence(self, owner: int) -> bool:
        """Declare an owner dead that its lock says is alive (it hangs, or its machine does). From
        then on all its transactions fail with ``Fenced``. False if there is no such owner."""
        ...

    def close(self) -> None:
        """Free the owner's lock, and forget the owner if it leaves nothing to adopt. Its open
        entries stay, for others. Idempotent; never raises."""
        ...
