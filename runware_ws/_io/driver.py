"""The driver: performs the core's effects, wakes callers, and has sockets, POSTs and the timer run.

It decides nothing. All of it runs under one supervisor.
"""

from __future__ import annotations

import logging
import traceback
import warnings
from collections import deque
from collections.abc import Iterable
from typing import Protocol, cast
from urllib.request import getproxies

import anyio

from runware_ws._core.effects import (
    Admit,
    Authenticate,
    Close,
    Effect,
    Emit,
    Enter,
    Open,
    Post,
    Progress,
    Resolve,
    Tell,
)
from runware_ws._core.states import ConnectionState, TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._io.feed import EventFeed
from runware_ws._io.flight_dumps import FlightDumps
from runware_ws._io.keys import KeySource
from runware_ws._io.posts import PostRunner
from runware_ws._io.recorded_core import new_core
from runware_ws._io.sockets import SocketRunner
from runware_ws._io.supervisor import Supervisor
from runware_ws._io.timer import CoreTimer
from runware_ws._io.transport.base import Dial, HttpPost
from runware_ws._io.wakeups import Home, Waiter, Waiting, Wakeup
from runware_ws.backoff import Backoff
from runware_ws.config import Config
from runware_ws.errors import ConnectionFailed
from runware_ws.events import Closed, Connected, Event, SessionStarted
from runware_ws.journal.keeper import JournalKeeper
from runware_ws.journal.store import Adoption
from runware_ws.telemetry.flight import FlightRecorder
from runware_ws.telemetry.watchers import Watchers

__all__ = ["Driver", "Owner"]


_LOG = logging.getLogger("runware_ws")

WAKES = 128
"""How many callers are woken in one go, before other tasks and the socket get a turn."""


class Owner(Protocol):
    """Whatever waits for a task. The driver calls it back; it must not raise or block."""

    def on_admitted(self) -> None: ...

    def on_progress(self) -> None: ...

    def on_settled(self) -> None: ...


