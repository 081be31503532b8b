"""Races the addresses of a host under asyncio (RFC 8305, "happy eyeballs").

``loop.create_connection`` tries one address after the other, each until the kernel gives it up: one
that swallows our packets costs two minutes, so the next one is never reached. uvloop cannot race at
all, and anyio does not give its socket away. trio races by itself.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import anyio

__all__ = ["STAGGER", "connected", "winner"]

STAGGER = 0.25
"""Seconds after which the next address is tried as well. RFC 8305 recommends this delay."""

_Address = tuple[int, int, int, Any]  # family, type, protocol, address


async def connected(host: str, port: int) -> socket.socket:
    """A socket to the first address of ``host`` that answers.

    Raises:
        OSError: the host has no address, or none can be reached.
    """
    addresses = await _addresses(host, port)
    return await _race(addresses)


async def winner(host: str, port: int) -> str:
    """The address of ``host`` that answers first; ``host`` itself where there is no choice.

    Raises:
        OSError: the host has no address, or none can be reached.
    """
    addresses = await _addresses(host, port)
    if len(addresses) < 2:
        return host
    with await _race(addresses) as sock:
        return str(sock.getpeername()[0])


async def _addresses(host: str, port: int) -> list[_Address]:
    """The addresses in the order of the system's preference, the two families in turn."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, list[_Address]] = {}
    for family, kind, protocol, _, address in found:
        families.setdefault(family, []).append((family, kind, protocol, address))
    lists = list(families.values())
    longest = max(map(len, lists), default=0)
    ordered = [some[place] for place in range(longest) for some in lists if place < len(some)]
    if not ordered:
        raise OSError(f"{host} has no address")
    return ordered


async def _race(addresses: list[_Address]) -> socket.socket:
    won: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(address: _Address, failed: anyio.Event) -> None:
        try:
            sock = await _attempt(*address)
        except OSError as exc:
            errors.append(exc)
            failed.set()
        else:
            won.append(sock)
            group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                failed = anyio.Event()
                group.start_soon(attempt, address, failed)
                with anyio.move_on_after(STAGGER):
                    await failed.wait()
    except BaseException:
        for sock in won:
            sock.close()
        raise
    for late in won[1:]:
        late.close()
    if won:
        return won[0]
    if len(errors) == 1:
        raise errors[0]
    # Several are told in one line, and without their tracebacks.
    raise OSError("; ".join(dict.fromkeys(str(error) for error in errors)))


async def _attempt(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        with suppress(OSError):
            sock.close()
        raise
    return sock
