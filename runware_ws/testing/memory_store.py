"""A journal in memory: the plainest store there is, for tests and simulations.

A :class:`MemoryJournal` is what would be on the disk. Each of its stores is an owner of its own, as
if it were in a process of its own, and dies when it is told to. Other stores are compared with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Hashable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from runware_ws.errors import Fenced, JournalError
from runware_ws.journal.store import Adoption, Entry, EntryState, NewEntry

__all__ = ["MemoryJournal", "MemoryStore"]

_PATIENCE = 10.0


@dataclass(slots=True)
class _Owner:
    target: str
    alive: bool = True
    fenced: bool = False
    session: str | None = None


class MemoryJournal:
    """What was committed, for all the stores of one journal.

    ``commits`` counts transactions that were committed.
    """

    def __init__(self) -> None:
        self.commits = 0
        self.rows: dict[tuple[str, str], Entry] = {}
        """Entries by target and taskUUID."""
        self.owners: dict[int, _Owner] = {}
        self.lock = threading.Lock()
        self.last_owner = 0

    def store(self) -> MemoryStore:
        """A new store of this journal, not open yet."""
        return MemoryStore(self)


class MemoryStore:
    """See :class:`runware_ws.journal.store.Store`.

    ``trouble``: while it is set, each transaction is undone where it would be committed, and
    raises it.
    """

    def __init__(self, journal: MemoryJournal) -> None:
        self.trouble: JournalError | None = None
        self.owner = 0
        self._journal = journal
        self._target = ""
        self._own_commits = 0
        self._work: _Work | None = None

    @property
    def place(self) -> str:
        return "memory"

    def open(self, target: str, now: float) -> None:
        journal = self._journal
        if self.owner:
            raise JournalError("memory: this store is open already: make another one")
        journal.last_owner += 1
        self.owner = journal.last_owner
        self._target = target
        journal.owners[self.owner] = _Owner(target)

    @contextmanager
    def transaction(self) -> Generator[MemoryTransaction]:
        journal = self._journal
        if not self.owner:
            raise JournalError("memory: the journal is not open here")
        if not journal.lock.acquire(timeout=_PATIENCE):
            raise JournalError("memory: another store keeps the journal locked", temporary=True)
        work = self._work = _Work(journal)
        try:
            own = journal.owners.get(self.owner)
            if own is None or own.fenced:
                raise Fenced("memory: this client was declared dead: make a new one")
            yield MemoryTransaction(work, self.owner, self._target)
            if self.trouble is not None:
                raise self.trouble
            work.commit()
            self._own_commits += 1
        finally:
            if self._work is work:
                self._end(work)

    def version(self) -> int:
        return self._journal.commits - self._own_commits

    def fence(self, owner: int) -> bool:
        with self.transaction() as work:
            return work.fence(owner)

    def close(self) -> None:
        if self.owner in self._journal.owners:
            own = self._journal.owners[self.owner]
            if not own.fenced and not any(
                left_by(entry, self.owner) for entry in self._journal.rows.values()
            ):
                del self._journal.owners[self.owner]
        self.die()

    def die(self) -> None:
        """As if its process was killed: also in the midst of a transaction, of which nothing
        stays."""
        if self._work is not None:
            self._end(self._work)
        if (own := self._journal.owners.get(self.owner)) is not None:
            own.alive = False
        self.owner = 0

    def _end(self, work: _Work) -> None:
        work.undo()
        self._work = None
        self._journal.lock.release()


class _Work:
    """What a transaction changed, and how it was before."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.journal: MemoryJournal = journal
        self._before: list[tuple[dict[Any, Any], Hashable, object]] = []
        self.over = False

    def put(self, where: dict[Any, Any], key: Hashable, value: object) -> None:
        """Set, or remove where the value is ``None``."""
        if self.over:
            raise RuntimeError("this transaction is over")
        self._before.append((where, key, where.get(key)))
        _put(where, key, value)

    def commit(self) -> None:
        if self.over:
            raise JournalError("memory: the process died")
        self._before.clear()
        self.journal.commits += 1

    def undo(self) -> None:
        self.over = True
        while self._before:
            _put(*self._before.pop())


def _put(where: dict[Any, Any], key: Hashable, value: object) -> None:
    if value is None:
        where.pop(key, None)
    else:
        where[key] = value


def left_by(entry: Entry, owner: int) -> bool:
    """Whether others adopt ``entry`` when ``owner`` is dead."""
    return abs(entry.owner) == owner and (
        entry.state is EntryState.OPEN or (entry.state is EntryState.DONE and entry.key is None)
    )


