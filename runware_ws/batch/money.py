"""What a batch costs: guessed before (``--dry-run``), bounded during (``--max-cost``), told after.

The guess of a line: its text has one token for every 4 bytes of UTF-8 (a rule of thumb: more for
code, less for prose), an image has :data:`IMAGE_TOKENS`, and the answer is as long as
``maxTokens`` lets it be. What documents behind URLs hold, and what other tasks than text cost,
nobody knows here: such lines are counted apart.

How exact ``--max-cost`` is: a line is taken only if what was spent (in all runs of this output),
plus what the lines in flight may cost, plus what this line may cost, stays within the limit. What
a line may cost is the guess above; once answers came, no more than twice the dearest of them. So
the limit is passed only by lines that cost more than twice as much as every one before them, and by
no more than that. The first line of all is taken alone where its guess is above the limit, because
most answers are far shorter than they may be. A line whose outcome is unknown counts with all that
it may cost.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runware_ws.batch.writing.entries import Bill
from runware_ws.batch.writing.jsontext import dumps
from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.errors import OutcomeUnknown, RunwareError, Submitted, TaskError
from runware_ws.models.jsonable import is_array, is_object
from runware_ws.models.results import Result

__all__ = ["IMAGE_TOKENS", "Budget", "Forecast", "LineCost", "Price", "cost_of_answer", "dollars"]

IMAGE_TOKENS = 1_600
"""Tokens of one image: the most that the model's maker states."""

_BYTES_A_TOKEN = 4
_MARGIN = 2  # A line is thought to cost so many times the dearest one before it, at most.
_MAX_TOKENS = 4_096  # The server's own, where a task does not say.
_TURN_TOKENS = 4  # What a turn needs beside its text.


def dollars(amount: float, *, emulated: bool = False) -> str:
    """An amount for people. ``emulated``: nobody pays it, and so it is called."""
    return f"${amount:.4f}" + (" (emulated: nobody pays it)" if emulated else "")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens. The defaults are those of Claude Haiku 4.5."""

    input: float = 1.0
    output: float = 5.0

    @classmethod
    def parse(cls, text: str) -> Price:
        """Read ``IN,OUT``.

        Raises:
            Stop: it is not that.
        """
        try:
            read, written = (float(part) for part in text.split(","))
        except ValueError:
            read = written = -1.0
        if not (0 <= read < math.inf and 0 <= written < math.inf):
            raise Stop(
                ExitCode.USAGE,
                f"--price: {text!r} is not IN,OUT: two prices in US dollars for a million tokens, "
                "such as 1,5",
            )
        return cls(read, written)

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars for so many tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6

    def of_bill(self, bill: Bill) -> float:
        """US dollars for what is told in them, and for the tokens that have no price."""
        return bill.dollars + self.of(bill.input_tokens, bill.output_tokens)


class LineCost(NamedTuple):
    """What one line may take. ``known`` is false where a part of it cannot be guessed."""

    input_tokens: int
    output_tokens: int
    known: bool = True

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> LineCost:
        """The guess for a task in the wire's spelling. Never raises, whatever the task holds."""
        if task.get("taskType", "textInference") != "textInference":
            return cls(0, 0, known=False)
        settings = task.get("settings")
        settings = settings if is_object(settings) else {}
        inputs = task.get("inputs")
        inputs = inputs if is_object(inputs) else {}
        messages = _each(task.get("messages"))
        tokens = _tokens(settings.get("systemPrompt")) + _tokens(task.get("tools"))
        for message in messages:
            content = message.get("content") if is_object(message) else message
            tokens += _TURN_TOKENS + _tokens(content)
        tokens += IMAGE_TOKENS * len(_each(inputs.get("images")))
        answers = _count(task.get("numberResults"), 1)
        most = _count(settings.get("maxTokens"), _MAX_TOKENS)
        return cls(tokens * answers, most * answers, known=not _each(inputs.get("documents")))

    def dollars(self, price: Price) -> float:
        """The most that the line may cost."""
        return price.of(self.input_tokens, self.output_tokens)


def _each(value: object) -> list[Any]:
    return list(value) if is_array(value) else []


def _count(value: object, otherwise: int) -> int:
    good = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if good and isinstance(value, int) else otherwise


