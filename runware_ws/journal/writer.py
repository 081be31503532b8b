"""One thread that writes to a store: what waits goes into one transaction, and so one commit."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import anyio

from runware_ws._io.wakeups import Waiting, caller_from_threads
from runware_ws.errors import JournalError
from runware_ws.journal.clock import elapsed
from runware_ws.journal.store import Store, Transaction

__all__ = ["Job", "JournalWriter", "in_halves"]

_LOG = logging.getLogger("runware_ws.journal")

T = TypeVar("T")
S = TypeVar("S", range, list[Any])

MOST_JOBS = 2_000
"""How many jobs share one transaction at most: each waits for all of them."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Between two tries of a transaction that could not be written, in seconds."""


class Job(Generic[T]):
    """``work(transaction)`` in the thread; then :meth:`JournalWriter.deliver` calls
    ``done(answer, error)``.

    ``error`` is ``None``, or why nothing of it was written: then ``answer`` is ``None``.
    ``done`` may be ``None``. ``undone()``, in the thread: what ``work`` did was undone for sure; it
    may be done again. ``last(answers, transaction)``, in the thread: called once for all jobs of a
    transaction that have the same, with their answers, when nothing else is left to do in it.
    ``idle``: it may wait for others to be written with. ``split()``, in the thread: two jobs that
    do the same, a part each, and stand for it from then on; ``None`` if it has no parts.
    """

    __slots__ = ("done", "idle", "last", "split", "undone", "work")

    def __init__(
        self,
        work: Callable[[Transaction], T],
        done: Callable[[T | None, BaseException | None], None] | None = None,
        *,
        undone: Callable[[], None] | None = None,
        last: Callable[[Sequence[T], Transaction], None] | None = None,
        split: Callable[[], tuple[Job[Any], Job[Any]]] | None = None,
        idle: bool = False,
    ) -> None:
        self.work = work
        self.done = done
        self.undone = undone
        self.last = last
        self.split = split
        self.idle = idle


def in_halves(
    make: Callable[[S], Job[Any]], parts: S
) -> Callable[[], tuple[Job[Any], Job[Any]]] | None:
    """``split`` for a job that ``make`` made of these parts."""
    middle = len(parts) // 2
    return (lambda: (make(parts[:middle]), make(parts[middle:]))) if middle else None


