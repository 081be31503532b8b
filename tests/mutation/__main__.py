"""``python -m tests.mutation``: is each mutant noticed? Exit 1 if one is not, or is stale."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed

from tests.mutation.listed import MUTANTS
from tests.mutation.run import Verdict, baseline, tried

__all__ = ["main"]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", default="", help="mutants with this in their name or file")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--list", action="store_true", help="tell the mutants, and run nothing")
    parser.add_argument(
        "--by", help="run this test instead of the one of each mutant; 'seeds': the seeds"
    )
    options = parser.parse_args()
    mutants = [each for each in MUTANTS if options.only in f"{each.name} {each.file}"]
    if options.list:
        for each in mutants:
            print(f"{each.file}: {each.name}: {each.equivalent or each.test or 'seeds'}")
        return 0
    begun = time.monotonic()
    test = "" if options.by == "seeds" else options.by
    problem = baseline(mutants) if test is None else None
    if problem is not None:
        print(f"something fails without any mutant, so its failure would prove nothing:\n{problem}")
        return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        running = [pool.submit(tried, each, test=test) for each in mutants]
        verdicts: list[Verdict] = []
        for done in as_completed(running):
            verdicts.append(done.result())
            _tell(verdicts[-1])
    counts = Counter(_figure(each) for each in verdicts)
    figures = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    print(f"{len(verdicts)} mutants in {time.monotonic() - begun:.0f} s: {figures}")
    bad = [verdict for verdict in verdicts if not verdict.good]
    for verdict in bad:
        place = f"{verdict.mutant.file}: {verdict.mutant.name}"
        print(f"{verdict.became.upper()}: {place}: {verdict.how}")
    return 1 if bad else 0


def _figure(verdict: Verdict) -> str:
    if verdict.became != "killed":
        return verdict.became
    return "killed by a test" if verdict.mutant.test else "killed by seeds"


def _tell(verdict: Verdict) -> None:
    what = (
        f"{verdict.became:10} {verdict.took:5.1f} s  {verdict.mutant.file}: {verdict.mutant.name}"
    )
    print(f"{what}: {verdict.how[:120]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
