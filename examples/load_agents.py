"""Agents of several turns, arriving at random, over a wire that is cut: a load in 70 lines.

    python examples/load_agents.py
    runware-ws load --emulate --rate 20 --duration 10s --agent examples/load_agents.py:agent

It runs against a local server in a process of its own: no key, no cost. Where ``RUNWARE_WS_URL`` is
set it loads that one, which it does not cut. Needs the extra ``load``.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from runware_ws import Client, TextInference
from runware_ws.emulator import EmulatorProcess
from runware_ws.load import Arrivals, Caller, ClientTarget, check_echo, parse_rate, run_load

KEY = "any-key"
SUBJECTS = ("tides", "bridges", "yeast", "comets")


async def agent(caller: Caller) -> None:
    """One agent: it plans, thinks, does two steps at once, and sums up."""
    subject = caller.rng.choice(SUBJECTS)
    plan = await caller.ask(_task(f"Plan an essay about {subject}."), name="plan")
    await caller.think(caller.rng.uniform(0.05, 0.15))
    steps = await asyncio.gather(
        *(caller.ask(_task(f"Step {n} of: {plan.texts[0]}"), name="step") for n in (1, 2))
    )
    await caller.ask(_task("Sum up: " + " / ".join(step.texts[0] for step in steps)), name="sum")


def _task(text: str) -> TextInference:
    return TextInference.prompt(text, include_usage=True, include_cost=True)


async def main() -> None:
    """Load the server, and tell how the agents fared."""
    model = Arrivals(parse_rate("10..30/3s"), process="poisson")
    url = os.environ.get("RUNWARE_WS_URL")
    if url is not None:
        client = Client(url, api_key=os.environ.get("RUNWARE_API_KEY", KEY))
        tell(await run_load(ClientTarget(client), agent, model, seed=7), "nobody here knows")
        return
    async with EmulatorProcess(KEY, latency="20ms-60ms") as server:
        await server.order("cut-every=700ms")
        client = Client(server.url, api_key=KEY)
        report = await run_load(ClientTarget(client), agent, model, seed=7, check=check_echo)
        tell(report, (await server.stats())["executed_twice"])


def tell(report: dict[str, Any], run_twice: int | str) -> None:
    """Print how the agents fared."""
    print(f"agents: {report['started']}, tasks: {report['attempted']}")
    print(f"answered: {report['answered']}, wrong: {report['wrong']}, run twice: {run_twice}")
    for name, told in report["by_name_ms"].items():
        print(f"  {name}: p50 {told['p50']:.0f} ms, p99 {told['p99']:.0f} ms")
    ways = ", ".join(f"{way} {count}" for way, count in report["recovered_by"].items())
    print(f"reconnects: {report['reconnects']}; answers came home by: {ways}")


if __name__ == "__main__":
    asyncio.run(main())
