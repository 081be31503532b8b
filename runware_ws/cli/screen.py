"""Whether somebody looks on."""

from __future__ import annotations

import os
import sys
from typing import TextIO

__all__ = ["on_terminal"]


def on_terminal(*, stderr: bool = True) -> bool:
    """Whether a live view can be drawn."""
    stream: TextIO | None = sys.stderr if stderr else sys.stdout
    if stream is None:  # Closed by whoever runs us.
        return False
    return stream.isatty() and os.environ.get("TERM") != "dumb"
