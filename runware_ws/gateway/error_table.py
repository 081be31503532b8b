"""What a caller is told when something goes wrong: one table, in the words of the Messages shape.

The published clients choose the class of an error by its HTTP status, and try again by themselves
for 408, 409, 429 and 5xx, unless ``x-should-retry`` says otherwise. So each reply has that header,
and it tells the truth: ``true`` only where another try cannot pay twice. That is so where nothing
ran, and where the try joins what runs already (``joins``: its task stands in a journal).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runware_ws.errors import (
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    Fenced,
    HttpRefused,
    InvalidTask,
    JournalError,
    KeyConflict,
    OutcomeUnknown,
    OutputError,
    ProtocolError,
    RunwareError,
    StreamInterrupted,
    TaskCancelled,
    TaskError,
    TaskTimeout,
)
from runware_ws.models.error_codes import ErrorFamily

__all__ = ["ERRORS", "FAMILIES", "ErrorReply", "GatewayRefusal", "another_request", "reply_to"]

ErrorKind = Literal[
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
]
Retry = Literal["never", "safe", "joins", "safe or joins"]


@dataclass(frozen=True, slots=True)
class Row:
    """``retry``: ``safe``: if nothing ran; ``joins``: if another try joins this one."""

    status: int
    kind: ErrorKind
    retry: Retry


ERRORS: Mapping[type[RunwareError], Row] = {
    KeyConflict: Row(409, "invalid_request_error", "never"),
    InvalidTask: Row(400, "invalid_request_error", "never"),
    AuthenticationError: Row(401, "authentication_error", "never"),
    TaskTimeout: Row(504, "timeout_error", "safe or joins"),
    OutcomeUnknown: Row(504, "timeout_error", "joins"),
    TaskCancelled: Row(500, "api_error", "safe or joins"),
    StreamInterrupted: Row(502, "api_error", "joins"),
    HttpRefused: Row(503, "api_error", "safe or joins"),
    ConnectionFailed: Row(503, "api_error", "safe or joins"),
    ProtocolError: Row(502, "api_error", "never"),
    Fenced: Row(503, "api_error", "safe or joins"),
    JournalError: Row(503, "api_error", "safe or joins"),
    ClientClosed: Row(503, "api_error", "safe or joins"),
    ConfigurationError: Row(500, "api_error", "never"),
    OutputError: Row(500, "api_error", "never"),
    RunwareError: Row(500, "api_error", "never"),
}
"""By class; the most special one counts. ``TaskError`` goes by its family."""

FAMILIES: Mapping[ErrorFamily, Row] = {
    ErrorFamily.AUTH: Row(401, "authentication_error", "never"),
    ErrorFamily.QUOTA: Row(402, "billing_error", "never"),
    ErrorFamily.RATE: Row(429, "rate_limit_error", "safe"),
    ErrorFamily.SAFETY: Row(400, "invalid_request_error", "never"),
    ErrorFamily.VALIDATION: Row(400, "invalid_request_error", "never"),
    ErrorFamily.CONFLICT: Row(409, "invalid_request_error", "never"),
    ErrorFamily.NOT_FOUND: Row(404, "not_found_error", "never"),
    ErrorFamily.TIMEOUT: Row(504, "timeout_error", "safe"),
    ErrorFamily.PROVIDER: Row(529, "overloaded_error", "safe"),
    ErrorFamily.SERVER: Row(500, "api_error", "safe"),
    ErrorFamily.UNKNOWN: Row(500, "api_error", "never"),
}
"""Of a ``TaskError``, which is the server's verdict."""

_LONGEST_WAIT = 86_400.0
"""Nobody is told to wait longer than a day, whatever a rate or Runware says."""


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error as it goes to a caller. ``retry_after``: seconds; ``None``: not said.

    ``details``: what this library knows beyond the shape; empty: nothing.
    """

    status: int
    kind: ErrorKind
    message: str
    should_retry: bool
    retry_after: float | None = None
    details: Mapping[str, Any] | None = None

    def envelope(self, request_id: str) -> dict[str, Any]:
        """The body, and the data of an ``error`` event of a stream."""
        body: dict[str, Any] = {
            "type": "error",
            "error": {"type": self.kind, "message": self.message},
            "request_id": request_id,
        }
        return body if self.details is None else {**body, "runware": dict(self.details)}

    def headers(self) -> dict[str, str]:
        """What goes beside the body."""
        headers = {"x-should-retry": "true" if self.should_retry else "false"}
        if self.retry_after is not None:
            # Rounded up: who comes at that moment must not come too early.
            seconds = min(max(self.retry_after, 0.0), _LONGEST_WAIT)
            thousandths = math.ceil(seconds * 1000 - 1e-6)
            headers["retry-after"] = f"{thousandths / 1000:.3f}".rstrip("0").rstrip(".")
        return headers


class GatewayRefusal(Exception):
    """A request that the gateway itself refuses; nothing of it was sent to Runware."""

    def __init__(
        self,
        status: int,
        kind: ErrorKind,
        message: str,
        *,
        should_retry: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reply = ErrorReply(status, kind, message, should_retry, retry_after)


def another_request() -> GatewayRefusal:
    """An ``Idempotency-Key`` comes with something else than what it names."""
    return GatewayRefusal(
        *(409, "invalid_request_error"),
        "this Idempotency-Key was used for another request: use a new one",
    )


def reply_to(error: Exception, *, joins: bool) -> ErrorReply:
    """What a caller is told of ``error``.

    ``joins``: another try of the same request finds this task again, so it can only ask for what
    became of it. Words of an exception that is not ours are not told: they may hold anything.
    """
    if isinstance(error, GatewayRefusal):
        return error.reply
    if not isinstance(error, RunwareError):
        return ErrorReply(500, "api_error", "the gateway failed: see its log", should_retry=False)
    row = _row_of(error)
    may = (row.retry in ("safe", "safe or joins") and error.safe_to_resend) or (
        row.retry in ("joins", "safe or joins") and joins
    )
    if isinstance(error, JournalError) and not isinstance(error, Fenced):
        may = may and error.temporary
    if isinstance(error, TaskError):
        may = may and error.retryable
    return ErrorReply(
        row.status,
        row.kind,
        _words_of(error),
        may,
        _pause_after(error) if may else None,
        _details_of(error),
    )


def _row_of(error: RunwareError) -> Row:
    if isinstance(error, TaskError):
        return FAMILIES[error.family or ErrorFamily.UNKNOWN]
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def _words_of(error: RunwareError) -> str:
    if isinstance(error, AuthenticationError):
        return f"Runware refuses the API key of this gateway, not yours: {error}"
    return str(error)


def _pause_after(error: RunwareError) -> float | None:
    """Seconds that a caller should wait; ``None``: its own pause will do."""
    if isinstance(error, HttpRefused):
        return error.retry_after
    return 1.0 if isinstance(error, ClientClosed | Fenced | JournalError) else None


def _details_of(error: RunwareError) -> dict[str, Any]:
    details: dict[str, Any] = {
        "error": type(error).__name__,
        "task_uuid": error.task_uuid,
        "submitted": error.submitted.value,
        "safe_to_resend": error.safe_to_resend,
    }
    if isinstance(error, TaskError):
        details |= {"code": error.code, "family": error.family and error.family.value}
    if isinstance(error, InvalidTask) and error.problems:
        details["problems"] = list(error.problems)
    if isinstance(error, StreamInterrupted):
        details["text"] = error.text
    return details
