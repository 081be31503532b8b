"""What the simulation's server may do, the emulator may do, or it is told why not."""

from __future__ import annotations

from dataclasses import fields

from runware_ws.emulator import EmulatorOptions
from tests.simulation.traits import Traits

OPTIONS = {
    "replay_first": "replay",
    "replay_batched": "replay_framing",
    "replay_shuffled": "shuffle",
    "refuses_by": "unknown_session",
    "renames": "resumed_session",
    "dying": "dying_results",
    "archive": "archive_limit",
    "archive_delay": "archive_lag",
    "details_running": "details_while_running",
    "details_bare": "details_while_running",
    "answers_typed": "answer_type",
    "error_key": "error_spelling",
    "upper": "upper_uuids",
    "nulls": "null_fields",
    "limit_in": "max_frame_bytes",
    "limit_out": "max_sent_bytes",
    "auth_style": "bad_key",
    "after_cut": "stream_resume",
    "reads_rest": "dying_requests",
    "response_unknown": "poll_unknown",
    "response_running": "poll_running",
    "response_sync": "poll_sync_tasks",
    "denials_nameless": "nameless_denials",
    "failed_in": "poll_errors",
    "failed_typed": "poll_error_type",
    "question_fails": "failing_question",
    "question_mute": "mute_question",
    "question_code": "question_error",
    "question_typed": "question_error_typed",
    "details_typed": "details_type",
    "answers_buffered": "buffer_answers",
    "copies_busy": "busy_copies",
    "receipt": "ack_fields",
    "receipts": "ack_copies",
    "sync_note": "sync_notes",
}
"""Where the two have another word for it."""

WITHOUT = {
    "resumes": "an order of the faults: it refuses sessions, or forgets them",
    "replay_gap": "only the simulation, so far",
    "anonymous_conflicts": "an order of the faults: errors without a name, with any code",
    "echoes_key": "the emulator never repeats a key, so that no log of it has one",
    "answers_shuffled": "only the simulation, so far",
    "answers_late": "only the simulation, so far",
    "refusals_buffered": "the emulator always does so",
    "refusal_closes": "only the simulation, so far",
}
"""Traits without an option, and why."""


def test_each_trait_has_an_option_or_says_why_not() -> None:
    traits = {trait.name for trait in fields(Traits)}
    same = traits - set(OPTIONS) - set(WITHOUT)
    assert set(OPTIONS) | set(WITHOUT) <= traits
    assert same | set(OPTIONS.values()) <= set(EmulatorOptions.__slots__)
