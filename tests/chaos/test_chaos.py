"""Tasks by the hundred over real sockets, through an emulator in its own process, under each fault.

Meanwhile the server makes every choice that nobody outside can know: the rows of ``choice_rows``
hold every pair of values, and they are dealt out to the faults in turn.
``python -m tests.chaos`` is the long run.
"""

from __future__ import annotations

import logging
from itertools import chain, combinations, cycle, islice
from typing import Any

import pytest

from runware_ws.cli.chaos import run_chaos
from runware_ws.cli.chaos_faults import (
    CHOICES,
    FAULTS,
    Fault,
    choice_rows,
    choose,
    differing,
    find_faults,
)
from runware_ws.cli.chaos_run import run_fault
from runware_ws.emulator import EmulatorOptions
from tests.chaos.pace import QUICK
from tests.conftest import ASYNCIO, TRIO, UVLOOP

TASKS = 300
CONCURRENCY = 50
ROWS = choice_rows()
QUICKLY = 1
"""So many faults in each run of the tests."""


@pytest.fixture(autouse=True)
def unlogged(caplog: pytest.LogCaptureFixture) -> None:
    """What a log keeps for the report of a test would count as left behind."""
    caplog.set_level(logging.CRITICAL, logger="runware_ws")


def _deal() -> list[Any]:
    """Every row and every fault at least once; no fault meets only the server's usual ways.

    A quick run meets the first of them only: all take too long for that.
    """
    strikes = list(FAULTS[1:])
    # The blackhole takes longest, and has no say in most of the choices: once is enough.
    more = [fault for fault in strikes if fault.name not in ("blackhole", "stalled")]
    dealt = list(zip(islice(chain(strikes, cycle(more)), len(ROWS)), ROWS, strict=True))
    return [
        pytest.param(
            ASYNCIO.values[0],
            fault,
            row,
            id=f"{number}-{fault.name}",
            marks=[pytest.mark.slow] if number >= QUICKLY else [],
        )
        for number, (fault, row) in enumerate(dealt)
    ]


_BY_NAME = {fault.name: fault for fault in FAULTS}
_OTHER_LOOPS = [
    pytest.param(
        *(loop.values[0], _BY_NAME[fault], ROWS[row]),
        id=f"{loop.id}-{fault}",
        marks=pytest.mark.slow,
    )
    for loop, fault, row in ((TRIO, "abort", 2), (TRIO, "key-revoked", 3), (UVLOOP, "abort", 4))
]


@pytest.mark.anyio
@pytest.mark.parametrize(("anyio_backend", "fault", "row"), [*_deal(), *_OTHER_LOOPS])
async def test_the_promise_is_kept(anyio_backend: Any, fault: Fault, row: dict[str, Any]) -> None:
    mute = row["failing_question"] == "getTaskDetails"
    # Where the archive never answers, many wait for their deadlines: fewer tasks, then.
    tasks = 4 * CONCURRENCY if mute else TASKS
    tally = await run_fault(
        fault, tasks=tasks, concurrency=CONCURRENCY, pace=QUICK, options=choose(row)
    )
    assert tally.complaints == [], (differing(row), tally.problems, tally.counters)
    assert tally.clean
    assert tally.attempted == tasks
    # Only a server without a word about it leaves a task unknown.
    assert not tally.untold or mute or row["archive_keeps"] == "for-good", tally.problems


# The run would notice


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [ASYNCIO.values[0]])
async def test_a_task_run_twice_would_be_noticed(anyio_backend: Any) -> None:
    twice = Fault(
        "twice",
        "the server runs a repeated taskUUID again, and denies every task",
        "noticed",
        orders=("break-uniqueness", "lose-results"),
        steps=(("cut",),),
        times=1,
        client={"resend_early": True, "resend_after": 0.05},
        proof=("cuts",),
    )
    # A task that is running is not found, so it is sent again: a server that ran it twice
    # would be told by the tally. Seconds, for a machine that is slow to ask.
    for delay in (0.5, 5.0):
        tally = await run_fault(
            twice,
            tasks=TASKS,
            concurrency=CONCURRENCY,
            pace=QUICK,
            options=EmulatorOptions(registration_delay=delay),
        )
        if tally.duplicated:
            break
    assert tally.duplicated > 0
    assert not tally.clean


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [ASYNCIO.values[0]])
async def test_a_fault_that_never_struck_would_be_noticed(anyio_backend: Any) -> None:
    never = Fault("never", "nothing", "noticed", proof=("cuts",))
    tally = await run_fault(never, tasks=10, concurrency=5, pace=QUICK)
    assert tally.answered == 10
    assert tally.complaints == ["the fault never struck: cuts 0"]


@pytest.mark.slow
def test_the_command_prints_a_tally_and_judges(capsys: pytest.CaptureFixture[str]) -> None:
    strict = Fault("strict", "nothing", "noticed", proof=("cuts",))
    faults = find_faults("calm")
    assert run_chaos(faults, tasks=16, concurrency=8, pace=QUICK) == 0
    line, verdict = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "calm: attempted 16, answered 16, lost 0, duplicated 0, unexpected 0, unknown 0, untold 0,"
        " refused 0;"
        " recovered: live 12 poll 4; p50 "
    )
    assert line.endswith("; at baseline")
    assert verdict == "nothing lost, nothing run twice, nothing mixed up, nothing left behind"
    assert run_chaos([strict], tasks=8, concurrency=8, pace=QUICK) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAILED: strict"


# The choices


def test_the_rows_hold_every_pair_of_choices() -> None:
    seen = {
        pair for row in ROWS for pair in combinations([(name, row[name]) for name in CHOICES], 2)
    }
    for a, b in combinations(CHOICES, 2):
        for one in CHOICES[a]:
            for other in CHOICES[b]:
                assert ((a, one), (b, other)) in seen
    assert choice_rows() == ROWS
    assert choose(ROWS[0]) == EmulatorOptions()
    assert differing(ROWS[0]) == ""


def test_faults_by_name() -> None:
    assert find_faults("all") == FAULTS
    assert [fault.name for fault in find_faults(" forgotten, abort")] == ["abort", "forgotten"]
    for names in ("", "rain", "abort,rain"):
        with pytest.raises(ValueError, match="must be all, or some of calm,abort"):
            find_faults(names)
