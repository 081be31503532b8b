"""Answers to tasks: the default one for text, and the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from .exact import dump_exact
from .tokens import TOKEN, answer_tokens, count_tokens

__all__ = [
    "Answer",
    "Reply",
    "ReplyError",
    "Request",
    "default_text",
    "expected_text",
    "generated_item",
    "prompt_of",
]


@dataclass(frozen=True, slots=True)
class Request:
    """One generation to be answered.

    ``task`` is the client's task object (do not change it), ``index`` counts from 0 to
    ``numberResults`` - 1, ``execution`` is 1 unless uniqueness was broken by a fault.
    """

    task: dict[str, Any]
    index: int
    execution: int

    @property
    def task_uuid(self) -> str:
        """The task's ``taskUUID``."""
        return str(self.task["taskUUID"])

    @property
    def prompt(self) -> str:
        """The text of the last message, or ``""``."""
        return prompt_of(self.task)


Answer: TypeAlias = dict[str, Any] | str
Reply: TypeAlias = Callable[
    [Request], Answer | Awaitable[Answer] | Iterator[Answer] | AsyncIterator[Answer]
]
"""The answer, or a promise of it, or a script of its deltas."""


class ReplyError(Exception):
    """Raised by a reply to fail the generation with a server error.

    ``fields`` are added to the error object (``parameter``, ``documentation``, …).
    """

    def __init__(self, code: str, message: str = "The task failed.", **fields: Any) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.fields = fields


def prompt_of(task: dict[str, Any]) -> str:
    """The text of the last message, otherwise ``positivePrompt``, otherwise ``""``."""
    messages: object = task.get("messages")
    if isinstance(messages, list) and messages:
        last = cast("list[object]", messages)[-1]
        if isinstance(last, dict):
            return str(cast("dict[str, object]", last).get("content", ""))
    return str(task.get("positivePrompt", ""))


def expected_text(
    prompt: str, task_uuid: str, index: int = 0, *, max_tokens: int | None = None
) -> str:
    """The default answer: tests compute it again to prove that it belongs to the question.

    ``max_tokens``: what the task has in ``settings.maxTokens``, which cuts it. ``None``: nothing.
    """
    digest = hashlib.blake2b(f"{task_uuid}/{index}/{prompt}".encode(), digest_size=8).hexdigest()
    text = f"echo {digest}: {prompt}"
    return text if max_tokens is None else text[: max_tokens * TOKEN]


def default_text(request: Request) -> str:
    """The default reply of ``textInference``; see :func:`expected_text`."""
    return expected_text(request.prompt, request.task_uuid, request.index)


def generated_item(request: Request, answer: Answer, *, with_index: bool) -> dict[str, Any]:
    """The result item for one generation. Fields of a user's own answer win."""
    task = request.task
    item: dict[str, Any] = {"taskType": task["taskType"], "taskUUID": task["taskUUID"]}
    fields = {"text": answer} if isinstance(answer, str) else answer
    text = fields.get("text")
    if text is not None:
        item["text"] = text
        item["finishReason"] = "stop"
    if with_index:
        item["resultIndex"] = request.index
    prompt_tokens = completion_tokens = 0
    if task.get("includeUsage") or task.get("includeCost"):
        prompt_tokens = count_tokens(dump_exact(task.get("messages", "")).decode())
        completion_tokens = answer_tokens(fields)
    if task.get("includeUsage"):
        item["usage"] = {
            "promptTokens": prompt_tokens,
            "completionTokens": completion_tokens,
            "totalTokens": prompt_tokens + completion_tokens,
        }
    if task.get("includeCost"):
        item["cost"] = round(prompt_tokens * 1e-6 + completion_tokens * 5e-6, 8)
    item.update(fields)
    return item
