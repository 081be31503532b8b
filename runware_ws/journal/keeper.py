"""What the journal means for the tasks of one client: entered, joined, adopted, recorded.

It stands between the core and the store. The core says that a task is to be entered, and that it
ended; the keeper has both written, and says so, to the core and to the task's caller. Everything
here runs in the client's loop, but for the functions that take a transaction: those run in the
writer's thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from runware_ws._core.states import DONE
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._io.wakeups import Waiting, Wakeup, caller_from_threads
from runware_ws.errors import (
    Fenced,
    InvalidTask,
    JournalError,
    KeyConflict,
    RunwareError,
    Submitted,
)
from runware_ws.journal.keys import Keyed, under_uuid
from runware_ws.journal.outcomes import error_in, is_attempt_over, items_in, outcome_to_record
from runware_ws.journal.store import Adoption, Entry, EntryState, NewEntry, Store, Transaction
from runware_ws.journal.writer import Job, JournalWriter

if TYPE_CHECKING:
    from runware_ws.config import Config

__all__ = ["JournalKeeper", "Left"]

ADOPT_EVERY = 5.0
"""How often a living client looks for what dead ones left, in seconds."""

VERIFIED_FOR = 5.0
"""Nothing is sent unless within so many seconds the journal confirmed that our tasks are ours."""


class Core(Protocol):
    """What the keeper tells the core."""

    def submit(self, record: TaskRecord) -> None: ...

    def entered(self, record: TaskRecord, now: float, *, known: bool = False) -> None: ...

    def rebind(self, record: TaskRecord, uuid: str, payload: bytes, now: float) -> None: ...

    def elsewhere(self, record: TaskRecord) -> None: ...

    def recorded(
        self, record: TaskRecord, uuid: str, items: list[dict[str, Any]], now: float
    ) -> None: ...

    def refuse(self, record: TaskRecord, error: RunwareError, now: float) -> None: ...

    def fail(self, failure: RunwareError, now: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Left:
    """What a dead client left, as far as it is known: the entry, and its end if it has one here."""

    entry: Entry
    record: TaskRecord | None


@dataclass(frozen=True, slots=True)
class _Taken:
    """A key is taken by ``entry``. ``ours``: it is open, and we answer for it now."""

    entry: Entry
    ours: bool


class JournalKeeper:
    """One client's journal. ``make`` makes a task's record of an entry that was adopted."""

    def __init__(
        self, store: Store, config: Config, make: Callable[[Entry, Keyed | None], TaskRecord]
    ) -> None:
        self._store = store
        self._keep = config.journal_keep
        self._max_bytes = config.journal_bytes
        self._make = make
        self._core: Core
        self._apply: Callable[[], object]
        self._tell: Callable[[Iterable[TaskRecord]], None]
        self._waiting: Waiting
        self._writer: JournalWriter
        # Tasks that have ended, and whose callers are told once that is recorded.
        self.held: set[TaskRecord] = set()
        # To be entered with the next job; being entered; and in the journal, by taskUUID.
        self._new: list[TaskRecord] = []
        self._beginning: set[TaskRecord] = set()
        self._entries: set[str] = set()
        # By key: the task that runs here, those that wait for its end, and the one that waits for
        # the end of somebody else's.
        self._active: dict[str, TaskRecord] = {}
        self._joined: dict[str, list[TaskRecord]] = {}
        self._elsewhere: dict[str, TaskRecord] = {}
        # What others left: what runs here again, and what of it has ended and nobody asked for.
        self._adopted: dict[TaskRecord, Entry] = {}
        self.left: deque[Left] = deque()
        self._news: Wakeup
        self._written: Wakeup

    # Life

    async def open(self, target: str) -> Adoption:
        """Open the store, and take over what dead clients left.

        Raises:
            JournalError: it cannot be used.
        """

        def work() -> Adoption:
            self._store.open(target, time.time())
            try:
                with self._store.transaction() as transaction:
                    return transaction.adopt_all()
            except BaseException:
                self._store.close()
                raise

        adoption = await anyio.to_thread.run_sync(work)
        self._waiting = Waiting.current()
        self._news, self._written = Wakeup(self._waiting), Wakeup(self._waiting)
        on_news = partial(caller_from_threads(), self._written.set)
        self._writer = JournalWriter(self._store, on_news, on_change=self._look_again)
        self._writer.start()
        return adoption

    def attach(
        self,
        core: Core,
        apply: Callable[[], object],
        tell: Callable[[Iterable[TaskRecord]], None],
    ) -> None:
        """From now on tell ``core``, and wake callers with ``tell``."""
        self._core, self._apply, self._tell = core, apply, tell

    async def run(self) -> None:
        """Act on what was written, as it is written."""
        while True:
            self._writer.deliver()
            await self._written.wait()

    async def tend(self) -> None:
        """Look after what others leave, and forget what is old, again and again."""
        while True:
            await anyio.sleep(ADOPT_EVERY)
            self._writer.put(Job(lambda tx: tx.adopt_all(), self._found))
            self._writer.put(Job(partial(_prune, keep=self._keep, max_bytes=self._max_bytes)))

    async def aclose(self, timeout: float) -> None:
        """Record what waits, leave the rest to others. Shielded; ``timeout`` seconds at most."""
        self.stop()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._writer.join, timeout)
        self._writer.deliver()

    def stop(self) -> None:
        """Write what waits, and end, without waiting for it."""
        self._writer.stop()

    async def verify(self) -> None:
        """Return once the journal has confirmed lately that our tasks are ours."""
        writer = self._writer
        while time.monotonic() - writer.verified_at > VERIFIED_FOR:
            waiter = self._waiting.waiter()

            def done(_: None, error: BaseException | None, waiter: Any = waiter) -> None:
                self._waiting.wake(waiter)
                if error is not None:
                    self._broken(error)

            writer.put(Job(_nothing, done))
            await waiter

    # Tasks begin

    def enter(self, record: TaskRecord) -> None:
        """Have a task entered; :meth:`flush` hands it to the writer."""
        keyed: Keyed | None = record.entry
        if record in self._adopted:
            self._core.entered(record, self._waiting.now(), known=True)
        elif keyed is not None and (keyed.key in self._active or keyed.key in self._elsewhere):
            first = self._active.get(keyed.key) or self._elsewhere[keyed.key]
            if first.entry.digest != keyed.digest:
                self._core.refuse(record, _conflict(record, keyed.key), self._waiting.now())
                return
            self._joined.setdefault(keyed.key, []).append(record)
            self._core.elsewhere(record)
        else:
            if keyed is not None:
                self._active[keyed.key] = record
            self._new.append(record)

    def flush(self) -> None:
        """Hand the tasks that are to be entered to the writer."""
        if self._new:
            records, self._new = self._new, []
            self._beginning.update(records)
            now = time.time()
            work = partial(_begin, [_new_entry(record, now) for record in records])
            self._writer.put(Job(work, partial(self._begun, records)))

    def _begun(
        self,
        records: list[TaskRecord],
        answers: list[_Taken | None] | None,
        error: BaseException | None,
    ) -> None:
        self._beginning.difference_update(records)
        if answers is None:
            for record in records:
                self._core.refuse(record, _for_task(error, record), self._waiting.now())
                self._leave(record)
            self._broken(error)
        else:
            for record, taken in zip(records, answers, strict=True):
                if record.ended:
                    self._given_up(record, taken)
                elif taken is None:
                    self._entries.add(record.uuid)
                    self._core.entered(record, self._waiting.now())
                else:
                    self._settle_taken(record, taken)
        self._apply()

    def _given_up(self, record: TaskRecord, taken: _Taken | None) -> None:
        """It was given up while it was being entered: it never left this process."""
        if taken is None:
            self._drop([record.uuid])
        self._leave(record)

    def _settle_taken(self, record: TaskRecord, taken: _Taken) -> None:
        """The key is taken."""
        entry, core, now = taken.entry, self._core, self._waiting.now()
        keyed: Keyed = record.entry
        if entry.digest != keyed.digest:
            core.refuse(record, _conflict(record, keyed.key), now)
        elif entry.state is EntryState.DONE:
            core.recorded(record, entry.uuid, items_in(entry), now)
        elif entry.state is EntryState.FAILED:
            core.refuse(record, error_in(entry), now)
        elif taken.ours:
            try:
                payload = under_uuid(record.payload, record.uuid, entry.uuid)
                core.rebind(record, entry.uuid, payload, now)
            except InvalidTask as exc:
                core.refuse(record, exc, now)
                return
            self._entries.add(entry.uuid)
            core.entered(record, now, known=True)
        else:
            self._active.pop(keyed.key, None)
            self._elsewhere[keyed.key] = record
            core.elsewhere(record)
            self._watch()

    def _watch(self) -> None:
        watching = bool(self._elsewhere)
        if watching != self._writer.watching:
            self._writer.watching = watching
            self._writer.nudge()

    def _look_again(self) -> None:
        """Others have committed, or may have died: ask again for the keys that they hold."""
        for key, record in list(self._elsewhere.items()):
            del self._elsewhere[key]
            self._active[key] = record
            self._new.append(record)
        self.flush()

    # Tasks end

    def ended(self, records: Sequence[TaskRecord]) -> list[TaskRecord]:
        """These tasks ended; returns those whose callers may be told at once."""
        at_once: list[TaskRecord] = []
        hold: list[TaskRecord] = []
        ends: list[tuple[str, EntryState, bytes]] = []
        drop: list[str] = []
        for record in records:
            outcome = outcome_to_record(record) if record.uuid in self._entries else None
            if outcome is None or (record.entry is None and outcome[0] is EntryState.FAILED):
                if record.uuid in self._entries and (
                    outcome is not None or record.submitted is Submitted.NO
                ):
                    drop.append(record.uuid)
                at_once.append(record)
            else:
                hold.append(record)
                ends.append((record.uuid, *outcome))
        if drop:
            self._drop(drop)
        for record in at_once:
            if record not in self._beginning:
                self._leave(record)
        if hold:
            self.held.update(hold)
            work = partial(_end, ends, now=time.time())
            self._writer.put(Job(work, partial(self._recorded, hold)))
        return at_once

    def _recorded(self, records: list[TaskRecord], _: object, error: BaseException | None) -> None:
        self.held.difference_update(records)
        if error is not None:
            for record in records:
                record.unrecorded(_for_task(error, record))
            self._broken(error)
        drop = [record.uuid for record in records if record.entry is None and error is None]
        if drop:
            # Its caller has it now, and nobody else can ask for it.
            self._drop(drop, idle=True)
        for record in records:
            self._leave(record)
        self._tell(records)
        self._apply()

    def _drop(self, uuids: list[str], *, idle: bool = False) -> None:
        self._writer.put(Job(partial(_forget, uuids), idle=idle))

    def _leave(self, record: TaskRecord) -> None:
        """A task that ended here is nobody's any more, or that of one who waited for its end."""
        self._entries.discard(record.uuid)
        entry = self._adopted.pop(record, None)
        keyed: Keyed | None = record.entry
        joined: list[TaskRecord] = []
        if keyed is not None:
            key = keyed.key
            if self._active.get(key) is record:
                del self._active[key]
            elif self._elsewhere.get(key) is record:
                del self._elsewhere[key]
                self._watch()
            else:
                self._unjoin(key, record)
                return
            joined = self._joined.pop(key, [])
        if entry is not None:
            if not joined:
                self.left.append(Left(entry, record))
            self._news.set()
        self._hand_on(record, joined)

    def _unjoin(self, key: str, record: TaskRecord) -> None:
        joined = self._joined.get(key, [])
        if record in joined:
            joined.remove(record)
            if not joined:
                del self._joined[key]

    def _hand_on(self, record: TaskRecord, joined: list[TaskRecord]) -> None:
        """Those who waited for the end of a task of their key: it is theirs, or they go on."""
        verdict = outcome_to_record(record)
        for waiter in joined:
            now = self._waiting.now()
            if verdict is None or (record.error is not None and record.state is DONE):
                self.enter(waiter)
            elif record.error is None:
                self._core.recorded(waiter, record.uuid, list(record.items), now)
            else:
                self._core.refuse(waiter, copy(record.error), now)
        self.flush()

    def _broken(self, error: BaseException | None) -> None:
        """The journal cannot be written any more, or not by us."""
        if isinstance(error, JournalError) and not isinstance(error, Fenced):
            return  # The tasks that it is about end with it; the next ones may fare better.
        if not isinstance(error, Fenced):
            error = JournalError(f"the journal failed: {type(error).__name__}: {error}")
        self._core.fail(error, self._waiting.now())
        self._apply()

    # What others left

    def session(self, session: str) -> None:
        """Whoever takes over from us can resume this session."""
        self._writer.put(Job(lambda tx: tx.session(session)))

    def _found(self, adoption: Adoption | None, error: BaseException | None) -> None:
        if adoption is not None and adoption.entries:
            self.adopt(adoption.entries)
            self._look_again()
            self._apply()

    def adopt(self, entries: Iterable[Entry]) -> None:
        """Answer for what others left: it is asked for, and sent if the server does not know it."""
        for entry in entries:
            if entry.state is not EntryState.OPEN:
                self.left.append(Left(entry, None))
                self._news.set()
                continue
            if entry.key is not None and (
                entry.key in self._active or entry.key in self._elsewhere
            ):
                continue  # The one who asks for it here finds it to be ours.
            record = self._make(
                entry, None if entry.key is None else Keyed(entry.key, entry.digest)
            )
            self._adopted[record] = entry
            self._entries.add(entry.uuid)
            if entry.key is not None:
                self._active[entry.key] = record
            try:
                self._core.submit(record)
            except RunwareError:
                # In use, or the client ended: it stays open, for the next one.
                self._adopted.pop(record)
                self._entries.discard(entry.uuid)
                if entry.key is not None:
                    self._active.pop(entry.key, None)

    async def wait_left(self) -> bool:
        """Wait for the end of something that others left; False if nothing of it runs any more."""
        while not self.left:
            if not self._adopted:
                return False
            await self._news.wait()
        return True

    def told(self, left: Left) -> None:
        """Somebody has it: what has no key need not be kept."""
        if left.entry.key is None:
            self._drop([left.entry.uuid], idle=True)


