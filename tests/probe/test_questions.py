"""What the emulator was told to do is what the probe finds out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws.emulator import Emulator, Request
from runware_ws.emulator.options import EmulatorOptions
from runware_ws.probe import QUESTIONS, Pace, Plan, Question, Verdict, survey
from tests import virtual

from .support import KEY, PACE, emulator, lab_of, named, verdict_of

anyio_backend = virtual.anyio_backend

CHOICES: list[tuple[str, str, dict[str, Any], str]] = [
    ("unknown-session", "new", {"unknown_session": "new"}, ""),
    (
        "unknown-session",
        "error",
        {"unknown_session": "error"},
        "a fresh authentication on the same socket is accepted",
    ),
    ("buffer", "replayed", {}, ""),
    ("buffer", "lost", {"buffer_seconds": 0.0}, "2 of 2 results did not come"),
    (
        "buffer",
        "lost",
        {"buffer_seconds": 0.0, "unknown_session": "error"},
        "the session is 'error'",
    ),
    ("replay-order", "after-auth", {"replay": "after-auth"}, ""),
    ("replay-order", "before-auth", {"replay": "before-auth"}, ""),
    ("replay-framing", "single", {"replay_framing": "single"}, ""),
    ("replay-framing", "batched", {"replay_framing": "batched"}, ""),
    ("replay-cut", "again", {"dying_results": "buffered"}, ""),
    ("replay-cut", "once", {"dying_results": "lost"}, ""),
    ("close-1000", "kept", {"keep_buffer_on_close": True}, "'same'"),
    ("close-1000", "dropped", {"keep_buffer_on_close": False}, "'new'"),
    (
        "takeover",
        "taken-over",
        {"takeover_grace": 0.01},
        "with 1000; the result came on the second",
    ),
    ("takeover", "both-open", {"takeover_grace": 30.0}, "the result came on the second"),
    ("poll-sync", "answers", {"poll_sync_tasks": True}, "while it ran: status 'processing'"),
    ("poll-sync", "refused", {"poll_sync_tasks": False}, "taskFailedOrNotFound"),
    ("details-running", "not-found", {"details_while_running": "not-found"}, "taskNotFound"),
    ("details-running", "processing", {"details_while_running": "processing"}, "'processing'"),
    ("details-running", "processing", {"details_while_running": "status"}, "nothing else"),
    ("details-done", "archived", {"archive_limit": None}, "with the response"),
    ("details-done", "not-found", {"archive_limit": 0}, "taskNotFound"),
    ("registration", "at-once", {"registration_delay": 0.0}, "acknowledged"),
    ("registration", "later", {"registration_delay": 1.0}, "after about 1."),
    ("repeat-at-once", "conflict", {"repeated_uuid": "conflict"}, "conflictTaskUUID"),
    ("repeat-at-once", "result", {"repeated_uuid": "result"}, "no error"),
    ("repeat-at-once", "refused", {"busy_copies": "rateLimitExceeded"}, "rateLimitExceeded"),
    ("repeat-later", "refused", {"busy_copies": "rateLimitExceeded"}, "rateLimitExceeded"),
    ("repeat-later", "conflict", {"repeated_uuid": "conflict"}, "conflictTaskUUID"),
    ("repeat-later", "result", {"repeated_uuid": "result"}, "the same result again"),
    ("results-framing", "separate", {"results_framing": "separate"}, "in 2 frames"),
    ("results-framing", "together", {"results_framing": "together"}, ""),
    ("result-index", "many", {"result_index": "many"}, "0, 1"),
    ("result-index", "always", {"result_index": "always"}, "0, 1"),
    ("result-index", "never", {"result_index": "never"}, ""),
    ("bad-key", "errors", {"bad_key": "errors"}, "invalidApiKey; the socket is closed with 1008"),
    ("bad-key", "error", {"bad_key": "error", "close_after_refusal": False}, "stays open"),
    ("bad-key", "error-list", {"bad_key": "error-list", "refusal_close_code": 4001}, "4001"),
    ("bad-key", "legacy", {"bad_key": "legacy", "refusal_close_code": None}, "no close frame"),
    ("bad-task", "errors", {"error_spelling": "errors"}, "unsupportedTaskType; names the task"),
    ("bad-task", "error", {"error_spelling": "error"}, ""),
    ("bad-task", "error-list", {"error_spelling": "error-list"}, ""),
    ("idle-close", "closed", {}, "with 1000; one that pings stays open"),
    ("idle-close", "closed", {"idle_close_code": None}, "no close frame"),
    ("idle-close", "open", {"idle_seconds": None}, ""),
    ("protocol-pings", "count", {"pings_are_activity": True}, ""),
    ("protocol-pings", "do-not-count", {"pings_are_activity": False}, ""),
    ("protocol-pings", "unclear", {"idle_seconds": None}, "stays open as well"),
    ("expired-session", "new", {"unknown_session": "new"}, ""),
    ("expired-session", "error", {"unknown_session": "error"}, "Session"),
    ("expired-session", "same", {"buffer_seconds": 600.0}, ""),
    ("expired-result", "gone", {}, ""),
    ("expired-result", "replayed", {"buffer_seconds": 600.0}, ""),
    ("running-task", "delivered", {}, "after the resume"),
    ("running-task", "lost", {"buffer_seconds": 0.0}, "'new'"),
    ("stream", "deltas", {"stream_over_socket": "deltas"}, ""),
    ("stream", "whole", {"stream_over_socket": "whole"}, ""),
    ("archive-stream", "whole", {"archive_pieces": None}, ""),
    ("archive-stream", "pieces", {"archive_pieces": "frame"}, "one frame"),
    ("archive-stream", "pieces", {"archive_pieces": "items"}, "a list"),
    ("archive-stream", "pieces", {"archive_pieces": "frames", "null_fields": True}, "a list"),
    ("archive-stream", "both", {"archive_pieces": "behind"}, "one frame"),
    ("answer-cut", "again", {"buffer_answers": True}, ""),
    ("answer-cut", "once", {"buffer_answers": False}, ""),
    ("unknown-poll", "error", {"nameless_denials": True}, "the question's type and no task"),
    (
        "unknown-details",
        "error",
        {"nameless_denials": True, "answer_type": "task"},
        "no type and no task",
    ),
    ("details-running", "not-found", {"nameless_denials": True}, "taskNotFound"),
    ("details-done", "archived", {"details_type": "question"}, "the question's type"),
    ("details-done", "archived", {"details_type": "task"}, "the type textInference"),
    ("details-done", "archived", {"details_type": "none"}, "no type"),
    ("copy-running", "answer-kept", {"details_type": "task"}, "taskNotFound"),
    ("before-auth", "nothing", {"before_auth": None}, ""),
    ("before-auth", "errors", {"before_auth": "insufficientCredits"}, "insufficientCredits"),
    ("resume", "same", {"before_auth": "insufficientCredits"}, ""),
    ("resume", "new", {"resumed_session": "new"}, ""),
    ("resume", "nameless", {"resumed_session": "none"}, ""),
    ("buffer", "replayed", {"resumed_session": "new"}, ""),
    ("replay-cut", "again", {"resumed_session": "new"}, ""),
    ("takeover", "taken-over", {"resumed_session": "none", "takeover_grace": 0.01}, ""),
    ("unknown-poll", "error", {"poll_unknown": "error"}, "the question's type"),
    ("unknown-poll", "error", {"answer_type": "task"}, "the type textInference"),
    ("unknown-poll", "error", {"answer_type": "none"}, "no type"),
    ("unknown-poll", "empty", {"poll_unknown": "empty"}, "nobody"),
    ("unknown-poll", "silence", {"mute_question": "getResponse"}, ""),
    ("unknown-details", "silence", {"mute_question": "getTaskDetails"}, ""),
    ("unknown-details", "error", {"details_unknown": "error"}, "the question's type"),
    ("unknown-details", "empty", {"details_unknown": "empty"}, "nobody"),
    ("answers-joined", "separate", {"answers_joined": False}, ""),
    ("answers-joined", "together", {"answers_joined": True}, ""),
    ("answers-joined", "together", {"answers_joined": True, "details_unknown": "empty"}, ""),
    ("uuid-case", "same", {"upper_uuids": False}, "-"),
    ("uuid-case", "capitals", {"upper_uuids": True}, "-"),
    ("null-fields", "none", {"null_fields": False}, ""),
    ("null-fields", "nulls", {"null_fields": True}, "reasoningContent, status, toolCalls"),
    ("sync-note", "none", {"null_fields": True}, ""),
    ("archive-fields", "same", {"null_fields": True, "upper_uuids": True}, ""),
    ("stream", "deltas", {"null_fields": True, "upper_uuids": True}, ""),
    ("details-done", "archived", {"null_fields": True, "upper_uuids": True}, "response"),
    ("copy-running", "answer-kept", {"null_fields": True, "upper_uuids": True}, ""),
    ("sync-note", "none", {"sync_notes": False}, ""),
    ("sync-note", "noted", {"sync_notes": True}, "2 times, status 'processing'"),
    ("archive-array", "alone", {"archive_array": False}, ""),
    ("archive-array", "listed", {"archive_array": True}, "with 1 more"),
    ("archive-fields", "same", {"archive_field": None}, ""),
    ("archive-fields", "more", {"archive_field": "createdAt"}, "createdAt"),
    ("archive-fields", "same", {"archive_lag": 3.0}, ""),
    ("details-done", "archived", {"archive_lag": 3.0}, "3."),
    ("details-running", "not-found", {"details_unknown": "empty"}, "an empty answer"),
    ("poll-sync", "refused", {"poll_sync_tasks": False, "poll_unknown": "empty"}, "empty"),
    ("registration", "at-once", {"ack_fields": "status"}, "acknowledged"),
    ("receipt", "bare", {"ack_fields": "bare"}, ""),
    ("receipt", "more", {"ack_fields": "status"}, "status"),
    ("receipt", "more", {"ack_fields": "all", "ack_copies": 2}, "status; it came 2 times"),
    ("poll-running", "processing", {"poll_running": "processing"}, "status 'processing'"),
    ("poll-running", "not-found", {"poll_running": "unknown"}, "taskFailedOrNotFound"),
    ("poll-running", "empty", {"poll_running": "empty"}, "nobody"),
    ("copy-running", "answer-kept", {"archive_keeps": "nothing"}, "taskNotFound"),
    ("copy-running", "answer-kept", {"archive_keeps": "while-running"}, "an answer"),
    ("copy-running", "refusal-kept", {"archive_keeps": "for-good"}, "an answer"),
    ("copy-running", "not-refused", {"repeated_uuid": "result"}, ""),
    ("ping", "pong", {}, "ms"),
    ("resume", "same", {}, ""),
]


def experiment_of(name: str) -> str:
    return named(name).experiment.name


@pytest.mark.parametrize(
    "experiment", list(dict.fromkeys(experiment_of(choice[0]) for choice in CHOICES))
)
@pytest.mark.anyio
async def test_verdict_is_the_emulators_choice(experiment: str) -> None:
    wrong: list[str] = []

    async def check(name: str, answer: str, options: dict[str, Any], detail: str) -> None:
        async with emulator(**options) as server:
            verdict = await verdict_of(name, server)
        if verdict.answer != answer or detail not in verdict.detail or not verdict.evidence:
            wrong.append(f"{name}, {options}: {verdict.answer} ({verdict.detail})")
        assert answer in (*named(name).answers, "unclear")

    # Side by side: they wait more than they work.
    async with anyio.create_task_group() as group:
        for choice in CHOICES:
            if experiment_of(choice[0]) == experiment:
                group.start_soon(check, *choice)
    assert not wrong


def test_every_option_that_can_be_asked_for_is_tried() -> None:
    tried = {option for _, _, options, _ in CHOICES for option in options}
    not_asked = {
        "replay_batch",  # a size
        "buffer_acks",  # the client does not need acknowledgements
        "dying_window",  # part of the question replay-cut
        "dying_requests",  # a race: no single sample would answer it
        "dying_delay",
        "unregistered_copies",  # another
        "max_sent_bytes",  # a size
        "poll_error_type",  # needs a task that fails while it runs
        # A question that fails is seen in the verdicts of all that use it.
        "failing_question",
        "question_error",
        "question_error_typed",
        "question_errors",
        "max_frame_bytes",  # a size; asking would cost a large upload
        "poll_errors",  # needs a task that fails while it runs
        "shuffle",  # order carries no meaning anyway
        "merge_limit",
        "merge_window",
        # Of a stream only the carrier is asked for, not how it goes on after a cut.
        "stream_over_http",
        "stream_resume",
        "stream_finish",
        "stream_tool_calls",
        "delta_sequence",
        "token_rate",
        "token_pause",
        "tokens_per_delta",
        "sse_framing",
        "sse_done",
        "http_error_status",
        # The emulator's own: how it writes a call, and its limits.
        "default_max_tokens",
        "tool_calls",
        "tool_finish",
        "capacity",
        "queue_limit",
        "rate_limit",
        "rate_burst",
        "busy_error",
        "rate_error",
    }
    assert set(EmulatorOptions.__slots__) == tried | not_asked


@pytest.mark.anyio
async def test_an_execution_of_the_second_copy_is_noticed() -> None:
    async with emulator() as server:

        @server.reply("textInference")
        def count(request: Request) -> str:
            return f"execution {request.execution}"

        server.faults.break_uniqueness()
        lab = lab_of(server)
        assert (await named("repeat-at-once").ask(lab)).answer == "ran-twice"
        assert (await named("repeat-later").ask(lab)).answer == "ran-twice"


@pytest.mark.anyio
async def test_a_session_that_is_never_resumed() -> None:
    async with emulator() as server:
        server.faults.refuse_sessions()
        assert (await verdict_of("resume", server)).answer == "new"
        assert (await verdict_of("takeover", server)).answer == "refused"


@pytest.mark.anyio
async def test_deltas_are_recognised() -> None:
    async with emulator(stream_over_socket="whole") as server:

        @server.reply("textInference")
        async def stream(request: Request) -> dict[str, Any]:
            for piece in ("1", "2"):
                item = {"taskType": "textInference", "taskUUID": request.task_uuid}
                frame = {"data": [{**item, "delta": {"text": piece}}]}
                server.faults.send_raw(json.dumps(frame))
            return {"text": "12"}

        verdict = await verdict_of("stream", server)
        assert verdict == Verdict("deltas", "2 of them, then the whole text")


# Where a question has no answer


def _no_auth(server: Emulator) -> None:
    server.faults.ignore_auth(None)


def _no_upgrade(server: Emulator) -> None:
    server.faults.reject_upgrades(503, times=None)


def _no_credits(server: Emulator) -> None:
    server.faults.inject_error("insufficientCredits", times=None)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (_no_auth, "a fresh authentication was not accepted"),
        (_no_upgrade, "503"),
        (_no_credits, "insufficientCredits"),
    ],
)
@pytest.mark.anyio
async def test_unclear_says_why(fault: Callable[[Emulator], None], reason: str) -> None:
    async with emulator() as server:
        fault(server)
        lab = lab_of(server)

        async def check(name: str) -> None:
            verdict = await named(name).ask(lab)
            assert verdict.answer == "unclear"
            assert reason in verdict.detail

        async with anyio.create_task_group() as group:
            for name in ("buffer", "poll-sync", "repeat-at-once"):
                group.start_soon(check, name)


@pytest.mark.anyio
async def test_too_quick_a_task_gives_no_verdict() -> None:
    async with emulator() as server:
        server.latency = 0
        verdict = await verdict_of("buffer", server)
        assert verdict.answer == "unclear"
        assert "before the socket could be left" in verdict.detail


@pytest.mark.anyio
async def test_questions_share_experiments() -> None:
    async with emulator() as server:
        lab = lab_of(server)
        for name in ("buffer", "replay-order", "replay-framing"):
            await named(name).ask(lab)
        assert server.stats.tasks_accepted == named("buffer").tasks == 2


@pytest.mark.anyio
async def test_the_plan_counts_what_is_run() -> None:
    plan = Plan.of(QUESTIONS, PACE)
    told: list[Question[Any]] = []
    async with emulator() as server:
        lab = lab_of(server)
        began = anyio.current_time()
        await survey(lab, plan, lambda question, verdict: told.append(question))
        assert anyio.current_time() - began < plan.seconds
        asked_for = server.stats.results_sent + server.stats.replayed
    assert sorted(told, key=plan.questions.index) == list(plan.questions)
    assert asked_for <= plan.tasks + 2  # the copies of the replay that was cut
    executed = sum(ran.cost > 0 for ran in lab.ran.values())
    assert executed >= 8
    assert sum(ran.cost for ran in lab.ran.values()) < plan.dollars
    assert KEY not in str([ran.log for ran in lab.ran.values()])


def test_the_slow_ones_run_side_by_side() -> None:
    live = Plan.of(QUESTIONS, Pace())
    assert {each.name for each in live.slow} == {"idle", "expiry"}
    assert live.seconds - live.without_slow().seconds < 200
    names = {each.name for each in live.questions} - {
        each.name for each in live.without_slow().questions
    }
    assert names == {"idle-close", "protocol-pings", "expired-session", "expired-result"}


def test_names_are_told_apart() -> None:
    assert len({each.name for each in QUESTIONS}) == len(QUESTIONS)
    assert {choice[0] for choice in CHOICES} == {each.name for each in QUESTIONS}


def test_the_page_tells_of_every_question_and_answer() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "probe.md").read_text(encoding="utf-8")
    page = page.split("\n## The questions")[1].split("\n## ")[0]
    rows = {
        row.split("|")[1].strip(" `"): row for row in page.splitlines() if row.startswith("| `")
    }
    assert set(rows) == {each.name for each in QUESTIONS}
    for each in QUESTIONS:
        missing = [answer for answer in each.answers if f"`{answer}`" not in rows[each.name]]
        assert not missing, each.name
