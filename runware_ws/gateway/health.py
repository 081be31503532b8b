"""Health, metrics, and the models that can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from runware_ws.errors import ConfigurationError
from runware_ws.gateway.exchange import Exchange
from runware_ws.messages import DEFAULT_MODEL, is_haiku

if TYPE_CHECKING:
    from starlette.requests import Request

    from runware_ws import Client
    from runware_ws.gateway.gateway import Gateway

__all__ = ["HealthRoutes"]


_MODEL = {
    "type": "model",
    "id": DEFAULT_MODEL,
    "display_name": "Claude Haiku 4.5",
    "created_at": "2025-10-15T00:00:00Z",
}


class HealthRoutes:
    """Routes that run nothing. Those of health and metrics need no key: they tell nothing of
    callers, requests or answers."""

    def __init__(self, gateway: Gateway, batch_client: Client | None = None) -> None:
        self._gateway = gateway
        self._clients = {"gateway": gateway.client}
        if batch_client is not None:
            self._clients["batches"] = batch_client
        self._registry: Any = None

    async def live(self, _: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """There is an authenticated connection to Runware, and new tasks are taken."""
        state = self._state()
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    def _state(self) -> str:
        client, journal = self._gateway.client, self._gateway.client.journal
        if self._gateway.draining:
            return "draining"
        try:
            state = client.stats().state
        except ConfigurationError:
            return "not started"
        if state == "ready" and journal is not None and not journal.usable:
            return "no journal"
        return state

    async def models(self, request: Request) -> Response:
        """The list of models, in the Messages shape."""
        return self._told(
            request,
            {
                "data": [_MODEL],
                "has_more": False,
                "first_id": DEFAULT_MODEL,
                "last_id": DEFAULT_MODEL,
            },
        )

    async def model(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["name"]
        return self._told(request, {**_MODEL, "id": name} if is_haiku(name) else None)

    def _told(self, request: Request, found: Mapping[str, Any] | None) -> Response:
        """For those whom we know. ``found`` is ``None``: there is no such model."""
        exchange = Exchange.of(request)
        exchange.caller(self._gateway.callers)
        if found is None:
            raise HTTPException(404)
        return JSONResponse(found, headers={"request-id": exchange.request_id})

    async def metrics(self, _: Request) -> Response:
        """The client's counts and the gateway's, for Prometheus."""
        try:
            from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
        except ModuleNotFoundError:
            return PlainTextResponse(
                "metrics need an extra: pip install 'runware-ws[prometheus]'\n", 501
            )
        if self._registry is None:
            self._registry = _registry_of(self._gateway, self._clients)
        return Response(
            generate_latest(self._registry), headers={"content-type": CONTENT_TYPE_LATEST}
        )


def _registry_of(gateway: Gateway, clients: Mapping[str, Client]) -> Any:
    from prometheus_client import CollectorRegistry, Gauge

    from runware_ws.telemetry.prometheus import ClientCollector

    registry = CollectorRegistry()
    registry.register(ClientCollector(**clients))
    gauges = (
        ("running", "Tasks that run, or whose turn it is.", lambda: gateway.turns.running),
        ("waiting", "Requests that wait for their turn.", lambda: gateway.turns.waiting),
        ("remembered", "Requests that a retry could join.", lambda: len(gateway.attempts)),
    )
    for name, text, read in gauges:
        gauge = Gauge(f"runware_ws_gateway_{name}", text, registry=registry)
        gauge.set_function(read)
    return registry
