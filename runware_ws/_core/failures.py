"""From what the server said to the exception that a caller gets."""

from __future__ import annotations

from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import (
    AuthenticationError,
    ConnectionFailed,
    ProtocolError,
    RunwareError,
    Submitted,
    TaskError,
)
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.wire_errors import WireError

__all__ = ["for_task", "refusal", "task_error"]

# The server looked at the request and refused it before any work was done, so
# nothing ran, and the same work may be sent again once the cause is mended. Of a
# task with several results that is not sure: the error may be that of one of them.
_NOT_RUN = frozenset(
    {ErrorFamily.VALIDATION, ErrorFamily.AUTH, ErrorFamily.QUOTA, ErrorFamily.RATE}
)


def task_error(error: WireError, record: TaskRecord) -> TaskError:
    """The server's verdict on one task."""
    return TaskError(
        error.message or "the server gave no message",
        code=error.code,
        parameter=error.parameter,
        documentation=error.documentation,
        family=error.family,
        retryable=error.retryable,
        raw=error.raw,
        items=record.items,
        task_uuid=record.uuid,
        submitted=Submitted.YES,
        safe_to_resend=error.family in _NOT_RUN and record.expected == record.sends == 1,
    )


def refusal(error: WireError) -> AuthenticationError:
    """The server refuses the key."""
    message = error.message or "the server refused the API key"
    return AuthenticationError(f"{error.code}: {message}", code=error.code)


def for_task(failure: RunwareError, uuid: str, submitted: Submitted) -> RunwareError:
    """The end of the whole client, as the end of one task."""
    if isinstance(failure, AuthenticationError):
        return AuthenticationError(
            failure.message, code=failure.code, task_uuid=uuid, submitted=submitted
        )
    kind = ProtocolError if isinstance(failure, ProtocolError) else ConnectionFailed
    return kind(failure.message, task_uuid=uuid, submitted=submitted)
