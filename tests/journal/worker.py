"""A program with a journal that is killed and started again: see ``kill.py``.

It goes on with the work that its log does not show as done, and takes new work, so that a number
of tasks are in flight at any time. What it was told goes to the log, a JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import anyio
import tenacity

from runware_ws import Client, Result, TextInference
from runware_ws.errors import Fenced, RunwareError
from runware_ws.journal.sqlite import SqliteStore

KEY = "Kq7xVw2ZpT9mLs4RdY8bNc3HgJ6fAe5U"
KINDS = ("run", "run", "map", "stream", "once")
"""``once``: a task without a key."""


class Log:
    """Lines that outlive the process, as a kernel's buffers do.

    A kill may tear one at the edge of a page. So each begins on a line of its own.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, **fields: Any) -> None:
        os.write(self._fd, f"\n{json.dumps(fields)}\n".encode())


def read_log(path: Path) -> list[dict[str, Any]]:
    """All whole lines."""
    if not path.exists():
        return []
    lines: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines


class Worker:
    """Works until it is killed or, where nothing new is to be taken, until all is done."""

    def __init__(self, client: Client, log: Log, past: list[dict[str, Any]], seed: int) -> None:
        self._client = client
        self._log = log
        self._rng = Random(seed)
        self._life = f"{os.getpid()}.{seed}"
        done = {line["name"] for line in past if "text" in line}
        started = [line["begun"] for line in past if "begun" in line]
        open_still = [name for name in started if name not in done and not name.startswith("once")]
        # Some of what is done is asked for again.
        again = [name for name in done if not name.startswith("once") and self._rng.random() < 0.02]
        self._old = iter([*dict.fromkeys(open_still), *again])
        self._number = 0

    def names(self, *, new: bool) -> Iterator[str]:
        """What is to be done: the old first."""
        yield from self._old
        while new:
            self._number += 1
            kind = self._rng.choice(KINDS)
            name = f"{kind} {self._life} {self._number}"
            self._log.write(begun=name)
            yield name

    async def work(self, in_flight: int, *, new: bool) -> None:
        names = self.names(new=new)
        async with anyio.create_task_group() as group:
            group.start_soon(self._recovered, not new)
            for _ in range(in_flight):
                group.start_soon(self._hand, names)

    async def _hand(self, names: Iterator[str]) -> None:
        for name in names:
            try:
                await self._one(name)
            except RunwareError as exc:
                self._log.write(
                    name=name,
                    error=type(exc).__name__,
                    uuid=exc.task_uuid,
                    code=getattr(exc, "code", None),
                    words=str(exc),
                    submitted=exc.submitted.value,
                )
                if isinstance(exc, Fenced):
                    return  # From now on each task ends like this.

    async def _one(self, name: str) -> None:
        kind = name.split()[0]
        client, task = self._client, TextInference.prompt(name)
        if kind == "once":
            result = await client.run(task)
        elif kind == "stream":
            async with client.stream(task, key=name) as stream:
                text = "".join([delta.text or "" async for delta in stream])
                result = await stream.result()
                assert text == result.text, (text, result.text)
        elif kind == "map":
            (outcome,) = [each async for each in client.map([task], key=lambda _: name)]
            result = outcome.unwrap()
        else:
            result = await client.run(task, key=name)
        self._told(name, result)

    def _told(self, name: str, result: Result) -> None:
        self._log.write(
            name=name, uuid=result.task_uuid, text=result.text, by=result.recovered_by.value
        )

    async def _recovered(self, last: bool) -> None:
        while True:
            async for left in self._client.recovered():
                name = left.key or (left.task or {}).get("messages", [{}])[0].get("content")
                if left.error is not None:
                    self._log.write(
                        name=name,
                        error=type(left.error).__name__,
                        uuid=left.task_uuid,
                        words=str(left.error),
                        code=getattr(left.error, "code", None),
                        submitted=left.error.submitted.value,
                    )
                else:
                    self._told(name or "once, its task is not known", left.unwrap())
            if last:
                return
            await anyio.sleep(0.2)


async def main(options: argparse.Namespace) -> None:
    past = read_log(options.log)
    journal: Any = options.journal
    if not str(journal).startswith("postgresql:"):
        journal = SqliteStore(journal, synchronous=options.synchronous)
    client = Client(
        options.url,
        api_key=KEY,
        journal=journal,
        proxy=None,
        timeout=120.0,
        backoff=tenacity.wait_random(0, 0.2),
        replay_grace=0.2,
        resend_after=0.3,
        poll_first=0.1,
        resend_early=True,
        max_in_flight=max(1, options.in_flight * 3 // 4),
    )
    async with client:
        worker = Worker(client, Log(options.log), past, options.seed)
        print("ready", flush=True)
        await worker.work(options.in_flight, new=not options.last)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.journal.worker", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--journal", required=True, help="a path or a URL")
    parser.add_argument("--log", type=Path, required=True, help="what was begun and told")
    parser.add_argument("--in-flight", type=int, default=100, help="tasks at once")
    parser.add_argument("--synchronous", choices=("FULL", "NORMAL"), default="NORMAL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--last", action="store_true", help="take nothing new; end when all is done"
    )
    parser.add_argument("--trio", action="store_true", help="run on trio")
    args = parser.parse_args()
    anyio.run(main, args, backend="trio" if args.trio else "asyncio")
