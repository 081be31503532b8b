"""The journal's benchmark in small: it runs, and its table has a figure in each row."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.journal import Scale, markdown, run


@pytest.mark.slow
def test_each_row_is_measured(tmp_path: Path) -> None:
    tiny = Scale(rounds=1, flight=20, many=40, wide=10, single=5, agents=2, steps=2)
    table = run(tmp_path, tiny)
    assert len(table) == (6 if find_spec("dbos") is not None else 4)
    for row in table:
        assert re.match(r"-?\d[\d,.]* \(", row.measured), row
        assert row.what in markdown(table)
