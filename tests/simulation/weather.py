"""The state of the network and of the server's door at this moment. Faults change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from runware_ws.classify import Loss

__all__ = ["Weather"]


@dataclass(slots=True)
class Weather:
    """All calm by default. Counts, not flags, where two faults may overlap."""

    refusal: Loss | None = None
    """Dials end so."""
    hanging: int = 0
    """Dials never end."""
    lag_up: float = 0.0
    """Seconds that messages to the server take longer."""
    lag_down: float = 0.0
    lag_resend: float = 0.0
    """As ``lag_up``, for the next task that is sent again."""
    stalled: int = 0
    """The client's sends do not get away."""
    unread: int = 0
    """The server stalls: it reads nothing."""
    questions_fail: dict[str, str] = field(default_factory=dict[str, str])
    """By their kind: with this code."""
    archive_denies: int = 0
    mute_pong: int = 0
    mute_auth: int = 0
    key_refused: int = 0
    auth_busy: int = 0
    """Authentication is answered with an error of the server's load."""
    key_broken: int = 0
    """The function that fetches the key raises."""
    key_cancelled: int = 0
    """It ends with a cancellation of its own."""
    key_hangs: int = 0
    """It never returns."""
    unreachable: int = 0
    """Posts are refused before a byte of them is sent."""
    status: int | None = None
    """Posts are answered with this HTTP status, and a Retry-After of ``retry_after`` seconds."""
    retry_after: float | None = None
    silent: int = 0
    """Posts get no answer: what is said waits."""
    traps: list[str] = field(default_factory=list[str])
    """The socket is cut when this happens next: ``replay``, ``auth``, ``send``, ``question``."""
    ambushes: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """The last of them is called when the next request is delivered, before it is read."""
    causes: list[str] = field(default_factory=list[str])
    """What was said so far that may end a client."""
