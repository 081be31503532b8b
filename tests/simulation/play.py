"""Runs one scenario: the real client against the model server, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, cast

import anyio
import tenacity
from anyio.abc import TaskGroup

from runware_ws import Client, Config
from runware_ws._core.tasks.record import FOREVER
from runware_ws._io.driver import Driver
from runware_ws.backoff import Wait, default_wait
from runware_ws.classify import Loss, LossKind
from tests.simulation.faults import Faults
from tests.simulation.http import Http
from tests.simulation.invariants import EPSILON, Watch
from tests.simulation.judge import Judge, settled_by
from tests.simulation.keys import Keys
from tests.simulation.listeners import Listeners
from tests.simulation.loop import BusyLoop, Deadlock, VirtualLoop, run
from tests.simulation.maps import Maps
from tests.simulation.posts import PostWatch
from tests.simulation.program import Program, Tasks
from tests.simulation.readers import Readers
from tests.simulation.scenario import CALM, Action, Scenario
from tests.simulation.server import Server
from tests.simulation.small import patched
from tests.simulation.story import START, Story, short
from tests.simulation.weather import Weather
from tests.simulation.wire import Wire

__all__ = ["Report", "play"]

URL = "wss://model.invalid/v1"


@dataclass(frozen=True)
class Report:
    """How a run went: ``problems`` is empty where all invariants held."""

    problems: tuple[str, ...]
    story: Story
    seen: Counter[str]


def play(scenario: Scenario) -> Report:
    """Run it."""
    with patched(scenario.small):
        return _play(scenario)


def _play(scenario: Scenario) -> Report:
    loop = VirtualLoop(START)
    stage = _Stage(scenario, loop)
    problems: list[str] = []

    def crashed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        problems.append(f"crash: {context['message']}: {context.get('exception')!r}")

    loop.set_exception_handler(crashed)
    try:
        run(stage.main(), loop)
    except (Deadlock, BusyLoop) as exc:
        problems.append(f"I8: {type(exc).__name__}: {exc}")
    except BaseExceptionGroup as exc:
        problems.append(f"crash: {_leaf(exc)!r}")
    except Exception as exc:
        problems.append(f"crash: {exc!r}")
    watch = stage.watch
    if watch is not None:
        problems = watch.problems + problems
    problems = stage.server.problems + stage.wire.problems + problems
    return Report(tuple(problems), stage.story, stage.story.seen)


def _leaf(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        exc = cast("BaseExceptionGroup[BaseException]", exc).exceptions[0]
    return exc


class _Stage:
    """Everything that one run needs."""

    def __init__(self, scenario: Scenario, loop: VirtualLoop) -> None:
        # A map may come to tasks that no action names.
        self.scenario = scenario = replace(scenario, plans=dict(scenario.plans))
        self.loop = loop
        self.story = Story(loop.time)
        self.weather = Weather()
        self.keys = Keys(self.weather, self.story)
        rng = Random(scenario.seed ^ 0x5EED)
        random.seed(scenario.seed)
        self.wire = Wire(loop, rng, self.weather, self.story, latency=scenario.latency)
        self.server = Server(
            loop,
            rng,
            self.wire,
            self.weather,
            scenario.traits,
            self.story,
            scenario.plans,
            self.keys.valid,
        )
        self.wire.peer = self.server
        self.http = Http(
            loop, rng, self.weather, self.story, self.server, latency=self.wire.latency
        )
        self.faults = Faults(
            loop, rng, self.wire, self.http, self.weather, self.server, self.story, self.keys
        )
        self.draws: list[float] = []
        wait = tenacity.wait_random(0, 0.4) if scenario.quick_backoff else default_wait()
        self.config = Config(**scenario.options, backoff=self._recorded(wait))
        if scenario.traits.echoes_key:
            self.wire.echo = f"key {self.keys.current}"
        self.watch: Watch | None = None
        self.judge: Judge
        self.client: Client
        self.driver: Driver
        self._acts: dict[str, Callable[[Action], Awaitable[None]]]
        self.busy = 0
        self.over = anyio.Event()

    def _recorded(self, wait: Wait) -> Wait:
        def draw(state: tenacity.RetryCallState) -> float:
            delay = wait(state)
            self.draws.append(delay)
            return delay

        return draw

    def _program(self, group: TaskGroup) -> dict[str, Callable[[Action], Awaitable[None]]]:
        """The program around the client: what it does, by the kind of action."""
        program = Program(
            self.scenario,
            self.client,
            self.driver,
            self._watched(),
            self.judge,
            self.story,
            self.loop,
            group,
        )
        tasks, readers = Tasks(program), Readers(program)
        return {
            "run": tasks.run,
            "submit": tasks.submit,
            "iterate": tasks.iterate,
            "reuse": tasks.reuse,
            "retry": tasks.retry,
            "retry-stream": tasks.retry_stream,
            "stream": readers.stream,
            "stream-slow": readers.stream_slow,
            "stream-cancelled": readers.stream_cancelled,
            "stream-left": readers.stream_left,
            "stream-result": readers.stream_result,
            "map": Maps(program).map,
            "events": Listeners(program).events,
            "drain": self._drain,
            "close": self._close,
            "claim": self._claim,
            "ghost": self._ghost,
        }

    # The run

    async def main(self) -> None:
        """Actions and faults, then calm, then the end."""
        for key, value in self.scenario.small.items():
            self.story.tell("small", f"{key} = {value}")
            self.story.count(f"small: {key}")
        self.client = Client(
            URL,
            api_key=self.keys.given(self.scenario.key),
            config=self.config,
            dial=self.wire.dial,
            post=self.http.post,
        )
        async with self.client as client:
            self.driver = driver = cast("Any", client)._driver
            self.watch = watch = Watch(
                driver,
                self.config,
                self.wire,
                self.server,
                self.story,
                self.scenario.plans,
                self.keys.in_text,
            )
            watch.draws = self.draws
            watch.suspended = self.faults.suspended
            watch.foreign = self.faults.foreign
            PostWatch(watch, self.http)
            self.judge = Judge(
                self.scenario, self.config, watch, self.server, self.wire, self.story, self.http
            )
            async with anyio.create_task_group() as tasks:
                self._acts = self._program(tasks)
                for fault in self.scenario.faults:
                    self.loop.call_at(START + fault.at, self.faults.strike, fault)
                tasks.start_soon(self._watch_frozen)
                for action in self.scenario.actions:
                    self.busy += 1
                    tasks.start_soon(self._act, action)
                await anyio.sleep_until(START + CALM)
                self.faults.end()
                self.judge.calm_at = self.loop.now
                await self._wait_calm()
                tasks.cancel_scope.cancel()
            self._claims()
            await self._close()
        if self.driver.crash is not None:
            raise self.driver.crash
        self._last_checks()

    async def _wait_calm(self) -> None:
        with anyio.move_on_after(settled_by(self.scenario, self.config)):
            await self._idle()
        if not self.busy:
            return
        left = [short(uuid) for uuid in self.driver.core.pending_uuids()]
        live = [sent.record for sent in self._watched().tasks.values() if not sent.record.ended]
        if all(record.deadline == FOREVER for record in live):
            self._watched().fail(f"I14: not over so long after the last fault: {left}")
            return
        with anyio.move_on_after(200):
            await self._idle()
        if self.busy:
            self._watched().fail(f"I14: not over at all: {left}")

    async def _idle(self) -> None:
        """Until every action is over."""
        while self.busy:
            self.over = anyio.Event()
            await self.over.wait()

    def _watched(self) -> Watch:
        assert self.watch is not None
        return self.watch

    async def _watch_frozen(self) -> None:
        """I10: a silent peer is found in time."""
        config = self.config
        limit = config.ping_after + config.ping_timeout + 0.5 + EPSILON
        limit += config.open_timeout + 9.0 if self.scenario.suspends else 0.0
        while True:
            await anyio.sleep(1.0)
            socket = self.wire.current
            if socket is None or socket.frozen_at is None or socket.cut_at is not None:
                continue
            ready = self._watched().ready_since
            if ready is None:
                continue
            since = max(socket.frozen_at, ready)
            since += sum(end - begin for begin, end in self.faults.suspended if end > since)
            if self.loop.now - since > limit + 1.0:
                self._watched().fail("I10: a silent peer was not found in time")
                return

    # Actions

    async def _act(self, action: Action) -> None:
        await anyio.sleep_until(START + action.at)
        self.story.tell("action", str(action))
        self.story.count(f"action: {action.kind}")
        if action.what:
            self.story.count(f"action: {action.kind} {action.what}")
        act = self._acts[action.kind]
        try:
            await act(action)
        finally:
            self.busy -= 1
            self.over.set()

    async def _drain(self, action: Action) -> None:
        if self.driver.core.state.value not in ("ready", "closed", "failed"):
            self.story.count("drain during a reconnect")
        begin = self.loop.now
        watch = self._watched()
        if watch.draining_at is None:
            watch.draining_at = begin
        report = await self.client.drain(action.timeout)
        if action.timeout is not None:
            limit = self._watched().late_until(begin + action.timeout) + EPSILON
            if self.loop.now > limit:
                self._watched().fail("I8: drain outlived its timeout")
        if report.clean and self.driver.core.pending:
            self._watched().fail("drain says clean, and tasks are pending")

    async def _close(self, action: Action | None = None) -> None:
        begin = self.loop.now
        socket = self.wire.current
        if socket is not None and (socket.cut_at is not None or socket.frozen_up):
            self.story.count("close with a dead peer")
        await self.client.aclose()
        watch = self._watched()
        limit = watch.late_until(watch.late_until(begin) + self.config.close_timeout) + EPSILON
        if self.loop.now > limit:
            watch.fail(f"I8: aclose took {self.loop.now - begin:.3f} s")

    async def _claim(self, _action: Action) -> None:
        self._claims()

    def _claims(self) -> None:
        for uuid, sent in self._watched().tasks.items():
            if sent.record.ended and (found := self.client.claim(uuid)) is not None:
                self.story.count("claimed")
                self.judge.check_items(self.scenario.plans[uuid], found.raw)

    async def _ghost(self, action: Action) -> None:
        """I7: what an old socket says late."""
        core, watch = self.driver.core, self._watched()
        old = core.generation - 1 - action.number % 2
        now = self.loop.now
        deadline = core.next_deadline()
        before = (watch.picture(), deadline)
        pending = core.pending_uuids()
        uuid = pending[0] if pending else "no task"
        item = f'{{"data": [{{"taskType": "textInference", "taskUUID": "{uuid}", "text": "old"}}]}}'
        core.receive(old, item.encode(), now)
        core.connected(old, now)
        core.lost(old, Loss(LossKind.CLOSED, code=1008), now)
        if (watch.picture(), core.next_deadline()) != before or core.take() is not None:
            watch.fail("I7: an old generation changed something")

    # The end

    def _last_checks(self) -> None:
        watch, core = self._watched(), self.driver.core
        core.next_deadline()
        for name, size in core.sizes().items():
            if size and name not in ("claims", "tombstones", "requests"):
                watch.fail(f"I9: {size} {name} are left at the end")
        left = [task for task in asyncio.all_tasks(self.loop) if task is not asyncio.current_task()]
        if left:
            watch.fail(f"I9: tasks are left: {sorted(task.get_name() for task in left)}")
        if self.http.open:
            watch.fail(f"I9: {len(self.http.open)} posts are left open")
        if self.wire.current is not None or self.wire.dialing:
            watch.fail("I9: a socket is left open")
        for sent in [*watch.tasks.values(), *watch.past]:
            if sent.ends != 1:
                watch.fail(f"I1: {short(sent.record.uuid)} has {sent.ends} ends")
        stats = self.client.stats()
        ends = stats.answered + stats.failed + stats.timed_out + stats.cancelled
        if ends + stats.unknown + stats.closed != stats.submitted:
            watch.fail("I1: the counts of ends do not add up to the tasks submitted")
        if self.keys.in_text(
            f"{stats!r} {self.client!r} {self.config!r} {self.driver.core.failure}"
        ):
            watch.fail("I13: the key in stats, repr or failure")
        if core.failure is not None and not self.weather.causes:
            watch.fail(f"I1: the client ended with {core.failure!r}, and nothing said so")
        if not watch.closed:
            watch.fail("I15: no Closed at the end")