# In the writer's thread


def _nothing(_: Transaction) -> None:
    """A transaction that only shows that we are not fenced."""


def _begin(new: list[NewEntry], transaction: Transaction) -> list[_Taken | None]:
    return [_bind(transaction, entry) for entry in new]


def _bind(transaction: Transaction, new: NewEntry) -> _Taken | None:
    entry = transaction.begin(new)
    if entry is None:
        return None
    ours = False
    if entry.digest == new.digest:
        if entry.state is EntryState.FAILED and is_attempt_over(entry):
            if transaction.again(entry.uuid, new):
                return None
        elif entry.state is EntryState.OPEN:
            ours = transaction.adopt(entry.uuid, entry.owner)
    return _Taken(entry, ours)


def _end(
    ends: list[tuple[str, EntryState, bytes]], transaction: Transaction, *, now: float
) -> None:
    for uuid, state, outcome in ends:
        transaction.end(uuid, state, outcome, now)


def _forget(uuids: list[str], transaction: Transaction) -> None:
    for uuid in uuids:
        transaction.drop(uuid)


def _prune(transaction: Transaction, *, keep: float, max_bytes: int) -> None:
    transaction.prune(time.time() - keep, max_bytes)


def _new_entry(record: TaskRecord, now: float) -> NewEntry:
    keyed: Keyed | None = record.entry
    if keyed is None:
        return NewEntry(record.uuid, None, b"", record.payload, now)
    return NewEntry(record.uuid, keyed.key, keyed.digest, record.payload, now)


def _conflict(record: TaskRecord, key: str) -> KeyConflict:
    return KeyConflict(
        f"the key {key!r} was used for a task with another content: use a new key, "
        "or give the same task",
        problems=("key: used for another task",),
        task_uuid=record.uuid,
    )


def _for_task(error: BaseException | None, record: TaskRecord) -> RunwareError:
    """Why a task could not be entered, or its answer not be recorded."""
    if isinstance(error, JournalError):
        told: JournalError = copy(error)
    else:
        told = JournalError(f"the journal failed: {type(error).__name__}: {error}")
    told.task_uuid, told.submitted = record.uuid, record.submitted
    told.safe_to_resend = record.submitted is Submitted.NO
    return told
