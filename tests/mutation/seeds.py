"""``python -m tests.mutation.seeds``: the first seed of the simulation that fails, if one does."""

from __future__ import annotations

import sys

from tests.simulation.play import play
from tests.simulation.scenario import draw

__all__ = ["SEEDS", "main"]

SEEDS = 300
"""A mutant is found within so many seeds."""


def main() -> int:
    """Exit 1 with the seed and what broke; 0 if nothing did."""
    for seed in range(SEEDS):
        problems = play(draw(seed)).problems
        if problems:
            print(f"seed {seed}: {problems[0]}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
