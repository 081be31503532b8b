"""Experiments about what looks unknown: strange ids, running tasks, and copies of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from runware_ws.probe.asking import Reply, ask
from runware_ws.probe.lab import Bench, Muddle, Seen, Socket, has_output, long_task
from runware_ws.probe.verdict import Experiment, Verdict, unclear

__all__ = ["COPY", "LEFT", "UNKNOWN"]


# Ids that nobody ever used


@dataclass(frozen=True, slots=True)
class Strange:
    """Answers about ids that do not exist. ``frames``: how many answered two in one message."""

    poll: Reply
    details: Reply
    frames: int


async def _strange(bench: Bench) -> Strange:
    pace = bench.pace
    async with bench.signed_in() as (socket, _):
        poll = await ask(socket, "getResponse", str(uuid4()), pace.answer)
        details = await ask(socket, "getTaskDetails", str(uuid4()), pace.answer)
        start = len(socket.frames)
        two = [{"taskType": "getTaskDetails", "taskUUID": str(uuid4())} for _ in range(2)]
        await socket.send(*two)
        await socket.listen(pace.answer, lambda: len(socket.frames) > start)
        await socket.listen(pace.quiet)
        return Strange(poll, details, len(socket.frames) - start)


UNKNOWN = Experiment("unknown", _strange, lambda pace: 4 * pace.answer + pace.quiet)


def _judge_strange(reply: Reply) -> Verdict:
    if reply.error is not None:
        kind = reply.error.task_type
        whose = "the question's type" if kind in _QUESTIONS else f"the type {kind}"
        task = "" if reply.error.task_uuid else " and no task"
        return Verdict("error", f"{reply.error.code}; names {whose if kind else 'no type'}{task}")
    if reply.empty:
        return Verdict("empty", "names nobody")
    return Verdict("silence") if reply.item is None else unclear(f"it knows it: {reply.words}")


_QUESTIONS = ("getResponse", "getTaskDetails")


def judge_unknown_poll(facts: Strange) -> Verdict:
    """What does getResponse answer of an id that nobody used?"""
    return _judge_strange(facts.poll)


def judge_unknown_details(facts: Strange) -> Verdict:
    """What does getTaskDetails answer of an id that nobody used?"""
    return _judge_strange(facts.details)


def judge_joined(facts: Strange) -> Verdict:
    """Are the questions of one message answered in one frame?"""
    if not facts.frames:
        return Verdict("silence")
    return Verdict("together" if facts.frames == 1 else "separate")


# A question whose socket dies


async def _left(bench: Bench) -> bool:
    """Whether the answer came to the next socket."""
    uuid = str(uuid4())
    async with bench.signed_in() as (socket, session):
        await socket.send({"taskType": "getTaskDetails", "taskUUID": uuid})
    async with bench.socket() as socket:
        await socket.authenticate(session)

        def came() -> bool:
            return socket.error_of(uuid) is not None or any(s.is_empty for s in socket.frames)

        return await socket.listen(bench.pace.answer, came)


LEFT = Experiment("left-question", _left, lambda pace: 3 * pace.answer)


def judge_left(again: bool) -> Verdict:
    """Does the answer to a question come again when its socket died?"""
    return Verdict("again" if again else "once")


# A running task, and a copy of it


@dataclass(frozen=True, slots=True)
class Copied:
    """An async task, asked about while it ran, and sent again.

    ``receipt``: what acknowledged it. ``running``: the answers of both questions while it ran.
    ``conflict``: the refusal of the copy. ``kept_running``: the archive's answer after that,
    ``kept``: and when the task was done.
    """

    receipts: list[dict[str, Any]]
    poll_running: Reply
    details_running: Reply
    ran: bool
    conflict: str
    kept_running: Reply
    kept: Reply


async def _copied(bench: Bench) -> Copied:
    pace, task = bench.pace, long_task(deliveryMethod="async")
    uuid: str = task["taskUUID"]
    async with bench.signed_in() as (socket, _):
        await socket.send(task)
        await socket.ping()
        refusal = socket.error_of(uuid)
        if refusal is not None:
            raise Muddle(f"the server refuses the task: {refusal.code}")
        receipts = [item for seen in socket.frames for item in seen.of(uuid)]
        poll_running = await ask(socket, "getResponse", uuid, pace.answer, receipts=receipts)
        details_running = await ask(socket, "getTaskDetails", uuid, pace.answer)
        ran = not (_ended(poll_running) or _ended(details_running))
        start = len(socket.frames)
        await socket.send(task)
        await socket.ping()
        refused = socket.error_of(uuid, start)
        kept_running = await ask(socket, "getTaskDetails", uuid, pace.answer)
        ran = ran and not _ended(kept_running)
        await _done(bench, socket, uuid)
        kept = await ask(socket, "getTaskDetails", uuid, pace.answer)
        conflict = refused.code if refused is not None else ""
        return Copied(receipts, poll_running, details_running, ran, conflict, kept_running, kept)


async def _done(bench: Bench, socket: Socket, uuid: str) -> None:
    """Wait until some question tells the result, for as long as a task may take."""
    limit = bench.now() + bench.pace.task
    while bench.now() < limit:
        for kind in _QUESTIONS:
            if _ended(await ask(socket, kind, uuid, bench.pace.answer)):
                return
        await socket.listen(max(bench.pace.step, 0.25))


def _ended(reply: Reply) -> bool:
    """Whether an answer holds a result: its own, or an archived one."""
    item = reply.item
    if item is None:
        return False
    listing: object = item.get("response")
    if isinstance(listing, dict):
        entry = cast("dict[str, Any]", listing)
        return any(has_output(each) for each in Seen(0.0, entry).items) or has_output(entry)
    return has_output(item)


COPY = Experiment("copy", _copied, lambda pace: 7 * pace.answer + 2 * pace.task, long=1)


def judge_receipt(facts: Copied) -> Verdict:
    """What does the acknowledgement of an async task have?"""
    if not facts.receipts:
        return Verdict("none")
    more = sorted({name for each in facts.receipts for name in each} - {"taskType", "taskUUID"})
    times = f"it came {len(facts.receipts)} times" if len(facts.receipts) > 1 else ""
    return Verdict("more" if more else "bare", "; ".join(filter(None, (", ".join(more), times))))


def judge_poll_running(facts: Copied) -> Verdict:
    """What does getResponse say of an async task that runs?"""
    if not facts.ran:
        return unclear("the task ended too soon")
    reply = facts.poll_running
    if reply.empty:
        return Verdict("empty", "names nobody")
    if reply.error is not None:
        return Verdict("not-found", reply.error.code)
    return Verdict("silence") if reply.item is None else Verdict("processing", reply.words)


def judge_copy(facts: Copied) -> Verdict:
    """What becomes of the archive when a running task is sent again?"""
    if not facts.ran:
        return unclear("the task ended too soon")
    if not facts.conflict:
        return Verdict("not-refused", "the copy got no error at once")
    while_running = "while it ran: " + facts.kept_running.words
    if _ended(facts.kept):
        # Only this makes an early copy harmless.
        return Verdict("answer-kept", while_running)
    kept = Seen(0.0, facts.kept.item.get("response") or {}) if facts.kept.item else None
    if kept is not None and any("conflict" in error.code.lower() for error in kept.errors):
        return Verdict("refusal-kept", while_running)
    return unclear(f"the archive has neither: {facts.kept.words}; {while_running}")
