"""``python -m tests.chaos``: the long run, 3,000 tasks at once 200 under each fault.

``--choices`` goes through each fault once for every row of what the server may do; ``--quick``
makes everything about five times faster.
"""

from __future__ import annotations

import argparse
import sys

from runware_ws.cli.chaos import run_chaos
from runware_ws.cli.chaos_faults import find_faults
from tests.chaos.pace import QUICK


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", default="all", help="all, or name,name")
    parser.add_argument("--tasks", type=int, default=3_000, help="tasks under each fault")
    parser.add_argument("--concurrency", type=int, default=200, help="tasks at once")
    parser.add_argument("--seed", type=int, default=1, help="the emulator's choices come from it")
    parser.add_argument(
        "--choices", action="store_true", help="each fault with each row of choices"
    )
    parser.add_argument("--quick", action="store_true", help="the pace of the test suite")
    options = parser.parse_args()
    try:
        faults = find_faults(options.faults)
    except ValueError as exc:
        parser.error(f"--faults: {exc}")
    return run_chaos(
        faults,
        tasks=options.tasks,
        concurrency=options.concurrency,
        seed=options.seed,
        choices=options.choices,
        pace=QUICK if options.quick else None,
    )


if __name__ == "__main__":
    sys.exit(main())
