"""A scripted server in a thread of its own, for code on any event loop, or on none."""

from __future__ import annotations

import atexit
import functools
import threading
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import tenacity
from anyio.from_thread import BlockingPortal, start_blocking_portal

from runware_ws import Client
from runware_ws.emulator import Faults, Stats
from runware_ws.testing.scripted import Scripted

__all__ = ["QUICK", "ScriptedEmulator"]

T = TypeVar("T")

QUICK: dict[str, Any] = {
    "backoff": tenacity.wait_fixed(0.01),
    "replay_grace": 0.05,
    "resend_after": 0.05,
    "resend_early": True,
    "proxy": None,
    "timeout": 10.0,
}
"""Options under which a client gets over a fault in milliseconds."""


class ScriptedEmulator(Scripted):
    """A local server on a free port: ``with ScriptedEmulator() as emulator``.

    Every method may be called from any thread, and from a reply function. Leaving the block
    without an error calls :meth:`verify`. The arguments are those of :class:`Scripted`.
    """

    _stack: ExitStack | None = None
    _portal: BlockingPortal | None = None
    _thread = 0

    def __repr__(self) -> str:
        return f"<ScriptedEmulator {self.url if self._portal else 'not running'}>"

    @property
    def url(self) -> str:
        """Where a client connects."""
        return self._emulator.url

    def client(self, **options: Any) -> Client:
        """A client of this server, for ``async with``, that gets over faults quickly.

        ``options`` are those of :class:`~runware_ws.Client`.
        """
        key = options.pop("api_key", self.api_key)
        # A Config that is given is taken unchanged.
        quick = {} if "config" in options else QUICK
        return Client(self.url, api_key=key, **{**quick, **options})

    @property
    def faults(self) -> Faults:
        """All fault orders of the emulator."""
        return cast("Faults", _OnLoop(self, self._emulator.faults))

    @property
    def stats(self) -> Stats:
        """What the server counted so far: a copy."""
        return self._call(lambda: deepcopy(self._emulator.stats))

    # Life

    def start(self) -> Self:
        """Listen, if it does not yet; the same as entering the block."""
        if self._portal is not None:
            return self
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            stack.enter_context(portal.wrap_async_context_manager(self._emulator))
            self._thread = portal.call(threading.get_ident)
            self._portal = portal
            self._stack = stack.pop_all()
        # The end of the interpreter would wait for ever for a thread that it has stopped.
        atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """Stop listening, without :meth:`verify`. Idempotent."""
        stack, self._stack, self._portal = self._stack, None, None
        if stack is not None:
            atexit.unregister(self.stop)
            stack.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if exc_type is None:
            self.verify()

    def _call(self, function: Callable[[], T]) -> T:
        if self._portal is None or threading.get_ident() == self._thread:
            return function()
        return self._portal.call(function)


class _OnLoop:
    """The orders of an emulator, each carried out by its own event loop."""

    def __init__(self, owner: ScriptedEmulator, target: Faults) -> None:
        self._owner = owner
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        @functools.wraps(value)
        def order(*args: Any, **kwargs: Any) -> Any:
            return self._owner._call(functools.partial(value, *args, **kwargs))  # pyright: ignore[reportPrivateUsage]

        return order
