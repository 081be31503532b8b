"""The emulator's options: one for each thing about the server that nobody outside can know."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

__all__ = ["EmulatorOptions"]


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """How the emulated server behaves. Frozen; replace the whole record at run time.

    Durations are seconds, sizes are bytes. The defaults are the documented or the most
    likely behaviour.

    Session and resume:
        unknown_session: a resume of an unknown, expired or foreign session gets a ``"new"``
            session UUID, or an ``"error"``.
        resumed_session: a resumed session goes on under the ``"same"`` UUID, or a ``"new"`` one;
            or the reply tells ``"none"``.
        replay: buffered results come ``"after-auth"`` or ``"before-auth"`` the reply.
        replay_framing: each buffered item in a frame of its own (``"single"``), or all
            together (``"batched"``).
        replay_batch: most items in one batched replay frame.
        buffer_seconds: how long a session outlives its socket.
        keep_buffer_on_close: a close with code 1000 or 1001 by the client keeps the session.
        buffer_acks: an undelivered acknowledgement of an async task is buffered as well.
        buffer_answers: so is an undelivered answer to a question, unless it is an empty one.
        takeover_grace: how long a second socket of a session waits before the first one is
            judged alive, closed and counted as taken over.

    A dying socket:
        dying_results: results written within ``dying_window`` before the end of a socket are
            ``"buffered"`` again (they can arrive twice) or ``"lost"``.
        dying_requests: requests that reach a dying socket are ``"received"``, ``"lost"``, or
            ``"late"``: read ``dying_delay`` after they came, when the socket is gone.
        dying_window: see above, and :class:`~runware_ws.emulator.Faults`.
        dying_delay: see ``dying_requests``.

    Liveness:
        idle_seconds: a socket without a client message for so long is closed. ``None``: never.
        idle_close_code: the close code then. ``None``: TCP end without a close frame.
        pings_are_activity: protocol-level pings count as a client message.
        max_frame_bytes: a larger client message closes the socket with 1009. ``None``: no limit.
        max_sent_bytes: instead of a larger message of the server comes a close with 1009; what
            was in it counts as written. ``None``: no limit.

    Authentication:
        bad_key: spelling of the refusal.
        close_after_refusal: the server closes after a refusal.
        refusal_close_code: with this code. ``None``: TCP end without a close frame.
        before_auth: an error with this code, which names nobody, comes before the reply.

    Tasks:
        registration_delay: a fresh task is known to ``getResponse`` and ``getTaskDetails``
            only after this time.
        unregistered_copies: the conflict check knows a task at once (``"conflict"``), or, as
            questions do, after ``registration_delay``: until then a copy will ``"run"``.
        repeated_uuid: a used ``taskUUID`` gets a ``"conflict"`` error, or its ``"result"``
            again without a second execution.
        busy_copies: the code of an error that refuses each copy of a known task, without a look
            at what became of the first one. ``None``: see ``repeated_uuid``.
        ack_fields: what an acknowledgement has beside type and UUID: nothing (``"bare"``), a
            ``"cost"``, a ``"message"``, a place in the ``"queue"``, a ``"status"``, or ``"all"``.
        ack_copies: how often it comes.
        sync_notes: sync tasks are told to be ``"processing"`` when they begin.

    Answers:
        default_max_tokens: most tokens of an answer where the task has no ``settings.maxTokens``.
            ``None``: no limit. What the task has is obeyed always; a token is four characters.
        tool_calls: how a call of a forced tool is written: its arguments an object (``"flat"``),
            or JSON ``"text"``, or that ``"nested"`` in a ``function``.
        tool_finish: the finish reason of such an answer.

    Load:
        capacity: most tasks that run at once; the others wait in a queue. ``None``: no limit.
        queue_limit: most tasks that wait; those beyond are refused, over HTTP with status 429.
            ``None``: no limit.
        rate_limit: most tasks per second of each key; those beyond are refused, over HTTP with
            status 429 and ``Retry-After``. Pings and questions do not count. ``None``: no limit.
        rate_burst: so many may come at once. ``None``: as many as in one second, at least 1.
        busy_error: the code of the error that refuses a task because of the queue.
        rate_error: the same because of the rate. It tells ``retry_after``, in seconds.

    Questions:
        answers_joined: the questions of one message are answered in one frame.
        answer_type: what "not found" gives as its ``taskType``: that of the ``"question"``,
            of the ``"task"``, or ``"none"``.
        poll_sync_tasks: ``getResponse`` answers for sync tasks too.
        poll_unknown: of an unknown id it answers an ``"error"``, or an ``"empty"`` list.
        poll_running: of a running task ``"processing"``, an ``"empty"`` list, or as of an
            ``"unknown"`` one.
        poll_errors: a failed generation is told to a poll inside ``"data"`` with ``status:
            "error"``, or in an ``"errors"`` frame.
        poll_error_type: what such an error gives as its type: as ``answer_type``.
        nameless_denials: an error that tells that there is no such task names no task, and not its
            type.
        details_unknown: as ``poll_unknown``, for ``getTaskDetails``.
        details_while_running: ``getTaskDetails`` of a running task says ``"not-found"``, or
            answers with ``status: "processing"``, or with that ``"status"`` alone, without request
            and response.
        details_type: what its entry gives as its type: as ``answer_type``.
        failing_question: this kind of question always fails, with ``question_error``, which
            names the question's type if ``question_error_typed``. For a while:
            :meth:`~runware_ws.emulator.Faults.fail_questions`.
        question_errors: so many errors say in one message what is wrong with it.
        mute_question: this kind of question is never answered over a socket. ``None``: none.

    The archive:
        archive_limit: most finished tasks kept with their results. ``None``: all.
        archive_lag: seconds until an ended task is there; it looks like a running one till then.
        archive_array: it lists all that came in one message with the task.
        archive_keeps: the refusal of a copy stands there in the place of the answer: for
            ``"nothing"``, ``"while-running"`` (and through the lag), or ``"for-good"``.
        archive_field: a field that its items have and pushed ones do not. ``None``: none.
        archive_pieces: it lists what was streamed piece by piece: in one ``"frame"``, as a list of
            ``"items"`` or of ``"frames"``, or in one frame with the whole ``"behind"`` or
            ``"before"`` them. ``None``: the whole alone. Set it before the stream begins.

    Framing of results:
        results_framing: the items of one task ``"separate"`` or ``"together"``.
        result_index: items carry ``resultIndex``. ``"many"``: only if ``numberResults`` > 1.
        shuffle: pending items leave in random order.
        merge_limit: most items in one frame. 1: tasks never share a frame.
        merge_window: how long to collect items before writing.
        error_spelling: ``errors`` list, singular ``error`` object, or ``error`` list.
        upper_uuids: each ``taskUUID`` comes back in capitals.
        null_fields: items about tasks have all fields, and null where there is nothing.

    Streams:
        stream_over_socket: over the socket ``"deltas"`` come, or the ``"whole"`` result, or an
            ``"error"``.
        stream_over_http: the same over HTTP. ``"whole"`` and ``"error"`` are plain JSON then.
        stream_resume: what a resumed session gets of a stream that a cut interrupted:
            ``"continue"``: the deltas from the first one that TCP had not taken (what a TCP reset
            takes back is a gap then); ``"overlap"``: those written within ``dying_window`` before
            the end come again as well; ``"restart"``: all deltas from the first one; ``"whole"``:
            the whole result once it is done, no delta; ``"lost"``: nothing, it is in the archive.
        stream_finish: the finish reason, usage and cost come ``"with-last"`` delta; or ``"alone"``
            with an empty one; or ``"in-fields"``: the last item has no delta, and its output in
            the fields of a result; or with the ``"whole"`` result behind all deltas; or
            ``"never"``: only HTTP ends then. A script of deltas has them in an item of their own,
            or as it says.
        stream_tool_calls: calls come in ``"pieces"`` with an ``index``, or each list ``"whole"``.
        delta_sequence: the name of a field that numbers the deltas from 0. ``None``: none.
        token_rate: tokens per second. ``None``: see ``token_pause``.
        token_pause: seconds between two deltas. An asynchronous script keeps its own time.
        tokens_per_delta: how many tokens, of four characters each, a delta carries.

    HTTP:
        sse_framing: an event is the ``"bare"`` item, or ``"enveloped"`` as in a frame.
        sse_done: a stream ends with ``data: [DONE]``.
        http_error_status: the status where every task was refused or failed.
    """

    unknown_session: Literal["new", "error"] = "new"
    resumed_session: Literal["same", "new", "none"] = "same"
    replay: Literal["after-auth", "before-auth"] = "after-auth"
    replay_framing: Literal["single", "batched"] = "single"
    replay_batch: int = 1000
    buffer_seconds: float = 120.0
    keep_buffer_on_close: bool = True
    buffer_acks: bool = True
    buffer_answers: bool = False
    takeover_grace: float = 0.1

    dying_results: Literal["buffered", "lost"] = "buffered"
    dying_requests: Literal["received", "lost", "late"] = "received"
    dying_window: float = 0.05
    dying_delay: float = 0.1

    idle_seconds: float | None = 120.0
    idle_close_code: int | None = 1000
    pings_are_activity: bool = True
    max_frame_bytes: int | None = 64 * 1024 * 1024
    max_sent_bytes: int | None = None

    bad_key: Literal["errors", "error", "error-list", "legacy"] = "errors"
    close_after_refusal: bool = True
    refusal_close_code: int | None = 1008
    before_auth: str | None = None

    registration_delay: float = 0.0
    unregistered_copies: Literal["conflict", "run"] = "conflict"
    repeated_uuid: Literal["conflict", "result"] = "conflict"
    busy_copies: str | None = None
    ack_fields: Literal["bare", "cost", "message", "queue", "status", "all"] = "bare"
    ack_copies: int = 1
    sync_notes: bool = False

    default_max_tokens: int | None = None
    tool_calls: Literal["flat", "text", "nested"] = "flat"
    tool_finish: Literal["tool_calls", "tool_use", "stop", "unknown"] = "tool_calls"

    capacity: int | None = None
    queue_limit: int | None = None
    rate_limit: float | None = None
    rate_burst: int | None = None
    busy_error: str = "rateLimitExceeded"
    rate_error: str = "rateLimitExceeded"

    answers_joined: bool = False
    answer_type: Literal["question", "task", "none"] = "question"
    poll_sync_tasks: bool = True
    poll_unknown: Literal["error", "empty"] = "error"
    poll_running: Literal["processing", "empty", "unknown"] = "processing"
    poll_errors: Literal["data", "errors"] = "data"
    poll_error_type: Literal["question", "task", "none"] = "task"
    nameless_denials: bool = False
    details_unknown: Literal["error", "empty"] = "error"
    details_while_running: Literal["not-found", "processing", "status"] = "not-found"
    details_type: Literal["question", "task", "none"] = "question"
    failing_question: Literal["getResponse", "getTaskDetails"] | None = None
    question_error: str = "internalServerError"
    question_error_typed: bool = True
    question_errors: int = 1
    mute_question: Literal["getResponse", "getTaskDetails"] | None = None

    archive_limit: int | None = None
    archive_lag: float = 0.0
    archive_array: bool = False
    archive_keeps: Literal["nothing", "while-running", "for-good"] = "nothing"
    archive_field: str | None = None
    archive_pieces: Literal["frame", "items", "frames", "behind", "before"] | None = None

    results_framing: Literal["separate", "together"] = "separate"
    result_index: Literal["many", "always", "never"] = "many"
    shuffle: bool = False
    merge_limit: int = 1
    merge_window: float = 0.0
    error_spelling: Literal["errors", "error", "error-list"] = "errors"
    upper_uuids: bool = False
    null_fields: bool = False

    stream_over_socket: Literal["deltas", "whole", "error"] = "deltas"
    stream_over_http: Literal["deltas", "whole", "error"] = "deltas"
    stream_resume: Literal["continue", "overlap", "restart", "whole", "lost"] = "continue"
    stream_finish: Literal["with-last", "alone", "in-fields", "whole", "never"] = "with-last"
    stream_tool_calls: Literal["pieces", "whole"] = "pieces"
    delta_sequence: str | None = None
    token_rate: float | None = None
    token_pause: float = 0.0
    tokens_per_delta: int = 1

    sse_framing: Literal["bare", "enveloped"] = "bare"
    sse_done: bool = True
    http_error_status: int = 400

    def __post_init__(self) -> None:
        """Refuse values that make no sense. Raises ``ValueError``."""
        for name in (
            "buffer_seconds",
            "dying_window",
            "dying_delay",
            "registration_delay",
            "archive_lag",
            "merge_window",
            "token_pause",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative")
        for name in (
            "merge_limit",
            "replay_batch",
            "tokens_per_delta",
            "ack_copies",
            "question_errors",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("default_max_tokens", "capacity", "rate_burst"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("queue_limit", "archive_limit"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("idle_seconds", "max_frame_bytes", "max_sent_bytes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive")
        for name in ("idle_close_code", "refusal_close_code"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 0xFFFF:
                raise ValueError(f"{name} must have 16 bits")
        if not 200 <= self.http_error_status < 600:
            raise ValueError("http_error_status must be from 200 to 599")
        if self.rate_limit is not None and not 0 < self.rate_limit < inf:
            raise ValueError("rate_limit must be a positive number")
        if self.token_rate is not None and (not self.token_rate > 0 or self.token_pause > 0):
            raise ValueError("token_rate must be positive, and excludes token_pause")

    @property
    def delta_pause(self) -> float:
        """Seconds between two deltas."""
        if self.token_rate is None:
            return self.token_pause
        return self.tokens_per_delta / self.token_rate