class MemoryTransaction:
    """See :class:`runware_ws.journal.store.Transaction`."""

    def __init__(self, work: _Work, owner: int, target: str) -> None:
        self._work = work
        self._owner = owner
        self._target = target
        self._rows = work.journal.rows
        self._owners = work.journal.owners

    def begin(self, new: NewEntry) -> Entry | None:
        taken = self.find(new.key) if new.key is not None else None
        taken = taken or self._rows.get((self._target, new.uuid))
        if taken is None:
            self._set(new.uuid, self._open(new, 1))
        return taken

    def again(self, uuid: str, new: NewEntry) -> bool:
        entry = self._rows.get((self._target, uuid))
        if entry is None or entry.state is not EntryState.FAILED:
            return False
        self._set(uuid, None)
        self._set(new.uuid, self._open(new, entry.attempt + 1))
        return True

    def adopt(self, uuid: str, owner: int) -> bool:
        entry = self._rows.get((self._target, uuid))
        if (
            entry is None
            or entry.state is not EntryState.OPEN
            or entry.owner != owner
            or (owner != self._owner and not self._is_dead(owner))
        ):
            return False
        self._set(uuid, replace(entry, owner=self._owner))
        return True

    def adopt_all(self) -> Adoption:
        adopted: list[Entry] = []
        session: str | None = None
        most = 0
        for number, owner in list(self._owners.items()):
            if number == self._owner or owner.target != self._target or not self._is_dead(number):
                continue
            left = [entry for entry in self._mine() if left_by(entry, number)]
            still_open = sum(entry.state is EntryState.OPEN for entry in left)
            if owner.session is not None and still_open > most:
                session, most = owner.session, still_open
            for entry in left:
                adopted.append(replace(entry, owner=self._owner))
                self._set(entry.uuid, adopted[-1])
            self._work.put(self._owners, number, None)
        return Adoption(adopted, session)

    def end(self, uuid: str, state: EntryState, outcome: bytes, now: float) -> bool:
        entry = self._rows.get((self._target, uuid))
        if entry is None or entry.state is not EntryState.OPEN or entry.owner != self._owner:
            return False
        self._set(uuid, replace(entry, state=state, outcome=outcome, ended=now, payload=None))
        return True

    def drop(self, uuid: str) -> None:
        entry = self._rows.get((self._target, uuid))
        if entry is not None and entry.owner == self._owner:
            self._set(uuid, None)

    def session(self, session: str) -> None:
        own = self._owners[self._owner]
        self._work.put(self._owners, self._owner, replace(own, session=session))

    def find(self, key: str) -> Entry | None:
        return next((entry for entry in self._mine() if entry.key == key), None)

    def entries(self, *, after: str = "", limit: int = 1_000) -> Sequence[Entry]:
        behind = [entry for entry in self._mine() if entry.uuid > after]
        return sorted(behind, key=lambda entry: entry.uuid)[:limit]

    def release(self, prefix: str, now: float) -> int:
        """See :class:`runware_ws.journal.store.HoldTransaction`."""
        held = [
            entry
            for entry in self._mine()
            if entry.key is not None
            and entry.key.startswith(prefix)
            and entry.ended is not None
            and entry.ended > now
        ]
        for entry in held:
            self._set(entry.uuid, replace(entry, ended=now))
        return len(held)

    def give_up(self, uuids: Sequence[str]) -> None:
        """See :class:`runware_ws.journal.store.GiveUpTransaction`."""
        for uuid in uuids:
            entry = self._rows.get((self._target, uuid))
            if entry is not None and entry.state is EntryState.OPEN and entry.owner == self._owner:
                self._set(uuid, replace(entry, owner=-self._owner))

    def prune(self, before: float, max_bytes: int) -> int:
        now = max(time.time(), before)
        ended = [
            (entry.ended, entry)
            for entry in self._mine()
            if entry.ended is not None and entry.ended <= now
        ]
        ended.sort(key=lambda each: each[0])
        room = sum(len(entry.outcome or b"") for when, entry in ended if when >= before)
        gone = 0
        for when, entry in ended:
            if when >= before:
                if room <= max_bytes:
                    break
                room -= len(entry.outcome or b"")
            self._set(entry.uuid, None)
            gone += 1
        return gone

    def fence(self, owner: int) -> bool:
        found = self._owners.get(owner)
        if found is None:
            return False
        self._work.put(self._owners, owner, replace(found, fenced=True))
        return True

    # Inside

    def _mine(self) -> list[Entry]:
        return [entry for (target, _), entry in self._rows.items() if target == self._target]

    def _set(self, uuid: str, entry: Entry | None) -> None:
        self._work.put(self._rows, (self._target, uuid), entry)

    def _open(self, new: NewEntry, attempt: int) -> Entry:
        return Entry(
            *(new.uuid, new.key, attempt, new.digest, new.payload, self._owner),
            *(EntryState.OPEN, None, new.created, None),
        )

    def _is_dead(self, number: int) -> bool:
        owner = self._owners.get(number)
        return owner is None or owner.fenced or not owner.alive
