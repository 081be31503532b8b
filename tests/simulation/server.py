"""A small model server: sessions, replay, execution, questions.

Written from the facts about the wire alone: it shares nothing with the
client's core, nor with the emulator. All of it runs in callbacks of the
virtual loop. It counts how often each task was executed: a request whose
first copy is not registered yet would run twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from runware_ws.models.results import RecoveredBy
from tests.simulation.loop import VirtualLoop
from tests.simulation.questions import QUESTIONS, Questions
from tests.simulation.reading import Reading
from tests.simulation.story import Story, short
from tests.simulation.streaming import Streaming
from tests.simulation.traits import Plan, Traits
from tests.simulation.weather import Weather
from tests.simulation.wire import Push, Socket, Wire
from tests.simulation.works import Response, Work, error_frame, with_nulls

__all__ = ["Server"]

BUFFER = 120.0
"""Documented: what could not be delivered is kept this long; and an idle socket lives so long."""


@dataclass(slots=True, eq=False)
class _Session:
    uuid: str
    key: str
    socket: Socket | None = None
    buffer: list[tuple[float, Push]] = field(default_factory=list[tuple[float, Push]])
    left_at: float = 0.0
    usurped: bool = False
    """Another client has it now, and gets what is pushed."""


@dataclass(slots=True, eq=False)
class _End:
    """The server's end of a socket."""

    session: _Session | None = None
    spoke_at: float = 0.0


