"""Experiments about sessions: the resume, the buffer, the replay, the end of a socket."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import anyio

from runware_ws.classify import Loss
from runware_ws.probe.lab import Bench, Greeting, Socket, long_task, short_task
from runware_ws.probe.verdict import Experiment, Verdict, unclear

__all__ = [
    "AWAY",
    "CLOSE",
    "EXPIRY",
    "HELLO",
    "IDLE",
    "REPLAY_CUT",
    "RUNNING",
    "STRANGER",
    "TAKEOVER",
]


# A socket, a ping, a resume


@dataclass(frozen=True, slots=True)
class Hello:
    """``pong``: seconds until the ping was answered; ``resume``: what a resume got.

    ``early``: the codes of errors that came before the first reply.
    """

    pong: float | None
    resume: str
    early: list[str]


async def _hello(bench: Bench) -> Hello:
    async with bench.signed_in() as (first, session):
        pong = await first.ping()
    async with bench.socket() as second:
        resume = (await second.authenticate(session)).against(session)
        return Hello(pong, resume, first.before_greeting)


HELLO = Experiment("hello", _hello, lambda pace: 3 * pace.answer)


def judge_early(facts: Hello) -> Verdict:
    """Does an error come before the reply to the authentication?"""
    return Verdict("errors", ", ".join(facts.early)) if facts.early else Verdict("nothing")


def judge_ping(facts: Hello) -> Verdict:
    """Does the server answer the application's ping?"""
    if facts.pong is None:
        return Verdict("silence")
    return Verdict("pong", f"after {facts.pong * 1000:.0f} ms")


def judge_resume(facts: Hello) -> Verdict:
    """What comes for a resume of a session of our own?"""
    return unclear("no reply") if facts.resume == "silence" else Verdict(facts.resume)


# A session that never was


@dataclass(frozen=True, slots=True)
class Stranger:
    """``outcome``: what a resume of an unknown session got; ``afresh``: what came after it."""

    outcome: str
    code: str
    afresh: str


async def _stranger(bench: Bench) -> Stranger:
    asked = str(uuid4())
    async with bench.socket() as socket:
        greeting = await socket.authenticate(asked)
        outcome, code = greeting.against(asked), greeting.error.code if greeting.error else ""
        afresh = ""
        if outcome == "error":
            again = await socket.authenticate()
            afresh = "a fresh authentication on the same socket "
            afresh += "is accepted" if again.accepted else "is not accepted"
        return Stranger(outcome, code, afresh)


STRANGER = Experiment("stranger", _stranger, lambda pace: 3 * pace.answer)


def judge_stranger(facts: Stranger) -> Verdict:
    """What comes for a session UUID that never existed?"""
    if facts.outcome == "silence":
        return unclear("no reply")
    return Verdict(facts.outcome, ", ".join(filter(None, (facts.code, facts.afresh))))


# Results that were ready while we were away


@dataclass(frozen=True, slots=True)
class Returned:
    """A resume after tasks had ended.

    ``frames``: for each frame with results, how many it held, and whether it came before the
    reply to the authentication. ``missing``: how many results did not come. ``lag``: seconds
    from the reply to the last result.
    """

    greeting: str
    missing: int
    frames: list[tuple[int, bool]]
    lag: float


async def _return(bench: Bench, session: str, uuids: list[str]) -> Returned:
    async with bench.socket() as socket:
        greeting = await socket.authenticate(session)
        began = bench.now()
        await socket.listen(bench.pace.answer, lambda: socket.settled(*uuids))
        lag = bench.now() - began
        frames: list[tuple[int, bool]] = []
        for place, seen in enumerate(socket.frames):
            named = {item.get("taskUUID") for item in seen.items}
            named |= {error.task_uuid for error in seen.errors}
            here = len(named & set(uuids))
            if here:
                frames.append((here, place < greeting.place))
        missing = sum(not socket.settled(uuid) for uuid in uuids)
        if missing:
            # For the log: does the server have them at all?
            tasks = [{"taskType": "getTaskDetails", "taskUUID": uuid} for uuid in uuids]
            await socket.send(*tasks)
            await socket.listen(bench.pace.quiet)
        return Returned(greeting.against(session), missing, frames, lag)


async def _away(bench: Bench) -> Returned:
    tasks = [short_task(), short_task()]
    session = await bench.leave_behind(*tasks)
    await anyio.sleep(bench.pace.away)
    return await _return(bench, session, [task["taskUUID"] for task in tasks])


AWAY = Experiment(
    "away", _away, lambda pace: 3 * pace.answer + pace.away + pace.answer + pace.quiet, short=2
)


