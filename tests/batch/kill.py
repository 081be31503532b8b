"""``python -m tests.batch.kill``: a batch on two processes at once, killed again and again.

Both run the same work over one journal, against an emulator in a process of its own. One of them is
killed (SIGKILL) after a random time, and started again, so many times. In the end both outputs must
be whole, and the server must have executed each line once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from runware_ws.emulator import EmulatorProcess
from tests.journal.postgres_server import PostgresServer

KEY = "a-key-of-the-tests"
_ROOT = Path(__file__).parents[2]


@dataclass
class Figures:
    """What came of it; ``wrong`` counts lines that are missing, doubled or not the right answer."""

    lines: int
    kills: int = 0
    executed: int = 0
    executed_twice: int = 0
    wrong: int = 0
    ways: dict[str, int] = field(default_factory=dict[str, int])
    codes: list[int] = field(default_factory=list[int])
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled or mixed up."""
        return self.executed == self.lines and not (
            self.executed_twice or self.wrong or any(self.codes)
        )


def _start(folder: Path, name: str, url: str, journal: str | None) -> subprocess.Popen[bytes]:
    shared = [] if journal is None else ["--journal", journal, "--job", "kill"]
    run = [sys.executable, "-m", "runware_ws", "run", "in", "-o", name, "--url", url, "--quiet"]
    with (folder / f"{name}.said").open("ab") as said:
        return subprocess.Popen(
            [*run, *shared],
            cwd=folder,
            env={**os.environ, "RUNWARE_API_KEY": KEY, "PYTHONPATH": str(_ROOT)},
            stderr=said,
        )


def _look(path: Path, figures: Figures) -> None:
    """Count what is wrong with one output."""
    seen: set[str] = set()
    for text in path.read_text().splitlines():
        record: dict[str, Any] = json.loads(text)
        result = record.get("result")
        told = "" if result is None else result["text"].partition(": ")[2]
        figures.wrong += record["id"] in seen or told != f"ask {record['id']}"
        seen.add(record["id"])
        if result is not None:
            way = result["recovered_by"]
            figures.ways[way] = figures.ways.get(way, 0) + 1
    figures.wrong += figures.lines - len(seen)


async def run_and_kill(
    folder: Path,
    *,
    lines: int,
    kills: int,
    processes: int,
    seed: int,
    journal: str | None,
    longest: float = 6.0,
) -> Figures:
    """Do it in ``folder``. ``journal`` ``None``: each process has the one beside its output.

    ``longest``: seconds between two kills, at most.
    """
    rng, figures = random.Random(seed), Figures(lines)
    (folder / "in").write_text(
        "".join(json.dumps({"id": f"{n}", "prompt": f"ask {n}"}) + "\n" for n in range(lines))
    )
    names = [f"out{n}.jsonl" for n in range(processes)]
    began = time.monotonic()
    async with EmulatorProcess(KEY, latency="20ms-400ms", seed=seed) as emulator:
        running = [_start(folder, name, emulator.url, journal) for name in names]
        try:
            while figures.kills < kills:
                await anyio.sleep(rng.uniform(0.3, longest))
                victim = rng.randrange(processes)
                if running[victim].poll() is None:
                    running[victim].kill()
                    figures.kills += 1
                    running[victim].wait()
                    running[victim] = _start(folder, names[victim], emulator.url, journal)
                elif all(process.poll() is not None for process in running):
                    break  # It was done before.
            for process in running:
                figures.codes.append(await anyio.to_thread.run_sync(process.wait))
        finally:
            for process in running:
                process.kill()
                process.wait()
        stats = await emulator.stats()
        figures.executed = stats["executed"]
        figures.executed_twice = stats["executed_twice"]
    for name in names:
        _look(folder / name, figures)
    figures.seconds = time.monotonic() - began
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it in an empty folder, and print the figures; 1 if something was not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.batch.kill", description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--journal",
        help="a URL, or postgres: a server of its own. Default: a SQLite file; beside the output "
        "with one process",
    )
    given = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        journal = given.journal or (str(folder / "work.db") if given.processes > 1 else None)
        if journal == "postgres":
            server = PostgresServer()
            stack.callback(server.close)
            journal = server.database()

        async def act() -> Figures:
            return await run_and_kill(
                folder,
                lines=given.lines,
                kills=given.kills,
                processes=given.processes,
                seed=given.seed,
                journal=journal,
            )

        figures = anyio.run(act)
        if not figures.good:
            for path in sorted(folder.glob("*.said")):
                print(path.name, path.read_text()[-2000:], sep=":\n")
    print(figures)
    print("kept" if figures.good else "NOT KEPT")
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
