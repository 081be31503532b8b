"""Many seeds hold all invariants, the same seed goes the same way, and mutants are found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import anyio
import pytest

from runware_ws import Delta
from runware_ws._core import answers, wire
from runware_ws._core.connection import liveness
from runware_ws._core.core import SessionCore
from runware_ws._core.states import ConnectionState
from runware_ws._core.tasks import claims, table
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._io import keys
from runware_ws.client import client, mapping
from runware_ws.client.streams import TaskStream
from runware_ws.models import wire_errors
from runware_ws.models.error_codes import ErrorFamily, family
from runware_ws.models.results import RecoveredBy
from tests.simulation.batch import Batch, run_seeds
from tests.simulation.coverage import missing
from tests.simulation.loop import BusyLoop, Deadlock, VirtualLoop, run
from tests.simulation.play import play
from tests.simulation.scenario import draw
from tests.simulation.shrink import kind_of, shrink

FIRST, SEEDS = 100_000, 2_600
"""These meet all that must sometimes happen."""
ENOUGH = 300
"""A mutant is found within so many seeds."""
QUICKLY = 100
"""So many in each run of the tests."""

Patch = Callable[[pytest.MonkeyPatch], None]


def test_all_invariants_hold() -> None:
    for batch in run_seeds(FIRST, QUICKLY, jobs=2):
        assert not batch.failures, "replay with: python -m tests.simulation --seed N"


@pytest.mark.slow
def test_all_invariants_hold_over_many_seeds_and_everything_happens_sometimes() -> None:
    whole = Batch()
    for batch in run_seeds(FIRST, SEEDS, jobs=2):
        whole.add(batch)
    told = {seed: problems[0] for seed, problems in sorted(whole.failures.items())[:10]}
    assert not told, "replay with: python -m tests.simulation --seed N"
    assert missing(whole.seen) == []


@pytest.mark.parametrize("seed", range(20))
def test_the_same_seed_goes_the_same_way(seed: int) -> None:
    assert play(draw(seed)).story.digest() == play(draw(seed)).story.digest()


@pytest.mark.slow
def test_a_run_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "from tests.simulation.play import play; from tests.simulation.scenario import draw; "
        "print([play(draw(seed)).story.digest() for seed in range(10)])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(told) == 1


# The loop


async def _wait() -> None:
    await anyio.sleep_forever()


async def _busy() -> None:
    while True:
        await anyio.lowlevel.checkpoint()


def test_the_loop_finds_a_deadlock_and_a_busy_loop() -> None:
    with pytest.raises(Deadlock):
        run(_wait(), VirtualLoop())
    with pytest.raises(BusyLoop):
        run(_busy(), VirtualLoop())


# Mutants: bugs that the simulation must find


def _no_dedupe(patch: pytest.MonkeyPatch) -> None:
    def all_of_them(_record: Any, items: Any, *, listing: bool) -> Any:
        return items

    patch.setattr(answers, "fresh_items", all_of_them)


def _receipts_are_errors(patch: pytest.MonkeyPatch) -> None:
    def as_error(code: str) -> ErrorFamily:
        found = family(code)
        return ErrorFamily.VALIDATION if found is ErrorFamily.CONFLICT else found

    patch.setattr(wire_errors, "family", as_error)


def _old_sockets_are_heard(patch: pytest.MonkeyPatch) -> None:
    right = SessionCore.receive

    def receive(self: SessionCore, _generation: int, data: bytes | str, now: float) -> None:
        right(self, self.generation, data, now)

    patch.setattr(SessionCore, "receive", receive)


def _early_replay_is_ignored(patch: pytest.MonkeyPatch) -> None:
    right = SessionCore.receive

    def receive(self: SessionCore, generation: int, data: bytes | str, now: float) -> None:
        early = self.state is ConnectionState.AUTHENTICATING
        raw = data.encode() if isinstance(data, str) else data
        if not early or b"connectionSessionUUID" in raw or b"error" in raw:
            right(self, generation, data, now)

    patch.setattr(SessionCore, "receive", receive)


def _silence_is_bliss(patch: pytest.MonkeyPatch) -> None:
    def check(_self: liveness.Liveness, _now: float, *, pending: bool) -> liveness.Pulse:
        return liveness.Pulse.FINE

    def never(_self: liveness.Liveness, *, pending: bool) -> float:
        return float("inf")

    patch.setattr(liveness.Liveness, "check", check)
    patch.setattr(liveness.Liveness, "next_deadline", never)


def _deadlines_do_not_matter(patch: pytest.MonkeyPatch) -> None:
    def expire(_self: table.TaskTable, _now: float) -> Any:
        return iter(())

    def never(_self: table.TaskTable) -> float:
        return float("inf")

    patch.setattr(table.TaskTable, "expire", expire)
    patch.setattr(table.TaskTable, "next_deadline", never)


def _keys_are_told(patch: pytest.MonkeyPatch) -> None:
    def redact(_self: keys.KeySource, text: str) -> str:
        return text

    patch.setattr(keys.KeySource, "redact_text", redact)


def _other_tasks_are_cancelled_too(patch: pytest.MonkeyPatch) -> None:
    right = SessionCore.cancel

    def cancel(self: SessionCore, record: Any, now: float) -> bool:
        for other in self.pending_uuids()[:2]:
            right(self, self._table.tasks[other], now)  # pyright: ignore[reportPrivateUsage]
        return right(self, record, now)

    patch.setattr(SessionCore, "cancel", cancel)


def _deltas_go_on_after_a_cut(patch: pytest.MonkeyPatch) -> None:
    def never(_self: Deltas, _value: bool) -> None:
        pass

    patch.setattr(Deltas, "suspended", property(lambda _self: False, never))


def _the_last_delta_is_not_read(patch: pytest.MonkeyPatch) -> None:
    right = TaskStream.__anext__

    async def read(self: TaskStream) -> Delta:
        delta = await right(self)
        if delta.finish_reason is not None:
            raise StopAsyncIteration
        return delta

    patch.setattr(TaskStream, "__anext__", read)


def _a_map_hides_a_failure(patch: pytest.MonkeyPatch) -> None:
    right = mapping.run_map

    async def hide(*args: Any) -> AsyncGenerator[Any]:
        async with aclosing(right(*args)) as outcomes:
            async for outcome in outcomes:
                if outcome.ok:
                    yield outcome

    patch.setattr(client, "run_map", hide)


def _replays_are_called_live(patch: pytest.MonkeyPatch) -> None:
    right = TaskRecord.took

    def took(self: TaskRecord, items: Any, source: RecoveredBy) -> None:
        live = source is RecoveredBy.REPLAY
        right(self, items, RecoveredBy.LIVE if live else source)

    patch.setattr(TaskRecord, "took", took)


def _claims_give_nothing_back(patch: pytest.MonkeyPatch) -> None:
    right = claims.Claims.take

    def take(self: claims.Claims, uuid: str) -> Any:
        size = self.size
        found = right(self, uuid)
        self.size = size
        return found

    patch.setattr(claims.Claims, "take", take)


def _claims_have_no_weight(patch: pytest.MonkeyPatch) -> None:
    def nothing(_item: Any, _most: int) -> int:
        return 0

    patch.setattr(wire, "weight", nothing)


def _nothing(_patch: pytest.MonkeyPatch) -> None:
    pass


MUTANTS: dict[str, tuple[Patch, dict[str, Any], str]] = {
    "a resend does not wait": (_nothing, {"resend_after": 0.0}, "I5"),
    "no dedupe": (_no_dedupe, {}, "I3"),
    "receipts are errors": (_receipts_are_errors, {}, "I1"),
    "old sockets are heard": (_old_sockets_are_heard, {}, "I7"),
    "an early replay is ignored": (_early_replay_is_ignored, {}, "I4"),
    "a silent peer is believed": (_silence_is_bliss, {}, "I10"),
    "deadlines do not matter": (_deadlines_do_not_matter, {}, "I8"),
    "the key is told": (_keys_are_told, {}, "I13"),
    "deltas go on after a cut": (_deltas_go_on_after_a_cut, {}, "I16"),
    "the last delta is not read": (_the_last_delta_is_not_read, {}, "I16"),
    "a map hides failures": (_a_map_hides_a_failure, {}, "I1"),
    "replays are called live": (_replays_are_called_live, {}, "honesty"),
    "a claim gives no room back": (_claims_give_nothing_back, {}, "I9"),
    "claims have no weight": (_claims_have_no_weight, {}, "I9"),
    "cancelling one cancels others": (_other_tasks_are_cancelled_too, {}, "I12"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_client_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, options, kind = MUTANTS[name]
    patch(monkeypatch)
    for seed in range(ENOUGH):
        scenario = draw(seed)
        scenario = replace(scenario, options={**scenario.options, **options})
        if any(kind_of(problem) == kind for problem in play(scenario).problems):
            return
    pytest.fail(f"no seed below {ENOUGH} finds it")


def test_a_failing_run_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    _keys_are_told(monkeypatch)
    for seed in range(ENOUGH):
        scenario = draw(seed)
        if any(kind_of(problem) == "I13" for problem in play(scenario).problems):
            smallest, report = shrink(scenario, "I13")
            assert len(smallest.actions) + len(smallest.faults) <= 2
            assert any(kind_of(problem) == "I13" for problem in report.problems)
            assert "I13" in report.story.text()
            return
    pytest.fail("no seed finds it")
