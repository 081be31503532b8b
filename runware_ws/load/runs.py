"""Runs a whole load, on one core or on several, and makes its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio

from runware_ws.emulator import EmulatorProcess
from runware_ws.load.arrivals import Arrivals, ClosedModel
from runware_ws.load.conditions import Slo
from runware_ws.load.faults import TimedFault, check_faults, order_faults
from runware_ws.load.generator import Check, Share, run_share
from runware_ws.load.plan import LoadPlan, OnTick, Place, run_with_ticks, unwrapped
from runware_ws.load.processes import run_processes
from runware_ws.load.recorder import Recorder
from runware_ws.load.report import RunFacts, block_width, make_report
from runware_ws.load.targets import LoadTarget
from runware_ws.load.work import Agent

__all__ = ["run_load", "run_plan"]


async def run_load(
    target: LoadTarget,
    agent: Agent,
    model: Arrivals | ClosedModel,
    *,
    seed: int = 0,
    timeout: float = 60.0,
    slo: Slo | None = None,
    check: Check | None = None,
    name: str = "",
) -> dict[str, Any]:
    """Run one load in this event loop against any target, and return its report. ::

        target = ClientTarget(Client(url))
        report = await run_load(target, agent, Arrivals(parse_rate("50..200", 30)))

    Args:
        target: entered and left here.
        agent: what each start does.
        timeout: seconds for each task.
        check: tells right answers from wrong ones; ``None``: nobody can.
        name: what the report calls the target.

    Raises:
        RunwareError: there was no connection to begin with.
    """
    recorder = Recorder(block_width(model.seconds), None if slo is None else slo.seconds)
    async with target:
        with unwrapped():
            await run_share(target, agent, model, recorder, seed=seed, timeout=timeout, check=check)
    return make_report(recorder, model, RunFacts(name, seed=seed, slo=slo))


async def run_plan(
    plan: LoadPlan,
    place: Place,
    *,
    processes: int = 1,
    server: EmulatorProcess | None = None,
    faults: Sequence[TimedFault] = (),
    stop: anyio.Event | None = None,
    on_tick: OnTick | None = None,
) -> dict[str, Any]:
    """Run a plan and return its report; see :func:`make_report`.

    Args:
        processes: how many cores make the load; 1: this one.
        server: the emulator that is asked, so that it can be told faults, and asked what it ran.
        stop: once it is set, nothing more is started.
        on_tick: told about once a second how it goes.

    Raises:
        RunwareError: there was no connection to begin with.
        ValueError: the agent cannot be found; faults without a server; a process failed.
    """
    if faults and server is None:
        raise ValueError("faults can be ordered of the emulator only")
    check_faults(faults)
    stop = stop or anyio.Event()
    before = {} if server is None else await server.stats()
    recorder = plan.recorder()
    with unwrapped():
        await _run(plan, place, processes, server, faults, stop, on_tick, recorder)
    facts = RunFacts(
        "emulator" if server is not None else place.url or "Runware",
        faults=tuple(fault.told() for fault in faults),
        seed=plan.seed,
        processes=processes,
        slo=plan.slo,
    )
    if server is not None:
        facts = await _asked(server, facts, recorder, before)
    return make_report(recorder, plan.model, facts)


async def _run(
    plan: LoadPlan,
    place: Place,
    processes: int,
    server: EmulatorProcess | None,
    faults: Sequence[TimedFault],
    stop: anyio.Event,
    on_tick: OnTick | None,
    recorder: Recorder,
) -> None:
    async with anyio.create_task_group() as group:

        def begun(at: float) -> None:
            if server is not None and faults:
                group.start_soon(order_faults, server.order, faults, at)

        if processes == 1:
            await _here(plan, place, stop, on_tick, begun, recorder)
        else:
            await run_processes(plan, place, processes, stop, on_tick, begun, recorder)
        group.cancel_scope.cancel()


async def _here(
    plan: LoadPlan,
    place: Place,
    stop: anyio.Event,
    on_tick: OnTick | None,
    begun: Callable[[float], None],
    recorder: Recorder,
) -> None:
    agent = plan.find_work()
    target, share = place.target(plan), Share()
    starts = plan.starts(share)
    async with target:
        begin = anyio.current_time()
        begun(begin)
        await run_with_ticks(
            plan, place, target, agent, share, starts, begin, stop, on_tick, recorder
        )


async def _asked(
    server: EmulatorProcess, facts: RunFacts, recorder: Recorder, before: Mapping[str, int]
) -> RunFacts:
    """What the server knows: which of the tasks without an answer it ran, and which twice."""
    after = await server.stats()
    ran = await server.executions(recorder.without_answer)
    return replace(
        facts,
        lost=sum(count > 0 for count in ran.values()),
        run_twice=after["executed_twice"] - before["executed_twice"],
        server={name: count - before[name] for name, count in after.items()},
    )
