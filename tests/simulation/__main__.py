"""``python -m tests.simulation``: replay one seed or one recording, or run many seeds."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter

from tests.simulation.batch import Batch, run_seeds
from tests.simulation.coverage import missing, table
from tests.simulation.lives import play_lives
from tests.simulation.play import play
from tests.simulation.replay import Unplayable, replay
from tests.simulation.scenario import Scenario, draw
from tests.simulation.shrink import kind_of, shrink

ENOUGH = 20_000
"""From so many seeds on, a state that never happened is a failure. The rarest needs about 1,700."""


def _describe(scenario: Scenario) -> str:
    lines = [
        f"options   {scenario.options}",
        f"server    {scenario.traits}",
        f"key       {scenario.key}; latency {scenario.latency} s; "
        f"{'quick' if scenario.quick_backoff else 'default'} backoff",
    ]
    if scenario.small:
        lines.append(f"small     {scenario.small}")
    lines += [f"task      {plan}" for action in scenario.actions for plan in action.plans]
    return "\n".join(lines)


def one(seed: int, *, whole: bool, smallest: bool, without: tuple[str, ...] = ()) -> int:
    """Replay one seed. On a failure, tell the story of the smallest run that breaks the same."""
    scenario = draw(seed, without=without)
    report = play(scenario)
    if report.problems and smallest:
        kind = kind_of(report.problems[0])
        scenario, report = shrink(scenario, kind)
        print(f"seed {seed} breaks {kind}; the smallest run that still does:\n")
    if report.problems or whole:
        print(_describe(scenario))
        print(report.story.text())
    for problem in report.problems:
        print(f"BROKEN: {problem}")
    print(
        f"seed {seed}: {'BROKEN' if report.problems else 'ok'}, story {report.story.digest()[:16]}"
    )
    return 1 if report.problems else 0


def many(start: int, count: int, jobs: int, without: tuple[str, ...] = ()) -> int:
    """Run many seeds; print progress, failures and the table of what happened."""
    whole = Batch()
    began = told = time.monotonic()
    for batch in run_seeds(start, count, jobs=jobs, without=without):
        whole.add(batch)
        for seed, problems in batch.failures.items():
            print(f"seed {seed}: {problems[0]}", flush=True)
        now = time.monotonic()
        if now - told > 10:
            told = now
            rate = whole.seeds / (now - began)
            print(f"{whole.seeds:,} seeds, {len(whole.failures)} failed, {rate:.0f}/s", flush=True)
    print(table(whole.seen))
    never = [] if without else missing(whole.seen)
    rate = whole.seeds / (time.monotonic() - began)
    print(
        f"{whole.seeds:,} seeds, {rate:.0f}/s, {len(whole.failures)} failed; never: {never or '-'}"
    )
    return 1 if whole.failures or (never and count >= ENOUGH) else 0


def lives(seed: int | None, start: int, count: int, *, story: bool) -> int:
    """Run seeds of processes that die, see ``lives.py``."""
    logging.disable(logging.CRITICAL)
    seen: Counter[str] = Counter()
    seeds = range(start, start + count) if seed is None else [seed]
    failed = 0
    for each in seeds:
        played = play_lives(each)
        seen += played.story.seen
        failed += bool(played.problems)
        if story:
            print(played.story.text())
        for problem in played.problems[:3]:
            print(f"seed {each}: {problem}", flush=True)
    print(*(f"{count:>9,} {state}" for state, count in sorted(seen.items())), sep="\n")
    print(f"{len(seeds):,} seeds, {failed} failed")
    return 1 if failed else 0


def again(path: str) -> int:
    """Play a recording of the flight recorder through a new core; 2 if it cannot be judged."""
    try:
        found = replay(path)
    except (Unplayable, OSError) as exc:
        print(f"{path} cannot be played: {exc}")
        return 2
    print(found.text())
    return 0 if found.same else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this seed")
    parser.add_argument("--story", action="store_true", help="print the story of a good run too")
    parser.add_argument("--whole", action="store_true", help="do not make a failing run smaller")
    parser.add_argument("--seeds", type=int, default=2_000, help="how many seeds to run")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument(
        "--without", action="append", default=[], help="leave out this trait, or kind of fault"
    )
    parser.add_argument("--lives", action="store_true", help="processes with a journal that die")
    parser.add_argument("--replay", metavar="FILE", help="play a recording (client.dump) again")
    options = parser.parse_args()
    if options.replay is not None:
        return again(options.replay)
    if options.lives:
        return lives(options.seed, options.start, options.seeds, story=options.story)
    without = tuple(options.without)
    if options.seed is not None:
        smallest = not options.whole
        return one(options.seed, whole=options.story, smallest=smallest, without=without)
    return many(options.start, options.seeds, options.jobs, without)


if __name__ == "__main__":
    sys.exit(main())
