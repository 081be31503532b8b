"""``run``: every line of the input through one client, into the output.

Three rounds. Lines that an earlier process had in flight are asked for first; what the server
does not know is sent again under its old taskUUID, with all other lines; what the server then
calls a repetition is still running there, and is asked for until it is done.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import anyio
from anyio.lowlevel import checkpoint

from runware_ws import (
    AuthenticationError,
    Client,
    ClientClosed,
    ConnectionFailed,
    ErrorFamily,
    Outcome,
    Result,
    RunwareError,
    TaskCancelled,
    TaskError,
)
from runware_ws.batch.reading import Facts, InputError, Line, Source
from runware_ws.cli.answers import error_entry, from_archive, invalid_line, result_entry, unknown
from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.cli.journal import Journal
from runware_ws.cli.output import Output, Prior, head
from runware_ws.cli.screen import Screen

__all__ = ["BatchRunner", "Counts", "RunOptions"]

_BREATH = 200  # Lines between two looks at the event loop.
_PAUSE_FIRST, _PAUSE_CAP = 0.5, 15.0
# A question only reads: one that is not answered may be given up early.
_ASK_TIMEOUT = 10.0
_ABOUT_OTHERS = ("getResponse", "getTaskDetails")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of one run; times are seconds."""

    concurrency: int
    timeout: float
    grace: float
    connect_timeout: float


@dataclass(slots=True)
class Counts:
    """What became of the lines in this run."""

    done: int = 0
    errors: int = 0
    curable: int = 0
    """Of ``errors``: those that the next run tries again."""
    cost: float = 0.0
    asked: int = 0
    """Of ``done`` and ``errors``: those that an earlier process had sent."""
    reconnects: int = 0


class Work(dict[str, Any]):
    """A task object that knows its line.

    ``uuid``: the task it is about. ``repeated``: an earlier process may have sent it.
    ``question``: it only asks what became of the task.
    """

    def __init__(
        self,
        task: dict[str, Any],
        line: Line,
        uuid: str,
        *,
        repeated: bool = False,
        question: bool = False,
    ) -> None:
        super().__init__(task)
        self.line = line
        self.uuid = uuid
        self.repeated = repeated
        self.question = question


