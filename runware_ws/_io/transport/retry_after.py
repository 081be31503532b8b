"""The Retry-After header, which asks us to wait."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["retry_after"]


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or a date. ``None``: absent or unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
            if when.tzinfo is None:
                when = when.replace(tzinfo=UTC)
            seconds = (when - datetime.now(UTC)).total_seconds()
        except Exception:  # whatever that parser makes of what a server wrote
            return None
    return max(0.0, seconds) if seconds == seconds and seconds != float("inf") else None
