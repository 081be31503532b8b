"""Faults on order."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from .keys import KeyRing
from .sessions import Outlet, Session, SessionStore
from .stats import Stats
from .timers import Timer, Timers
from .trouble import Trouble
from .units import Envelope, Kind, Unit, data_frame
from .validation import task_error

__all__ = ["CutOrder", "Faults", "Injection", "LiveSocket"]

What: TypeAlias = Literal["results", "frames", "deltas"]


@dataclass(frozen=True, slots=True)
class CutOrder:
    """How a socket ends. ``code`` ``None``: TCP end without a close frame."""

    code: int | None = None
    reason: str = ""
    mid_frame: bool = False
    reset: bool = False


@dataclass(slots=True)
class Injection:
    """An error that waits for tasks. ``times`` ``None``: until healed."""

    error: dict[str, Any]
    task_type: str | None
    task_uuid: str | None
    times: int | None
    probability: float
    stage: Literal["accept", "execute"]
    anonymous: bool

    def scoped(self, task: dict[str, Any]) -> dict[str, Any]:
        """The error as that of a task."""
        rest = dict(self.error)
        return task_error(rest.pop("code"), rest.pop("message"), task, **rest)


@dataclass(slots=True)
class CutAfter:
    """A cut of every socket that has written so much since the order. Counted per socket."""

    what: What
    number: int
    times: int | None
    order: CutOrder


class LiveSocket(Outlet, Protocol):
    """A socket, as an order for a fault sees it."""

    session: Session | None

    def cut(self, order: CutOrder, *, half_written: bool = False) -> bool:
        """Cut by order of a fault. ``False`` if the socket is ending already."""
        ...

    def restart_count(self) -> None:
        """Count results, frames and deltas from zero again."""
        ...

    def end_blackhole(self, *, broken: bool) -> None:
        """A blackhole is over."""
        ...

    def end_stall(self) -> None:
        """Read on."""
        ...

    def trickle(self, data: bytes) -> None:
        """Send wire bytes even in a blackhole."""
        ...

    def write(self, frame: bytes) -> None:
        """Send ready wire bytes."""
        ...


class Countdown:
    """A fault that happens a number of times. ``None``: until healed."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left: int | None = 0

    def __bool__(self) -> bool:
        return self.left is None or self.left > 0

    def take(self) -> bool:
        """Use one up. Whether there was one."""
        if self.left is None:
            return True
        if self.left <= 0:
            return False
        self.left -= 1
        return True


