"""Where batches are kept, and how soon a gateway looks for them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from runware_ws.gateway import batches


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'gateway.db'}?synchronous=NORMAL"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others do is noticed at once, and nobody is taken for dead who is only late."""
    monkeypatch.setattr(batches, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(batches, "STALE", math.inf)
    monkeypatch.setattr(batches, "_PAUSE", 0.02)
    monkeypatch.setattr(batches, "_LONGEST_PAUSE", 0.1)
