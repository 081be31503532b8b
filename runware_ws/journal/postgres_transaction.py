"""One transaction in PostgreSQL: what becomes of entries, as statements."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString, TypeVar

from psycopg import Cursor, DataError

from runware_ws.journal.postgres_schema import LOCKS
from runware_ws.journal.store import (
    Adoption,
    EndedEntry,
    Entry,
    EntryHead,
    EntryState,
    NewEntry,
)

__all__ = ["FIELDS", "NOW", "PostgresTransaction", "Unsure", "entry_of"]

T = TypeVar("T", NewEntry, EndedEntry)

FIELDS: LiteralString = "uuid, key, attempt, digest, payload, owner, state, outcome, created, ended"

_STATES = (EntryState.OPEN, EntryState.DONE, EntryState.FAILED)
_NUMBERS = {state: number for number, state in enumerate(_STATES)}
_PRUNED_AT_ONCE = 1_000
"""So that nobody waits long for a transaction that prunes."""

STATEMENT_BYTES = 64 << 20
"""A statement of many entries is cut off there: the database takes 1 GiB, and its copies of it."""

_SMALL_PARTS = 100
"""What the rest of an entry takes of it, about."""

LARGEST_VALUE = (1 << 30) - (1 << 20)
"""A value of 1 GiB would end the connection, and it would look as if that was broken."""

NOW: LiteralString = "extract(epoch FROM clock_timestamp())::float8"
"""The server's clock, for what only the server's clock is compared with."""

_OWNER: LiteralString = (
    f"SELECT o.fenced, o.since < began.at AND {NOW} < began.at + %s FROM runware_ws.owners o, "
    # Statistics begin anew where the server recovered from a crash of one of its processes: it
    # ended all connections then, and its start is the old one.
    "(SELECT extract(epoch FROM greatest(pg_postmaster_start_time(), "
    "(SELECT max(stats_reset) FROM pg_stat_bgwriter)))::float8 AS at) AS began WHERE o.id = %s"
)
"""Whether it is fenced, and whether it lost its lock with the server's start and may come back."""

