"""Health, metrics, and the models that can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from runware_ws.gateway.exchange import Exchange
from runware_ws.messages import DEFAULT_MODEL, is_haiku

if TYPE_CHECKING:
    from starlette.requests import Request

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

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._registry: Any = None

    async def live(self, _: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """There is an authenticated connection to Runware, and new tasks are taken."""
        stats = self._gateway.client.stats()
        ready = stats.state == "ready" and not self._gateway.draining
        word = "draining" if self._gateway.draining else stats.state
        return JSONResponse({"status": word}, 200 if ready else 503)

    async def models(self, request: Request) -> Response:
        """The list of models, in the Messages shape."""
        Exchange.of(request).caller(self._gateway.callers)
        return JSONResponse(
            {
                "data": [_MODEL],
                "has_more": False,
                "first_id": DEFAULT_MODEL,
                "last_id": DEFAULT_MODEL,
            }
        )

    async def model(self, request: Request) -> Response:
        """One of them."""
        Exchange.of(request).caller(self._gateway.callers)
        name = request.path_params["name"]
        if not is_haiku(name):
            raise HTTPException(404)
        return JSONResponse({**_MODEL, "id": name})

    async def metrics(self, _: Request) -> Response:
        """The client's counts and the gateway's, for Prometheus."""
        try:
            from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
        except ModuleNotFoundError:
            return PlainTextResponse(
                "metrics need an extra: pip install 'runware-ws[prometheus]'\n", 501
            )
        if self._registry is None:
            self._registry = _registry_of(self._gateway)
        return Response(
            generate_latest(self._registry), headers={"content-type": CONTENT_TYPE_LATEST}
        )


def _registry_of(gateway: Gateway) -> Any:
    from prometheus_client import CollectorRegistry, Gauge

    from runware_ws.telemetry.prometheus import ClientCollector

    registry = CollectorRegistry()
    registry.register(ClientCollector(gateway=gateway.client))
    gauges = (
        ("running", "Tasks that run, or whose turn it is.", lambda: gateway.turns.running),
        ("waiting", "Requests that wait for their turn.", lambda: gateway.turns.waiting),
        ("remembered", "Requests that a retry could join.", lambda: len(gateway.attempts)),
    )
    for name, text, read in gauges:
        gauge = Gauge(f"runware_ws_gateway_{name}", text, registry=registry)
        gauge.set_function(read)
    return registry
