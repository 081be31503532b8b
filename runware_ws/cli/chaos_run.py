"""One chaos run: many tasks, one fault, and each answer held to its question."""

from __future__ import annotations

import gc
import secrets
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import anyio

from runware_ws import AuthenticationError, Client, Outcome, RunwareError, TextInference
from runware_ws._history import Breach, Ended, Executed, of_outputs, verdict
from runware_ws.cli.chaos_faults import Fault
from runware_ws.emulator import EmulatorOptions, EmulatorProcess, expected_text

__all__ = ["ChaosPace", "ChaosTally", "run_fault"]

_SAMPLES = 5
_SETTLE = 5.0
_MOST_KEPT_BLOCKS = 1_500
"""Blocks of memory that may stay after a run: what caches of libraries hold, not one per task."""
_TOMBSTONE_BLOCKS = 7
"""An open client knows a taskUUID that ended for three minutes (bounded): so many blocks for it."""
_MOST_REFUSALS = 3
"""A refused key is fetched once more, and tried once more with a new session; that is all."""


@dataclass(frozen=True, slots=True)
class ChaosPace:
    """How fast a run goes. ``pause``: seconds between two strikes of a fault.

    ``latency`` is that of each generation; many tasks should be in flight at each strike.
    ``client`` are options of the client. ``timeout``: seconds for each task, where the fault
    does not ask for more.
    """

    latency: str = "300ms-1s"
    pause: float = 1.0
    timeout: float = 60.0
    client: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class ChaosTally:
    """What became of the tasks under one fault.

    ``lost``: ended without an answer although the server could tell it (those of a revoked key do
    not count). ``duplicated``: run twice, or an item delivered twice. ``unexpected``: wrong
    answers, other exceptions than the fault allows, items for nobody, a dial loop, words that are
    not true. ``unknown``: ended without an answer, and the server never had them, or has none for
    them yet: they should have been sent again. ``untold``: ended so, and the server ran them and
    tells nobody. ``refused``: ended with ``AuthenticationError`` under a fault
    that must end so. ``hung``: never ended. ``latencies``: seconds, of the answered ones.
    ``idle_tasks`` and ``idle_blocks`` are what the idle client had more of after the run than
    before, ``kept_tasks`` and ``kept_blocks`` what stayed after it was closed.
    """

    fault: Fault
    attempted: int = 0
    answered: int = 0
    lost: int = 0
    duplicated: int = 0
    unexpected: int = 0
    unknown: int = 0
    untold: int = 0
    refused: int = 0
    hung: int = 0
    reconnects: int = 0
    seconds: float = 0.0
    idle_tasks: int = 0
    idle_blocks: int = 0
    kept_tasks: int = 0
    kept_blocks: int = 0
    recovered_by: Counter[str] = field(default_factory=Counter[str])
    counters: dict[str, int] = field(default_factory=dict[str, int])
    problems: list[str] = field(default_factory=list[str])
    latencies: array[float] = field(default_factory=lambda: array("d"))

    @property
    def complaints(self) -> list[str]:
        """All that must not happen but did, for people; empty if the promise was kept."""
        found = [
            f"{getattr(self, name)} {name}"
            for name in ("lost", "duplicated", "unexpected", "unknown", "hung")
            if getattr(self, name)
        ]
        open_ends = self.attempted - self.answered - self.refused - self.untold
        if open_ends and not found:
            found.append(f"{open_ends} without an end")
        idle = [name for name in self.fault.proof if not self.counters.get(name)]
        if idle:
            found.append(f"the fault never struck: {', '.join(idle)} 0")
        tasks = self.idle_tasks + self.kept_tasks
        if tasks:
            found.append(f"{tasks} tasks left behind")
        if self.idle_blocks > _MOST_KEPT_BLOCKS + _TOMBSTONE_BLOCKS * self.attempted:
            found.append(f"{self.idle_blocks} blocks of memory held by the idle client")
        if self.kept_blocks > _MOST_KEPT_BLOCKS:
            found.append(f"{self.kept_blocks} blocks of memory left behind")
        return found

    @property
    def clean(self) -> bool:
        """Whether the promise was kept."""
        return not self.complaints

    def latency(self, share: float) -> float:
        """The latency that this share (0 to 1) of the answers did not exceed; 0 without any."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def note(self, problem: str) -> None:
        """Keep a few of the problems, for people."""
        if len(self.problems) < _SAMPLES:
            self.problems.append(problem)


def _question(number: int) -> TextInference:
    """Most tasks are plain; some are ``async``, some have three results, some are both."""
    kind = number % 8
    return TextInference.prompt(
        f"Question {number}: {'why? ' * (number % 7 + 1)}",
        include_usage=True,
        include_cost=True,
        delivery_method="async" if kind in (3, 7) else None,
        number_results=3 if kind in (5, 7) else None,
    )


def _wanted(task: TextInference) -> list[str]:
    prompt = task.messages[-1].content
    return [
        expected_text(prompt, task.task_uuid, index) for index in range(task.number_results or 1)
    ]


class _ChaosRun:
    """The tally while it grows."""

    def __init__(self, fault: Fault) -> None:
        self.tally = ChaosTally(fault)
        self._unanswered: dict[str, tuple[TextInference, RunwareError]] = {}

    def questions(self, tasks: int) -> Iterator[TextInference]:
        for number in range(tasks):
            self.tally.attempted += 1
            yield _question(number)

    def take(self, outcome: Outcome[TextInference]) -> None:
        tally, task = self.tally, outcome.task
        if outcome.result is None:
            self._without_answer(outcome)
            return
        tally.answered += 1
        tally.recovered_by[outcome.result.recovered_by.value] += 1
        tally.latencies.append(outcome.timing.done or 0.0)
        came = [str(item.text) for item in outcome.result.items]
        wanted = _wanted(task)
        found = [breach for breach, _ in of_outputs(wanted, came)]
        if not found and len(came) < len(wanted):
            found = [Breach.WRONG]
        self._count(found)
        if found:
            tally.note(f"{task.task_uuid}: {len(came)} items {came}, not {wanted}")

    def _without_answer(self, outcome: Outcome[TextInference]) -> None:
        error = outcome.error
        if self.tally.fault.ends_client and isinstance(error, AuthenticationError):
            self.tally.refused += 1
            return
        if error is not None:
            self._unanswered[outcome.task.task_uuid] = (outcome.task, error)
            self.tally.note(f"{outcome.task.task_uuid}: {type(error).__name__}: {error}")

    def _count(self, breaches: Iterable[Breach]) -> None:
        for breach in breaches:
            if breach is Breach.LOST:
                self.tally.lost += 1
            elif breach is Breach.DELIVERED_TWICE:
                self.tally.duplicated += 1
            elif breach is not Breach.RUN_TWICE:  # the server counts these for all tasks
                self.tally.unexpected += 1

    async def _judge_unanswered(self, emulator: EmulatorProcess) -> None:
        """The server says what it did to them, and whether it would tell."""
        ran = await emulator.executions(self._unanswered)
        tellable = await emulator.tellable(self._unanswered)
        for uuid, (task, error) in self._unanswered.items():
            wanted = tuple(_wanted(task))
            executed = Executed(
                runs=ran[uuid],
                outputs=wanted if ran[uuid] else (),
                expected=len(wanted),
                received=ran[uuid] > 0,
                tellable=tellable[uuid],
            )
            found = verdict(executed, Ended(uuid, error=error))
            self._count(each.breach for each in found)
            for each in found:
                self.tally.note(f"{uuid}: {each.breach}: {each.words}")
            if not found and ran[uuid]:
                self.tally.untold += 1
            elif not found:
                self.tally.unknown += 1
        self._unanswered.clear()  # Or they would count as memory that the client holds.

    async def judge(self, client: Client, emulator: EmulatorProcess) -> None:
        """What only the server knows, and the client's counters of odd things."""
        tally, theirs, ours = self.tally, await emulator.stats(), client.stats()
        await self._judge_unanswered(emulator)
        tally.duplicated += theirs["executed_twice"]
        tally.reconnects = ours.reconnects
        tally.hung = ours.pending
        tally.counters = theirs | {
            "resends": ours.resends,
            "duplicates": ours.duplicates,
            "sessions_lost": ours.sessions_lost,
            "archive_questions": ours.archive_questions,
            "receipts": ours.receipts,
            "client_dials": ours.dials,
            "client_pings": ours.pings,
        }
        odd = {
            "strays": ours.strays,
            "malformed": ours.malformed,
            "session_takeovers": theirs["session_takeovers"],
            "invalid_messages": theirs["invalid_messages"],
            "refusals": max(0, theirs["refused"] - _MOST_REFUSALS),
        }
        for name, count in odd.items():
            tally.unexpected += count
            if count:
                tally.note(f"{count} {name}")


