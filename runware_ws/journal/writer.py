"""One thread that writes to a store: what waits goes into one transaction, and so one commit."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from runware_ws.errors import JournalError
from runware_ws.journal.store import Store, Transaction

__all__ = ["Job", "JournalWriter"]

_LOG = logging.getLogger("runware_ws")

T = TypeVar("T")

MOST_JOBS = 2_000
"""How many jobs share one transaction at most: each waits for all of them."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Between two tries of a transaction that could not be written, in seconds."""


class Job(Generic[T]):
    """``work(transaction)`` in the thread; then :meth:`JournalWriter.deliver` calls
    ``done(answer, error)``.

    ``error`` is ``None``, or why nothing of it was written: then ``answer`` is ``None``.
    ``done`` may be ``None``. ``idle``: it may wait for others to be written with.
    """

    __slots__ = ("done", "idle", "work")

    def __init__(
        self,
        work: Callable[[Transaction], T],
        done: Callable[[T | None, BaseException | None], None] | None = None,
        *,
        idle: bool = False,
    ) -> None:
        self.work = work
        self.done = done
        self.idle = idle


class JournalWriter:
    """Runs jobs on a store that is open. All but the thread itself belongs to the loop's thread.

    ``on_news`` is called in the thread when there is something to deliver. ``on_change`` is
    delivered after another owner committed, while :attr:`watching`.
    """

    def __init__(
        self,
        store: Store,
        on_news: Callable[[], None],
        *,
        on_change: Callable[[], None],
        watch_every: float = 0.05,
    ) -> None:
        self._store = store
        self._on_news = on_news
        self._on_change = on_change
        self._watch_every = watch_every
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._idle: list[Job[Any]] = []
        self._news: deque[Callable[[], None]] = deque()
        self._thread = threading.Thread(target=self._run, name="runware_ws journal", daemon=True)
        self._stopping = False
        self._hurry = threading.Event()
        self._unchanged = 0
        # Set by the loop, read by the thread.
        self.watching = False
        # Set by the thread, read by the loop: since when nothing can be written, and why; and when
        # a transaction was last written, on the monotonic clock.
        self.trouble: JournalError | None = None
        self.verified_at = time.monotonic()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, job: Job[Any]) -> None:
        """Write it soon, or with the next one where it is idle."""
        if job.idle:
            self._idle.append(job)
            if len(self._idle) < MOST_JOBS // 4:
                return
        self._put_idle()
        if not job.idle:
            self._jobs.put(job)

    def _put_idle(self) -> None:
        for job in self._idle:
            self._jobs.put(job)
        self._idle.clear()

    def deliver(self) -> None:
        """Tell what was written."""
        while self._news:
            self._news.popleft()()

    def stop(self) -> None:
        """Write what waits, if that can be done at once, and end the thread. Idempotent."""
        self._put_idle()
        self._stopping = True
        self._hurry.set()
        self._jobs.put(None)

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread, in another thread. False: it still runs."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # The thread

    def _run(self) -> None:
        try:
            version = self._store.version()
            while True:
                batch, last = self._next_batch()
                if batch:
                    self._write(batch)
                if last:
                    return
                if self.watching:
                    version = self._look(version)
        except BaseException as exc:  # a bug, or a store that breaks its contract
            _LOG.error("the journal's thread ended: %s: %s", type(exc).__name__, exc)
            self._tell_all(self._left(), exc)
        finally:
            self._store.close()

    def _next_batch(self) -> tuple[list[Job[Any]], bool]:
        """What waits; and whether nothing comes after it."""
        batch: list[Job[Any]] = []
        try:
            job = self._jobs.get(timeout=self._watch_every if self.watching else None)
            while job is not None:
                batch.append(job)
                if len(batch) == MOST_JOBS:
                    return batch, False
                job = self._jobs.get_nowait()
        except Empty:
            return batch, False
        if self._stopping:
            return batch + self._left(), True
        return batch, False  # a nudge: it was blocked without looking

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
        while True:
            try:
                with self._store.transaction() as transaction:
                    answers = [job.work(transaction) for job in batch]
            except JournalError as exc:
                if not exc.temporary or self._stopping:
                    self._tell_all(batch, exc)
                    return
                if self.trouble is None:
                    _LOG.warning("tasks wait for the journal: %s", exc)
                self.trouble = exc
                self._hurry.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except BaseException as exc:
                self._tell_all(batch, exc)
                raise
            self.trouble = None
            self.verified_at = time.monotonic()
            self._tell(batch, answers)
            return

    def _report(self, news: Callable[[], None]) -> None:
        self._news.append(news)
        self._on_news()

    def _tell(self, batch: list[Job[Any]], answers: list[Any]) -> None:
        def tell() -> None:
            for job, answer in zip(batch, answers, strict=True):
                if job.done is not None:
                    job.done(answer, None)

        self._report(tell)

    def _tell_all(self, batch: list[Job[Any]], error: BaseException) -> None:
        def tell() -> None:
            for job in batch:
                if job.done is not None:
                    job.done(None, error)

        self._report(tell)

    def _look(self, version: int) -> int:
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
