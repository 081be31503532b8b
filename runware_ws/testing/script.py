"""Who answers which request, and what went otherwise than the test said. No I/O."""

from __future__ import annotations

import threading
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import anyio

from runware_ws.emulator import ReplyError, Request, expected_text
from runware_ws.testing.answers import Answer, Deltas, Function, Given, ItemAnswer, give, settle
from runware_ws.testing.asked import Asked
from runware_ws.testing.expectation import Expectation

__all__ = ["Policy", "Script"]

Policy: TypeAlias = Literal["fail", "allow"]

_TEXT = "textInference"


@dataclass(frozen=True, slots=True)
class _Plan:
    answer: Answer
    delay: float


class Script:
    """Expectations, reply functions, and what was asked. One lock: tests and server are threads."""

    def __init__(self, unexpected: Policy, unfulfilled: Policy) -> None:
        for policy in (unexpected, unfulfilled):
            if policy not in ("fail", "allow"):
                raise ValueError(f"say 'fail' or 'allow', not {policy!r}")
        self.unexpected: Policy = unexpected
        self.unfulfilled: Policy = unfulfilled
        self._lock = threading.Lock()
        self._expectations: list[Expectation] = []
        self._functions: dict[str, Function] = {}
        self._plans: dict[tuple[str, int], _Plan] = {}
        self._asked: list[Asked] = []
        self._wrong: list[str] = []

    def add(self, expectation: Expectation) -> None:
        """Expect one thing more."""
        with self._lock:
            self._expectations.append(expectation)

    def register(self, task_type: str, function: Function) -> None:
        """Answer what no expectation takes."""
        with self._lock:
            self._functions[task_type] = function

    @property
    def asked(self) -> tuple[Asked, ...]:
        """Every request so far."""
        with self._lock:
            return tuple(self._asked)

    # The end

    def take_problems(self) -> list[str]:
        """What went wrong since the last call."""
        with self._lock:
            problems, self._wrong = self._wrong, []
            if self.unfulfilled == "fail":
                missing = [each for each in self._expectations if not each.fulfilled]
                problems += [f"not asked: {each}" for each in missing]
            # They are told once.
            self._expectations = [each for each in self._expectations if each.fulfilled]
            return problems

    # Called by the emulator

    def reply(self, request: Request) -> Given | Awaitable[Given] | Deltas:
        """Answer one generation. Raises ``ReplyError`` where the answer is an error."""
        asked = Asked.of(request)
        with self._lock:
            # A task is one request, however many results it has.
            key = (asked.task_uuid, request.execution)
            plan = self._plans.get(key)
            if plan is None:
                self._asked.append(asked)
                plan = self._plans[key] = self._plan(asked)
        if plan.delay > 0:
            return self._later(plan, asked)
        given = self._guarded(plan.answer, asked)
        return self._awaited(given, asked) if isinstance(given, Awaitable) else given

    def _plan(self, asked: Asked) -> _Plan:
        for expectation in self._expectations:
            try:
                takes = expectation.takes(asked)
            except Exception as exc:
                return self._broken(f"the condition of an expectation raised {exc!r} for: {asked}")
            if takes:
                return _Plan(*expectation.take(asked))
        function = self._functions.get(asked.task_type) or self._functions.get("*")
        if function is not None:
            return _Plan(function, 0.0)
        if self.unexpected == "allow":
            return _Plan(_echo, 0.0)
        return self._broken(f"unexpected request: {asked}")

    def _broken(self, problem: str) -> _Plan:
        self._wrong.append(problem)
        return _Plan(ReplyError("unexpectedRequest", f"The test kit: {problem}"), 0.0)

    async def _later(self, plan: _Plan, asked: Asked) -> Given:
        await anyio.sleep(plan.delay)
        given = self._guarded(plan.answer, asked)
        if isinstance(given, str | dict):
            return given
        if isinstance(given, Awaitable):
            return await self._awaited(given, asked)
        problem = TypeError("deltas have a pace of their own: leave out after()")
        self._note(problem, asked)
        raise problem

    def _guarded(self, answer: Answer, asked: Asked) -> Given | Awaitable[ItemAnswer] | Deltas:
        try:
            return give(answer, asked)
        except ReplyError:
            raise
        except Exception as exc:
            self._note(exc, asked)
            raise

    async def _awaited(self, pending: Awaitable[ItemAnswer], asked: Asked) -> Given:
        try:
            return settle(await pending)
        except ReplyError:
            raise
        except Exception as exc:
            self._note(exc, asked)
            raise

    def _note(self, exc: Exception, asked: Asked) -> None:
        with self._lock:
            self._wrong.append(f"the reply raised {exc!r} for: {asked}")


def _echo(asked: Asked) -> str | dict[str, Any]:
    if asked.task_type != _TEXT:
        return {}
    return expected_text(asked.prompt, asked.task_uuid, asked.index)
