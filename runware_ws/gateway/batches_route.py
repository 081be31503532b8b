"""``/v1/messages/batches``: made, looked at, listed, canceled, deleted, and their results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.datastructures import URL, QueryParams
from starlette.routing import Route

from runware_ws.errors import RunwareError
from runware_ws.gateway.error_table import GatewayRefusal
from runware_ws.gateway.exchange import Exchange, answering
from runware_ws.models.jsonable import encode_json, is_array, is_object

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from runware_ws.gateway.batch_record import Batch
    from runware_ws.gateway.batches import Batches
    from runware_ws.gateway.callers import GatewayCaller
    from runware_ws.gateway.gateway import Gateway

__all__ = ["batch_routes"]

_PATH = "/v1/messages/batches"
_MOST_LISTED = 1_000
_LONGEST_ID = 64

Answer = Callable[[Exchange, "GatewayCaller", str], Awaitable[None]]


def batch_routes(gateway: Gateway, batches: Batches) -> Sequence[Route]:
    """All routes of batches."""
    answers = _Answers(gateway, batches)

    def route(path: str, **by_method: Answer) -> Route:
        return Route(path, _BatchRoute(gateway, batches, by_method), methods=[*by_method])

    return [
        route(_PATH, GET=answers.list, POST=answers.make),
        route(f"{_PATH}/{{id}}", GET=answers.retrieve, DELETE=answers.delete),
        route(f"{_PATH}/{{id}}/cancel", POST=answers.cancel),
        route(f"{_PATH}/{{id}}/results", GET=answers.results),
    ]


class _BatchRoute:
    """One path."""

    def __init__(self, gateway: Gateway, batches: Batches, by_method: Mapping[str, Answer]) -> None:
        self._gateway = gateway
        self._batches = batches
        # Starlette has HEAD wherever there is GET.
        self._answers = {"HEAD": by_method["GET"], **by_method} if "GET" in by_method else by_method

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        async with answering(exchange):
            try:
                caller = exchange.caller(self._gateway.callers)
                # Where nobody else does it, the first who asks has the others gone on with.
                self._batches.start()
                answer = self._answers[scope["method"]]
                await answer(exchange, caller, scope["path_params"].get("id", ""))
            except RunwareError as exc:
                # Whatever is asked here may be asked again: it makes nothing a second time.
                await exchange.fail(exc, joins=True)


class _Answers:
    """What each of them answers."""

    def __init__(self, gateway: Gateway, batches: Batches) -> None:
        self._gateway = gateway
        self._batches = batches
        self._book = batches.book

    async def make(self, exchange: Exchange, caller: GatewayCaller, _: str) -> None:
        gateway, limits = self._gateway, self._gateway.options
        value = await exchange.json(limits.max_body_bytes, limits.body_timeout)
        requests = _requests(value, limits.max_batch_requests)
        asked = exchange.asked(caller)
        digest = asked.body
        # Not the same as a message with this key, or this body.
        key = None if asked.key is None else f"batch-{asked.key}"
        attempt = await gateway.attempt_of(replace(asked, key=key, body=f"batch-{digest}"))
        with gateway.waiting(attempt, exchange) as visit:
            try:
                batch = await self._book.make(caller.name, attempt.key, digest, requests)
                attempt.begun = True
                self._batches.begin(batch, caller)
                gone = await exchange.look()
                await self._tell(exchange, batch)
                visit.answered = not gone
            except (RunwareError, GatewayRefusal) as exc:
                visit.answered = await exchange.fail(exc, joins=True)

    async def list(self, exchange: Exchange, caller: GatewayCaller, _: str) -> None:
        query = QueryParams(exchange.scope.get("query_string", b""))
        text = query.get("limit", "20")
        limit = int(text) if text.isdecimal() and len(text) < 5 else 0
        if not 1 <= limit <= _MOST_LISTED:
            raise _wrong(f"limit: must be a whole number from 1 to {_MOST_LISTED}")
        after, before = query.get("after_id"), query.get("before_id")
        if after is not None and before is not None:
            raise _wrong("after_id and before_id exclude each other: ask with one of them")
        page, more = await self._book.page(caller.name, limit, after=after, before=before)
        url = _url(exchange)
        await exchange.send_json(
            200,
            {
                "data": [batch.told(url) for batch in page],
                "has_more": more,
                "first_id": page[0].id if page else None,
                "last_id": page[-1].id if page else None,
            },
        )

    async def retrieve(self, exchange: Exchange, caller: GatewayCaller, batch_id: str) -> None:
        await self._tell(exchange, await self._book.find(caller.name, batch_id))

    async def cancel(self, exchange: Exchange, caller: GatewayCaller, batch_id: str) -> None:
        batch = await self._book.cancel(caller.name, batch_id)
        self._batches.cancel(batch)
        await self._tell(exchange, batch)

    async def delete(self, exchange: Exchange, caller: GatewayCaller, batch_id: str) -> None:
        await self._book.delete(caller.name, batch_id)
        await exchange.send_json(200, {"id": batch_id, "type": "message_batch_deleted"})

    async def results(self, exchange: Exchange, caller: GatewayCaller, batch_id: str) -> None:
        batch = await self._book.find(caller.name, batch_id)
        if batch.ended is None:
            raise _wrong(f"{batch.id} has not ended: its results come when it has")
        part, number = await self._book.results(batch, 0)
        await exchange.begin(200, {"content-type": "application/x-jsonl"})
        while number < batch.total:
            await exchange.more(part)
            # If this fails the answer breaks off, and no client takes it for the whole.
            part, number = await self._book.results(batch, number)
        await exchange.more(part, last=True)

    async def _tell(self, exchange: Exchange, batch: Batch) -> None:
        await exchange.send_json(200, batch.told(_url(exchange)))


def _url(exchange: Exchange) -> str:
    """Where batches are, for the client that asks: a proxy that ends TLS says so."""
    url = URL(scope=exchange.scope)
    secure = exchange.headers.get("x-forwarded-proto") == "https"
    root = exchange.scope.get("root_path", "")
    return f"{'https' if secure else url.scheme}://{url.netloc}{root}{_PATH}"


def _wrong(words: str) -> GatewayRefusal:
    return GatewayRefusal(400, "invalid_request_error", words)


def _requests(body: dict[str, Any], most: int) -> list[bytes]:
    """The requests of a batch, a line of JSON each. What is in their ``params`` concerns each of
    them alone, and is looked at when its turn comes.

    Raises:
        GatewayRefusal: they cannot be told apart, or are too many.
    """
    given = body.get("requests")
    if not is_array(given) or not 1 <= len(given) <= most:
        raise _wrong(f"requests: must be an array of 1 to {most} requests")
    seen: set[str] = set()
    requests: list[bytes] = []
    for number, each in enumerate(given):
        place = f"requests.{number}"
        if not is_object(each):
            raise _wrong(f"{place}: must be an object with custom_id and params")
        if not is_object(each.get("params")):
            raise _wrong(f"{place}.params: must be an object")
        name = each.get("custom_id")
        if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_ID:
            raise _wrong(f"{place}.custom_id: must be a text of 1 to {_LONGEST_ID} characters")
        if name in seen:
            raise _wrong(f"{place}.custom_id: {name!r} is there twice: each needs its own")
        seen.add(name)
        try:
            requests.append(encode_json({"custom_id": name, "params": each["params"]}))
        except (TypeError, ValueError, RecursionError):
            raise _wrong(f"{place}.params: is nested too deeply") from None
    return requests
