"""The one connection: when to dial, which session to use, when the peer is dead, when to give up.

The session (its UUID) outlives the sockets. Each socket has a generation
number, and only the newest one counts.

It knows no task. Its inputs return what changed (:data:`Change`), and the core
acts on it: after :class:`Down` it asks :meth:`Connection.go_on` what to do next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runware_ws._core import failures, wire
from runware_ws._core.connection.culprits import Culprits
from runware_ws._core.connection.liveness import Liveness, Pulse
from runware_ws._core.connection.strikes import BadDials, Strikes
from runware_ws._core.effects import Authenticate, Close, Frame, Open
from runware_ws._core.states import FOREVER, READY, ConnectionState, check_connection
from runware_ws.classify import Loss, LossKind, Verdict, classify_loss
from runware_ws.errors import (
    AuthenticationError,
    ConnectionFailed,
    ProtocolError,
    RunwareError,
)
from runware_ws.events import (
    LONGEST_TEXT,
    Connected,
    DialFailed,
    Dialing,
    KeyRefused,
    PeerSuspected,
    SessionStarted,
)
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.wire_errors import WireError, asked_pause

if TYPE_CHECKING:
    from runware_ws._core.context import Context

__all__ = ["Change", "Connection", "Down", "Over", "Up"]

STEADY = 2.0
"""A connection that lived this long, or brought anything, was good: earlier trouble is forgiven."""

FAR = 1.0
"""A task that arrives brings a dial nearer that is this far off, in seconds."""

_OVERLOADED = frozenset(
    {ErrorFamily.RATE, ErrorFamily.SERVER, ErrorFamily.TIMEOUT, ErrorFamily.PROVIDER}
)
"""Errors that are about the server itself, not about the key or the session."""

SEARCH = 30.0
"""On a connection that lived this long, the search for a result that is too big is over."""

_C = ConnectionState
_TERMINAL = Verdict.TERMINAL


@dataclass(frozen=True, slots=True)
class Up:
    """The socket is authenticated. ``previous`` is the session before this one."""

    session_uuid: str | None
    previous: str | None
    resumed: bool


@dataclass(frozen=True, slots=True)
class Down:
    """The socket ended, or could not be opened.

    ``was_ready``: it was authenticated. ``dialing``: it was never open.
    """

    loss: Loss
    verdict: Verdict
    was_ready: bool
    dialing: bool = False


@dataclass(frozen=True, slots=True)
class Over:
    """The client ended for good: because of ``failure``, or closed by its caller (``None``).

    ``was_ready``: there was an authenticated socket. ``told``: an end was reported before.
    """

    failure: RunwareError | None
    was_ready: bool
    told: bool = False

    @property
    def reason(self) -> str:
        """Why, for people; empty if the caller closed."""
        return "" if self.failure is None else self.failure.message


Change = Up | Down | Over


class Connection:
    """Dials, authenticates, watches and ends sockets, one at a time."""

    def __init__(
        self,
        out: Context,
        *,
        draw: Callable[[int], float],
        redact: Callable[[str], str],
        fixed_key: bool,
    ) -> None:
        self._out = out
        self._redact = redact
        self._options = out.options
        self._draw = draw
        self._fixed_key = fixed_key
        self.liveness = Liveness(out)
        self.culprits = Culprits()
        self.state = _C.IDLE
        # Whether messages of the current socket count.
        self.open = False
        # Whether it has ended for good.
        self.over = False
        self.generation = 0
        self.session_uuid = out.options.session_uuid
        self.failure: RunwareError | None = None
        self.last_loss: Loss | None = None
        # What the current socket offered, and what happened on it.
        self._offered: str | None = None
        self._previous: str | None = None
        self._opened_at = 0.0
        self._ready_at = 0.0
        # Whether the server said something useful on it.
        self._progressed = False
        self._refusable = False
        # Whether a session was offered on it: then what was buffered for that may come, whatever
        # the server calls it now.
        self.offered = False
        self.tasks_written = 0
        # What went wrong so far.
        self._redials = 0
        # Sockets in a row that ended right after the authentication.
        self._brief = 0
        self._key_strikes = Strikes()
        self._post_strikes = Strikes()
        self._post_struck = 0
        self._protocol_strikes = Strikes()
        self._broken = Strikes()
        self._bad_dials = BadDials()
        self._was_ready = False
        # Timers; whether the next dial may come earlier, and from when on.
        self._dial_at = FOREVER
        self._dial_from = 0.0
        self._hurried = False
        self._server_is_up = False
        self._open_until = FOREVER

    def describe(self, now: float) -> str:
        """The state of the connection, for people."""
        if self.state is _C.READY:
            return f"connected for {now - self._ready_at:.3g} s"
        last = f" (last: {self.last_loss})" if self.last_loss is not None else ""
        return f"not connected, {self.state.value}{last}"

    def _enter(self, state: ConnectionState) -> None:
        self.state = check_connection(self.state, state)
        self.open = state is READY or state is _C.AUTHENTICATING
        self.over = state is _C.CLOSED or state is _C.FAILED
        self._out.rearm = True

    # Dialling

    def start(self, now: float, session: str | None) -> None:
        """Dial for the first time, at once, to resume ``session`` if there is one."""
        if self.session_uuid is None:
            self.session_uuid = session
        self._dial(now)

    def _dial(self, now: float) -> None:
        self._enter(_C.DIALING)
        self.generation += 1
        self._dial_at = FOREVER
        self._open_until = now + self._options.open_timeout
        self._out.counters.dials += 1
        self._out.emit(Dialing(at=now, generation=self.generation, attempt=self._redials + 1))
        self._out.effects.append(Open(self.generation))

    def connected(self, generation: int, now: float) -> None:
        """The socket is open: authenticate."""
        if generation != self.generation or self.state is not _C.DIALING:
            return
        self._enter(_C.AUTHENTICATING)
        self._opened_at = now
        self._bad_dials.forgive()
        self._progressed = False
        self.tasks_written = 0
        self._refusable = True
        self._offered = self.session_uuid
        self.offered = self._offered is not None
        self._previous = self._offered or self._previous
        self._out.effects.append(Authenticate(generation, self._offered))

    # Authentication

    def control_item(self, item: dict[str, Any], now: float) -> Change | None:
        """An item that belongs to no task: a pong, or the reply to our authentication."""
        kind = item.get("taskType")
        if kind == "ping" and item.get("pong"):
            self.liveness.ponged(now)
        if kind != "authentication":
            return None
        uuid = self._session_of(item)
        if self.state is _C.AUTHENTICATING:
            return self._authenticated(uuid, now)
        if self.state is _C.READY and uuid is not None and uuid != self.session_uuid:
            # The server names another session on a ready socket: it knows best.
            self.session_uuid = uuid
            self._out.emit(SessionStarted(at=now, session_uuid=uuid))
        return None

    def _session_of(self, item: dict[str, Any]) -> str | None:
        """The session that the server names, if it can be told and offered: it goes into events,
        into the journal, and into each dial. So it is short, and has no secret in it."""
        given = item.get("connectionSessionUUID")
        if not isinstance(given, str) or not 0 < len(given) <= LONGEST_TEXT:
            return None
        return given if self._redact(given) == given else None

    def _authenticated(self, uuid: str | None, now: float) -> Up:
        offered = self._offered
        resumed = uuid is not None and offered is not None and uuid.lower() == offered.lower()
        self._enter(_C.READY)
        self._was_ready = True
        self._open_until = FOREVER
        self._ready_at = now
        self.session_uuid = uuid
        self._out.counters.connections += 1
        self.liveness.start(now, now - self._opened_at)
        self._out.emit(Connected(at=now, generation=self.generation, resumed=resumed))
        if not resumed and uuid is not None:
            self._out.emit(SessionStarted(at=now, session_uuid=uuid))
        previous, self._previous = self._previous, uuid
        self._out.wake = True
        return Up(uuid, previous, resumed)

    def authentication_refused(self, error: WireError, now: float) -> Change | None:
        """The server answered our authentication with an error; only the first one counts."""
        if self.state is not _C.AUTHENTICATING or not self._refusable:
            return None
        self._refusable = False
        fam, words = error.family, f"{error.code}: {error.message}"
        if fam is ErrorFamily.QUOTA and error.task_type == "authentication":
            return self._give_up(ConnectionFailed(f"the server refuses the account: {words}"))
        if fam in _OVERLOADED:
            wait = asked_pause(error.raw)
            return self._drop(Loss(LossKind.CLOSED, code=1013, retry_after=wait, detail=words))
        if self._offered is not None and (self._key_strikes.count or not self._about_key(error)):
            # The session is refused, not the key. (After a second refusal, this may be the session
            # too: a new key may not own the old key's session.) Authenticate without a session
            # on this socket, once.
            self._enter(_C.AUTHENTICATING)
            self._refusable = True
            self._offered = self.session_uuid = None
            self._out.effects.append(Authenticate(self.generation, None))
            return None
        sure = fam is ErrorFamily.AUTH
        strikes = self._key_strikes.add(now)
        over = self._key_refused(failures.refusal(error), strikes, now, sure=sure)
        return over or self._drop(Loss(LossKind.AUTH_REFUSED, detail=words))

    def _about_key(self, error: WireError) -> bool:
        names = error.parameter if isinstance(error.parameter, tuple) else (error.parameter,)
        text = f"{error.code} {' '.join(n for n in names if n)}".lower()
        return "session" not in text and error.family is ErrorFamily.AUTH

    def _key_refused(
        self, refusal: AuthenticationError, strikes: int, now: float, *, sure: bool = True
    ) -> Over | None:
        """The key was refused ``strikes`` times in a row. Returns the client's end, if this is it.

        ``sure``: the error's code is about keys.
        """
        # A key that never worked is not tried again if fetching would give the same one.
        hopeless = sure and self._fixed_key and not self._was_ready
        final = strikes > 1 or hopeless
        self._out.emit(KeyRefused(at=now, reason=refusal.message, final=final))
        return self._give_up(refusal) if final else None

    def post_refused_key(
        self, refusal: AuthenticationError, number: int, latest: int, now: float
    ) -> Over | None:
        """POST ``number`` was refused for its key, and ``latest`` is the newest one so far.

        Counted separately from the socket's refusals, because HTTP may check keys elsewhere.
        POSTs that were open at the same time had the same key, so they count once.
        """
        if self.over or number >= self._post_struck:
            return None
        self._post_struck = latest
        return self._key_refused(refusal, self._post_strikes.add(now), now)

    def post_accepted(self) -> None:
        """The server answers a POST, so it accepts the key."""
        self._post_strikes.forgive()

    # Ends of sockets

    def lost(self, generation: int, loss: Loss) -> Down | None:
        """The driver reports that a socket ended, or could not be opened."""
        if generation != self.generation or self.state not in (
            _C.DIALING,
            _C.AUTHENTICATING,
            _C.READY,
        ):
            return None
        return self._ended(loss)

    def _drop(self, loss: Loss) -> Down:
        """End the socket ourselves."""
        self._out.effects.append(Close(self.generation, graceful=False))
        return self._ended(loss)

    def _ended(self, loss: Loss) -> Down:
        self.last_loss = loss
        self.open = False
        self._open_until = FOREVER
        was_ready, dialing = self.state is _C.READY, self.state is _C.DIALING
        self.liveness.stop()
        verdict = classify_loss(loss, self._options.close_codes, self._options.http_statuses)
        return Down(loss, verdict, was_ready, dialing)

    def go_on(self, down: Down, now: float, *, explained: bool = False) -> Over | None:
        """After the end of a socket: plan the next dial, or give up for good.

        ``explained``: a task ended the socket, and it is known which.
        """
        loss, verdict = down.loss, down.verdict
        if down.was_ready:
            self._forgive(now)
        final = self._final(loss, verdict)
        if down.dialing:
            if final is not None and self._may_pass(loss):
                if self._bad_dials.add(now):
                    return self._give_up(final)
                verdict, final = Verdict.BACK_OFF, None
            elif final is None:
                self._bad_dials.forgive()
        elif explained or (down.was_ready and self._progressed and verdict is not _TERMINAL):
            # It took what we said, and answered: neither the key nor our protocol is wrong.
            if final is not None:
                self._redials = max(self._redials, self._broken.add(now) - 1)
            verdict, final = Verdict.RESUME, None
        over: Over | None = None
        if final is not None:
            if self._may_be_the_session(down):
                self.session_uuid = None
            elif isinstance(final, AuthenticationError):
                over = self._key_refused(final, self._key_strikes.add(now), now)
            elif verdict is _TERMINAL or self._protocol_strikes.add(now) > 1:
                over = self._give_up(final)
        if over is None:
            self._redial(loss, verdict, now, was_ready=down.was_ready)
        return over

    def _may_be_the_session(self, down: Down) -> bool:
        """Whether the server may have closed over the session that was offered, not the key.

        It said so, or nothing but the session is left to try. The next dial offers none, so this
        is not asked twice.
        """
        offered = self.state is _C.AUTHENTICATING and self.offered
        tried = self.session_uuid is None or self._key_strikes.count or not self._was_ready
        return offered and bool(tried) and down.verdict is not _TERMINAL

    @staticmethod
    def _final(loss: Loss, verdict: Verdict) -> RunwareError | None:
        """What the client ends with if no other dial is worth it; ``None``: go on dialling."""
        if verdict is Verdict.TERMINAL:
            return ConnectionFailed(f"the connection cannot work: {loss}")
        if verdict is Verdict.KEY_REFUSED:
            return AuthenticationError(f"the server refuses the key: {loss}")
        if verdict is Verdict.PROTOCOL:
            return ProtocolError(f"the connection broke twice the same way: {loss}")
        return None

    def _may_pass(self, loss: Loss) -> bool:
        """Whether a dial that was refused for good may succeed later, because others did.

        Not if the key was refused, or if the user gave the verdict.
        """
        told = loss.status if loss.kind is LossKind.HTTP_REFUSED else None
        return self._was_ready and told != 401 and told not in self._options.http_statuses

    def _forgive(self, now: float) -> None:
        """An authenticated socket is gone: forgive earlier trouble if it was good."""
        lived = now - self._ready_at
        if self._progressed or lived >= STEADY:
            self._brief = 0
            self._key_strikes.forgive()
            self._protocol_strikes.forgive()
        else:
            self._brief += 1
        if lived >= STEADY:
            self._broken.forgive()
        if lived >= SEARCH:
            self.culprits.forgive()
        # The server was there, so the failures before that do not count.
        self._redials = max(0, self._brief - 1)

    def _redial(self, loss: Loss, verdict: Verdict, now: float, *, was_ready: bool) -> None:
        # Of a server that hangs up over the session that it refused, the loss does not tell.
        over_session = self.offered and self._offered is None and self.state is _C.AUTHENTICATING
        refused = (
            verdict is Verdict.KEY_REFUSED
            or loss.kind is LossKind.AUTH_REFUSED
            or (over_session and verdict is Verdict.RESUME)
        )
        self._enter(_C.BACKOFF)
        self._redials += 1
        attempt = self._redials
        if verdict in (Verdict.BACK_OFF, Verdict.RESUME_LATER):
            attempt = self._redials = max(attempt, 2)
        elif refused:
            # The second refusal ends the client, and no session is refused twice, so there is
            # nothing to spare the server.
            attempt = 1
        delay = self._draw(attempt)
        self._dial_from = now
        if loss.retry_after is not None and not refused:
            # The drawn delay comes on top, or all clients would come back at the same moment.
            self._dial_from += min(loss.retry_after, self._options.retry_after_cap)
        self._dial_at = self._dial_from + delay
        self._hurried = False
        self._server_is_up = was_ready
        if not was_ready:
            self._out.emit(
                DialFailed(
                    at=now,
                    generation=self.generation,
                    attempt=self._redials,
                    reason=str(loss),
                    retry_after=self._dial_at - now,
                )
            )

    def hurry(self, now: float, *, first: bool) -> None:
        """A task arrived while the next dial is planned: if that is far off, it comes near.

        Once for each dial, and not before the server's Retry-After. If the server is not known
        to be up, only the ``first`` task of an idle client does it, so that thousands of busy
        clients do not dial more often than their backoff says.
        """
        if self._hurried or self._dial_at <= now + FAR or not (first or self._server_is_up):
            return
        self._hurried = True
        near = max(now, self._dial_from) + self._draw(1 if self._server_is_up else 2)
        if near < self._dial_at:
            self._dial_at = near
            self._out.rearm = True

    def _give_up(self, failure: RunwareError) -> Over:
        """End for good: another dial cannot cure this."""
        # If the socket was lost before, that was reported then.
        was_ready = self.state is _C.READY and self.open
        if self.open or self.state is _C.DIALING:
            self._out.effects.append(Close(self.generation, graceful=False))
        self._stop(_C.FAILED)
        self.failure = failure
        return Over(failure, was_ready)

    def fail(self, failure: RunwareError) -> Over | None:
        """The driver cannot go on. ``None`` if the client had already ended."""
        return None if self.over else self._give_up(failure)

    def close(self) -> Over | None:
        """End because the caller asks for it. ``None`` if it was already closed."""
        if self.state is _C.CLOSED:
            return None
        over = Over(None, self.state is _C.READY, told=self.state is _C.FAILED)
        if self.state in (_C.DIALING, _C.AUTHENTICATING, _C.READY):
            self._out.effects.append(Close(self.generation, graceful=self.state is not _C.DIALING))
        self._stop(_C.CLOSED)
        return over

    def _stop(self, state: ConnectionState) -> None:
        self._enter(state)
        self.liveness.stop()
        self._dial_at = self._open_until = FOREVER

    # Time, and the wire

    def on_deadline(self, now: float, *, pending: bool) -> Down | None:
        """Do what is due: dial, give a dial up, check the peer. ``pending``: tasks in flight."""
        if now >= self._dial_at:
            self._dial(now)
        elif now >= self._open_until:
            detail = f"no authenticated socket within {self._options.open_timeout:g} s"
            return self._drop(Loss(LossKind.OPEN_TIMEOUT, detail=detail))
        elif self.state is _C.READY:
            silent = self.liveness.silent(now)
            match self.liveness.check(now, pending=pending):
                case Pulse.SUSPECT:
                    self._out.emit(PeerSuspected(at=now, generation=self.generation, silent=silent))
                case Pulse.DEAD:
                    detail = f"nothing came in for {silent:.3g} s"
                    return self._drop(Loss(LossKind.DEAD_PEER, detail=detail))
                case Pulse.FINE:
                    pass
        return None

    def next_deadline(self, *, pending: bool) -> float:
        """When :meth:`on_deadline` is due next."""
        return min(self._dial_at, self._open_until, self.liveness.next_deadline(pending=pending))

    def ping_frame(self, now: float) -> Frame | None:
        """The ping that is due, if one is."""
        if not self.liveness.ping_due:
            return None
        self.liveness.pinged(now)
        self._out.counters.pings += 1
        return Frame(wire.join((wire.PING,)))

    def wrote(self, frame: Frame, now: float) -> None:
        """A frame is being written to the socket."""
        self.liveness.last_out = now
        counters = self._out.counters
        counters.frames_out += 1
        counters.bytes_out += len(frame.data)
        if frame.records:
            self.tasks_written += len(frame.records)
            self.liveness.wrote_tasks(now)
            size, culprits = len(frame.data), self.culprits
            culprits.latest_at = now
            if culprits.suspects or culprits.is_bigger(size, self.generation):
                uuids = tuple(record.uuid for record in frame.records)
                culprits.wrote(size, uuids, self.generation)

    def progress(self) -> None:
        """The server said something useful on this socket."""
        if self.state is READY:
            self._progressed = True
