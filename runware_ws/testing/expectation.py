"""One thing that the server expects to be asked, and what it then answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeAlias

from runware_ws.testing.answers import Answer
from runware_ws.testing.asked import Asked

__all__ = ["Expectation", "Prompt"]

Prompt: TypeAlias = str | re.Pattern[str] | Callable[[Asked], bool] | None
"""Text that the prompt contains, a pattern that is found in it, or a function that decides."""


class Expectation:
    """Made by ``expect(…)``; each method returns the expectation itself.

    Without more it stands for exactly one request, answered at once with an empty text.
    """

    def __init__(
        self, prompt: Prompt, task_type: str | None, fields: Mapping[str, Any] | None
    ) -> None:
        self._prompt = prompt
        self._task_type = task_type
        self._fields = dict(fields or {})
        self._answers: tuple[Answer, ...] = ("",)
        self._least: int | None = None
        self._most: int | None = None
        self._counted = False
        self._delay = 0.0
        self._requests: list[Asked] = []

    # Said by the test

    def reply(self, *answers: Answer) -> Self:
        """What to answer: text, fields of the result, ``error(…)``, ``tool_calls(…)``, a function.

        Several answers go to several requests, in order, and so many requests are expected; if
        ``times`` allows more, the last answer goes on. A list is *one* answer, to a task with so
        many ``numberResults``.
        """
        if not answers:
            raise ValueError("reply() needs an answer")
        self._answers = answers
        return self

    def times(self, number: int) -> Self:
        """Exactly so many requests; 0: this must not be asked."""
        return self._count(number, number)

    def at_least(self, number: int) -> Self:
        """So many requests or more."""
        return self._count(number, None)

    def any_number(self) -> Self:
        """Any number of requests, also none."""
        return self._count(0, None)

    def after(self, seconds: float) -> Self:
        """Answer so much later: real seconds, or virtual ones in virtual time."""
        if seconds < 0:
            raise ValueError("seconds must not be negative")
        self._delay = seconds
        return self

    def _count(self, least: int, most: int | None) -> Self:
        if least < 0:
            raise ValueError("a number of requests must not be negative")
        self._least, self._most, self._counted = least, most, True
        return self

    # Read by the test

    @property
    def requests(self) -> tuple[Asked, ...]:
        """The requests that it answered, in order."""
        return tuple(self._requests)

    @property
    def fulfilled(self) -> bool:
        """Whether it was asked often enough."""
        return len(self._requests) >= self._range()[0]

    def __str__(self) -> str:
        words = [self._task_type or "any task"]
        if isinstance(self._prompt, str):
            words.append(f"with {self._prompt!r} in its prompt")
        elif isinstance(self._prompt, re.Pattern):
            words.append(f"with a prompt like {self._prompt.pattern!r}")
        elif self._prompt is not None:
            words.append(f"that {getattr(self._prompt, '__name__', 'a function')} accepts")
        if self._fields:
            words.append(f"with {self._fields!r}")
        least, most = self._range()
        number = f"at least {least}" if most is None else f"{least}"
        return f"{' '.join(words)}: {number} expected, {len(self._requests)} came"

    def __repr__(self) -> str:
        return f"<Expectation {self}>"

    # Asked by the server

    def takes(self, asked: Asked) -> bool:
        """Whether this request matches, and one more such request is expected."""
        most = self._range()[1]
        return (most is None or len(self._requests) < most) and self._meant(asked)

    def take(self, asked: Asked) -> tuple[Answer, float]:
        """Count a request; its answer, and the delay in seconds."""
        answer = self._answers[min(len(self._requests), len(self._answers) - 1)]
        self._requests.append(asked)
        return answer, self._delay

    def _range(self) -> tuple[int, int | None]:
        if self._counted:
            return self._least or 0, self._most
        return len(self._answers), len(self._answers)

    def _meant(self, asked: Asked) -> bool:
        if self._task_type not in (None, asked.task_type):
            return False
        if any(asked.task.get(name) != value for name, value in self._fields.items()):
            return False
        prompt = self._prompt
        if prompt is None:
            return True
        if isinstance(prompt, str):
            return prompt in asked.prompt
        if isinstance(prompt, re.Pattern):
            return prompt.search(asked.prompt) is not None
        return bool(prompt(asked))