class JournalWriter:
    """Opens a store and runs jobs on it. All but the thread itself belongs to the loop's thread.

    ``on_news`` is called when there is something to deliver, in either thread. ``on_change`` is
    delivered after another owner committed, while :attr:`watching`. ``clock``: seconds that also
    pass while the host sleeps.
    """

    def __init__(
        self,
        store: Store,
        on_news: Callable[[], None],
        *,
        on_change: Callable[[], None],
        watch_every: float = 0.05,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        self._store = store
        self._on_news = on_news
        self._on_change = on_change
        self._watch_every = watch_every
        self._clock = clock
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._idle: list[Job[Any]] = []
        self._news: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._stopping = self._ending = self._ended = False
        # What wakes those who wait for the end of the thread.
        self._at_end: list[Callable[[], None]] = []
        self._hurry = threading.Event()
        self._unchanged = 0
        # Jobs whose end was not delivered yet.
        self._open = 0
        # Set by the thread: why it writes nothing more.
        self._over: BaseException | None = None
        # Set by the loop, read by the thread.
        self.watching = False
        # Set by the thread, read by the loop: why nothing can be written at this moment; and when
        # it was last certain that our entries are ours.
        self.trouble: JournalError | None = None
        self._verified_at = 0.0

    def start(self, opening: Callable[[], T], done: Callable[..., None]) -> None:
        """Call ``opening`` in the thread, then write. ``done`` is as that of a job; after an
        error the thread ends."""
        self._open += 1
        self._thread = threading.Thread(
            target=self._run, args=(opening, done), name="runware_ws journal", daemon=True
        )
        self._thread.start()

    def put(self, job: Job[Any]) -> None:
        """Write it soon, or with the next one where it is idle."""
        if job.idle:
            self._idle.append(job)
            if len(self._idle) < MOST_JOBS // 4:
                return
        self._put_idle()
        if not job.idle:
            self._put(job)

    def _put_idle(self) -> None:
        for job in self._idle:
            self._put(job)
        self._idle.clear()

    def _put(self, job: Job[Any]) -> None:
        self._open += 1
        self._jobs.put(job)
        if self._over is not None:
            self._tell_all(self._left(), self._over)

    def verified_ago(self) -> float:
        """So many seconds ago a transaction showed that nobody had taken our entries over."""
        return self._clock() - self._verified_at

    @property
    def busy(self) -> bool:
        """Whether something is to be written, or to be delivered."""
        return self._open > 0 or bool(self._news)

    def deliver(self) -> None:
        """Tell what was written."""
        while self._news:
            self._news.popleft()()

    def hurry(self) -> None:
        """Write what waits; from now on trouble is an error also where it is temporary."""
        self._put_idle()
        self._stopping = True
        self._hurry.set()

    def stop(self) -> None:
        """Write what waits, if that can be done at once, and end the thread. Idempotent."""
        self.hurry()
        self._ending = True
        self._jobs.put(None)

    async def join(self, timeout: float) -> None:
        """Wait for the end of the thread, at most so many seconds."""
        # Not in another thread: there are no new ones when the interpreter ends (Python 3.12).
        waiting, soon = Waiting.current(), caller_from_threads()
        waiter = waiting.waiter()
        self._at_end.append(partial(soon, partial(waiting.wake, waiter)))
        if self._thread is not None:
            if not self._ended:
                with anyio.move_on_after(timeout):
                    await waiter
            if self._ended:
                self._thread.join()

    # The thread

    def _run(self, opening: Callable[[], Any], done: Callable[..., None]) -> None:
        over: BaseException = JournalError(f"{self._store.place}: the journal is closed")
        try:
            if self._opened(opening, done):
                self._work()
        except BaseException as exc:  # a bug, or a store that breaks its contract
            _LOG.error("the journal's thread ended: %s: %s", type(exc).__name__, exc)
            over = exc
        finally:
            self._over = over
            self._tell_all(self._left(), over)
            try:
                self._store.close()
            finally:
                self._ended = True
                for wake in self._at_end:
                    wake()

    def _opened(self, opening: Callable[[], Any], done: Callable[..., None]) -> bool:
        answer: Any = None
        error: BaseException | None = None
        self._verified_at = self._clock()
        try:
            answer = opening()
        except BaseException as exc:
            error = exc
        self._tell([Job(_nothing, done)], [answer], error)
        return error is None

    def _work(self) -> None:
        version: int | None = None
        while True:
            batch, last = self._next_batch()
            if batch:
                self._write(batch)
            if last:
                return
            if self.watching:
                version = self._look(version)

    def _next_batch(self) -> tuple[list[Job[Any]], bool]:
        """What waits; and whether nothing comes after it."""
        batch: list[Job[Any]] = []
        ends = False
        try:
            job = self._jobs.get(timeout=self._watch_every if self.watching else None)
            while True:
                if job is not None:
                    batch.append(job)
                elif self._ending:
                    ends = True
                # Otherwise a nudge: it was blocked without looking.
                if len(batch) == MOST_JOBS:
                    return batch, ends
                job = self._jobs.get_nowait()
        except Empty:
            return batch, ends

    def _left(self) -> list[Job[Any]]:
        left: list[Job[Any]] = []
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return left
            if job is not None:
                left.append(job)

    def nudge(self) -> None:
        """Look at :attr:`watching` anew."""
        self._jobs.put(None)

    def _write(self, batch: list[Job[Any]]) -> None:
        pause = FIRST_PAUSE
        in_doubt = False
        while True:
            try:
                with self._store.transaction() as transaction:
                    answers = _do_all(batch, transaction)
                    # Once it is committed we may be frozen, and replaced, before we look.
                    certain_at = self._clock()
            except BaseException as exc:
                # An earlier try may be there, whatever becomes of the next ones.
                in_doubt = in_doubt or (isinstance(exc, JournalError) and exc.in_doubt)
                for job in batch:
                    if job.undone is not None and not in_doubt:
                        job.undone()
                if not isinstance(exc, JournalError):
                    self._tell_all(batch, exc)
                    raise
                if in_doubt and not exc.in_doubt:
                    exc = copy(exc)
                    exc.in_doubt = True
                if exc.about_data and not in_doubt and (halves := self._halves(batch)):
                    for half in halves:
                        self._write(half)
                    return
                if not exc.temporary or self._stopping:
                    self._tell_all(batch, exc)
                    return
                if self.trouble is None:
                    _LOG.warning("tasks wait for the journal: %s", exc)
                self.trouble = exc
                self._hurry.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            self.trouble = None
            self._verified_at = certain_at
            self._tell(batch, answers, None)
            return

    def _halves(self, batch: list[Job[Any]]) -> tuple[list[Job[Any]], list[Job[Any]]] | None:
        """A value was refused: nobody else's is to go with it."""
        if len(batch) > 1:
            middle = len(batch) // 2
            return batch[:middle], batch[middle:]
        if (split := batch[0].split) is None:
            return None

        def one_more() -> None:
            self._open += 1

        first, second = split()
        self._report(one_more)
        return [first], [second]

    def _report(self, *news: Callable[[], None]) -> None:
        self._news.extend(news)
        self._on_news()

    def _tell(self, batch: list[Job[Any]], answers: list[Any], error: BaseException | None) -> None:
        # Each of its own: what one raises keeps nothing from the others.
        pairs = zip(batch, answers, strict=True)
        self._report(*(partial(self._told, job, answer, error) for job, answer in pairs))

    def _told(self, job: Job[Any], answer: Any, error: BaseException | None) -> None:
        self._open -= 1
        if job.done is not None:
            job.done(answer, error)

    def _tell_all(self, batch: list[Job[Any]], error: BaseException) -> None:
        if batch:
            self._tell(batch, [None] * len(batch), error)

    def _look(self, version: int | None) -> int | None:
        """Tell whether others have committed; and now and then anyway, for they may have died."""
        try:
            now = self._store.version()
        except JournalError:
            return version
        self._unchanged += 1
        if now != version or self._unchanged * self._watch_every >= 1.0:
            self._unchanged = 0
            self._report(self._on_change)
        return now


def _do_all(batch: Sequence[Job[Any]], transaction: Transaction) -> list[Any]:
    answers = [job.work(transaction) for job in batch]
    for last in dict.fromkeys(job.last for job in batch):
        if last is not None:
            pairs = zip(batch, answers, strict=True)
            last([answer for job, answer in pairs if job.last is last], transaction)
    return answers


def _nothing(_: Transaction) -> None:
    """The opening is done already."""
