"""What goes wrong, and that it stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

from runware_ws.classify import Loss, LossKind
from tests.simulation.http import Http
from tests.simulation.keys import Keys
from tests.simulation.loop import VirtualLoop
from tests.simulation.questions import QUESTIONS
from tests.simulation.scenario import Fault
from tests.simulation.server import Server
from tests.simulation.story import Story
from tests.simulation.weather import Weather
from tests.simulation.wire import Wire

__all__ = ["Faults"]


def _refusal(what: str, value: float) -> Loss:
    if what == "oserror":
        return Loss(LossKind.DIAL_FAILED, detail="connection refused")
    if what == "tls":
        return Loss(LossKind.TLS_FAILED, detail="certificate verify failed")
    if what == "407":
        return Loss(LossKind.PROXY_REFUSED, status=407)
    wait = round(40 * value, 3) if what in ("429", "503") and value < 0.7 else None
    return Loss(LossKind.HTTP_REFUSED, status=int(what), retry_after=wait)


class Faults:
    """``suspended`` and ``foreign`` tell the watch what it must know."""

    def __init__(
        self,
        loop: VirtualLoop,
        rng: Random,
        wire: Wire,
        http: Http,
        weather: Weather,
        server: Server,
        story: Story,
        keys: Keys,
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._wire = wire
        self._http = http
        self._weather = weather
        self._server = server
        self._story = story
        self._keys = keys
        self.suspended: list[tuple[float, float]] = []
        self.foreign: set[bytes | str] = set()
        self.calm = False

    def strike(self, fault: Fault) -> None:
        """Let it happen now."""
        self._story.tell("fault", str(fault))
        self._story.count(f"fault: {fault.kind}")
        name = "_" + fault.kind.replace("-", "_")
        act: Callable[[Fault], None] = getattr(self, name)
        act(fault)

    def end(self) -> None:
        """Faults stop: from now on the network and the server do what they should."""
        weather = self._weather
        weather.refusal = None
        weather.hanging = weather.mute_pong = weather.mute_auth = 0
        weather.questions_fail.clear()
        weather.archive_denies = 0
        weather.key_refused = weather.auth_busy = weather.key_broken = 0
        weather.key_cancelled = weather.key_hangs = 0
        weather.lag_up = weather.lag_down = weather.lag_resend = 0.0
        weather.unreachable = weather.silent = 0
        weather.status = None
        self._http.traps = 0
        weather.traps.clear()
        weather.ambushes.clear()
        self._unstall(all_of_them=True)
        self._read_again(all_of_them=True)
        self.calm = True
        self._story.tell("fault", "faults stop")

    def _for(self, fault: Fault, name: str) -> None:
        setattr(self._weather, name, getattr(self._weather, name) + 1)

        def over() -> None:
            setattr(self._weather, name, max(0, getattr(self._weather, name) - 1))

        self._loop.call_later(fault.lasts, over)

    # Sockets

    def _cut(self, fault: Fault) -> None:
        if (socket := self._wire.current) is not None:
            sees = fault.value * 2 if fault.value > 0.7 else 0.0
            socket.cut(sees, self._rng.random() * 2)

    def _cut_burst(self, fault: Fault) -> None:
        for number in range(8):
            self._loop.call_later(number * (0.3 + fault.value), self._cut_if_not_calm, fault)

    def _cut_if_not_calm(self, fault: Fault) -> None:
        if not self.calm:
            self._cut(fault)

    def _close(self, fault: Fault) -> None:
        self._server.close_all(int(fault.value))

    def _freeze(self, fault: Fault) -> None:
        if (socket := self._wire.current) is not None:
            socket.freeze(up=fault.what != "down", down=fault.what != "up")

    def _undead(self, fault: Fault) -> None:
        """A gateway keeps the socket of a dead server: it pings, or lets a byte through."""
        if (socket := self._wire.current) is not None:
            socket.freeze(up=True, down=True)
            socket.dribble(6 if fault.what == "pings" else 1, 1 + 2 * fault.value)

    def _usurp(self, fault: Fault) -> None:
        self._server.usurp(self._rng, 1001 if fault.value < 0.7 else 1006)

    def _trap(self, fault: Fault) -> None:
        self._weather.traps.append(fault.what)

    def _stall(self, fault: Fault) -> None:
        self._weather.stalled += 1
        self._loop.call_later(fault.lasts, self._unstall)

    def _unstall(self, *, all_of_them: bool = False) -> None:
        weather = self._weather
        was = weather.stalled
        weather.stalled = 0 if all_of_them else max(0, was - 1)
        if was and not weather.stalled:
            self._wire.unstalled_at = self._loop.now
        if was and not weather.stalled and (socket := self._wire.current) is not None:
            socket.unstalled()

    def _lag_up(self, fault: Fault) -> None:
        self._weather.lag_up = fault.value
        self._loop.call_later(fault.lasts, setattr, self._weather, "lag_up", 0.0)

    def _lag_down(self, fault: Fault) -> None:
        self._weather.lag_down = fault.value
        self._loop.call_later(fault.lasts, setattr, self._weather, "lag_down", 0.0)

    def _lag_resend(self, fault: Fault) -> None:
        self._weather.lag_resend = 4 + fault.value * 8

    # The door

    def _refuse(self, fault: Fault) -> None:
        self._weather.refusal = _refusal(fault.what, fault.value)
        self._loop.call_later(fault.lasts, setattr, self._weather, "refusal", None)

    def _hang(self, fault: Fault) -> None:
        self._for(fault, "hanging")

    # Posts

    def _cut_post(self, fault: Fault) -> None:
        self._http.cut(int(fault.value * 100))

    def _cut_posts(self, _fault: Fault) -> None:
        self._http.cut_all()

    def _unreachable(self, fault: Fault) -> None:
        self._for(fault, "unreachable")

    def _silent(self, fault: Fault) -> None:
        self._for(fault, "silent")

    def _status(self, fault: Fault) -> None:
        self._weather.status = int(fault.what)
        self._weather.retry_after = round(20 * fault.value, 3) if fault.value < 0.5 else None
        self._loop.call_later(fault.lasts, setattr, self._weather, "status", None)

    # The server

    def _unread(self, fault: Fault) -> None:
        if fault.what == "request":
            self._weather.ambushes.append(lambda: self._stall_with(fault))
        else:
            self._stall_reading(fault)

    def _stall_with(self, fault: Fault) -> None:
        """The next request is not read for a while, and its socket dies meanwhile."""
        self._stall_reading(fault)
        self._loop.call_later(fault.lasts * fault.value, self._cut_if_not_calm, fault)

    def _stall_reading(self, fault: Fault) -> None:
        self._weather.unread += 1
        self._loop.call_later(fault.lasts, self._read_again)

    def _read_again(self, *, all_of_them: bool = False) -> None:
        weather = self._weather
        was = weather.unread
        weather.unread = 0 if all_of_them else max(0, was - 1)
        if was and not weather.unread:
            self._server.reading.stall_over()

    def _fail_questions(self, fault: Fault) -> None:
        kinds = QUESTIONS[int(fault.value * 4) :][:1] or QUESTIONS
        for kind in kinds:
            self._weather.questions_fail[kind] = fault.what
            self._loop.call_later(fault.lasts, self._weather.questions_fail.pop, kind, None)

    def _archive_denies(self, fault: Fault) -> None:
        self._for(fault, "archive_denies")

    def _mute_pong(self, fault: Fault) -> None:
        self._for(fault, "mute_pong")

    def _mute_auth(self, fault: Fault) -> None:
        self._for(fault, "mute_auth")

    def _busy_auth(self, fault: Fault) -> None:
        self._for(fault, "auth_busy")

    def _refuse_key(self, fault: Fault) -> None:
        self._weather.key_refused += int(fault.value)
        self._server.close_all(1001)

    def _rotate(self, fault: Fault) -> None:
        self._keys.rotate()
        self._server.close_all(1001)

    def _break_key(self, fault: Fault) -> None:
        self._for(fault, "key_broken")

    def _cancel_key(self, fault: Fault) -> None:
        self._for(fault, "key_cancelled")
        self._server.close_all(1001)

    def _hang_key(self, fault: Fault) -> None:
        self._for(fault, "key_hangs")
        self._server.close_all(1001)

    def _forget(self, fault: Fault) -> None:
        self._server.forget_all()

    # The host

    def _suspend(self, fault: Fault) -> None:
        begin = self._loop.now
        self._loop.suspend(fault.value)
        self.suspended.append((begin, self._loop.now))

    # Frames that are nobody's

    def _stray(self, fault: Fault) -> None:
        socket = self._wire.current
        if socket is None or not self._server.knows(socket):
            return
        error = {"message": f"about nobody, number {len(self.foreign)}"}
        if fault.what == "long":
            error["message"] += "x" * 50_000
        if fault.what != "notice":
            error["code"] = fault.what
        frame = json.dumps({"errors": [error]})
        self.foreign.add(frame)
        socket.say(frame)

    def _garbage(self, fault: Fault) -> None:
        socket = self._wire.current
        if socket is None or not self._server.knows(socket):
            return
        self._story.count(f"garbage: {fault.what}")
        number = len(self.foreign)
        stranger = f"{number:08x}-0000-4000-8000-000000000000"
        frames: dict[str, bytes | str] = {
            "not json": f'{{"data": [{number}, '.encode(),
            "array": json.dumps([{"taskUUID": stranger, "text": "x"}]),
            "deep": (b"[" * 5000) + str(number).encode(),
            "binary": b"\x00\xff\xfe" + str(number).encode(),
            "giant": json.dumps({"data": [{"taskUUID": stranger, "text": "x" * 100_000}]}),
            "foreign": json.dumps({"data": [{"taskUUID": stranger, "text": "not yours"}]}),
            "stray error": json.dumps(
                {"errors": [{"code": "inferenceError", "message": "x", "taskUUID": stranger}]}
            ),
            "echo": json.dumps(
                {"errors": [{"code": "odd", "message": f"{number}: {self._keys.current}"}]}
            ),
            "nothing": json.dumps({"number": number}),
            "odd items": json.dumps(
                {"data": [None, 3, "x", [], {"taskUUID": number}], "n": number}
            ),
            "late pong": json.dumps({"data": [{"taskType": "ping", "pong": True, "n": number}]}),
        }
        frame = frames[fault.what]
        self.foreign.add(frame)
        socket.say(frame)
