"""Plays a script: orders at their moments, answers for their tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from .faults import Faults
from .orders import apply_fault_order
from .replies import ReplyError, prompt_of
from .script_file import EmulatorScript, ScriptAnswer, ScriptStep
from .timers import Timer, Timers

__all__ = ["Player", "scripted_fields"]


class Player:
    """What a script, and a repeated order, still have to do."""

    def __init__(self, faults: Faults, timers: Timers) -> None:
        self._faults = faults
        self._timers = timers
        self._steps: dict[int, list[ScriptStep]] = {}  # by the number of the task
        self._answers: list[list[Any]] = []  # an answer, and how often it may still come
        self._planned: dict[int | str, Timer] = {}  # a step of the script by its number
        self._tasks = 0

    # -- orders at their moments ---------------------------------------------------------

    def play(self, script: EmulatorScript) -> None:
        """Begin a script: its times and tasks count from now. It replaces an earlier one."""
        self.stop()
        self._tasks = 0
        self._answers = [[answer, answer.times] for answer in script.answers]
        for number, step in enumerate(script.steps):
            if step.task is not None:
                self._steps.setdefault(step.task, []).append(step)
            else:
                self.plan(number, [step.orders], step.at or 0.0, step.every, step.times)

    def stop(self) -> None:
        """Nothing more of the script happens. What it ordered goes on."""
        for name in [name for name in self._planned if isinstance(name, int)]:
            self.rest(name)
        self._steps.clear()
        self._answers.clear()

    def plan(
        self,
        name: int | str,
        turns: Sequence[Iterable[str]],
        first: float,
        every: float | None = None,
        times: int | None = None,
    ) -> None:
        """Give the orders of the first turn after ``first`` seconds, those of the next one later.

        After the last turn comes the first one again, ``times`` in all; ``None``: without end.
        Without ``every`` there is only one. ``name``: what :meth:`rest` knows it by.
        """
        self.rest(name)
        left = 1 if every is None else times
        began = self._timers.now() + first

        def turn(number: int) -> None:
            self._order(turns[number % len(turns)])
            if left is not None and number + 1 >= left:
                self._planned.pop(name, None)
                return
            # From the beginning on, so that late timers do not add up.
            due = began + (number + 1) * (every or 0.0) - self._timers.now()
            self._planned[name] = self._timers.after(due, partial(turn, number + 1))

        self._planned[name] = self._timers.after(first, partial(turn, 0))

    def rest(self, name: int | str) -> None:
        """No further turn of what was planned under this name."""
        timer = self._planned.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _order(self, orders: Iterable[str]) -> None:
        for order in orders:
            apply_fault_order(self._faults, order)

    # -- tasks ---------------------------------------------------------------------------

    def taken(self) -> int:
        """A task was taken: the orders for it come now. Returns its number, from 1."""
        self._tasks += 1
        for step in self._steps.pop(self._tasks, ()):
            self._order(step.orders)
        return self._tasks

    def answer_for(self, number: int, task: dict[str, Any]) -> ScriptAnswer | None:
        """The answer of the script to this task, used up by one; ``None``: it has none."""
        if not self._answers:
            return None
        prompt = prompt_of(task)
        for entry in self._answers:
            answer, left = entry
            if answer.fits(number, prompt):
                if left is not None:
                    entry[1] = left - 1
                    if left <= 1:
                        self._answers.remove(entry)
                found: ScriptAnswer = answer
                return found
        return None


def scripted_fields(answer: ScriptAnswer) -> dict[str, Any] | str:
    """What a scripted answer gives for one result. Raises ``ReplyError`` if it is an error."""
    if answer.error is not None:
        rest = dict(answer.error)
        problem = ReplyError(rest.pop("code"), str(rest.pop("message", "The task failed.")))
        problem.fields = rest  # Whatever their names are.
        raise problem
    return answer.text if answer.text is not None else dict(answer.fields or {})
