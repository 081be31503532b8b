"""``python -m tests.journal.kill``: processes that are killed at random points, again and again.

A server runs here, whose sockets are cut now and then; beside it one or more workers that share a
journal (``worker.py``). Each is killed with SIGKILL after a random time and started again. After
the last kill one more is let run until all is done. Then what the server executed is compared
with what the workers were told: lost, run twice, wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from runware_ws._history import Breach, Ended, Executed, verdict
from runware_ws.emulator import Emulator, EmulatorOptions, Request, expected_text
from runware_ws.models import RecoveredBy
from tests.journal.worker import KEY, read_log

__all__ = ["KillReport", "kill_workers"]

LAST_LIFE = 300.0
"""So long the last worker may take, in seconds."""


@dataclass
class KillReport:
    """What came of it. ``last_life``: seconds until all that was left was done."""

    kills: int = 0
    begun: int = 0
    executed: int = 0
    told: int = 0
    last_life: float = 0.0
    ways: Counter[str] = field(default_factory=Counter[str])
    errors: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])

    def count(self, breach: str) -> int:
        """Problems of one kind."""
        return sum(problem.startswith(breach) for problem in self.problems)

    def __str__(self) -> str:
        told = ", ".join(f"{way} {count}" for way, count in self.ways.most_common())
        lost, twice, wrong = (self.count(each) for each in ("lost", "run twice", "wrong"))
        return (
            f"{self.kills} kills, {self.begun} tasks begun, {self.executed} executed, "
            f"{self.told} told ({told}); errors told: {dict(self.errors)}; "
            f"the last life took {self.last_life:.1f} s; "
            f"lost {lost}, run twice {twice}, wrong {wrong}, all problems {len(self.problems)}"
        )


class _Ledger:
    """What the server executed: the taskUUIDs of each prompt, which is the name of the work."""

    def __init__(self, emulator: Emulator) -> None:
        self.uuids: dict[str, list[str]] = defaultdict(list)
        self.names: dict[str, str] = {}
        emulator.reply("textInference")(self._reply)

    def _reply(self, request: Request) -> str:
        self.uuids[request.prompt].append(request.task_uuid)
        self.names[request.task_uuid] = request.prompt
        return expected_text(request.prompt, request.task_uuid, request.index)


async def kill_workers(
    folder: Path,
    *,
    kills: int,
    in_flight: int,
    workers: int = 1,
    journal: str | None = None,
    seed: int = 1,
    longest: float = 1.5,
    cuts: bool = True,
    latency: str = "exp:300ms",
    trio: bool = False,
) -> KillReport:
    """Do it. ``longest``: seconds that a life may last; ``workers``: how many live at once."""
    rng = Random(seed)
    report = KillReport()
    log = folder / "log.jsonl"
    options = EmulatorOptions(shuffle=True)
    async with Emulator(KEY, options=options, latency=latency, seed=seed) as emulator:
        ledger = _Ledger(emulator)
        if cuts:
            emulator.faults.cut_every(0.8, jitter=0.7, mid_frame=True)

        def command(number: int, *more: str) -> list[str]:
            return [
                *(sys.executable, "-m", "tests.journal.worker", "--url", emulator.url),
                *("--journal", journal or str(folder / "journal.db"), "--log", str(log)),
                *("--in-flight", str(in_flight), "--seed", str(number), *more),
                *(("--trio",) if trio else ()),
            ]

        async def live(number: int) -> None:
            process = await asyncio.create_subprocess_exec(
                *command(number), stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            if rng.random() < 0.9:
                await process.stdout.readline()
            await asyncio.sleep(rng.random() ** 2 * longest)
            if process.returncode is not None:
                report.problems.append(f"crash: a worker ended with {process.returncode}")
                return
            process.send_signal(signal.SIGKILL)
            await process.wait()
            report.kills += 1

        numbers = iter(range(1, kills + 1))

        async def lives() -> None:
            for number in numbers:
                await live(number)

        await asyncio.gather(*(lives() for _ in range(workers)))
        await _live_to_the_end(command(kills + 1, "--last"), report)
        judge(read_log(log), ledger.uuids, emulator.stats.executions, report)
    return report


async def _live_to_the_end(command: list[str], report: KillReport) -> None:
    began = asyncio.get_running_loop().time()
    last = await asyncio.create_subprocess_exec(*command)
    try:
        await asyncio.wait_for(last.wait(), LAST_LIFE)
    except TimeoutError:
        last.kill()
        report.problems.append("lost: the last worker did not come to its end")
    if last.returncode:
        report.problems.append(f"crash: the last worker ended with {last.returncode}")
    report.last_life = asyncio.get_running_loop().time() - began


def judge(
    lines: Iterable[dict[str, Any]],
    uuids: dict[str, list[str]],
    executions: Counter[str],
    report: KillReport,
) -> None:
    """Compare what was executed with what was told."""
    begun: list[str] = []
    told: dict[str, set[str]] = defaultdict(set)
    told_uuids: set[str] = set()
    names = {uuid: name for name, all_of_it in uuids.items() for uuid in all_of_it}
    for line in lines:
        if "begun" in line:
            begun.append(line["begun"])
            continue
        uuid = line["uuid"]
        if "error" in line:
            report.errors[line["error"]] += 1
            if line["error"] not in ("ClientClosed", "TaskTimeout", "OutcomeUnknown"):
                report.problems.append(f"unexpected: {json.dumps(line)}")
            continue
        report.told += 1
        report.ways[line["by"]] += 1
        name = names.get(uuid, "")
        if name != line["name"] and not line["name"].startswith("once, "):
            report.problems.append(f"wrong: {line['name']} was told the answer to {name!r}")
        made = (expected_text(name, uuid, 0),)
        executed = Executed(executions[uuid], made, received=True, ways=None)
        ended = Ended(uuid, (line["text"],), recovered_by=RecoveredBy(line["by"]))
        for finding in verdict(executed, ended):
            if finding.breach is not Breach.RUN_TWICE:
                report.problems.append(f"{finding.breach}: {name}: {finding.words}")
        told[name].add(uuid)
        told_uuids.add(uuid)
    report.begun, report.executed = len(begun), len(executions)
    for name in begun:
        if not name.startswith("once") and len(told[name]) != 1:
            report.problems.append(f"lost: {name} was told as {sorted(told[name])}")
    for uuid, name in names.items():
        if uuid not in told_uuids:
            report.problems.append(f"lost: {name} was executed as {uuid}, and never told")
        if executions[uuid] > 1:
            report.problems.append(f"run twice: {name} as {uuid}, {executions[uuid]} times")
    for name, all_of_it in uuids.items():
        if len(set(all_of_it)) > 1:
            report.problems.append(f"run twice: {name} as {sorted(set(all_of_it))}")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.journal.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--in-flight", type=int, default=1000, help="tasks at once in each worker")
    parser.add_argument("--workers", type=int, default=1, help="how many live at once")
    parser.add_argument("--store", default="sqlite", help="sqlite, or a postgresql:// URL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=3.0, help="seconds that a life may last")
    parser.add_argument("--latency", default="exp:1s", help="how long the server takes")
    parser.add_argument("--calm", action="store_true", help="do not cut sockets")
    parser.add_argument("--trio", action="store_true", help="workers run on trio")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(
            kill_workers(
                Path(folder),
                kills=options.kills,
                in_flight=options.in_flight,
                workers=options.workers,
                journal=None if options.store == "sqlite" else options.store,
                seed=options.seed,
                longest=options.longest,
                cuts=not options.calm,
                latency=options.latency,
                trio=options.trio,
            )
        )
    for problem in report.problems[:50]:
        print(problem)
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
