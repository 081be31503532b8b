"""A whole load in words: what is asked, of whom, how fast; and one process's share of it."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import anyio

from runware_ws import Client
from runware_ws.emulator import expected_text
from runware_ws.load.arrivals import Arrivals, ClosedModel
from runware_ws.load.conditions import Slo
from runware_ws.load.generator import Check, Share, run_share, starts_of
from runware_ws.load.messages_url import MessagesUrl
from runware_ws.load.recorder import Recorder
from runware_ws.load.report import block_width
from runware_ws.load.targets import Answer, Carrier, ClientTarget, LoadTarget, MessagesTarget
from runware_ws.load.work import Agent, drawn_tasks, find_agent, listed_tasks, parse_length

__all__ = ["LoadPlan", "Place", "Tick", "check_echo", "rare_collections", "run_with_ticks"]

_PAUSE = 1.0

_RARELY = (50_000, 20, 100_000)
"""Of new objects, and so on: with Python's own 700 a collection finds next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What is asked and how fast. Can be pickled.

    Args:
        model: when tasks start.
        tasks: task objects in the wire's spelling, asked in turn. Without them, and without an
            ``agent``, prompts are made up.
        agent: ``module:function`` or ``file.py:function``, called for each start.
        prompt_tokens: the length of made-up prompts; see :func:`parse_length`.
        answer_tokens: the ``maxTokens`` of made-up prompts; ``None``: the server's own.
        carrier: whole answers, or streams over the socket or HTTP.
        timeout: seconds for each task.
        slo: what counts as good; ``None``: every answer.
        client: options of the :class:`~runware_ws.Client`.
    """

    model: Arrivals | ClosedModel
    tasks: tuple[dict[str, Any], ...] = ()
    agent: str | None = None
    prompt_tokens: str = "20"
    answer_tokens: str | None = None
    carrier: Carrier = "task"
    timeout: float = 60.0
    seed: int = 0
    slo: Slo | None = None
    client: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def starts(self, share: Share) -> Sequence[float]:
        """When each task of one process's share is to start."""
        return starts_of(self.model, self.seed, share)

    def find_work(self) -> Agent:
        """What each start does.

        Raises:
            ValueError: there is no such agent, or a length makes no sense.
        """
        if self.agent is not None:
            return find_agent(self.agent)
        if self.tasks:
            return listed_tasks(self.tasks)
        answer = None if self.answer_tokens is None else parse_length(self.answer_tokens)
        return drawn_tasks(parse_length(self.prompt_tokens), answer)

    def recorder(self) -> Recorder:
        """An empty one, in blocks that fit."""
        slo = None if self.slo is None else self.slo.seconds
        return Recorder(block_width(self.model.seconds), slo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Who is asked. Can be pickled; no repr shows the key.

    ``messages``: the URL takes Messages over HTTP. ``echoes``: it answers as the emulator does by
    default, so that wrong answers are noticed.
    """

    url: str | None
    api_key: str | None = field(default=None, repr=False)
    messages: bool = False
    echoes: bool = False

    def target(self, plan: LoadPlan) -> LoadTarget:
        """What the load asks; to be entered.

        Raises:
            ConfigurationError: the URL, the key or an option cannot work.
        """
        if self.messages:
            assert self.url is not None
            stream = plan.carrier != "task"
            return MessagesTarget(MessagesUrl(self.url, self.api_key, stream=stream))
        client = Client(self.url, api_key=self.api_key, **plan.client)
        return ClientTarget(client, plan.carrier)


@dataclass(frozen=True, slots=True)
class Tick:
    """What a live view shows. ``recent``: latencies from the intended start, in seconds, of what
    was answered since the last."""

    at: float
    started: int
    attempted: int
    failed: int
    reconnects: int
    recent: tuple[float, ...]

    def merged(self, other: Tick) -> Tick:
        """Both together."""
        return Tick(
            max(self.at, other.at),
            self.started + other.started,
            self.attempted + other.attempted,
            self.failed + other.failed,
            self.reconnects + other.reconnects,
            self.recent + other.recent,
        )

    def quantile(self, share: float) -> float:
        """A percentile of the recent latencies; 0 if there are none."""
        ordered = sorted(self.recent)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


OnTick = Callable[[Tick], Awaitable[None]]


def check_echo(task: dict[str, Any], answer: Answer) -> bool:
    """Whether the emulator's default reply to ``task`` is ``answer``."""
    prompt, uuid = task["messages"][-1]["content"], task["taskUUID"]
    settings: dict[str, Any] = task.get("settings") or {}
    most: int | None = settings.get("maxTokens")
    wanted = [
        expected_text(prompt, uuid, index, max_tokens=most)
        for index in range(task.get("numberResults") or 1)
    ]
    return sorted(answer.texts) == sorted(wanted)


async def run_with_ticks(
    plan: LoadPlan,
    place: Place,
    target: LoadTarget,
    agent: Agent,
    share: Share,
    starts: Sequence[float],
    begin: float,
    stop: anyio.Event,
    on_tick: OnTick | None,
    recorder: Recorder,
) -> None:
    """One process's share, told of every second. ``begin``: on the loop's clock.

    ``starts`` were computed before, for that takes a while, and would count as lag.
    """
    check: Check | None = check_echo if place.echoes else None

    async def tell(tick: OnTick) -> None:
        recorder.recent = []
        at = begin
        while True:
            await anyio.sleep_until(at := at + _PAUSE)
            await tick(_tick(recorder, at - begin))

    async with anyio.create_task_group() as group:
        if on_tick is not None:
            group.start_soon(tell, on_tick)
        await run_share(
            target,
            agent,
            plan.model,
            recorder,
            seed=plan.seed,
            timeout=plan.timeout,
            check=check,
            share=share,
            starts=starts,
            begin=begin,
            stop=stop,
        )
        group.cancel_scope.cancel()


def _tick(recorder: Recorder, at: float) -> Tick:
    recent, recorder.recent = recorder.recent or (), []
    failed = recorder.attempted - recorder.answered
    return Tick(
        at, recorder.started, recorder.attempted, failed, len(recorder.reconnects), tuple(recent)
    )


@contextmanager
def rare_collections() -> Generator[None]:
    """What is there by now is looked at no more, and the rest rarely: a collection stops the clock
    of a load for some ten milliseconds."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@contextmanager
def unwrapped() -> Generator[None]:
    """Of a group of exceptions, raise the first: the others are what ended because of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = cast("BaseException", first.exceptions[0])
        raise first from None


def wall_clock_offset() -> float:
    """What to take from the wall clock to have the loop's clock: processes share the former."""
    return time.time() - anyio.current_time()
