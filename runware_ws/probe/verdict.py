"""What a question is, what an experiment is, and what comes out of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import anyio

from runware_ws._io.keys import KeySource
from runware_ws._io.transport import Dial, TransportLost
from runware_ws._io.transport import dial as websocket_dial
from runware_ws.config import Config
from runware_ws.errors import AuthenticationError, ConnectionFailed
from runware_ws.probe.lab import LONG_TOKENS, SHORT_TOKENS, Bench, Muddle, Pace

__all__ = ["UNCLEAR", "Experiment", "Lab", "Question", "Ran", "Verdict", "unclear"]

UNCLEAR = "unclear"
"""The verdict of an experiment that did not show what the server does."""

FactsT = TypeVar("FactsT")

# US dollars for each token of the model, in and out, and the tokens of the longest prompt here.
_PRICE_IN = 1e-6
_PRICE_OUT = 5e-6
_PROMPT_TOKENS = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a server answers to a question.

    ``answer``: one of the question's answers, or ``"unclear"``. ``detail``: more, in a few words.
    ``evidence``: the log of the experiment.
    """

    answer: str
    detail: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]], compare=False)

    @property
    def clear(self) -> bool:
        """Whether it is an answer at all."""
        return self.answer != UNCLEAR


def unclear(detail: str) -> Verdict:
    """No verdict, and why."""
    return Verdict(UNCLEAR, detail)


@dataclass(frozen=True, slots=True, eq=False)
class Experiment(Generic[FactsT]):
    """What is done to a server. Several questions can read one experiment.

    ``short``, ``long``: how many paid results it asks for at most. ``seconds``: how long it takes
    at most; ``waits``: how much of it is waiting that cannot be had shorter.
    """

    name: str
    run: Callable[[Bench], Awaitable[FactsT]]
    seconds: Callable[[Pace], float]
    short: int = 0
    long: int = 0
    waits: Callable[[Pace], float] = lambda pace: 0.0

    @property
    def tasks(self) -> int:
        """How many paid results it asks for at most."""
        return self.short + self.long

    @property
    def dollars(self) -> float:
        """What it costs at most, about."""
        out = self.short * SHORT_TOKENS + self.long * LONG_TOKENS
        return out * _PRICE_OUT + self.tasks * _PROMPT_TOKENS * _PRICE_IN


@dataclass(frozen=True, slots=True)
class Ran(Generic[FactsT]):
    """An experiment that was run. ``facts`` is ``None`` where it failed; then see ``problem``."""

    facts: FactsT | None
    problem: str
    log: list[dict[str, Any]]
    cost: float
    """What the server said that its results cost, in US dollars."""


class Lab:
    """One server and one key. Each experiment is run once, and remembered."""

    def __init__(
        self,
        url: str,
        keys: KeySource,
        config: Config,
        pace: Pace,
        dial: Dial | None = None,
    ) -> None:
        self.pace = pace
        self._dial = dial or websocket_dial
        self._url = url
        self._keys = keys
        self._config = config
        self.ran: dict[str, Ran[Any]] = {}

    def _bench(self) -> Bench:
        return Bench(self._url, self._keys, self._config, self.pace, self._dial)

    async def check(self) -> None:
        """See whether the server is there and takes the key.

        Raises:
            ConnectionFailed: it cannot be reached, or does not answer.
            AuthenticationError: it refuses the key.
        """
        bench = self._bench()
        try:
            async with bench.socket() as socket:
                greeting = await socket.authenticate()
                loss = socket.loss
        except (TransportLost, ExceptionGroup) as exc:
            problem = expected_problem(exc)
            if problem is None:
                raise
            raise ConnectionFailed(f"cannot connect: {problem}") from None
        if greeting.error is not None:
            error = greeting.error
            raise AuthenticationError(error.message or error.code, code=error.code)
        if greeting.session is None:
            # Refusals by a close code alone are told like those in words.
            if loss is not None and loss.code == 1008:
                raise AuthenticationError(f"the server closed the socket: {loss}")
            raise ConnectionFailed("the server does not answer the authentication")

    async def once(self, experiment: Experiment[FactsT]) -> Ran[FactsT]:
        """Run an experiment, or remember what came of it."""
        if experiment.name not in self.ran:
            bench = self._bench()
            facts: FactsT | None = None
            problem = ""
            limit = 2 * experiment.seconds(self.pace) + self._config.open_timeout
            try:
                with anyio.fail_after(limit):
                    facts = await experiment.run(bench)
            except (TransportLost, Muddle, TimeoutError, ExceptionGroup) as exc:
                problem = expected_problem(exc) or ""
                if not problem:
                    raise
            cost = sum(bench.costs.values())
            self.ran[experiment.name] = Ran(facts, problem, bench.log, cost)
        return self.ran[experiment.name]


def expected_problem(exc: Exception) -> str | None:
    """The words for a failure that a server can cause; ``None`` for a bug of ours."""
    if isinstance(exc, ExceptionGroup):
        # A socket of trio wraps what is raised while it is open.
        group = cast("ExceptionGroup[Exception]", exc)
        problems = [expected_problem(each) for each in group.exceptions]
        return None if None in problems else "; ".join(p for p in problems if p)
    if isinstance(exc, TransportLost):
        return str(exc.loss)
    if isinstance(exc, Muddle):
        return str(exc)
    if isinstance(exc, TimeoutError):
        return "it took too long"
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Question(Generic[FactsT]):
    """One thing that nobody outside can know about a server.

    ``words``: the question in plain words. ``answers``: what can come out, apart from
    ``"unclear"``. ``judge`` reads the answer from the facts of the experiment.
    """

    name: str
    words: str
    answers: tuple[str, ...]
    experiment: Experiment[FactsT]
    judge: Callable[[FactsT], Verdict]

    @property
    def tasks(self) -> int:
        """How many paid results it asks for at most, asked alone."""
        return self.experiment.tasks

    def seconds(self, pace: Pace) -> float:
        """How long it takes at most, asked alone."""
        return self.experiment.seconds(pace)

    async def ask(self, lab: Lab) -> Verdict:
        """Ask it. Never raises for what a server does."""
        ran = await lab.once(self.experiment)
        verdict = unclear(ran.problem) if ran.facts is None else self.judge(ran.facts)
        return Verdict(verdict.answer, verdict.detail, ran.log)
