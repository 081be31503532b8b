"""The end of each task, and the end of a run: was it allowed, honest, and in time?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from runware_ws._core.tasks.record import FOREVER
from runware_ws._history import Breach, Ended, Executed, of_outputs, verdict
from runware_ws.config import Config
from runware_ws.errors import (
    AuthenticationError,
    ClientClosed,
    ConnectionFailed,
    OutcomeUnknown,
    ProtocolError,
    RunwareError,
    StreamInterrupted,
    Submitted,
    TaskCancelled,
    TaskError,
    TaskTimeout,
)
from runware_ws.models.results import RecoveredBy, Result
from tests.simulation.http import CODES, Http
from tests.simulation.invariants import EPSILON, Sent, Watch
from tests.simulation.keys import Keys
from tests.simulation.scenario import LONGEST, Scenario
from tests.simulation.server import Server
from tests.simulation.story import Story, short
from tests.simulation.streams import StreamPlan
from tests.simulation.traits import Plan
from tests.simulation.wire import Wire
from tests.simulation.works import Work

__all__ = ["Judge", "ladder", "settled_by"]

INVARIANTS = {
    Breach.LOST: "I4",
    Breach.RUN_TWICE: "I5",
    Breach.DELIVERED_TWICE: "I3",
    Breach.WRONG: "I2",
    Breach.UNEXPECTED: "I1",
    Breach.DISHONEST_SUBMITTED: "honesty",
    Breach.DISHONEST_RECOVERED_BY: "honesty",
}

REPLAY = 5.0
"""A replay holds questions back for at most this long."""

LAST_CALL = 2.0
"""One more question goes out this long before a deadline."""

LOST = 45.0
"""A lost request is sent again within so many seconds of a calm connection, and one question."""

VERDICT = 5.0
"""What may be the refusal of a copy is repeated for so long before it is believed."""

SHARE = 0.4
"""While durations are unknown, no more than this part of a task's time is waited for."""

MAY_REFUSE = frozenset({"rateLimitExceeded", "insufficientCredits", "internalServerError"})
"""What a server may say of a copy of a task before it looks whether it has the task."""

ENVELOPE = 500
"""What a request has besides its padding takes fewer bytes."""

SMALL = 5_000
"""The client takes no larger frames: then large results do not reach it."""

LITTLE_ROOM = 10
"""So few tasks in flight that others wait for room for long."""


