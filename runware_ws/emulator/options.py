"""The emulator's options: one for each thing about the server that nobody outside can know."""

from __future__ import annotations

from dataclasses import dataclass
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
        replay: buffered results come ``"after-auth"`` or ``"before-auth"`` the reply.
        replay_framing: each buffered item in a frame of its own (``"single"``), or all
            together (``"batched"``).
        replay_batch: most items in one batched replay frame.
        buffer_seconds: how long a session outlives its socket.
        keep_buffer_on_close: a close with code 1000 or 1001 by the client keeps the session.
        buffer_acks: an undelivered acknowledgement of an async task is buffered as well.
        takeover_grace: how long a second socket of a session waits before the first one is
            judged alive, closed and counted as taken over.

    A dying socket:
        dying_results: results written within ``dying_window`` before the end of a socket are
            ``"buffered"`` again (they can arrive twice) or ``"lost"``.
        dying_requests: requests that reach a dying socket are ``"received"`` or ``"lost"``.
        dying_window: see above, and :class:`~runware_ws.emulator.Faults`.

    Liveness:
        idle_seconds: a socket without a client message for so long is closed. ``None``: never.
        idle_close_code: the close code then. ``None``: TCP end without a close frame.
        pings_are_activity: protocol-level pings count as a client message.
        max_frame_bytes: a larger client message closes the socket with 1009. ``None``: no limit.

    Authentication:
        bad_key: spelling of the refusal.
        close_after_refusal: the server closes after a refusal.
        refusal_close_code: with this code. ``None``: TCP end without a close frame.

    Tasks:
        registration_delay: a fresh task is known to ``getResponse`` and ``getTaskDetails``
            only after this time. The conflict check knows it at once.
        repeated_uuid: a used ``taskUUID`` gets a ``"conflict"`` error, or its ``"result"``
            again without a second execution.
        poll_sync_tasks: ``getResponse`` answers for sync tasks too.
        poll_errors: a failed generation is told to a poll inside ``"data"`` with ``status:
            "error"``, or in an ``"errors"`` frame.
        details_while_running: ``getTaskDetails`` of a running task says ``"not-found"``, or
            answers with ``status: "processing"``.
        archive_limit: most finished tasks kept with their results. ``None``: all.

    Framing of results:
        results_framing: the items of one task ``"separate"`` or ``"together"``.
        result_index: items carry ``resultIndex``. ``"many"``: only if ``numberResults`` > 1.
        shuffle: pending items leave in random order.
        merge_limit: most items in one frame. 1: tasks never share a frame.
        merge_window: how long to collect items before writing.
        error_spelling: ``errors`` list, singular ``error`` object, or ``error`` list.

    Streams (``deliveryMethod: "stream"``):
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
    replay: Literal["after-auth", "before-auth"] = "after-auth"
    replay_framing: Literal["single", "batched"] = "single"
    replay_batch: int = 1000
    buffer_seconds: float = 120.0
    keep_buffer_on_close: bool = True
    buffer_acks: bool = True
    takeover_grace: float = 0.1

    dying_results: Literal["buffered", "lost"] = "buffered"
    dying_requests: Literal["received", "lost"] = "received"
    dying_window: float = 0.05

    idle_seconds: float | None = 120.0
    idle_close_code: int | None = 1000
    pings_are_activity: bool = True
    max_frame_bytes: int | None = 64 * 1024 * 1024

    bad_key: Literal["errors", "error", "error-list", "legacy"] = "errors"
    close_after_refusal: bool = True
    refusal_close_code: int | None = 1008

    registration_delay: float = 0.0
    repeated_uuid: Literal["conflict", "result"] = "conflict"
    poll_sync_tasks: bool = True
    poll_errors: Literal["data", "errors"] = "data"
    details_while_running: Literal["not-found", "processing"] = "not-found"
    archive_limit: int | None = None

    results_framing: Literal["separate", "together"] = "separate"
    result_index: Literal["many", "always", "never"] = "many"
    shuffle: bool = False
    merge_limit: int = 1
    merge_window: float = 0.0
    error_spelling: Literal["errors", "error", "error-list"] = "errors"

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
            "registration_delay",
            "merge_window",
            "token_pause",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("merge_limit", "replay_batch", "tokens_per_delta"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.token_rate is not None and (self.token_rate <= 0 or self.token_pause > 0):
            raise ValueError("token_rate must be positive, and excludes token_pause")

    @property
    def delta_pause(self) -> float:
        """Seconds between two deltas."""
        if self.token_rate is None:
            return self.token_pause
        return self.tokens_per_delta / self.token_rate
