"""One process of the lives: what it asks for, and how it dies."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, cast

import anyio
import tenacity
from pydantic import SecretStr

from runware_ws import Client, Config, Result
from runware_ws._core.effects import PostEnding
from runware_ws._io.transport.base import Transport
from runware_ws.client.recovered import Recovered
from runware_ws.errors import (
    JournalError,
    OutcomeUnknown,
    ProtocolError,
    RunwareError,
    TaskError,
    TaskTimeout,
)
from tests.simulation.model_writer import Killed, ModelWriter
from tests.simulation.wire import Socket

if TYPE_CHECKING:
    from tests.simulation.lives import Lives

__all__ = ["KEY", "URL", "Life"]

URL = "wss://model.invalid/v1"
KEY = "Kq7xVw2ZpT9mLs4RdY8bNc3HgJ6fAe5U"


class Life:
    """One process, from its start to its death or its end."""

    def __init__(self, lives: Lives, slot: int, number: int, *, last: bool) -> None:
        self.lives = lives
        self.loop = lives.loop
        self.name = f"{slot}.{number}"
        self.rng = Random(f"{lives.seed} {self.name}")
        self.last = last
        self.dead = False
        self.store = lives.journal.store()
        self.fenced = False
        self.wire = lives.wire()
        rng = Random(f"{lives.seed} {self.name} posts")
        self.http = lives.http(rng) if rng.random() < 0.5 else None
        self._scope = anyio.CancelScope()
        # It is killed when so many of these have come.
        self._points: dict[str, int] = {}
        if not last and self.rng.random() < 0.7:
            kind = self.rng.choice(("before a send", "after a send", "before a commit", "commit"))
            self._points[kind] = self.rng.randint(1, 12)
        # What is about streams is drawn apart: the other draws are as they would be without.
        self._streams = Random(f"{lives.seed} {self.name} streams")
        self._heard: set[str] = set()
        if not last and self._streams.random() < 0.4:
            self._points["a delta"] = self._streams.randint(1, 6)

    @property
    def trouble(self) -> JournalError | None:
        """Why nothing can be committed at this moment."""
        return self.lives.trouble

    # Death

    def point(self, kind: str) -> None:
        """Here it may be killed.

        Raises:
            Killed: it is.
        """
        if self.dead:
            raise Killed
        left = self._points.get(kind)
        if left is not None:
            self._points[kind] = left - 1
            if left == 1:
                self.kill(kind)
                raise Killed

    def committed(self, kind: str) -> None:
        """It has committed."""
        self.lives.look()
        with suppress(Killed):
            self.point(kind)

    def kill(self, why: str) -> None:
        """SIGKILL."""
        if self.dead:
            return
        self.lives.story.tell("killed", f"{self.name} {why}")
        self.lives.story.count(f"killed: {why}")
        self.lives.cut_off(self._heard)
        self.dead = True
        self.store.die()
        for socket in self.wire.sockets:
            socket.leave()
        if self.http is not None:
            self.http.cut_all()
        self.loop.call_soon(self._scope.cancel)

    @asynccontextmanager
    async def dial(self, url: str, config: Config) -> AsyncGenerator[Transport]:
        async with self.wire.dial(url, config) as transport:
            inner = cast("Socket", transport)
            send = inner.send

            async def spied(data: bytes) -> None:
                try:
                    self.point("before a send")
                    self.lives.sending(self, data)
                    await send(data)
                    self.point("after a send")
                except Killed:
                    await anyio.sleep_forever()

            cast("Any", inner).send = spied
            yield cast("Transport", inner)

    async def post(
        self,
        payload: bytes,
        key: SecretStr,
        sending: Callable[[], bool],
        take: Callable[[bytes], None],
    ) -> PostEnding:
        """As the seam has it."""

        def spied() -> bool:
            self.point("before a send")
            if not sending():
                return False
            self.lives.sending(self, payload)
            self.loop.call_soon(self._posted)
            return True

        def heard(data: bytes) -> None:
            if not self.dead:
                take(data)

        assert self.http is not None
        with suppress(Killed):
            ending = await self.http.post(payload, key, spied, heard)
            if not self.dead:
                return ending
        await anyio.sleep_forever()
        raise AssertionError

    def _posted(self) -> None:
        with suppress(Killed):
            self.point("after a send")

    # Life

    async def live(self) -> None:
        """Work until killed, or until all is done."""
        lives = self.lives
        lives.story.tell("starts", self.name)
        if not self.last:
            lives.loop.call_later(self.rng.random() ** 2 * 15, self.kill, "at any time")
        with self._scope:
            config = Config(
                backoff=tenacity.wait_fixed(0.1 + self.rng.random()),
                timeout=None if self.last else self.rng.choice((5.0, 30.0, None)),
                max_in_flight=self.rng.choice((1, 3, 1000)),
            )
            if self.last and not lives.tells_all:
                # Nobody hears before a deadline of what the server cannot say. Nor is anybody to
                # wait for room behind that.
                config = replace(config, timeout=900.0, max_in_flight=1000)
            client = Client(
                URL,
                api_key=KEY,
                config=config,
                dial=self.dial,
                post=None if self.http is None else self.post,
                journal=cast("Any", self.store),
            )

            def make(*args: Any, **more: Any) -> ModelWriter:
                return ModelWriter(self, *args, **more)

            cast("Any", client)._journal._link._make = make
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(client)
                    await self._work(client)
                finally:
                    lives.ended(self)
        lives.story.tell("ends", self.name)

    async def _work(self, client: Client) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._recover, client)
            names = [name for name in self.lives.names if self.last or self.rng.random() < 0.6]
            for name in names:
                for _ in range(self.rng.choice((1, 1, 2))):
                    group.start_soon(self._ask, client, name)
            if not self.last:
                for number in range(self.rng.randint(0, 3)):
                    group.start_soon(self._once, client, f"once {self.name} {number}")

    async def _recover(self, client: Client) -> None:
        if self._streams.random() < 0.7:
            # Who asks by a key may be first.
            await anyio.sleep(10 * self._streams.random())
        while True:
            async for left in client.recovered():
                if self.dead:
                    return
                self._told_left(left)
            if self.last and client.stats().pending == 0:
                return
            await anyio.sleep(1.0)

    def _told_left(self, left: Recovered) -> None:
        if left.error is not None:
            self.lives.told_error(self, left.key, left.error)
        else:
            result = left.unwrap()
            items = [each.raw for each in result.items]
            self.lives.told(self, left.key, left.task_uuid, items, "recovered")

    async def _ask(self, client: Client, name: str) -> None:
        """Ask for a key; in the last life until it is answered."""
        lives = self.lives
        soon = lives.streams(name) and self._streams.random() < 0.7
        await anyio.sleep(0.0 if self.last else self.rng.random() * (1 if soon else 8))
        for _ in range(60):
            error = await self._run(client, name, key=name)
            if error is None or not self.last:
                return
            if isinstance(error, TaskError) and not error.safe_to_resend:
                return
            if isinstance(error, OutcomeUnknown | TaskTimeout | ProtocolError):
                assert error.task_uuid is not None
                if not lives.tellable(error.task_uuid):
                    return
            await anyio.sleep(1.0)
        lives.fail(f"the key {name} was not answered in the last life")

    async def _once(self, client: Client, name: str) -> None:
        await anyio.sleep(self.rng.random() * 8)
        await self._run(client, name, key=None)

    async def _run(self, client: Client, name: str, *, key: str | None) -> RunwareError | None:
        lives = self.lives
        task = {
            "taskType": "textInference",
            "taskUUID": lives.uuid(),
            "model": "model:1@1",
            "name": name,
        }
        begin = lives.loop.now
        way = "run"
        if lives.streams(name) and self._streams.random() < 0.5:
            way = "stream"
        try:
            if way == "stream":
                result = await self._stream(client, task, key)
            elif self.last or self.rng.random() < 0.8:
                result = await client.run(task, key=key)
            else:
                handle = await client.submit(task, key=key)
                with anyio.move_on_after(self.rng.random() * 6):
                    await handle
                handle.cancel()
                result = await handle
        except RunwareError as exc:
            if not self.dead:
                lives.told_error(self, key, exc)
                self._check_time(client, begin, exc)
            return exc
        if not self.dead:
            lives.told(self, key, result.task_uuid, [each.raw for each in result.items], way)
        return None

    async def _stream(self, client: Client, task: dict[str, Any], key: str | None) -> Result:
        leaves = not self.last and self._streams.random() < 0.2
        # Its end may be lost, which nobody notices before a deadline.
        more: dict[str, Any] = {"timeout": 60.0} if self.last else {}
        async with client.stream(task, key=key, **more) as stream:
            async for _ in stream:
                self._heard.add(stream.task_uuid)
                try:
                    if key is not None:
                        self.point("a delta")
                except Killed:
                    await anyio.sleep_forever()
                if leaves and stream.handle is not None:
                    stream.handle.cancel()
                    break
            result = await stream.result()
        self._heard.discard(result.task_uuid)
        return result

    def _check_time(self, client: Client, begin: float, exc: RunwareError) -> None:
        limit = cast("Any", client)._config.timeout
        if limit is not None and self.loop.now - begin > limit + 2.6:
            self.lives.fail(f"{exc!r} came {self.loop.now - begin:.1f} s after its task")
