"""Every line of an input through one client, into the output.

One task of the event loop for each line in flight; :class:`~.pacing.Pacer` and
:class:`~.money.Budget` say when the next may start. What a line is tried under is told in
:mod:`.run_tries`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from runware_ws.batch.money import Budget, LineCost
from runware_ws.batch.pacing import Pacer, Retries, SameEnd, Setback, retry_after_of, setback_of
from runware_ws.batch.progress import Meter, Standing
from runware_ws.batch.reading import Line
from runware_ws.batch.run_opening import OpenedBatch
from runware_ws.batch.run_options import BatchOptions
from runware_ws.batch.run_report import RunReport
from runware_ws.batch.run_tries import LineTry
from runware_ws.batch.writing import BATCH, AnswerEntry, error_entry
from runware_ws.cli.exits import Stop
from runware_ws.client.client import Client
from runware_ws.client.handle import was_begun_before
from runware_ws.errors import (
    AuthenticationError,
    ClientClosed,
    ConnectionFailed,
    HttpRefused,
    InvalidTask,
    JournalError,
    OutputError,
    RunwareError,
    Submitted,
    TaskCancelled,
    TaskError,
)
from runware_ws.models.results import RecoveredBy, Result
from runware_ws.models.text_inference import HAIKU_MODEL

__all__ = ["BatchRunner"]

_BREATH = 200  # Lines between two looks at the event loop.
_PATIENCE = 0.25  # Seconds after which a line that somebody else runs takes up no place.
_WAITERS = 4  # How many such lines there may be, in multiples of the concurrency.
_FATAL = (AuthenticationError, ConnectionFailed, ClientClosed, JournalError)
_OVER = ("failed", "closed")


class BatchRunner:
    """Runs what is left of ``batch``. Use it once.

    ``on_progress`` is called, often, with how far it is.
    """

    def __init__(
        self,
        batch: OpenedBatch,
        options: BatchOptions,
        on_progress: Callable[[Standing], None] | None = None,
    ) -> None:
        self._batch, self._options = batch, options
        self._writer, self._prior = batch.writer, batch.prior
        self._on_progress = on_progress
        self._pacer = Pacer(options.concurrency)
        self._retries: Retries[LineTry] = Retries(options.retries)
        self._same = SameEnd()
        self._budget = Budget(
            max_cost=options.max_cost,
            max_lines=options.limit,
            price=options.prices,
            spent=options.prices.of_bill(batch.prior.bill),
        )
        self._lines = self._unfinished()
        self._ahead: LineTry | None = None
        self._news: anyio.Event
        self._scope: anyio.CancelScope
        self._meter: Meter
        self._client: Client
        self._began = 0.0
        # The number at the pacer of each line in flight; ``None``: it takes up no place there,
        # because somebody else runs it. Of these, since when they are not in the journal as ours.
        self._places: dict[int, int | None] = {}
        self._entering: dict[int, float] = {}
        self._elsewhere = 0
        self._done = self._errors = self._curable = self._found = 0
        self._input_tokens = self._output_tokens = 0
        self._reconnects = 0
        self._seconds = 0.0
        self._ending = False
        self.asked = 0
        """How many lines were handed to the client."""
        self.doubtful = 0
        """How many of them ended without a verdict, so that the next run asks for them again."""
        self.stopped: str | None = None
        """Why no further line was taken, though nothing broke."""
        self.fatal: RunwareError | None = None
        """What broke."""

    # Ends

    @property
    def in_flight(self) -> int:
        """Lines that were sent and have not ended."""
        return len(self._places)

    def stop(self, grace: float) -> None:
        """Take no further line; those in flight get ``grace`` seconds."""
        self._ending = True
        self._scope.deadline = min(self._scope.deadline, anyio.current_time() + grace)
        self._wake()

    def _fail(self, error: RunwareError) -> None:
        self.fatal = self.fatal or error
        self._wake()

    def _wake(self) -> None:
        self._news.set()

    @property
    def _stopping(self) -> bool:
        return self._ending or self.fatal is not None or self.stopped is not None

    def report(self) -> RunReport:
        """What became of all lines."""
        before = self._batch.before
        return RunReport(
            total=self._batch.facts.count,
            done=self._done,
            errors=self._errors,
            before=before,
            errors_before=self._batch.errors_before,
            left=self._batch.facts.count - before - self._done - self._errors,
            curable=self._curable,
            found=self._found,
            cost=self._budget.run,
            total_cost=self._budget.total,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            reconnects=self._reconnects,
            seconds=self._seconds,
            stopped=self.stopped,
        )

    # Life

    async def run(self, client: Client) -> None:
        """Run all lines over ``client``, which is entered and left here.

        Look at :attr:`fatal` and :attr:`stopped` afterwards.
        """
        self._client = client
        self._news, self._scope = anyio.Event(), anyio.CancelScope()
        self._began = anyio.current_time()
        self._meter = Meter(self._began, self._batch.before)
        try:
            with self._scope:
                async with client:
                    try:
                        await client.ready(self._options.connect_timeout)
                        async with anyio.create_task_group() as group:
                            await self._feed(group)
                    finally:
                        self._reconnects = client.stats().reconnects
        except RunwareError as exc:
            self._fail(exc)
        finally:
            self._seconds = anyio.current_time() - self._began

    # What goes in

    async def _feed(self, group: TaskGroup) -> None:
        try:
            while (work := await self._next()) is not None:
                key = work.line.key
                self._places[key] = self._pacer.started()
                self._retries.started(key)
                group.start_soon(self._one, work)
        except (RunwareError, Stop) as exc:
            self._broken(exc)

    def _broken(self, exc: RunwareError | Stop) -> None:
        """The input cannot be read, or the output not be written."""
        self._fail(OutputError(exc.message) if isinstance(exc, Stop) else exc)
        self._scope.cancel()

    async def _next(self) -> LineTry | None:
        """The next line to be sent, once there is room for it; ``None``: there is none."""
        while not self._stopping:
            now = anyio.current_time()
            pause = self._pacer.wait(now)
            if pause == 0:
                work = self._retries.due(now) or await self._fresh()
                if work is not None:
                    return work
                if self._stopping or not (self._places or len(self._retries)):
                    return None
                pause = self._retries.wait(now)
            await self._wait(pause)
        return None

    async def _fresh(self) -> LineTry | None:
        """The next line that was not sent in this run, if one may be taken now."""
        if self._ahead is None:
            self._ahead = await self._read()
        work = self._ahead
        if work is None:
            return None
        if not self._budget.admits(work.cost):
            if not self._budget.in_flight:
                self.stopped = self._budget.why()
            return None
        self._ahead = None
        self._budget.take(work.line.key, work.cost)
        self.asked += 1
        return work

    async def _read(self) -> LineTry | None:
        for count, work in enumerate(self._lines, 1):
            if count % _BREATH == 0:
                await checkpoint()
            if self._stopping:
                return None
            if work.line.task is not None:
                return work
            # No task can be made of it: that is its end.
            self._write(work, InvalidTask(work.line.problem or ""), None)
        return None

    def _unfinished(self) -> Iterator[LineTry]:
        batch, prior = self._batch, self._prior
        # What other lines cost would count without those that are paid for already.
        for is_first in (True, False) if batch.first else (False,):
            for line in batch.source.lines(batch.facts):
                if (line.key in batch.first) is not is_first:
                    continue
                if not prior.done(line.key, retry_errors=self._options.retry_errors):
                    yield self._try_of(line)

    def _try_of(self, line: Line) -> LineTry:
        prior, task = self._prior, line.task
        cost = LineCost(0, 0) if task is None else LineCost.of(task)
        work = LineTry(line, cost, prior.errors.get(line.key))
        own = None if task is None else task.get("taskUUID")
        work.renamed = isinstance(own, str) and prior.is_others(own, line.key)
        return work

    async def _wait(self, pause: float | None) -> None:
        """Until a line ended, or so many seconds passed."""
        now = anyio.current_time()
        if self._batch.journal is not None and self._entering:
            patience = self._let_pass(now)
            pause = patience if pause is None else min(pause, patience)
        with anyio.move_on_after(math.inf if pause is None else pause):
            await self._news.wait()
        if self._news.is_set():
            self._news = anyio.Event()

    def _let_pass(self, now: float) -> float:
        """Lines that somebody else runs take up no place here; returns when to look again."""
        while self._entering and self._elsewhere < _WAITERS * self._options.concurrency:
            key, since = next(iter(self._entering.items()))
            if now - since < _PATIENCE:
                return since + _PATIENCE - now
            del self._entering[key]
            number, self._places[key] = self._places[key], None
            if number is not None:
                self._elsewhere += 1
                self._pacer.ended(number, now, Setback.PASSING)
                self._wake()
        return _PATIENCE

    # A line

    async def _one(self, work: LineTry) -> None:
        key = work.line.key
        try:
            answer, seconds = await self._ask(work)
            self._ended(work, answer, seconds)
        except Stop as exc:
            self._broken(exc)
        finally:
            self._places.pop(key, None)
            self._wake()

    async def _ask(self, work: LineTry) -> tuple[Result | RunwareError, float | None]:
        """The answer of one attempt, and how many seconds it took; ``None``: it was recorded."""
        journal, line = self._batch.journal, work.line.key
        began = anyio.current_time()
        task, key = work.task(), None
        if journal is not None and work.keyed:
            key = work.key(journal.scope)
            self._entering[line] = began
        answer: Result | RunwareError
        try:
            handle = await self._client.submit(task, timeout=self._options.timeout, key=key)
            self._entering.pop(line, None)
            if self._places[line] is None and not handle.done:
                self._elsewhere -= 1  # Whoever ran it is gone: it is ours.
                self._places[line] = self._pacer.started()
            await handle.wait()
            answer = handle.error or handle.outcome()
            work.found = work.keyed and was_begun_before(handle)
        except RunwareError as exc:
            answer = exc
            work.found = work.keyed and exc.task_uuid not in (None, work.uuid.lower())
        finally:
            self._entering.pop(line, None)
        recorded = isinstance(answer, Result) and answer.recovered_by is RecoveredBy.JOURNAL
        return answer, None if recorded else anyio.current_time() - began

    def _ended(self, work: LineTry, answer: Result | RunwareError, seconds: float | None) -> None:
        now = anyio.current_time()
        setback, pause = setback_of(answer), retry_after_of(answer)
        number = self._places.pop(work.line.key)
        if number is None:
            self._elsewhere -= 1
        else:
            self._pacer.ended(number, now, setback, pause)
        if isinstance(answer, TaskCancelled):
            return
        if isinstance(answer, RunwareError) and self._is_fatal(answer):
            self._fail(answer)
            return
        if isinstance(answer, RunwareError) and setback is not None:
            if setback is Setback.PUSHBACK:
                self.stopped = self.stopped or self._same.refused(
                    work.line.number, answer, self._pacer.fruitless
                )
            if self._again(work, answer, now, setback, pause):
                return
        self._retries.ended(work.line.key, result=isinstance(answer, Result))
        self._found += work.found
        self._write(work, answer, seconds)
        self.stopped = self.stopped or self._same.ended(work.line.number, answer)

    def _is_fatal(self, answer: RunwareError) -> bool:
        if isinstance(answer, HttpRefused):
            return False
        return isinstance(answer, _FATAL) or self._client.stats().state in _OVER

    def _again(
        self,
        work: LineTry,
        answer: RunwareError,
        now: float,
        setback: Setback,
        pause: float | None,
    ) -> bool:
        """Whether the line is tried again in this run, or left for the next one."""
        if isinstance(answer, TaskError) and answer.items:
            return False  # A part of it was paid for.
        if self._stopping and setback is Setback.PUSHBACK:
            return True  # Nothing ran, and nothing is lost: it is left.
        if not self._retries.again(work.line.key, work, now, setback, pause):
            return False
        work.again(answer)
        return True

    def _write(self, work: LineTry, answer: Result | RunwareError, seconds: float | None) -> None:
        line = work.line
        model = None if line.task is None else line.task.get("model")
        if not isinstance(model, str) or (self._options.shape == BATCH and model == HAIKU_MODEL):
            model = None
        self._writer.write(
            AnswerEntry(line.number, line.key, line.id, answer, model, seconds, work.retry_of)
        )
        self._budget.ended(line.key, answer)
        if isinstance(answer, Result):
            self._done += 1
            if answer.usage is not None:
                self._input_tokens += answer.usage.input_tokens or 0
                self._output_tokens += answer.usage.output_tokens or 0
        else:
            self._errors += 1
            self._curable += bool(error_entry(answer)["retryable"])
            self.doubtful += (
                not isinstance(answer, TaskError) and answer.submitted is not Submitted.NO
            )
        self._show()

    def _show(self) -> None:
        if self._on_progress is None:
            return
        now, total = anyio.current_time(), self._batch.facts.count
        done = self._batch.before + self._done + self._errors
        self._meter.note(now, done)
        held_up = bool(self._pacer.wait(now))
        self._on_progress(
            Standing(
                done,
                total,
                errors=self._errors + self._batch.errors_before,
                rate=self._meter.rate(now),
                seconds_left=self._meter.seconds_left(now, total),
                tokens=self._input_tokens + self._output_tokens,
                cost=self._budget.total,
                emulated=self._options.emulate,
                note="paused" if held_up else "",
            )
        )