class BatchRunner:
    """Runs what is left of ``source``. Use it once."""

    def __init__(
        self,
        source: Source,
        facts: Facts,
        output: Output,
        prior: Prior,
        journal: Journal | None,
        screen: Screen,
        options: RunOptions,
    ) -> None:
        self._source = source
        self._facts = facts
        self._output = output
        self._prior = prior
        self._journal = journal
        self._screen = screen
        self._options = options
        # Where the output holds a verdict on a task, there is nothing to ask.
        self._ask = {
            key: uuid
            for key, uuid in (journal.entries if journal is not None else {}).items()
            if not prior.done(key) and (key not in prior.again or key in prior.ask)
        }
        self._running: list[Work] = []
        self._told: set[int] = set()
        self._waiting = False
        self._open = 0
        self._scope: anyio.CancelScope
        self.counts = Counts()
        self.signal: int | None = None
        self.fatal: Stop | None = None

    @property
    def stopping(self) -> bool:
        """Whether no further line is taken."""
        return self.signal is not None or self.fatal is not None

    # Life

    async def run(self, client: Client) -> None:
        """Run all lines over ``client``, which is entered and left here.

        Look at :attr:`signal` and :attr:`fatal` afterwards: they tell whether it came to the end.

        Raises:
            Stop: the output or the input fails.
        """
        self._scope = anyio.CancelScope()
        stop: Stop | None = None
        # The signals stay ours while the client closes, so that a second one ends that too.
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch_signals)
            with self._scope:
                # Raised through a task group it would come out wrapped.
                stop = await self._over(client)
            group.cancel_scope.cancel()
        if stop is not None:
            raise stop

    async def _over(self, client: Client) -> Stop | None:
        async with client:
            try:
                await client.ready(self._options.connect_timeout)
                await self._rounds(client)
            except AuthenticationError as exc:
                self.fatal = key_refused(exc)
            except (ConnectionFailed, ClientClosed) as exc:
                self.fatal = unreachable(exc)
            except InputError as exc:
                return Stop(ExitCode.USAGE, exc.message)
            except Stop as exc:
                return exc
            finally:
                self.counts.reconnects = client.stats().reconnects
        return None

    async def _rounds(self, client: Client) -> None:
        self._note_session(client)
        if self._ask:
            self._screen.say(f"asking for {len(self._ask)} tasks that an earlier run had sent")
            await self._round(client, self._questions(), asking=True)
        if not self.stopping:
            await self._round(client, self._tasks())
        if not self.stopping and self._running:
            await self._wait_for_running(client)

    async def _round(
        self, client: Client, works: AsyncIterator[Work], *, asking: bool = False
    ) -> None:
        timeout = self._options.timeout
        if asking:
            timeout = min(timeout, _ASK_TIMEOUT)
        outcomes = client.map(works, concurrency=self._options.concurrency, timeout=timeout)
        async with aclosing(outcomes) as ended:
            count = 0
            async for outcome in ended:
                self._end(client, outcome)
                count += 1
                if count % _BREATH == 0:
                    await checkpoint()

    async def _watch_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                if self.signal is not None or not self._open:
                    self.signal = self.signal or number
                    self._scope.cancel()
                    continue
                self.signal = number
                self._scope.deadline = anyio.current_time() + self._options.grace
                self._screen.say(
                    f"ending: {self._open} tasks in flight get {self._options.grace:g} s; "
                    "once more to end at once"
                )

    # What goes in

    async def _lines(self) -> AsyncIterator[Line]:
        """Lines that are not done; those that make no task are answered here."""
        for count, line in enumerate(self._source.lines(self._facts), 1):
            if count % _BREATH == 0:
                await checkpoint()
            if self.stopping:
                return
            if not self._prior.done(line.key):
                yield line

    async def _questions(self) -> AsyncIterator[Work]:
        async for line in self._lines():
            uuid = self._ask.get(line.key)
            if uuid is not None and line.task is not None:
                self._open += 1
                yield _question(line, uuid)

    async def _tasks(self) -> AsyncIterator[Work]:
        waiting = {work.line.key for work in self._running}
        async for line in self._lines():
            if line.key in waiting or line.key in self._told:
                continue
            if line.task is None:
                self._write_error(line, invalid_line(line.problem or ""))
                continue
            self._open += 1
            if line.task["taskType"] in _ABOUT_OTHERS:
                # Its taskUUID is that of another task; it only reads, and may be run again.
                yield Work(line.task, line, "")
                continue
            again = self._ask.get(line.key)
            uuid = again or self._own_uuid(line)
            if again is None and self._journal is not None:
                self._journal.sent(line.key, uuid)
            yield Work({**line.task, "taskUUID": uuid}, line, uuid, repeated=again is not None)

    def _own_uuid(self, line: Line) -> str:
        assert line.task is not None
        given = line.task.get("taskUUID")
        # The server's verdict used a line's own taskUUID up, so another try needs another one.
        if given is None or line.key in self._prior.judged:
            return str(uuid4())
        return cast("str", given)

    # What comes out

    def _end(self, client: Client, outcome: Outcome[Work]) -> None:
        self._open -= 1
        self._note_session(client)
        work, error = outcome.task, outcome.error
        if isinstance(error, AuthenticationError):
            self.fatal = key_refused(error)
        elif isinstance(error, ConnectionFailed | ClientClosed):
            self.fatal = unreachable(error)
        elif isinstance(error, TaskCancelled):
            pass  # By us: the journal has it.
        elif work.question:
            self._end_question(client, work, outcome)
        elif outcome.result is not None:
            self._write_result(work.line, outcome.result)
        elif work.repeated and _is_conflict(error):
            self._running.append(_question(work.line, work.uuid))
        elif error is not None:
            self._write_error(work.line, error)

    def _end_question(self, client: Client, work: Work, outcome: Outcome[Work]) -> None:
        wanted: object = (work.line.task or {}).get("numberResults", 1)
        # The session of the run that died may have pushed the answer as well.
        answers = (outcome.result, client.claim(work.uuid))
        for answer in answers:
            if answer is None:
                continue
            found = from_archive(work.uuid, answer, wanted if isinstance(wanted, int) else 1)
            if found is None:
                continue
            self.counts.asked += 1
            self._told.add(work.line.key)
            if isinstance(found, Result):
                self._write_result(work.line, found)
            else:
                self._write_error(work.line, found)
            return
        # No answer, or "no such task": sending the task once more under its own taskUUID is the
        # safe question whether it ever arrived. "Still running" is waited for.
        if self._waiting or outcome.result is not None:
            self._running.append(work)

    async def _wait_for_running(self, client: Client) -> None:
        """Ask again and again for the tasks that the server has and has not done yet."""
        self._waiting = True
        pause = _PAUSE_FIRST
        deadline = anyio.current_time() + self._options.timeout
        while self._running and not self.stopping:
            works, self._running = self._running, []
            if anyio.current_time() >= deadline:
                for work in works:
                    self._write_error(work.line, unknown(work.uuid, self._options.timeout))
                return
            self._open = len(works)
            await self._round(client, _each(works), asking=True)
            if self._running:
                await anyio.sleep(pause)
                pause = min(_PAUSE_CAP, pause * 2)

    def _note_session(self, client: Client) -> None:
        if self._journal is not None:
            self._journal.connected(client.session_uuid)

    def _write_result(self, line: Line, result: Result) -> None:
        self._output.write({**head(line), "result": result_entry(result)})
        self.counts.done += 1
        self.counts.cost += result.cost or 0.0
        self._show()

    def _write_error(self, line: Line, error: RunwareError) -> None:
        entry = error_entry(error)
        self._output.write({**head(line), "error": entry})
        self.counts.errors += 1
        self.counts.curable += bool(entry["retryable"])
        self._show()

    def _show(self) -> None:
        before = len(self._prior.results) + len(self._prior.kept_errors)
        counts = self.counts
        self._screen.update(
            before + counts.done + counts.errors, f"{counts.errors} errors, ${counts.cost:.4f}"
        )


def key_refused(error: AuthenticationError) -> Stop:
    """The end of a run whose key is refused."""
    return Stop(
        ExitCode.KEY_REFUSED,
        f"the server refuses the API key ({error.code or error.message}): "
        "check RUNWARE_API_KEY or --api-key-file",
    )


def unreachable(error: RunwareError) -> Stop:
    """The end of a run whose server is away."""
    return Stop(ExitCode.UNREACHABLE, f"{error}: check the network and --url, then run it again")


def _is_conflict(error: RunwareError | None) -> bool:
    return isinstance(error, TaskError) and error.family is ErrorFamily.CONFLICT


def _question(line: Line, uuid: str) -> Work:
    task = {"taskType": "getTaskDetails", "taskUUID": uuid}
    return Work(task, line, uuid, question=True)


async def _each(works: list[Work]) -> AsyncIterator[Work]:
    for work in works:
        yield work
