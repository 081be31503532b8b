"""What the journal means for the tasks of one client: entered, joined, adopted, recorded.

It stands between the core and the store. The core says that a task is to be entered, and that it
ended; the keeper has both written, and says so, to the core and to the task's caller. Everything
here runs in the client's loop; what runs in the writer's thread is in ``binding.py``.

A caller is told of an end once it is certain what the journal makes of it: a result or a verdict
is recorded, and a task that was never sent is forgotten, so that nobody who takes over sends it.
Until then it is held, see ``holding.py``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import anyio

from runware_ws._core.tasks.record import FOREVER, TaskRecord
from runware_ws._io.wakeups import Waiting, Wakeup
from runware_ws.errors import ClientClosed, Fenced, InvalidTask, JournalError, RunwareError
from runware_ws.journal.binding import (
    Begun,
    EndsWritten,
    EntryEnd,
    add_up,
    end,
    give_up,
    nothing,
    prune,
)
from runware_ws.journal.delivered import Delivered
from runware_ws.journal.entering import Entering
from runware_ws.journal.holding import (
    Held,
    as_journal_error,
    for_task,
    has_verdict,
    in_doubt,
    key_conflict,
    never_sent,
    uuid_used,
)
from runware_ws.journal.keys import Keyed, under_uuid
from runware_ws.journal.left import Left, Leftovers
from runware_ws.journal.link import WriterLink
from runware_ws.journal.lookup import KeyLookup
from runware_ws.journal.notes import Notes
from runware_ws.journal.outcomes import (
    error_in,
    has_outcome,
    is_stream,
    items_in,
    outcome_to_record,
    paid_items,
)
from runware_ws.journal.seam import JournaledCore
from runware_ws.journal.single_flight import SingleFlight
from runware_ws.journal.store import Adoption, Collided, Entry, EntryState, Store, Transaction
from runware_ws.journal.tallies import Tallies
from runware_ws.journal.writer import Job, JournalWriter, in_halves
from runware_ws.models.content import is_same_content

if TYPE_CHECKING:
    from runware_ws.config import Config

__all__ = ["JournalKeeper"]

T = TypeVar("T")

_LOG = logging.getLogger("runware_ws.journal")

OPENING_TRIES = 5
"""How often a client that starts tries to take over what dead ones left, where it collides."""

ADOPT_EVERY = 5.0
"""How often a living client looks for what dead ones left, in seconds."""

USABLE_FOR = 3 * ADOPT_EVERY
"""A living client writes that often, if it can: for so many seconds it counts as able to."""

PRUNE_EVERY = 60.0
"""How often a client forgets what is old, in seconds."""

VERIFIED_FOR = 5.0
"""Nothing is sent unless within so many seconds the journal confirmed that our tasks are ours."""

VERIFY_PAUSE = 1.0
"""Between two tries, where the journal cannot be used, in seconds."""

RELEASE_EVERY = 0.5
"""How often is looked for tasks that were held too long, in seconds."""


class JournalKeeper:
    """One client's journal. ``make`` makes a task's record of an entry that was adopted."""

    def __init__(
        self,
        store: Store,
        config: Config,
        make: Callable[[Entry, Keyed | None], TaskRecord],
        writer: Callable[..., JournalWriter] = JournalWriter,
    ) -> None:
        self._store = store
        self._keep = config.journal_keep
        self._max_bytes = config.journal_bytes
        self._make = make
        self._core: JournaledCore
        self._apply: Callable[[], object]
        self._tell: Callable[[Iterable[TaskRecord]], None]
        self._waiting: Waiting
        self._link = WriterLink(store, self._look_again, self._hand_over, writer)
        self._entering = Entering(self._link, self._begun, self._all_begun)
        self.lookup = KeyLookup(self._link)
        self.notes = Notes(self._link)
        self.tallies = Tallies(self._link)
        # Tasks that have ended, and whose callers are not told yet.
        self.held = Held()
        self._delivered = Delivered(self._link)
        # In the journal, by taskUUID.
        self._entries: set[str] = set()
        self._by_key = SingleFlight()
        # What others left, and what of it somebody here has asked for at the same time.
        self._left = Leftovers()
        self._awaited: dict[str, Entry] = {}
        # Whose end is not known, and who may be asked for by others from now on.
        self._given_up: list[str] = []
        # Since others' entries are being taken over: we may hear of these after we left them.
        self._left_since: set[str] = set()
        # As it is recorded.
        self._session: str | None = None
        self._holding: Wakeup

    # Life

    async def open(self, target: str) -> Adoption:
        """Open the store, and take over what dead clients left.

        Raises:
            JournalError: it cannot be used.
        """

        def work() -> Adoption:
            self._store.open(target, time.time())
            for _ in range(OPENING_TRIES - 1):
                # Others that start now take over, too.
                with suppress(Collided):
                    return self._take_over()
            return self._take_over()

        self._waiting = Waiting.current()
        self._holding = Wakeup(self._waiting)
        adoption = await self._link.open(work)
        self._session = adoption.session
        return adoption

    def _take_over(self) -> Adoption:
        with self._store.transaction() as transaction:
            adoption = transaction.adopt_all()
            if adoption.session is not None:
                # It is resumed; and if this process dies too, the next one can do it again.
                transaction.session(adoption.session)
            return adoption

    async def run(self) -> None:
        """Act on what was written, as it is written."""
        await self._link.run()

    async def aclose(self, timeout: float) -> None:
        """Record what waits, leave the rest to others. Shielded; ``timeout`` seconds at most."""
        self._delivered.close()
        try:
            await self._link.aclose(timeout)
        finally:
            self._release(FOREVER)

    def stop(self) -> None:
        """Write what waits, and end, without waiting for it."""
        self._delivered.close()
        self._link.stop()

    def attach(
        self,
        core: JournaledCore,
        apply: Callable[[], object],
        tell: Callable[[Iterable[TaskRecord]], None],
    ) -> None:
        """From now on tell ``core``, and wake callers with ``tell``."""
        self._core, self._apply, self._tell = core, apply, tell

    async def release(self) -> None:
        """Tell callers who were held too long what can be said."""
        while True:
            if not self.held:
                await self._holding.wait()
            await anyio.sleep(RELEASE_EVERY)
            self._release(self._waiting.now())

    async def tend(self) -> None:
        """Look after what others leave, and forget what is old, again and again."""
        since_pruned = PRUNE_EVERY
        while True:
            await anyio.sleep(ADOPT_EVERY)
            self._delivered.forget(self._waiting.now())
            await self._adopt_others()
            since_pruned += ADOPT_EVERY
            if since_pruned >= PRUNE_EVERY:
                since_pruned = 0.0
                work = partial(prune, keep=self._keep, max_bytes=self._max_bytes)
                while await self._do(work):
                    pass

    async def _adopt_others(self) -> None:
        self._left_since.clear()
        adoption = await self._do(lambda tx: tx.adopt_all())
        if adoption is not None and adoption.entries:
            self.adopt(each for each in adoption.entries if each.uuid not in self._left_since)
            self._look_again()
            self._apply()

    async def verify(self) -> None:
        """Return once the journal has confirmed lately that our tasks are ours."""
        link = self._link
        while link.verified_ago() > VERIFIED_FOR:
            await self._do(nothing)
            if link.verified_ago() > VERIFIED_FOR:
                await anyio.sleep(VERIFY_PAUSE)

    @property
    def usable(self) -> bool:
        """Whether the journal could be written lately. Only for when it is open."""
        return self._link.verified_ago() < USABLE_FOR

    async def _do(self, work: Callable[[Transaction], T]) -> T | None:
        """Have it written, and wait for that. ``None`` if it cannot be."""
        answer, error = await self._link.do(work)
        if error is not None:
            self._broken(error)
        return answer

    # Tasks begin

    def prepare(self, record: TaskRecord) -> None:
        """A task with a key is about to be submitted: what it is called is the key's business.

        The caller may give the same task again and again, and its taskUUID is used up by then.
        """
        if record.entry is not None and self._core.knows(record.uuid):
            uuid = str(uuid4())
            record.rebind(uuid, under_uuid(record.payload, record.uuid, uuid))

    def enter(self, record: TaskRecord) -> None:
        """Have a task entered; :meth:`flush` hands it to the writer."""
        keyed: Keyed | None = record.entry
        if record.ended:
            return
        if record in self._left.running:
            self._core.entered(record, self._waiting.now(), known=True)
        elif keyed is not None and (first := self._by_key.first(keyed.key)) is not None:
            # While the first is being entered, nobody knows whose content the key's is.
            if first not in self._entering and not _is_of(record, first.entry.digest):
                self._core.refuse(record, key_conflict(record, keyed.key), self._waiting.now())
                return
            self._by_key.join(keyed.key, record)
            self._core.elsewhere(record)
        else:
            if keyed is not None:
                self._by_key.begin(keyed.key, record)
            self._entering.add(record)

    def flush(self) -> None:
        """See to it that the tasks that are to be entered are handed to the writer."""
        self._entering.flush()

    def _hand_over(self) -> None:
        if self._given_up:
            uuids, self._given_up = self._given_up, []
            self._link.put(Job(partial(give_up, uuids)))
        self._entering.hand_over()

    def _begun(self, record: TaskRecord, begun: Begun | None, error: BaseException | None) -> None:
        if record.ended:
            self._ended_meanwhile(record, begun or Begun(left_out=True), error)
        elif begun is None:
            self._core.refuse(record, for_task(error, record), self._waiting.now())
        elif begun.entry is None:
            self._entries.add(record.uuid)
            self._core.entered(record, self._waiting.now())
            self._refuse_others(record)
        else:
            self._settle_taken(record, begun, begun.entry)

    def _all_begun(self, error: BaseException | None) -> None:
        if error is not None:
            self._broken(error)
        self._watch()
        self._apply()

    def _ended_meanwhile(
        self, record: TaskRecord, begun: Begun, error: BaseException | None
    ) -> None:
        """It ended while it was being entered."""
        entry = begun.entry
        uuid = record.uuid if entry is None else entry.uuid
        ending = self._ending(record)
        fresh = error is None and not begun.left_out and (entry is None or not begun.known)
        if ending is None and fresh and not has_outcome(record):
            # It waited for somebody else's, which may have been sent; this one was not.
            ending = EntryEnd(uuid, None if record.entry is None else record.entry.key)
        doubt = isinstance(error, JournalError) and error.in_doubt
        if error is not None and ending is not None and (doubt or ending.state is not None):
            self._core.unrecorded(record, in_doubt(record, error), self._waiting.now())
            self._let_go([record])
        elif (
            ending is not None
            and not begun.left_out
            and (entry is None or not begun.known or (ending.state is not None and begun.ours))
        ):
            self._hold([record], [replace(ending, uuid=uuid)])
        else:
            self._let_go([record])
            if entry is not None and begun.ours:
                self.adopt([entry])

    def _settle_taken(self, record: TaskRecord, begun: Begun, entry: Entry) -> None:
        """The key is taken, or the taskUUID."""
        core, now = self._core, self._waiting.now()
        keyed: Keyed | None = record.entry
        if entry.key != (None if keyed is None else keyed.key):
            core.refuse(record, uuid_used(record), now)
        elif keyed is not None and not _is_of(record, entry.digest):
            core.refuse(record, key_conflict(record, keyed.key), now)
        elif entry.state is EntryState.DONE:
            try:
                items = items_in(entry)
            except JournalError as exc:
                core.refuse(record, exc, now)
                return
            core.recorded(record, entry.uuid, items, now)
        elif entry.state is EntryState.FAILED:
            core.refuse(record, error_in(entry), now)
        elif begun.ours:
            try:
                payload = under_uuid(record.payload, record.uuid, entry.uuid)
                if entry.payload and is_stream(entry):
                    payload = entry.payload  # Its pieces may still come.
                core.rebind(record, entry.uuid, payload)
            except InvalidTask as exc:
                core.refuse(record, exc, now)
                return
            self._entries.add(entry.uuid)
            core.entered(record, now, known=begun.known)
            self._refuse_others(record)
        elif keyed is None:
            core.refuse(record, uuid_used(record), now)
        else:
            self._by_key.wait_elsewhere(keyed.key, record)
            core.elsewhere(record)
            self._refuse_others(record)

    def _refuse_others(self, first: TaskRecord) -> None:
        """The key is that of this task's content: who joined it with another one is refused."""
        keyed: Keyed | None = first.entry
        if keyed is None:
            return
        for record in self._by_key.joined(keyed.key):
            if not _is_of(record, keyed.digest):
                self._core.refuse(record, key_conflict(record, keyed.key), self._waiting.now())

    def _watch(self) -> None:
        self._link.watch(bool(self._by_key.elsewhere))

    def _look_again(self) -> None:
        """Others have committed, or may have died: ask again for the keys that they hold."""
        for record in self._by_key.back():
            self._entering.add(record)
        self.flush()

    # Tasks end

    def ended(self, records: Sequence[TaskRecord]) -> list[TaskRecord]:
        """These tasks ended; returns those whose callers may be told at once."""
        at_once: list[TaskRecord] = []
        hold: list[TaskRecord] = []
        ends: list[EntryEnd] = []
        for record in records:
            # An answer to a first try may come before this one is entered.
            if record in self._entering and (
                has_outcome(record) or not self._entering.leave_out(record)
            ):
                self._wait_for([record])
                continue
            ending = self._ending(record) if record.uuid in self._entries else None
            if ending is None:
                at_once.append(record)
            else:
                hold.append(record)
                ends.append(ending)
        for record in at_once:
            self._leave(record)
        if hold:
            self._hold(hold, ends)
        return at_once

    def _ending(self, record: TaskRecord) -> EntryEnd | None:
        """What is written of its end before it is told; ``None``: nothing, it stays open."""
        keyed: Keyed | None = record.entry
        key = None if keyed is None else keyed.key
        try:
            outcome = outcome_to_record(record)
        except Exception as exc:  # nested too deeply, say: the trouble of this task alone
            self._core.unrecorded(record, in_doubt(record, exc), self._waiting.now())
            return None
        if outcome is not None and (keyed is not None or outcome[0] is EntryState.DONE):
            share = None if key is None else self.tallies.share_of(key, paid_items(record))
            return EntryEnd(record.uuid, key, *outcome, share)
        if never_sent(record):
            return EntryEnd(record.uuid, key)
        return None if outcome is None else EntryEnd(record.uuid, key, keep=True)

    def _has_caller(self, record: TaskRecord) -> bool:
        """Whether it is told to one who waits, and nobody else can ask for it. What was adopted
        is told when ``recovered()`` is asked."""
        return record.entry is None and record not in self._left.running

    def _hold(self, records: list[TaskRecord], ends: list[EntryEnd]) -> None:
        self._wait_for(records)
        self._link.put(self._recording(records, ends, range(len(records))))

    def _recording(
        self, records: list[TaskRecord], ends: list[EntryEnd], part: range
    ) -> Job[EndsWritten]:
        some = ends[part.start : part.stop]
        return Job(
            partial(end, some),
            partial(self._ends_written, records[part.start : part.stop], some),
            last=add_up,
            split=in_halves(partial(self._recording, records, ends), part),
        )

    def _wait_for(self, records: Iterable[TaskRecord]) -> None:
        self.held.add(records, self._waiting.now())
        self._holding.set()

    def _ends_written(
        self,
        records: list[TaskRecord],
        ends: list[EntryEnd],
        ended: EndsWritten | None,
        error: BaseException | None,
    ) -> None:
        now = self._waiting.now()
        delivered: list[str] = []
        for number, (record, ending) in enumerate(zip(records, ends, strict=True)):
            if ended is None or not ended.written[number]:
                self._core.unrecorded(record, in_doubt(record, error), now)
            elif (
                (ending.keep or ending.state is not None)
                and self._has_caller(record)
                and record in self.held
            ):
                delivered.append(record.uuid)
        if delivered:
            self._delivered.add(delivered, now)
        if error is not None:
            self._broken(error)
        self._let_go(records)
        self._apply()

    def _let_go(self, records: list[TaskRecord]) -> None:
        """Tell their callers, unless that was done because it took too long."""
        self._tell(self.held.take(records))
        for record in records:
            self._leave(record)

    def _release(self, now: float) -> None:
        """Tell those who were held too long: what becomes of their tasks here is not known."""
        left_out = [
            record
            for record in self.held
            if record in self._entering
            and not has_outcome(record)
            and self._entering.leave_out(record)
        ]
        self._let_go(left_out)
        late = self.held.late(now)
        for record in late:
            record.unrecorded(in_doubt(record, self._link.trouble))
        self._tell(self.held.take(late))

    def _leave(self, record: TaskRecord) -> None:
        """A task that ended here is nobody's any more, or that of one who waited for its end."""
        record.forget_request()
        ours = record.uuid in self._entries
        self._entries.discard(record.uuid)
        entry = self._left.running.pop(record, None)
        keyed: Keyed | None = record.entry
        if keyed is None:
            if entry is not None:
                self._left.add(entry, record)
            return
        key = keyed.key
        if self._by_key.first(key) is not record:
            self._by_key.leave(key, record)
            return
        was_elsewhere = key in self._by_key.elsewhere
        joined = self._by_key.end(key)
        if was_elsewhere:
            self._watch()
        if entry is not None and not joined:
            self._left.add(entry, record)
        elif entry is not None:
            self._left.changed()
        awaited = self._awaited.pop(key, None)
        if ours and (joined or awaited is None):
            self._give_up(record)  # First: those who waited may give up before they have it.
        if joined:
            self._hand_on(record, joined)
        elif awaited is not None and not has_verdict(record):
            self.adopt([awaited])
            self.flush()

    def _give_up(self, record: TaskRecord) -> None:
        """Nobody here asks for this task any more. Where its end is not known, others may: a key
        that a living owner has is waited for otherwise. An owner that closes is soon dead."""
        closed = isinstance(record.error, ClientClosed)
        if not closed and not has_verdict(record) and not never_sent(record):
            self._given_up.append(record.uuid)
            self._left_since.add(record.uuid)
            self._link.at_end_of_turn()

    def _hand_on(self, record: TaskRecord, joined: list[TaskRecord]) -> None:
        """Those who waited for the end of a task of their key: it is theirs, or they go on."""
        verdict = has_verdict(record)
        for waiter in joined:
            now = self._waiting.now()
            if not verdict or waiter.entry.digest != record.entry.digest:
                self.enter(waiter)
            elif record.error is None:
                self._core.recorded(waiter, record.uuid, list(record.items), now)
            else:
                self._core.refuse(waiter, copy(record.error), now)
        self.flush()

    def _broken(self, error: BaseException) -> None:
        """The journal cannot be written any more, or not by us."""
        if isinstance(error, JournalError) and not isinstance(error, Fenced):
            return  # The tasks that it is about end with it; the next ones may fare better.
        self._core.fail(as_journal_error(error), self._waiting.now())
        self._apply()

    # What others left

    def session(self, session: str | None) -> None:
        """This session is used now: whoever takes over from us can resume it."""
        if session is not None and session != self._session:
            self._session = session
            self._link.put(Job(lambda tx: tx.session(session), self._session_written))

    def _session_written(self, _: None, error: BaseException | None) -> None:
        if error is not None:
            self._session = None  # The next connection tries again.

    def adopt(self, entries: Iterable[Entry]) -> None:
        """Answer for what others left: it is asked for, and sent if the server does not know it."""
        for entry in entries:
            if entry.state is not EntryState.OPEN:
                self._left.add(entry)
            elif entry.key is not None and self._by_key.first(entry.key) is not None:
                # The one who asks for it here finds it to be ours, unless it ends before.
                self._awaited[entry.key] = entry
            else:
                self._adopt(entry)

    def _adopt(self, entry: Entry) -> None:
        record: TaskRecord | None = None
        try:
            keyed = None if entry.key is None else Keyed(entry.key, entry.digest)
            record = self._make(entry, keyed)
            if entry.key is not None:
                self._by_key.begin(entry.key, record)
            self._left.running[record] = entry
            self._entries.add(entry.uuid)
            self._core.submit(record)
        except (RunwareError, ValueError) as exc:
            # In use, or the client ended, or no task that we understand: it stays open, for the
            # next one.
            _LOG.warning("task %s in the journal is left alone: %s", entry.uuid, exc)
            if record is not None:
                self._left.running.pop(record, None)
                self._entries.discard(entry.uuid)
                if entry.key is not None:
                    self._by_key.end(entry.key)

    async def next_left(self) -> Left | None:
        """The next that others left and that has ended; ``None`` if nothing of it runs any more."""
        return await self._left.next(self._waiting)

    def told(self, left: Left) -> None:
        """Somebody has it: what has no key, and a known end, need not be kept."""
        if left.entry.key is None and (left.record is None or has_verdict(left.record)):
            self._delivered.add([left.entry.uuid], self._waiting.now())


def _is_of(record: TaskRecord, digest: bytes) -> bool:
    """Whether a task with a key asks for the content of this digest."""
    return is_same_content(digest, record.entry.digest, record.payload)
