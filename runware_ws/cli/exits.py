"""How a command ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from enum import IntEnum

__all__ = ["ExitCode", "Stop", "abandon_stdout", "say"]


class ExitCode(IntEnum):
    """Exit codes; :mod:`runware_ws.cli` says what they mean."""

    OK = 0
    ERRORS = 1
    USAGE = 2
    KEY_REFUSED = 3
    UNREACHABLE = 4
    INTERRUPTED = 130
    TERMINATED = 143


class Stop(Exception):
    """End the command with one line for the user, which names the place and the cure."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def say(message: str) -> None:
    """One line for the user, on standard error. If nobody takes it, the command goes on."""
    with suppress(OSError):
        sys.stderr.write(f"runware-ws: {message}\n")


def abandon_stdout() -> None:
    """What waits in a buffer that cannot be written would make Python complain at its exit."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