class Driver:
    """Runs one session core over sockets; with a ``journal``, which is open, over that as well."""

    def __init__(
        self,
        url: str,
        keys: KeySource,
        config: Config,
        dial: Dial,
        watch: Watchers,
        post: HttpPost | None = None,
        journal: JournalKeeper | None = None,
        flight: FlightRecorder | None = None,
    ) -> None:
        self._keys = keys
        keys.hide_passwords((config.proxy, *getproxies().values()))
        self.core = new_core(
            config,
            flight,
            draw=Backoff(config.backoff, cap=config.backoff_cap),
            redact=keys.redact_text,
            fixed_key=keys.fixed,
            journaled=journal is not None,
        )
        self._journal = journal
        self._watch = watch
        self.home = Home()
        self.feed = EventFeed(config.event_buffer, self.home)
        self.waiting = Waiting.current()
        self.now = self.waiting.now
        self._wake = self.waiting.wake
        self._tasks: Supervisor
        verify = None if journal is None else journal.verify
        self._timer = CoreTimer(self.core, self.now, self.apply)
        self._sockets = SocketRunner(
            url, keys, config, dial, self.core, self._timer, self.waiting, self.apply, verify=verify
        )
        self._posts: PostRunner | None = None
        if post is not None:
            self._posts = PostRunner(
                post,
                keys,
                self.core,
                self.now,
                self.apply,
                fetch_timeout=config.open_timeout,
                verify=verify,
            )
        self._effects: deque[Effect] = deque()
        # Tasks that have ended but whose callers were not woken yet.
        self._to_wake: deque[TaskRecord] = deque()
        self._wakes_left = WAKES
        self._dumps = None
        if flight is not None and flight.folder is not None:
            self._dumps = FlightDumps(flight, self.waiting)
        # These wake the waker, and who waits for a change.
        self._waker = Wakeup(self.waiting)
        self._waiters: dict[Waiter, None] = {}
        self.stopped = anyio.Event()
        # The unexpected exception that ended it, if there was one.
        self.crash: BaseException | None = None

    # The public side

    def start(self, tasks: Supervisor, adoption: Adoption | None = None) -> None:
        """Begin to dial, with all work in ``tasks``; ``adoption``: what dead clients left."""
        self._tasks = tasks
        journal = self._journal
        if journal is not None:
            journal.attach(self.core, self.apply, self._recorded)
            tasks.start_soon(journal.run, name="runware_ws journal")
            tasks.start_soon(journal.release, name="runware_ws journal's patience")
            tasks.start_soon(journal.tend, name="runware_ws journal's care")
        self.core.trace(self._watch.follows_tasks())
        if adoption is not None and journal is not None:
            # Before the dial, for its session brings their answers at once.
            journal.adopt(adoption.entries)
        self.core.start(self.now(), None if adoption is None else adoption.session)
        tasks.start_soon(self._run_sockets, name="runware_ws sockets")
        tasks.start_soon(self._timer.run, name="runware_ws timer")
        tasks.start_soon(self._wake_rest, name="runware_ws waker")
        if self._dumps is not None:
            tasks.start_soon(self._dumps.run, name="runware_ws flight recorder")
        self.apply()

    def submit(self, record: TaskRecord) -> None:
        """Hand a task to the core. Raises what the core raises."""
        if self._journal is not None:
            self._journal.prepare(record)
        # Asked each time, because a logger's level may change at any time.
        core = self.core
        core.trace(self._watch.follows_tasks())
        core.submit(record)
        self.apply()

    def cancel(self, record: TaskRecord) -> bool:
        """Give a task up; False if it had already ended."""
        done = self.core.cancel(record, self.now())
        self.apply()
        return done

    def told(self, record: TaskRecord) -> bool:
        """Whether the task has ended, and its caller may know: its end is recorded, if it must."""
        return record.ended and (self._journal is None or record not in self._journal.held)

    @property
    def pending(self) -> int:
        """Tasks whose callers still wait."""
        return self.core.pending + (0 if self._journal is None else len(self._journal.held))

    def pending_uuids(self) -> tuple[str, ...]:
        """Their taskUUIDs."""
        held = () if self._journal is None else (each.uuid for each in self._journal.held)
        return (*self.core.pending_uuids(), *held)

    @property
    def journaled(self) -> bool:
        """Whether results are told only once they are recorded."""
        return self._journal is not None

    def drain(self) -> None:
        """Take no new task."""
        self.core.drain(self.now())
        self.apply()

    def close(self) -> None:
        """End all tasks and the socket; :attr:`stopped` is set when this is done."""
        self.core.close(self.now())
        self._wake_all()
        # There may be no socket to close.
        self._sockets.stop()

    def give_up(self, record: TaskRecord) -> None:
        """Give a task up; if its result is here already, keep it for a claim."""
        if not self.cancel(record) and record.state is TaskState.DONE:
            self.core.keep(record)

    def ended(self, crash: BaseException | None) -> None:
        """Everything that :meth:`start` began has ended, by ``crash`` or by a cancellation."""
        left_open = self.core.state is not ConnectionState.CLOSED
        try:
            if crash is not None:
                self._crashed(crash)
            elif left_open:
                self.core.close(self.now())
            self._wake_all()
        finally:
            self.stopped.set()
            if self._journal is not None and left_open:
                # Nobody closes it, or looks after those who wait for it.
                self._journal.stop()
        if crash is None and left_open:
            warnings.warn(
                "a client was still open when its event loop ended: it was dropped. "
                "Leave its block, or await client.aclose()",
                ResourceWarning,
                stacklevel=2,
            )

    def _crashed(self, crash: BaseException) -> None:
        self.crash = crash
        words = "".join(traceback.format_exception(crash))
        _LOG.error("a client failed internally and has ended:\n%s", self._keys.redact_text(words))
        leaf = crash
        while isinstance(leaf, BaseExceptionGroup):
            leaf = cast("BaseExceptionGroup[BaseException]", leaf).exceptions[0]
        reason = self._keys.redact_text(f"{type(leaf).__name__}: {leaf}")
        self.core.fail(ConnectionFailed(f"the client failed internally: {reason}"), self.now())

    def _wake_all(self) -> None:
        """Perform what the core wants and wake every caller: no task may be left to do it later."""
        self.apply()
        self._wakes_left = len(self._to_wake)
        self._wake_some()

    def abort(self) -> None:
        """Skip the closing handshake, or stop waiting for it."""
        self._sockets.abort()

    async def wait_changed(self) -> None:
        """Wait for the next event, or until no task is pending."""
        waiter = self.waiting.waiter()
        self._waiters[waiter] = None
        try:
            await waiter
        except BaseException:
            self._waiters.pop(waiter, None)
            raise

    # Effects

    def apply(self) -> bool:
        """Perform what the core wants done. False if there was nothing to do."""
        self._wakes_left = WAKES
        todo = self.core.take()
        if todo is None:
            if not self._effects:
                return False
        else:
            if todo.effects:
                self._effects.extend(todo.effects)
            if todo.deadline is not None:
                self._timer.set(todo.deadline)
            if todo.writable:
                self._sockets.writer.set()
        if self._effects:
            self._perform()
            if self._journal is not None:
                self._journal.flush()
                self.apply()  # What the journal told the core meanwhile.
        return True

    def _perform(self) -> None:
        effects = self._effects
        while effects:
            # Taken one by one: if one raises, the callers of the others are still told.
            effect = effects.popleft()
            if isinstance(effect, Resolve):
                ended = effect.records
                self._to_wake.extend(ended if self._journal is None else self._journal.ended(ended))
                self._wake_some()
            elif isinstance(effect, Enter):
                if self._journal is not None:
                    self._journal.enter(effect.record)
            elif isinstance(effect, Progress):
                owner: Owner | None = effect.record.owner
                if owner is not None:
                    owner.on_progress()
            elif isinstance(effect, Admit):
                for record in effect.records:
                    if (owner := record.owner) is not None:
                        owner.on_admitted()
            elif isinstance(effect, Emit):
                self._emit(effect.event)
            elif isinstance(effect, Tell):
                self._watch.step(effect)
            elif isinstance(effect, Open):
                self._sockets.open(effect.generation)
            elif isinstance(effect, Authenticate):
                self._sockets.authenticate(effect)
            elif isinstance(effect, Close):
                self._sockets.end(effect)
            elif self._posts is not None:
                if isinstance(effect, Post):
                    self._posts.start(effect, self._tasks)
                else:
                    self._posts.drop(effect)

    def _recorded(self, records: Iterable[TaskRecord]) -> None:
        """The ends of these tasks are in the journal: their callers may be told."""
        self._to_wake.extend(records)
        if self.stopped.is_set():
            # Nobody is left to do it later.
            self._wakes_left = len(self._to_wake)
        self._wake_some()

    def _wake_some(self) -> None:
        """Wake some callers whose tasks have ended; the others wait for their turn."""
        wake, to_wake = self._wake, self._to_wake
        ended = self._watch.ended if self.core.traced else None
        while to_wake and self._wakes_left:
            self._wakes_left -= 1
            record = to_wake.popleft()
            if ended is not None:
                ended(record)
            if record.waiter is not None:
                wake(record.waiter)
            if record.owner is not None:
                owner: Owner = record.detach()
                owner.on_settled()
        if to_wake:
            self._waker.set()
        if self._waiters and not self.pending:
            self._notify()

    async def _wake_rest(self) -> None:
        """Wake the rest, turn by turn."""
        while True:
            while self._to_wake:
                await anyio.lowlevel.checkpoint()
                self._wakes_left = WAKES
                self._wake_some()
            await self._waker.wait()

    def _emit(self, event: Event) -> None:
        self.feed.publish(event)
        self._watch.event(event)
        if self._journal is not None and isinstance(event, Connected | SessionStarted):
            self._journal.session(self.core.session_uuid)
        if isinstance(event, Closed):
            self.feed.close()
        self._notify()

    def _notify(self) -> None:
        # No event of anyio's: the end may come outside of any task, where none can be made.
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            self._wake(waiter)

    async def _run_sockets(self) -> None:
        try:
            await self._sockets.run()
        finally:
            self.stopped.set()
            self._timer.stop()
