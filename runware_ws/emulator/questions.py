"""Answers to ``getResponse`` and ``getTaskDetails``: truth, nothing, or trouble."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import anyio

from .state import ServerState
from .tasks import AcceptedTask, Generation
from .units import Kind, Unit
from .validation import task_error

__all__ = ["QUESTIONS", "answer_units", "tellable"]

QUESTIONS = ("getResponse", "getTaskDetails")

Item = dict[str, Any]


def answer_units(state: ServerState, key_id: int, question: Item) -> list[Unit]:
    """The answer to one question. Without units it is an empty answer."""
    kind = question["taskType"]
    count = kind == "getResponse"
    state.stats.polls += count
    state.stats.details += not count
    if "taskUUID" not in question:
        return [_error("missingTaskUUID", "'taskUUID' is required.", question)]
    failure = _trouble(state, question)
    if failure:
        state.stats.failed_questions += 1
        return failure
    units = _answer(state, _find(state, key_id, question), question)
    state.stats.empty_answers += not units
    return units


def tellable(state: ServerState, uuids: Iterable[str]) -> dict[str, bool]:
    """Whether some question about each of these tasks would get its whole answer, now."""
    keys = state.tasks.key_ids()
    return {uuid: any(_tells(state, key_id, uuid) for key_id in keys) for uuid in uuids}


def _tells(state: ServerState, key_id: int, uuid: str) -> bool:
    for kind in QUESTIONS:
        if kind == state.options.mute_question:
            continue
        question = {"taskType": kind, "taskUUID": uuid}
        record = _find(state, key_id, question)
        if record is None or not record.done or _trouble(state, question):
            continue
        if kind == "getResponse" and _polled(state, record):
            return True
        hidden = _runs(state, record) or _hidden(state, record) or _keeps(state, record)
        if kind == "getTaskDetails" and not hidden:
            return True
    return False


def _error(code: str, message: str, question: Item) -> Unit:
    error = task_error(code, message, question, parameter="taskUUID")
    return Unit(Kind.ANSWER, error, is_error=True)


def _trouble(state: ServerState, question: Item) -> list[Unit]:
    """The errors of a question that fails whatever it asks about."""
    options, kind = state.options, question["taskType"]
    fault = state.faults.question_fault(kind)
    if fault is not None:
        code, typed = fault.code, fault.typed
    elif options.failing_question == kind:
        code, typed = options.question_error, options.question_error_typed
    else:
        return []
    codes = [code, *["unknownParameter"] * (options.question_errors - 1)]
    errors = [task_error(each, "This question failed.", question) for each in codes]
    if not typed:
        for error in errors:
            del error["taskType"]
    return [Unit(Kind.ANSWER, error, is_error=True) for error in errors]


def _find(state: ServerState, key_id: int, question: Item) -> AcceptedTask | None:
    record = state.tasks.find(key_id, question.get("taskUUID"))
    return record if record is not None and state.registered(record) else None


def _unknown(state: ServerState, record: AcceptedTask | None, question: Item) -> list[Unit]:
    options, poll = state.options, question["taskType"] == "getResponse"
    if (options.poll_unknown if poll else options.details_unknown) == "empty":
        return []
    if poll:
        unit = "taskFailedOrNotFound", "The task failed, or no such task was found."
    else:
        unit = "taskNotFound", "No such task was found."
    task_type = record.task["taskType"] if record is not None else "textInference"
    error = task_error(*unit, question, parameter="taskUUID")
    error = _typed(error, task_type, options.answer_type)
    if options.nameless_denials:
        # Nor does it know the type of what it does not name.
        if options.answer_type == "task":
            del error["taskType"]
        del error["taskUUID"]
    return [Unit(Kind.ANSWER, error, is_error=True)]


def _typed(answer: Item, task_type: str, style: Literal["question", "task", "none"]) -> Item:
    """An answer to a question, with the type that servers of this style give."""
    if style == "task":
        return {**answer, "taskType": task_type}
    if style == "none":
        return {name: value for name, value in answer.items() if name != "taskType"}
    return answer


def _answer(state: ServerState, record: AcceptedTask | None, question: Item) -> list[Unit]:
    if question["taskType"] == "getTaskDetails":
        return _details(state, record, question)
    if record is None or not _polled(state, record):
        return _unknown(state, record, question)
    # Every generation, each time it is asked.
    made = [(index, each) for index, each in enumerate(record.generations)]
    style = state.options.poll_running
    if style != "processing":
        made = [(index, each) for index, each in made if each.done]
        if not made and style == "unknown":
            return _unknown(state, record, question)
    now = anyio.current_time()
    return [_generation_unit(state, record, index, each, now) for index, each in made]


# getResponse


def _polled(state: ServerState, record: AcceptedTask) -> bool:
    return record.method == "async" or state.options.poll_sync_tasks


def _generation_unit(
    state: ServerState, record: AcceptedTask, index: int, generation: Generation, now: float
) -> Unit:
    options = state.options
    if generation.item is not None:
        return Unit(Kind.ANSWER, {**generation.item, "status": "success"})
    if generation.error is not None and options.poll_errors == "errors":
        error = {**generation.error, "taskType": "getResponse"}
        error = _typed(error, record.task["taskType"], options.poll_error_type)
        return Unit(Kind.ANSWER, error, is_error=True)
    item: Item = {"taskType": record.task["taskType"], "taskUUID": record.uuid}
    style = options.result_index
    if style == "always" or (style == "many" and len(record.generations) > 1):
        item["resultIndex"] = index
    if generation.error is not None:
        item["status"] = "error"
        item["error"] = generation.error
    else:
        item["status"] = "processing"
        item["progress"] = generation.progress(now)
    return Unit(Kind.ANSWER, item)


# getTaskDetails


def _runs(state: ServerState, record: AcceptedTask) -> bool:
    """Whether the archive has no end of it yet."""
    return not record.done or anyio.current_time() < record.finished_at + state.options.archive_lag


def _keeps(state: ServerState, record: AcceptedTask) -> bool:
    """Whether the refusal of a copy stands in the place of the answer."""
    style = state.options.archive_keeps
    kept = style == "for-good" or (style == "while-running" and _runs(state, record))
    return kept and record.refused


def _hidden(state: ServerState, record: AcceptedTask) -> bool:
    """Whether the archive does not let on that there is such a task."""
    if state.faults.archive_denied:
        return True
    running = _runs(state, record) and not _keeps(state, record)
    return running and state.options.details_while_running == "not-found"


def _details(state: ServerState, record: AcceptedTask | None, question: Item) -> list[Unit]:
    """The archived request and response."""
    if record is None or _hidden(state, record):
        return _unknown(state, record, question)
    listed = [record]
    if state.options.archive_array:
        # What was asked for stands where it stood: nowhere in particular.
        listed = [each for each in record.array if each is record or not _runs(state, each)]
    item: Item = {
        "taskType": "getTaskDetails",
        "taskUUID": record.uuid,
        "request": [each.task for each in (record.array if len(listed) > 1 else listed)],
    }
    if _keeps(state, record):
        conflict = task_error("conflictTaskUUID", "This taskUUID was used before.", record.task)
        item["response"] = {"errors": [conflict]}
    elif _runs(state, record) and state.options.details_while_running == "status":
        del item["request"]
        item["status"] = "processing"
    elif _runs(state, record):
        item |= {"status": "processing", "response": {"data": _kept(state, [record])}}
    else:
        item["response"] = _listing(state, listed)
    item = _typed(item, record.task["taskType"], state.options.details_type)
    return [Unit(Kind.ANSWER, item)]


def _listing(state: ServerState, records: Sequence[AcceptedTask]) -> Item | list[Item]:
    errors = [made.error for each in records for made in each.generations if made.error]
    data, form = _kept(state, records), state.options.archive_pieces
    if form in ("items", "frames") and any(each.pieces for each in records):
        listed: list[Item] = data if form == "items" else [{"data": [each]} for each in data]
        return [*listed, {"errors": errors}] if errors else listed
    frame: Item = {"data": data} if data or not errors else {}
    return {**frame, "errors": errors} if errors else frame


def _kept(state: ServerState, records: Iterable[AcceptedTask]) -> list[Item]:
    """The items as the archive has them."""
    field = state.options.archive_field
    more = {field: "kept"} if field is not None else {}
    return [{**item, **more} for record in records for item in _items(state, record)]


def _items(state: ServerState, record: AcceptedTask) -> list[Item]:
    whole = [made.item for made in record.generations if made.item is not None]
    form = state.options.archive_pieces
    if form is None or not record.pieces:
        return whole
    if form == "before":
        return [*whole, *record.pieces]
    return [*record.pieces, *whole] if form == "behind" else record.pieces
