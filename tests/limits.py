"""A test without a limit of time does not exist.

``pytest-timeout`` gives each test the limit of ``pyproject.toml``, unless the test or the command
line says otherwise. A test may say less, but neither more nor "none".
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

__all__ = ["MOST", "unlimited"]

MOST = 600.0
"""No test may take longer, in seconds."""


def unlimited(items: Iterable[pytest.Item]) -> list[str]:
    """Those that have no limit of time, or too high a one: which, and what they say."""
    found: list[str] = []
    for item in items:
        limit = _limit_of(item)
        if not 0 < limit <= MOST:
            found.append(f"{item.nodeid}: {limit:g} s")
    return found


def _limit_of(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    if marker is None:
        return float(item.config.getini("timeout") or 0)
    given = marker.kwargs.get("timeout", marker.args[0] if marker.args else 0)
    return float(given or 0)
