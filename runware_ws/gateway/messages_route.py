"""``POST /v1/messages``: the Messages shape, plain and streamed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from runware_ws.errors import RunwareError
from runware_ws.gateway.error_table import ErrorReply, GatewayRefusal
from runware_ws.gateway.exchange import Exchange, answering
from runware_ws.gateway.streaming import StreamFeed, send_stream
from runware_ws.messages import DEFAULT_MODEL, to_message
from runware_ws.messages.events import EventBuilder
from runware_ws.messages.reading import Reading
from runware_ws.messages.request import read_request
from runware_ws.models.jsonable import encode_json

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from runware_ws import Delta, Result, TextInference
    from runware_ws.gateway.attempts import Attempt
    from runware_ws.gateway.callers import GatewayCaller
    from runware_ws.gateway.gateway import Gateway
    from runware_ws.gateway.works import Work

__all__ = ["MessagesRoute", "Translated", "translate"]

_BETA = "anthropic-beta"
"""Never refused: many programs send it with each request, needed or not."""


@dataclass(frozen=True, slots=True)
class Translated:
    """A request of the Messages shape as a task. ``dropped``: what was left out of it."""

    task: TextInference
    model: str
    stream: bool
    dropped: tuple[str, ...]


def translate(body: Mapping[str, Any], gateway: Gateway, caller: GatewayCaller) -> Translated:
    """Read a request of the Messages shape.

    Raises:
        InvalidTask: it is wrong, or Runware cannot take it; each place is named.
    """
    options = gateway.options
    reading = Reading(drop=(caller.unsupported or options.unsupported) == "drop")
    task = read_request(reading, body, include_cost=True, delivery=options.delivery)
    stream = body.get("stream") is True
    model = body.get("model")
    return Translated(
        task, model if isinstance(model, str) else DEFAULT_MODEL, stream, tuple(reading.dropped)
    )


class MessagesRoute:
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
        body = await exchange.json(limits.max_body_bytes, limits.body_timeout)
        translated = translate(body, gateway, caller)
        if _BETA in exchange.headers:
            translated = replace(translated, dropped=(*translated.dropped, _BETA))
        asked = exchange.asked(caller)
        attempt = await gateway.attempt_of(asked)
        with gateway.waiting(attempt, exchange) as visit:
            try:
                if asked.key is not None:
                    gateway.check_content(attempt, translated.task)
                if translated.stream:
                    find = partial(gateway.streamed, translated.task, attempt, caller, exchange)
                    source = _MessageEvents(find, translated)
                    visit.answered = await send_stream(
                        exchange, gateway.options, source, attempt, joins=gateway.joins
                    )
                else:
                    visit.answered = await self._plain(exchange, attempt, caller, translated)
            except (RunwareError, GatewayRefusal) as exc:
                visit.answered = await exchange.fail(exc, joins=gateway.joins)

    async def _plain(
        self, exchange: Exchange, attempt: Attempt, caller: GatewayCaller, translated: Translated
    ) -> bool:
        work = await self._gateway.whole(translated.task, attempt, caller, exchange)
        result = await work.result()
        gone = await exchange.look()
        message = to_message(result, translated.model)
        await exchange.send_json(200, message, _headers_of(result, translated))
        return not gone


def _headers_of(result: Result, translated: Translated) -> dict[str, str]:
    headers = {
        "runware-task-uuid": result.task_uuid,
        "runware-recovered-by": result.recovered_by.value,
        **_dropped(translated),
    }
    if result.cost is not None:
        headers["runware-cost"] = f"{result.cost:.10g}"
    return headers


def _dropped(translated: Translated) -> dict[str, str]:
    if not translated.dropped:
        return {}
    return {"runware-dropped": ", ".join(translated.dropped)}


class _MessageEvents(StreamFeed):
    """The events of one message; see :class:`runware_ws.gateway.streaming.EventSource`."""

    ping = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(self, find: Callable[[], Awaitable[Work]], translated: Translated) -> None:
        super().__init__(find, _dropped(translated))
        self._model = translated.model
        self._builder: EventBuilder | None = None

    def part(self, delta: Delta | None) -> bytes:
        if self._builder is None:
            self._builder = EventBuilder(self.work.uuid, self._model)
        events = self._builder.finish() if delta is None else self._builder.feed(delta)
        return b"".join(_written(event["type"], event) for event in events)

    def failure(self, reply: ErrorReply, request_id: str) -> bytes:
        return _written("error", reply.envelope(request_id))


def _written(name: str, data: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode_json(data))
