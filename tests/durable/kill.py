"""``python -m tests.durable.kill``: kill the engines' workers between a call and its record.

Each round is an agent of 20 steps (``examples/durable_dbos.py``, ``durable_procrastinate.py``).
Its worker is killed with SIGKILL right after a call has returned, before the engine knows of it, in
each step once; the next worker runs the step again. The emulator counts what it executed.
``--without-key`` shows that the engines alone would pay twice.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from anyio import Path

from runware_ws.emulator import Emulator, Request
from tests.durable.worker import EXAMPLES

KEY = "key-of-the-kills"
ROOT = EXAMPLES.parent
ENGINES = ("dbos", "procrastinate")


@dataclass(slots=True)
class Count:
    """What came of it. ``wrong``: agents that did not end with the right answer."""

    steps: int = 0
    kills: int = 0
    executed: int = 0
    wrong: int = 0

    @property
    def twice(self) -> int:
        """Executions beyond one for each step."""
        return self.executed - self.steps


def example(name: str) -> Any:
    """A module of the examples."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    return importlib.import_module(name)


async def kill_workers(engine: str, kills: int, *, keyed: bool = True) -> Count:
    """Run agents until so many workers were killed.

    Raises:
        RuntimeError: a worker failed, and not because it was killed.
    """
    count = Count()
    crashes = example("_crashes")
    async with Emulator(api_key=KEY) as emulator, _databases(engine) as new_database:

        @emulator.reply("textInference")
        def model(request: Request) -> str:
            return str(crashes.answer_to(request.task["messages"][0]["content"]))

        async with _nursery(engine, emulator.url) as nursery:
            while count.kills < kills:
                database = await asyncio.to_thread(new_database)
                with tempfile.TemporaryDirectory() as folder:
                    if engine == "procrastinate":
                        await example("durable_procrastinate").prepare(database, folder)
                    line = json.dumps([folder, database, kills - count.kills, keyed])
                    count.kills += await _live_and_die(nursery, line)
                    answer = await Path(folder, "last").read_text()
                    count.wrong += answer != crashes.right_answer()
                count.steps += crashes.STEPS
        count.executed = emulator.stats.executed
    return count


async def _live_and_die(nursery: Process, line: str) -> int:
    """One agent; how often its workers were killed."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    kills = 0
    while True:
        nursery.stdin.write(f"{line}\n".encode())
        died_of = int(await nursery.stdout.readline())
        if died_of == 0:
            return kills
        if died_of != signal.SIGKILL:
            raise RuntimeError(f"a worker ended with {died_of}")
        kills += 1


@asynccontextmanager
async def _nursery(engine: str, url: str) -> AsyncGenerator[Process]:
    environment = {**os.environ, "RUNWARE_API_KEY": KEY, "RUNWARE_WS_URL": url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.durable.worker", engine),
        stdin=PIPE,
        stdout=PIPE,
        cwd=ROOT,
        env=environment,
    )
    try:
        yield process
    finally:
        await process.communicate(b"")  # It ends when there is nothing more to read.


@asynccontextmanager
async def _databases(engine: str) -> AsyncGenerator[Any]:
    """What makes an empty PostgreSQL database, for the engine that needs one."""
    if engine == "dbos":
        yield lambda: ""
        return
    from tests.journal.postgres_server import PostgresServer

    server = await asyncio.to_thread(PostgresServer)
    try:
        yield server.database
    finally:
        await asyncio.to_thread(server.close)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.durable.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of each engine's workers")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="both by default")
    parser.add_argument("--without-key", action="store_true", help="what the engines alone do")
    options = parser.parse_args()
    right = True
    print(f"{'engine':15}{'kills':>8}{'steps':>8}{'executed':>10}{'twice':>8}{'wrong':>8}")
    for engine in options.engine or ENGINES:
        if find_spec(engine) is None:
            print(f"{engine:15}not installed")
            right = False
            continue
        count = asyncio.run(kill_workers(engine, options.kills, keyed=not options.without_key))
        print(
            f"{engine:15}{count.kills:8}{count.steps:8}{count.executed:10}{count.twice:8}"
            f"{count.wrong:8}",
            flush=True,
        )
        right = right and count.twice == 0 and count.wrong == 0
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
