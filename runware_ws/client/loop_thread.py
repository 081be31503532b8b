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
from typing import TypeVar

import anyio
from anyio.from_thread import BlockingPortal

__all__ = ["LoopThread", "wait_for"]

R = TypeVar("R")


def wait_for(future: Future[R]) -> R:
    """Wait for a result from the client's thread; an interruption cancels the work there."""
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


class LoopThread:
    """Runs ``first``, then what is sent through :meth:`portal`, and ``last`` at the end.

    A signal's handler may raise out of any wait here: what was begun goes on in the thread, and
    the next call finds it there.
    """

    def __init__(
        self, first: Callable[[], Awaitable[object]], last: Callable[[], Awaitable[object]]
    ) -> None:
        self._first = first
        self._last = last
        self._thread: threading.Thread | None = None
        # The thread that runs it, which holds the lock for ever.
        self._host: threading.Thread
        self._once = threading.Lock()
        self._opened: Future[BlockingPortal] = Future()
        self._begun: Future[BlockingPortal] = Future()

    def start(self) -> None:
        """Start the thread, unless it runs. Does not wait for ``first``."""
        if self._thread is None:
            # In a context of its own, for it outlives its caller.
            run = Context().run
            thread = threading.Thread(
                target=run, args=(anyio.run, self._run), name="runware_ws", daemon=True
            )
            # If this is interrupted, Python may let the thread run, or not: then another is made.
            thread.start()
            self._thread = thread

    def portal(self) -> BlockingPortal:
        """Where functions are sent to, once ``first`` is through.

        Raises:
            CancelledError: it was stopped before.
            Exception: what ``first`` raised.
        """
        return self._begun.result()

    def stop(self) -> None:
        """Run ``last``, and end the thread. An interruption cancels what still runs. Idempotent."""
        if self._opened.cancel():
            self._begun.cancel()
            return
        portal = self._opened.result()
        in_haste = True
        try:
            if self._begun.exception() is None:
                with suppress(RuntimeError):
                    wait_for(portal.start_task_soon(self._last))
            in_haste = False
        finally:
            with suppress(RuntimeError):
                portal.start_task_soon(portal.stop, in_haste)
            self._host.join()

    async def _run(self) -> None:
        if not self._once.acquire(blocking=False):
            return
        self._host = threading.current_thread()
        if not self._opened.set_running_or_notify_cancel():
            return
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
