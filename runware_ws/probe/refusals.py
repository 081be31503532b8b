"""Experiments about refusals: how the server spells them, and what becomes of the socket."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from runware_ws.classify import Loss
from runware_ws.models import WireError
from runware_ws.probe.lab import Bench
from runware_ws.probe.verdict import Experiment, Verdict, unclear

__all__ = ["BAD_KEY", "BAD_TASK"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The frame that refused, the error in it, and how the socket ended; ``None``: it did not."""

    frame: dict[str, Any]
    error: WireError | None
    loss: Loss | None
    accepted: bool = False


def _spelling(frame: dict[str, Any]) -> str:
    if "errors" in frame:
        return "errors"
    value = frame.get("error")
    if value is True:
        return "legacy"
    return "error-list" if isinstance(value, list) else "error"


async def _bad_key(bench: Bench) -> Refusal:
    async with bench.socket() as socket:
        greeting = await socket.authenticate(api_key=f"made-up-{secrets.token_hex(8)}")
        if greeting.error is None:
            return Refusal({}, None, socket.loss, accepted=greeting.accepted)
        await socket.listen(bench.pace.quiet)
        return Refusal(socket.frames[greeting.place].frame, greeting.error, socket.loss)


BAD_KEY = Experiment("bad-key", _bad_key, lambda pace: pace.answer + pace.quiet)


def judge_bad_key(facts: Refusal) -> Verdict:
    """How is a bad key refused?"""
    if facts.accepted:
        return Verdict("accepted", "any key will do here")
    end = "the socket stays open"
    if facts.loss is not None:
        end = f"the socket is closed with {facts.loss.code or 'no close frame'}"
    if facts.error is None:
        return Verdict("closed", end) if facts.loss is not None else unclear("no reply")
    return Verdict(_spelling(facts.frame), f"{facts.error.code}; {end}")


async def _bad_task(bench: Bench) -> Refusal:
    uuid = str(uuid4())
    async with bench.signed_in() as (socket, _):
        await socket.send({"taskType": "noSuchTaskType", "taskUUID": uuid})
        await socket.listen(bench.pace.answer, lambda: socket.error_of(uuid) is not None)
        refusals = [seen.frame for seen in socket.frames if seen.errors]
        return Refusal(refusals[0] if refusals else {}, socket.error_of(uuid), socket.loss)


BAD_TASK = Experiment("bad-task", _bad_task, lambda pace: 2 * pace.answer)


def judge_bad_task(facts: Refusal) -> Verdict:
    """How is an impossible task refused?"""
    if facts.error is None:
        return unclear("no reply") if facts.loss is None else Verdict("closed", str(facts.loss))
    whose = "names the task" if facts.error.task_uuid else "does not name the task"
    return Verdict(_spelling(facts.frame), f"{facts.error.code}; {whose}")
