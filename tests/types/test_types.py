"""The types at the door, as mypy and pyright see them from outside, in their strict modes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

HIDDEN = "# type: ignore\n"
_MYPY = re.compile(r"(\w+)\.py:(\d+): error: ")

Found = set[tuple[str, int]]
"""Files and lines."""


def _start(folder: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _by_mypy(process: subprocess.Popen[str]) -> Found:
    out, err = process.communicate(timeout=120)
    assert not err
    assert process.returncode in (0, 1), out
    return {(name, int(line)) for name, line in _MYPY.findall(out)}


def _by_pyright(process: subprocess.Popen[str]) -> Found:
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, 1), err
    report = json.loads(out)
    assert report["summary"]["filesAnalyzed"] == 2
    return {
        (Path(each["file"]).stem, each["range"]["start"]["line"] + 1)
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    }


@pytest.mark.slow
def test_each_mistake_is_found_by_both_and_nothing_else(tmp_path: Path) -> None:
    mistakes = (HERE / "mistakes.py").read_text(encoding="utf-8").replace(HIDDEN, "\n", 1)
    (tmp_path / "mistakes.py").write_text(mistakes, encoding="utf-8")
    (tmp_path / "right.py").write_bytes((HERE / "right.py").read_bytes())
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    files = ("mistakes.py", "right.py")
    mypy = _start(tmp_path, "mypy", "--strict", "--config-file=", "--cache-dir=cache", *files)
    pyright = _start(tmp_path, "pyright", "--pythonpath", sys.executable, "--outputjson")
    wrong = {
        ("mistakes", number)
        for number, line in enumerate(mistakes.splitlines(), 1)
        if line.endswith("  # wrong")
    }
    assert len(wrong) > 25
    assert _by_mypy(mypy) == wrong
    assert _by_pyright(pyright) == wrong