async def run_fault(
    fault: Fault,
    *,
    tasks: int,
    concurrency: int,
    pace: ChaosPace | None = None,
    options: EmulatorOptions | None = None,
    seed: int = 1,
    on_step: Callable[[ChaosTally], None] | None = None,
) -> ChaosTally:
    """Run so many tasks through an emulator in its own process, under one fault; and count.

    ``on_step`` is called after each task.
    """
    pace = pace or ChaosPace()
    key = secrets.token_hex(16)
    choices = replace(options or EmulatorOptions(), **fault.server)
    run = _ChaosRun(fault)
    tally = run.tally
    async with (
        EmulatorProcess(key, options=choices, latency=pace.latency, seed=seed) as emulator,
        _OldHeapAside(),
    ):
        timeout = pace.timeout * fault.longer
        settings: dict[str, Any] = {"timeout": timeout, **pace.client, **fault.client}
        # What is imported and cached at first use is no part of the baseline.
        async with Client(emulator.url, api_key=key, **settings) as client:
            await client.run(_question(0))
        tasks_before, blocks_before = _running_tasks(), _blocks()
        async with Client(emulator.url, api_key=key, **settings) as client:
            await client.ready(pace.timeout)
            tasks_idle, blocks_idle = _running_tasks(), _blocks()
            began = anyio.current_time()
            await _inject(fault, emulator, pace.pause)
            # Where nothing can be told, each task takes its whole time.
            with anyio.move_on_after(timeout * (ceil(tasks / concurrency) + 1)):
                # A list, so that each task has an outcome where the client ends as well.
                async for outcome in client.map(
                    list(run.questions(tasks)), concurrency=concurrency
                ):
                    run.take(outcome)
                    del outcome  # the last one would count as kept memory
                    if on_step is not None:
                        on_step(tally)
            tally.seconds = anyio.current_time() - began
            await emulator.rest()
            await emulator.order("heal")
            await run.judge(client, emulator)
            if not fault.ends_client:
                await _connected_again(client)
                tally.idle_tasks = await _settled(tasks_idle)
                tally.idle_blocks = _blocks() - blocks_idle
        del client, run
        tally.kept_tasks = await _settled(tasks_before)
        tally.kept_blocks = _blocks() - blocks_before
    return tally


