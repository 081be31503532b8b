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
CONFTESTS = re.findall(r"^```python\n# conftest\.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
OUTCOMES = {"test_summary": 2, "test_cuts": 2, "test_outage": 1, "test_store": len(STORE_CHECKS)}


def test_every_block_is_known() -> None:
    assert PAGE.count("```python") == len(BLOCKS) + len(CONFTESTS)
    assert {name for name, _ in BLOCKS} == set(OUTCOMES)


@pytest.mark.parametrize(("name", "body"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_block(pytester: pytest.Pytester, name: str, body: str) -> None:
    run(pytester, "\n" + body).assert_outcomes(passed=OUTCOMES[name])


def test_the_fixture_that_records_writes_a_recording(pytester: pytest.Pytester) -> None:
    (conftest,) = CONFTESTS
    pytester.makeconftest(conftest)
    asks = """
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asks(recorded_client, runware_emulator, tmp_path, anyio_backend):
    runware_emulator.expect("one").reply("yes")
    assert (await recorded_client.run(TextInference.prompt("one"))).text
    pytest.folder = tmp_path

def test_was_written():
    assert (pytest.folder / "flight.jsonl").stat().st_size
"""
    run(pytester, asks).assert_outcomes(passed=2)


def test_every_order_that_is_named_exists() -> None:
    (orders,) = re.findall(
        r"^Fault orders can be given at any time: (.*?)\. The", PAGE, re.S | re.M
    )
    names = re.findall(r"`(\w+)\(", orders)
    assert len(names) == 9
    for name in names:
        assert callable(getattr(Scripted, name))
