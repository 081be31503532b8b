"""What a user sees while a command works: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

__all__ = ["Screen", "on_terminal", "say"]

_PAUSE = 5.0


def on_terminal(*, stderr: bool = True) -> bool:
    """Whether a live view can be drawn."""
    stream = sys.stderr if stderr else sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def say(message: str) -> None:
    """One line for the user, on standard error."""
    typer.echo(f"runware-ws: {message}", err=True)


class Screen:
    """Progress over ``total`` lines, on standard error. With ``quiet`` only warnings are told."""

    def __init__(self, verb: str, total: int, *, quiet: bool = False) -> None:
        self._verb = verb
        self._total = total
        self._quiet = quiet
        self._note = ""
        self._done = 0
        self._told = time.monotonic()
        self._bar: Progress | None = None
        if not quiet and on_terminal():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                expand=True,
            )
            self._task = self._bar.add_task(verb, total=total, note="")

    def __enter__(self) -> Screen:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, note: str) -> None:
        """Show how far it is."""
        self._done, self._note = done, note
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif not self._quiet and time.monotonic() - self._told >= _PAUSE:
            self._told = time.monotonic()
            say(f"{self._verb}: {done}/{self._total}, {note}")

    def say(self, message: str) -> None:
        """One line that stays."""
        if self._bar is not None:
            # No markup: a message may hold brackets, and no wrapping: it may hold a path.
            self._bar.console.print(
                f"runware-ws: {message}", markup=False, highlight=False, soft_wrap=True
            )
        else:
            say(message)
