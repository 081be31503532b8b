"""``demo --faults``: thousands of tasks over real sockets, under each fault.

The tally is given as Jepsen gives its own: what was attempted, and what became of it.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from runware_ws import RecoveredBy
from runware_ws.cli.chaos_faults import Fault, choice_rows, choose, differing
from runware_ws.cli.chaos_run import ChaosPace, ChaosTally, run_fault
from runware_ws.cli.exits import ExitCode
from runware_ws.cli.screen import on_terminal
from runware_ws.emulator import EmulatorOptions

__all__ = ["run_chaos"]

_BACKOFF = 0.5
"""The longest first redial, seconds: what one cut may cost beyond twice the calm latency."""
_COUNTS = (
    *("attempted", "answered", "lost", "duplicated", "unexpected", "unknown", "untold", "refused"),
)
_BAD = frozenset({"lost", "duplicated", "unexpected", "unknown"})


@dataclass(frozen=True, slots=True)
class _Job:
    """One run: a fault, and what the server does differently meanwhile."""

    fault: Fault
    options: EmulatorOptions
    choice: str


def run_chaos(
    faults: Sequence[Fault],
    *,
    tasks: int = 3_000,
    concurrency: int = 200,
    seed: int = 1,
    choices: bool = False,
    pace: ChaosPace | None = None,
) -> int:
    """Run so many tasks under each fault, and print a tally for each; returns the exit code.

    ``choices``: run each fault once for every row of :func:`choice_rows`, so over all that the
    server may do where nobody can know. The code is 0 only if nothing was lost, run twice,
    delivered twice or wrong, nothing hangs or is unknown that the server could tell, every fault
    struck, and tasks and memory are back at the baseline.
    """
    rows = choice_rows() if choices else choice_rows()[:1]
    jobs = [_Job(fault, choose(row), differing(row)) for fault in faults for row in rows]
    view = _ChaosView(tasks)

    async def program() -> bool:
        async with anyio.create_task_group() as group:
            group.start_soon(_until_interrupted, group.cancel_scope)
            for job in jobs:
                view.start(job)
                tally = await run_fault(
                    job.fault,
                    tasks=tasks,
                    concurrency=concurrency,
                    pace=pace,
                    options=job.options,
                    seed=seed,
                    on_step=view.step,
                )
                view.end(job, tally)
            group.cancel_scope.cancel()
            return True
        return False

    try:
        finished = anyio.run(program)
    finally:
        view.close()
    if not finished:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if view.conclude() else ExitCode.ERRORS


async def _until_interrupted(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


class _ChaosView:
    """Progress during a run, and the tallies: a table on a terminal, otherwise lines."""

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._tallies: list[tuple[_Job, ChaosTally]] = []
        self._bar: Progress | None = None
        if on_terminal(stderr=False):
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                expand=True,
                transient=True,
            )
            self._line = self._bar.add_task("", total=tasks)
            self._bar.start()

    def start(self, job: _Job) -> None:
        """A run begins."""
        if self._bar is not None:
            self._bar.reset(self._line, description=f"{job.fault.name}: {job.fault.does}")

    def step(self, tally: ChaosTally) -> None:
        """A task of it ended."""
        if self._bar is not None:
            self._bar.update(self._line, completed=len(tally.latencies))

    def end(self, job: _Job, tally: ChaosTally) -> None:
        """It ended."""
        self._tallies.append((job, tally))
        if self._bar is None:
            typer.echo(_line(job, tally))
        for problem in tally.problems:
            (self._bar.console.print if self._bar else typer.echo)(f"  {problem}")

    def close(self) -> None:
        """No more progress."""
        if self._bar is not None:
            self._bar.stop()

    def conclude(self) -> bool:
        """Print the table and the verdict; whether all is well."""
        if self._bar is not None:
            Console().print(_table(self._tallies))
        slow = _slow(self._tallies)
        if slow is not None:
            typer.echo(slow)
        bad = [f"{job.fault.name} {job.choice}".rstrip() for job, t in self._tallies if not t.clean]
        if bad:
            typer.echo(f"FAILED: {'; '.join(bad)}")
        else:
            typer.echo("nothing lost, nothing run twice, nothing mixed up, nothing left behind")
        return not bad


def _ways(tally: ChaosTally) -> str:
    counts = ((way.value, tally.recovered_by[way.value]) for way in RecoveredBy)
    return " ".join(f"{way} {count}" for way, count in counts if count) or "-"


def _after(tally: ChaosTally) -> str:
    return ", ".join(tally.complaints) or "at baseline"


def _line(job: _Job, tally: ChaosTally) -> str:
    counts = ", ".join(f"{name} {getattr(tally, name)}" for name in _COUNTS)
    return (
        f"{job.fault.name}: {counts}; recovered: {_ways(tally)}; "
        f"p50 {tally.latency(0.5) * 1000:.0f} ms, p99 {tally.latency(0.99) * 1000:.0f} ms; "
        f"{tally.reconnects} reconnects in {tally.seconds:.1f} s; {_after(tally)}"
        + (f" [{job.choice}]" if job.choice else "")
    )


def _table(tallies: Sequence[tuple[_Job, ChaosTally]]) -> Table:
    table = Table()
    for name in ("fault", *_COUNTS, "recovered", "p50", "p99", "reconnects", "after"):
        table.add_column(name, justify="left" if name in ("fault", "recovered") else "right")
    for job, tally in tallies:
        counts: list[str] = []
        for name in _COUNTS:
            count = int(getattr(tally, name))
            counts.append(f"[bold red]{count}[/]" if count and name in _BAD else str(count))
        choice = f"\n[dim]{job.choice}[/]" if job.choice else ""
        table.add_row(
            job.fault.name + choice,
            *counts,
            _ways(tally),
            *(f"{tally.latency(share) * 1000:.0f} ms" for share in (0.5, 0.99)),
            str(tally.reconnects),
            _after(tally),
        )
    return table


def _slow(tallies: Sequence[tuple[_Job, ChaosTally]]) -> str | None:
    """How much slower cuts made the answers: at most twice the calm p99, plus one backoff."""
    p99: dict[str, float] = {}
    for job, tally in tallies:
        if not job.choice:
            p99[job.fault.name] = tally.latency(0.99)
    if "calm" not in p99 or "abort" not in p99:
        return None
    bound = 2 * p99["calm"] + _BACKOFF
    return (
        f"p99 under cuts {p99['abort'] * 1000:.0f} ms, calm {p99['calm'] * 1000:.0f} ms, "
        f"bound {bound * 1000:.0f} ms: {'kept' if p99['abort'] <= bound else 'NOT KEPT'}"
    )
