"""The options of a gateway, frozen, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, TypedDict, get_args

from runware_ws._checks import Check, choice, count, seconds
from runware_ws.errors import ConfigurationError

__all__ = ["GatewayOptions", "GatewaySettings"]

MIB = 1024 * 1024
Unsupported = Literal["error", "drop"]
Delivery = Literal["sync", "async"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """Options of a gateway. Durations are seconds.

    Raises:
        ConfigurationError: a value cannot work; the message names it.
    """

    max_body_bytes: int = 32 * MIB
    """A larger request is refused with 413."""
    body_timeout: float = 30.0
    """How long the body of a request may take to come."""
    max_running: int = 10_000
    """Most tasks at once, of all callers together. Beyond that callers take turns."""
    max_waiting: int = 10_000
    """Most requests that wait for their turn; further ones are told to come again (529)."""
    timeout: float | None = 300.0
    """Limit for a whole task; ``None``: no limit."""
    ping_every: float = 10.0
    """A stream without an event for this long gets a ping."""
    start_within: float = 5.0
    """A stream begins once its first event is there, so that an error gets its own status; but
    after this long in any case."""
    send_timeout: float = 60.0
    """A reader who takes nothing for this long is left. Its task goes on."""
    retry_window: float = 900.0
    """For how long a request whose answer went out may be joined by a retry, because nobody can see
    from here whether it arrived. Published clients wait for ten minutes by default."""
    remembered: int = 10_000
    """Requests that have ended and are remembered, for retries: how many."""
    remembered_bytes: int = 64 * MIB
    """Without a journal their answers are kept, too: number of bytes."""
    max_batches: int = 20
    """Batches of one caller that have not ended; a further one is refused (429)."""
    max_batch_requests: int = 10_000
    """Requests in one batch."""
    delivery: Delivery = "sync"
    """How tasks without a stream are sent: ``sync`` tells their results at once; ``async`` has them
    polled for, which is slower, and finds them again for longer after a crash."""
    unsupported: Unsupported = "error"
    """What Runware cannot take is refused (``error``), or left out (``drop``) and named in the
    header ``runware-dropped``; a caller's own setting goes first."""

    def __post_init__(self) -> None:
        for option in fields(self):
            value = _CHECKS[option.name](option.name, getattr(self, option.name))
            object.__setattr__(self, option.name, value)

    @classmethod
    def build(cls, given: Mapping[str, Any]) -> GatewayOptions:
        """The options that were given, and the defaults.

        Raises:
            ConfigurationError: an option is unknown or bad.
        """
        known = [option.name for option in fields(cls)]
        for name in given:
            if name not in known:
                raise ConfigurationError(
                    f"unknown option {name!r} of a gateway; known are: {', '.join(known)}"
                )
        return cls(**given)


class GatewaySettings(TypedDict, total=False):
    """What :func:`runware_ws.gateway.app` takes: a test compares it with the options."""

    max_body_bytes: int
    body_timeout: float
    max_running: int
    max_waiting: int
    timeout: float | None
    ping_every: float
    start_within: float
    send_timeout: float
    retry_window: float
    remembered: int
    remembered_bytes: int
    max_batches: int
    max_batch_requests: int
    delivery: Delivery
    unsupported: Unsupported


_CHECKS: dict[str, Check] = {
    "max_body_bytes": count,
    "body_timeout": seconds,
    "max_running": count,
    "max_waiting": count,
    "timeout": partial(seconds, none="no limit"),
    "ping_every": seconds,
    "start_within": seconds,
    "send_timeout": seconds,
    "retry_window": seconds,
    "remembered": count,
    "remembered_bytes": count,
    "max_batches": count,
    "max_batch_requests": count,
    "delivery": partial(choice, of=get_args(Delivery)),
    "unsupported": partial(choice, of=get_args(Unsupported)),
}
