"""``python -m tests.exhaustive``: every order of inputs, in every setting."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.exhaustive.explore import explore
from tests.exhaustive.settings import BOUNDED, LONG, every


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.exhaustive", description=__doc__)
    parser.add_argument("--bounded", action="store_true", help="only what each test run explores")
    parser.add_argument("--tasks", type=int, default=2, choices=(1, 2))
    parser.add_argument("--stalls", type=int, default=0, help="how often the server may stall")
    parser.add_argument("--cancels", type=int, default=0, help="how many tasks are given up")
    parser.add_argument("--most", type=int, default=1_000_000, help="most states of one setting")
    parser.add_argument("--only", default="", help="settings whose name holds this")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    chosen = every(options.tasks, options.stalls, options.cancels)
    settings = [
        s for s in ((*BOUNDED, *LONG) if options.bounded else chosen) if options.only in s.name
    ]
    states = broken = incomplete = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for found in pool.map(partial(explore, most=options.most), settings):
            print(found, flush=True)
            states += found.states
            broken += bool(found.broken)
            incomplete += not found.complete
    print(f"{len(settings)} settings, {states:,} states, {broken} broken, {incomplete} incomplete")
    return 1 if broken or incomplete else 0


if __name__ == "__main__":
    sys.exit(main())
