"""Small constants: where they are read, they have the small value, and only for the run."""

from __future__ import annotations

from importlib import import_module

import pytest

from runware_ws._core.tasks.schedule import Schedule
from tests.simulation.play import play
from tests.simulation.scenario import draw
from tests.simulation.shrink import kind_of, shrink
from tests.simulation.small import SMALL, draw_small, patched


@pytest.mark.parametrize("key", SMALL)
def test_a_constant_is_small_inside_the_block_only(key: str) -> None:
    constant = SMALL[key]
    holders = [import_module(name) for name in (constant.module, *constant.users)]
    usual = [getattr(holder, constant.name) for holder in holders]
    value = constant.values[0]
    assert min(usual) == max(usual) > max(constant.values)
    with patched({key: value}):
        assert [getattr(holder, constant.name) for holder in holders] == [value] * len(holders)
    assert [getattr(holder, constant.name) for holder in holders] == usual


def test_no_other_module_of_the_client_has_a_copy_of_its_own() -> None:
    for constant in SMALL.values():
        usual = getattr(import_module(constant.module), constant.name)
        for name in ("runware_ws._core.core", "runware_ws._core.recovery.recovery", *_CLIENT):
            listed = name in (constant.module, *constant.users)
            copied = getattr(import_module(name), constant.name, None) == usual
            assert listed or not copied, f"{name} imports {constant.key}: list it"


_CLIENT = (
    "runware_ws._io.driver",
    "runware_ws._io.sockets",
    "runware_ws.client.client",
    "runware_ws.client.sync",
)


def test_some_runs_have_some_and_most_have_none() -> None:
    drawn = [draw_small(seed) for seed in range(200)]
    assert 20 < sum(map(bool, drawn)) < 100
    assert {key for small in drawn for key in small} == set(SMALL)
    assert not any(draw_small(seed, without=("small",)) for seed in range(200))


@pytest.mark.slow
def test_a_bug_behind_a_large_constant_is_found_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Schedule._rebuild  # pyright: ignore[reportPrivateUsage]

    def forgetful(self: Schedule) -> None:
        right(self)
        self._heap.clear()  # pyright: ignore[reportPrivateUsage]

    monkeypatch.setattr(Schedule, "_rebuild", forgetful)
    for seed in range(300):
        scenario = draw(seed)
        problems = play(scenario).problems if scenario.small else ()
        if problems:
            assert not play(draw(seed, without=("small",))).problems
            kind = kind_of(problems[0])
            smallest, report = shrink(scenario, kind, budget=300)
            assert [*smallest.small] == ["schedule._SLACK"]
            assert "schedule._SLACK = " in report.story.text()
            return
    pytest.fail("no seed finds it")
