"""The options of a client, frozen, checked once."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from runware_ws.backoff import Wait, default_wait
from runware_ws.classify import Verdict
from runware_ws.errors import ConfigurationError

__all__ = ["DEFAULT_URL", "Config", "check_url", "is_loopback"]

DEFAULT_URL = "wss://ws-api.runware.ai/v1"
"""The service's socket (documented)."""

URL_ENV = "RUNWARE_WS_URL"
"""The environment variable of the socket's address."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of a :class:`~runware_ws.Client`. All times are seconds.

    Raises:
        ConfigurationError: a value cannot work; the message names it.
    """

    timeout: float | None = 300.0
    """Wall-to-wall limit of a task where the call gives none; ``None``: no limit."""
    max_in_flight: int = 10_000
    """Admitted tasks at once; more callers wait their turn."""
    max_in_flight_bytes: int = 256 * MIB
    """Bytes of admitted requests at once. One larger task still passes, alone."""
    open_timeout: float = 15.0
    """Dial, TLS and authentication together."""
    close_timeout: float = 5.0
    """How long ``aclose()`` waits for the closing handshake."""
    ping_after: float = 10.0
    """A ping goes out when nothing came in for this long."""
    ping_timeout: float = 9.0
    """How long a ping may stay without any inbound frame. A dead peer is found
    after at most ``ping_after + ping_timeout`` plus one short look at the backlog."""
    keepalive: float = 60.0
    """A ping goes out when nothing was *sent* for this long: the server closes a
    connection 120 s after the last message (documented), and it is unsure whose."""
    max_frame_bytes: int = 64 * MIB
    """Largest frame taken in."""
    max_posts: int = 1_000
    """Streams over HTTP at once; more wait their turn."""
    batch_tasks: int = 64
    """Most tasks in one outgoing frame; 1 sends a frame per task."""
    batch_bytes: int = 64 * 1024
    """An outgoing frame takes no further task above this size."""
    backoff: Wait = field(default_factory=default_wait)
    """A tenacity wait strategy: the delay before each dial."""
    backoff_cap: float = 30.0
    """No drawn delay is longer; a Retry-After may be, up to ``retry_after_cap``."""
    retry_after_cap: float = 300.0
    """A longer Retry-After is cut to this."""
    resubmit: Literal["same-uuid", "never"] = "same-uuid"
    """May a task that the server does not know be sent again under its own taskUUID?"""
    replay_grace: float = 0.5
    """After a resume, and after each replayed result, how long the (next) one is waited
    for before questions are asked."""
    resend_after: float = 1.5
    """A task is sent again no sooner than this after its socket died: the registration
    of a fresh task can take about a second (observed)."""
    question_window: int = 256
    """Most questions (polls, archive look-ups, resends after a cut) in flight."""
    question_timeout: float = 10.0
    """A question without an answer is asked again after this."""
    question_backoff_cap: float = 30.0
    """Questions about one task back off up to this."""
    poll_first: float = 1.0
    """First poll of an ``async`` task before its kind's duration is learned (documented: 1-2 s)."""
    claim_limit: int = 1_000
    """Late and unknown results kept for ``claim()``: how many tasks."""
    claim_bytes: int = 16 * MIB
    """Late and unknown results kept for ``claim()``: how many bytes."""
    event_buffer: int = 1_024
    """Events kept for each reader of ``events()``; the oldest go first."""
    http_url: str | None = None
    """Where streams are posted to; ``None``: the service's own address, or that of ``url``."""
    session_uuid: str | None = None
    """Resume this session of an earlier process at the first dial."""
    close_codes: Mapping[int, Verdict] = field(default_factory=dict[int, Verdict])
    """Overrides of the verdicts on close codes."""
    http_statuses: Mapping[int, Verdict] = field(default_factory=dict[int, Verdict])
    """Overrides of the verdicts on HTTP statuses of a refused upgrade."""
    allow_insecure: bool = False
    """Allow ``ws://`` beyond loopback: the key travels in clear."""
    ssl: ssl.SSLContext | None = None
    """TLS settings; ``None``: the system's trust store, verification on."""
    proxy: str | Literal[True] | None = True
    """``True``: the system's proxy settings, except to loopback; ``None``: no proxy; or the
    proxy's address."""
    user_agent: str | None = None
    """The ``User-Agent`` header; ``None``: this library's name and version."""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if not _is_number(value) or value <= 0:
                raise ConfigurationError(f"{name} must be a positive number, not {value!r}")
        for name in _COUNTS:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigurationError(f"{name} must be a whole number from 1, not {value!r}")
        for name in ("replay_grace", "resend_after"):
            value = getattr(self, name)
            if not _is_number(value) or value < 0:
                raise ConfigurationError(f"{name} must be 0 or more seconds, not {value!r}")
        if self.timeout is not None and (not _is_number(self.timeout) or self.timeout <= 0):
            raise ConfigurationError(
                f"timeout must be positive seconds or None, not {self.timeout!r}"
            )
        if self.resubmit not in ("same-uuid", "never"):
            raise ConfigurationError(
                f"resubmit must be 'same-uuid' or 'never', not {self.resubmit!r}"
            )
        if not callable(self.backoff):
            raise ConfigurationError("backoff must be a tenacity wait strategy")

    @classmethod
    def build(cls, base: Config | None, overrides: Mapping[str, Any]) -> Self | Config:
        """``base`` (or the defaults) with single options replaced.

        Raises:
            ConfigurationError: an option is unknown or has a bad value.
        """
        known = {f.name for f in fields(cls)}
        for name in overrides:
            if name not in known:
                raise ConfigurationError(
                    f"unknown option {name!r}; known are: {', '.join(sorted(known))}"
                )
        return replace(base or cls(), **overrides)


_POSITIVE = (
    "open_timeout",
    "close_timeout",
    "ping_after",
    "ping_timeout",
    "keepalive",
    "question_timeout",
    "question_backoff_cap",
    "poll_first",
    "backoff_cap",
    "retry_after_cap",
)
_COUNTS = (
    "max_in_flight",
    "max_in_flight_bytes",
    "max_frame_bytes",
    "max_posts",
    "batch_tasks",
    "batch_bytes",
    "question_window",
    "claim_limit",
    "claim_bytes",
    "event_buffer",
)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def default_url() -> str:
    """Where a client connects that was told nothing: ``RUNWARE_WS_URL``, else the service."""
    return os.environ.get(URL_ENV) or DEFAULT_URL


def check_url(
    url: str,
    *,
    allow_insecure: bool,
    schemes: tuple[str, str] = ("ws", "wss"),
    option: str = "url",
    example: str = DEFAULT_URL,
) -> str:
    """Return ``url`` where the key may travel over it.

    Args:
        url: what to check.
        allow_insecure: whether the plain scheme may go beyond loopback.
        schemes: the plain one, and the one with TLS.
        option: what messages call the URL.
        example: a URL as it should be, for messages.

    Raises:
        ConfigurationError: not a URL of these schemes, credentials in it, or the plain
            scheme beyond loopback without ``allow_insecure=True``.
    """
    plain, secure = schemes
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ConfigurationError(f"{option} must not carry credentials: pass the key as api_key=")
    if parts.scheme not in schemes or not parts.hostname:
        raise ConfigurationError(f"{option} must look like {example!r}, not {url!r}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ConfigurationError(f"{option} has a port that is no port: {url!r}")
    if parts.scheme == plain and not allow_insecure and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{option} {url!r} would send the API key in clear over the network: "
            f"use {secure}://, or pass allow_insecure=True if you mean it"
        )
    return url


def is_loopback(host: str) -> bool:
    """Whether this name or address is the machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
