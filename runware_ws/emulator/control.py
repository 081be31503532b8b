"""What can be changed while an emulator runs, as commands: JSON in, JSON out.

A command is an object whose ``do`` says what to do:

* ``order`` with ``orders``: fault orders, at once: ``{"do": "order", "orders": ["cut"]}``;
* ``repeat`` with ``steps``, ``every``: every so many seconds the orders of the next step, over and
  over, or ``times`` in all; the first one after ``first`` seconds. Replaces an earlier ``repeat``;
* ``rest``: no further step of ``repeat``;
* ``play`` with ``script``: a script from now on, see :mod:`~.script_file`; without it, none;
* ``change`` with ``options``: these options from now on; with ``latency``: this latency;
* ``stats``: the counters; ``load``: how many tasks run and wait;
* ``executions``, ``tellable`` with ``uuids``: how often each of these tasks ran; whether a question
  about it would get its whole answer.

They come from Python, over the standard input of a process, or over HTTP.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from .latency import Latency, parse_latency
from .options import EmulatorOptions
from .orders import apply_fault_order, check_fault_order
from .questions import tellable
from .script_file import EmulatorScript, read_script
from .state import ServerState
from .validation import is_list

__all__ = ["Commands", "changed_options"]

_OPTIONS = TypeAdapter(EmulatorOptions)


def changed_options(options: EmulatorOptions, changes: object) -> EmulatorOptions:
    """The same options with some of them changed.

    Raises:
        ValueError: one of them is unknown, of the wrong type, or makes no sense.
    """
    names = {field.name for field in fields(EmulatorOptions)}
    if not isinstance(changes, dict):
        raise ValueError("options must be an object")
    given = cast("dict[str, Any]", changes)
    for name in given:
        if name not in names:
            raise ValueError(f"options: there is no {name!r}; names: {', '.join(sorted(names))}")
    try:
        return _OPTIONS.validate_json(json.dumps({**asdict(options), **given}), strict=True)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = "".join(f".{part}" for part in first["loc"][:1])
        why = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"options{place}: {why}") from None


class Commands:
    """Does what commands say. Call it from the emulator's event loop."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def do(self, command: object) -> Any:
        """Do one command; returns what it asks for, or ``None``.

        Raises:
            ValueError: the command is unknown, or something in it makes no sense. Of several
                orders those before the wrong one were given; otherwise nothing happened.
        """
        if not isinstance(command, dict):
            raise ValueError("a command must be an object")
        given = cast("dict[str, Any]", command)
        name: object = given.get("do")
        verb = _VERBS.get(name) if isinstance(name, str) else None
        if verb is None:
            raise ValueError(f"unknown command {name!r}; known are: {', '.join(sorted(_VERBS))}")
        needed, known = verb
        for field in needed:
            if field not in given:
                raise ValueError(f"{name}: {field} is missing")
        for field in given:
            if field not in ("do", *needed, *known):
                raise ValueError(f"{name}: {field} is unknown")
        return getattr(self, f"_{name}")(given)

    def _order(self, command: dict[str, Any]) -> None:
        for order in _texts(command["orders"], "orders"):
            apply_fault_order(self._state.faults, order)

    def _repeat(self, command: dict[str, Any]) -> None:
        every, times = _number(command, "every"), command.get("times")
        first = _number(command, "first") if "first" in command else every
        if not every > 0 or not first >= 0:
            raise ValueError("every must be positive seconds, first 0 or more")
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError("times must be a number, at least 1")
        steps: Any = command["steps"]
        if not is_list(steps) or not steps:
            raise ValueError("steps must be a list of lists of orders")
        turns = [_texts(step, f"steps[{at}]") for at, step in enumerate(steps)]
        # A mistake must be told to who gave the order, not come up a second later.
        for order in (order for turn in turns for order in turn):
            check_fault_order(order)
        self._state.player.plan("repeat", turns, first, every, times)

    def _rest(self, _: dict[str, Any]) -> None:
        self._state.player.rest("repeat")

    def _play(self, command: dict[str, Any]) -> None:
        script = read_script(command["script"]) if "script" in command else EmulatorScript()
        self._state.player.play(script)

    def _change(self, command: dict[str, Any]) -> None:
        state = self._state
        options = changed_options(state.options, command.get("options", {}))
        given: Any = command.get("latency", state.latency)
        if isinstance(given, bool) or not isinstance(given, str | int | float | Latency):
            raise ValueError("latency must be a text like 50ms, or seconds")
        state.latency = parse_latency(given)
        state.change(options)

    def _stats(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._state.stats.summary()

    def _load(self, _: dict[str, Any]) -> dict[str, int]:
        admission = self._state.admission
        return {"running": admission.running, "waiting": admission.waiting}

    def _executions(self, command: dict[str, Any]) -> dict[str, int]:
        executions = self._state.stats.executions
        return {uuid: executions.get(uuid, 0) for uuid in _uuids(command)}

    def _tellable(self, command: dict[str, Any]) -> dict[str, bool]:
        return tellable(self._state, _uuids(command))


_VERBS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "order": (("orders",), ()),
    "repeat": (("steps", "every"), ("first", "times")),
    "rest": ((), ()),
    "play": ((), ("script",)),
    "change": ((), ("options", "latency")),
    "stats": ((), ()),
    "load": ((), ()),
    "executions": (("uuids",), ()),
    "tellable": (("uuids",), ()),
}
"""Of each command what it needs, and what it may have as well."""


def _texts(value: Any, name: str) -> list[str]:
    if not is_list(value) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{name} must be a list of texts")
    return cast("list[str]", value)


def _uuids(command: dict[str, Any]) -> Iterable[str]:
    return _texts(command["uuids"], "uuids")


def _number(command: dict[str, Any], name: str) -> float:
    value = command[name]
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) <= sys.float_info.max
    ):
        raise ValueError(f"{name} must be a number of seconds")
    return float(value)
