"""What is run. A workload is a row of phases on one connection; a phase is measured as a whole."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["REDIAL_AFTER", "WORKLOADS", "Phase", "Workload", "quick"]

REDIAL_AFTER = 0.1
"""The backoff of the first redial in the benchmarks, in seconds: fixed, so that it can be
taken off. The default of the library is drawn from a range."""

RECOVERING = ("asyncio", "uvloop", "trio")
"""Contenders that bring their tasks through a cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One measured section.

    ``name`` keys its figures. ``hold``: the responder answers nothing until all
    ``tasks`` have arrived, so that they truly are in flight at once; then
    ``then`` happens: ``answer``; ``cut`` (the socket is cut, the session
    resumed, and everything replayed); or ``forget`` (cut, and the session is
    gone: answers are in the archive only). ``slices``: tasks are started in small
    numbers, so that what stalls the loop is not the caller. ``rare``: Python's collector makes
    full collections rarely, as a program with so many tasks would have it. ``rate``: tasks per
    second, for ``tasks / rate`` seconds; else all at once.
    """

    name: str
    tasks: int
    hold: bool = True
    then: str = "answer"
    merge: int = 1
    result_bytes: int = 300
    slices: int = 0
    watch: bool = False
    rare: bool = False
    rate: float = 0.0
    delivery: str = "sync"
    duration: float = 0.0
    """How long an ``async`` task takes on the responder, in seconds."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A row of phases, for these contenders (``None``: all)."""

    name: str
    label: str
    phases: tuple[Phase, ...]
    contenders: tuple[str, ...] | None = None
    rounds: int | None = None
    """At most so many rounds."""
    limit: float = 60.0
    """Seconds after which a contender has failed the workload."""

    @property
    def largest(self) -> int:
        """Most tasks in flight at once."""
        return max(phase.tasks for phase in self.phases)


def _flight(name: str, tasks: int, repeat: int = 1, **options: int) -> tuple[Phase, ...]:
    return tuple(Phase(name=name, tasks=tasks, **options) for _ in range(repeat))  # type: ignore[arg-type]


def _asynchronous() -> tuple[Phase, ...]:
    def phase(name: str, tasks: int) -> Phase:
        return Phase(
            name=name, tasks=tasks, hold=False, rate=50.0, delivery="async", duration=0.2, slices=1
        )

    return (phase("learning", 20), phase("learned", 100))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("1k", "1,000 in flight", _flight("flight", 1_000, 10)),
        Workload("10k", "10,000 in flight", _flight("flight", 10_000)),
        Workload(
            "100k",
            "100,000 in flight",
            _flight("flight", 100_000),
            contenders=("bare", *RECOVERING, "sdk", "picows"),
            rounds=2,
            limit=120.0,
        ),
        Workload("merged", "10,000, 64 results to a frame", _flight("flight", 10_000, merge=64)),
        Workload("100KB", "200 results of 100 KB", _flight("flight", 200, 3, result_bytes=100_000)),
        Workload("5MB", "8 results of 5 MB", _flight("flight", 8, 3, result_bytes=5_000_000)),
        Workload(
            "steady",
            "steady 2,000 tasks/s",
            (Phase(name="steady", tasks=10_000, hold=False, rate=2_000.0),),
            rounds=3,
        ),
        Workload(
            "reconnect",
            "a cut with 10,000 in flight, resumed",
            (
                Phase(name="calm", tasks=10_000, hold=False),
                Phase(name="cut", tasks=10_000, then="cut"),
            ),
            contenders=(*RECOVERING, "sdk"),
        ),
        Workload(
            "forgotten",
            "a cut with 10,000 in flight, session gone",
            (
                Phase(name="calm", tasks=10_000, hold=False),
                Phase(name="cut", tasks=10_000, then="forget"),
            ),
            contenders=RECOVERING,
            rounds=3,
        ),
        Workload(
            "stall",
            "longest stall, 100,000 in flight",
            (
                Phase(name="calm", tasks=100_000, slices=50, watch=True),
                Phase(name="cut", tasks=100_000, slices=50, watch=True, then="cut"),
            ),
            contenders=("asyncio", "trio"),
            rounds=1,
            limit=120.0,
        ),
        Workload(
            "stall-rare",
            "longest stall, 100,000 in flight, full collections rare",
            (
                Phase(name="calm", tasks=100_000, slices=50, watch=True, rare=True),
                Phase(name="cut", tasks=100_000, slices=50, watch=True, rare=True, then="cut"),
            ),
            contenders=("asyncio", "trio"),
            rounds=3,
            limit=120.0,
        ),
        Workload(
            "stall-calm",
            "longest stall, 100,000 in flight, no cut",
            (Phase(name="calm", tasks=100_000, slices=50, watch=True),),
            contenders=("bare", "picows"),
            rounds=1,
            limit=120.0,
        ),
        Workload(
            "async",
            "async tasks of 200 ms",
            _asynchronous(),
            contenders=(*RECOVERING, "sdk"),
            rounds=3,
        ),
    )
}


def quick() -> list[str]:
    """The workloads that tell most in little time."""
    return ["1k", "10k", "merged", "reconnect", "async"]
