"""Every verb, cancelled at each of its suspensions, with a cut right before and a resume behind.

A verb is run step by step: at its k-th suspension the socket is cut and the verb is cancelled, at
once or a moment later, while the client dials, resumes, or reads the replay. For each k, until the
verb comes to its end. Nobody else is harmed, nothing is left, and what was paid for can be had.
"""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import orjson
import pytest
import sniffio
from pydantic import SecretStr

from runware_ws import Client, ClientClosed, Result, TaskHandle, TextInference
from runware_ws._core.effects import Ending, PostEnding
from runware_ws.classify import Loss, LossKind
from runware_ws.emulator import Emulator, EmulatorOptions, expected_text
from runware_ws.events import Connected
from tests import virtual

from .leftovers import living
from .support import ample, ask, assert_answers, client_of, texts_of, until

pytestmark = pytest.mark.anyio

anyio_backend = virtual.anyio_backend

MOST = 60
"""No verb has so many suspensions: it would be one that does not end."""

DELAYS = (0.0, 0.004, 0.011, 0.02, 0.05)
"""So long after the cut the cancellation comes, in seconds: the client redials after 0.01."""

LATENCY = 0.03


@dataclass
class Posts:
    """HTTP in memory: an answer of a few deltas, and a cut at any time."""

    pause: float = 0.01
    whole: set[str] = field(default_factory=set[str])
    _open: list[anyio.Event] = field(default_factory=list[anyio.Event])

    def cut(self) -> None:
        """Every open POST breaks."""
        for each in self._open:
            each.set()

    async def __call__(
        self,
        payload: bytes,
        key: SecretStr,
        sending: Callable[[], bool],
        take: Callable[[bytes], None],
    ) -> PostEnding:
        broken = anyio.Event()
        self._open.append(broken)
        (task,) = orjson.loads(payload)
        uuid = task["taskUUID"]
        words = expected_text(task["messages"][-1]["content"], uuid).split(" ")
        sending()
        for number, word in enumerate(words):
            with anyio.move_on_after(self.pause):
                await broken.wait()
                return PostEnding(Ending.CUT, Loss(LossKind.CLOSED, detail="cut"))
            delta: dict[str, Any] = {"text": word if number == 0 else f" {word}"}
            item: dict[str, Any] = {"taskType": task["taskType"], "taskUUID": uuid, "delta": delta}
            if number == len(words) - 1:
                item["finishReason"] = "stop"
                self.whole.add(uuid)
            take(orjson.dumps(item))
        return PostEnding(Ending.DONE)


@dataclass
class Stage:
    """A client, its server, and what the verb has got so far."""

    client: Client
    server: Emulator
    posts: Posts
    task: TextInference
    handles: list[TaskHandle] = field(default_factory=list[TaskHandle])
    results: list[Result] = field(default_factory=list[Result])
    asked: list[TextInference] = field(default_factory=list[TextInference])

    @property
    def uuid(self) -> str:
        """The first task's."""
        return self.task.task_uuid

    def cut(self) -> None:
        """The socket and all POSTs break now."""
        self.server.faults.cut()
        self.posts.cut()

    def got(self, uuid: str) -> Result | None:
        """What the verb got of a task."""
        return next((each for each in self.results if each.task_uuid == uuid), None)


Verb = Callable[[Stage], Coroutine[Any, Any, None]]


async def run(stage: Stage) -> None:
    stage.asked.append(stage.task)
    stage.results.append(await stage.client.run(stage.task))


async def submit(stage: Stage) -> None:
    stage.asked.append(stage.task)
    stage.handles.append(await stage.client.submit(stage.task))


async def submit_and_wait(stage: Stage) -> None:
    await submit(stage)
    stage.results.append(await stage.handles[0])


async def iterate(stage: Stage) -> None:
    await submit(stage)
    async for _ in stage.handles[0]:
        pass


async def _stream(stage: Stage, carrier: Any) -> None:
    async with stage.client.stream(stage.task, carrier=carrier) as stream:
        async for _ in stream:
            pass
        stage.results.append(await stream.result())


async def stream_over_the_socket(stage: Stage) -> None:
    await _stream(stage, "socket")


