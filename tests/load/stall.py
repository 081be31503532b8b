"""A server that stands still, and what an open and a closed model tell of it.

``python -m tests.load.stall`` prints the table of ``docs/load.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import anyio

from runware_ws import Client
from runware_ws.emulator import Emulator, Request, expected_text
from runware_ws.load import (
    Arrivals,
    ClientTarget,
    ClosedModel,
    drawn_tasks,
    parse_length,
    parse_rate,
)
from runware_ws.load import run_load as run
from tests import virtual

__all__ = ["SERVICE", "Stall", "load_over"]

SERVICE = 0.05
"""Seconds that each answer takes while the server moves."""


@dataclass(frozen=True)
class Stall:
    """The server stands still from ``at`` for ``seconds`` of a load at ``rate`` for ``whole``."""

    rate: float = 200.0
    whole: float = 60.0
    at: float = 20.0
    seconds: float = 10.0

    def truth(self, intended: float) -> float:
        """The latency of a task that should start then: it starts to be served when the server
        moves, and takes as long as all."""
        done = intended + SERVICE
        if self.at <= done < self.at + self.seconds:
            done = self.at + self.seconds
        return done - intended

    def quantile(self, share: float) -> float:
        """The exact percentile over all tasks."""
        count = round(self.rate * self.whole)
        all_of_them = sorted(self.truth(number / self.rate) for number in range(count))
        return all_of_them[max(0, math.ceil(share * count - 1e-9) - 1)]


async def load_over(emulator: Emulator, client: Client, stall: Stall, users: int) -> dict[str, Any]:
    """Run a load at the stall's rate or, with ``users``, in a closed model."""
    began = anyio.current_time()

    async def reply(request: Request) -> str:
        await anyio.sleep(SERVICE)
        done = anyio.current_time() - began
        if stall.at <= done < stall.at + stall.seconds:
            await anyio.sleep_until(began + stall.at + stall.seconds)
        return expected_text(request.prompt, request.task_uuid, request.index)

    emulator.reply("textInference")(reply)
    model = (
        ClosedModel(users, stall.whole)
        if users
        else Arrivals(parse_rate(f"{stall.rate}", stall.whole))
    )
    return await run(ClientTarget(client), drawn_tasks(parse_length("3")), model)


def row(name: str, values: list[float], count: int) -> None:
    """Print one row of the table."""
    print(f"| {name} | " + " | ".join(f"{value:.0f} ms" for value in values) + f" | {count} |")


async def measure(stall: Stall, where: str) -> None:
    """Print what both models tell."""
    for users in (0, 10):
        async with virtual.serving("stall") as emulator:
            dial = getattr(emulator, "dial", None)
            client = Client(emulator.url, api_key="stall", dial=dial)
            told = await load_over(emulator, client, stall, users)
        figures = told["latency_intended_ms"]
        name = f"Closed, {users} users" if users else "Open"
        values = [figures[q] for q in ("p50", "p90", "p99", "p99.9", "max")]
        row(f"{name}, {where}", values, figures["count"])


def main() -> None:
    """Print the table."""
    stall = Stall()
    print("| | p50 | p90 | p99 | p99.9 | max | tasks |\n|---|---|---|---|---|---|---|")
    truth = [stall.quantile(share) * 1e3 for share in (0.5, 0.9, 0.99, 0.999, 1.0)]
    row("The truth, computed", truth, round(stall.rate * stall.whole))
    loop, options = virtual.backend("asyncio")
    anyio.run(measure, stall, "virtual time", backend=loop, backend_options=options)
    anyio.run(measure, stall, "real sockets")


if __name__ == "__main__":
    main()
