"""The command that kills a batch, in small: SIGKILL loses nothing, and nothing is done twice."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from tests.batch.kill import Figures, run_and_kill

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs flock")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_batch_is_done_once(processes: int, tmp_path: Path) -> None:
    journal = str(tmp_path / "work.db") if processes > 1 else None

    async def act() -> Figures:
        return await run_and_kill(
            tmp_path,
            lines=500,
            kills=3,
            processes=processes,
            seed=processes,
            journal=journal,
            longest=3.0,
        )

    figures = anyio.run(act)
    assert figures.good, figures
    assert figures.kills >= 1
    if processes == 1:
        assert not (tmp_path / "out0.jsonl.journal").exists()
