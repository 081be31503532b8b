"""Experiments about tasks: their delivery, questions about them, the same one twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from runware_ws.models import WireError
from runware_ws.probe.asking import Reply, archived, ask, ask_for
from runware_ws.probe.lab import Bench, Muddle, Seen, Socket, has_output, long_task, short_task
from runware_ws.probe.verdict import Experiment, Verdict, unclear

__all__ = [
    "QUESTIONS",
    "REGISTRATION",
    "REPEAT",
    "SEVERAL",
    "STREAM",
]


# Questions about a sync task


@dataclass(frozen=True, slots=True)
class Questions:
    """Answers about a task while it ran, and after.

    ``ran``: whether it was running still when the first two came. ``archived_after``: seconds
    from the result to the archive's answer.
    """

    ran: bool
    poll_running: Reply
    details_running: Reply
    poll_done: Reply
    details_done: Reply
    archived_after: float


async def _questions(bench: Bench) -> Questions:
    task, pace = long_task(), bench.pace
    uuid: str = task["taskUUID"]
    async with bench.signed_in() as (socket, _):
        await socket.send(task)
        await socket.ping()
        refusal = socket.error_of(uuid)
        if refusal is not None:
            raise Muddle(f"the server refuses the task: {refusal.code}")
        poll_running = await ask(socket, "getResponse", uuid, pace.answer)
        details_running = await ask(socket, "getTaskDetails", uuid, pace.answer)
        ran = not socket.results(uuid)
        await bench.result(socket, uuid, start=len(socket.frames))
        done = bench.now()
        poll_done = await ask(socket, "getResponse", uuid, pace.answer)
        details_done = await archived(bench, socket, uuid, done)
        return Questions(
            ran, poll_running, details_running, poll_done, details_done, bench.now() - done
        )


QUESTIONS = Experiment("questions", _questions, lambda pace: 8 * pace.answer + pace.task, long=1)


def judge_poll(facts: Questions) -> Verdict:
    """Does getResponse answer for a sync task?"""
    running = f"while it ran: {facts.poll_running.words}" if facts.ran else ""
    done = facts.poll_done
    if done.error is not None or done.empty:
        return Verdict("refused", ", ".join(filter(None, (done.words, running))))
    if facts.poll_done.item is None:
        return Verdict("silence", running)
    return Verdict("answers", running)


def judge_details_running(facts: Questions) -> Verdict:
    """What does getTaskDetails say of a task that runs?"""
    if not facts.ran:
        return unclear("the task ended too soon")
    reply = facts.details_running
    if reply.error is not None or reply.empty:
        return Verdict("not-found", reply.words)
    if reply.item is None:
        return Verdict("silence")
    bare = "" if "request" in reply.item or "response" in reply.item else ", and nothing else"
    return Verdict("processing", reply.words + bare)


def judge_details_done(facts: Questions) -> Verdict:
    """What does getTaskDetails say of a task that has ended?"""
    reply = facts.details_done
    if reply.error is not None or reply.empty:
        return Verdict("not-found", reply.words)
    if reply.item is None:
        return Verdict("silence")
    whole = "with the response" if reply.item.get("response") else "without a response"
    kind = reply.item.get("taskType")
    typed = "the question's type" if kind == "getTaskDetails" else f"the type {kind}"
    typed = typed if kind is not None else "no type"
    told = f"{facts.archived_after:.1f} s after the result, {whole} and {typed}"
    return Verdict("archived", told)


# When a fresh task is known


@dataclass(frozen=True, slots=True)
class Registration:
    """``asked``: how many questions it took; ``after``: seconds; ``None``: it never was known."""

    asked: int
    after: float | None
    acknowledged: bool


async def _registration(bench: Bench) -> Registration:
    task, pace = short_task(deliveryMethod="async"), bench.pace
    uuid: str = task["taskUUID"]
    async with bench.signed_in() as (socket, _):
        began = bench.now()
        await socket.send(task)
        asked = 0
        known: float | None = None
        acknowledged = False
        while known is None and bench.now() - began < pace.answer:
            asked, moment = asked + 1, bench.now()
            reply = await _ask_by_status(socket, uuid, pace.answer)
            acknowledged = acknowledged or _acknowledged(socket, uuid)
            if reply.item is not None:
                known = moment - began
            else:
                await socket.listen(pace.step)
        return Registration(asked, known, acknowledged)


async def _ask_by_status(socket: Socket, uuid: str, limit: float) -> Reply:
    """Poll an async task; the acknowledgement is no answer, whatever fields it has."""
    return await ask_for(
        socket,
        "getResponse",
        uuid,
        limit,
        lambda item: item.get("status") in _TOLD or has_output(item),
    )


_TOLD = ("processing", "success", "error")
"""What a poll says of a task; an acknowledgement may have another word."""


def _acknowledged(socket: Socket, uuid: str) -> bool:
    items = [item for seen in socket.frames for item in seen.of(uuid)]
    return any(item.get("status") not in _TOLD and not has_output(item) for item in items)


REGISTRATION = Experiment("registration", _registration, lambda pace: 4 * pace.answer, short=1)


def judge_registration(facts: Registration) -> Verdict:
    """How long until a fresh task is known to questions?"""
    ack = "acknowledged" if facts.acknowledged else "not acknowledged"
    if facts.after is None:
        return unclear(f"never known, {facts.asked} questions; {ack}")
    if facts.asked == 1:
        return Verdict("at-once", ack)
    return Verdict("later", f"after about {facts.after:.2f} s; {ack}")


# The same taskUUID again


@dataclass(frozen=True, slots=True)
class Repeat:
    """What came for a taskUUID that was sent twice at once, and a third time when it was done."""

    refused_at_once: str
    texts_at_once: list[str]
    refused_later: str
    texts_later: list[str]


async def _repeat(bench: Bench) -> Repeat:
    task, pace = short_task(), bench.pace
    uuid: str = task["taskUUID"]
    async with bench.signed_in() as (socket, _):
        await socket.send(task)
        await socket.send(task)
        await bench.result(socket, uuid, copies=2)
        await socket.listen(max(pace.quiet, pace.away / 2))
        at_once = _refused(socket, uuid, 0), _texts(socket, uuid, 0)
        start = len(socket.frames)
        await socket.send(task)
        await socket.listen(
            pace.answer, lambda: bool(socket.results(uuid, start) or socket.error_of(uuid, start))
        )
        await socket.listen(pace.quiet)
        later = _refused(socket, uuid, start), _texts(socket, uuid, start)
        return Repeat(*at_once, *later)


def _refused(socket: Socket, uuid: str, start: int) -> str:
    error = socket.error_of(uuid, start)
    return "" if error is None else error.code


def _texts(socket: Socket, uuid: str, start: int) -> list[str]:
    return [str(item["text"]) for item in socket.results(uuid, start)]


REPEAT = Experiment(
    "repeat", _repeat, lambda pace: 3 * pace.answer + pace.task + pace.away + pace.quiet, short=3
)


def _refusal(code: str) -> Verdict:
    return Verdict("conflict" if "conflict" in code.lower() else "refused", code)


def judge_repeat_at_once(facts: Repeat) -> Verdict:
    """What comes for a taskUUID that is sent again at once?"""
    if len(set(facts.texts_at_once)) > 1:
        return Verdict("ran-twice", "two different results")
    if facts.refused_at_once:
        return _refusal(facts.refused_at_once)
    count = len(facts.texts_at_once)
    return Verdict("result", f"no error; the result came {count} time{'s' * (count > 1)}")


def judge_repeat_later(facts: Repeat) -> Verdict:
    """What comes for a taskUUID that is sent again when it is done?"""
    if facts.refused_later:
        return _refusal(facts.refused_later)
    if not facts.texts_later:
        return Verdict("silence")
    if set(facts.texts_later) <= set(facts.texts_at_once):
        return Verdict("result", "the same result again")
    return Verdict("ran-twice", "another result")


# Several results


@dataclass(frozen=True, slots=True)
class Several:
    """Two results of one task, and one of another.

    ``frames``: how many results of the first each frame held. ``notes``: what the server said of
    the tasks before. ``listed``: the archive's entry of the other. ``pushed``: its result, and
    ``written``: the same to the letter.
    """

    frames: list[int]
    indexes: list[Any]
    lone_index: bool
    notes: list[str]
    listed: Reply
    pushed: dict[str, Any]
    written: dict[str, Any]


async def _several(bench: Bench) -> Several:
    many, lone = short_task(numberResults=2), short_task()
    uuid, other = str(many["taskUUID"]), str(lone["taskUUID"])
    async with bench.signed_in() as (socket, _):
        await socket.send(many, lone)

        def complete() -> bool:
            return len(socket.results(uuid)) > 1 and bool(socket.results(other))

        if not await socket.listen(bench.pace.task, complete):
            error = socket.error_of(uuid) or socket.error_of(other)
            raise Muddle("not all results came" + (f": {error.code}" if error else ""))
        told = [item for seen in socket.frames for item in (*seen.of(uuid), *seen.of(other))]
        notes = [str(item.get("status")) for item in told if not has_output(item)]
        frames = [len([i for i in seen.of(uuid) if has_output(i)]) for seen in socket.frames]
        return Several(
            [count for count in frames if count],
            [item.get("resultIndex") for item in socket.results(uuid)],
            any("resultIndex" in item for item in socket.results(other)),
            notes,
            await archived(bench, socket, other, bench.now()),
            socket.results(other)[0],
            next(
                written
                for seen in socket.frames
                for written, item in zip(seen.written, seen.items, strict=True)
                if item.get("taskUUID") == other and has_output(item)
            ),
        )


SEVERAL = Experiment("several", _several, lambda pace: 3 * pace.answer + pace.task, short=3)


def judge_results_framing(facts: Several) -> Verdict:
    """Do several results of one task come in one frame?"""
    if len(facts.frames) == 1:
        return Verdict("together")
    return Verdict("separate", f"in {len(facts.frames)} frames")


def judge_result_index(facts: Several) -> Verdict:
    """Do results carry resultIndex?"""
    if facts.indexes.count(None) == len(facts.indexes):
        return Verdict("never")
    told = f"numberResults 2: {', '.join(map(str, facts.indexes))}"
    if None in facts.indexes:
        return unclear(told)
    return Verdict("always" if facts.lone_index else "many", told)


def judge_note(facts: Several) -> Verdict:
    """Is a sync task told to be in the works?"""
    if not facts.notes:
        return Verdict("none")
    return Verdict("noted", f"{len(facts.notes)} times, status {facts.notes[0]!r}")


def judge_array(facts: Several) -> Verdict:
    """Does the archive list the whole array that a task was sent in?"""
    entry = facts.listed.item
    if entry is None:
        return unclear(f"the archive does not know the task: {facts.listed.words}")
    asked: object = entry.get("request")
    others = len(cast("list[object]", asked)) - 1 if isinstance(asked, list) else 0
    return Verdict("listed", f"with {others} more") if others > 0 else Verdict("alone")


def judge_uuid_case(facts: Several) -> Verdict:
    """Does a taskUUID come back as it was sent?"""
    same = facts.written["taskUUID"] == facts.pushed["taskUUID"]
    return Verdict("same" if same else "capitals", str(facts.written["taskUUID"]))


def judge_nulls(facts: Several) -> Verdict:
    """Has a result fields that are null?"""
    nulls = sorted(set(facts.written) - set(facts.pushed))
    return Verdict("nulls", ", ".join(nulls)) if nulls else Verdict("none")


def judge_archive_fields(facts: Several) -> Verdict:
    """Has an archived result the fields of the pushed one?"""
    entry = facts.listed.item
    if entry is None:
        return unclear(f"the archive does not know the task: {facts.listed.words}")
    kept: object = entry.get("response")
    listing = Seen(0.0, cast("dict[str, Any]", kept)) if isinstance(kept, dict) else Seen(0.0, {})
    mine = listing.of(str(facts.pushed["taskUUID"]))
    if not mine:
        return unclear("its entry has no result")
    more = sorted(set(mine[0]) - set(facts.pushed))
    fewer = sorted(set(facts.pushed) - set(mine[0]))
    if more:
        return Verdict("more", ", ".join(more))
    return Verdict("fewer", ", ".join(fewer)) if fewer else Verdict("same")


# A stream


@dataclass(frozen=True, slots=True)
class Stream:
    """``deltas``: how many items with a ``delta`` came; ``whole``: whether a text came.

    ``listed``: the archive's entry of it.
    """

    deltas: int
    whole: bool
    error: WireError | None
    listed: Reply


async def _stream(bench: Bench) -> Stream:
    task = short_task(deliveryMethod="stream")
    uuid: str = task["taskUUID"]
    async with bench.signed_in() as (socket, _):
        await socket.send(task)

        def items() -> list[dict[str, Any]]:
            return [item for seen in socket.frames for item in seen.of(uuid)]

        def ended() -> bool:
            return socket.settled(uuid) or any("finishReason" in item for item in items())

        await socket.listen(bench.pace.task, ended)
        await socket.listen(bench.pace.quiet)
        deltas = sum("delta" in item for item in items())
        whole, error = bool(socket.results(uuid)), socket.error_of(uuid)
        listed = await archived(bench, socket, uuid, bench.now()) if deltas else Reply()
        return Stream(deltas, whole, error, listed)


STREAM = Experiment(
    "stream", _stream, lambda pace: 3 * pace.answer + pace.task + pace.quiet, short=1
)


def judge_stream(facts: Stream) -> Verdict:
    """Does deliveryMethod "stream" push deltas over the socket?"""
    if facts.deltas:
        tail = ", then the whole text" if facts.whole else ""
        return Verdict("deltas", f"{facts.deltas} of them{tail}")
    if facts.error is not None:
        return Verdict("error", facts.error.code)
    return Verdict("whole", "as a sync task") if facts.whole else Verdict("silence")


def judge_archive_stream(facts: Stream) -> Verdict:
    """How does the archive list what was streamed?"""
    if not facts.deltas:
        return unclear("nothing was streamed")
    entry = facts.listed.item
    if entry is None:
        return unclear(f"the archive does not know the task: {facts.listed.words}")
    kept: object = entry.get("response")
    rows = cast("list[object]", kept) if isinstance(kept, list) else [kept]
    frames = [cast("dict[str, Any]", row) for row in rows if isinstance(row, dict)]
    items = [item for frame in frames for item in Seen(0.0, frame).items or [frame]]
    pieces, whole = sum("delta" in item for item in items), any(map(has_output, items))
    if not pieces:
        return Verdict("whole") if whole else unclear("its entry has no result")
    how = f"{pieces} of them in {'a list' if isinstance(kept, list) else 'one frame'}"
    return Verdict("both" if whole else "pieces", how)
