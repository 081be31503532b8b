"""Run 500 tasks over one socket, at most 100 at once, and add up what they cost.

Run it as ``python examples/fan_out.py``. Without ``RUNWARE_API_KEY`` it talks to a local
emulator that cuts the wire three times while the tasks run. None is lost, none runs twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

from _server import server

from runware_ws import Client, RunwareError, TextInference
from runware_ws.emulator import Emulator

TASKS = 500


def cut_the_wire(emulator: Emulator) -> None:
    """Only for the emulator: three sockets end in the middle of everything."""
    emulator.latency = "50ms-300ms"
    emulator.faults.cut_after(results=140, times=3)


def questions() -> Iterator[TextInference]:
    """Any iterable will do, also an endless or an async one: it is read as tasks finish."""
    for number in range(TASKS):
        yield TextInference.prompt(f"Is {number} a prime number?", include_cost=True)


async def main() -> None:
    total = 0.0
    ways: Counter[str] = Counter()
    errors: list[tuple[int, RunwareError]] = []

    async with server(cut_the_wire) as (url, key), Client(url, api_key=key) as client:
        # Outcomes come in the order in which tasks end. A task that fails is an outcome too:
        # it stops neither the loop nor the other tasks.
        async for outcome in client.map(questions(), concurrency=100, timeout=60):
            if outcome.error is not None:
                errors.append((outcome.index, outcome.error))
                continue
            result = outcome.unwrap()
            total += result.cost or 0.0
            ways[result.recovered_by] += 1
        stats = client.stats()

    print(f"answered: {sum(ways.values())} of {TASKS}, for ${total:.6f} in all")
    print(f"sockets:  {stats.connections}, so the wire was cut {stats.reconnects} times")
    for way, count in ways.most_common():
        print(f"  {count:4} came home by {way}")
    print(f"errors:   {len(errors)}")
    for index, error in errors:
        print(f"  task {index}: {type(error).__name__}: {error} (submitted: {error.submitted})")


if __name__ == "__main__":
    asyncio.run(main())
