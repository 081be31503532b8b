"""Many seeds, over several processes."""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from tests.simulation.play import play
from tests.simulation.scenario import draw

__all__ = ["Batch", "run_seeds"]

CHUNK = 50


@dataclass
class Batch:
    """What came of a run of seeds: the problems by seed, and what happened how often."""

    seeds: int = 0
    failures: dict[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    seen: Counter[str] = field(default_factory=Counter[str])

    def add(self, other: Batch) -> None:
        """Take in another one."""
        self.seeds += other.seeds
        self.failures.update(other.failures)
        self.seen.update(other.seen)


def _chunk(seeds: range, without: tuple[str, ...] = ()) -> Batch:
    batch = Batch(len(seeds))
    for seed in seeds:
        report = play(draw(seed, without=without))
        batch.seen.update(report.seen)
        if report.problems:
            batch.failures[seed] = report.problems
    return batch


def run_seeds(
    start: int, count: int, *, jobs: int = 2, without: tuple[str, ...] = ()
) -> Iterator[Batch]:
    """Play ``count`` seeds from ``start``; yields a batch whenever some of them are done.

    ``without``: names of traits and kinds of faults that stay out.

    Each process starts afresh where the platform can: what this one has
    patched or imported does not reach the others.
    """
    chunks = [
        range(first, min(first + CHUNK, start + count))
        for first in range(start, start + count, CHUNK)
    ]
    play_chunk = partial(_chunk, without=without)
    if jobs == 1:
        yield from map(play_chunk, chunks)
        return
    method = "forkserver" if sys.platform == "linux" else "spawn"
    with multiprocessing.get_context(method).Pool(jobs) as pool:
        yield from pool.imap_unordered(play_chunk, chunks)
