"""HTTP as uvicorn speaks it, with bounds on the head of a request: its size, and its time."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from runware_ws.gateway.exchange import GONE

__all__ = ["HEAD_BYTES", "http_protocol"]

HEAD_TIMEOUT = 10.0
"""A request's head must come within so many seconds, from the connection or its first byte on."""

HEAD_BYTES = 64 * 1024

LEFT = 4
"""So many times the connections that may be open, requests may run, their clients gone or not."""

if TYPE_CHECKING:

    class _Uvicorns:
        """What the mixins use of the protocol that they stand before."""

        app_state: Any
        connections: set[Any]
        cycle: Any
        loop: Any
        tasks: set[Any]
        transport: Any

        def connection_made(self, transport: Any) -> None: ...
        def connection_lost(self, exc: Exception | None) -> None: ...
        def data_received(self, data: bytes) -> None: ...
        def on_headers_complete(self) -> None: ...
        def on_body(self, body: bytes) -> None: ...
        def on_message_complete(self) -> None: ...
        def send_400_response(self, msg: str) -> None: ...

else:
    _Uvicorns = object


class _Gathering:
    """A transport that sends what is written in one turn of the event loop as one: the head of an
    answer and its body. Each call of the system costs more than all else that is done here."""

    def __init__(self, transport: Any, loop: Any) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held and not self._transport.is_closing():  # Its client may have left within this turn.
            self._transport.write(b"".join(held))


class _CountedConnections(_Uvicorns):
    """Uvicorn's limit is one of requests, too. So many whose clients have left, and whose tasks go
    on, would have it refuse everybody, who asks for its health among them. Of those more are kept.
    """

    _most: int | None = None

    @property
    def limit_concurrency(self) -> int | None:
        """The limit if it is reached, so that a request is refused; otherwise ``None``."""
        most = self._most
        if most is None or (len(self.connections) < most and len(self.tasks) < LEFT * most):
            return None
        return most

    @limit_concurrency.setter
    def limit_concurrency(self, most: int | None) -> None:
        self._most = most


class _TimedHead(_Uvicorns):
    """Uvicorn waits for the head of a first request without end."""

    _head_timer: Any = None

    def connection_made(self, transport: Any) -> None:
        # A route learns at once, and without a wait, that its client has gone.
        self.app_state = {**self.app_state, GONE: transport.is_closing}
        super().connection_made(_Gathering(transport, self.loop))
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        # ``None`` until the first request.
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._unwatch_head()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self._too_late)

    def _unwatch_head(self) -> None:
        timer, self._head_timer = self._head_timer, None
        if timer is not None:
            timer.cancel()

    def _too_late(self) -> None:
        self._head_timer = None
        self.transport.close()


class _BoundedHead(_Uvicorns):
    """Httptools takes a head, and what may follow a body, of any size.

    Counted is what came since the last sign of a whole head, a part of a body or its end.
    """

    _pending = 0
    _got_on = False

    def data_received(self, data: bytes) -> None:
        self._got_on = False
        super().data_received(data)
        self._pending = 0 if self._got_on else self._pending + len(data)
        if self._pending > HEAD_BYTES and not self.transport.is_closing():
            cycle = self.cycle
            if cycle is None or cycle.response_complete:
                self.send_400_response("The head of the request is too large.")
            else:
                self.transport.close()

    def on_headers_complete(self) -> None:
        self._got_on = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._got_on = True
        super().on_message_complete()


class _H11(_CountedConnections, _TimedHead, H11Protocol):
    """In Python: h11 has a bound of its own."""


def http_protocol(*, httptools: bool | None = None) -> type[Any]:
    """A protocol for uvicorn. ``httptools``: parsed by that, in C; ``None``: if it is installed."""
    if not (find_spec("httptools") is not None if httptools is None else httptools):
        return _H11
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from runware_ws.gateway.offers import NoOffers

    class _HttpTools(_CountedConnections, _TimedHead, _BoundedHead, NoOffers, HttpToolsProtocol):
        """In C."""

    return _HttpTools
