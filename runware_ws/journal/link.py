"""Between the event loop and the thread that writes: jobs there, what became of them back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import anyio

from runware_ws._io.wakeups import Waiting, Wakeup, caller_from_threads
from runware_ws.errors import JournalError
from runware_ws.journal.store import Store, Transaction
from runware_ws.journal.writer import Job, JournalWriter

__all__ = ["WriterLink"]

T = TypeVar("T")


class WriterLink:
    """One client's writer. ``on_change`` is called when others may have committed, see
    :meth:`watch`; ``on_turn`` at the end of a turn, see :meth:`at_end_of_turn`."""

    def __init__(
        self,
        store: Store,
        on_change: Callable[[], None],
        on_turn: Callable[[], None],
        make: Callable[..., JournalWriter] = JournalWriter,
    ) -> None:
        self._store = store
        self._on_change = on_change
        self._on_turn = on_turn
        self._make = make
        self._waiting: Waiting
        self._writer: JournalWriter
        # For each task that delivers what the writer says; without one, a callback of the loop
        # does. There may be several: any number of tasks may close a client.
        self._written: list[Wakeup] = []

    async def open(self, work: Callable[[], T]) -> T:
        """Start the thread, and call ``work`` in it. If this is cancelled, the thread ends.

        Raises:
            BaseException: what ``work`` raises.
        """
        self._waiting = Waiting.current()
        on_news = partial(caller_from_threads(), self._on_news)
        self._writer = writer = self._make(self._store, on_news, on_change=self._on_change)
        waiter = self._waiting.waiter()
        answers: list[T] = []
        errors: list[BaseException] = []

        def opened(answer: Any, error: BaseException | None) -> None:
            if error is None:
                answers.append(answer)
            else:
                errors.append(error)
            self._waiting.wake(waiter)

        writer.start(work, opened)
        try:
            await waiter
        except BaseException:
            writer.stop()
            raise
        if errors:
            raise errors[0]
        return answers[0]

    def _on_news(self) -> None:
        if not self._wake():
            self._writer.deliver()

    def _wake(self) -> bool:
        """Wake the tasks that deliver; whether there is one."""
        for written in self._written:
            written.set()
        return bool(self._written)

    async def run(self) -> None:
        """Deliver what was written, as it is written."""
        await self._deliver(lambda: False)

    async def _deliver(self, over: Callable[[], bool]) -> None:
        written = Wakeup(self._waiting)
        self._written.append(written)
        try:
            while True:
                self._writer.deliver()
                self._on_turn()
                if over():
                    return
                await written.wait()
        finally:
            self._written.remove(written)

    def at_end_of_turn(self) -> None:
        """Call ``on_turn`` once all that is ready in the loop has run: what comes in one turn is
        written together."""
        if not self._wake():
            self._on_turn()

    def put(self, job: Job[Any]) -> None:
        """See :meth:`JournalWriter.put`."""
        self._writer.put(job)

    async def do(self, work: Callable[[Transaction], T]) -> tuple[T | None, BaseException | None]:
        """Have it written, and wait for that: the answer, or why it cannot be written."""
        waiter = self._waiting.waiter()
        told: list[tuple[T | None, BaseException | None]] = []

        def done(answer: T | None, error: BaseException | None) -> None:
            told.append((answer, error))
            self._waiting.wake(waiter)

        self._writer.put(Job(work, done))
        await waiter
        return told[0]

    async def aclose(self, timeout: float) -> None:
        """Write what waits, and end. Shielded; ``timeout`` seconds at most."""
        until = self._waiting.now() + timeout
        writer = self._writer
        try:
            with anyio.move_on_after(timeout, shield=True):
                writer.hurry()
                await self._deliver(lambda: not writer.busy)
            writer.stop()
            with anyio.CancelScope(shield=True):
                await writer.join(max(0.0, until - self._waiting.now()))
        finally:
            writer.stop()
            writer.deliver()

    def stop(self) -> None:
        """Write what waits, and end, without waiting for it."""
        self._writer.stop()
        # Who delivered may have been cancelled before it did.
        self._writer.deliver()

    def watch(self, watching: bool) -> None:
        """Whether ``on_change`` is to be called."""
        if watching != self._writer.watching:
            self._writer.watching = watching
            self._writer.nudge()

    @property
    def trouble(self) -> JournalError | None:
        """Why nothing can be written at this moment."""
        return self._writer.trouble

    def verified_ago(self) -> float:
        """See :meth:`JournalWriter.verified_ago`."""
        return self._writer.verified_ago()