def _room(config: Config) -> int:
    """How many tasks can be in flight, at least."""
    return max(1, min(config.max_in_flight, config.max_in_flight_bytes // ENVELOPE))


def settled_by(scenario: Scenario, config: Config) -> float:
    """I14: how long after the last fault a task without a deadline can take at most."""
    notice = config.ping_after + config.ping_timeout + 0.5 + (9.0 if scenario.suspends else 0.0)
    dial = 2 * (config.backoff_cap + config.open_timeout + 1.0) + config.retry_after_cap
    waves = ceil(len(scenario.plans) / _room(config))
    questions = ceil(len(scenario.plans) / config.question_window) * 2.0
    one = LONGEST + 1.0 + 2 * config.question_backoff_cap + 2 * config.question_timeout + questions
    dial += scenario.traits.archive_delay
    if scenario.traits.question_mute:
        dial += 3 * config.question_timeout * ceil(len(scenario.plans) / config.question_window)
    return notice + dial + REPLAY + config.resend_after + waves * (one + LONGEST) + 10.0


def ladder(scenario: Scenario, config: Config) -> float:
    """I4: in calm weather this is enough to get an answer that the server holds."""
    rounds = ceil(len(scenario.plans) / config.question_window)
    answer = 4 * scenario.latency + scenario.traits.answers_late
    return REPLAY + 2 * LAST_CALL + (rounds + 2) * answer + 0.5


def _items_of(error: RunwareError | None) -> list[dict[str, Any]]:
    """The results that came before a task failed."""
    return [dict(item) for item in error.items] if isinstance(error, TaskError) else []


@dataclass(slots=True)
class Judge:
    """Looks at ends with the eyes of the server, which knows what was true."""

    scenario: Scenario
    config: Config
    watch: Watch
    server: Server
    wire: Wire
    story: Story
    http: Http
    calm_at: float = FOREVER
    cancelled: set[str] = field(default_factory=set[str])

    def ended(self, sent: Sent, result: Result | None, error: RunwareError | None) -> None:
        """A task ended for its caller."""
        plan = self.scenario.plans[sent.record.uuid]
        fail = self.watch.fail
        name = short(plan.uuid)
        self._verdict(sent, plan, result, error)
        if result is not None:
            self.story.count(f"end: result by {result.recovered_by.value}")
            if plan.stream is not None:
                self._joined(plan, plan.stream, result)
            return
        assert error is not None
        text = f"{error!r} {error} {error.args} {error.message}"
        if Keys.in_text(text):
            fail(f"I13: the key in the error of {name}: {type(error).__name__}")
        self._honest(sent, error)
        self.story.count(f"end: {type(error).__name__}, submitted {error.submitted.value}")
        failure = self.watch.core.failure
        refused = self.http.refused.get(plan.uuid, set[int]())
        match error:
            case StreamInterrupted() if plan.stream is not None:
                self._cut_off(sent, plan, error)
            case TaskError():
                pass
            case TaskTimeout() | OutcomeUnknown():
                self._late(sent, plan, error)
            case TaskCancelled():
                if plan.uuid not in self.cancelled:
                    fail(f"I12: {name} was cancelled, and nobody gave it up")
            case ClientClosed():
                if not self.watch.closed:
                    fail(f"I1: {name} ended ClientClosed, and nobody closed")
            case AuthenticationError() | ConnectionFailed():
                if failure is None and not refused:
                    fail(f"I1: {name} ended with {error!r}, and the client goes on")
            case ProtocolError():
                if failure is None and not refused and not self._may_be_refused(plan):
                    fail(f"I1: {name} ended with {error!r} without cause")
            case _:
                fail(f"I1: {name} ended with {error!r}")

    def _may_be_refused(self, plan: Plan) -> bool:
        """Whether this very task is one that somebody cannot take: no other may be blamed."""
        limit = self.server.traits.limit_in
        if plan.poison is not None or (limit is not None and plan.size > limit - ENVELOPE):
            return True
        if not self.server.traits.limit_out and self.config.max_frame_bytes >= SMALL:
            return False
        # Where the archive lists whole arrays, one large result hides the others from it.
        work = self.server.works.get(plan.uuid)
        listed = work.array if work is not None and self.server.traits.archive_array else []
        plans = (plan, *(each.plan for each in listed))
        # What the archive says of a task holds its request as well, or many pieces.
        pieces = self.server.traits.archive_pieces
        return any(each.padding or each.size or (pieces and each.stream) for each in plans)

    def _verdict(
        self, sent: Sent, plan: Plan, result: Result | None, error: RunwareError | None
    ) -> None:
        """What the history says: see ``_history``."""
        uuid = plan.uuid
        statuses = self.http.refused.get(uuid, set[int]())
        codes = self.server.errors_sent.get(uuid, set()) | {CODES[each] for each in statuses}
        cause = error.__cause__ if isinstance(error, StreamInterrupted) else error
        late = isinstance(cause, TaskTimeout | OutcomeUnknown) or (
            isinstance(error, StreamInterrupted) and sent.ended_at >= sent.record.deadline - EPSILON
        )
        work = self.server.works.get(uuid)
        executed = Executed(expected=plan.number, received=uuid in self.server.received)
        executed = replace(executed, codes=codes, tellable=late and self._tellable(sent, plan))
        if work is not None:
            made = self._outputs(plan, work.items)
            # What came too late for a first try is kept, and answers the second.
            kept = {RecoveredBy.REPLAY} if sent.tried_before else set[RecoveredBy]()
            if plan.delivery == "stream" and RecoveredBy.POLL in work.ways:
                # What a poll tells late looks like the last part of a stream, which is pushed.
                kept.add(RecoveredBy.LIVE)
            executed = replace(executed, runs=work.runs, outputs=made, ways={*work.ways, *kept})
        # What is refused at the door was written, and is known not to run: then nothing tells
        # whether more of it left.
        left = None if statuses or sent.taken_back else bool(sent.posted)
        ended = Ended(
            uuid,
            outputs=self._outputs(plan, result.raw if result is not None else _items_of(error)),
            error=error,
            recovered_by=None if result is None else result.recovered_by,
            left=True if sent.written else left,
            copies=len(sent.written) + len(sent.posted),
        )
        for finding in verdict(executed, ended):
            self.watch.fail(f"{INVARIANTS[finding.breach]}: {short(uuid)} {finding.words}")

    def _outputs(self, plan: Plan, items: list[dict[str, Any]]) -> tuple[str, ...]:
        if plan.stream is not None:
            whole = plan.stream.is_whole
            return tuple("the whole" if whole(item) else repr(item) for item in items)
        return tuple(str(item.get("text", "")).rstrip("x") for item in items)

    def _joined(self, plan: Plan, stream: StreamPlan, result: Result) -> None:
        """I16: the whole is what the server made, whichever way its pieces came."""
        self.story.count(f"end: stream by {result.recovered_by.value}")
        if stream.calls:
            self.story.count("end: stream with calls")
        if result.finish_reason is None and stream.last != "unmarked":
            self.watch.fail(f"I16: {short(plan.uuid)} ended without its finish reason")

    def check_items(self, plan: Plan, items: list[dict[str, Any]]) -> None:
        """I2, I3: the items are this task's, and each is there once."""
        work = self.server.works.get(plan.uuid)
        made = self._outputs(plan, [] if work is None else work.items)
        for breach, words in of_outputs(made, self._outputs(plan, items)):
            self.watch.fail(f"{INVARIANTS[breach]}: {short(plan.uuid)} {words}")

    def _cut_off(self, sent: Sent, plan: Plan, error: StreamInterrupted) -> None:
        """A stream that is interrupted: at its deadline, or because nothing fits any more."""
        stream, name = plan.stream, short(plan.uuid)
        assert stream is not None
        if not stream.text.startswith(error.text):
            self.watch.fail(f"I16: {name} was interrupted with text that is no prefix")
        cause = error.__cause__
        if isinstance(cause, TaskTimeout | OutcomeUnknown):
            self._late(sent, plan, cause)
        elif sent.ended_at >= sent.record.deadline - EPSILON:
            self._late(sent, plan, error)
        elif not (stream.calls and stream.objects):
            # Arguments that are whole only as objects may be spelled otherwise than they came.
            self.watch.fail(f"I16: {name} was interrupted before its deadline: {error.message}")

    def interrupted(self, plan: Plan, heard: str, error: RunwareError, *, all_read: bool) -> None:
        """An interrupted stream tells what was handed on."""
        if not isinstance(error, StreamInterrupted):
            return
        same = error.text == heard if all_read else error.text.startswith(heard)
        if not same:
            self.watch.fail(f"I16: {short(plan.uuid)} heard {heard!r}, and is told {error.text!r}")

    def _honest(self, sent: Sent, error: RunwareError) -> None:
        """What an error says of another try is true."""
        uuid, fail = sent.record.uuid, self.watch.fail
        arrived = uuid in self.server.received
        if error.safe_to_resend and error.submitted is not Submitted.NO:
            fail_if = bool(sent.given) or isinstance(
                error, OutcomeUnknown | TaskTimeout | StreamInterrupted
            )
            # Of all refusals only this one may have run (see ``http``).
            told = isinstance(error, TaskError) and error.code == CODES[500]
            fail_if |= told and arrived and 500 in self.http.refused.get(uuid, ())
            if fail_if:
                fail(f"honesty: {short(uuid)} says safe_to_resend, and results of it came")

    def _late(self, sent: Sent, plan: Plan, error: RunwareError) -> None:
        record, fail, name = sent.record, self.watch.fail, short(plan.uuid)
        if sent.ended_at < record.deadline - EPSILON:
            fail(f"I8: {name} timed out {record.deadline - sent.ended_at:.3f} s too early")
        broken = bool(sent.cuts) or (
            bool(sent.written)
            and any(at >= sent.written[0] for at in self.watch.breaks[: sent.breaks])
        )
        # A second try is in doubt from its beginning: the first one may have arrived.
        if isinstance(error, OutcomeUnknown) and not broken and not sent.tried_before:
            fail(f"honesty: {name} ended OutcomeUnknown without a break")
        if isinstance(error, TaskTimeout) and broken and not sent.tried_before:
            fail(
                f"honesty: {name} ended TaskTimeout, and the connection broke after it was written"
            )
        self._sent_again(sent, plan)
        if sent.answered:
            fail(f"I4: {name} was answered in order over HTTP, and ended {type(error).__name__}")

    def _sent_again(self, sent: Sent, plan: Plan) -> None:
        """I4: a request that was lost is sent again, once the server has said long enough so."""
        traits, config = self.server.traits, self.config
        arrived = plan.uuid in self.server.received or plan.poison is not None
        deaf = traits.question_fails or traits.question_mute or traits.limit_in or traits.limit_out
        never = config.resubmit != "same-uuid" or sent.tried_before or not sent.written
        if arrived or deaf or never or self.watch.ready_since is None:
            return
        if config.max_frame_bytes < SMALL or _room(config) < LITTLE_ROOM:
            return
        if any(at >= self.watch.ready_since for at in self.wire.freezes):
            return
        calm = sent.ended_at - max(self.calm_at, self.watch.ready_since, sent.record.submitted_at)
        if calm >= LOST + config.question_backoff_cap:
            self.watch.fail(f"I4: {short(plan.uuid)} never arrived in {calm:.1f} s of calm")

    def _tellable(self, sent: Sent, plan: Plan) -> bool:
        """I4: whether the server held the answer, and the connection was calm for long enough."""
        record = sent.record
        since = self._held_since(sent, plan)
        asked = sent.written or sent.cuts
        if since is None or self.watch.ready_since is None or not asked:
            return False
        if self.server.traits.question_mute and self.config.question_window < 4:
            # What is never answered keeps the others waiting, one after the other.
            return False
        if any(at >= self.watch.ready_since for at in self.wire.freezes):
            # The socket is half-open since before the calm: how soon that is found is I10.
            return False
        calm = max(since, self.calm_at, self.watch.ready_since, record.submitted_at, *sent.cuts)
        if sent.tried_before and _room(self.config) < LITTLE_ROOM:
            # It is asked about once there is room for it; some wait for that to their end.
            calm = max(calm, sent.first_asked)
        return sent.ended_at - calm >= ladder(self.scenario, self.config)

    def _held_since(self, sent: Sent, plan: Plan) -> float | None:
        """Since when the server could have answered a question about the task with the truth."""
        work: Work | None = self.server.works.get(plan.uuid)
        traits = self.server.traits
        if work is None or work.finished_at is None or plan.padding:
            return None
        ways: list[float] = []
        # A sync task is asked for so where a conflict told that it had arrived.
        listed = work.delivery == "async" or (traits.response_sync and sent.conflicts)
        # An error that may be the question's ends nothing.
        clear = work.error is None or traits.failed_in == "data"
        if listed and clear and traits.tells("getResponse"):
            ways.append(work.finished_at)
        kept = work.refused and traits.archive_keeps == "for-good"
        untold = kept or self._has_odd_pieces(work)
        if traits.archive and not untold and traits.tells("getTaskDetails"):
            ways.append(work.finished_at + traits.archive_delay)
        copied = len(sent.written) > 1 or sent.tried_before
        if ways and work.error is not None and plan.code in MAY_REFUSE and copied:
            # For all that a second try knows, the first one has sent a copy.
            begun = [sent.record.submitted_at] if sent.tried_before else []
            last = max([*sent.written, *begun])
            return max(min(ways), last + self._usual(sent, last))
        return min(ways, default=None)

    def _has_odd_pieces(self, work: Work) -> bool:
        """Whether the archive's pieces of a stream are too many, or tell that it still runs."""
        traits, stream = self.server.traits, work.plan.stream
        if stream is None or not (work.streamed and traits.archive_pieces):
            return False
        small = traits.limit_out is not None or self.config.max_frame_bytes < SMALL
        whole = work.error is not None or traits.archive_pieces in ("behind", "before")
        return small or (stream.last == "unmarked" and not whole)

    def _usual(self, sent: Sent, last: float) -> float:
        """How long it takes to tell the end of a task from the refusal of its last copy.

        Until then a first copy may still run, and nobody can know: whatever the server says may
        have been said of the copy alone.
        """
        record, learned = sent.record, sent.record.learned
        usual = min(self.config.usual_duration, SHARE * (record.deadline - last))
        return VERDICT + (usual if learned is None else learned.usual(usual))
