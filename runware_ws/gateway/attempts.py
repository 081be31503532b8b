"""Which request repeats which: the rules, without any I/O.

A request with an ``Idempotency-Key`` names what it repeats. The published clients send none; what
they do send is ``x-stainless-retry-count``: 0 for a first try, and 1, 2, … for its retries. So a
first try opens an *attempt* of its own, even if its body is equal to that of another, and a retry
looks among the attempts with an equal body of the same caller:

1. one whose client went away before it was answered, or was told to come again;
2. one that is open in the journal and unknown here: its gateway died, or drains;
3. one whose answer went out lately. From here nobody can see whether it arrived, so what looks
   delivered may be what this retry misses.

Each attempt is joined by one chain of retries only: the second retry of a request finds the attempt
that the first one joined, and no retry takes what an equal or later one has. An attempt whose
client still waits is not joined, unless that waits for longer than it said that it would.

Where equal requests of one caller cannot be told apart, their retries may be exchanged. That harms
nobody: they asked the same. But nothing is paid for twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from runware_ws.journal.store import EntryHead, EntryState

if TYPE_CHECKING:
    from runware_ws.gateway.works import Work

__all__ = ["Attempt", "Attempts", "Listener", "RequestIdentity", "requests_of"]


def requests_of(caller: str) -> str:
    """How the keys of a caller's requests begin in a journal."""
    return f"gateway/{caller}/"


@dataclass(frozen=True, slots=True)
class RequestIdentity:
    """Who asks, and what tells which request it is.

    ``caller``: a name. ``key``: a digest of the ``Idempotency-Key``; ``None`` without one.
    ``body``: a digest of the raw body. ``retry``: how often the client has tried before.
    ``patience``: how long it waits for an answer, in seconds.
    """

    caller: str
    key: str | None
    body: str
    retry: int
    patience: float

    @property
    def prefix(self) -> str:
        """How the journal's keys of all equal requests begin."""
        if self.key is not None:
            return f"{requests_of(self.caller)}key/{self.key}"
        return f"{requests_of(self.caller)}body/{self.body}/"


class Listener(Protocol):
    """A connection that waits for an answer."""

    @property
    def gone(self) -> bool:
        """Whether its client is known to have gone away."""
        ...

    async def look(self) -> bool:
        """Find out whether its client has gone away."""
        ...


class Attempt:
    """One request as it is paid for: the first try, and the retries that joined it.

    ``key``: in the journal. ``retry``: the highest count of those that joined. ``patience``: for
    how long its client waits, in seconds. ``waiters``: the connections that wait for it.
    ``work``: what runs, or ran; ``None``: nothing yet, or it is the journal's. ``begun``: a task of
    it was started once. ``starting``: an event while somebody starts one. ``content``: a digest of
    what is asked for. ``size``: bytes of its answer that are kept here. ``answered_at``: when an
    answer went out in full; ``None``: none has, or its client was told to come again.
    ``heard_at``: when its client was last sent something, or first heard of.
    """

    __slots__ = (
        "answered_at",
        "begun",
        "content",
        "group",
        "heard_at",
        "key",
        "opened_at",
        "patience",
        "retry",
        "size",
        "starting",
        "waiters",
        "work",
    )

    def __init__(self, key: str, group: str, retry: int, patience: float, now: float) -> None:
        self.key = key
        self.group = group
        self.retry = retry
        self.patience = patience
        self.opened_at = self.heard_at = now
        self.answered_at: float | None = None
        self.waiters: set[Listener] = set()
        self.work: Work | None = None
        self.starting: Any = None
        self.begun = False
        self.content = b""
        self.size = 0

    @property
    def waited_for(self) -> bool:
        """Whether a client is known to wait for it."""
        return any(not waiter.gone for waiter in self.waiters)

    @property
    def running(self) -> bool:
        """Whether its task has not ended, or is about to start."""
        return self.starting is not None or (self.work is not None and not self.work.done)


