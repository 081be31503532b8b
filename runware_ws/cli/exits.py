"""How a command ends."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode", "Stop"]


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
