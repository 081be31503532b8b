"""For the published clients: nothing may leave this machine."""

from __future__ import annotations

import socket
from typing import Any

__all__ = ["only"]

_LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})


def only() -> None:
    """Refuse name look-ups and connections that are not loopback.

    An audit hook would do it more strictly, but is called so often that it would be measured too.
    """
    look_up = socket.getaddrinfo
    connect = socket.socket.connect

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if host not in _LOCAL:
            raise OSError("benchmarks use loopback only")
        return look_up(host, *args, **options)

    def connect_local(self: Any, address: Any) -> None:
        # A socket of the file system is local.
        if self.family != socket.AF_UNIX and address[0] not in _LOCAL:
            raise OSError("benchmarks use loopback only")
        connect(self, address)

    socket.getaddrinfo = getaddrinfo
    setattr(socket.socket, "connect", connect_local)  # noqa: B010 - a method of a class
