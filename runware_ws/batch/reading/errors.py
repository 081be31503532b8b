"""What is wrong with an input as a whole, and with a line."""

from __future__ import annotations

from runware_ws.errors import RunwareError

__all__ = ["InputError", "LineError", "NotJSON"]


class InputError(RunwareError, ValueError):
    """An input cannot be read. The message names the place and the cure; nothing was run."""


class LineError(ValueError):
    """A line that no task can be made of. The message says what and where."""


class NotJSON(ValueError):
    """A text is not JSON. ``column`` counts from 1."""

    def __init__(self, reason: str, column: int) -> None:
        super().__init__(f"{reason}, at column {column}")
        self.reason = reason
        self.column = column
