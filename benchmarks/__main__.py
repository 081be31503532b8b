"""``python -m benchmarks``: all contenders side by side; a table, a plot, and JSON."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import BASE, CONTENDERS, Entry
from benchmarks.measure import measure
from benchmarks.plot import draw
from benchmarks.processes import available, responder
from benchmarks.report import markdown, write_json
from benchmarks.workloads import WORKLOADS, quick
from tests.published.install import install

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


def _names(text: str, known: Sequence[str], what: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise SystemExit(f"unknown {what} {name!r}; known are: {', '.join(known)}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few workloads, 3 rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each workload (5; with --quick 3)")
    parser.add_argument("--only", metavar="WORKLOAD,...", help=", ".join(WORKLOADS))
    parser.add_argument("--contenders", metavar="NAME,...", help=", ".join(CONTENDERS))
    parser.add_argument("--json", type=Path, metavar="FILE", default=RESULTS / "latest.json")
    parser.add_argument("--plot", type=Path, metavar="FILE", default=RESULTS / "latest.png")
    parser.add_argument("--table", type=Path, metavar="FILE", default=RESULTS / "latest.md")
    return parser.parse_args()


def _folder(entry: Entry) -> Path | None:
    """Where the package of a published client is installed; installs it the first time."""
    return install(ROOT, *entry.package) if entry.package is not None else None


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and tell."""
    arguments = _arguments()
    workloads = quick() if arguments.quick else list(WORKLOADS)
    if arguments.only:
        workloads = _names(arguments.only, list(WORKLOADS), "workload")
    names = list(CONTENDERS)
    if arguments.contenders:
        names = _names(arguments.contenders, list(CONTENDERS), "contender")
        if BASE not in names:
            names.insert(0, BASE)  # what the others are compared with
    entries = [CONTENDERS[name] for name in names if available(CONTENDERS[name])]
    folders: dict[str, Path | None] = {}
    for entry in list(entries):
        try:
            folders[entry.name] = _folder(entry)
        except RuntimeError as exc:
            _tell(f"left out: {exc}")
            entries.remove(entry)
    rounds = arguments.rounds or (3 if arguments.quick else 5)
    with responder() as server:
        table = measure(
            entries, [WORKLOADS[name] for name in workloads], rounds, server, folders, _tell
        )
    text = markdown(table)
    for path in (arguments.table, arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.table.write_text(text)
    write_json(table, arguments.json)
    draw(table, arguments.plot)
    print(text)
    _tell(f"written: {arguments.table}, {arguments.json}, {arguments.plot}")


if __name__ == "__main__":
    main()