async def stream_over_http(stage: Stage) -> None:
    await _stream(stage, "sse")


async def messages(stage: Stage) -> None:
    events = await stage.client.messages.create(
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=100,
        stream=True,
        task_uuid=stage.uuid,
    )
    async with events:
        async for _ in events:
            pass


async def a_whole_message(stage: Stage) -> None:
    await stage.client.messages.create(
        messages=[{"role": "user", "content": "hello"}], max_tokens=100, task_uuid=stage.uuid
    )


async def the_whole_of_a_stream(stage: Stage) -> None:
    async with stage.client.stream(stage.task, carrier="auto") as stream:
        stage.results.append(await stream.result())


async def mapped(stage: Stage) -> None:
    tasks = [stage.task, *(ask(str(number)) for number in range(3))]
    stage.asked += tasks
    async with aclosing(stage.client.map(tasks, concurrency=2)) as outcomes:
        async for outcome in outcomes:
            stage.results.append(outcome.unwrap())


async def mapped_from_an_async_source(stage: Stage) -> None:
    tasks = [stage.task, ask("second")]
    stage.asked += tasks

    async def source() -> AsyncGenerator[TextInference]:
        for task in tasks:
            await anyio.sleep(0.002)
            yield task

    async with aclosing(stage.client.map(source(), concurrency=2)) as outcomes:
        async for outcome in outcomes:
            stage.results.append(outcome.unwrap())


async def ready(stage: Stage) -> None:
    stage.cut()
    await until_unconnected(stage.client)
    await stage.client.ready()


async def events(stage: Stage) -> None:
    told = stage.client.events()
    stage.cut()
    async for event in told:
        if isinstance(event, Connected):
            return


async def drain(stage: Stage) -> None:
    await stage.client.drain()


async def aclose(stage: Stage) -> None:
    await stage.client.aclose()


async def until_unconnected(client: Client) -> None:
    while client.connected:  # noqa: ASYNC110
        await anyio.sleep(0.0005)


ENDING: tuple[Verb, ...] = (drain, aclose)
"""Behind these no further task is taken."""

VERBS: tuple[Verb, ...] = (
    *(run, submit, submit_and_wait, iterate, mapped, mapped_from_an_async_source),
    *(stream_over_the_socket, stream_over_http, the_whole_of_a_stream),
    *(messages, a_whole_message, ready, events, *ENDING),
)


@types.coroutine
def stepped(
    verb: Coroutine[Any, Any, None], suspended: Callable[[int], None]
) -> Generator[Any, Any, None]:
    """Run ``verb``, and tell of each of its suspensions, counted from 1, before it begins."""
    step: Callable[[Any], Any] = verb.send
    value: Any = None
    count = 0
    while True:
        try:
            waits_for = step(value)
        except StopIteration:
            return
        count += 1
        suspended(count)
        try:
            step, value = verb.send, (yield waits_for)
        except BaseException as exc:
            step, value = verb.throw, exc


async def cancelled_at(number: int, verb: Verb, stage: Stage, strike: Strike) -> bool:
    """Run the verb, and cancel it at this suspension. True if it came to its end instead."""
    over = False

    async def whole() -> None:
        nonlocal over
        await stepped(verb(stage), suspended)
        over = True

    def suspended(count: int) -> None:
        if count == number:
            strike.begin()

    async with anyio.create_task_group() as group:
        if strike.native:
            task = asyncio.create_task(whole())
            strike.arm(stage, group, task.cancel)
            with suppress(asyncio.CancelledError):
                await task
        else:
            with anyio.CancelScope() as scope:
                strike.arm(stage, group, scope.cancel)
                await whole()
        group.cancel_scope.cancel()
    return over


@dataclass
class Strike:
    """The cut, and the cancellation behind it.

    ``native``: by ``asyncio.Task.cancel``, and not by a scope.
    """

    cuts: bool
    delay: float
    native: bool
    _act: Callable[[], None] = print

    def arm(self, stage: Stage, group: Any, cancel: Callable[[], object]) -> None:
        """What :meth:`begin` is to do."""

        async def later() -> None:
            await anyio.sleep(self.delay)
            cancel()

        def act() -> None:
            if self.cuts:
                stage.cut()
            if self.delay:
                group.start_soon(later)
            else:
                cancel()

        self._act = act

    def begin(self) -> None:
        """It strikes."""
        self._act()


