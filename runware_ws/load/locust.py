"""A user for Locust: more load than one machine makes, by Locust's own master and workers. ::

    from locust import constant_throughput, task
    from runware_ws import TextInference
    from runware_ws.load.locust import RunwareUser

    class Agent(RunwareUser):
        wait_time = constant_throughput(1)

        @task
        def ask(self):
            self.client.run(TextInference.prompt("Why?"), name="why")

``locust -f file.py --host wss://…`` runs it; the key comes from ``RUNWARE_API_KEY``. Needs the
extra ``locust``. Users of one process share one client. Locust's users wait for their answers, so
its model is closed: ``runware-ws load`` tells latency from the intended start, Locust cannot.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import gevent
import orjson
from gevent.event import AsyncResult
from gevent.monkey import get_original
from locust import User

from runware_ws import Client, Result, TextInference
from runware_ws.load.targets import Carrier

__all__ = ["LocustClient", "RunwareUser"]

T = TypeVar("T")
_Job = Callable[[Client], Coroutine[Any, Any, T]]


class RunwareUser(User):
    """A Locust user whose ``client`` runs tasks, each of them an event of Locust's.

    ``host`` is the socket's address; ``None``: the service. ``api_key`` ``None``: the environment
    variable. ``client_options`` are those of :class:`~runware_ws.Client`; ``timeout`` is that of
    each task, in seconds. The first user of a process decides.
    """

    abstract = True
    host: str | None = None
    api_key: ClassVar[str | None] = None
    timeout: ClassVar[float] = 60.0
    client_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.client = LocustClient(self)


class LocustClient:
    """Runs tasks for one user. Blocks its greenlet, and no other."""

    def __init__(self, user: RunwareUser) -> None:
        self._user = user

    def run(self, task: TextInference | dict[str, Any], *, name: str = "task") -> Result | None:
        """Run one task; an event of type ``task`` tells its time, size and exception.

        Returns:
            The result, or ``None``: then the event has the exception.
        """
        timeout = self._user.timeout

        async def ask(client: Client) -> Result:
            return await client.run(task, timeout=timeout)

        return self._timed("task", name, ask)

    def stream(
        self,
        task: TextInference | dict[str, Any],
        *,
        name: str = "stream",
        carrier: Carrier = "socket",
    ) -> Result | None:
        """Run one task and read its deltas; an event of type ``stream`` tells of the whole.

        Another one, of type ``first delta``, tells how long the first piece took.

        Returns:
            The result, or ``None``: then the event has the exception.
        """
        timeout = self._user.timeout
        first: list[float] = []

        async def ask(client: Client) -> Result:
            way = "auto" if carrier == "task" else carrier
            async with client.stream(task, carrier=way, timeout=timeout) as stream:
                async for _ in stream:
                    if not first:
                        first.append(time.perf_counter())
                return await stream.result()

        began = time.perf_counter()
        wall = time.time()
        result = self._timed("stream", name, ask)
        if first:
            self._tell("first delta", name, wall, first[0] - began, 0, None, None)
        return result

    def _timed(self, kind: str, name: str, job: _Job[Result]) -> Result | None:
        wall, began = time.time(), time.perf_counter()
        result: Result | None = None
        error: Exception | None = None
        size = 0
        try:
            result = _bridge_of(self._user).call(job)
            size = len(orjson.dumps(result.raw))
        except Exception as exc:
            error = exc
        self._tell(kind, name, wall, time.perf_counter() - began, size, result, error)
        return result

    def _tell(
        self,
        kind: str,
        name: str,
        wall: float,
        seconds: float,
        size: int,
        result: Result | None,
        error: Exception | None,
    ) -> None:
        user: Any = self._user
        user.environment.events.request.fire(
            request_type=kind,
            name=name,
            start_time=wall,
            response_time=seconds * 1e3,
            response_length=size,
            response=result,
            context=user.context(),
            exception=error,
        )


# The bridge

_bridges: dict[int, _Bridge] = {}
"""The bridge of this process, by the identity of Locust's environment."""


def _bridge_of(user: RunwareUser) -> _Bridge:
    environment: Any = user.environment
    bridge = _bridges.get(id(environment))
    if bridge is None:
        # No greenlet switch lies in between, so there is one bridge however many users start.
        bridge = _bridges[id(environment)] = _Bridge(
            lambda: Client(user.host, api_key=user.api_key, **user.client_options)
        )

        def end(**_: Any) -> None:
            if environment.runner is not None:
                # Locust says that it quits before it stops its users, who have until
                # ``--stop-timeout``.
                environment.runner.stop()
            found = _bridges.pop(id(environment), None)
            if found is not None:
                found.close()

        environment.events.quitting.add_listener(end)
    return bridge


class _Bridge:
    """A client in a native thread with an event loop of its own, asked from greenlets.

    Locust makes the standard library cooperative, so a ``threading.Thread`` is a greenlet in the
    hub that all users share. This thread is a real one and has a hub of its own, in which
    asyncio's loop waits. Answers come back through an async watcher: of all that gevent has, it
    alone may be touched from another thread.
    """

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._answers: deque[tuple[Any, Any, BaseException | None]] = deque()
        self._watcher: Any = gevent.get_hub().loop.async_()
        self._watcher.start(self._deliver)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._client: Client | None = None
        self._ready: Any = AsyncResult()
        self._ended = False
        start: Any = get_original("_thread", "start_new_thread")
        start(self._thread, ())

    # In the greenlets

    def call(self, job: _Job[T]) -> T:
        """Run ``job`` with the client and wait. Whatever ends the wait before cancels it: the end
        of the greenlet, a ``gevent.Timeout``."""
        self._ready.get()
        loop: Any = self._loop
        make: Any = AsyncResult
        box: Any = make()
        running: list[Any] = []

        def start() -> None:
            running.append(loop.create_task(self._run(job, box)))

        loop.call_soon_threadsafe(start)
        try:
            answer: T = box.get()
            return answer
        except BaseException:
            with suppress(RuntimeError):  # the loop has ended by itself
                # It is over already where this is its own error.
                loop.call_soon_threadsafe(lambda: running[0].cancel())
            raise

    def close(self) -> None:
        """Close the client and end its thread."""
        self._ready.wait()
        if self._loop is not None and self._closing is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._closing.set)
        # Not through the watcher: the thread must be past its last use of it, and of greenlets,
        # for an interpreter that ends while a thread is among them crashes.
        while not self._ended:
            gevent.sleep(0.005)
        self._watcher.stop()
        self._watcher.close()

    def _deliver(self) -> None:
        while self._answers:
            box, value, error = self._answers.popleft()
            if error is None:
                box.set(value)
            else:
                box.set_exception(error)

    # In the thread

    def _tell(self, box: Any, value: Any, error: BaseException | None) -> None:
        self._answers.append((box, value, error))
        self._watcher.send()

    def _thread(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._live())
        except Exception as exc:
            error = exc
        if error is not None:
            # Before it was ready; afterwards nobody waits for this one any more.
            self._tell(self._ready, None, error)
        hub: Any = gevent.get_hub()  # this thread's own
        hub.destroy(destroy_loop=True)
        self._ended = True

    async def _live(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        async with self._make() as client:
            self._client = client
            self._tell(self._ready, None, None)
            await self._closing.wait()

    async def _run(self, job: Callable[[Client], Awaitable[T]], box: Any) -> None:
        assert self._client is not None
        try:
            value = await job(self._client)
        except BaseException as exc:
            self._tell(box, None, exc)
            if not isinstance(exc, Exception):
                raise
        else:
            self._tell(box, value, None)
