"""Sessions and what they keep for an absent socket. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from uuid import uuid4

from .timers import Timer
from .units import Envelope, Unit, UnitSource

__all__ = ["Outlet", "Session", "SessionStore", "SessionStream"]


class Outlet(Protocol):
    """The socket of a session, as a session sees it."""

    def detach(self) -> None:
        """Give back what was not delivered, and stop being the session's socket."""
        ...

    def push(self, envelope: Envelope) -> None:
        """Send something on it."""
        ...

    def supersede(self) -> None:
        """Another socket has taken the session."""
        ...


class SessionStream(UnitSource, Protocol):
    """A stream of deltas, as its session sees it."""

    deltas_are_over: bool

    def cut(self, taken_back: int | None) -> None:
        """The socket is gone. ``taken_back``: the first unit that may not have arrived."""
        ...

    def resume(self) -> list[Envelope]:
        """What a resumed session gets at once."""
        ...

    def forget(self) -> None:
        """Nothing of it will be delivered any more."""
        ...


class Session:
    """One authenticated session. It outlives its sockets.

    An HTTP request has one for itself, which nobody can resume.
    """

    __slots__ = (
        "_buffer",
        "elsewhere",
        "expiry",
        "forgotten",
        "key_id",
        "over_http",
        "socket",
        "streams",
        "uuid",
    )

    def __init__(self, uuid: str, key_id: int, *, over_http: bool = False) -> None:
        self.uuid = uuid
        self.key_id = key_id
        self.over_http = over_http
        self.streams: dict[SessionStream, None] = {}
        self.socket: Outlet | None = None
        self.expiry: Timer | None = None
        self.forgotten = False
        self.elsewhere = False  # until it is resumed, somebody else gets what it would keep
        self._buffer: list[Unit] = []

    @property
    def buffered(self) -> int:
        """How many items wait for a socket."""
        return len(self._buffer)

    def keep(self, units: Iterable[Unit]) -> None:
        """Buffer items."""
        self._buffer.extend(units)

    def take(self, most: int | None = None) -> list[Unit]:
        """Take up to ``most`` buffered items, oldest first. ``None``: all."""
        end = len(self._buffer) if most is None else most
        taken, self._buffer = self._buffer[:end], self._buffer[end:]
        return taken


class SessionStore:
    """The sessions that can be resumed."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def create(self, key_id: int) -> Session:
        """A new session.

        Its UUID is truly random, not from the seed: a restarted emulator must never hand out
        a UUID that a client still holds from before.
        """
        session = Session(str(uuid4()), key_id)
        self._sessions[session.uuid] = session
        return session

    def find(self, uuid: object, key_id: int) -> Session | None:
        """The session of this key with this UUID, or ``None``. A foreign one is not found."""
        session = self._sessions.get(uuid) if isinstance(uuid, str) else None
        return session if session is not None and session.key_id == key_id else None

    def rename(self, session: Session) -> None:
        """Give a session another UUID: nothing else of it changes."""
        del self._sessions[session.uuid]
        session.uuid = str(uuid4())
        self._sessions[session.uuid] = session

    def forget(self, session: Session) -> int:
        """Drop a session. Returns the number of buffered items that go with it."""
        self._sessions.pop(session.uuid, None)
        session.forgotten = True
        for stream in list(session.streams):
            stream.forget()
        return len(session.take())

    def all(self) -> list[Session]:
        """All sessions that can be resumed."""
        return list(self._sessions.values())
