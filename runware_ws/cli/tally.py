"""A tally: tasks through a client against an emulator, and each answer held to its question."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import anyio

from runware_ws import Client, TextInference
from runware_ws.emulator import Emulator, expected_text

__all__ = ["Tally", "run_tally"]

_WORDS = ("copper", "lake", "seven", "violet", "engine", "paper", "orbit", "maple", "signal")


@dataclass(slots=True)
class Tally:
    """What became of the tasks. ``latencies``: seconds, of the answered ones."""

    submitted: int = 0
    answered: int = 0
    wrong: int = 0
    run_twice: int = 0
    reconnects: int = 0
    cuts: int = 0
    seconds: float = 0.0
    recovered_by: Counter[str] = field(default_factory=Counter[str])
    errors: Counter[str] = field(default_factory=Counter[str])
    latencies: list[float] = field(default_factory=list[float])

    @property
    def lost(self) -> int:
        """Tasks without an answer."""
        return self.submitted - self.answered

    @property
    def clean(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.wrong or self.run_twice)

    def latency(self, share: float) -> float:
        """The latency that this share (0 to 1) of the answers did not exceed; 0 without any."""
        if not self.latencies:
            return 0.0
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def run_tally(
    client: Client,
    emulator: Emulator,
    *,
    tasks: int,
    concurrency: int,
    seed: int,
    on_step: Callable[[Tally], None],
) -> Tally:
    """Run so many tasks and count. ``on_step`` is called after each.

    The emulator must give its default replies, because these are derived from the questions.
    """
    tally = Tally()
    started: list[float] = []
    rng = random.Random(seed)

    def questions() -> Iterator[TextInference]:
        for number in range(tasks):
            words = " ".join(rng.choices(_WORDS, k=rng.randint(3, 30)))
            started.append(anyio.current_time())
            tally.submitted += 1
            yield TextInference.prompt(f"{number}: {words}", include_usage=True, include_cost=True)

    began = anyio.current_time()
    async for outcome in client.map(questions(), concurrency=concurrency):
        if outcome.result is None:
            tally.errors[type(outcome.error).__name__] += 1
        else:
            tally.answered += 1
            tally.recovered_by[outcome.result.recovered_by.value] += 1
            tally.latencies.append(anyio.current_time() - started[outcome.index])
            asked = outcome.task.messages[0].content
            if outcome.result.text != expected_text(asked, outcome.task.task_uuid):
                tally.wrong += 1
        on_step(tally)
    tally.seconds = anyio.current_time() - began
    tally.run_twice = len(emulator.stats.executed_twice)
    tally.reconnects = client.stats().reconnects
    tally.cuts = emulator.stats.cuts
    return tally
