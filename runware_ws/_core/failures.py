"""Turns what the server said into the exception that a caller gets."""

from __future__ import annotations

from copy import copy

from runware_ws._core.effects import PostEnding
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.classify import LossKind
from runware_ws.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailed,
    HttpRefused,
    JournalError,
    ProtocolError,
    RunwareError,
    Submitted,
    TaskError,
)
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.results import in_order
from runware_ws.models.wire_errors import WireError

__all__ = ["for_task", "post_refusal", "post_refused_key", "refusal", "task_error"]

# The server refused the request before it did any work. So nothing ran, and the same
# work may be sent again once the cause is fixed. With several results per task this
# is not certain, because the error may be about one of them.
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
        items=in_order(list(record.items)),
        task_uuid=record.uuid,
        submitted=Submitted.YES,
        safe_to_resend=error.family in _NOT_RUN
        and record.expected == record.sends == 1
        and not record.copied
        and not (record.deltas is not None and record.deltas.count),
    )


# Refusals that are not about the request itself: another attempt may succeed.
_ABOUT_THE_SERVER = frozenset({404, 405, 407, 408, 429})


def post_refused_key(ending: PostEnding, errors: list[WireError]) -> AuthenticationError | None:
    """The refusal of the key in the answer to a POST; ``None`` if it is about something else.

    401 always refuses the key (documented). Another 4xx status does if the error's code says so
    and the error names no task.
    """
    status = ending.loss.status if ending.loss is not None else None
    error = errors[0] if errors else None
    coded = error is not None and error.family is ErrorFamily.AUTH and error.task_uuid is None
    if status != 401 and not (status is not None and 400 <= status < 500 and coded):
        return None
    said = f": {error.message}" if error is not None and error.message else ""
    return AuthenticationError(
        f"the server refuses the API key (HTTP {status}){said}",
        code=error.code if error is not None else None,
    )


def post_refusal(ending: PostEnding, record: TaskRecord, errors: list[WireError]) -> RunwareError:
    """The exception for a POST that was refused."""
    loss, uuid = ending.loss, record.uuid
    kind, status = (loss.kind, loss.status) if loss is not None else (LossKind.CLOSED, None)
    if kind is LossKind.CANNOT_DIAL:
        return ConfigurationError(str(loss), task_uuid=uuid)
    if kind is LossKind.INBOUND_TOO_BIG or (status is not None and 200 <= status < 300):
        text = f"the answer cannot be read: {loss}"
        return ProtocolError(text, task_uuid=uuid, submitted=Submitted.YES)
    if status is None or kind is not LossKind.HTTP_REFUSED:
        text = f"the POST cannot work: {loss}"
        return ConnectionFailed(text, task_uuid=uuid, submitted=record.submitted)
    if errors and 400 <= status < 500 and status not in _ABOUT_THE_SERVER:
        return task_error(errors[0], record)
    words = errors[0].message if errors else ""
    if not words and loss is not None:
        words = loss.detail
    said = f": {words}" if words else ""
    unrun = status < 500 and status != 408
    return HttpRefused(
        f"the server answered HTTP {status}{said}",
        status=status,
        retry_after=loss.retry_after if loss is not None else None,
        task_uuid=uuid,
        submitted=Submitted.NO if unrun else Submitted.MAYBE,
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
    if isinstance(failure, JournalError):
        told = copy(failure)
        told.task_uuid, told.submitted = uuid, submitted
        told.safe_to_resend = submitted is Submitted.NO
        return told
    kind = ProtocolError if isinstance(failure, ProtocolError) else ConnectionFailed
    return kind(failure.message, task_uuid=uuid, submitted=submitted)
