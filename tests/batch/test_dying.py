"""A line is paid for once, wherever the process dies that tries it: see :mod:`.dying`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .dying import BROKEN, BUSY, REFUSED, Life, Server, answers, live, served

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and flock")

DONE = "done"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as server:
        yield server


@dataclass(frozen=True)
class Case:
    """One line, and what becomes of its tasks.

    ``before``: earlier runs, by the end of their task; ``None``: it did not come in time, and came
    later. ``plan``: the ends of the tasks of the run that is killed, and of the runs behind it.
    """

    name: str
    plan: tuple[str, ...]
    before: tuple[tuple[str, bool], ...] = ()
    retry_errors: bool = False

    def __str__(self) -> str:
        return self.name


IN_TIME, LATE = True, False

CASES = (
    Case("refused-then-definite", (BUSY, REFUSED)),
    Case("broken-then-definite", (BROKEN, REFUSED)),
    Case("doubt-of-what-never-ran", (BUSY, REFUSED), ((BUSY, LATE),)),
    Case("doubt-of-what-broke", (BUSY, REFUSED), ((BROKEN, LATE),)),
    Case("doubt-of-what-is-done", (), ((DONE, LATE),)),
    Case("doubt-of-a-second-attempt", (REFUSED,), ((BROKEN, IN_TIME), (BUSY, LATE))),
    Case("doubt-of-a-second-that-broke", (REFUSED,), ((BROKEN, IN_TIME), (BROKEN, LATE))),
    Case("definite-again", (BUSY, REFUSED), ((REFUSED, IN_TIME),), retry_errors=True),
    Case("definite-then-done", (DONE,), ((REFUSED, IN_TIME),), retry_errors=True),
    Case("definite-in-doubt", (REFUSED,), ((REFUSED, IN_TIME), (BUSY, LATE)), retry_errors=True),
)
POINTS = 40
"""So many points a run has at most. Where questions are asked, their number is not always one."""


class Line:
    """The one line of a file in a folder of its own."""

    def __init__(self, server: Server, folder: Path, case: Case) -> None:
        self.server, self.folder = server, folder
        self.prompt = f"ask {case} {folder.name}"
        folder.mkdir()
        (folder / "in").write_text(json.dumps({"id": "a", "prompt": self.prompt}) + "\n")
        ends = [*(end for end, _ in case.before), *case.plan]
        server.plan[self.prompt] = list(ends)
        self.end = ends[-1]
        self.paid = [end for end in ends if end != BUSY]

    def life(self, at: int | None = None, output: str = "out") -> Life:
        return Life(self.folder, self.server.url, at, output)

    @property
    def told(self) -> str:
        """What the output says."""
        return (self.folder / "out").read_text() if (self.folder / "out").exists() else ""

    def check(self, *outputs: str) -> None:
        for output in outputs:
            assert answers(self.folder / output) == {"a": self.end}
        assert self.server.ran[self.prompt] == self.paid


def doubt(server: Server, lines: list[Line], **options: Any) -> None:
    """Runs whose tasks do not come in time; they come later."""
    for line in lines:
        server.seen.pop(line.prompt, None)
    server.hold()
    for timeout in (2, 20):  # A busy machine may need longer to get all tasks out.
        unseen = [line for line in lines if line.prompt not in server.seen]
        live([line.life() for line in unseen], timeout=timeout, **options)
    assert all(line.prompt in server.seen for line in lines)
    server.let_go()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_killed_at_every_point(case: Case, server: Server, tmp_path: Path) -> None:
    lines = [Line(server, tmp_path / str(at), case) for at in range(1, POINTS + 1)]
    for _, in_time in case.before:
        if in_time:
            live([line.life() for line in lines], retries=0, retry_errors=case.retry_errors)
        else:
            doubt(server, lines, retries=0, retry_errors=case.retry_errors)
    before = [line.told for line in lines]
    lives = [line.life(at) for at, line in enumerate(lines, 1)]
    killed = live(lives, retry_errors=case.retry_errors)
    assert any(killed)
    assert not all(killed)
    # Who has seen the end of a try that was asked for does not ask for another one.
    again = [
        line.life()
        for line, was in zip(lines, before, strict=True)
        if not (case.retry_errors and line.told != was)
    ]
    live(again, retry_errors=case.retry_errors)
    live([line.life() for line in lines])
    for line in lines:
        line.check("out")
    assert server.same_twice() == []


@pytest.mark.slow
@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[5]], ids=str)
def test_killed_at_every_point_and_taken_over_by_another_run(
    case: Case, server: Server, tmp_path: Path
) -> None:
    lines = [Line(server, tmp_path / f"shared{at}", case) for at in range(1, POINTS + 1)]
    for _, in_time in case.before:
        if in_time:
            live([line.life() for line in lines], retries=0, shared=True)
        else:
            doubt(server, lines, retries=0, shared=True)
    killed = live([line.life(at) for at, line in enumerate(lines, 1)], shared=True)
    assert any(killed)
    assert not all(killed)
    both = [line.life(output=output) for line in lines for output in ("out", "other")]
    live(both, shared=True)
    live(both, shared=True)
    for line in lines:
        line.check("out", "other")
    assert server.same_twice() == []
