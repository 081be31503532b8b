"""Makes a failing run small: leaves out actions and faults while the same invariant breaks.

Then the server's traits and the small constants: those that are left are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from tests.simulation.play import Report, play
from tests.simulation.scenario import Action, Fault, Scenario
from tests.simulation.traits import plainer

__all__ = ["kind_of", "shrink"]

T = TypeVar("T")


def kind_of(problem: str) -> str:
    """Which invariant a problem is about: the text up to the first colon."""
    return problem.split(":", 1)[0]


def shrink(scenario: Scenario, kind: str, *, budget: int = 400) -> tuple[Scenario, Report]:
    """The smallest run found that still breaks this ``kind``; at most ``budget`` plays."""
    left = budget

    def breaks(candidate: Scenario) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and any(kind_of(p) == kind for p in play(candidate).problems)

    smaller = True
    while smaller and left > 0:
        before = len(scenario.actions) + len(scenario.faults)
        faults = _without(scenario.faults, _with_faults(scenario, breaks))
        scenario = replace(scenario, faults=faults)
        actions = _without(scenario.actions, _with_actions(scenario, breaks))
        scenario = replace(scenario, actions=actions)
        smaller = len(actions) + len(faults) < before
    scenario = _plainest(scenario, breaks)
    return scenario, play(scenario)


def _plainest(scenario: Scenario, breaks: Callable[[Scenario], bool]) -> Scenario:
    for traits in plainer(scenario.traits):
        candidate = replace(scenario, traits=traits)
        if breaks(candidate):
            return _plainest(candidate, breaks)
    for key in scenario.small:
        small = {name: value for name, value in scenario.small.items() if name != key}
        candidate = replace(scenario, small=small)
        if breaks(candidate):
            return _plainest(candidate, breaks)
    return scenario


def _with_faults(
    scenario: Scenario, breaks: Callable[[Scenario], bool]
) -> Callable[[tuple[Fault, ...]], bool]:
    return lambda faults: breaks(replace(scenario, faults=faults))


def _with_actions(
    scenario: Scenario, breaks: Callable[[Scenario], bool]
) -> Callable[[tuple[Action, ...]], bool]:
    return lambda actions: breaks(replace(scenario, actions=actions))


def _without(parts: tuple[T, ...], still: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """Delta debugging: leave out halves, then quarters, then single parts."""
    size = max(1, len(parts) // 2)
    while parts:
        start = 0
        while start < len(parts):
            fewer = parts[:start] + parts[start + size :]
            if still(fewer):
                parts = fewer
            else:
                start += size
        if size == 1:
            break
        size //= 2
    return parts