@asynccontextmanager
async def staged() -> AsyncGenerator[Stage]:
    """A stage, connected; behind it no task of the client and no socket is left."""
    options = EmulatorOptions(token_pause=0.01)
    async with virtual.serving(options=options, latency=LATENCY) as server:
        before = living()
        posts = Posts()
        client = client_of(server, post=posts, max_in_flight=3, batch_tasks=2)
        async with client:
            await client.ready()
            yield Stage(client, server, posts, ask())
        assert client.stats().state == "closed"
        await until(lambda: living() == before)


def left(client: Client) -> dict[str, int]:
    """What the client still holds of tasks."""
    core = cast("Any", client)._driver.core
    core.next_deadline()
    kept = ("claims", "tombstones", "requests")
    return {name: size for name, size in core.sizes().items() if size and name not in kept}


async def one(verb: Verb, number: int, strike: Strike) -> bool:
    """One run; whether the verb came to its end."""
    async with staged() as stage:
        client, bystander = stage.client, ask("bystander")
        theirs = await client.submit(bystander)
        over = await cancelled_at(number, verb, stage, strike)
        if verb is aclose:
            with pytest.raises(ClientClosed):
                await theirs
            with anyio.fail_after(1):
                await client.aclose()
            assert not left(client)
            return over
        # I12: nobody else is harmed, neither who waited already nor who comes behind.
        assert_answers(await theirs, bystander)
        if verb not in ENDING:
            after = ask("after")
            assert_answers(await client.run(after), after)
        for handle in stage.handles:
            # Who was cancelled while it waited for a handle may wait for it again.
            stage.results.append(await handle)
        # I9: what was given up is forgotten, in time.
        await until(lambda: not left(client))
        await the_answers_can_be_had(stage, whole=not (over or strike.cuts))
    assert not stage.server.stats.executed_twice
    return over


async def the_answers_can_be_had(stage: Stage, *, whole: bool) -> None:
    """What the server did is in the caller's hands, or waits to be claimed: once.

    ``whole``: nothing broke, so the answer of a stream that was left came whole, too.
    """
    ran = stage.server.stats.executions
    if stage.got(stage.uuid) is not None:
        assert stage.client.claim(stage.uuid) is None, "delivered, and kept for a claim"
    for task in stage.asked:
        had, claimed = stage.got(task.task_uuid), stage.client.claim(task.task_uuid)
        assert had is None or claimed is None, "delivered, and kept for a claim"
        if ran[task.task_uuid]:
            answer = had or claimed
            assert answer is not None, "it was run and paid for, and cannot be had"
            assert_answers(answer, task)
    if whole and not stage.asked and (ran[stage.uuid] or stage.uuid in stage.posts.whole):
        claimed = stage.client.claim(stage.uuid)
        assert claimed is not None, "the stream was left, and its answer is gone"
        assert [claimed.text] == texts_of(stage.task)


@pytest.mark.parametrize("cuts", [False, True], ids=["calm", "cut"])
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
@ample
async def test_a_verb_cancelled_at_each_suspension(verb: Verb, cuts: bool) -> None:
    natives = (False, True) if sniffio.current_async_library() == "asyncio" else (False,)
    for native in natives:
        for delay in DELAYS:
            reached = 0
            for number in range(1, MOST):
                if await one(verb, number, Strike(cuts, delay, native)):
                    break
                reached = number
            else:
                pytest.fail(f"it does not come to its end in {MOST} suspensions")
            # A submit that has room, and a drain or an end in calm, have little to wait for.
            assert reached or delay or verb is submit


def test_no_verb_of_a_client_is_forgotten() -> None:
    verbs = {
        name
        for name, verb in vars(Client).items()
        if not name.startswith("_")
        and (inspect.iscoroutinefunction(verb) or inspect.isasyncgenfunction(verb))
    }
    here = {each.__name__ for each in (run, submit, ready, drain, aclose)}
    # Both need a journal, whose thread has a clock of its own: see ``tests/journal``.
    assert verbs == here | {"start", "recovered"}
