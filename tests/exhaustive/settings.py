"""What is explored: a few settings on every run, all of them by the command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from tests.exhaustive.world import Fate, Setting

__all__ = ["BOUNDED", "LONG", "every"]

PAIR = Setting("two sync tasks, the session resumed", stalls=1)

BOUNDED = (
    replace(PAIR, name="the session lost, nothing buffered", resumes=False, fate="lost", stalls=0),
    replace(
        PAIR,
        name="two results and one, replayed twice, before the reply",
        results=(2, 1),
        fate="twice",
        replay_first=True,
        polls=True,
        stalls=0,
    ),
    replace(PAIR, name="one is given up", results=(1,), delivery=("sync",), cancels=1, stalls=2),
)

LONG = (
    PAIR,
    replace(PAIR, name="tasks that run too long", punctual=False, denial="empty", stalls=0),
    replace(
        PAIR,
        name="an async task, empty answers, stalls",
        results=(1,),
        delivery=("async",),
        denial="empty",
        resumes=False,
        stalls=2,
    ),
)
"""Each takes ten seconds."""

TASKS = (
    ((1,), ("sync",)),
    ((2,), ("sync",)),
    ((1,), ("async",)),
    ((1, 1), ("sync", "sync")),
    ((1, 1), ("sync", "async")),
    ((2, 1), ("sync", "sync")),
)


def every(tasks: int, stalls: int, cancels: int) -> Iterator[Setting]:
    """Every setting for so many tasks."""
    sessions: list[tuple[bool, Fate, bool]] = [
        (True, "lost", False),
        (True, "kept", False),
        (True, "kept", True),
        (True, "twice", False),
        (True, "twice", True),
        (False, "lost", False),
    ]
    combined = product(TASKS, sessions, ("named", "empty"), (False, True), (True, False))
    for (results, delivery), (resumes, fate, first), denial, polls, punctual in combined:
        if len(results) != tasks:
            continue
        name = (
            f"{delivery} {results}, {'resumed' if resumes else 'lost'}, in flight {fate}, "
            f"{'replay first' if first else 'reply first'}, {denial}, "
            f"{'polls' if polls else 'no polls'}, {'punctual' if punctual else 'slow'}"
        )
        yield Setting(
            name,
            results=results,
            delivery=delivery,
            resumes=resumes,
            fate=fate,
            replay_first=first,
            denial="empty" if denial == "empty" else "named",
            polls=polls,
            punctual=punctual,
            stalls=stalls,
            cancels=cancels,
        )
