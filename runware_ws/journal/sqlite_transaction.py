"""One transaction in SQLite: what becomes of entries, as statements."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

from runware_ws.journal.store import Adoption, Entry, EntryHead, EntryState, NewEntry

__all__ = ["FIELDS", "SqliteTransaction", "entry_of"]

_STATES = (EntryState.OPEN, EntryState.DONE, EntryState.FAILED)
_NUMBERS = {state: number for number, state in enumerate(_STATES)}

_PRUNED_AT_ONCE = 1_000
"""So that nobody waits long for a transaction that prunes."""
FIELDS = "uuid, key, attempt, digest, payload, owner, state, outcome, created, ended"
_LEFT = "(state = 0 OR (state = 1 AND key IS NULL))"

_BEGIN = (
    "INSERT INTO entries (target, uuid, key, digest, payload, owner, created) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_AGAIN = (
    "UPDATE OR IGNORE entries SET uuid = ?, key = ?, attempt = attempt + 1, digest = ?, "
    "payload = ?, owner = ?, state = 0, outcome = NULL, size = 0, created = ?, ended = NULL "
    "WHERE target = ? AND uuid = ? AND state = 2"
)
_GIVE_UP = (
    "UPDATE entries SET owner = -owner WHERE target = ? AND uuid = ? AND owner = ? AND state = 0"
)
_END = (
    "UPDATE entries SET state = ?, outcome = ?, size = ?, ended = ?, payload = NULL "
    "WHERE target = ? AND uuid = ? AND owner = ? AND state = 0"
)
_PRUNE = (
    "DELETE FROM entries WHERE id IN (SELECT id FROM entries "
    "WHERE target = ? AND ended IS NOT NULL AND ended < ? ORDER BY ended LIMIT ?)"
)
# Not LIKE, which knows no index here: bounds that the index of the keys serves.
_BEGINS_SO = "key >= ? AND key < ? || char(1114111)"
_RELEASE = f"UPDATE entries SET ended = ? WHERE target = ? AND {_BEGINS_SO} AND ended > ?"
_SIZES = "FROM entries WHERE target = ? AND ended <= ?"


class SqliteTransaction:
    """See :class:`runware_ws.journal.store.Transaction`.

    ``run`` executes a statement on the connection that is in a transaction. ``is_dead`` tells of
    another owner of the same file. ``orphaned``: lock files of owners that are forgotten, to be
    removed once this is committed. ``left``: this owner is forgotten.
    """

    def __init__(
        self,
        run: Callable[..., sqlite3.Cursor],
        owner: int,
        target: int,
        is_dead: Callable[[int], bool],
    ) -> None:
        self._run = run
        self._owner = owner
        self._target = target
        self._is_dead = is_dead
        self.orphaned: list[str] = []
        self.left = False

    def over(self) -> None:
        """Nothing may be done in it any more."""
        self._run = _over

    def begin(self, new: NewEntry) -> Entry | None:
        done = self._run(
            _BEGIN,
            (self._target, new.uuid, new.key, new.digest, new.payload, self._owner, new.created),
        )
        if done.rowcount:
            return None
        if new.key is not None and (entry := self.find(new.key)) is not None:
            return entry
        return entry_of(
            self._run(
                f"SELECT {FIELDS} FROM entries WHERE target = ? AND uuid = ?",
                (self._target, new.uuid),
            ).fetchone()
        )

    def again(self, uuid: str, new: NewEntry) -> bool:
        done = self._run(
            _AGAIN,
            (
                *(new.uuid, new.key, new.digest, new.payload, self._owner, new.created),
                *(self._target, uuid),
            ),
        )
        return done.rowcount == 1

    def adopt(self, uuid: str, owner: int) -> bool:
        if owner != self._owner and not self._is_dead(owner):
            return False
        done = self._run(
            "UPDATE entries SET owner = ? WHERE target = ? AND uuid = ? AND owner = ? "
            "AND state = 0",
            (self._owner, self._target, uuid, owner),
        )
        return done.rowcount == 1

    def adopt_all(self) -> Adoption:
        others = self._run(
            "SELECT id, lock, session FROM owners WHERE target = ? AND id != ?",
            (self._target, self._owner),
        ).fetchall()
        entries: list[Entry] = []
        session: str | None = None
        most = 0
        for owner, lock, its_session in others:
            if not self._is_dead(owner):
                continue
            still_open: int = self._run(
                "SELECT count(*) FROM entries WHERE owner IN (?, ?) AND state = 0",
                (owner, -owner),
            ).fetchone()[0]
            if its_session is not None and still_open > most:
                session, most = its_session, still_open
            rows = self._run(
                f"UPDATE entries SET owner = ? WHERE owner IN (?, ?) AND {_LEFT} "
                f"RETURNING {FIELDS}",
                (self._owner, owner, -owner),
            )
            entries += [entry_of(row) for row in rows.fetchall()]
            self._run("DELETE FROM owners WHERE id = ?", (owner,))
            self.orphaned.append(lock)
        return Adoption(entries, session)

    def end(self, uuid: str, state: EntryState, outcome: bytes, now: float) -> bool:
        done = self._run(
            _END,
            (_NUMBERS[state], outcome, len(outcome), now, self._target, uuid, self._owner),
        )
        return done.rowcount == 1

    def drop(self, uuid: str) -> None:
        self._run(
            "DELETE FROM entries WHERE target = ? AND uuid = ? AND owner = ?",
            (self._target, uuid, self._owner),
        )

    def session(self, session: str) -> None:
        self._run("UPDATE owners SET session = ? WHERE id = ?", (session, self._owner))

    def find(self, key: str) -> Entry | None:
        row = self._run(
            f"SELECT {FIELDS} FROM entries WHERE target = ? AND key = ?", (self._target, key)
        ).fetchone()
        return None if row is None else entry_of(row)

    def entries(self, *, after: str = "", limit: int = 1_000) -> Sequence[Entry]:
        rows = self._run(
            f"SELECT {FIELDS} FROM entries WHERE target = ? AND uuid > ? ORDER BY uuid LIMIT ?",
            (self._target, after, limit),
        )
        return [entry_of(row) for row in rows.fetchall()]

    def heads(self, prefix: str, limit: int) -> Sequence[EntryHead]:
        """See :class:`runware_ws.journal.store.HeadTransaction`."""
        rows = self._run(
            "SELECT uuid, key, state, created, ended FROM entries WHERE target = ? "
            f"AND {_BEGINS_SO} ORDER BY created DESC, id DESC LIMIT ?",
            (self._target, prefix, prefix, limit),
        )
        return [
            EntryHead(uuid, key, _STATES[cast("int", state)], created, ended)
            for uuid, key, state, created, ended in rows.fetchall()
        ]

    def release(self, prefix: str, now: float) -> int:
        """See :class:`runware_ws.journal.store.HoldTransaction`."""
        return self._run(_RELEASE, (now, self._target, prefix, prefix, now)).rowcount

    def give_up(self, uuids: Sequence[str]) -> None:
        """See :class:`runware_ws.journal.store.GiveUpTransaction`."""
        for uuid in uuids:
            self._run(_GIVE_UP, (self._target, uuid, self._owner))

    def prune(self, before: float, max_bytes: int) -> int:
        gone = self._run(_PRUNE, (self._target, before, _PRUNED_AT_ONCE)).rowcount
        rest = _PRUNED_AT_ONCE - gone
        ended = (self._target, time.time())
        total = self._run(f"SELECT total(size) {_SIZES}", ended).fetchone()[0]
        for entry, size in self._run(
            f"SELECT id, size {_SIZES} ORDER BY ended LIMIT ?", (*ended, rest)
        ).fetchall():
            if total <= max_bytes:
                break
            self._run("DELETE FROM entries WHERE id = ?", (entry,))
            total -= size
            gone += 1
        return gone

    # Beyond the contract

    def fence(self, owner: int) -> bool:
        """See :meth:`runware_ws.journal.store.Store.fence`."""
        return self._run("UPDATE owners SET fenced = 1 WHERE id = ?", (owner,)).rowcount == 1

    def leave(self) -> None:
        """Forget this owner if it leaves nothing to adopt."""
        done = self._run(
            "DELETE FROM owners WHERE id = ? AND NOT EXISTS "
            f"(SELECT 1 FROM entries WHERE owner IN (?, ?) AND {_LEFT})",
            (self._owner, self._owner, -self._owner),
        )
        self.left = done.rowcount == 1


def entry_of(row: tuple[Any, ...]) -> Entry:
    """A row of ``FIELDS``."""
    uuid, key, attempt, digest, payload, owner, number, outcome, created, ended = row
    state = _STATES[cast("int", number)]
    return Entry(uuid, key, attempt, digest, payload, owner, state, outcome, created, ended)


def _over(*_: object) -> NoReturn:
    raise RuntimeError("this transaction is over: what is done in it would not be atomic")
