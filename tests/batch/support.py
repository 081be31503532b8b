"""Inputs made of bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from runware_ws.batch.reading import Line, Source


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
