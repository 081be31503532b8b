"""``demo``: the promise, kept while you watch. No key, no network."""

from __future__ import annotations

import secrets
import signal
import time
from dataclasses import dataclass

import anyio
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from runware_ws import Client, RecoveredBy
from runware_ws.cli.exits import ExitCode
from runware_ws.cli.screen import on_terminal
from runware_ws.cli.tally import Tally, run_tally
from runware_ws.emulator import Emulator

__all__ = ["DemoOptions", "run_demo"]

_LATENCY = "20ms-150ms"
_LEAST_CUTS = 3
_PLAIN_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of the demo. ``pause``: seconds between two cuts; 0: none."""

    tasks: int
    concurrency: int
    seed: int
    pause: float


class _Cutter:
    """Cuts the wire, each time in another way.

    By the clock, and also by progress, so that a fast machine sees its cuts too. A wire over
    which nothing came since the last cut is left alone: cutting it again would show only how long
    the client waits between two dials.
    """

    _KINDS = 5

    def __init__(self, emulator: Emulator, options: DemoOptions, client: Client) -> None:
        self._emulator = emulator
        self._options = options
        self._client = client
        self._answered = 0
        self._at_last_cut = -1
        self.count = 0

    def _cut(self) -> None:
        if not self._client.connected or self._answered == self._at_last_cut:
            return
        self._at_last_cut = self._answered
        faults, kind = self._emulator.faults, self.count % self._KINDS
        faults.lose_results_on_cut(kind == 1)
        faults.lose_requests_on_cut(kind == 2)
        self.count += faults.cut(1001 if kind == 4 else None, mid_frame=kind == 3, reset=kind == 0)

    def on_step(self, tally: Tally) -> None:
        """Cut where the tasks would run out before the least number of cuts."""
        self._answered = tally.answered
        share = self._options.tasks * (self.count + 1) // (_LEAST_CUTS + 1)
        if self._options.pause and self.count < _LEAST_CUTS and tally.answered >= share:
            self._cut()

    async def by_the_clock(self) -> None:
        """Cut every ``pause`` seconds, endlessly."""
        while self._options.pause:
            await anyio.sleep(self._options.pause)
            self._cut()


class _DemoView:
    """Live progress on standard output."""

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._told = time.monotonic()
        self._bar: Progress | None = None
        if on_terminal(stderr=False):
            self._bar = Progress(
                MofNCompleteColumn(),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                expand=True,
            )
            self._task = self._bar.add_task("tasks", total=tasks, note="")

    def start(self) -> None:
        if self._bar is not None:
            self._bar.start()

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, tally: Tally, client: Client, cuts: int) -> None:
        note = f"{cuts} cuts, {client.stats().reconnects} reconnects"
        if self._bar is not None:
            self._bar.update(self._task, completed=tally.answered, note=note)
        elif time.monotonic() - self._told >= _PLAIN_PAUSE:
            self._told = time.monotonic()
            typer.echo(f"{tally.answered}/{self._tasks} answered, {note}")


def run_demo(options: DemoOptions) -> int:
    """Run the demo; returns the exit code."""
    view = _DemoView(options.tasks)
    view.start()
    try:
        tally = anyio.run(_demo, options, view)
    finally:
        view.stop()
    if tally is None:
        return ExitCode.INTERRUPTED
    _show(tally)
    return ExitCode.OK if tally.clean else ExitCode.ERRORS


async def _demo(options: DemoOptions, view: _DemoView) -> Tally | None:
    """The tally; ``None`` where the user ended it."""
    tally: Tally | None = None
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            with anyio.open_signal_receiver(signal.SIGINT) as signals:
                async for _ in signals:
                    group.cancel_scope.cancel()

        group.start_soon(watch)
        tally = await _over_emulator(options, view)
        group.cancel_scope.cancel()
    return tally


async def _over_emulator(options: DemoOptions, view: _DemoView) -> Tally:
    key = secrets.token_hex(16)
    async with (
        Emulator(key, latency=_LATENCY, seed=options.seed) as emulator,
        # Shorter waits than the defaults, which suit a server with a second of its own delays.
        Client(emulator.url, api_key=key, replay_grace=0.3, resend_after=0.3) as client,
        anyio.create_task_group() as cutting,
    ):
        cutter = _Cutter(emulator, options, client)

        def on_step(tally: Tally) -> None:
            cutter.on_step(tally)
            view.update(tally, client, cutter.count)

        await client.ready()
        cutting.start_soon(cutter.by_the_clock)
        tally = await run_tally(
            client,
            emulator,
            tasks=options.tasks,
            concurrency=options.concurrency,
            seed=options.seed,
            on_step=on_step,
        )
        cutting.cancel_scope.cancel()
        return tally
    raise AssertionError("unreachable")


def _rows(tally: Tally) -> list[tuple[str, str]]:
    ways = [(f"  {way.value}", str(tally.recovered_by[way.value])) for way in RecoveredBy]
    return [
        ("submitted", str(tally.submitted)),
        ("answered", str(tally.answered)),
        *ways,
        ("lost", str(tally.lost)),
        *((f"  {name}", str(count)) for name, count in sorted(tally.errors.items())),
        ("run twice", str(tally.run_twice)),
        ("wrong answers", str(tally.wrong)),
        ("cuts of the wire", str(tally.cuts)),
        ("reconnects", str(tally.reconnects)),
        ("latency p50", f"{tally.latency(0.5) * 1000:.0f} ms"),
        ("latency p99", f"{tally.latency(0.99) * 1000:.0f} ms"),
        ("time", f"{tally.seconds:.1f} s"),
    ]


def _show(tally: Tally) -> None:
    rows = _rows(tally)
    verdict = "nothing lost, nothing run twice, nothing mixed up" if tally.clean else "FAILED"
    if not on_terminal(stderr=False):
        for name, value in rows:
            typer.echo(f"{name}: {value}")
        typer.echo(verdict)
        return
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    bad = {"lost": tally.lost, "run twice": tally.run_twice, "wrong answers": tally.wrong}
    for name, value in rows:
        style = None if name not in bad else "bold red" if bad[name] else "bold green"
        table.add_row(name, value, style=style)
    console = Console()
    console.print(table)
    console.print(verdict, style="bold green" if tally.clean else "bold red")
