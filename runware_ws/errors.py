"""Every exception of this library.

    RunwareError
    ├── ConfigurationError   the program's fault: an option is wrong; nothing was tried
    ├── InvalidTask          the caller's fault: refused before it was sent
    │   └── KeyConflict      the idempotency key stands for another task
    ├── AuthenticationError  the server refuses the key; every task ends with this
    ├── TaskError            the server's verdict on one task
    ├── TaskTimeout          the caller's deadline passed; the connection is not in doubt
    ├── OutcomeUnknown       the deadline passed and nobody can know what became of the task
    ├── TaskCancelled        the caller gave the task up with ``handle.cancel()``
    ├── StreamInterrupted    a stream was cut and the server does not continue it
    ├── ConnectionFailed     the server cannot be reached, or refuses us for good
    │   └── HttpRefused      a POST was refused with a status about the server, not the task
    ├── ProtocolError        the peer (or a frame) breaks the protocol
    ├── JournalError         the journal cannot be read or written
    │   └── Fenced           another process has taken this client's tasks over
    ├── OutputError          the output of a batch cannot be used
    └── ClientClosed         the client was closed or is draining

Every exception that ends a task says two things that a caller must know before
it tries again: ``submitted`` (did the server get the task?) and
``safe_to_resend`` (can sending it again, under a *new* taskUUID, run the work
twice?).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runware_ws.models.error_codes import ErrorFamily

__all__ = [
    "AuthenticationError",
    "ClientClosed",
    "ConfigurationError",
    "ConnectionFailed",
    "Fenced",
    "HttpRefused",
    "InvalidTask",
    "JournalError",
    "KeyConflict",
    "OutcomeUnknown",
    "OutputError",
    "ProtocolError",
    "RunwareError",
    "StreamInterrupted",
    "Submitted",
    "TaskCancelled",
    "TaskError",
    "TaskTimeout",
]


class Submitted(StrEnum):
    """Whether the server has the task.

    ``NO``: not one byte of it was handed to a socket. ``MAYBE``: it was
    written, and nothing has come back that proves that it arrived. ``YES``: the
    server mentioned it (an acknowledgement, an item, an error, a receipt).
    """

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class RunwareError(Exception):
    """The root of all exceptions of this library.

    ``task_uuid`` is ``None`` if the error is not about a single task.
    ``submitted`` and ``safe_to_resend`` are explained at the top of this
    module. All exceptions can be pickled.
    """

    def __init__(
        self,
        message: str,
        *,
        task_uuid: str | None = None,
        submitted: Submitted = Submitted.NO,
        safe_to_resend: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.task_uuid = task_uuid
        self.submitted = submitted
        if safe_to_resend is None:
            safe_to_resend = submitted is Submitted.NO
        self.safe_to_resend = safe_to_resend


class ConfigurationError(RunwareError, ValueError):
    """An option has a value that cannot work. The message names the option and the cure."""


class InvalidTask(RunwareError, ValueError):
    """A task was refused before anything was sent.

    ``problems`` lists every problem as ``"place: rule"``, the place in the
    wire's spelling (``settings.maxTokens``).
    """

    def __init__(
        self, message: str, *, problems: Sequence[str] = (), task_uuid: str | None = None
    ) -> None:
        super().__init__(message, task_uuid=task_uuid)
        self.problems = tuple(problems)


class KeyConflict(InvalidTask):
    """The idempotency key was used before, for a task with another content. Nothing was sent.

    Use a new key, or give the same task as before.
    """


class AuthenticationError(RunwareError):
    """The server refuses the API key. The client ends; it does not dial in a loop.

    ``code`` is the server's error code, ``None`` if it gave none.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        task_uuid: str | None = None,
        submitted: Submitted = Submitted.NO,
        safe_to_resend: bool | None = None,
    ) -> None:
        super().__init__(
            message, task_uuid=task_uuid, submitted=submitted, safe_to_resend=safe_to_resend
        )
        self.code = code


