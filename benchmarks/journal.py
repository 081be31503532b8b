"""``python -m benchmarks.journal``: what a journal costs, as ratios within one run; a table.

The server is the responder in a process of its own, the client runs in this one (its CPU is that of
all its threads). ``--folder`` is where the journals are made: a disk, not a file system in memory.
With ``dbos`` installed, steps of DBOS on SQLite in the same folder stand beside ours.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from benchmarks.processes import Responder, responder
from benchmarks.tasks import KEY, OTHER_MODEL, make
from runware_ws import Client

ROOT = Path(__file__).parent.parent
POLL = 0.02


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. ``flight``: tasks in flight for the CPU and the adoption. ``many``:
    tasks for the rate, ``wide`` at once. ``single``: tasks and commits one at a time. ``agents``
    with so many ``steps`` each."""

    rounds: int = 5
    flight: int = 10_000
    many: int = 20_000
    wide: int = 1_000
    single: int = 300
    agents: int = 50
    steps: int = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``aim`` is the one that was set, in the words of the table."""

    what: str
    measured: str
    aim: str = ""


class Bench:
    """One responder, and a folder in which each journal is a new one."""

    def __init__(self, server: Responder, folder: Path, scale: Scale) -> None:
        self.server = server
        self.scale = scale
        self.folder = folder
        self._numbers = count(1)

    def new(self, synchronous: str) -> str:
        """The place of a new journal."""
        return f"sqlite:{self.folder}/{next(self._numbers)}.db?synchronous={synchronous}"

    @asynccontextmanager
    async def client(self, journal: str | None) -> AsyncGenerator[Client]:
        """A client that is connected, after a few tasks."""
        self.server.order("arm")
        async with Client(
            self.server.url, api_key=KEY, journal=journal, max_in_flight=20_000, proxy=None
        ) as client:
            await asyncio.gather(*(client.run(task) for task in tasks(min(300, self.scale.flight))))
            yield client

    async def arrived(self, number: int) -> None:
        """Wait until so many tasks have arrived."""
        arrived = 0
        while arrived < number:
            await asyncio.sleep(POLL)
            arrived = await self.order("status")

    async def order(self, order: str, **options: int) -> int:
        """Give an order; how many tasks have arrived."""
        figures = await asyncio.to_thread(self.server.order, order, **options)
        arrived: int = figures["arrived"]
        return arrived

    # What is measured

    async def cpu(self, journal: str | None) -> float:
        """CPU seconds for each task, with all of them in flight at once."""
        number = self.scale.flight
        async with self.client(journal) as client:
            await self.order("arm", hold=number)
            todo = tasks(number)
            gc.collect()
            before = cpu_used()
            group = asyncio.gather(*(client.run(task) for task in todo))
            await self.arrived(number)
            await self.order("release")
            await group
            return (cpu_used() - before) / number

    async def rate(self, journal: str | None) -> float:
        """Tasks a second."""
        async with self.client(journal) as client:
            began = time.perf_counter()
            done = 0
            async for outcome in client.map(tasks(self.scale.many), concurrency=self.scale.wide):
                done += outcome.error is None
            assert done == self.scale.many
            return done / (time.perf_counter() - began)

    async def latency(self, journal: str | None) -> float:
        """Seconds for a task, one at a time; the median."""
        times: list[float] = []
        async with self.client(journal) as client:
            for task in tasks(self.scale.single):
                began = time.perf_counter()
                await client.run(task)
                times.append(time.perf_counter() - began)
        return statistics.median(times)

    def commit(self) -> float:
        """Seconds for a bare commit of SQLite, as durable as the journal's; the median."""
        times: list[float] = []
        db = sqlite3.connect(self.folder / f"{next(self._numbers)}.db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE kept (id INTEGER PRIMARY KEY, what BLOB)")
        for _ in range(self.scale.single):
            began = time.perf_counter()
            db.execute("INSERT INTO kept (what) VALUES (zeroblob(300))")
            times.append(time.perf_counter() - began)
        db.close()
        return statistics.median(times)

    async def adoption(self) -> tuple[float, float]:
        """A process with all tasks in flight is killed; the next one has their results, without
        having asked by key. Seconds of its CPU, and of the clock."""
        number = self.scale.flight
        journal = self.new("FULL")
        await self.order("arm", hold=number)
        command = (sys.executable, "-m", "benchmarks.journal", "--leave", self.server.url, journal)
        process = await asyncio.create_subprocess_exec(*command, str(number), cwd=ROOT)
        await self.arrived(number)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        cpu, wall = cpu_used(), time.perf_counter()
        async with Client(
            self.server.url, api_key=KEY, journal=journal, max_in_flight=20_000, proxy=None
        ) as client:
            found = {left.task_uuid async for left in client.recovered()}
        assert len(found) == number
        return cpu_used() - cpu, time.perf_counter() - wall

    async def steps(self, agents: int) -> float:
        """Steps a second of agents whose steps have keys."""
        async with self.client(self.new("FULL")) as client:

            async def agent(number: int) -> None:
                for step in range(self.scale.steps):
                    await client.run(make(step, OTHER_MODEL, "sync"), key=f"{number}/{step}")

            return await self._pace(agent, agents)

    async def dbos_steps(self, agents: int) -> float:
        """Steps a second of the same as workflows of DBOS, without a journal of ours."""
        # In a loop of its own, because it ends the default executor of its loop.
        return await asyncio.to_thread(lambda: asyncio.run(self._dbos_steps(agents)))

    async def _dbos_steps(self, agents: int) -> float:
        from dbos import DBOS

        place = f"sqlite:///{self.folder}/dbos-{next(self._numbers)}.db"
        DBOS(config={"name": "bench", "system_database_url": place, "log_level": "ERROR"})
        async with self.client(None) as client:

            @DBOS.step(name="call")
            async def call(step: int) -> str:
                return (await client.run(make(step, OTHER_MODEL, "sync"))).text or ""

            @DBOS.workflow(name="agent")
            async def agent(number: int) -> None:
                for step in range(self.scale.steps):
                    await call(step)

            DBOS.launch()
            try:
                return await self._pace(agent, agents)
            finally:
                DBOS.destroy(destroy_registry=True)

    async def _pace(self, agent: Callable[[int], Awaitable[None]], agents: int) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(agent(number) for number in range(agents)))
        return agents * self.scale.steps / (time.perf_counter() - began)