def judge_buffer(facts: Returned) -> Verdict:
    """Is a result kept that was ready while the socket was away?"""
    session = f"the session is {facts.greeting!r}"
    if facts.missing:
        answer = "lost" if not facts.frames else "partly"
        return Verdict(answer, f"{facts.missing} of 2 results did not come; {session}")
    return Verdict("replayed", f"{facts.lag:.1f} s after the reply at the latest")


def judge_order(facts: Returned) -> Verdict:
    """Does the replay come before or after the reply to the authentication?"""
    if facts.missing:
        return unclear("not all results were replayed")
    places = {before for _, before in facts.frames}
    if len(places) > 1:
        return Verdict("both")
    return Verdict("before-auth" if True in places else "after-auth")


def judge_framing(facts: Returned) -> Verdict:
    """Are replayed results one to a frame, or batched?"""
    if facts.missing:
        return unclear("not all results were replayed")
    return Verdict("batched" if len(facts.frames) == 1 else "single")


# A clean close


async def _close(bench: Bench) -> Returned:
    task = short_task()
    session = await bench.leave_behind(task, close=True)
    await anyio.sleep(bench.pace.away)
    return await _return(bench, session, [task["taskUUID"]])


CLOSE = Experiment("close", _close, lambda pace: 5 * pace.answer + pace.away + pace.quiet, short=1)


def judge_close(facts: Returned) -> Verdict:
    """Does a close with code 1000 keep the session and its buffer?"""
    answer = "dropped" if facts.missing else "kept"
    return Verdict(answer, f"the session is {facts.greeting!r}")


# A task that still runs when we come back


@dataclass(frozen=True, slots=True)
class StillRunning:
    """``late``: seconds from the reply to the result; ``None``: it did not come.

    ``pending``: whether the task was still running after the resume.
    """

    greeting: str
    pending: bool
    late: float | None


async def _running(bench: Bench) -> StillRunning:
    task = long_task()
    uuid: str = task["taskUUID"]
    session = await bench.leave_behind(task)
    async with bench.socket() as socket:
        greeting = await socket.authenticate(session)
        # What was ready before comes with the resume: in front of the pong.
        await socket.ping()
        pending, began = not socket.settled(uuid), bench.now()
        came = await socket.listen(bench.pace.task, lambda: socket.settled(uuid))
        return StillRunning(
            greeting.against(session), pending, bench.now() - began if came else None
        )


RUNNING = Experiment("running", _running, lambda pace: 5 * pace.answer + pace.task, long=1)


def judge_running(facts: StillRunning) -> Verdict:
    """Does a task that ends after the resume deliver to the new socket?"""
    if facts.late is None:
        return Verdict("lost", f"the session is {facts.greeting!r}")
    if not facts.pending:
        return unclear("the task had ended before the resume")
    return Verdict("delivered", f"{facts.late:.1f} s after the resume")


# A socket that dies during the replay


@dataclass(frozen=True, slots=True)
class ReplayCut:
    """Whether the result came with the first resume, and again with the second."""

    first: bool
    again: bool


async def _replay_cut(bench: Bench) -> ReplayCut:
    task = short_task()
    uuid: str = task["taskUUID"]
    session = await bench.leave_behind(task)
    await anyio.sleep(bench.pace.away)
    came: list[bool] = []
    for _ in range(2):
        async with bench.socket() as socket:
            greeting = await socket.authenticate(session)
            session = greeting.session or session
            # Left at once when the result is here: it was written into a dying socket.
            limit = bench.pace.answer if greeting.accepted else 0
            came.append(await socket.listen(limit, partial(socket.settled, uuid)))
    return ReplayCut(*came)


REPLAY_CUT = Experiment(
    "replay-cut", _replay_cut, lambda pace: 6 * pace.answer + pace.away, short=1
)


def judge_replay_cut(facts: ReplayCut) -> Verdict:
    """Is a result sent again if the socket died during its replay?"""
    if not facts.first:
        return unclear("the result was not replayed at all")
    return Verdict("again" if facts.again else "once")


# Two sockets, one session


@dataclass(frozen=True, slots=True)
class Takeover:
    """``second``: what the second socket got; ``first``: how the first one ended."""

    second: str
    first: Loss | None
    on_first: bool
    on_second: bool


async def _takeover(bench: Bench) -> Takeover:
    task = long_task()
    uuid: str = task["taskUUID"]
    async with bench.signed_in() as (first, session):
        await first.send(task)
        await first.ping()
        async with bench.socket() as second:
            greeting = await second.authenticate(session)
            both = [first, second]
            # A socket that lost the session may keep silent: neither end is waited for alone.
            await bench.listen_to(
                both, bench.pace.task, lambda: any(each.settled(uuid) for each in both)
            )
            await bench.listen_to(both, bench.pace.quiet, lambda: False)
            return Takeover(
                greeting.against(session),
                first.loss,
                first.settled(uuid),
                second.settled(uuid),
            )


