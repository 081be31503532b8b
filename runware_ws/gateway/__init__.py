"""A gateway: one client for a whole host, spoken to in the Messages shape over HTTP.

``app`` makes an ASGI application; ``runware-ws serve`` serves one. What it is for: a request is
never paid for twice, no stream ends in silence, and both survive a restart. ``docs/gateway.md``
has all of it. It needs the extra ``gateway``.
"""

from __future__ import annotations

from runware_ws.errors import ConfigurationError

try:
    import starlette as _starlette
except ModuleNotFoundError as exc:
    if exc.name != "starlette":
        raise
    raise ConfigurationError(
        "runware_ws.gateway needs an extra: pip install 'runware-ws[gateway]'"
    ) from None

from runware_ws.gateway.asgi import app, gateway_of
from runware_ws.gateway.callers import Callers, GatewayCaller, hash_of_key, new_key
from runware_ws.gateway.gateway import Gateway
from runware_ws.gateway.options import GatewayOptions

del _starlette

__all__ = [
    "Callers",
    "Gateway",
    "GatewayCaller",
    "GatewayOptions",
    "app",
    "gateway_of",
    "hash_of_key",
    "new_key",
]
