"""What must sometimes happen: a run of many seeds in which one of these never did proves little."""

from __future__ import annotations

from collections import Counter

__all__ = ["MUST_HAPPEN", "missing", "table"]

OVER_HTTP = (
    "action: stream sse",
    "action: stream auto",
    "action: stream-cancelled sse",
    "action: stream-left sse",
    "action: stream-result sse",
    "action: stream-slow sse",
    "action: retry sse",
    "http: post done",
    "http: post cut",
    "http: post refused",
    "http: post unreached",
    "http: cut",
    "http: cut before it arrived",
    "http: no end mark",
    "http: end mark without a finish reason",
    "http: given up",
    "http: one whole answer",
    "http: an event of another task",
    "http: an event of no task",
    "http: hangs before it is read",
    "http: hangs before it answers",
    "http: refused, and run",
    "http: 401",
    "http: 429",
    "http: 500",
    "http: 501",
    "http: 503",
)

MUST_HAPPEN = (
    # Every way home.
    "end: result by live",
    "end: result by replay",
    "end: result by poll",
    "end: result by archive",
    "end: result by resubmit",
    # Every end, with every truth about it.
    "end: TaskError, submitted yes",
    "end: TaskTimeout, submitted no",
    "end: TaskTimeout, submitted maybe",
    "end: TaskTimeout, submitted yes",
    "end: OutcomeUnknown, submitted maybe",
    "end: OutcomeUnknown, submitted yes",
    "end: TaskCancelled, submitted no",
    "end: TaskCancelled, submitted maybe",
    "end: ClientClosed, submitted no",
    "end: ClientClosed, submitted maybe",
    "end: ClientClosed, submitted yes",
    "end: AuthenticationError, submitted no",
    "end: AuthenticationError, submitted maybe",
    "end: ConnectionFailed, submitted no",
    "end: ProtocolError, submitted maybe",
    # Streams.
    "end: stream by live",
    "end: stream by archive",
    "end: StreamInterrupted, submitted yes",
    "deltas after a cut: on",
    "deltas after a cut: restart",
    "deltas after a cut: hole",
    "deltas after a cut: whole",
    "deltas after a cut: nothing",
    "action: stream",
    "action: stream-cancelled",
    "action: stream-left",
    "action: stream-result",
    "action: stream-slow",
    "action: retry socket",
    "read cancelled",
    "stream left",
    "end: stream with calls",
    *OVER_HTTP,
    # The session.
    "resumed",
    "fresh session",
    "replay",
    "replay duplicated",
    "session refused by new",
    "session refused by error",
    "session refused by error-session",
    "event: SessionLost",
    "event: SessionResumed",
    "event: TaskResent",
    "conflict",
    "claimed",
    # The network.
    "fault: cut",
    "fault: cut during auth",
    "fault: cut during replay",
    "fault: cut during send",
    "fault: cut during question",
    "fault: freeze",
    "half-open found",
    "fault: stall",
    "fault: lag-up",
    "fault: lag-down",
    "fault: lag-resend",
    "fault: suspend",
    "fault: dial hangs",
    "fault: dial refused, dial-failed",
    "fault: dial refused, tls-failed",
    "fault: dial refused, 401",
    "fault: dial refused, 403",
    "fault: dial refused, 407",
    "fault: dial refused, 429",
    "fault: dial refused, 500",
    "fault: dial refused, 503",
    "retry-after honoured",
    # The server.
    "fault: close",
    "fault: forget",
    "fault: idle close",
    "fault: mute-pong",
    "fault: authentication unanswered",
    "fault: authentication busy",
    "fault: oversize in",
    "fault: oversize out",
    "fault: result lost",
    "fault: rotate",
    "fault: break-key",
    "key refused once",
    "key refused for good",
    # The program around the client.
    "action: map list",
    "action: map generator",
    "action: map raises",
    "action: map endless",
    "action: map async",
    "action: map async-sleeps",
    "action: map async-raises",
    "action: map async-endless",
    "map left early",
    "map raised SourceBroken",
    "claimed behind a map",
    "action: claim",
    "action: reuse",
    "action: ghost",
    "action: retry",
    "second try",
    "drain during a reconnect",
    "close with a dead peer",
    "event: LateResult",
    "event: UnknownTask",
    "event: MalformedFrame",
    "event: ServerNotice",
    "event: PeerSuspected",
)


def missing(seen: Counter[str]) -> list[str]:
    """What never happened."""
    return [state for state in MUST_HAPPEN if not seen[state]]


def table(seen: Counter[str]) -> str:
    """All counts, one to a line; what must happen and did not is marked."""
    names = sorted(set(seen) | set(MUST_HAPPEN))
    return "\n".join(
        f"{seen[name]:>10,}  {name}{'' if seen[name] else '   <-- NEVER'}" for name in names
    )