class Attempts:
    """All attempts that are remembered. Times are the event loop's.

    Those that have ended are forgotten: the longest ago first, those that were answered before
    those that were not. With a journal they are found there again.
    """

    def __init__(self, window: float, most: int, most_bytes: int) -> None:
        self._window = window
        self._most = most
        self._most_bytes = most_bytes
        self._by_key: dict[str, Attempt] = {}
        self._groups: dict[str, list[Attempt]] = {}
        # Ended: those that were answered, and those that were not.
        self._answered: OrderedDict[Attempt, None] = OrderedDict()
        self._missed: OrderedDict[Attempt, None] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, key: str) -> Attempt | None:
        """The attempt that has this key in the journal."""
        return self._by_key.get(key)

    def named(self, asked: RequestIdentity, now: float) -> Attempt:
        """The attempt of an ``Idempotency-Key``; made if there is none yet."""
        key = asked.prefix
        attempt = self._by_key.get(key) or self._open(key, asked, now)
        return self._join(attempt, asked, now)

    def first(self, asked: RequestIdentity, now: float) -> Attempt:
        """A new attempt: of a first try, or of a retry that finds nothing to join."""
        return self._open(f"{asked.prefix}{uuid4().hex}", asked, now)

    def waited(self, asked: RequestIdentity) -> Sequence[Listener]:
        """The connections to look at before :meth:`joined` is asked."""
        return [
            waiter
            for attempt in self._groups.get(asked.prefix, ())
            for waiter in attempt.waiters
            if not waiter.gone
        ]

    def joined(
        self, asked: RequestIdentity, recorded: Iterable[EntryHead], now: float, wall: float
    ) -> Attempt | None:
        """The attempt that a retry joins; ``None``: there is none.

        ``recorded``: what the journal has under these keys. ``wall``: the clock that it tells.
        """
        best: tuple[tuple[float, ...], Attempt | EntryHead] | None = None
        candidates: list[tuple[tuple[float, ...] | None, Attempt | EntryHead]] = [
            (self._rank(attempt, asked, now), attempt)
            for attempt in self._groups.get(asked.prefix, ())
        ]
        candidates += [
            (self._rank_of_head(head, wall), head)
            for head in recorded
            if head.key not in self._by_key
        ]
        for rank, candidate in candidates:
            if rank is not None and (best is None or rank < best[0]):
                best = (rank, candidate)
        if best is None:
            return None
        found = best[1]
        if isinstance(found, EntryHead):
            found = self._open(found.key, asked, now)
            found.begun = True
        return self._join(found, asked, now)

    def _rank(
        self, attempt: Attempt, asked: RequestIdentity, now: float
    ) -> tuple[float, ...] | None:
        """The lower the better; ``None``: not to be joined."""
        if attempt.retry >= asked.retry:
            return None
        behind = asked.retry - attempt.retry
        if attempt.waited_for:
            given_up = now - attempt.heard_at > attempt.patience
            return (1, behind, attempt.opened_at) if given_up else None
        if attempt.answered_at is None:
            return (0, behind, attempt.opened_at)
        # What was refused before it began is no answer that could have been missed.
        if not attempt.begun or now - attempt.answered_at > self._window:
            return None
        return (3, now - attempt.answered_at, 0)

    def _rank_of_head(self, head: EntryHead, wall: float) -> tuple[float, ...] | None:
        if head.state is EntryState.OPEN or head.ended is None:
            return (2, 0, head.created)
        age = max(wall - head.ended, 0.0)
        return (3, age, 0) if age <= self._window else None

    # What becomes of them

    def left(self, attempt: Attempt, *, answered: bool, now: float) -> None:
        """Nobody waits for it any more: it was ``answered``, or its client has gone, or was told
        to come again."""
        if attempt.waited_for:
            return
        attempt.answered_at = now if answered else None
        self._settle(attempt)

    def ended(self, attempt: Attempt, size: int) -> None:
        """Its task ended; ``size``: bytes of its answer that are kept here."""
        self._bytes += size - attempt.size
        attempt.size = size
        self._settle(attempt)

    def forget(self, attempt: Attempt) -> None:
        """Remember it no more. Idempotent."""
        if self._by_key.get(attempt.key) is not attempt:
            return
        self._answered.pop(attempt, None)
        self._missed.pop(attempt, None)
        self._bytes -= attempt.size
        del self._by_key[attempt.key]
        group = self._groups[attempt.group]
        group.remove(attempt)
        if not group:
            del self._groups[attempt.group]

    def _settle(self, attempt: Attempt) -> None:
        """Remember it, as one that has ended, for as long as there is room."""
        self._answered.pop(attempt, None)
        self._missed.pop(attempt, None)
        if attempt.running or attempt.waited_for or self._by_key.get(attempt.key) is not attempt:
            return
        (self._missed if attempt.answered_at is None else self._answered)[attempt] = None
        while len(self._answered) > self._most:
            self.forget(next(iter(self._answered)))
        while len(self._missed) > self._most:
            self.forget(next(iter(self._missed)))
        while self._bytes > self._most_bytes and (self._answered or self._missed):
            self.forget(next(iter(self._answered or self._missed)))

    def _open(self, key: str, asked: RequestIdentity, now: float) -> Attempt:
        attempt = Attempt(key, asked.prefix, asked.retry, asked.patience, now)
        self._by_key[key] = attempt
        self._groups.setdefault(asked.prefix, []).append(attempt)
        return attempt

    def _join(self, attempt: Attempt, asked: RequestIdentity, now: float) -> Attempt:
        attempt.retry = max(attempt.retry, asked.retry)
        attempt.patience = asked.patience
        attempt.heard_at = now
        attempt.answered_at = None
        self._answered.pop(attempt, None)
        self._missed.pop(attempt, None)
        return attempt