class Server:
    """``plans`` tells what is to become of each task; ``keys``: what a valid key is now."""

    def __init__(
        self,
        loop: VirtualLoop,
        rng: Random,
        wire: Wire,
        weather: Weather,
        traits: Traits,
        story: Story,
        plans: Mapping[str, Plan],
        valid_key: Callable[[str], bool],
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._wire = wire
        self._weather = weather
        self.traits = traits
        self._story = story
        self._plans = plans
        self._valid_key = valid_key
        self.works: dict[str, Work] = {}
        self.sessions: dict[str, _Session] = {}
        # What a client calls a session that was renamed.
        self._renamed: dict[str, str] = {}
        self.ends: dict[Socket, _End] = {}
        self.received: dict[str, list[float]] = {}
        self.problems: list[str] = []
        self.errors_sent: dict[str, set[str]] = {}
        self.reading = Reading(loop, rng, weather, story, rest=traits.reads_rest)
        self.questions = Questions(loop, weather, traits, story, self.works)
        self._streaming = Streaming(loop, story, traits, self._push_of, self._failed)

    # The wire's calls

    def opened(self, socket: Socket) -> None:
        """A client connected."""
        self.ends[socket] = _End(spoke_at=self._loop.now)
        self._loop.call_later(BUFFER, self._idle, socket)

    def ended(self, socket: Socket) -> None:
        """The server sees that a socket is gone."""
        end = self.ends.pop(socket, None)
        if end is not None and end.session is not None and end.session.socket is socket:
            self._detach(end.session)

    def heard(self, socket: Socket, data: bytes) -> None:
        """A message was delivered."""
        end = self.ends.get(socket)
        if self._weather.ambushes and b'"model"' in data:
            self._weather.ambushes.pop()()
        if end is not None:
            self.reading.delivered(
                socket,
                lambda: self._read(socket, end, data),
                lambda: self.ends.get(socket) is not end or socket.cut_at is not None,
            )

    def _read(self, socket: Socket, end: _End, data: bytes) -> None:
        """A message is read; its socket may have died since it came."""
        tasks = json.loads(data)
        code = self._objection(tasks, data)
        if code is not None:
            self._story.tell("server", f"closes {socket.number} with {code}: {len(data)} bytes")
            self.ended(socket)
            socket.hang_up(code)
            return
        end.spoke_at = self._loop.now
        questions: list[dict[str, Any]] = []
        array: list[Work] = []
        for task in tasks:
            kind = task["taskType"]
            if kind == "authentication":
                # Nobody is resumed by a socket that is gone.
                if self.ends.get(socket) is end:
                    self._authenticate(socket, end, task)
            elif end.session is None:
                self.problems.append("a task before the authentication")
            elif kind == "ping":
                if not self._weather.mute_pong:
                    self._say(socket, {"data": [{"taskType": "ping", "pong": True}]})
            elif kind in QUESTIONS:
                questions.append(task)
            else:
                known = task["taskUUID"] in self.works
                self._task(socket, end.session, task)
                work = self.works[task["taskUUID"]]
                work.sockets.append(socket)
                if not known:
                    array.append(work)
                    work.array = array
        if questions:
            self._wire.happened("question", socket)
        if self.traits.answers_shuffled:
            self._rng.shuffle(questions)
        late = self.traits.answers_late
        parts = 1 if not late or len(questions) < 2 else 2 if len(questions) < 4 else 4
        size = -(-len(questions) // parts)
        self._answer(socket, questions[:size])
        for number in range(1, parts):
            self._story.count("questions answered in parts")
            part = questions[number * size : (number + 1) * size]
            self._loop.call_later(late * number / (parts - 1), self._answer, socket, part)

    def _answer(self, socket: Socket, questions: list[dict[str, Any]]) -> None:
        if socket not in self.ends:
            return
        for frame in self.questions.frames(questions):
            self._say(socket, frame, Push(frame) if self.traits.answers_buffered else None)

    def _objection(self, tasks: list[dict[str, Any]], data: bytes) -> int | None:
        """With which code a message is answered that nobody reads; most are read."""
        limit = self.traits.limit_in
        if limit is not None and len(data) > limit:
            self._story.count("fault: oversize out")
            return 1009
        for task in tasks:
            plan = self._plans.get(task.get("taskUUID", ""))
            if plan is not None and plan.poison and task["taskType"] not in QUESTIONS:
                self._story.count(f"poison: {plan.poison}")
                return plan.poison
        return None

    # Authentication and sessions

    def _authenticate(self, socket: Socket, end: _End, task: dict[str, Any]) -> None:
        self._wire.happened("auth", socket)
        if self._weather.mute_auth:
            self._story.count("fault: authentication unanswered")
            return
        key = task["apiKey"]
        self._say_before_auth(socket)
        if self._weather.auth_busy:
            self._story.count("fault: authentication busy")
            self._say(socket, {"errors": [self._auth_error("rateLimitExceeded", "busy")]})
            return
        if not self.takes(key):
            self._refuse_key(socket, key)
            return
        wanted: str | None = task.get("connectionSessionUUID")
        if wanted is not None:
            wanted = self._renamed.get(wanted, wanted)
        session = self.sessions.get(wanted) if wanted is not None else None
        if wanted is not None and not self._resumable(session, key):
            if session is not None:
                self._forget(session)
            self._story.count(f"session refused by {self.traits.refuses_by}")
            if self.traits.refuses_by == "error":
                code = "sessionExpired"
            elif self.traits.refuses_by == "error-session":
                code = "invalidConnectionSessionUUID"
            else:
                code = None
            if code is not None:
                self._say(socket, {"errors": [self._auth_error(code, "no such session")]})
                if self.traits.refusal_closes:
                    self._story.count("a socket is closed over its session")
                    self.ended(socket)
                    socket.hang_up(1008)
                return
            session = None
        resumed = session is not None
        if session is None:
            uuid = self._uuid()
            session = self.sessions[uuid] = _Session(uuid, key)
        elif session.socket is not None:
            self._take_over(session)
        end.session = session
        session.socket = socket
        session.usurped = False
        self._story.tell(
            "server", f"socket {socket.number}: session {short(session.uuid)}, {resumed=}"
        )
        reply = {"taskType": "authentication", "connectionSessionUUID": session.uuid}
        if resumed and self.traits.renames:
            self._rename(session, reply)
        replay = self._take_buffer(session)
        if resumed:
            replay += self._streaming.resumed(session.uuid)
        if self.traits.replay_first:
            self._replay(session, socket, replay)
        self._say(socket, {"data": [reply]})
        if not self.traits.replay_first:
            self._replay(session, socket, replay)

    def _rename(self, session: _Session, reply: dict[str, Any]) -> None:
        """The session lives on, and the client is not told so."""
        self._story.count(f"session renamed: {self.traits.renames}")
        if self.traits.renames == "none":
            del reply["connectionSessionUUID"]
        else:
            reply["connectionSessionUUID"] = name = self._uuid()
            self._renamed[name] = session.uuid

    def _say_before_auth(self, socket: Socket) -> None:
        code = self.traits.before_auth
        if code and self._rng.random() < 0.5:
            self._story.count("an error before the reply")
            error = {"message": "about nobody"} if code == "notice" else {"code": code}
            self._say(socket, error_frame([{"message": code, **error}], self.traits.error_key))

    def takes(self, key: str) -> bool:
        """Whether this key is good now."""
        return not self._weather.key_refused and self._valid_key(key)

    def _resumable(self, session: _Session | None, key: str) -> bool:
        if session is None or session.key != key:
            return False
        if session.socket is None and self._loop.now > session.left_at + BUFFER:
            return False
        return self._rng.random() < self.traits.resumes

    def _auth_error(self, code: str, message: str) -> dict[str, Any]:
        return {"code": code, "message": message, "taskType": "authentication"}

    def _refuse_key(self, socket: Socket, key: str) -> None:
        self._story.tell("server", f"refuses the key on socket {socket.number}")
        self._weather.causes.append("the key was refused")
        echo = f"the key {key} is bad" if self.traits.echoes_key else "the key is bad"
        if self.traits.auth_style == "old":
            old = {"error": True, "errorId": 19, "errorMessageContentId": 1212}
            self._say(socket, {**old, "errorMessage": echo})
        elif self.traits.auth_style == "code":
            self._say(socket, {"errors": [self._auth_error("invalidApiKey", echo)]})
        self.ended(socket)
        if self.traits.auth_style == "close" or self._rng.random() < 0.5:
            socket.hang_up(1008)

    def _take_over(self, session: _Session) -> None:
        """The client is back before we saw that its socket died."""
        old = session.socket
        assert old is not None
        self.ends.pop(old, None)
        self._detach(session)
        old.forget()

    def _detach(self, session: _Session) -> None:
        socket = session.socket
        assert socket is not None
        session.socket = None
        session.left_at = now = self._loop.now
        again = self._streaming.cut(session.uuid, socket.not_arrived())
        if self.traits.dying == "lost":
            again.clear()
        elif self.traits.dying == "again":
            again = self._streaming.kept(socket.just_arrived()) + again
        session.buffer += [(now + BUFFER, push) for push in again]

    def _forget(self, session: _Session) -> None:
        self.sessions.pop(session.uuid, None)
        session.buffer.clear()

    def forget_all(self) -> None:
        """A restart: no session is known any more, and no socket."""
        for socket in list(self.ends):
            self.ended(socket)
            socket.hang_up(1012)
        for session in list(self.sessions.values()):
            self._forget(session)

    def usurp(self, rng: Random, code: int) -> None:
        """Another client takes a session, what waits in its buffer, and has tasks of its own."""
        for socket, end in list(self.ends.items()):
            session = end.session
            if session is None:
                continue
            self.ended(socket)
            socket.hang_up(code)
            session.usurped = True
            session.buffer = [each for each in session.buffer if rng.random() < 0.5]
            number = rng.getrandbits(32)
            stranger = f"{number:08x}-1111-4000-8000-000000000000"
            theirs = {"taskType": "textInference", "taskUUID": stranger, "text": "theirs"}
            session.buffer.append((self._loop.now + BUFFER, Push({"data": [theirs]})))

    def _take_buffer(self, session: _Session) -> list[Push]:
        now = self._loop.now
        kept = [push for expires, push in session.buffer if expires >= now]
        session.buffer.clear()
        return kept

    def _replay(self, session: _Session, socket: Socket, pushes: list[Push]) -> None:
        if not pushes:
            return
        self._story.tell("server", f"replays {len(pushes)} frames on socket {socket.number}")
        self._story.count("replay")
        if len(pushes) > len({json.dumps(push.content) for push in pushes}):
            self._story.count("replay duplicated")
        self._wire.happened("replay", socket)
        if self.traits.replay_shuffled:
            self._rng.shuffle(pushes)
        if self.traits.replay_batched:
            frame: dict[str, Any] = {}
            for push in pushes:
                for key, value in push.content.items():
                    frame.setdefault(key, []).extend(value if isinstance(value, list) else [value])
            pushes = [Push(frame)]
        gap = 0.0 if self.traits.replay_first else self.traits.replay_gap
        for number, push in enumerate(pushes):
            if number and gap:
                self._loop.call_later(number * gap, self._push, session, push)
            else:
                self._push(session, push)

    # Tasks

    def _task(self, socket: Socket, session: _Session, task: dict[str, Any]) -> None:
        error = self.take_in(task, session.uuid)
        if error is not None:
            if self.traits.anonymous_conflicts:
                del error["taskUUID"]
            frame = error_frame([error], self.traits.error_key)
            self._say(socket, frame, Push(frame) if self.traits.refusals_buffered else None)
            return
        work = self.works[task["taskUUID"]]
        about = {"taskType": work.task_type, "taskUUID": work.plan.uuid}
        if work.delivery == "async":
            self._story.count(f"receipt: {self.traits.receipt}")
            for _ in range(self.traits.receipts):
                self._say(socket, {"data": [work.receipt(self.traits.receipt)]})
        elif work.delivery == "sync" and self.traits.sync_note:
            self._story.count("a sync task is processing")
            self._say(socket, {"data": [{**about, "status": "processing"}]})

    def take_in(
        self, task: dict[str, Any], session: str, response: Response | None = None
    ) -> dict[str, Any] | None:
        """A task came, over a socket or over HTTP; the error where its taskUUID is taken."""
        uuid = task["taskUUID"]
        now = self._loop.now
        self.received.setdefault(uuid, []).append(now)
        work = self.works.get(uuid)
        busy = self.traits.copies_busy
        if work is not None and busy and self._rng.random() < 0.5:
            self._story.count("a copy is not let in")
            return {"code": busy, "message": "busy", "taskUUID": uuid, "taskType": work.task_type}
        if work is not None and now >= work.registered_at:
            self._story.tell("server", f"conflict {short(uuid)}")
            self._story.count("conflict")
            work.refused = True
            self.errors_sent.setdefault(uuid, set()).add("conflictTaskUUID")
            return {"code": "conflictTaskUUID", "message": "used before", "taskUUID": uuid}
        if work is not None:
            work.runs += 1
            # I5 holds under the one assumption about time that ``reading`` has.
            self.problems.append(
                f"I5: {short(uuid)} is executed twice: it came at {work.received_at:.3f}, and "
                f"again at {now:.3f}, before it was registered"
            )
            return None
        plan = self._plans[uuid]
        self._story.tell("server", f"received {short(uuid)}")
        delivery = task.get("deliveryMethod", "sync")
        work = Work(plan, task["taskType"], session, now, now + plan.register, delivery, response)
        if response is not None:
            work.ways.add(RecoveredBy.LIVE)
        self.works[uuid] = work
        self._loop.call_later(plan.register, self._start, work)
        return None

    def _start(self, work: Work) -> None:
        if work.plan.stream is not None:
            self._streaming.begin(work)
            return
        for index, takes in enumerate(work.plan.takes):
            self._loop.call_later(takes, self._produce, work, index)

    def _failed(self, work: Work) -> None:
        self.errors_sent.setdefault(work.plan.uuid, set()).add(work.plan.code)

    def _produce(self, work: Work, index: int) -> None:
        if work.finished_at is not None:
            return
        plan = work.plan
        left = plan.number - len(work.items)
        fails = plan.ends == "error" or (plan.ends == "partial" and left == 1)
        if fails:
            work.error = work.failure(anonymous=plan.anonymous)
            work.finished_at = self._loop.now
            self._failed(work)
        else:
            work.items.append(work.item(index, upper=self.traits.upper))
            if left == 1:
                work.finished_at = self._loop.now
        if work.delivery == "async":
            return
        done = work.finished_at is not None
        frame: dict[str, Any] = {}
        if plan.joined and not done:
            return
        if plan.joined:
            frame["data"] = list(work.items)
        elif not fails:
            frame["data"] = work.items[-1:]
        if work.error is not None:
            frame.update(error_frame([work.error], self.traits.error_key))
        if not frame.get("data", True):
            del frame["data"]
        self._story.tell("server", f"answers {short(plan.uuid)} #{index}")
        if plan.loses:
            self._story.count("fault: result lost")
            return
        for _ in range(2 if plan.doubles else 1):
            self._push_of(work, Push(frame))

    def _push_of(self, work: Work, push: Push) -> None:
        session = self.sessions.get(work.session)
        if session is not None:
            self._push(session, push)

    def _push(self, session: _Session, push: Push) -> None:
        if session.usurped:
            self._story.count("a result went to another client")
        elif session.socket is not None and session.socket.alive:
            self._say(session.socket, push.content, push)
        else:
            session.buffer.append((self._loop.now + BUFFER, push))

    # To the wire

    def _say(self, socket: Socket, frame: dict[str, Any], push: Push | None = None) -> None:
        end = self.ends.get(socket)
        if end is not None:
            end.spoke_at = self._loop.now
        data = json.dumps(with_nulls(frame) if self.traits.nulls else frame).encode()
        limit = self.traits.limit_out
        if limit is not None and len(data) > limit:
            self._story.count("fault: result too large")
            self._story.tell("server", f"closes {socket.number} with 1009: a result")
            self.ended(socket)
            socket.hang_up(1009)
        else:
            self._note_way(socket, frame if push is not None else {})
            socket.say(data, push)

    def _note_way(self, socket: Socket, pushed: dict[str, Any]) -> None:
        """On which way something leaves: over the socket that brought the task, or another."""
        for item in pushed.get("data", ()):
            work = self.works.get(item["taskUUID"].lower())
            if work is None or not work.sockets:
                continue
            if socket in work.sockets:
                work.ways.add(RecoveredBy.LIVE)
            # Where a copy went over this socket, it may be the first one's answer all the same.
            if socket is not work.sockets[0]:
                work.ways.add(RecoveredBy.REPLAY)

    def _idle(self, socket: Socket) -> None:
        end = self.ends.get(socket)
        if end is None:
            return
        left = end.spoke_at + BUFFER - self._loop.now
        if left > 0:
            self._loop.call_later(left, self._idle, socket)
            return
        self._story.count("fault: idle close")
        self.ended(socket)
        socket.hang_up(1000)

    def knows(self, socket: Socket) -> bool:
        """Whether this socket was authenticated."""
        end = self.ends.get(socket)
        return end is not None and end.session is not None

    def close_all(self, code: int) -> None:
        """Close what is open, with a code."""
        if code in (1002, 1003, 1007, 1008, 1010):
            self._weather.causes.append(f"close code {code}")
        for socket in list(self.ends):
            self.ended(socket)
            socket.hang_up(code)

    def _uuid(self) -> str:
        bits = (self._rng.getrandbits(128) & ~(0xF000 << 64) & ~(0xC << 60)) | 0x8 << 60
        text = f"{bits | 0x4000 << 64:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