TAKEOVER = Experiment(
    "takeover", _takeover, lambda pace: 5 * pace.answer + pace.task + pace.quiet, long=1
)


def judge_takeover(facts: Takeover) -> Verdict:
    """Does a second socket of the same session take over?"""
    if facts.second == "silence":
        return unclear("no reply")
    if facts.second != "same" and not facts.on_second:
        return Verdict("refused", f"the second socket gets {facts.second!r}")
    places = [name for name, on in (("first", facts.on_first), ("second", facts.on_second)) if on]
    where = f"the result came on the {' and the '.join(places)}" if places else "no result came"
    if facts.first is None:
        return Verdict("both-open", where)
    code = facts.first.code
    return Verdict("taken-over", f"the first is closed with {code or 'no close frame'}; {where}")


# Longer than the buffer lives


@dataclass(frozen=True, slots=True)
class Expiry:
    """A resume after the buffer's time."""

    away: float
    greeting: Greeting
    outcome: str
    replayed: bool


async def _expiry(bench: Bench) -> Expiry:
    task = short_task()
    uuid: str = task["taskUUID"]
    session = await bench.leave_behind(task)
    away = bench.pace.buffer + bench.pace.margin
    await anyio.sleep(away)
    async with bench.socket() as socket:
        greeting = await socket.authenticate(session)
        limit = bench.pace.answer if greeting.accepted else 0
        replayed = await socket.listen(limit, lambda: bool(socket.results(uuid)))
        return Expiry(away, greeting, greeting.against(session), replayed)


EXPIRY = Experiment(
    "expiry",
    _expiry,
    lambda pace: 5 * pace.answer + pace.buffer + pace.margin,
    short=1,
    waits=lambda pace: pace.buffer + pace.margin,
)


def judge_expired_session(facts: Expiry) -> Verdict:
    """What comes for a session that has expired?"""
    if facts.outcome == "silence":
        return unclear("no reply")
    code = facts.greeting.error.code if facts.greeting.error else ""
    return Verdict(facts.outcome, f"after {facts.away:.0f} s away{', ' if code else ''}{code}")


def judge_expired_result(facts: Expiry) -> Verdict:
    """Is a result still replayed after the buffer's time?"""
    return Verdict("replayed" if facts.replayed else "gone", f"after {facts.away:.0f} s away")


# Silence


@dataclass(frozen=True, slots=True)
class Idle:
    """Seconds from the last message to the end of a socket; ``None``: still open.

    One is silent, one sends pings of the WebSocket protocol, one the application's.
    """

    silent: float | None
    code: int | None
    pinging: float | None
    talking: float | None


async def _idle(bench: Bench) -> Idle:
    limit = bench.pace.idle + bench.pace.margin
    async with (
        bench.signed_in() as (silent, _),
        bench.signed_in() as (pinging, _),
        bench.signed_in() as (talking, _),
        anyio.create_task_group() as group,
    ):
        group.start_soon(silent.listen, limit)
        group.start_soon(_keep_busy, bench, pinging, pinging.protocol_ping, limit)
        group.start_soon(_keep_busy, bench, talking, talking.ping, limit)
    ends = [
        None if each.loss is None else each.lost_at - each.said_at
        for each in (silent, pinging, talking)
    ]
    return Idle(ends[0], None if silent.loss is None else silent.loss.code, *ends[1:])


async def _keep_busy(bench: Bench, socket: Socket, ping: Any, limit: float) -> None:
    with anyio.move_on_after(limit):
        while socket.loss is None:
            await ping()
            await socket.listen(bench.pace.idle / 4)


IDLE = Experiment(
    "idle",
    _idle,
    lambda pace: 3 * pace.answer + pace.idle + pace.margin,
    waits=lambda pace: pace.idle + pace.margin,
)


def judge_idle(facts: Idle) -> Verdict:
    """Does the server close a silent connection?"""
    if facts.silent is None:
        return Verdict("open")
    how = facts.code or "no close frame"
    talking = "one that pings stays open" if facts.talking is None else "one that pings is too"
    return Verdict("closed", f"after {facts.silent:.1f} s with {how}; {talking}")


def judge_protocol_pings(facts: Idle) -> Verdict:
    """Do pings of the WebSocket protocol count as activity?"""
    if facts.silent is None:
        return unclear("a silent connection stays open as well")
    if facts.pinging is None:
        return Verdict("count")
    return Verdict("do-not-count", f"closed after {facts.pinging:.1f} s")
