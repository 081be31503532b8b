"""What all routes share: who asks, which attempt it is, and the task that answers it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Protocol

import anyio

from runware_ws.errors import InvalidTask, KeyConflict
from runware_ws.gateway.attempts import Attempt, Attempts, RequestIdentity, requests_of
from runware_ws.gateway.batch_record import lines_of
from runware_ws.gateway.error_table import GatewayRefusal, another_request
from runware_ws.gateway.turns import CallerUse, Turns
from runware_ws.gateway.works import PlainWork, StreamWork, Work
from runware_ws.journal.store import EntryState
from runware_ws.models.content import PRICE, content_digest
from runware_ws.models.jsonable import encode_json

if TYPE_CHECKING:
    from typing import Any

    from runware_ws import Client, Result, TextInference
    from runware_ws.gateway.callers import Callers, GatewayCaller
    from runware_ws.gateway.exchange import Exchange
    from runware_ws.gateway.options import GatewayOptions

__all__ = ["Asker", "Gateway"]

_MOST_USES = 10_000
_MOST_UNANSWERED = 100_000

Start = Callable[["dict[str, Any]"], Awaitable[Work]]
"""Starts a task, given what ``Client.submit`` and ``Client.stream`` take beside it."""


class Asker(Protocol):
    """What asks for a task: a request over HTTP, or a line of a batch. ``repeatable``: no task of
    it runs that another try would not find again, in whatever process."""

    request_id: str
    repeatable: bool


class Gateway:
    """One client, and those who share it."""

    def __init__(self, client: Client, callers: Callers, options: GatewayOptions) -> None:
        self.client = client
        self.callers = callers
        self.options = options
        self.turns = Turns(options.max_running, options.max_waiting)
        self.attempts = Attempts(options.retry_window, options.remembered, options.remembered_bytes)
        self._uses: OrderedDict[str, CallerUse] = OrderedDict()
        # Whose tasks ended without an answer, and what they asked for, by taskUUID.
        self._unanswered: OrderedDict[str, str] = OrderedDict()
        self.keep_tallies()

    def over(self, client: Client) -> Gateway:
        """The same with another client: turns and the limits of callers hold for both together."""
        other = copy(self)
        other.client = client
        other.keep_tallies()
        return other

    def keep_tallies(self) -> None:
        """Have the journal count what callers with a budget spend."""
        journal = self.client.journal
        if journal is not None:
            for caller in self.callers.known():
                if caller.budget is not None:
                    tally = _tally_of(caller.name)
                    journal.tallies.count(
                        {requests_of(caller.name): tally, lines_of(caller.name): tally}
                    )

    @property
    def draining(self) -> bool:
        """No new task is taken."""
        return self.turns.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self.turns.draining = draining

    @property
    def joins(self) -> bool:
        """Whether a task is found again, whatever became of it and of this process."""
        return self.client.journal is not None

    def use_of(self, caller: GatewayCaller) -> CallerUse:
        """What this caller uses."""
        use = self._uses.get(caller.name)
        if use is None:
            use = self._uses[caller.name] = CallerUse(caller, anyio.current_time())
            while self.callers.anybody and len(self._uses) > _MOST_USES:
                self._uses.popitem(last=False)
        elif not self.callers.anybody:
            # Its limits may have changed since it was asked who this is.
            use.caller = self.callers.named(caller.name) or caller
        return use

    # Which attempt

    async def attempt_of(self, asked: RequestIdentity) -> Attempt:
        """The attempt that a request belongs to. From then on it is the request's to end: see
        :meth:`waiting`.

        Raises:
            JournalError: a retry cannot be looked for.
        """
        now = anyio.current_time()
        if asked.key is not None:
            return self.attempts.named(asked, now)
        if asked.retry:
            for waiter in self.attempts.waited(asked):
                await waiter.look()
            journal = self.client.journal
            heads = () if journal is None else await journal.lookup.heads(asked.prefix)
            # From here on nothing is waited for, so no other retry takes the same one.
            now = anyio.current_time()
            found = self.attempts.joined(asked, heads, now, time.time())
            if found is not None:
                return found
        return self.attempts.first(asked, now)

    @contextmanager
    def waiting(self, attempt: Attempt, exchange: Exchange) -> Generator[Visit]:
        """A client waits for an attempt. Say ``answered`` once it has its answer in full."""
        visit = Visit()
        attempt.waiters.add(exchange)
        try:
            yield visit
        finally:
            attempt.waiters.discard(exchange)
            now = anyio.current_time()
            self.attempts.left(attempt, answered=visit.answered, now=now)
            self._let_go(attempt)

    # The task that answers it

    def check_content(self, attempt: Attempt, task: TextInference | Mapping[str, Any]) -> None:
        """Refuse another content under the same ``Idempotency-Key``.

        Raises:
            GatewayRefusal: it is another, or it cannot be written down.
        """
        content = _content_of(task if isinstance(task, Mapping) else task.to_wire())
        if attempt.content and attempt.content != content:
            raise another_request()
        attempt.content = content

    async def work_of(
        self, attempt: Attempt, caller: GatewayCaller, asker: Asker, start: Start
    ) -> Work:
        """The task of an attempt: the one that runs or ran, or a new one.

        Raises:
            GatewayRefusal: a limit is reached, or the gateway drains.
            RunwareError: what starting it raises.
        """
        while True:
            work = attempt.work
            if work is None or self._is_over(work):
                if attempt.starting is not None:
                    await attempt.starting.wait()
                    continue
                work = await self._start(attempt, caller, asker, start)
            asker.repeatable = self.joins
            return work

    def _is_over(self, work: Work) -> bool:
        """Whether the next try of the same request is to start a task."""
        if not work.done:
            return False
        error = work.error
        # With a journal it knows best what the next use of a key means: a result or a verdict is
        # told again, anything else is asked for.
        return self.joins or (error is not None and error.safe_to_resend)

    async def _start(
        self, attempt: Attempt, caller: GatewayCaller, asker: Asker, start: Start
    ) -> Work:
        if self.draining:
            raise GatewayRefusal(
                *(503, "api_error", "this gateway is about to end: ask again"),
                should_retry=True,
                retry_after=0.2,
            )
        attempt.starting = anyio.Event()
        use = self.use_of(caller)
        try:
            counted = await self._enter(use, attempt)
            try:
                await self.turns.take(caller.name)
                try:
                    await self._check_waited_for(attempt)
                    attempt.work = await start(self._more(attempt, caller, asker))
                    attempt.begun = True
                except BaseException:
                    self.turns.give()
                    raise
            except BaseException:
                use.leave(uncounted=counted)
                raise
            return attempt.work
        finally:
            attempt.starting.set()
            attempt.starting = None

    async def _check_waited_for(self, attempt: Attempt) -> None:
        """Begin nothing for those who have left: until it begins no other process knows of it, and
        one may have answered their retry.

        Raises:
            GatewayRefusal: nobody waits for it any more. It is forgotten.
        """
        for waiter in tuple(attempt.waiters):
            await waiter.look()
        if attempt.waiters and not attempt.waited_for:
            self.attempts.forget(attempt)
            raise GatewayRefusal(
                *(499, "invalid_request_error", "its client left before it began"),
                should_retry=True,
            )

    async def _enter(self, use: CallerUse, attempt: Attempt) -> bool:
        """See that a task is within the limits of its caller; whether its rate counts it."""
        journal, caller = self.client.journal, use.caller
        if journal is not None and caller.budget is not None and not attempt.begun:
            use.recorded[journal] = await journal.tallies.read(_tally_of(caller.name))
        try:
            # What was begun before is only asked for now, which costs nothing and needs no leave.
            use.enter(None if attempt.begun else anyio.current_time())
            return not attempt.begun
        except GatewayRefusal:
            heads = () if journal is None else await journal.lookup.heads(attempt.key)
            if not any(
                head.key == attempt.key and head.state is not EntryState.FAILED for head in heads
            ):
                raise
            use.enter(None)  # An earlier process had begun it.
            return False

    def _more(self, attempt: Attempt, caller: GatewayCaller, asker: Asker) -> dict[str, Any]:
        timeout = self.options.timeout if caller.timeout is None else caller.timeout
        return {
            "timeout": timeout,
            "key": attempt.key if self.joins else None,
            "metadata": {"caller": caller.name, "request_id": asker.request_id},
        }

    async def whole(
        self,
        task: TextInference | Mapping[str, Any],
        attempt: Attempt,
        caller: GatewayCaller,
        asker: Asker,
    ) -> Work:
        """The task of an attempt whose answer is read as a whole. Raises as :meth:`work_of`."""

        async def start(more: dict[str, Any]) -> Work:
            self._check_uuid(task, caller)
            handle = await self.client.submit(task, **more)
            return PlainWork(handle, lambda work: self._ended(attempt, work, caller, task))

        return await self.work_of(attempt, caller, asker, start)

    async def streamed(
        self,
        task: TextInference | Mapping[str, Any],
        attempt: Attempt,
        caller: GatewayCaller,
        asker: Asker,
    ) -> Work:
        """The same, read as it is generated."""

        async def start(more: dict[str, Any]) -> Work:
            self._check_uuid(task, caller)
            stream = self.client.stream(task, **more)
            # Entered and never left: leaving would give the task up, which its next reader wants.
            await stream.__aenter__()
            handle = stream.handle
            assert handle is not None
            return StreamWork(stream, handle, lambda work: self._ended(attempt, work, caller, task))

        return await self.work_of(attempt, caller, asker, start)

    def _check_uuid(self, task: TextInference | Mapping[str, Any], caller: GatewayCaller) -> None:
        """See that a taskUUID of the caller's own is not that of another caller's task. To the
        client it would be the same one once more, and get the answer that comes late.

        Raises:
            InvalidTask: it is.
        """
        uuid = str(_own(task).get("taskUUID")).lower()
        if self._unanswered.get(uuid, caller.name) != caller.name:
            raise InvalidTask(
                f"taskUUID {uuid} was used before: give every task a new one",
                problems=("taskUUID: used before",),
                task_uuid=uuid,
            )

    def _ended(
        self,
        attempt: Attempt,
        work: Work,
        caller: GatewayCaller,
        task: TextInference | Mapping[str, Any],
    ) -> None:
        """A task ended (called by the client)."""
        self.turns.give()
        use = self.use_of(caller)
        use.leave()
        size = 0
        result = _result_of(work)
        if result is not None and not self.joins:
            use.cost += result.cost or 0.0
            size = len(encode_json(result.raw))
        # With a journal the key says which task it is, and not the taskUUID.
        if work.error is not None and not self.joins and "taskUUID" in _own(task):
            self._unanswered[work.uuid] = caller.name
            while len(self._unanswered) > _MOST_UNANSWERED:
                self._unanswered.popitem(last=False)
        if isinstance(work.error, KeyConflict):
            attempt.content = b""  # What an earlier process was asked counts.
        if attempt.work is None:
            attempt.work = work  # It ended while it was being started.
        self.attempts.ended(attempt, size)
        self._let_go(attempt)

    def _let_go(self, attempt: Attempt) -> None:
        """What the journal has need not be kept here."""
        work = attempt.work
        if self.joins and work is not None and work.done and not attempt.waiters:
            attempt.work = None


class Visit:
    """``answered``: whether the client has its answer in full, as far as can be seen from here."""

    __slots__ = ("answered",)

    def __init__(self) -> None:
        self.answered = False


def _own(task: TextInference | Mapping[str, Any]) -> Mapping[str, Any]:
    """A task in Runware's own shape, as it was given; of another shape nothing."""
    return task if isinstance(task, Mapping) else {}


def _content_of(task: Mapping[str, Any]) -> bytes:
    """What a task asks for, as a digest.

    Raises:
        GatewayRefusal: it cannot be written down.
    """
    # Where it is there, we may have put it there, as long as the caller has a budget.
    asked = {name: value for name, value in task.items() if name != PRICE}
    try:
        return content_digest(encode_json(asked))
    except (TypeError, ValueError):
        raise GatewayRefusal(
            400, "invalid_request_error", "the request is nested too deeply"
        ) from None


def _tally_of(caller: str) -> str:
    """The key under which a journal has what a caller has spent."""
    return f"gateway-spent/{caller}"


def _result_of(work: Work) -> Result | None:
    return None if work.error is not None else work.outcome()