_LEFT: LiteralString = "(state = 0 OR (state = 1 AND key IS NULL))"
_BEGIN: LiteralString = (
    "INSERT INTO runware_ws.entries (target, uuid, key, digest, payload, owner, created) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
_BEGIN_MANY: LiteralString = (
    "INSERT INTO runware_ws.entries (target, owner, uuid, key, digest, payload, created) "
    "SELECT %s, %s, * FROM unnest(%s::text[], %s::text[], %b::bytea[], %b::bytea[], %s::float8[]) "
    "ON CONFLICT DO NOTHING RETURNING uuid"
)
_END_MANY: LiteralString = (
    "UPDATE runware_ws.entries AS e SET state = n.state, outcome = n.outcome, "
    "size = length(n.outcome), ended = n.ended, payload = NULL "
    "FROM unnest(%s::text[], %s::smallint[], %b::bytea[], %s::float8[]) "
    "AS n (uuid, state, outcome, ended) "
    "WHERE e.target = %s AND e.uuid = n.uuid AND e.owner = %s AND e.state = 0 RETURNING e.uuid"
)
_AGAIN: LiteralString = (
    "UPDATE runware_ws.entries SET uuid = %s, key = %s, attempt = attempt + 1, digest = %s, "
    "payload = %s, owner = %s, state = 0, outcome = NULL, size = 0, created = %s, ended = NULL "
    "WHERE target = %s AND uuid = %s AND state = 2"
)
_END: LiteralString = (
    "UPDATE runware_ws.entries SET state = %s, outcome = %s, size = %s, ended = %s, "
    "payload = NULL WHERE target = %s AND uuid = %s AND owner = %s AND state = 0"
)
_SELECT: LiteralString = f"SELECT {FIELDS} FROM runware_ws.entries WHERE target = %s"
_EXCESS: LiteralString = (
    "DELETE FROM runware_ws.entries WHERE target = %s AND uuid IN (SELECT uuid FROM "
    "(SELECT uuid, ended, sum(size) OVER (ORDER BY ended DESC, uuid DESC) AS newer "
    "FROM runware_ws.entries WHERE target = %s AND ended <= %s) AS sizes "
    "WHERE newer > %s ORDER BY ended LIMIT %s)"
)
_BEGINS_SO: LiteralString = "key >= %s AND key < %s || chr(1114111)"
_RELEASE: LiteralString = (
    f"UPDATE runware_ws.entries SET ended = %s WHERE target = %s AND {_BEGINS_SO} AND ended > %s"
)


@dataclass(slots=True)
class Unsure:
    """What transactions did whose commit was not confirmed: the connection broke before.

    It may be there or not. Whoever does the same again is told as if it was the first time.
    """

    uuids: set[str] = field(default_factory=set[str])
    adopted: list[str] = field(default_factory=list[str])
    session: str | None = None


class PostgresTransaction:
    """See :class:`runware_ws.journal.store.Transaction`.

    ``did`` is what was done in it. ``unsure`` is what was done before, perhaps. ``patient``: only
    who was declared dead is, for the locks of the others may be free without that. ``others_too``:
    seconds that owners have to come back after the server started.
    """

    def __init__(
        self,
        cursor: Cursor[Any],
        owner: int,
        target: int,
        unsure: Unsure,
        *,
        patient: bool = False,
        others_too: float = 0.0,
    ) -> None:
        self._cursor: Cursor[Any] | None = cursor
        self._owner = owner
        self._target = target
        self._unsure = unsure
        self._patient = patient
        self._others_too = others_too
        self.backend = 0
        """The server's process, once it was checked."""
        self.did = Unsure()

    def over(self) -> None:
        """Nothing may be done in it any more."""
        self._cursor = None

    def begin(self, new: NewEntry) -> Entry | None:
        self.did.uuids.add(new.uuid)
        values = (self._target, new.uuid, new.key, new.digest, _checked(new.payload))
        while self._run(_BEGIN, (*values, self._owner, new.created)).rowcount != 1:
            taken = None if new.key is None else self.find(new.key)
            taken = taken or self._entry(new.uuid)
            if taken is not None:
                return None if self._perhaps_did(new.uuid, taken) else taken
            # It was in the way, and another process has forgotten it since.
        return None

    def begin_many(self, new: Sequence[NewEntry]) -> Sequence[Entry | None]:
        """See :class:`runware_ws.journal.store.BatchTransaction`."""
        self.did.uuids.update(each.uuid for each in new)
        begun: set[str] = set()
        for piece in _pieces(new):
            rows = self._run(
                _BEGIN_MANY,
                (
                    *(self._target, self._owner, [each.uuid for each in piece]),
                    *([each.key for each in piece], [each.digest for each in piece]),
                    *([each.payload for each in piece], [each.created for each in piece]),
                ),
            )
            begun.update(uuid for (uuid,) in rows.fetchall())
        taken: list[Entry | None] = []
        for each in new:
            if each.uuid in begun:
                begun.remove(each.uuid)
                taken.append(None)
            else:
                taken.append(self.begin(each))
        return taken

    def again(self, uuid: str, new: NewEntry) -> bool:
        self.did.uuids.add(new.uuid)
        if self._entry(new.uuid) is not None:
            taken = self._entry(new.uuid)
            return taken is not None and self._perhaps_did(new.uuid, taken)
        values = (new.uuid, new.key, new.digest, new.payload, self._owner, new.created)
        return self._run(_AGAIN, (*values, self._target, uuid)).rowcount == 1

    def adopt(self, uuid: str, owner: int) -> bool:
        if owner != self._owner:
            if self._perhaps_did(uuid, self._entry(uuid)):
                return True
            if not self._is_dead(owner):
                return False
        self.did.uuids.add(uuid)
        done = self._run(
            "UPDATE runware_ws.entries SET owner = %s "
            "WHERE target = %s AND uuid = %s AND owner = %s AND state = 0",
            (self._owner, self._target, uuid, owner),
        )
        return done.rowcount == 1

    def adopt_all(self) -> Adoption:
        others = self._run(
            "SELECT id FROM runware_ws.owners WHERE target = %s AND id != %s ORDER BY id",
            (self._target, self._owner),
        ).fetchall()
        entries = self._adopted_before()
        session, most = self._unsure.session if entries else None, 0
        for (owner,) in others:
            if not self._is_dead(owner):
                continue
            # Locked: a fenced owner is in a transaction, or another adopts it at this moment.
            its = self._run(
                "SELECT session FROM runware_ws.owners WHERE id = %s FOR UPDATE SKIP LOCKED",
                (owner,),
            ).fetchone()
            if its is None:
                continue
            rows = self._run(
                f"UPDATE runware_ws.entries SET owner = %s WHERE owner IN (%s, %s) AND {_LEFT} "
                f"RETURNING {FIELDS}",
                (self._owner, owner, -owner),
            ).fetchall()
            left = [entry_of(row) for row in rows]
            still_open = sum(entry.state is EntryState.OPEN for entry in left)
            if its[0] is not None and still_open > most:
                session, most = its[0], still_open
            self._run("DELETE FROM runware_ws.owners WHERE id = %s", (owner,))
            entries += left
        self.did.adopted = [entry.uuid for entry in entries]
        self.did.session = session
        return Adoption(entries, session)

    def end(self, uuid: str, state: EntryState, outcome: bytes, now: float) -> bool:
        self.did.uuids.add(uuid)
        values = (_NUMBERS[state], _checked(outcome), len(outcome), now)
        if self._run(_END, (*values, self._target, uuid, self._owner)).rowcount == 1:
            return True
        if uuid not in self._unsure.uuids:
            return False
        entry = self._entry(uuid)
        return (
            entry is not None
            and entry.owner == self._owner
            and (entry.state, entry.outcome, entry.ended) == (state, outcome, now)
        )

    def end_many(self, ended: Sequence[EndedEntry]) -> Sequence[bool]:
        """See :class:`runware_ws.journal.store.BatchTransaction`."""
        firsts = {each.uuid: each for each in reversed(ended)}
        done: set[str] = set()
        for piece in _pieces(list(firsts.values())):
            rows = self._run(
                _END_MANY,
                (
                    *([each.uuid for each in piece], [_NUMBERS[each.state] for each in piece]),
                    *([each.outcome for each in piece], [each.now for each in piece]),
                    *(self._target, self._owner),
                ),
            )
            done.update(uuid for (uuid,) in rows.fetchall())
        self.did.uuids.update(firsts)
        gave: list[bool] = []
        for each in ended:
            if each.uuid in done:
                done.remove(each.uuid)
                gave.append(True)
            else:
                gave.append(self.end(each.uuid, each.state, each.outcome, each.now))
        return gave

    def drop(self, uuid: str) -> None:
        self._run(
            "DELETE FROM runware_ws.entries WHERE target = %s AND uuid = %s AND owner = %s",
            (self._target, uuid, self._owner),
        )

    def session(self, session: str) -> None:
        self._run("UPDATE runware_ws.owners SET session = %s WHERE id = %s", (session, self._owner))

    def find(self, key: str) -> Entry | None:
        row = self._run(f"{_SELECT} AND key = %s", (self._target, key)).fetchone()
        return None if row is None else entry_of(row)

    def entries(self, *, after: str = "", limit: int = 1_000) -> Sequence[Entry]:
        rows = self._run(
            f"{_SELECT} AND uuid > %s ORDER BY uuid LIMIT %s", (self._target, after, limit)
        )
        return [entry_of(row) for row in rows.fetchall()]

    def heads(self, prefix: str, limit: int) -> Sequence[EntryHead]:
        """See :class:`runware_ws.journal.store.HeadTransaction`."""
        rows = self._run(
            "SELECT uuid, key, state, created, ended FROM runware_ws.entries WHERE target = %s "
            f"AND {_BEGINS_SO} ORDER BY created DESC LIMIT %s",
            (self._target, prefix, prefix, limit),
        )
        return [
            EntryHead(uuid, key, _STATES[int(state)], created, ended)
            for uuid, key, state, created, ended in rows.fetchall()
        ]

    def release(self, prefix: str, now: float) -> int:
        """See :class:`runware_ws.journal.store.HoldTransaction`."""
        return self._run(_RELEASE, (now, self._target, prefix, prefix, now)).rowcount

    def give_up(self, uuids: Sequence[str]) -> None:
        """See :class:`runware_ws.journal.store.GiveUpTransaction`."""
        self._run(
            "UPDATE runware_ws.entries SET owner = -owner "
            "WHERE target = %s AND uuid = ANY(%s) AND owner = %s AND state = 0",
            (self._target, list(uuids), self._owner),
        )

    def prune(self, before: float, max_bytes: int) -> int:
        gone = self._run(
            "DELETE FROM runware_ws.entries WHERE target = %s AND uuid IN (SELECT uuid "
            "FROM runware_ws.entries WHERE target = %s AND ended < %s ORDER BY ended LIMIT %s)",
            (self._target, self._target, before, _PRUNED_AT_ONCE),
        ).rowcount
        rest = _PRUNED_AT_ONCE - gone
        values = (self._target, self._target, time.time(), max_bytes, rest)
        return gone + self._run(_EXCESS, values).rowcount

    # Beyond the contract

    def check(self) -> bool:
        """Whether this owner is not fenced; and it is not while this transaction goes on."""
        row = self._run(
            "SELECT fenced, pg_backend_pid() FROM runware_ws.owners WHERE id = %s FOR SHARE",
            (self._owner,),
        ).fetchone()
        if row is None or row[0]:
            return False
        self.backend = row[1]
        return True

    def fence(self, owner: int) -> bool:
        """See :meth:`runware_ws.journal.store.Store.fence`."""
        done = self._run("UPDATE runware_ws.owners SET fenced = true WHERE id = %s", (owner,))
        return done.rowcount == 1

    def leave(self) -> None:
        """Forget this owner if it leaves nothing to adopt."""
        self._run(
            "DELETE FROM runware_ws.owners WHERE id = %s AND NOT EXISTS "
            f"(SELECT 1 FROM runware_ws.entries WHERE owner IN (%s, %s) AND {_LEFT})",
            (self._owner, self._owner, -self._owner),
        )

    # Inside

    def _run(self, sql: LiteralString, values: Sequence[Any] = ()) -> Cursor[Any]:
        if self._cursor is None:
            raise RuntimeError("this transaction is over: what is done in it would not be atomic")
        return self._cursor.execute(sql, values)

    def _entry(self, uuid: str) -> Entry | None:
        row = self._run(f"{_SELECT} AND uuid = %s", (self._target, uuid)).fetchone()
        return None if row is None else entry_of(row)

    def _perhaps_did(self, uuid: str, found: Entry | None) -> bool:
        """Whether ``found`` is what a commit left that was not confirmed."""
        return (
            found is not None
            and uuid in self._unsure.uuids
            and found.uuid == uuid
            and found.owner == self._owner
            and found.state is EntryState.OPEN
        )

    def _adopted_before(self) -> list[Entry]:
        if not self._unsure.adopted:
            return []
        rows = self._run(
            f"{_SELECT} AND owner = %s AND uuid = ANY(%s) AND {_LEFT}",
            (self._target, self._owner, self._unsure.adopted),
        )
        return [entry_of(row) for row in rows.fetchall()]

    def _is_dead(self, owner: int) -> bool:
        if owner == self._owner:
            return False
        row = self._run(_OWNER, (self._others_too, owner)).fetchone()
        if row is None or row[0]:
            return True
        if self._patient or row[1]:
            return False
        # Shared, so that two who ask do not take each other for the owner; and held until this
        # transaction ends, so that the owner does not come back in the midst of it.
        row = self._run(
            "SELECT pg_try_advisory_xact_lock_shared(%s, %s)", (LOCKS, owner)
        ).fetchone()
        return row is not None and bool(row[0])


def _checked(value: bytes) -> bytes:
    if len(value) > LARGEST_VALUE:
        raise DataError(f"{len(value) >> 20} MiB, and the most is {LARGEST_VALUE >> 20}")
    return value


def _size(each: NewEntry | EndedEntry) -> int:
    """About so many bytes of a statement."""
    if isinstance(each, EndedEntry):
        return _SMALL_PARTS + len(_checked(each.outcome))
    return _SMALL_PARTS + len(_checked(each.payload)) + 4 * len(each.key or "")


def _pieces(many: Sequence[T]) -> Iterator[Sequence[T]]:
    """``many``, in pieces for one statement each."""
    start = size = 0
    for number, each in enumerate(many):
        more = _size(each)
        if number > start and size + more > STATEMENT_BYTES:
            yield many[start:number]
            start, size = number, 0
        size += more
    if many:
        yield many[start:]


def entry_of(row: Sequence[Any]) -> Entry:
    """A row of ``FIELDS``."""
    uuid, key, attempt, digest, payload, owner, number, outcome, created, ended = row
    state = _STATES[int(number)]
    return Entry(uuid, key, attempt, digest, payload, owner, state, outcome, created, ended)
