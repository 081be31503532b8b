"""Every question, and the way to ask many: each experiment once, the long ones side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio

from runware_ws.probe import refusals, sessions, tasks, unknown
from runware_ws.probe.lab import Pace
from runware_ws.probe.verdict import Experiment, Lab, Question, Verdict

__all__ = ["QUESTIONS", "SLOW_SECONDS", "Plan", "survey"]

SLOW_SECONDS = 60.0
"""A question that must wait longer than this is slow."""

_RESUMES = ("same", "new", "nameless", "error")

QUESTIONS: tuple[Question[Any], ...] = (
    Question(
        "ping",
        "Does the server answer the application's ping?",
        ("pong", "silence"),
        sessions.HELLO,
        sessions.judge_ping,
    ),
    Question(
        "resume",
        "Is the session's UUID echoed on a resume?",
        _RESUMES,
        sessions.HELLO,
        sessions.judge_resume,
    ),
    Question(
        "before-auth",
        "Does an error come before the reply to the authentication?",
        ("nothing", "errors"),
        sessions.HELLO,
        sessions.judge_early,
    ),
    Question(
        "unknown-session",
        "What comes for a session that never existed?",
        _RESUMES,
        sessions.STRANGER,
        sessions.judge_stranger,
    ),
    Question(
        "bad-key",
        "How is a bad key refused?",
        ("errors", "error", "error-list", "legacy", "closed", "accepted"),
        refusals.BAD_KEY,
        refusals.judge_bad_key,
    ),
    Question(
        "bad-task",
        "How is an impossible task refused?",
        ("errors", "error", "error-list", "legacy", "closed"),
        refusals.BAD_TASK,
        refusals.judge_bad_task,
    ),
    Question(
        "unknown-poll",
        "What does getResponse answer of an id that nobody used?",
        ("error", "empty", "silence"),
        unknown.UNKNOWN,
        unknown.judge_unknown_poll,
    ),
    Question(
        "unknown-details",
        "What does getTaskDetails answer of an id that nobody used?",
        ("error", "empty", "silence"),
        unknown.UNKNOWN,
        unknown.judge_unknown_details,
    ),
    Question(
        "answers-joined",
        "Are the questions of one message answered in one frame?",
        ("separate", "together", "silence"),
        unknown.UNKNOWN,
        unknown.judge_joined,
    ),
    Question(
        "answer-cut",
        "Does the answer to a question come again when its socket died?",
        ("again", "once"),
        unknown.LEFT,
        unknown.judge_left,
    ),
    Question(
        "buffer",
        "Is a result kept that was ready while the socket was away?",
        ("replayed", "partly", "lost"),
        sessions.AWAY,
        sessions.judge_buffer,
    ),
    Question(
        "replay-order",
        "Does the replay come before or after the reply to the authentication?",
        ("before-auth", "after-auth", "both"),
        sessions.AWAY,
        sessions.judge_order,
    ),
    Question(
        "replay-framing",
        "Are replayed results one to a frame, or batched?",
        ("single", "batched"),
        sessions.AWAY,
        sessions.judge_framing,
    ),
    Question(
        "replay-cut",
        "Does a result come again when the socket died during its replay?",
        ("again", "once"),
        sessions.REPLAY_CUT,
        sessions.judge_replay_cut,
    ),
    Question(
        "close-1000",
        "Does a close with code 1000 keep the buffer?",
        ("kept", "dropped"),
        sessions.CLOSE,
        sessions.judge_close,
    ),
    Question(
        "running-task",
        "Does a task that ends after a resume deliver to the new socket?",
        ("delivered", "lost"),
        sessions.RUNNING,
        sessions.judge_running,
    ),
    Question(
        "takeover",
        "Does a second socket of the same session take over?",
        ("taken-over", "both-open", "refused"),
        sessions.TAKEOVER,
        sessions.judge_takeover,
    ),
    Question(
        "poll-sync",
        "Does getResponse answer for a sync task?",
        ("answers", "refused", "silence"),
        tasks.QUESTIONS,
        tasks.judge_poll,
    ),
    Question(
        "details-running",
        "What does getTaskDetails say of a task that runs?",
        ("not-found", "processing", "silence"),
        tasks.QUESTIONS,
        tasks.judge_details_running,
    ),
    Question(
        "details-done",
        "What does getTaskDetails say of a task that has ended?",
        ("archived", "not-found", "silence"),
        tasks.QUESTIONS,
        tasks.judge_details_done,
    ),
    Question(
        "registration",
        "Is a fresh task known to questions at once?",
        ("at-once", "later"),
        tasks.REGISTRATION,
        tasks.judge_registration,
    ),
    Question(
        "repeat-at-once",
        "What comes for a taskUUID that is sent again at once?",
        ("conflict", "refused", "result", "ran-twice"),
        tasks.REPEAT,
        tasks.judge_repeat_at_once,
    ),
    Question(
        "repeat-later",
        "What comes for a taskUUID that is sent again when it is done?",
        ("conflict", "refused", "result", "ran-twice", "silence"),
        tasks.REPEAT,
        tasks.judge_repeat_later,
    ),
    Question(
        "results-framing",
        "Do several results of one task come in one frame?",
        ("separate", "together"),
        tasks.SEVERAL,
        tasks.judge_results_framing,
    ),
    Question(
        "result-index",
        "Do results carry resultIndex?",
        ("many", "always", "never"),
        tasks.SEVERAL,
        tasks.judge_result_index,
    ),
    Question(
        "uuid-case",
        "Does a taskUUID come back as it was sent?",
        ("same", "capitals"),
        tasks.SEVERAL,
        tasks.judge_uuid_case,
    ),
    Question(
        "null-fields",
        "Has a result fields that are null?",
        ("none", "nulls"),
        tasks.SEVERAL,
        tasks.judge_nulls,
    ),
    Question(
        "sync-note",
        "Is a sync task told to be in the works?",
        ("none", "noted"),
        tasks.SEVERAL,
        tasks.judge_note,
    ),
    Question(
        "archive-array",
        "Does the archive list the whole array that a task was sent in?",
        ("alone", "listed"),
        tasks.SEVERAL,
        tasks.judge_array,
    ),
    Question(
        "archive-fields",
        "Has an archived result the fields of the pushed one?",
        ("same", "more", "fewer"),
        tasks.SEVERAL,
        tasks.judge_archive_fields,
    ),
    Question(
        "receipt",
        "What does the acknowledgement of an async task have?",
        ("bare", "more", "none"),
        unknown.COPY,
        unknown.judge_receipt,
    ),
    Question(
        "poll-running",
        "What does getResponse say of an async task that runs?",
        ("processing", "not-found", "empty", "silence"),
        unknown.COPY,
        unknown.judge_poll_running,
    ),
    Question(
        "copy-running",
        "What becomes of the archive when a running task is sent again?",
        ("answer-kept", "refusal-kept", "not-refused"),
        unknown.COPY,
        unknown.judge_copy,
    ),
    Question(
        "stream",
        'Does deliveryMethod "stream" push deltas over the socket?',
        ("deltas", "whole", "error", "silence"),
        tasks.STREAM,
        tasks.judge_stream,
    ),
    Question(
        "archive-stream",
        "How does the archive list what was streamed?",
        ("whole", "pieces", "both"),
        tasks.STREAM,
        tasks.judge_archive_stream,
    ),
    Question(
        "idle-close",
        "Does the server close a silent connection?",
        ("closed", "open"),
        sessions.IDLE,
        sessions.judge_idle,
    ),
    Question(
        "protocol-pings",
        "Do pings of the WebSocket protocol count as activity?",
        ("count", "do-not-count"),
        sessions.IDLE,
        sessions.judge_protocol_pings,
    ),
    Question(
        "expired-session",
        "What comes for a session that has expired?",
        _RESUMES,
        sessions.EXPIRY,
        sessions.judge_expired_session,
    ),
    Question(
        "expired-result",
        "Is a result still replayed after the buffer's time?",
        ("gone", "replayed"),
        sessions.EXPIRY,
        sessions.judge_expired_result,
    ),
)
"""All questions, the cheap ones first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What asking some questions takes at most."""

    questions: tuple[Question[Any], ...]
    quick: tuple[Experiment[Any], ...]
    slow: tuple[Experiment[Any], ...]
    pace: Pace

    @staticmethod
    def of(questions: Sequence[Question[Any]], pace: Pace) -> Plan:
        """Sort the experiments behind the questions."""
        found = list(dict.fromkeys(question.experiment for question in questions))
        slow = [each for each in found if each.waits(pace) > SLOW_SECONDS]
        quick = [each for each in found if each not in slow]
        return Plan(tuple(questions), tuple(quick), tuple(slow), pace)

    @property
    def experiments(self) -> tuple[Experiment[Any], ...]:
        """All experiments, in the order in which they begin."""
        return self.quick + self.slow

    @property
    def tasks(self) -> int:
        """How many paid results they ask for."""
        return sum(each.tasks for each in self.experiments)

    @property
    def dollars(self) -> float:
        """What that costs, about."""
        return sum(each.dollars for each in self.experiments)

    @property
    def seconds(self) -> float:
        """How long it takes: the slow ones run side by side."""
        slow = max((each.seconds(self.pace) for each in self.slow), default=0.0)
        return slow + sum(each.seconds(self.pace) for each in self.quick)

    @property
    def likely_seconds(self) -> float:
        """How long it takes where the server answers at once and a task takes a few seconds."""
        brisk = replace(self.pace, answer=min(0.2, self.pace.answer), task=min(4.0, self.pace.task))
        return replace(self, pace=brisk).seconds

    def without_slow(self) -> Plan:
        """The same without the questions that must wait long."""
        kept = [each for each in self.questions if each.experiment not in self.slow]
        return Plan.of(kept, self.pace)


async def survey(
    lab: Lab,
    plan: Plan,
    answered: Callable[[Question[Any], Verdict], None],
    begins: Callable[[Experiment[Any]], None] = lambda experiment: None,
) -> None:
    """Ask all questions of a plan; each verdict is told when it is known.

    Raises:
        ConnectionFailed: the server cannot be reached.
        AuthenticationError: it refuses the key.
    """
    await lab.check()

    async def run(experiment: Experiment[Any]) -> None:
        begins(experiment)
        await lab.once(experiment)
        for question in plan.questions:
            if question.experiment is experiment:
                answered(question, await question.ask(lab))

    for experiment in plan.quick:
        await run(experiment)
    async with anyio.create_task_group() as group:
        for experiment in plan.slow:
            group.start_soon(run, experiment)
