"""The questions that the core asks on a bench, and what the peer says to them."""

from __future__ import annotations

from typing import Any

from runware_ws._core.tasks.record import TaskRecord
from tests.core.bench import Bench

QUESTIONS = ("getResponse", "getTaskDetails")


def _written(bench: Bench) -> list[dict[str, Any]]:
    """What is written now but pings, which are answered."""
    found: list[dict[str, Any]] = []
    for task in bench.written():
        if task["taskType"] == "ping":
            bench.say({"data": [{"taskType": "ping", "pong": True}]})
        else:
            found.append(task)
    return found


def questions(bench: Bench) -> list[dict[str, Any]]:
    """The questions that are due now; pings are answered."""
    bench.step(0)
    return _written(bench)


def say_about(bench: Bench, question: dict[str, Any], code: str, typed: str) -> None:
    """Answer a question with an error, typed as the question or not at all."""
    told: dict[str, Any] = {"code": code, "message": "m", "taskUUID": question["taskUUID"]}
    if typed == "question":
        told["taskType"] = question["taskType"]
    bench.say({"errors": [told]})


def asked(bench: Bench) -> list[tuple[str, str]]:
    """What the core asks or sends now: (taskType, taskUUID). The peer answers pings."""
    return [(task["taskType"], task["taskUUID"]) for task in _written(bench)]


def receipt(bench: Bench, record: TaskRecord) -> None:
    """The peer says that it knows the taskUUID."""
    bench.refuse(record, "conflictTaskUUID", taskType=record.task_type)


def deny(bench: Bench, record: TaskRecord, kind: str = "getTaskDetails") -> None:
    """The peer says that it does not know the task."""
    bench.refuse(record, "taskNotFound", taskType=kind)


def unsent(bench: Bench, seconds: int) -> list[dict[str, Any]]:
    """Let time pass until questions are due; return them. Nothing else may be sent."""
    for _ in range(4 * seconds):
        bench.step(0.25)
        if due := questions(bench):
            assert all(task["taskType"] in QUESTIONS for task in due), bench.now
            return due
    return []


def say_kept(
    bench: Bench, record: TaskRecord, question: dict[str, Any], **response: list[dict[str, Any]]
) -> None:
    """The archive keeps the request of a task, and this response to it."""
    request = [{"taskUUID": record.uuid}]
    bench.say({"data": [{**question, "request": request, "response": response}]})


def sent_again(question: dict[str, Any]) -> bool:
    """What was sent is no question, but the task."""
    return question["taskType"] not in QUESTIONS
