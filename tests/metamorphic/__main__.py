"""``python -m tests.metamorphic``: every conversation in every way to write it."""

from __future__ import annotations

import argparse
import sys

from tests.metamorphic.check import differences
from tests.metamorphic.conversations import CONVERSATIONS


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.metamorphic", description=__doc__)
    parser.add_argument(
        "--deep", type=int, default=7, help="change every n-th changed message again; 0: none"
    )
    options = parser.parse_args()
    written = wrong = 0
    for talk in CONVERSATIONS:
        count, found = differences(talk, deep=options.deep)
        print(f"{talk.__name__}: {count:,} ways, {len(found)} end otherwise", flush=True)
        for told in found[:20]:
            print(f"  {told}")
        written += count
        wrong += len(found)
    print(f"{written:,} ways, {wrong} end otherwise")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