async def _inject(fault: Fault, emulator: EmulatorProcess, pause: float) -> None:
    await emulator.order(*fault.orders)
    if fault.steps:
        half = f"{pause * 500:.0f}ms"
        steps = [[order.format(half=half) for order in step] for step in fault.steps]
        await emulator.repeat(steps, first=pause, every=fault.every or pause, times=fault.times)


async def _connected_again(client: Client) -> None:
    with anyio.move_on_after(_SETTLE):
        await client.ready()


async def _settled(baseline: int) -> int:
    """How many tasks run beyond the baseline, once what is about to end has ended."""
    with anyio.move_on_after(_SETTLE):
        # What the loop is to call yet may hold all of a client that has just ended.
        await anyio.wait_all_tasks_blocked()
        while _running_tasks() > baseline:  # noqa: ASYNC110 - the end of a task has no event
            await anyio.sleep(0.02)
    return max(0, _running_tasks() - baseline)


def _running_tasks() -> int:
    return len(anyio.get_running_tasks())


class _OldHeapAside:
    """Keeps what is alive already out of each collection, which would take most of the time."""

    async def __aenter__(self) -> None:
        gc.collect()
        gc.freeze()

    async def __aexit__(self, *_: object) -> None:
        gc.unfreeze()


def _blocks() -> int:
    """Blocks of memory that are in use: exact, where the size of a process is not."""
    gc.collect()
    return sys.getallocatedblocks()
