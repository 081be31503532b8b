"""Runs in processes that are killed at an exact point: at their first commit, their second, ...

Points are right before and behind each commit of the journal, each line of the output, each frame
that is sent, and the output's last touch. The server lives here, in a thread, and keeps its memory
over all lives.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from runware_ws import Client, run_file
from runware_ws._io.transport.on_asyncio import AsyncioTransport
from runware_ws.batch import run_batch
from runware_ws.batch.writing.jsonl import JsonlWriter
from runware_ws.emulator import Emulator, ReplyError, Request, expected_text
from runware_ws.journal.sqlite import SqliteStore

KEY = "a-key-of-the-tests"

BUSY, REFUSED, BROKEN = "providerRateLimitExceeded", "contentPolicyViolation", "internalServerError"
"""Nothing ran; it ran, and ends so for good; it ran, and may go better another time."""


class Server:
    """An emulator whose answers to a prompt are a plan: codes of errors, one after the other.

    Behind its plan every prompt is answered. :meth:`hold`: all answers wait for :meth:`let_go`.
    """

    def __init__(self, emulator: Emulator, portal: BlockingPortal) -> None:
        self.url = emulator.url
        self._emulator, self._portal = emulator, portal
        self.plan: dict[str, list[str]] = {}
        self.ran: defaultdict[str, list[str]] = defaultdict(list)
        """By prompt, how each of its tasks that ran, and so was paid for, ended."""
        self.seen: dict[str, str] = {}
        """By prompt, the taskUUID of its last task."""
        self._open = anyio.Event()
        self._open.set()
        emulator.reply("textInference")(self._reply)

    def hold(self) -> None:
        """Let all that comes wait."""
        self._open = self._portal.call(anyio.Event)

    def let_go(self) -> None:
        """Answer all that waits."""
        self._portal.call(self._open.set)

    async def _reply(self, request: Request) -> str:
        self.seen[request.prompt] = request.task_uuid
        plan = self.plan.get(request.prompt)
        code = plan.pop(0) if plan else "done"
        if code != BUSY:
            self.ran[request.prompt].append(code)
        await self._open.wait()
        if code != "done":
            raise ReplyError(code, "As it was planned.")
        return expected_text(request.prompt, request.task_uuid, request.index)

    def same_twice(self) -> list[str]:
        """The taskUUIDs that were executed more than once."""
        return self._emulator.stats.executed_twice


class Life(NamedTuple):
    """A run in a folder, killed at its ``at``-th point; ``None``: it is let run."""

    folder: Path
    url: str
    at: int | None = None
    output: str = "out"


@contextmanager
def served() -> Generator[Server]:
    """A server in a thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(KEY)) as emulator,
    ):
        yield portal.call(Server, emulator, portal)


def live(lives: Iterable[Life], **options: Any) -> list[bool]:
    """Runs of ``in``, all at once, each in a process of its own; which of them were killed."""
    children = [(life, _fork(life, options)) for life in lives]
    killed: list[bool] = []
    for life, child in children:
        _, status = os.waitpid(child, 0)
        killed.append(os.WIFSIGNALED(status))
        assert killed[-1] or status == 0, (life.folder / "said").read_text()
    return killed


def _fork(life: Life, options: dict[str, Any]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which do nothing there
        child = os.fork()
    if child:
        return child
    try:
        _die_at(life.at)
        usual: dict[str, Any] = {"input": life.folder / "in", "output": life.folder / life.output}
        usual |= {"url": life.url, "api_key": KEY}
        if options.pop("shared", False):
            usual |= {"journal": str(life.folder / "work.db"), "job": "x"}
        anyio.run(functools.partial(run_file, **(usual | options)))
        os._exit(0)
    except BaseException:
        (life.folder / "said").write_text(traceback.format_exc())
    finally:
        os._exit(1)


def _die_at(at: int | None) -> None:
    passed = 0

    def point() -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(place: Any, name: str) -> None:
        act: Callable[..., Any] = getattr(place, name)

        @functools.wraps(act)
        def acts(*args: Any, **kwargs: Any) -> Any:
            point()
            answer = act(*args, **kwargs)
            point()
            return answer

        setattr(place, name, acts)

    commits, sends = SqliteStore.transaction, AsyncioTransport.send

    @contextmanager
    def transaction(self: SqliteStore) -> Generator[Any]:
        with commits(self) as work:
            yield work
            point()
        point()

    async def send(self: AsyncioTransport, data: bytes) -> None:
        point()
        await sends(self, data)
        point()

    patch.object(SqliteStore, "transaction", transaction).start()
    patch.object(AsyncioTransport, "send", send).start()
    around(JsonlWriter, "write")
    around(JsonlWriter, "finish")
    quick: dict[str, Any] = {"poll_first": 0.02, "replay_grace": 0.05}
    quick |= {"resend_after": 0.1, "resend_early": True}
    patch.object(run_batch, "Client", functools.partial(Client, **quick)).start()


def answers(path: Path) -> dict[str, str]:
    """How each line ended, by its id."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    ended = {each["id"]: each["error"]["code"] if "error" in each else "done" for each in found}
    assert len(ended) == len(found)
    return ended
