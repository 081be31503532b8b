"""Notes: what somebody records beside tasks, under a key, so that a later process finds it.

A note is an entry that is done from the moment it is there, so nobody adopts it and no task is ever
sent for it: who submits a task under its key is told of a conflict. A note never changes. It may be
held: then it is not pruned until it is released, or until a time that lies far ahead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from uuid import uuid4

from runware_ws.journal.holding import as_journal_error
from runware_ws.journal.link import WriterLink
from runware_ws.journal.store import EntryState, HoldTransaction, NewEntry, Transaction
from runware_ws.models.content import content_digest

__all__ = ["Note", "Notes"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Note:
    """``held_until``: wall-clock seconds; ``None``: it is not held."""

    key: str
    content: bytes
    held_until: float | None = None


class Notes:
    """See the top of the module. All of it is cancel-safe."""

    def __init__(self, link: WriterLink) -> None:
        self._link = link

    async def put(self, *notes: Note, release: Mapping[str, float] | None = None) -> bool:
        """Record all of them, or none; durable on return. False: something has the first one's
        key, which stays. ``release``: as :meth:`release`, in the same transaction, in any case.

        Raises:
            JournalError: they cannot be written.
        """
        uuids = [str(uuid4()) for _ in notes]
        return await self._do(partial(_put, notes, uuids, release or {}))

    async def read(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The notes of these keys; those that are not there are left out.

        Raises:
            JournalError: the journal cannot be read.
        """
        return await self._do(partial(_read, keys))

    async def release(self, prefixes: Mapping[str, float]) -> bool:
        """Notes whose keys begin so are held no longer: they count as ended at these times, from
        which on they are pruned like results. At 0, they are gone for :meth:`read` at once. False:
        this store cannot do it, so they stay until what they are held for.

        Raises:
            JournalError: it cannot be written.
        """
        return await self._do(partial(_release, prefixes))

    async def _do(self, work: Callable[[Transaction], T]) -> T:
        answer, error = await self._link.do(work)
        if error is not None or answer is None:
            raise as_journal_error(error)
        return answer


def _put(
    notes: Sequence[Note],
    uuids: Sequence[str],
    release: Mapping[str, float],
    transaction: Transaction,
) -> bool:
    _release(release, transaction)
    now = time.time()
    for number, (note, uuid) in enumerate(zip(notes, uuids, strict=True)):
        taken = transaction.begin(NewEntry(uuid, note.key, _NOTHING, b"{}", now))
        if taken is None:
            ended = now if note.held_until is None else note.held_until
            transaction.end(uuid, EntryState.DONE, note.content, ended)
        # It may be ours, where a commit was in doubt and is made again.
        elif number == 0 and taken.uuid != uuid:
            return False
    return True


_NOTHING = content_digest(b"{}")


def _read(keys: Sequence[str], transaction: Transaction) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for key in keys:
        entry = transaction.find(key)
        if entry is not None and entry.outcome is not None and entry.ended:
            found[key] = entry.outcome
    return found


def _release(prefixes: Mapping[str, float], transaction: Transaction) -> bool:
    if not isinstance(transaction, HoldTransaction):
        return False
    for prefix, at in prefixes.items():
        transaction.release(prefix, at)
    return True