class Faults(Trouble):
    """Orders for things to go wrong. Every method can be called at any time.

    Call the methods from the emulator's own event loop. ``times=None`` means: until
    :meth:`heal`. Orders are independent of each other and add up.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        sockets: Collection[LiveSocket],
        sessions: SessionStore,
        keys: KeyRing,
        timers: Timers,
        stats: Stats,
    ) -> None:
        self._rng = rng
        self._sockets = sockets
        self._sessions = sessions
        self._keys = keys
        self._timers = timers
        self._stats = stats
        self._cut_timer: Timer | None = None
        self._trickling: Timer | None = None
        self._reset()

    def _reset(self) -> None:
        self._reset_trouble()
        self.hole: Literal["hold", "drop"] | None = None
        self.cut_orders: list[CutAfter] = []
        self.injections: list[Injection] = []
        self.sessions_refused = False
        self.replay_doubled = False
        self.results_doubled = False
        self.shuffled: bool | None = None
        self.framing: Literal["separate", "together"] | None = None
        self.merge_limit: int | None = None
        self.merge_window: float | None = None
        self.lose_results: bool | None = None
        self.lose_requests: bool | None = None
        self.window: float | None = None
        self.uniqueness_broken = False
        self.auth_delay = 0.0
        self.auths_ignored = Countdown()
        self.auths_closed = Countdown()
        self.requests_dropped = Countdown()
        self.giants = Countdown()
        self.giant_bytes = 0
        self.replay_deaths = Countdown()
        self.replay_after = 0
        self.rejections = Countdown()
        self.reject_status = 503
        self.reject_retry_after: float | None = None
        self.post_rejections = Countdown()
        self.post_status = 503
        self.post_retry_after: float | None = None

    def heal(self) -> None:
        """End every fault that goes on or waits. Revoked keys stay revoked.

        Sockets that a "drop" blackhole robbed of bytes are cut: their streams are broken.
        """
        hole = self.hole
        self.stop_cutting()
        self._reset()
        for connection in list(self._sockets):
            connection.end_blackhole(broken=hole == "drop")
            connection.end_stall()

    # -- sockets -------------------------------------------------------------------------

    def cut(
        self,
        code: int | None = None,
        reason: str = "",
        *,
        mid_frame: bool = False,
        reset: bool = False,
    ) -> int:
        """Cut all live sockets now; returns how many.

        ``code`` ``None`` or 1006 ends TCP without a close frame; any other 16-bit code goes
        out in a close frame first (1005: a frame without a code). ``mid_frame`` writes half
        of a frame before the end. ``reset`` ends with a TCP reset, so that the client also
        loses what it has not read. When results or requests are to be lost (see
        :meth:`lose_results_on_cut`), sockets die for ``dying_window`` first.
        """
        return self._cut_all(CutOrder(None if code == 1006 else code, reason, mid_frame, reset))

    def _cut_all(self, order: CutOrder) -> int:
        live = [each for each in list(self._sockets) if each.cut(order)]
        return len(live)

    def cut_after(
        self,
        *,
        results: int | None = None,
        frames: int | None = None,
        deltas: int | None = None,
        times: int | None = 1,
        code: int | None = None,
        mid_frame: bool = False,
        reset: bool = False,
    ) -> None:
        """Cut a socket that has written so many ``results``, ``frames`` or ``deltas`` from now on.

        Each socket is counted separately; ``times`` sockets are cut in all. With ``mid_frame``
        only half of the last frame is written. A connection that carries HTTP counts as well;
        its frames are the events of its streams.

        Raises:
            ValueError: not exactly one of the three was given, or it is below 1.
        """
        whats: list[tuple[What, int | None]]
        whats = [("results", results), ("frames", frames), ("deltas", deltas)]
        given: dict[What, int] = {what: number for what, number in whats if number is not None}
        if len(given) != 1 or min(given.values()) < 1:
            raise ValueError("give either results, frames or deltas, at least 1")
        order = CutOrder(None if code == 1006 else code, "", mid_frame, reset)
        for what, number in given.items():
            self.cut_orders.append(CutAfter(what, number, times, order))
        for connection in list(self._sockets):
            connection.restart_count()

    def cut_every(
        self,
        seconds: float,
        *,
        jitter: float = 0.0,
        code: int | None = None,
        mid_frame: bool = False,
        reset: bool = False,
    ) -> None:
        """Cut all sockets again and again, the first time after ``seconds``.

        ``jitter`` (0 to 1) varies each pause by that share. Replaces an earlier order; ends
        with :meth:`stop_cutting` or :meth:`heal`.
        """
        if seconds <= 0 or not 0 <= jitter <= 1:
            raise ValueError("seconds must be positive, jitter from 0 to 1")
        order = CutOrder(None if code == 1006 else code, "", mid_frame, reset)
        self.stop_cutting()

        def strike() -> None:
            self._cut_all(order)
            plan()

        def plan() -> None:
            pause = seconds * (1 + jitter * self._rng.uniform(-1, 1)) if jitter else seconds
            self._cut_timer = self._timers.after(pause, strike)

        plan()

    def stop_cutting(self) -> None:
        """End :meth:`cut_every`."""
        if self._cut_timer is not None:
            self._cut_timer.cancel()
            self._cut_timer = None

    def blackhole(self, mode: Literal["hold", "drop"] = "hold") -> None:
        """Keep TCP open, but say nothing and hear nothing; new sockets get no handshake.

        ``"hold"`` keeps what clients write and reads it after :meth:`heal`; ``"drop"``
        throws it away, and :meth:`heal` then cuts the sockets.
        """
        self.hole = mode

    def reject_upgrades(
        self, status: int = 503, retry_after: float | None = None, times: int | None = 1
    ) -> None:
        """Answer the next ``times`` handshakes with an HTTP status (and ``Retry-After``)."""
        if not 300 <= status <= 599:
            raise ValueError("status must be from 300 to 599")
        self.reject_status = status
        self.reject_retry_after = retry_after
        self.rejections.left = times

    def reject_posts(
        self, status: int = 503, retry_after: float | None = None, times: int | None = 1
    ) -> None:
        """Answer the next ``times`` HTTP requests with a status (and ``Retry-After``)."""
        if not 300 <= status <= 599:
            raise ValueError("status must be from 300 to 599")
        self.post_status = status
        self.post_retry_after = retry_after
        self.post_rejections.left = times

    def send_raw(self, message: bytes | str) -> int:
        """Send a message body unchanged to all authenticated sockets; returns how many.

        Text goes in a text frame, bytes in a binary frame; nothing checks it.
        """
        binary = isinstance(message, bytes)
        body = message if isinstance(message, bytes) else message.encode()
        frame = data_frame(body, binary=binary)
        live = [each for each in list(self._sockets) if each.session is not None]
        for connection in live:
            connection.write(frame)
        return len(live)

    def send_error(self, code: str, message: str = "Injected.", **fields: Any) -> int:
        """Send an error that belongs to no task to all authenticated sockets."""
        error = task_error(code, message, None, **fields)
        live = [each for each in list(self._sockets) if each.session is not None]
        for connection in live:
            connection.push(Envelope([Unit(Kind.CONTROL, error, is_error=True)]))
        return len(live)

    # -- sessions and authentication -----------------------------------------------------

    def forget_sessions(self) -> int:
        """Forget all sessions and their buffers; returns how many.

        A live socket goes on, but cannot be resumed later.
        """
        known = self._sessions.all()
        for session in known:
            self._stats.expired_results += self._sessions.forget(session)
        return len(known)

    def refuse_sessions(self, on: bool = True) -> None:
        """Treat every resume as that of an unknown session."""
        self.sessions_refused = on

    def revoke_key(self, key: str, *, close: bool = False) -> None:
        """Refuse a key from now on. ``close``: also close its sockets, with 1008."""
        key_id = self._keys.id_of(key)
        self._keys.revoke(key)
        for connection in list(self._sockets) if close else []:
            if connection.session is not None and connection.session.key_id == key_id:
                connection.cut(CutOrder(1008))

    def revoke_all_keys(self) -> None:
        """Refuse every key from now on, until :meth:`accept_key`. Live sockets go on."""
        self._keys.revoke_all()

    def accept_key(self, key: str) -> None:
        """Accept a key from now on."""
        self._keys.accept(key)

    def ignore_auth(self, times: int | None = 1) -> None:
        """Never answer the next ``times`` authentications. The socket stays open."""
        self.auths_ignored.left = times

    def delay_auth(self, seconds: float) -> None:
        """Delay the answer to every authentication by so much. 0 ends it."""
        self.auth_delay = seconds

    def close_before_auth_reply(self, times: int | None = 1) -> None:
        """End the socket when the next ``times`` authentications arrive."""
        self.auths_closed.left = times

    def duplicate_replay(self, on: bool = True) -> None:
        """Send each replayed item twice."""
        self.replay_doubled = on

    def die_during_replay(self, after: int = 1, times: int | None = 1) -> None:
        """End the socket after ``after`` replayed items, in the next ``times`` replays.

        A shorter replay does not count.
        """
        self.replay_after = after
        self.replay_deaths.left = times

    # -- tasks and results ---------------------------------------------------------------

    def drop_requests(self, times: int | None = None) -> None:
        """Read the next ``times`` messages that follow authentication, but do nothing."""
        self.requests_dropped.left = times

    def lose_results_on_cut(self, on: bool | None = True, window: float | None = None) -> None:
        """Cuts lose for good what becomes ready in the last ``window`` seconds.

        The cut first marks the socket dying: it executes what it reads and writes nothing.
        It ends after the window. Such results are in the archive only. ``on`` ``None``: as
        the options say. ``window`` ``None``: ``options.dying_window``.
        """
        self.lose_results = on
        self.window = window

    def lose_requests_on_cut(self, on: bool | None = True, window: float | None = None) -> None:
        """Cuts lose the requests that arrive in the last ``window`` seconds.

        The same marking as above; what a dying socket reads is not executed.
        """
        self.lose_requests = on
        self.window = window

    def duplicate_results(self, on: bool = True) -> None:
        """Send each live result twice."""
        self.results_doubled = on

    def shuffle(self, on: bool = True) -> None:
        """Send pending items in random order."""
        self.shuffled = on

    def split(self) -> None:
        """One item in a frame, whatever the options say."""
        self.framing = "separate"
        self.merge_limit = 1

    def merge(self, limit: int = 1000, window: float = 0.0) -> None:
        """Up to ``limit`` items of any tasks in a frame, ``data`` and ``errors`` together.

        ``window``: seconds to collect them.
        """
        self.merge_limit = limit
        self.merge_window = window

    def inject_error(
        self,
        code: str,
        message: str = "Injected.",
        *,
        task_type: str | None = None,
        task_uuid: str | None = None,
        times: int | None = 1,
        probability: float = 1.0,
        stage: Literal["accept", "execute"] = "accept",
        anonymous: bool = False,
        **fields: Any,
    ) -> None:
        """Answer the next ``times`` matching tasks with this error.

        ``stage`` ``"accept"``: the task is refused and its UUID stays unused. ``"execute"``:
        it is accepted, counts as executed, and fails. ``anonymous``: the error carries
        neither ``taskUUID`` nor ``taskType``. ``probability``: of each match, 0 to 1.
        """
        error: dict[str, Any] = {"code": code, "message": message, **fields}
        self.injections.append(
            Injection(error, task_type, task_uuid, times, probability, stage, anonymous)
        )

    def giant_result(self, size: int, times: int | None = 1) -> None:
        """Pad the text of the next ``times`` results to ``size`` bytes, 1 GiB at most."""
        if not 1 <= size <= 2**30:
            raise ValueError("size must be from 1 to 1073741824")
        self.giant_bytes = size
        self.giants.left = times

    def break_uniqueness(self, on: bool = True) -> None:
        """Execute a repeated ``taskUUID`` again, to prove that a test notices it."""
        self.uniqueness_broken = on

    # -- asked by the server -------------------------------------------------------------

    def injected(self, task: dict[str, Any], stage: str) -> Injection | None:
        """The injection that hits this task now, used up by one; or ``None``."""
        for injection in self.injections:
            if injection.stage != stage:
                continue
            if injection.task_type not in (None, task.get("taskType")):
                continue
            if injection.task_uuid not in (None, task.get("taskUUID")):
                continue
            if injection.probability < 1 and self._rng.random() >= injection.probability:
                continue
            if injection.times is not None:
                injection.times -= 1
                if injection.times <= 0:
                    self.injections.remove(injection)
            return injection
        return None

    def cut_due(self, results: int, frames: int, deltas: int) -> CutOrder | None:
        """The order that ends a socket which has written so much, used up by one."""
        written = {"results": results, "frames": frames, "deltas": deltas}
        for order in self.cut_orders:
            if written[order.what] >= order.number:
                if order.times is not None:
                    order.times -= 1
                    if order.times <= 0:
                        self.cut_orders.remove(order)
                return order.order
        return None
