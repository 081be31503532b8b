"""An event loop in a thread of its own, in which one client lives.

anyio's ``start_blocking_portal`` does nearly that, as a generator. In the child of a fork it waits
for a thread that the child does not have, as soon as it is collected, which is at the end of the
program. And a signal that meets it while the thread starts leaves it waiting for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from typing import Generic, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from runware_ws._io.wakeups import caller_from_threads

__all__ = ["LoopThread", "NotHere"]

R = TypeVar("R")


class NotHere(Exception):
    """Nothing can be sent to the thread: it has ended, or this is the thread itself."""


class _Sent(Generic[R]):
    """A function that runs in the loop. Whoever waits for it may give it up at any moment."""

    def __init__(self, func: Callable[[], Awaitable[R]], lost: Callable[[], None]) -> None:
        self._func = func
        self._lost = lost
        self._scope: anyio.CancelScope | None = None
        self.given_up = False

    async def run(self) -> R | None:
        """What the function returns; ``None`` if it was given up."""
        if not self.given_up:
            with anyio.CancelScope() as self._scope:
                return await self._func()
        return None

    def leave(self) -> None:
        """Cancel it, if it runs; what it returned, if it is through, is lost."""
        if self._scope is not None:
            self._scope.cancel()
            self._lost()


class LoopThread:
    """Runs ``first``, then what is sent with :meth:`call`, and ``last`` at the end.

    A signal's handler may raise out of any wait here. The call that was waited for is given up
    then, wherever it stood. The rest goes on, and the next call finds it.
    """

    def __init__(
        self, first: Callable[[], Awaitable[object]], last: Callable[[], Awaitable[object]]
    ) -> None:
        self._first = first
        self._last = last
        self._thread: threading.Thread | None = None
        # The thread that runs it, which holds the lock for ever.
        self._host: threading.Thread | None = None
        # Calls a function in the loop, and does not wait for it. Only once it has begun.
        self.soon: Callable[[Callable[[], None]], None]
        self._once = threading.Lock()
        self._through = False
        self._opened: Future[BlockingPortal] = Future()
        self._begun: Future[BlockingPortal] = Future()

    @property
    def here(self) -> bool:
        """Whether this is the thread itself."""
        return threading.current_thread() is self._host

    def start(self) -> None:
        """Start the thread, unless it runs. Does not wait for ``first``."""
        if self._thread is None:
            # In a context of its own, for it outlives its caller.
            run = Context().run
            thread = threading.Thread(
                target=run, args=(self._live,), name="runware_ws", daemon=True
            )
            # If this is interrupted, Python may let the thread run, or not: then another is made.
            thread.start()
            self._thread = thread

    def begin(self) -> None:
        """Wait until ``first`` is through.

        Raises:
            CancelledError: the thread was stopped before.
            Exception: what ``first`` raised.
        """
        self._begun.result()

    def call(self, func: Callable[[], Awaitable[R]], lost: Callable[[], None] = lambda: None) -> R:
        """Run ``func`` in the loop, once ``first`` is through, and wait for it.

        If the wait is interrupted, ``func`` is cancelled and ``lost`` is called: the result may
        have been there already.

        Raises:
            NotHere: it cannot be sent there.
            CancelledError: the thread was stopped before ``first`` was through.
            Exception: what ``func`` raised, or ``first``.
        """
        return self._send(self._begun.result(), _Sent(func, lost))

    def _send(self, portal: BlockingPortal, call: _Sent[R]) -> R:
        try:
            try:
                future = portal.start_task_soon(call.run)
            except RuntimeError as exc:
                raise NotHere(str(exc)) from None
            return future.result()  # type: ignore[return-value]  # it was not given up
        except BaseException:
            # Not by cancelling the future: the loop may be about to set its result.
            call.given_up = True
            self.soon(call.leave)
            raise

    def stop(self) -> None:
        """Run ``last``, and end the thread. An interruption cancels what still runs. Idempotent."""
        if self._opened.cancel():
            self._begun.cancel()
            return
        portal = self._opened.result()
        in_haste = True
        try:
            if self._begun.exception() is None:
                with suppress(NotHere):
                    self._send(portal, _Sent(self._last, lambda: None))
            in_haste = False
        finally:
            with suppress(RuntimeError):
                portal.start_task_soon(portal.stop, in_haste)
            assert self._host is not None  # it has opened
            self._host.join()

    def _live(self) -> None:
        try:
            anyio.run(self._run)
        except RuntimeError:
            # With the last step asyncio starts a thread that waits for the loop's own threads.
            # Where the interpreter ends there are no new ones (Python 3.12), and those have ended.
            if not self._through:
                raise

    async def _run(self) -> None:
        if not self._once.acquire(blocking=False):
            return
        self._host = threading.current_thread()
        if not self._opened.set_running_or_notify_cancel():
            return
        self.soon = caller_from_threads()
        async with BlockingPortal() as portal:
            self._opened.set_result(portal)
            try:
                await self._first()
            except Exception as exc:
                self._begun.set_exception(exc)
            except BaseException:
                self._begun.cancel()
                raise
            else:
                self._begun.set_result(portal)
                await portal.sleep_until_stopped()
        self._through = True
