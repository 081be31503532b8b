"""Inputs made of bytes, and runs that ask for their results soon."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import pytest

from runware_ws import Client
from runware_ws.batch import run_batch
from runware_ws.batch.reading import Line, Source


def asks_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process ask for a result at once: the emulator needs no second to make one."""
    monkeypatch.setattr(run_batch, "Client", functools.partial(Client, poll_first=0.02))


def read_all(content: bytes, name: str = "in.jsonl", **options: Any) -> list[Line]:
    """The lines of a file with this content. Its name matters where the content leaves it open."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        with Source(path, **options) as source:
            facts = source.check()
            lines = list(source.lines(facts))
            assert lines == list(source.lines(facts))
    assert facts.count == len(lines)
    assert facts.problems == sum(line.problem is not None for line in lines)
    return lines


def read_one(content: bytes, **options: Any) -> Line:
    """The one line of such a file, among others."""
    first, second = read_all(content + b'\n{"prompt":"another"}\n', **options)
    if options.get("prompt_column") is None:
        assert second.problem is None
    return first
