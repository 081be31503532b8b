"""Plants a mutant in a copy of the project, and looks whether it is noticed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutants import Mutant, Stale

__all__ = ["LIMIT", "Verdict", "baseline", "copied", "tried"]

ROOT = Path(__file__).parents[2]
LIMIT = 240.0
"""Seconds. What still runs then hangs because of the mutant: the suite's own limit is its end."""

_COPIED = ("runware_ws", "tests")
_LINKED = ("pyproject.toml", "README.md", "CHANGELOG.md", "docs", "examples", "benchmarks")
_FAILED, _OK = 1, 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: ``killed``, ``lived``, ``equivalent``, ``stale`` or ``broken``.

    ``broken``: what was to notice it could not run at all.
    """

    mutant: Mutant
    became: str
    how: str
    took: float

    @property
    def good(self) -> bool:
        """Whether this is as it should be."""
        return self.became in ("killed", "equivalent")


@contextmanager
def copied() -> Generator[Path]:
    """A copy of the project, for one mutant. What Python compiled before comes along."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        place = Path(folder)
        for name in _COPIED:
            shutil.copytree(ROOT / name, place / name, copy_function=shutil.copy2)
        for name in _LINKED:
            (place / name).symlink_to(ROOT / name)
        yield place


def planted(mutant: Mutant, place: Path) -> None:
    """Write the mutant into the copy at ``place``.

    Raises:
        Stale: its text is not there.
    """
    file = place / "runware_ws" / mutant.file
    file.write_text(mutant.applied(file.read_text(encoding="utf-8")), encoding="utf-8")


def tried(mutant: Mutant, *, test: str | None = None) -> Verdict:
    """Plant it, run what must notice it (or another ``test``; empty: the seeds), and tell."""
    begun = time.monotonic()

    def verdict(became: str, how: str) -> Verdict:
        return Verdict(mutant, became, how, time.monotonic() - begun)

    with copied() as place:
        try:
            planted(mutant, place)
        except Stale as exc:
            return verdict("stale", str(exc))
        if mutant.equivalent and test is None:
            return verdict("equivalent", mutant.equivalent)
        wanted = mutant.test if test is None else test
        try:
            done = _run(place, wanted.split())
        except subprocess.TimeoutExpired:
            return verdict("killed", "it hangs")
    if done.returncode == _OK:
        return verdict("lived", wanted or "all seeds hold")
    told = _failure(done.stdout) if done.returncode == _FAILED else None
    if told is not None:
        return verdict("killed", told)
    return verdict("broken", (done.stdout + done.stderr)[-2_000:])


def _failure(output: str) -> str | None:
    """The test or seed that failed. An error outside of them, of the syntax say, proves nothing."""
    lines = output.splitlines()
    return next((line for line in lines if line.startswith(("FAILED ", "seed "))), None)


def baseline(mutants: list[Mutant]) -> str | None:
    """What fails without any mutant, which then proves nothing; ``None`` if all is well."""
    tests = sorted({mutant.test for mutant in mutants if mutant.test and not mutant.equivalent})
    runs = [tests] if tests else []
    if any(not mutant.test and not mutant.equivalent for mutant in mutants):
        runs.append([])
    with copied() as place:
        for wanted in runs:
            done = _run(place, wanted, limit=3 * LIMIT)
            if done.returncode != _OK:
                return "\n".join((done.stdout + done.stderr).splitlines()[-30:])
    return None


def _run(
    place: Path, tests: list[str], *, limit: float = LIMIT
) -> subprocess.CompletedProcess[str]:
    """Run tests, or the seeds if there are none, in the copy at ``place`` and from it alone."""
    pytest = ("pytest", "-q", "-x", "-rf", "--tb=line", "-p", "no:cacheprovider", "-m", "")
    module = ("tests.mutation.seeds",) if not tests else (*pytest, *tests)
    environment = {**os.environ, "PYTHONPATH": str(place)}
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        # With all that a test had started.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
