"""A script: which faults come when, and what certain tasks are answered. Read from JSON or TOML. ::

[[steps]]
at = "2s"                     # after the start; or: task = 3, when the third task was taken
orders = ["cut", "shuffle"]
every = "1s"                  # again and again, times = 5 of them in all

[[answers]]
prompt = "weather"            # in the last message; or: task = 3; or neither: any task
times = 2                     # so many tasks; without it any number
after = "200ms"               # later than the latency has it
text = "Rain."                # or: fields = {…} of the result; or: error = {code = "…"}
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from .latency import parse_duration
from .orders import check_fault_order

__all__ = ["EmulatorScript", "ScriptAnswer", "ScriptStep", "load_script", "read_script"]


def _seconds(value: object) -> float:
    """Seconds of a number, or of text like ``200ms``."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError("must be seconds, 0 or more, or a text like 200ms")
    return float(value)


def _order(text: str) -> str:
    check_fault_order(text)
    return text


_Seconds = Annotated[float, BeforeValidator(_seconds)]
_Count = Annotated[int, Field(ge=1, strict=True)]
_Order = Annotated[str, AfterValidator(_order)]


class _Strict(BaseModel):
    """Frozen, and without fields that nobody knows: a misspelt one would do nothing in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptStep(_Strict):
    """Fault orders for one moment: ``at`` seconds after the start, or when a task was taken."""

    orders: tuple[_Order, ...] = Field(min_length=1)
    at: _Seconds | None = None
    task: _Count | None = None
    every: _Seconds | None = None
    times: _Count | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.at is None) == (self.task is None):
            raise ValueError("give either at, or task")
        if self.every is not None and (self.at is None or self.every <= 0):
            raise ValueError("every goes with at, and must be above 0")
        if self.times is not None and self.every is None:
            raise ValueError("times goes with every")
        return self


class ScriptAnswer(_Strict):
    """What some tasks are answered. ``times`` ``None``: all that fit; ``after``: seconds."""

    task: _Count | None = None
    prompt: str | None = None
    times: _Count | None = None
    after: _Seconds = 0.0
    text: str | None = None
    fields: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if sum(each is not None for each in (self.text, self.fields, self.error)) != 1:
            raise ValueError("give one of text, fields and error")
        if self.task is not None and self.prompt is not None:
            raise ValueError("give task or prompt, not both")
        if self.error is not None and not isinstance(self.error.get("code"), str):
            raise ValueError("error needs a code, which is a text")
        return self

    def fits(self, number: int, prompt: str) -> bool:
        """Whether it is for the task with this number, counted from 1, and this prompt."""
        if self.task is not None:
            return self.task == number
        return self.prompt is None or self.prompt in prompt


class EmulatorScript(_Strict):
    """Steps and answers. Of the answers the first one that fits and is not used up counts."""

    steps: tuple[ScriptStep, ...] = ()
    answers: tuple[ScriptAnswer, ...] = ()


def read_script(value: object, name: str = "script") -> EmulatorScript:
    """Make a script of JSON values. ``name`` stands in front of each complaint.

    Raises:
        ValueError: the first thing that is wrong, and where.
    """
    try:
        return EmulatorScript.model_validate(value)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        why = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name}: {_place(first['loc'])}{why}") from None


def _place(where: Sequence[str | int]) -> str:
    """``steps[0].at: ``, or nothing where all of it is wrong."""
    place = ""
    for part in where:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return f"{place}: " if place else ""


def load_script(path: str | Path) -> EmulatorScript:
    """Read a script from a file whose name ends in ``.json`` or ``.toml``.

    Raises:
        ValueError: it cannot be read, it is no JSON or TOML, or something in it is wrong.
    """
    file = Path(path)
    if file.suffix not in (".json", ".toml"):
        raise ValueError(f"{file}: the name of a script must end in .json or .toml")
    try:
        data = file.read_bytes()
        value = orjson.loads(data) if file.suffix == ".json" else tomllib.loads(data.decode())
    except OSError as problem:
        raise ValueError(f"{file}: cannot be read: {problem.strerror or problem}") from None
    except ValueError as problem:
        # All three decoders raise one of these, with the line or the byte.
        raise ValueError(f"{file}: no {file.suffix[1:].upper()}: {problem}") from None
    return read_script(value, str(file))
