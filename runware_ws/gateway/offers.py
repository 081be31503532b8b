"""Requests that offer to go on in another protocol, as Java's client does with its first one.

No offer is taken here, and then a request means what it means without it. But httptools hands out
the head alone, and takes what follows for the other protocol: a body would be lost, or be read as
the next request.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httptools

__all__ = ["NoOffers"]

if TYPE_CHECKING:

    class _OverHttptools:
        """What the mixin uses of the protocol that it stands before."""

        parser: Any
        scope: Any
        url: bytes

        def __init__(self, *args: Any, **options: Any) -> None: ...
        def on_headers_complete(self) -> None: ...
        def on_message_complete(self) -> None: ...

else:
    _OverHttptools = object


class NoOffers(_OverHttptools):
    """A protocol of uvicorn's over httptools that reads such a request once more, without its
    offer."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.parser = _Parser(self)
        with suppress(AttributeError):  # As uvicorn does; older versions do not have it.
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def on_headers_complete(self) -> None:
        if not self.parser.offered:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.offered:
            super().on_message_complete()

    def head_without_offer(self) -> bytes:
        """The head that was read last, as it would be without its offer."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version)]
        lines += [
            b"%s: %s\r\n" % header for header in self.scope["headers"] if header[0] != b"upgrade"
        ]
        return b"".join([*lines, b"\r\n"])


class _Parser(httptools.HttpRequestParser):
    def __init__(self, protocol: NoOffers) -> None:
        super().__init__(protocol)
        self._protocol = protocol

    @property
    def offered(self) -> bool:
        """Whether the request is to be read once more."""
        return self.should_upgrade() and self.get_method() != b"CONNECT"

    def feed_data(self, data: Any) -> None:
        while True:
            try:
                super().feed_data(data)
                return
            except httptools.HttpParserUpgrade as exc:
                if not self.offered:
                    raise
                data = self._protocol.head_without_offer() + data[exc.args[0] :]
