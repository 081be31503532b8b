"""What all commands tell their user, on standard error."""

from __future__ import annotations

import os
import sys

import typer

__all__ = ["on_terminal", "say"]


def on_terminal(*, stderr: bool = True) -> bool:
    """Whether a live view can be drawn."""
    stream = sys.stderr if stderr else sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def say(message: str) -> None:
    """One line for the user, on standard error."""
    typer.echo(f"runware-ws: {message}", err=True)
