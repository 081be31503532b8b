"""A clock for what others may have done while this process, or its whole host, stood still."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

__all__ = ["elapsed"]


def _sleepless() -> Callable[[], float]:
    # On macOS Python's own monotonic clock is not the system's of that name.
    mac = platform.system() == "Darwin"
    number: int | None = getattr(time, "CLOCK_MONOTONIC" if mac else "CLOCK_BOOTTIME", None)
    if number is None:
        return time.monotonic
    known = number
    try:
        time.clock_gettime(known)
    except OSError:  # An old kernel, or a sandbox.
        return time.monotonic
    return lambda: time.clock_gettime(known)


elapsed: Callable[[], float] = _sleepless()
"""Seconds since some moment. They also pass while the host sleeps, where the system can tell;
those of ``time.monotonic()`` do not."""
