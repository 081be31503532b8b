"""Workers of the engines' examples, which die between a call and the engine's record of it.

``python -m tests.durable.worker dbos`` reads one JSON array a line: the arguments of
:func:`work_and_die`. It forks a worker for each, waits for its end, and prints a line: the signal
that it died of, or 0. So what takes long to import is imported once.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from runware_ws import Client, Result, SyncClient

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Deaths:
    """At most ``most`` deaths, and one for each prompt, counted over all lives in ``folder``."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder / "deaths"
        self._folder.mkdir(exist_ok=True)
        self._most = most

    def die(self, result: Result) -> None:
        """The call has returned, and the engine does not know it yet."""
        mark = self._folder / (result.text or "none")
        if len(os.listdir(self._folder)) < self._most and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def work_and_die(engine: str, folder: str, database: str, most: int, keyed: bool) -> None:
    """Run the worker of an example; the agent's last answer is in ``folder`` then."""
    deaths = Deaths(Path(folder), most)
    if engine == "dbos":
        SyncClient.run = _dying(SyncClient.run, deaths, keyed)  # type: ignore[method-assign]
        answer = importlib.import_module("durable_dbos").work(Path(folder))
    else:
        Client.run = _dying_async(Client.run, deaths, keyed)  # type: ignore[method-assign]
        answer = asyncio.run(
            importlib.import_module("durable_procrastinate").work(database, folder)
        )
    Path(folder, "last").write_text(answer)


def _dying(run: Callable[..., Result], deaths: Deaths, keyed: bool) -> Any:
    def run_and_die(client: SyncClient, task: Any, *, key: str) -> Result:
        result = run(client, task, key=key if keyed else None)
        deaths.die(result)
        return result

    return run_and_die


def _dying_async(run: Callable[..., Awaitable[Result]], deaths: Deaths, keyed: bool) -> Any:
    async def run_and_die(client: Client, task: Any, *, key: str) -> Result:
        result = await run(client, task, key=key if keyed else None)
        deaths.die(result)
        return result

    return run_and_die


def main() -> None:
    engine = sys.argv[1]
    sys.path.insert(0, str(EXAMPLES))
    importlib.import_module(f"durable_{engine}")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # What it prints is no line of ours.
                work_and_die(engine, *json.loads(line))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(-os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
