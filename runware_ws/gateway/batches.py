"""The batches of a gateway as they run: each line once, whatever becomes of the process.

A batch is run by the process that has made it. If that goes on with it no more, because it died,
another one does: each process looks now and then, first for all that were there at its start and
have not ended, then for those of which nothing was heard for a while. Two of them may run one batch
at a time, which costs some work and nothing else: the tasks have keys, and of two results of a line
the first stays.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from runware_ws._io.supervisor import Supervisor
from runware_ws.errors import (
    AuthenticationError,
    ClientClosed,
    Fenced,
    JournalError,
    KeyConflict,
    OutcomeUnknown,
    RunwareError,
    TaskError,
)
from runware_ws.gateway.attempts import Attempt
from runware_ws.gateway.batch_book import MOST_HEADS, BatchBook
from runware_ws.gateway.batch_record import ALL_BATCHES, Batch
from runware_ws.gateway.error_table import ErrorReply, GatewayRefusal, reply_to
from runware_ws.gateway.exchange import new_request_id, note_bug
from runware_ws.gateway.messages_route import translate
from runware_ws.journal.notes import Note
from runware_ws.messages import to_message
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.jsonable import encode_json, load_json

if TYPE_CHECKING:
    from runware_ws.gateway.callers import GatewayCaller
    from runware_ws.gateway.gateway import Gateway
    from runware_ws.gateway.works import Work

__all__ = ["Batches"]

T = TypeVar("T")

_LOG = logging.getLogger("runware_ws")

LOOK_EVERY = 5.0
"""How often is looked for what others canceled, and for what they left, in seconds."""

STALE = 15.0
"""No line of a batch ended for so many seconds: perhaps nobody runs it."""

_AT_ONCE = 100
"""Lines of one batch that run, or wait for their turn, at once."""

_TRIES = 5
"""For a line that the server fails, or of which it is not known what became."""

_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_PAGE = 50


class _Left(Exception):
    """The client has ended: what is to be done is for the next process."""


class _LineAsker:
    """What asks for the task of a line, in the place of a request over HTTP."""

    def __init__(self) -> None:
        self.request_id = new_request_id()
        self.repeatable = True


class _BatchRun:
    """One batch that runs here. ``begun``: lines whose tasks the journal had at the beginning.
    ``starting``: what is left at once when no line may begin any more."""

    def __init__(self, batch: Batch, caller: GatewayCaller) -> None:
        self.batch = batch
        self.caller = caller
        self.requests: Sequence[bytes] = ()
        self.begun: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.starting: set[anyio.CancelScope] = set()
        self._canceled = anyio.Event()
        if batch.canceled is not None:
            self._canceled.set()

    @property
    def over(self) -> str | None:
        """How lines end that have not begun by now; ``None``: they may begin."""
        if self._canceled.is_set():
            return "canceled"
        return "expired" if time.time() >= self.batch.expires else None

    def cancel(self) -> None:
        """No line may begin any more."""
        self._canceled.set()
        for scope in self.starting:
            scope.cancel()

    async def sleep(self, seconds: float) -> None:
        """Sleep, but not longer than lines may begin."""
        if self.over is not None:
            await anyio.sleep(seconds)
            return
        with anyio.move_on_after(min(seconds, self.batch.expires - time.time())):
            await self._canceled.wait()


class Batches:
    """See the top of the module."""

    def __init__(self, gateway: Gateway) -> None:
        self.book = BatchBook(gateway)
        self._gateway = gateway
        self._running: dict[str, _BatchRun] = {}
        self._supervisor: Supervisor | None = None

    def start(self) -> None:
        """Go on with what has not ended, and look after it. Idempotent."""
        if self._gateway.client.journal is None:
            return
        if self._supervisor is None or self._supervisor.ended:
            self._supervisor = Supervisor("runware_ws gateway batches", lambda _: None)
            self._supervisor.start_soon(self._tend, time.time(), name="runware_ws gateway batches")

    def stop(self) -> None:
        """Leave what runs to the journal and the next process."""
        if self._supervisor is not None:
            self._supervisor.cancel()

    def begin(self, batch: Batch, caller: GatewayCaller) -> None:
        """Run a batch here, unless it has ended or runs here already."""
        self.start()
        if batch.ended is None and batch.id not in self._running and self._supervisor is not None:
            run = self._running[batch.id] = _BatchRun(batch, caller)
            self._supervisor.start_soon(self._run, run, name=f"runware_ws gateway {batch.id}")

    def cancel(self, batch: Batch) -> None:
        """It was canceled: if it runs here, begin no further line."""
        run = self._running.get(batch.id)
        if run is not None and batch.canceled is not None:
            run.batch.canceled = batch.canceled
            run.cancel()

    # What others do, and what they leave

    async def _tend(self, started: float) -> None:
        everything = True
        while not self._client_ended:
            try:
                await self._look(started if everything else None)
                everything = False
            except JournalError as exc:
                if not isinstance(exc, Fenced):
                    _LOG.warning("batches wait for the journal: %s", exc)
            except Exception as exc:
                note_bug(exc)
            await anyio.sleep(LOOK_EVERY)
        self.stop()

    async def _look(self, started: float | None) -> None:
        """``started``: when this process did, if it is the first look, which may come late: what
        was made since has a living maker. ``None``: it is a later one."""
        for head in await self.book.unended():
            name, _, batch_id = head.key.removeprefix(ALL_BATCHES).partition("/")
            run = self._running.get(batch_id)
            caller = self._gateway.callers.named(name)
            if run is None and caller is not None and not self._gateway.draining:
                batch = Batch(batch_id, name, head.created, 0)
                left = started is not None and not started <= batch.made <= time.time()
                if left or await self._is_stale(batch):
                    self.begin(await self.book.find(name, batch_id), caller)
            elif run is not None and run.batch.canceled is None:
                self.cancel(await self.book.find(name, batch_id))

    async def _is_stale(self, batch: Batch) -> bool:
        heads = await self.book.journal.lookup.heads(f"{batch.prefix}line/", 1)
        heard = max([batch.made, *(head.created for head in heads)])
        return time.time() - heard > STALE

    @property
    def _client_ended(self) -> bool:
        return self._gateway.client.stats().state in ("closed", "failed")

    # One batch

    async def _run(self, run: _BatchRun) -> None:
        try:
            todo = iter(await self._patiently(partial(self._load, run)))
            async with anyio.create_task_group() as group:
                limit = run.caller.max_concurrency
                # The rest is for the caller's other requests, which would be refused.
                for _ in range(_AT_ONCE if limit is None else min(max(limit // 2, 1), _AT_ONCE)):
                    group.start_soon(self._lines, run, todo)
            await self._patiently(partial(self._end, run.batch, run.counts))
        except* (_Left, JournalError):
            pass  # It stands in the journal: the next process goes on with it.
        except* Exception as group:
            note_bug(group.exceptions[0])
        finally:
            self._running.pop(run.batch.id, None)

    async def _load(self, run: _BatchRun) -> Sequence[int]:
        """Read what is to be done, and return the lines that have not ended: first those that have
        begun."""
        batch, journal = run.batch, self.book.journal
        key = batch.key("requests")
        run.requests = (await journal.notes.read([key]))[key].split(b"\n")
        numbers: dict[str, set[int]] = {"line": set(), "task": set()}
        for head in await journal.lookup.heads(batch.prefix, MOST_HEADS):
            kind, _, number = head.key.removeprefix(batch.prefix).partition("/")
            if number:
                numbers[kind].add(int(number))
        run.begun = numbers["task"] - numbers["line"]
        run.counts.clear()
        ended = sorted(numbers["line"])
        for first in range(0, len(ended), _PAGE):
            keys = [batch.line_key(number) for number in ended[first : first + _PAGE]]
            notes = await journal.notes.read(keys)
            run.counts.update(_kind_in(notes[key]) for key in keys)
        others = set(range(batch.total)) - numbers["line"] - run.begun
        return [*sorted(run.begun), *sorted(others)]

    async def _end(self, batch: Batch, counts: Counter[str]) -> None:
        now = time.time()
        note = Note(batch.key("end"), encode_json({"ended": now, "counts": dict(counts)}))
        await self.book.journal.notes.put(note, release=batch.release(now))

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the journal until it can be used."""
        pause = _PAUSE
        while True:
            try:
                return await ask()
            except JournalError as exc:
                if isinstance(exc, Fenced) or self._client_ended:
                    raise
                _LOG.warning("a batch waits for the journal: %s", exc)
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    # One line

    async def _lines(self, run: _BatchRun, todo: Iterator[int]) -> None:
        for number in todo:
            kind = None
            tries, pause = 0, _PAUSE
            while kind is None:
                caller = self._gateway.callers.named(run.caller.name)
                if caller is None:
                    # It may ask no more: nobody goes on with its batches until it may again.
                    await anyio.sleep(LOOK_EVERY)
                    continue
                run.caller = caller
                try:
                    kind = await self._line(run, number)
                except Exception as exc:
                    reply = self._reply(exc)
                    tries += _is_limited(exc, past=time.time() >= run.batch.expires)
                    if tries < _TRIES and (reply.should_retry or isinstance(exc, JournalError)):
                        await run.sleep(reply.retry_after or pause)
                        pause = min(2 * pause, _LONGEST_PAUSE)
                        continue
                    error = {"error": reply.envelope(new_request_id())}
                    if isinstance(exc, GatewayRefusal):
                        kind = await self._close(run, number, "errored", error)
                    else:
                        kind = await self._settle(run, number, "errored", error)
            run.counts[kind] += 1

    def _reply(self, error: Exception) -> ErrorReply:
        if self._client_ended or isinstance(error, ClientClosed | Fenced | AuthenticationError):
            raise _Left from error
        if not isinstance(error, RunwareError | GatewayRefusal):
            note_bug(error)
        return reply_to(error, joins=True)

    async def _line(self, run: _BatchRun, number: int) -> str | None:
        """Try to end a line; returns how it ended, or ``None``: what becomes of it is another now,
        so try once more.

        Raises:
            GatewayRefusal: a limit is reached.
            RunwareError: as ``Client.run``.
        """
        begun = number in run.begun
        over = run.over
        if over is not None and not begun:
            return await self._close(run, number, over, {})
        request: Any = load_json(run.requests[number])
        translated = translate({**request["params"], "stream": False}, self._gateway, run.caller)
        attempt = Attempt(run.batch.task_key(number), "", 0, 0.0, 0.0)
        attempt.begun = begun
        left = math.inf if begun else run.batch.expires - time.time()
        work: Work | None = None
        with anyio.move_on_after(left) as scope:
            if not begun:
                run.starting.add(scope)
            try:
                work = await self._gateway.whole(translated.task, attempt, run.caller, _LineAsker())
            finally:
                run.starting.discard(scope)
        if work is None:
            return None
        try:
            result = await work.result()
        except KeyConflict:
            # Another process has closed the line.
            kind = await self._kind_of(run.batch, number)
            if kind is None:
                raise
            return kind
        message = to_message(result, translated.model)
        return await self._settle(run, number, "succeeded", {"message": message})

    async def _close(
        self, run: _BatchRun, number: int, kind: str, more: dict[str, Any]
    ) -> str | None:
        """End a line that has not begun; ``None``: it has, perhaps in another process."""
        batch = run.batch
        closed = Note(batch.task_key(number), kind.encode(), batch.held_until)
        note = self._note(run, number, kind, more)
        if await self._patiently(partial(self.book.journal.notes.put, closed, note)):
            return kind
        run.begun.add(number)
        return await self._kind_of(batch, number)

    async def _settle(self, run: _BatchRun, number: int, kind: str, more: dict[str, Any]) -> str:
        """Record how a line ended, unless another process has."""
        note = self._note(run, number, kind, more)
        if await self._patiently(partial(self.book.journal.notes.put, note)):
            return kind
        return await self._kind_of(run.batch, number) or kind

    def _note(self, run: _BatchRun, number: int, kind: str, more: dict[str, Any]) -> Note:
        name = load_json(run.requests[number])["custom_id"]
        line = encode_json({"custom_id": name, "result": {"type": kind, **more}})
        content = b"%s %s\n" % (kind.encode(), line)
        return Note(run.batch.line_key(number), content, run.batch.held_until)

    async def _kind_of(self, batch: Batch, number: int) -> str | None:
        """How a line ended; ``None``: it has not."""
        key = batch.line_key(number)
        notes = await self._patiently(partial(self.book.journal.notes.read, [key]))
        return _kind_in(notes[key]) if key in notes else None


def _kind_in(note: bytes) -> str:
    return note.partition(b" ")[0].decode()


def _is_limited(error: Exception, *, past: bool) -> bool:
    """Whether a line is tried with this a few times only, because it may go on like that for ever.
    ``past``: the batch has expired; until then there is time for all that is no verdict."""
    if isinstance(error, JournalError) and error.temporary:
        return False
    if isinstance(error, TaskError) and error.family is ErrorFamily.RATE:
        return past
    return past or isinstance(error, TaskError | OutcomeUnknown)
