"""The thread that writes a journal, as a model: in virtual time, and it may be killed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

import anyio

from runware_ws.errors import JournalError
from runware_ws.journal.writer import Job
from runware_ws.testing.stores import MemoryStore
from tests.simulation.loop import VirtualLoop

__all__ = ["Killed", "ModelWriter", "Process"]


class Killed(BaseException):
    """This process is no more."""


class Process(Protocol):
    """The process that the thread belongs to. ``trouble``: why nothing can be committed now."""

    loop: VirtualLoop
    rng: Random
    dead: bool

    @property
    def trouble(self) -> JournalError | None: ...

    def point(self, kind: str) -> None:
        """Here it may be killed.

        Raises:
            Killed: it is.
        """
        ...

    def committed(self, kind: str) -> None:
        """It has committed."""
        ...


class ModelWriter:
    """The thread that writes, as a model: it commits what waits at drawn times, or not at all."""

    def __init__(
        self,
        life: Process,
        store: MemoryStore,
        on_news: Callable[[], None],
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._life = life
        self._store = store
        self._on_news = on_news
        self._on_change = on_change
        self._loop = life.loop
        self._rng = life.rng
        self._jobs: list[Job[Any]] = []
        self._news: list[Callable[[], None]] = []
        self._planned = False
        self._hurried = False
        self._ended = False
        self._open = 0
        self._version = 0
        self.watching = False
        self.trouble: JournalError | None = None
        self._verified_at = self._loop.now

    def start(self, opening: Callable[[], Any], done: Callable[..., None]) -> None:
        self._open += 1

        def opened() -> None:
            if not self._life.dead:
                answer = opening()
                self._life.committed("opening")
                self._tell([Job(lambda _: None, done)], [answer], None)

        self._loop.call_later(self._rng.random() * 0.05, opened)

    def put(self, job: Job[Any]) -> None:
        if self._life.dead:
            return
        self._open += 1
        self._jobs.append(job)
        self._plan(self._rng.choice((0.0, 0.001, 0.01, 0.2)))

    @property
    def busy(self) -> bool:
        return not self._life.dead and (self._open > 0 or bool(self._news))

    def verified_ago(self) -> float:
        return self._loop.now - self._verified_at

    def deliver(self) -> None:
        while self._news and not self._life.dead:
            self._news.pop(0)()

    def hurry(self) -> None:
        self._hurried = True

    def stop(self) -> None:
        self._hurried = True
        if not self._ended and not self._life.dead:
            self._ended = True
            self._commit()
            self._store.close()

    async def join(self, timeout: float) -> None:
        await anyio.lowlevel.checkpoint()

    def nudge(self) -> None:
        if self.watching:
            self._loop.call_later(0.05, self._look)

    def _look(self) -> None:
        if self.watching and not self._life.dead and not self._ended:
            now = self._store.version()
            if now != self._version or self._rng.random() < 0.05:
                self._version = now
                self._report(self._on_change)
            self.nudge()

    def _plan(self, delay: float) -> None:
        if not self._planned:
            self._planned = True
            self._loop.call_later(delay, self._due)

    def _due(self) -> None:
        self._planned = False
        self._commit()

    def _commit(self) -> None:
        batch, self._jobs = self._jobs, []
        life = self._life
        if not batch or life.dead:
            return
        try:
            self._store.trouble = life.trouble
            with self._store.transaction() as transaction:
                answers = [job.work(transaction) for job in batch]
                life.point("before a commit")
        except Killed:
            return
        except JournalError as exc:
            for job in batch:
                if job.undone is not None:
                    job.undone()
            if exc.temporary and not self._hurried:
                self.trouble = exc
                self._jobs = batch + self._jobs
                self._plan(0.5)
            else:
                self._tell(batch, [None] * len(batch), exc)
            return
        self.trouble = None
        self._verified_at = self._loop.now
        life.committed("commit")
        if not life.dead:
            self._tell(batch, answers, None)

    def _tell(self, batch: list[Job[Any]], answers: list[Any], error: BaseException | None) -> None:
        def tell() -> None:
            for job, answer in zip(batch, answers, strict=True):
                self._open -= 1
                if job.done is not None:
                    job.done(answer, error)

        delay = self._rng.choice((0.0, 0.0, 0.01, 0.3))
        self._loop.call_later(delay, self._report, tell)

    def _report(self, news: Callable[[], None]) -> None:
        if not self._life.dead:
            self._news.append(news)
            self._on_news()
