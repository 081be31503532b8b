"""What the end of a socket means, as one table.

It covers every close code (0-65535) and every HTTP status: a code that is not
listed belongs to the range around it. A user can override single codes
with ``Config.close_codes`` and ``Config.http_statuses``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "CLOSE_CODES",
    "HTTP_STATUSES",
    "Loss",
    "LossKind",
    "Verdict",
    "classify_close",
    "classify_http",
    "classify_loss",
]


class Verdict(StrEnum):
    """What to do after a socket has ended.

    ``RESUME``: redial with the first, short jitter. ``RESUME_LATER``: the
    server is restarting, so the jitter is wider. ``BACK_OFF``: the server is
    overloaded, so the short first redial is skipped and Retry-After is
    honoured. ``KEY_REFUSED``: fetch the key once more, then give up.
    ``PROTOCOL``: one reconnect, then give up. ``TOO_BIG``: resume; the frame
    that was too big is not sent a third time. ``TERMINAL``: give up at once.
    """

    RESUME = "resume"
    RESUME_LATER = "resume-later"
    BACK_OFF = "back-off"
    KEY_REFUSED = "key-refused"
    PROTOCOL = "protocol"
    TOO_BIG = "too-big"
    TERMINAL = "terminal"


class LossKind(StrEnum):
    """How a socket ended, or why it never opened."""

    CLOSED = "closed"
    DIAL_FAILED = "dial-failed"
    HTTP_REFUSED = "http-refused"
    TLS_FAILED = "tls-failed"
    PROXY_REFUSED = "proxy-refused"
    KEY_UNAVAILABLE = "key-unavailable"
    OPEN_TIMEOUT = "open-timeout"
    DEAD_PEER = "dead-peer"
    INBOUND_TOO_BIG = "inbound-too-big"
    PEER_BROKE_PROTOCOL = "peer-broke-protocol"
    AUTH_REFUSED = "auth-refused"
    CANNOT_DIAL = "cannot-dial"


@dataclass(frozen=True, slots=True)
class Loss:
    """How one socket ended.

    ``code``: the close code the *peer* sent, ``None`` without a close frame.
    ``status``: the HTTP status of a refused upgrade (or of the proxy),
    otherwise ``None``. ``retry_after``: seconds from a Retry-After header, or
    from an error about the authentication; ``None`` without one. ``detail``:
    for people, never the key.
    """

    kind: LossKind
    code: int | None = None
    status: int | None = None
    retry_after: float | None = None
    detail: str = ""

    def __str__(self) -> str:
        parts: list[str] = [self.kind.value.replace("-", " ")]
        if self.code is not None:
            parts.append(f"code {self.code}")
        if self.status is not None:
            parts.append(f"HTTP {self.status}")
        text = ", ".join(parts)
        return f"{text}: {self.detail}" if self.detail else text


# (first code of the range, verdict, why), sorted. A range ends before the next one.
CLOSE_CODES: tuple[tuple[int, Verdict, str], ...] = (
    (0, Verdict.RESUME, "not a legal code on the wire; the socket is gone all the same"),
    (1000, Verdict.RESUME, "normal closure that nobody asked for: never a silent clean end"),
    (1001, Verdict.RESUME, "the server goes away"),
    (1002, Verdict.PROTOCOL, "the server says that we broke the protocol"),
    (1003, Verdict.PROTOCOL, "the server does not take this kind of data"),
    (1004, Verdict.RESUME, "reserved"),
    (1005, Verdict.RESUME, "close frame without a code"),
    (1006, Verdict.RESUME, "no close frame: the wire was cut"),
    (1007, Verdict.PROTOCOL, "the server found invalid data"),
    (1008, Verdict.KEY_REFUSED, "policy violation: as a refused key"),
    (1009, Verdict.TOO_BIG, "a frame of ours is over the server's limit"),
    (1010, Verdict.PROTOCOL, "the server did not negotiate an extension"),
    (1011, Verdict.BACK_OFF, "the server failed inside"),
    (1012, Verdict.RESUME_LATER, "the server restarts"),
    (1013, Verdict.BACK_OFF, "the server asks us to try again later"),
    (1014, Verdict.BACK_OFF, "a gateway could not reach the server"),
    (1015, Verdict.TERMINAL, "the TLS handshake failed"),
    (1016, Verdict.RESUME, "reserved for later standards, libraries and applications"),
)

# Documented by the service's OpenAPI description: 400, 401, 402, 403, 429, 500, 503.
HTTP_STATUSES: tuple[tuple[int, Verdict, str], ...] = (
    (0, Verdict.BACK_OFF, "not a status"),
    (300, Verdict.TERMINAL, "a redirect that could not be followed"),
    (400, Verdict.TERMINAL, "the server does not take the request; the same one will not do"),
    (401, Verdict.KEY_REFUSED, "as a refused key"),
    (402, Verdict.TERMINAL, "the account's balance does not suffice"),
    (403, Verdict.KEY_REFUSED, "as a refused key"),
    (404, Verdict.TERMINAL, "there is no such endpoint: see url="),
    (407, Verdict.TERMINAL, "the proxy wants credentials"),
    (408, Verdict.BACK_OFF, "the server timed out"),
    (409, Verdict.TERMINAL, "the server does not take the request"),
    (425, Verdict.BACK_OFF, "too early"),
    (426, Verdict.TERMINAL, "the server speaks another protocol"),
    (429, Verdict.BACK_OFF, "too many requests"),
    (430, Verdict.TERMINAL, "the server does not take the request"),
    (500, Verdict.BACK_OFF, "the server, or a gateway before it, failed"),
)

_CLOSE_STARTS = tuple(first for first, _, _ in CLOSE_CODES)
_HTTP_STARTS = tuple(first for first, _, _ in HTTP_STATUSES)


def classify_close(code: int | None, overrides: Mapping[int, Verdict] | None = None) -> Verdict:
    """The verdict on a close code. ``None``: no close frame came (as 1006)."""
    number = 1006 if code is None else code
    if overrides and number in overrides:
        return overrides[number]
    return CLOSE_CODES[max(0, bisect_right(_CLOSE_STARTS, number) - 1)][1]


def classify_http(status: int | None, overrides: Mapping[int, Verdict] | None = None) -> Verdict:
    """The verdict on the HTTP status of a refused upgrade. ``None``: no status came."""
    number = 0 if status is None else status
    if overrides and number in overrides:
        return overrides[number]
    return HTTP_STATUSES[max(0, bisect_right(_HTTP_STARTS, number) - 1)][1]


# How a socket ended without a code or status that says more.
_KINDS: dict[LossKind, Verdict] = {
    LossKind.DIAL_FAILED: Verdict.RESUME,
    LossKind.TLS_FAILED: Verdict.TERMINAL,
    LossKind.PROXY_REFUSED: Verdict.BACK_OFF,
    LossKind.KEY_UNAVAILABLE: Verdict.RESUME,
    LossKind.OPEN_TIMEOUT: Verdict.RESUME,
    LossKind.DEAD_PEER: Verdict.RESUME,
    LossKind.INBOUND_TOO_BIG: Verdict.TOO_BIG,
    LossKind.PEER_BROKE_PROTOCOL: Verdict.PROTOCOL,
    # The refusal was counted when it came, so just dial with a fresh key.
    LossKind.AUTH_REFUSED: Verdict.RESUME,
    LossKind.CANNOT_DIAL: Verdict.TERMINAL,
}


def classify_loss(
    loss: Loss,
    close_codes: Mapping[int, Verdict] | None = None,
    http_statuses: Mapping[int, Verdict] | None = None,
) -> Verdict:
    """The verdict on the end of a socket."""
    if loss.kind is LossKind.CLOSED:
        return classify_close(loss.code, close_codes)
    if loss.kind is LossKind.HTTP_REFUSED:
        return classify_http(loss.status, http_statuses)
    if loss.kind is LossKind.PROXY_REFUSED and loss.status is not None:
        # Whatever a proxy refuses, it is not our API key. It may be busy, as a server may.
        busy = classify_http(loss.status) is Verdict.BACK_OFF
        return Verdict.BACK_OFF if busy else Verdict.TERMINAL
    return _KINDS.get(loss.kind, Verdict.RESUME)