class TaskError(RunwareError):
    """The server's verdict on one task.

    ``code`` and ``message`` are the server's words. ``parameter`` is what the
    server complains about, ``None`` if it names nothing. ``family`` groups the
    codes, because their catalogue is not stable. ``retryable`` says whether
    another attempt, as a new task, can help. ``raw`` is the whole error object as
    it came. ``items`` are the results of the same task that arrived before
    the error (``numberResults`` > 1), as raw objects.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        parameter: str | tuple[str, ...] | None = None,
        documentation: str | None = None,
        family: ErrorFamily | None = None,
        retryable: bool = False,
        raw: Mapping[str, Any] | None = None,
        items: Sequence[Mapping[str, Any]] = (),
        task_uuid: str | None = None,
        submitted: Submitted = Submitted.YES,
        safe_to_resend: bool = False,
    ) -> None:
        super().__init__(
            message, task_uuid=task_uuid, submitted=submitted, safe_to_resend=safe_to_resend
        )
        self.code = code
        self.parameter = parameter
        self.documentation = documentation
        self.family = family
        self.retryable = retryable
        self.raw: dict[str, Any] = dict(raw or {})
        self.items = tuple(items)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.code else self.message


class TaskTimeout(RunwareError, TimeoutError):
    """The task's deadline passed, and its connection did not break meanwhile.

    With ``submitted == "no"`` the task never left this process. Otherwise the
    server may still finish (and bill) it: a late result is kept, within limits,
    for ``client.claim(task_uuid)``.
    """


class OutcomeUnknown(RunwareError):
    """The deadline passed, and nobody outside the server can know what became of the task.

    The connection broke after the task was written, and before the deadline
    neither the replay nor any question brought the answer. The message says what
    is known. A late result can still be claimed (``client.claim``). Sending the
    work again under a new taskUUID may run it twice.
    """


class TaskCancelled(RunwareError):
    """The caller gave the task up with ``handle.cancel()``.

    The server cannot cancel (documented): a task that was submitted still runs
    and is billed, and its late result can be had with ``client.claim``.
    """


class StreamInterrupted(RunwareError):
    """A stream was cut, and the server does not continue it. ``text`` is what had arrived."""

    def __init__(
        self,
        message: str,
        *,
        text: str = "",
        task_uuid: str | None = None,
        submitted: Submitted = Submitted.YES,
        safe_to_resend: bool | None = None,
    ) -> None:
        super().__init__(
            message, task_uuid=task_uuid, submitted=submitted, safe_to_resend=safe_to_resend
        )
        self.text = text


class ConnectionFailed(RunwareError, ConnectionError):
    """The server cannot be reached, or refuses the connection for good."""


class HttpRefused(ConnectionFailed):
    """The server answered a POST with a status that is about the connection, not the task.

    ``status`` is the HTTP status. ``retry_after`` is how many seconds the server asks to wait,
    ``None`` if it does not say. With ``submitted == "maybe"`` (status 408, or 500 and above) the
    server may have started the task.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        retry_after: float | None = None,
        task_uuid: str | None = None,
        submitted: Submitted = Submitted.MAYBE,
        safe_to_resend: bool | None = None,
    ) -> None:
        super().__init__(
            message, task_uuid=task_uuid, submitted=submitted, safe_to_resend=safe_to_resend
        )
        self.status = status
        self.retry_after = retry_after


class ProtocolError(RunwareError):
    """The peer broke the protocol, or a frame of one task is too big for the socket."""


class JournalError(RunwareError):
    """The journal cannot be used. The message names the place and the cure.

    ``temporary``: the same may work later (it is locked, the database is away). ``in_doubt``: what
    was to be written may be there all the same, because a connection broke in a commit.
    ``about_data``: the journal is well, and does not take what was to be written of this task.
    """

    def __init__(
        self,
        message: str,
        *,
        temporary: bool = False,
        in_doubt: bool = False,
        about_data: bool = False,
        task_uuid: str | None = None,
        submitted: Submitted = Submitted.NO,
        safe_to_resend: bool | None = None,
    ) -> None:
        super().__init__(
            message, task_uuid=task_uuid, submitted=submitted, safe_to_resend=safe_to_resend
        )
        self.temporary = temporary
        self.in_doubt = in_doubt
        self.about_data = about_data


class Fenced(JournalError):
    """This client's entries in the journal are another process's by now, which answers for them.

    It was declared dead while it hung. The client ends; what became of its tasks is in the journal.
    """


class OutputError(RunwareError):
    """The output of ``run_file`` cannot be read or written, is another run's, or is not ours.

    The message names the place and the cure. What it held before is still there.
    """


class ClientClosed(RunwareError):
    """The client was closed, or is draining and takes no new task."""
