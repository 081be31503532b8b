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

    def __post_init__(self) -> None:
        """Refuse values that make no sense. Raises ``ValueError``."""
        for name in ("buffer_seconds", "dying_window", "registration_delay", "merge_window"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("merge_limit", "replay_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
