"""What must hold of posts: each belongs to a task that lives, and not one begins too late."""

from __future__ import annotations

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._core.states import ConnectionState, TaskState
from tests.simulation.http import Exchange, Http
from tests.simulation.invariants import Sent, Watch
from tests.simulation.story import short

__all__ = ["PostWatch"]

MOST_A_SECOND = 20
"""So often a task that is not reached is posted again in a second, with the quickest backoff."""

DROPPED_IN = 1.0
"""So long after its task has ended a post is given up, in seconds."""


class PostWatch:
    """Looks on as posts begin and end."""

    def __init__(self, watch: Watch, http: Http) -> None:
        self._watch = watch
        self._http = http
        self._reached: set[str] = set()
        self._begun: dict[str, list[float]] = {}
        # Of which try the post is: the next one may begin before it is dropped.
        self._tries: dict[str, Sent] = {}
        http.posts = self

    def begins(self, uuid: str) -> None:
        """The client posts a task."""
        watch = self._watch
        name = short(uuid)
        over = watch.closed or watch.core.state is ConnectionState.CLOSED
        watch.check(not over, f"I9: {name} is posted after the close")
        sent = watch.tasks.get(uuid)
        if sent is None:
            watch.fail(f"I1: {name} is posted, and the core does not know it")
            return
        self._tries[uuid] = sent
        watch.check(not sent.record.ended, f"I1: {name} is posted after its end")
        watch.check(uuid not in self._reached, f"I5: {name} is posted again, and it had left")
        late = watch.draining_at is not None and sent.record.submitted_at > watch.draining_at
        watch.check(not late, f"I9: {name} was handed over after the drain, and is posted")
        now = watch.wire.now
        begun = self._begun.setdefault(uuid, [])
        begun.append(now)
        soon = sum(at > now - 1 for at in begun)
        watch.check(soon <= MOST_A_SECOND, f"I10: {name} is posted {soon} times in a second")
        live = sum(self._lives(exchange) for exchange in self._http.open)
        watch.check(live <= watch.config.max_in_flight, f"I9: {live} posts at once")

    def over(self, uuid: str) -> None:
        """The client left the post, answered or not."""
        watch, sent = self._watch, self._tries.get(uuid)
        if sent is None or not sent.record.ended:
            return
        # A stream that was given up is read to its end, for claims.
        left = sent.record.state is TaskState.CANCELLED
        until = sent.record.deadline if left else sent.ended_at
        late = watch.wire.now - watch.late_until(until)
        watch.check(
            late <= DROPPED_IN, f"I9: the post of {short(uuid)} outlived it for {late:.3f} s"
        )

    def _lives(self, exchange: Exchange) -> bool:
        sent = self._tries.get(exchange.uuid)
        return sent is not None and not sent.record.ended

    def leaves(self, uuid: str) -> None:
        """The first byte is on its way."""
        self._reached.add(uuid)
        sent = self._tries.get(uuid)
        if sent is not None:
            sent.posted.append(self._watch.wire.now)

    def ends(self, uuid: str, ending: PostEnding) -> None:
        """The client is told how it ended."""
        sent = self._tries.get(uuid)
        if sent is None or sent.record.ended:
            return
        if ending.loss is not None and ending.loss.status == 401:
            # Nothing ran: it is posted once more with a fresh key.
            self._reached.discard(uuid)
            sent.posted.pop()
        if ending.how is Ending.CUT:
            sent.cuts.append(self._watch.wire.now)
        elif ending.how is Ending.DONE:
            sent.answered = True