def tasks(number: int) -> list[dict[str, object]]:
    """So many tasks."""
    return [make(each, OTHER_MODEL, "sync") for each in range(number)]


def cpu_used() -> float:
    """Of this process, with all its threads, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def spread(values: list[float], digits: int = 2) -> str:
    """The median, and what is around it."""
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{mid:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


async def measure(bench: Bench) -> list[Row]:
    """All of it, in turns, so that a ratio is of one moment."""
    scale = bench.scale
    found: dict[str, list[float]] = {}

    def note(what: str, value: float) -> float:
        found.setdefault(what, []).append(value)
        return value

    for _ in range(scale.rounds):
        plain = note("plain", 1e6 * await bench.cpu(None))
        note("cpu", note("normal", 1e6 * await bench.cpu(bench.new("NORMAL"))) / plain)
        note("rate", note("full", await bench.rate(bench.new("FULL"))) / await bench.rate(None))
        commit = note("commit", 1e3 * bench.commit())
        added = 1e3 * (await bench.latency(bench.new("FULL")) - await bench.latency(None))
        note("commits", note("added", added) / commit)
        own, wall = await bench.adoption()
        note("own", own)
        note("wall", wall)
        for agents in (1, scale.agents) if find_spec("dbos") is not None else ():
            ours = note(f"ours {agents}", await bench.steps(agents))
            note(f"beside {agents}", ours / note(f"dbos {agents}", await bench.dbos_steps(agents)))
    return list(rows(scale, found))


def rows(scale: Scale, found: dict[str, list[float]]) -> Iterator[Row]:
    """The table of what was found, round by round."""

    def told(what: str, digits: int = 2) -> str:
        return spread(found[what], digits)

    yield Row(
        f"CPU per task, {scale.flight:,} in flight, NORMAL, against none",
        f"{told('cpu')}; {told('normal', 0)} us against {told('plain', 0)} us",
        "2",
    )
    yield Row(
        f"tasks a second, FULL, {scale.wide:,} in flight",
        f"{told('full', 0)}; {told('rate')} of those without",
        "5,000",
    )
    yield Row(
        "added to a task, one at a time, FULL, in bare commits",
        f"{told('commits')}; {told('added')} ms, a commit is {told('commit')} ms",
        "1",
    )
    yield Row(
        f"adoption of {scale.flight:,} tasks, our CPU",
        f"{told('own')} s; {told('wall')} s by the clock",
        "2 s",
    )
    for agents in (1, scale.agents):
        if f"beside {agents}" in found:
            yield Row(
                f"steps a second against DBOS, {agents} at once",
                f"{told(f'beside {agents}', 1)}; {told(f'ours {agents}', 0)} "
                f"against {told(f'dbos {agents}', 0)}",
                "10",
            )


def markdown(table: list[Row]) -> str:
    """The table in Markdown."""
    lines = ["| what | aim | median (smallest to largest) |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.what} | {row.aim} | {row.measured} |" for row in table)])


def run(folder: Path, scale: Scale) -> list[Row]:
    """Measure in a folder of its own below ``folder``."""
    with responder() as server, tempfile.TemporaryDirectory(dir=folder) as own:
        return asyncio.run(measure(Bench(server, Path(own), scale)))


async def leave(url: str, journal: str, number: int) -> None:
    """Have so many tasks in flight, until this process is killed."""
    async with Client(
        url, api_key=KEY, journal=journal, max_in_flight=20_000, proxy=None
    ) as client:
        await asyncio.gather(*(client.run(task) for task in tasks(number)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk"
    )
    parser.add_argument("--rounds", type=int, default=Scale().rounds)
    parser.add_argument("--leave", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.leave:
        url, journal, number = options.leave
        asyncio.run(leave(url, journal, int(number)))
        return
    print(markdown(run(options.folder, Scale(rounds=options.rounds))))


if __name__ == "__main__":
    main()
