"""docs/testing.md: each block is a whole test file, and is run as one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runware_ws.testing import Scripted
from runware_ws.testing.stores import STORE_CHECKS

from .support import run

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n# (test_\w+)\.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
OUTCOMES = {"test_summary": 2, "test_cuts": 2, "test_outage": 1, "test_store": len(STORE_CHECKS)}


def test_every_block_is_known() -> None:
    assert PAGE.count("```python") == len(BLOCKS)
    assert {name for name, _ in BLOCKS} == set(OUTCOMES)


@pytest.mark.parametrize(("name", "body"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_block(pytester: pytest.Pytester, name: str, body: str) -> None:
    run(pytester, "\n" + body).assert_outcomes(passed=OUTCOMES[name])


def test_every_order_that_is_named_exists() -> None:
    (orders,) = re.findall(
        r"^Fault orders can be given at any time: (.*?)\. The", PAGE, re.S | re.M
    )
    names = re.findall(r"`(\w+)\(", orders)
    assert len(names) == 9
    for name in names:
        assert callable(getattr(Scripted, name))
