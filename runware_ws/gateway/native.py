"""``POST /v1``: tasks in Runware's own shape, an array at once; or one, as a stream of events."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from runware_ws.errors import InvalidTask, RunwareError, TaskError
from runware_ws.gateway.error_table import (
    ErrorReply,
    GatewayRefusal,
    another_request,
    reply_to,
)
from runware_ws.gateway.exchange import Exchange, answering
from runware_ws.gateway.streaming import StreamFeed, send_stream
from runware_ws.journal.notes import Note
from runware_ws.models.content import NOT_CONTENT
from runware_ws.models.jsonable import encode_json, is_array, is_object

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from runware_ws import Delta
    from runware_ws.gateway.attempts import RequestIdentity
    from runware_ws.gateway.callers import GatewayCaller
    from runware_ws.gateway.gateway import Gateway

__all__ = ["NativeRoute"]

_MOST_TASKS = 1_000
_REFUSED = frozenset(
    {"authentication", "ping", "getresponse", "gettaskdetails", "accountmanagement"}
)
"""About the connection, the account, or tasks that may be another caller's. In small letters:
nobody knows whether Runware minds."""


class NativeRoute:
    """See the top of the module."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        async with answering(exchange):
            await self._serve(exchange)

    async def _serve(self, exchange: Exchange) -> None:
        gateway = self._gateway
        limits = gateway.options
        caller = exchange.caller(gateway.callers)
        tasks = _tasks(await exchange.any_json(limits.max_body_bytes, limits.body_timeout))
        asked = exchange.asked(caller)
        if any(task.get("deliveryMethod") == "stream" for task in tasks):
            if len(tasks) > 1:
                raise GatewayRefusal(
                    400, "invalid_request_error", "a stream must be the only task of its request"
                )
            await self._stream(exchange, caller, asked, tasks[0])
        else:
            await self._whole(exchange, caller, asked, tasks)

    # Whole answers

    async def _whole(
        self,
        exchange: Exchange,
        caller: GatewayCaller,
        asked: RequestIdentity,
        tasks: Sequence[Mapping[str, Any]],
    ) -> None:
        ends = await self._ends(exchange, caller, asked, tasks)
        data = [item for end in ends if not isinstance(end, Exception) for item in end]
        errors: list[dict[str, Any]] = []
        replies: list[ErrorReply] = []
        for task, end in zip(tasks, ends, strict=True):
            if isinstance(end, Exception):
                replies.append(reply_to(end, joins=self._gateway.joins))
                errors.append(_error_of(end, replies[-1], task))
                data += map(dict, end.items) if isinstance(end, TaskError) else ()
        body = {name: value for name, value in (("data", data), ("errors", errors)) if value}
        if replies and not data:
            retry = all(reply.should_retry for reply in replies)
            headers = replace(replies[0], should_retry=retry).headers()
            await exchange.send_json(replies[0].status, body, headers)
        else:
            await exchange.send_json(200, body or {"data": []})

    async def _ends(
        self,
        exchange: Exchange,
        caller: GatewayCaller,
        asked: RequestIdentity,
        tasks: Sequence[Mapping[str, Any]],
    ) -> Sequence[Sequence[dict[str, Any]] | Exception]:
        """How each of the tasks ended."""
        if len(tasks) == 1:
            return [await self._one(exchange, caller, asked, tasks[0])]
        if asked.key is not None:
            try:
                await self._name(exchange, asked, tasks)
            except (RunwareError, GatewayRefusal) as exc:
                return [exc for _ in tasks]
        ends: list[Sequence[dict[str, Any]] | Exception] = [[] for _ in tasks]

        async def one(number: int) -> None:
            one_asked = _numbered(asked, number)
            ends[number] = await self._one(exchange, caller, one_asked, tasks[number])

        async with anyio.create_task_group() as group:
            for number in range(len(tasks)):
                group.start_soon(one, number)
        return ends

    async def _name(
        self, exchange: Exchange, asked: RequestIdentity, tasks: Sequence[Mapping[str, Any]]
    ) -> None:
        """Have an ``Idempotency-Key`` name this array and no other, also for later processes: the
        keys of its tasks alone would not tell a longer array from a shorter one.

        Raises:
            GatewayRefusal: it names another request.
            JournalError: it cannot be recorded.
        """
        gateway = self._gateway
        attempt = await gateway.attempt_of(asked)
        with gateway.waiting(attempt, exchange) as visit:
            gateway.check_content(attempt, {"tasks": [_content(task) for task in tasks]})
            journal = gateway.client.journal
            if journal is not None:
                note = Note(attempt.key, b"array %s" % attempt.content.hex().encode())
                if not await journal.notes.put(note):
                    recorded = await journal.notes.read([note.key])
                    if recorded.get(note.key) != note.content:
                        attempt.content = b""  # What an earlier process was asked counts.
                        raise another_request()
            visit.answered = True

    async def _one(
        self,
        exchange: Exchange,
        caller: GatewayCaller,
        asked: RequestIdentity,
        task: Mapping[str, Any],
    ) -> Sequence[dict[str, Any]] | Exception:
        gateway = self._gateway
        try:
            given = _checked(task, gateway.options.delivery, caller)
            attempt = await gateway.attempt_of(asked)
        except (RunwareError, GatewayRefusal) as exc:
            return exc
        with gateway.waiting(attempt, exchange) as visit:
            try:
                if asked.key is not None:
                    gateway.check_content(attempt, _content(given))
                work = await gateway.whole(given, attempt, caller, exchange)
                result = await work.result()
            except (RunwareError, GatewayRefusal) as exc:
                visit.answered = exchange.settles(reply_to(exc, joins=gateway.joins))
                return exc
            visit.answered = not await exchange.look()
            return result.raw

    # Streams

    async def _stream(
        self,
        exchange: Exchange,
        caller: GatewayCaller,
        asked: RequestIdentity,
        task: Mapping[str, Any],
    ) -> None:
        gateway = self._gateway
        attempt = await gateway.attempt_of(asked)
        with gateway.waiting(attempt, exchange) as visit:
            try:
                given = _checked(task, "stream", caller)
                if asked.key is not None:
                    gateway.check_content(attempt, _content(given))
                source = _TaskEvents(
                    partial(gateway.streamed, given, attempt, caller, exchange), task
                )
                visit.answered = await send_stream(
                    exchange, gateway.options, source, attempt, joins=gateway.joins
                )
            except (RunwareError, GatewayRefusal) as exc:
                reply = reply_to(exc, joins=gateway.joins)
                body = {"errors": [_error_of(exc, reply, task)]}
                await exchange.send_json(reply.status, body, reply.headers())
                visit.answered = exchange.settles(reply)


