"""What is asked: tasks of a list, tasks of drawn lengths, or an agent of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import random
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeAlias, cast

from runware_ws import HAIKU_MODEL, TextInference
from runware_ws.emulator import Latency
from runware_ws.load.targets import Answer

__all__ = ["Agent", "Caller", "drawn_tasks", "find_agent", "listed_tasks", "parse_length"]


class Caller(Protocol):
    """What an agent asks with."""

    @property
    def number(self) -> int:
        """The number of the start, from 0."""
        ...

    @property
    def rng(self) -> random.Random:
        """Random numbers of this start, the same in each run with the same seed."""
        ...

    async def ask(self, task: TextInference | dict[str, Any], *, name: str = "task") -> Answer:
        """Run one task and count it under ``name``; raises as the target does, counted too.

        The first one of an agent should have started when the agent should; each later one when
        it was called.
        """
        ...

    async def think(self, seconds: float) -> None:
        """Wait; what is asked next should have started when this is over."""
        ...


Agent: TypeAlias = Callable[[Caller], Awaitable[None]]
"""Work for one start: asks one task or many, one after the other or at once."""


def listed_tasks(tasks: Sequence[dict[str, Any]]) -> Agent:
    """Each start asks the next of these tasks, around and around, each under a new taskUUID."""
    if not tasks:
        raise ValueError("there are no tasks")

    async def ask(caller: Caller) -> None:
        task = dict(tasks[caller.number % len(tasks)])
        task.pop("taskUUID", None)  # Each time it is another task.
        await caller.ask(task)

    return ask


_WORDS = ("copper ", "lake ", "seven ", "violet ", "engine ", "paper ", "orbit ", "maple ")
_LEAST_PROMPT = 1


def parse_length(text: str) -> Latency:
    """Read ``"500"``, ``"100-900"``, ``"exp:500"`` or ``"lognormal:500,0.8"``: tokens.

    Raises:
        ValueError: the text is none of these.
    """
    # The grammar of durations fits: what it calls seconds are tokens here.
    kind, colon, rest = text.strip().partition(":")
    numbers = (rest if colon else kind).replace("-", ",").split(",")
    try:
        values = [float(number) for number in numbers]
        if colon:
            if kind == "exp" and len(values) == 1:
                return Latency("exp", *values)
            if kind == "lognormal" and len(values) in (1, 2):
                return Latency("lognormal", values[0], *(values[1:] or [0.5]))
        elif len(values) == 2:
            return Latency("uniform", *values)
        elif len(values) == 1:
            return Latency("constant", *values)
    except ValueError:
        pass
    raise ValueError(f"not a length: {text!r}; write 500, 100-900, exp:500 or lognormal:500,0.8")


def drawn_tasks(prompt: Latency, answer: Latency | None = None) -> Agent:
    """Each start asks a prompt of a drawn length in words, and allows a drawn ``answer``.

    The length of the answer goes out as ``maxTokens``: what comes is the model's affair.
    """

    async def ask(caller: Caller) -> None:
        words = max(_LEAST_PROMPT, round(prompt.sample(caller.rng)))
        text = f"{caller.number}: " + "".join(caller.rng.choices(_WORDS, k=words))
        task: dict[str, Any] = {
            "taskType": "textInference",
            "model": HAIKU_MODEL,
            "messages": [{"role": "user", "content": text}],
            "includeUsage": True,
            "includeCost": True,
        }
        if answer is not None:
            most = min(64_000, max(1, round(answer.sample(caller.rng))))
            task["settings"] = {"maxTokens": most}
        await caller.ask(task)

    return ask


_loaded = itertools.count()


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(f"_load_agent_{next(_loaded)}", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _cause(exc: BaseException) -> str:
    """What went wrong in a script, and where: who wrote it finds the line."""
    told = f"{type(exc).__name__}: {exc}"
    frames = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if not frame.filename.startswith("<")
    ]
    last = frames[-1].filename
    if isinstance(exc, SyntaxError) or last in (__file__, importlib.__file__):
        return told
    return f"{told} ({Path(last).name}:{frames[-1].lineno})"


def find_agent(name: str) -> Agent:
    """Find ``"package.module:function"`` or ``"path/to/file.py:function"``.

    Raises:
        ValueError: there is no such function, or its script cannot be loaded.
    """
    place, colon, function = name.rpartition(":")
    if not colon or not place:
        raise ValueError(f"{name!r}: write it like module:function or file.py:function")
    if place.endswith(".py") and not Path(place).is_file():
        raise ValueError(f"{place}: there is no such file")
    try:
        module = _module(place)
    except (Exception, SystemExit) as exc:
        raise ValueError(f"{place}: cannot be loaded: {_cause(exc)}") from None
    agent: object = getattr(module, function, None)
    if not callable(agent):
        raise ValueError(f"{place} has no function {function}")
    return cast("Agent", agent)