def _tokens(value: object) -> int:
    if value is None:
        return 0
    data = value.encode("utf-8", "replace") if isinstance(value, str) else dumps(value)
    return -(-len(data) // _BYTES_A_TOKEN)


def cost_of_answer(answer: Result | RunwareError, price: Price) -> float | None:
    """US dollars that an answer cost; ``None`` where nobody can know.

    The server's own number; without one, its token counts at ``price``.
    """
    if isinstance(answer, Result):
        if answer.cost is not None:
            return answer.cost
        usage = answer.usage
        if usage is None or usage.output_tokens is None:
            return None
        return price.of(usage.input_tokens or 0, usage.output_tokens)
    if isinstance(answer, TaskError):
        costs = [item.get("cost") for item in answer.items]
        return math.fsum(cost for cost in costs if isinstance(cost, int | float))
    if answer.submitted is Submitted.NO and not isinstance(answer, OutcomeUnknown):
        return 0.0
    return None


@dataclass(slots=True)
class Forecast:
    """What a run would do, for ``--dry-run``. ``spent``: what this output has cost already.
    ``limit``: so many lines are taken; ``None``: all."""

    price: Price = field(default_factory=Price)
    spent: float = 0.0
    emulated: bool = False
    limit: int | None = None
    lines: int = 0
    done: int = 0
    invalid: int = 0
    unknown: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])

    def add(self, task: Mapping[str, Any] | None, kind: str, *, done: bool = False) -> None:
        """Count one line. ``task`` ``None``: no task can be made of it. ``kind``: for people."""
        self.lines += 1
        self.kinds[kind] += 1
        if done:
            self.done += 1
        elif task is None:
            self.invalid += 1
        elif self.limit is None or self.left <= self.limit:
            cost = LineCost.of(task)
            self.unknown += not cost.known
            self.input_tokens += cost.input_tokens
            self.output_tokens += cost.output_tokens

    @property
    def left(self) -> int:
        """Lines that need to be sent."""
        return self.lines - self.done - self.invalid

    @property
    def most(self) -> float:
        """US dollars if every answer were as long as it may be."""
        return self.price.of(self.input_tokens, self.output_tokens)

    def report(self) -> list[str]:
        """All of it, a line each."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        price = self.price
        bounded = self.limit is not None and self.limit < self.left
        part = f", of which --limit takes {self.limit}" if bounded else ""
        told = [
            f"{self.lines} lines ({kinds}): {self.left} to send{part}, {self.done} done before, "
            f"{self.invalid} that no task can be made of",
            f"input: about {self.input_tokens} tokens (guessed: one for 4 bytes of text), "
            f"{dollars(price.of(self.input_tokens, 0))}",
            f"output: at most {self.output_tokens} tokens (max_tokens; {_MAX_TOKENS} where a line "
            f"does not say), {dollars(price.of(0, self.output_tokens))}",
            f"together at most about {dollars(self.most, emulated=self.emulated)}, at "
            f"${price.input:g} and ${price.output:g} for a million tokens (--price IN,OUT)",
        ]
        if self.unknown:
            told.append(f"{self.unknown} lines may cost more: documents, or tasks other than text")
        if self.spent:
            spent = dollars(self.spent, emulated=self.emulated)
            told.append(f"this output has cost {spent} in earlier runs")
        return told


class Budget:
    """Decides whether a run may take one more line: ``--max-cost`` and ``--limit``.

    Ask :meth:`admits`, then :meth:`take` the line, then :meth:`ended` with its final answer; a
    line that is tried again within the run stays taken meanwhile. ``max_cost``: US dollars over all
    runs of the output, ``spent`` of which are gone; ``max_lines``: lines of this run. ``None``: no
    such limit. Where :meth:`admits` says no while lines are in flight, ask again when one ended.
    """

    def __init__(
        self,
        *,
        max_cost: float | None = None,
        max_lines: int | None = None,
        price: Price | None = None,
        spent: float = 0.0,
    ) -> None:
        self.price = price or Price()
        self.run = 0.0
        """What this run has cost."""
        self.unsure = 0.0
        """What lines with an unknown outcome may have cost on top."""
        self.taken = 0
        self._max_cost, self._max_lines = max_cost, max_lines
        self._before = spent
        self._held: dict[int, tuple[float, float]] = {}
        self._in_flight = 0.0
        self._dearest: float | None = None
        self._scale = 1.0

    @property
    def total(self) -> float:
        """What this output has cost in all its runs."""
        return self._before + self.run

    @property
    def in_flight(self) -> int:
        """Lines that are taken and not settled."""
        return len(self._held)

    @property
    def held(self) -> float:
        """What the lines in flight may cost."""
        return self._in_flight

    def _hold(self, cost: LineCost) -> float:
        most = cost.dollars(self.price) * self._scale
        if self._dearest is None:
            return most
        dearest = _MARGIN * self._dearest
        return min(most, dearest) if cost.known else dearest

    def admits(self, cost: LineCost) -> bool:
        """Whether a line may be taken now."""
        if self._max_lines is not None and self.taken >= self._max_lines:
            return False
        if self._max_cost is None:
            return True
        bound = self.total + self.unsure
        if self._dearest is None and not self._held:
            return bound < self._max_cost  # Somebody has to be the first.
        return bound + self._in_flight + self._hold(cost) <= self._max_cost

    def take(self, key: int, cost: LineCost) -> None:
        """Count a line as in flight."""
        hold = self._hold(cost)
        self._held[key] = hold, cost.dollars(self.price)
        self._in_flight += hold
        self.taken += 1

    def ended(self, key: int, answer: Result | RunwareError) -> None:
        """A line has its final answer. One that was not taken here (the journal's) counts too."""
        hold, guess = self._held.pop(key, (0.0, 0.0))
        self._in_flight = self._in_flight - hold if self._held else 0.0
        cost = cost_of_answer(answer, self.price)
        if cost is None:
            self.unsure += hold
            return
        self.run += cost
        if isinstance(answer, Result) and cost:
            self._dearest = max(self._dearest or 0.0, cost)
            if guess:
                self._scale = max(self._scale, cost / guess)

    def why(self) -> str | None:
        """Why no further line is taken, for people; ``None`` without a limit that was reached."""
        if self._max_lines is not None and self.taken >= self._max_lines:
            return f"--limit {self._max_lines}: so many lines were taken"
        if self._max_cost is None:
            return None
        unsure = f", and up to {dollars(self.unsure)} more" if self.unsure else ""
        return (
            f"--max-cost {self._max_cost:g}: {dollars(self.total)} are spent{unsure} in all runs "
            "of this output, and one more line could pass it"
        )