class _TaskEvents(StreamFeed):
    """The items of one task as events; see :class:`runware_ws.gateway.streaming.EventSource`."""

    ping = b": ping\n\n"

    def __init__(self, find: Any, task: Mapping[str, Any]) -> None:
        super().__init__(find, {})
        self._task = task

    def part(self, delta: Delta | None) -> bytes:
        if delta is None:
            return b"data: [DONE]\n\n"
        output: dict[str, Any] = {"text": delta.text, "reasoningContent": delta.reasoning}
        if delta.tool_calls:
            output["toolCalls"] = [
                {"index": piece.index, "id": piece.id, "name": piece.name,
                 "arguments": piece.arguments}
                for piece in delta.tool_calls
            ]  # fmt: skip
        item = {
            "taskType": self._task.get("taskType"),
            "taskUUID": self.work.uuid,
            "delta": {name: value for name, value in output.items() if value is not None},
            "finishReason": delta.finish_reason,
            "usage": None if delta.usage is None else delta.usage.raw,
            "cost": delta.cost,
        }
        return _event({name: value for name, value in item.items() if value is not None})

    def failure(self, reply: ErrorReply, request_id: str) -> bytes:
        return _event({"errors": [_told(reply, self._task)]})


def _event(data: Any) -> bytes:
    return b"data: %s\n\n" % encode_json(data)


# Tasks and errors


def _tasks(body: Any) -> Sequence[Mapping[str, Any]]:
    if not is_array(body) or not body or not all(is_object(task) for task in body):
        raise GatewayRefusal(
            400, "invalid_request_error", "the body must be an array of tasks, which are objects"
        )
    if len(body) > _MOST_TASKS:
        raise GatewayRefusal(
            400, "invalid_request_error", f"at most {_MOST_TASKS} tasks can be sent at once"
        )
    return body


def _checked(task: Mapping[str, Any], delivery: str, caller: GatewayCaller) -> Mapping[str, Any]:
    kind = task.get("taskType")
    if isinstance(kind, str) and kind.strip().lower() in _REFUSED:
        raise InvalidTask(
            f"taskType: {kind} is not taken: this gateway waits for results itself, "
            "and its callers do not see each other's",
            problems=(f"taskType: {kind} is not taken by a gateway",),
        )
    # A budget is of what results report.
    price = {} if caller.budget is None else {"includeCost": True}
    return {**task, **price, "deliveryMethod": delivery}


def _content(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """What belongs to an ``Idempotency-Key``: a retry may have a taskUUID of its own, and how the
    answer travels is no part of what is asked for."""
    return {name: value for name, value in task.items() if name not in NOT_CONTENT}


def _numbered(asked: RequestIdentity, number: int) -> RequestIdentity:
    """The identity of one task among several."""

    def digest(text: str) -> str:
        return hashlib.sha256(f"{text}/{number}".encode()).hexdigest()

    key = None if asked.key is None else digest(asked.key)
    return replace(asked, key=key, body=digest(asked.body))


def _error_of(error: Exception, reply: ErrorReply, task: Mapping[str, Any]) -> dict[str, Any]:
    """An error in the service's spelling: its own words, or ours."""
    if isinstance(error, TaskError) and error.raw:
        return {**error.raw, "taskUUID": error.task_uuid, "taskType": task.get("taskType")}
    return _told(reply, task)


def _told(reply: ErrorReply, task: Mapping[str, Any]) -> dict[str, Any]:
    details = dict(reply.details or {})
    name: str = details.pop("error", reply.kind)
    uuid = details.pop("task_uuid", None) or task.get("taskUUID")
    told = {
        "code": details.pop("code", None) or name[:1].lower() + name[1:],
        "message": reply.message,
        "taskUUID": uuid,
        "taskType": task.get("taskType"),
        **details,
    }
    return {name: value for name, value in told.items() if value is not None}
