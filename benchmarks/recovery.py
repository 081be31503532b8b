"""``python -m benchmarks.recovery``: what the care in recovery costs, and what it buys; a table.

The emulator runs in a process of its own, and the client has its default options where nothing else
is said. ``--only lost,copies,blackhole`` narrows a run; the whole takes about three minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from runware_ws import Client, TextInference
from runware_ws.emulator import EmulatorOptions, EmulatorProcess

KEY = "a-key-for-benchmarks"
TASKS = 100


@dataclass(slots=True)
class Round:
    """What came of some tasks. ``latencies`` are seconds from the submission, of the answered."""

    asked: int = 0
    copies: int = 0
    twice: int = 0
    latencies: list[float] = field(default_factory=list[float])

    def quantile(self, share: float) -> float:
        """The latency that this share of the answers did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@asynccontextmanager
async def _pair(
    latency: str, *, early: bool = False, options: EmulatorOptions | None = None
) -> AsyncGenerator[tuple[EmulatorProcess, Client]]:
    async with (
        EmulatorProcess(KEY, latency=latency, options=options) as emulator,
        Client(emulator.url, api_key=KEY, resend_early=early) as client,
    ):
        await client.ready(30)
        yield emulator, client


def _questions(number: int) -> list[TextInference]:
    return [TextInference.prompt(f"Question {each}") for each in range(number)]


async def _asked(
    client: Client,
    emulator: EmulatorProcess,
    number: int,
    strike: Callable[[], Coroutine[Any, Any, None]],
) -> Round:
    """Submit so many tasks, strike, and wait for the answers."""
    done = Round(number)
    before = (await emulator.stats())["conflicts"]

    async def one(task: TextInference) -> None:
        began = anyio.current_time()
        await client.run(task)
        done.latencies.append(anyio.current_time() - began)

    async with anyio.create_task_group() as group:
        for task in _questions(number):
            group.start_soon(one, task)
        group.start_soon(strike)
    stats = await emulator.stats()
    done.copies = stats["conflicts"] - before
    done.twice = stats["executed_twice"]
    return done


async def _learn(client: Client) -> None:
    async for outcome in client.map(_questions(20), concurrency=5):
        outcome.unwrap()


async def lost(*, early: bool, learned: bool) -> Round:
    """Requests that a dying socket swallows: the server never had them."""
    async with _pair("500ms-1s", early=early) as (emulator, client):
        if learned:
            await _learn(client)

        async def strike() -> None:
            await anyio.sleep(0.3)
            await emulator.order("heal", "cut")

        await emulator.order("drop-requests")
        done = await _asked(client, emulator, TASKS, strike)
        if (await emulator.stats())["lost_requests"] < TASKS:
            raise RuntimeError("not all requests were lost: the machine is too busy")
        return done


async def copies(*, early: bool, learned: bool) -> Round:
    """Running tasks of a forgotten session: they look like ones that never arrived."""
    # Not so long that a copy would come too late to be one, nor so short that they end before.
    options = EmulatorOptions(poll_running="unknown", details_while_running="not-found")
    async with _pair("8s-10s", early=early, options=options) as (emulator, client):
        if learned:
            await _learn(client)

        async def strike() -> None:
            await anyio.sleep(0.5)
            await emulator.order("forget-sessions", "cut")

        return await _asked(client, emulator, TASKS, strike)


async def blackhole() -> Round:
    """200 tasks in flight when the peer falls silent; new sockets are answered after 3 s."""
    async with _pair("500ms-1s") as (emulator, client):
        await _learn(client)

        async def strike() -> None:
            await anyio.sleep(0.2)
            await emulator.order("blackhole=drop,pings")
            await anyio.sleep(3.0)
            # What was open stays dead to the client until it leaves: it is cut when healed.
            while client.stats().dials < 2:  # noqa: ASYNC110 - a counter has no event
                await anyio.sleep(0.01)
            await emulator.order("heal")

        return await _asked(client, emulator, 200, strike)


ROWS: dict[str, list[tuple[str, Callable[[], Coroutine[Any, Any, Round]]]]] = {
    "lost": [
        ("100 lost requests, nothing learned", lambda: lost(early=False, learned=False)),
        ("the same, `resend_early`", lambda: lost(early=True, learned=False)),
        ("100 lost requests, durations learned", lambda: lost(early=False, learned=True)),
        ("the same, `resend_early`", lambda: lost(early=True, learned=True)),
    ],
    "copies": [
        ("100 running, session forgotten", lambda: copies(early=False, learned=False)),
        ("the same, `resend_early`", lambda: copies(early=True, learned=False)),
        (
            "100 running, session forgotten, durations learned",
            lambda: copies(early=False, learned=True),
        ),
    ],
    "blackhole": [("200 in flight, black hole that pings", blackhole)],
}


async def _measure(names: list[str]) -> None:
    print("| what | answered | p50 | p99 | copies of running tasks | run twice |")
    print("|---|---|---|---|---|---|")
    for name in names:
        for words, run in ROWS[name]:
            done = await run()
            print(
                f"| {words} | {len(done.latencies)} of {done.asked} | {done.quantile(0.5):.1f} s "
                f"| {done.quantile(0.99):.1f} s | {done.copies} | {done.twice} |",
                flush=True,
            )


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--only", default=",".join(ROWS), metavar="ROW,...", help=", ".join(ROWS))
    names = [name.strip() for name in parser.parse_args().only.split(",")]
    for name in names:
        if name not in ROWS:
            parser.error(f"unknown row {name!r}; known are: {', '.join(ROWS)}")
    anyio.run(_measure, names)


if __name__ == "__main__":
    main()
