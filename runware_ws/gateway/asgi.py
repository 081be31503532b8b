"""``app``: a gateway as an ASGI application, to be served or to be mounted in another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from runware_ws._checks import shown
from runware_ws.errors import ConfigurationError
from runware_ws.gateway.batches import Batches
from runware_ws.gateway.batches_route import batch_routes
from runware_ws.gateway.callers import Callers
from runware_ws.gateway.error_table import ErrorReply, GatewayRefusal
from runware_ws.gateway.exchange import new_request_id
from runware_ws.gateway.gateway import Gateway
from runware_ws.gateway.health import HealthRoutes
from runware_ws.gateway.messages_route import MessagesRoute
from runware_ws.gateway.native import NativeRoute
from runware_ws.gateway.options import GatewayOptions, GatewaySettings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from runware_ws import Client

__all__ = ["app", "batches_of_app", "gateway_of", "take_callers"]


def app(
    client: Client,
    callers: Callers | None = None,
    *,
    batch_client: Client | None = None,
    **options: Unpack[GatewaySettings],
) -> Starlette:
    """A gateway over ``client``, as an ASGI application. It runs on asyncio and trio.

    The client is yours: start it before the first request, close it after the last one. Give it a
    journal, so that retries find their tasks after a crash, too. The application has no lifespan
    of its own, so it can be mounted: ``other.mount("/runware", app(client))``.

    Args:
        client: carries all tasks. It must run in the event loop that serves the application.
        callers: who may ask; ``None``: anybody, and each key is a caller of its own.
        batch_client: carries the lines of batches, and has the journal that they live in; it is
            yours, too. ``None``: ``client``.
        options: single fields of :class:`GatewayOptions`, e.g. ``max_running=500``.

    Raises:
        ConfigurationError: an option is unknown or bad, or ``callers`` are none.
    """
    gateway = Gateway(client, _checked(callers), GatewayOptions.build(options))
    of_batches = gateway if batch_client is None else gateway.over(batch_client)
    health = HealthRoutes(gateway, batch_client)
    batches = Batches(of_batches)
    application = Starlette(
        routes=[
            Route("/v1/messages", MessagesRoute(gateway), methods=["POST"]),
            *batch_routes(of_batches, batches),
            Route("/v1", NativeRoute(gateway), methods=["POST"]),
            Route("/v1/models", health.models),
            Route("/v1/models/{name:path}", health.model),
            Route("/health/live", health.live),
            Route("/health/ready", health.ready),
            Route("/metrics", health.metrics),
        ],
        exception_handlers={HTTPException: _http_error, GatewayRefusal: _refusal},
    )
    # A redirection would name the place as it is seen from here, which is not how clients see it.
    application.router.redirect_slashes = False
    application.state.gateway = gateway
    application.state.of_batches = of_batches
    application.state.batches = batches
    return application


def _checked(callers: Any) -> Callers:
    if callers is None:
        return Callers()
    if not isinstance(callers, Callers):
        raise ConfigurationError(
            f"callers must be Callers, not {shown(callers)}: Callers.read(PATH) reads a file"
        )
    return callers


def gateway_of(application: Starlette) -> Gateway:
    """What stands behind an application that :func:`app` made: to say that it is ``draining``."""
    gateway = application.state.gateway
    assert isinstance(gateway, Gateway)
    return gateway


def take_callers(application: Starlette, callers: Callers) -> None:
    """Those who may ask from now on. What runs goes on, and counts for who is still there."""
    gateway = gateway_of(application)
    gateway.callers.replace(callers)
    for each in (gateway, application.state.of_batches):
        each.keep_tallies()


def batches_of_app(application: Starlette) -> Batches:
    """The batches of such an application: to go on with them at its start, and to leave them."""
    batches = application.state.batches
    assert isinstance(batches, Batches)
    return batches


async def _http_error(request: Request, error: Exception) -> Response:
    """An unknown path, or a method that it does not have, in the words of the Messages shape."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        reply = ErrorReply(404, "not_found_error", f"there is nothing at {path}", False)
    else:
        words = f"{request.method} cannot be used at {path}"
        reply = ErrorReply(error.status_code, "invalid_request_error", words, False)
    return _reply(reply, dict(error.headers or {}))


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayRefusal)
    return _reply(error.reply, {})


def _reply(reply: ErrorReply, headers: dict[str, str]) -> Response:
    request_id = new_request_id()
    headers |= {**reply.headers(), "request-id": request_id}
    return JSONResponse(reply.envelope(request_id), reply.status, headers)
