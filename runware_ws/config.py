"""The options of a client, frozen, checked once."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack
from uuid import UUID

from runware_ws._checks import (
    Check,
    choice,
    count,
    flag,
    folder,
    header_value,
    refusal,
    seconds,
    tls_context,
    uuid_text,
    verdicts,
    wait_strategy,
)
from runware_ws._urls import DEFAULT_URL, check_http_url, check_url, is_loopback, proxy_url
from runware_ws.backoff import Wait, default_wait
from runware_ws.classify import Verdict
from runware_ws.errors import ConfigurationError

__all__ = [
    "DEFAULT_URL",
    "Config",
    "ConfigOptions",
    "VerdictWord",
    "check_url",
    "is_loopback",
]

VerdictWord = Literal[
    "resume", "resume-later", "back-off", "key-refused", "protocol", "too-big", "terminal"
]
"""A :class:`Verdict`, as a word."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of a :class:`~runware_ws.Client`. All times are seconds.

    Raises:
        ConfigurationError: a value cannot work; the message names it.
    """

    timeout: float | None = 300.0
    """Limit for a whole task if the call gives none; ``None``: no limit."""
    max_in_flight: int = 10_000
    """Most admitted tasks at once; further callers wait their turn."""
    max_in_flight_bytes: int = 256 * MIB
    """Most bytes of admitted requests at once. A larger task is still sent, alone."""
    open_timeout: float = 15.0
    """Fetching the key, dial, TLS and authentication together."""
    close_timeout: float = 5.0
    """How long ``aclose()`` waits for the closing handshake."""
    ping_after: float = 10.0
    """A ping goes out when no sign of life came in for this long."""
    ping_timeout: float = 9.0
    """How long its answer, or any message about a task, may take then. A dead peer is found after
    at most ``ping_after + ping_timeout``, plus a short look at the backlog."""
    busy_ping_after: float = 2.0
    """As ``ping_after``, while tasks are in flight; never more than that."""
    busy_ping_timeout: float = 2.25
    """As ``ping_timeout``, while tasks are in flight; never more than that, and never less than
    three measured round trips."""
    keepalive: float = 60.0
    """A ping goes out when nothing was *sent* for this long. The server closes a connection
    120 s after the last message (documented), and it is not certain whose message counts."""
    max_frame_bytes: int = 64 * MIB
    """Largest inbound frame that is accepted."""
    max_posts: int = 1_000
    """Most streams over HTTP at once; further ones wait their turn."""
    batch_tasks: int = 64
    """Most tasks in one outgoing frame; 1: one frame per task."""
    batch_bytes: int = 64 * 1024
    """Above this size, no further task is added to an outgoing frame."""
    backoff: Wait = field(default_factory=default_wait)
    """A tenacity wait strategy: the delay before each dial."""
    backoff_cap: float = 30.0
    """Longest drawn delay. A Retry-After may be longer, up to ``retry_after_cap``."""
    retry_after_cap: float = 300.0
    """A longer Retry-After is cut to this."""
    resubmit: Literal["same-uuid", "never"] = "same-uuid"
    """Whether a task that the server does not know is sent again under its own taskUUID."""
    replay_grace: float = 0.5
    """How long to wait for a replayed result, after a resume and after each such result,
    before questions are asked."""
    resend_after: float = 2.5
    """How long after the first answered question about it a task is resent at the earliest. The
    server may need about a second to register a new task (observed), and another to read what
    a socket that died had brought it."""
    usual_duration: float = 20.0
    """How long a task is taken to run until the durations of its kind are learned. One that the
    server does not know is not resent before: it may be running. For a task with a timeout, 40 %
    of that if it is less."""
    resend_early: bool = False
    """Do not wait for the usual duration: for a server of which it is known that it refuses a
    copy of a running task at once and keeps its answer (``runware-ws probe`` says so)."""
    question_window: int = 256
    """Most questions (polls, archive look-ups, resends after a cut) in flight."""
    question_timeout: float = 10.0
    """A question without an answer is asked again after this."""
    question_backoff_cap: float = 30.0
    """Longest delay between two questions about one task."""
    poll_first: float = 1.0
    """Delay of an ``async`` task's first poll, until durations are learned (documented: 1-2 s)."""
    claim_limit: int = 1_000
    """Late and unknown results kept for ``claim()``: number of tasks."""
    claim_bytes: int = 16 * MIB
    """Late and unknown results kept for ``claim()``: number of bytes."""
    event_buffer: int = 1_024
    """Events kept for each reader of ``events()``; the oldest go first."""
    journal_keep: float = 86_400.0
    """How long the journal keeps results and verdicts for later uses of their keys."""
    journal_bytes: int = 1024 * MIB
    """Results and verdicts kept in the journal: number of bytes. The oldest go first."""
    flight_bytes: int | None = None
    """The flight recorder: how many bytes of what came in last are kept in memory. ``None``: it is
    off, unless there is a ``flight_folder``; then 4 MiB."""
    flight_folder: str | None = None
    """Where a recording is written when a task ends as unknown: at most one a minute, and eight in
    all; ``None``: nowhere."""
    flight_content: bool = False
    """Whether recordings show what was asked and answered, and not its length and hash only."""
    http_url: str | None = None
    """Where streams are posted; ``None``: the service's own address, or that of ``url``."""
    session_uuid: str | None = None
    """The session of an earlier process, to resume at the first dial. A ``uuid.UUID`` is accepted
    too, and kept as text."""
    close_codes: Mapping[int, Verdict] = field(default_factory=dict[int, Verdict])
    """Overrides for the verdicts on close codes: ``{4000: Verdict.TERMINAL}``. A verdict may be
    given as a word, ``"terminal"``."""
    http_statuses: Mapping[int, Verdict] = field(default_factory=dict[int, Verdict])
    """Overrides for the verdicts on HTTP statuses of a refused upgrade."""
    allow_insecure: bool = False
    """Allow ``ws://`` beyond loopback: the key travels unencrypted."""
    ssl: ssl.SSLContext | None = None
    """TLS settings; ``None``: the system's trust store, verification on."""
    proxy: str | Literal[True] | None = field(default=True, repr=False)
    """``True``: the system's proxy settings, except to loopback; ``None``: no proxy; or the
    proxy's address. Not in the ``repr``, because it may contain a password."""
    user_agent: str | None = None
    """The ``User-Agent`` header; ``None``: this library's name and version."""

    if TYPE_CHECKING:
        # More types are accepted than kept: a UUID, or a verdict as a word.
        def __init__(self, **options: Unpack[ConfigOptions]) -> None: ...

    def __post_init__(self) -> None:
        http_url = partial(_http_url, allow_insecure=self.allow_insecure is True)
        checks: dict[str, Check] = {**_CHECKS, "http_url": http_url}
        for option in fields(self):
            value = checks[option.name](option.name, getattr(self, option.name))
            object.__setattr__(self, option.name, value)

    @classmethod
    def build(cls, base: object, overrides: Mapping[str, Any]) -> Config:
        """``base`` (or the defaults) with some options replaced.

        Raises:
            ConfigurationError: ``base`` is not a ``Config``, or an option is unknown or bad.
        """
        if base is not None and not isinstance(base, Config):
            raise refusal("config", "be a Config or None", base)
        known = sorted(f.name for f in fields(cls))
        for name in overrides:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
                raise ConfigurationError(f"unknown option {name!r}; {hint}")
        return replace(base if base is not None else cls(), **overrides)


