"""A pooler in front of PostgreSQL, as PgBouncer is one: connections of the server's, lent out.

In ``transaction`` mode a client has one from the first byte of a transaction to its end, in
``session`` mode from its first transaction until it leaves. The one that came back last is lent
first; with ``fair`` the one that has waited longest.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

__all__ = ["Pooler"]


class Pooler:
    """Listens beside the socket at ``server``; ``url(...)`` leads to it.

    ``tells``: clients get the number of the first server process, and not one of the pooler's own.
    """

    def __init__(self, server: Path, *, mode: str, fair: bool = False, tells: bool = False) -> None:
        self._server = str(server / ".s.PGSQL.5432")
        self.mode = mode
        self.fair = fair
        self.tells = tells
        self._folder = tempfile.TemporaryDirectory(prefix="rwpool", dir="/tmp")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self._folder.name}/.s.PGSQL.5432")
        self._listener.listen()
        self._idle: list[Lent] = []
        self._all: list[socket.socket] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def url(self, url: str) -> str:
        """``url``, through the pooler."""
        return f"{url.partition('?')[0]}?host={quote(self._folder.name, safe='')}"

    def fill(self, url: str, count: int) -> None:
        """Have at least so many connections."""
        import psycopg

        with contextlib.ExitStack() as stack:
            for _ in range(count):
                db = stack.enter_context(psycopg.connect(self.url(url)))
                db.execute("SELECT 1")  # In a transaction, so none is lent twice.

    def close(self) -> None:
        # A thread in accept() is not woken by close().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for each in self._all:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._folder.cleanup()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._all.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        lent: Lent | None = None
        try:
            hello = read_hello(client)
            lent = self._lend(hello)
            greeting = lent.greeting(tells=self.tells)
            if self.mode == "transaction":
                self._give_back(lent)
                lent = None
            client.sendall(greeting)
            while True:
                kind, body = read_message(client)
                if kind == b"X":
                    return
                lent = lent or self._lend(hello)
                lent.socket.sendall(kind + body)
                if kind not in (b"Q", b"S"):
                    continue
                ready, idle = lent.relay(client)
                # First: who hears that it is over may ask at once for what is idle.
                if idle and self.mode == "transaction":
                    self._give_back(lent)
                    lent = None
                client.sendall(ready)
        except (OSError, EOFError):
            if lent is not None:  # Left in the midst of it.
                lent.socket.close()
                lent = None
        finally:
            if lent is not None:
                self._give_back(lent)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _lend(self, hello: bytes) -> Lent:
        with self._lock:
            if self._idle:
                return self._idle.pop(0 if self.fair else -1)
        lent = Lent(self._server, hello)
        self._all.append(lent.socket)
        return lent

    def _give_back(self, lent: Lent) -> None:
        with self._lock:
            self._idle.append(lent)


class Lent:
    """One connection to the server."""

    def __init__(self, path: str, hello: bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.sendall(hello)
        self._greeting: list[tuple[bytes, bytes]] = []
        while not self._greeting or self._greeting[-1][0] != b"Z":
            self._greeting.append(read_message(self.socket))

    def greeting(self, *, tells: bool) -> bytes:
        """What a client is told when it comes: who serves it is the pooler's secret."""
        own = struct.pack("!III", 12, 4242, 1)
        return b"".join(
            kind + (own if kind == b"K" and not tells else body) for kind, body in self._greeting
        )

    def relay(self, client: socket.socket) -> tuple[bytes, bool]:
        """Hand on answers until the server is ready: its last message, which is not handed on, and
        whether no transaction is open then."""
        while True:
            kind, body = read_message(self.socket)
            if kind == b"Z":
                return kind + body, body[4:] == b"I"
            client.sendall(kind + body)


def read_hello(client: socket.socket) -> bytes:
    while True:
        size = exactly(client, 4)
        rest = exactly(client, struct.unpack("!I", size)[0] - 4)
        if rest[:4] == struct.pack("!I", 196608):  # version 3.0
            return size + rest
        client.sendall(b"N")  # no TLS, no GSS


def read_message(peer: socket.socket) -> tuple[bytes, bytes]:
    """Its kind; its length and the rest."""
    kind, size = exactly(peer, 1), exactly(peer, 4)
    return kind, size + exactly(peer, struct.unpack("!I", size)[0] - 4)


def exactly(peer: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        more = peer.recv(count - len(got))
        if not more:
            raise EOFError
        got += more
    return got
