"""What is measured while a load runs. Recorders of several processes merge into one."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from runware_ws.load.histogram import Histogram
from runware_ws.load.targets import Answer, Unanswered

__all__ = ["Block", "Recorder", "Sample", "bin_of", "bin_seconds"]

_BIN = math.log(1.02)
_LEAST = 1e-6


def bin_of(seconds: float) -> int:
    """The bin of a duration in a block: 2 % wide."""
    return math.floor(math.log(max(seconds, _LEAST)) / _BIN)


def bin_seconds(number: float) -> float:
    """Where a bin begins; also between bins."""
    return math.exp(number * _BIN)


@dataclass(slots=True)
class Sample:
    """One task: seconds since the load began. ``intended`` and ``sent``: its start.

    ``answer`` or ``unanswered``: how it ended. ``right``: whether the answer is that of the task;
    ``None`` where nobody can tell.
    """

    name: str
    task_uuid: str
    intended: float
    sent: float
    ended: float
    answer: Answer | None = None
    unanswered: Unanswered | None = None
    right: bool | None = None
    first_delta: float | None = None


@dataclass(slots=True)
class Block:
    """A piece of the time. Answers count where they should have started, ``done`` where they ended.

    ``bins``: latencies from the intended start, coarse, for plots and comparisons.
    """

    intended: int = 0
    answered: int = 0
    good: int = 0
    failed: int = 0
    done: int = 0
    errors: int = 0
    bins: Counter[int] = field(default_factory=Counter[int])

    def merge(self, other: Block) -> None:
        """Add what another has counted."""
        self.intended += other.intended
        self.answered += other.answered
        self.good += other.good
        self.failed += other.failed
        self.done += other.done
        self.errors += other.errors
        self.bins.update(other.bins)


class Recorder:
    """Counts and durations of one run, bounded but for what failed. Can be pickled.

    Args:
        width: seconds of each block.
        slo: an answer within so many seconds of its intended start is good; ``None``: any is.
    """

    def __init__(self, width: float, slo: float | None = None) -> None:
        self.width = width
        self.slo = slo
        self.sent = Histogram()
        self.first_delta = Histogram()
        self.per_token = Histogram()
        self.own_lag = Histogram()
        self.recent: list[float] | None = None
        """Latencies since the last live view, which takes them; ``None`` without one."""
        self.by_name: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.blocks: defaultdict[int, Block] = defaultdict(Block)
        self.started = 0
        self.attempted = 0
        self.answered = 0
        self.good = 0
        self.wrong = 0
        self.unknown = 0
        self.left = 0
        self.tokens = 0
        self.cost = 0.0
        self.checked = 0
        self.last_end = 0.0
        self.recovered_by: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.without_answer: list[str] = []
        self.losses: list[float] = []
        self.reconnects: list[float] = []
        self.agent_errors: Counter[str] = Counter()

    @property
    def intended(self) -> Histogram:
        """Latencies from the intended start, of all names together."""
        whole = Histogram()
        for each in self.by_name.values():
            whole.merge(each)
        return whole

    # What happens

    def start(self, intended: float, lag: float) -> None:
        """A start that came ``lag`` seconds late."""
        self.started += 1
        self.own_lag.record(lag)
        self._block(intended).intended += 1

    def connection(self, at: float, up: bool) -> None:
        """A socket went, or the one after it came."""
        (self.reconnects if up else self.losses).append(at)

    def take(self, sample: Sample) -> None:
        """Count one task that ended."""
        self.attempted += 1
        self.last_end = max(self.last_end, sample.ended)
        block, end_block = self._block(sample.intended), self._block(sample.ended)
        answer = sample.answer
        if sample.right is not None:
            self.checked += 1
        if answer is None or sample.right is False or not answer.own:
            block.failed += 1
            end_block.errors += 1
            self._failed(sample)
            return
        end_block.done += 1
        block.answered += 1
        self.answered += 1
        self.recovered_by[answer.recovered_by] += 1
        latency = sample.ended - sample.intended
        if self.recent is not None:
            self.recent.append(latency)
        self.by_name[sample.name].record(latency)
        self.sent.record(sample.ended - sample.sent)
        block.bins[bin_of(latency)] += 1
        if self.slo is None or latency <= self.slo:
            self.good += 1
            block.good += 1
        self.cost += answer.cost or 0.0
        tokens = answer.tokens or 0
        self.tokens += tokens
        if sample.first_delta is not None:
            self.first_delta.record(sample.first_delta - sample.sent)
            if tokens > 1:
                self.per_token.record((sample.ended - sample.first_delta) / (tokens - 1))

    def _failed(self, sample: Sample) -> None:
        ending = sample.unanswered
        if ending is None:
            self.wrong += 1
            self.errors["wrong answer"] += 1
            return
        self.errors[ending.family] += 1
        self.unknown += ending.unknown
        self.left += ending.left and not ending.unknown
        if ending.unknown or ending.left:
            self.without_answer.append(sample.task_uuid)

    def _block(self, at: float) -> Block:
        # A start on an edge is in the block that begins there, however floats round.
        return self.blocks[max(0, int(at / self.width + 1e-9))]

    # Several

    def merge(self, other: Recorder) -> None:
        """Add all that the recorder of another process has, of the same run."""
        for mine, theirs in (
            (self.sent, other.sent),
            (self.first_delta, other.first_delta),
            (self.per_token, other.per_token),
            (self.own_lag, other.own_lag),
        ):
            mine.merge(theirs)
        for name, histogram in other.by_name.items():
            self.by_name[name].merge(histogram)
        for number, block in other.blocks.items():
            self.blocks[number].merge(block)
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last_end = max(self.last_end, other.last_end)
        self.recovered_by.update(other.recovered_by)
        self.errors.update(other.errors)
        self.agent_errors.update(other.agent_errors)
        self.without_answer += other.without_answer
        self.losses = sorted(self.losses + other.losses)
        self.reconnects = sorted(self.reconnects + other.reconnects)


_COUNTS = (
    *("started", "attempted", "answered", "good", "wrong", "unknown", "left"),
    *("tokens", "cost", "checked"),
)