class ConfigOptions(TypedDict, total=False):
    """What :class:`Config` and :class:`~runware_ws.Client` take: a test compares it with them."""

    timeout: float | None
    max_in_flight: int
    max_in_flight_bytes: int
    open_timeout: float
    close_timeout: float
    ping_after: float
    ping_timeout: float
    busy_ping_after: float
    busy_ping_timeout: float
    keepalive: float
    max_frame_bytes: int
    max_posts: int
    batch_tasks: int
    batch_bytes: int
    backoff: Wait
    backoff_cap: float
    retry_after_cap: float
    resubmit: Literal["same-uuid", "never"]
    replay_grace: float
    resend_after: float
    usual_duration: float
    resend_early: bool
    question_window: int
    question_timeout: float
    question_backoff_cap: float
    poll_first: float
    claim_limit: int
    claim_bytes: int
    event_buffer: int
    journal_keep: float
    journal_bytes: int
    flight_bytes: int | None
    flight_folder: str | None
    flight_content: bool
    http_url: str | None
    session_uuid: str | UUID | None
    close_codes: Mapping[int, Verdict | VerdictWord]
    http_statuses: Mapping[int, Verdict | VerdictWord]
    allow_insecure: bool
    ssl: ssl.SSLContext | None
    proxy: str | Literal[True] | None
    user_agent: str | None


def _http_url(option: str, value: Any, *, allow_insecure: bool) -> str | None:
    return None if value is None else check_http_url(value, allow_insecure=allow_insecure)


# One check per option; the one for ``http_url`` is separate, since it needs ``allow_insecure``.
_CHECKS: dict[str, Check] = {
    "timeout": partial(seconds, none="no limit"),
    "max_in_flight": count,
    "max_in_flight_bytes": count,
    "open_timeout": seconds,
    "close_timeout": seconds,
    "ping_after": seconds,
    "ping_timeout": seconds,
    "busy_ping_after": seconds,
    "busy_ping_timeout": seconds,
    "keepalive": seconds,
    "max_frame_bytes": count,
    "max_posts": count,
    "batch_tasks": count,
    "batch_bytes": count,
    "backoff": wait_strategy,
    "backoff_cap": seconds,
    "retry_after_cap": seconds,
    "resubmit": partial(choice, of=("same-uuid", "never")),
    "replay_grace": partial(seconds, zero=True),
    "resend_after": partial(seconds, zero=True),
    "usual_duration": partial(seconds, zero=True),
    "resend_early": flag,
    "question_window": count,
    "question_timeout": seconds,
    "question_backoff_cap": seconds,
    "poll_first": seconds,
    "claim_limit": count,
    "claim_bytes": count,
    "event_buffer": count,
    "journal_keep": seconds,
    "journal_bytes": count,
    "flight_bytes": partial(count, none="no recording"),
    "flight_folder": folder,
    "flight_content": flag,
    "session_uuid": uuid_text,
    "close_codes": partial(verdicts, codes=range(65536)),
    "http_statuses": partial(verdicts, codes=range(100, 1000)),
    "allow_insecure": flag,
    "ssl": tls_context,
    "proxy": proxy_url,
    "user_agent": header_value,
}
