"""What the output says about one line of the input: as a record, as a row, in the batch shape.

The *record* is the JSON object that stands in a JSONL output, and in the side file of a table that
is not written yet::

    {"line": 3, "key": "…", "id": "a", "from": "runware", "seconds": 1.2, "result": {…}}

The *row* has the same in columns (:data:`COLUMNS`). A record of the *batch shape* is what
Anthropic's batches answer, and carries under ``runware`` what the next run needs to know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import urlsplit

from runware_ws._urls import DEFAULT_URL
from runware_ws.batch.writing.jsontext import dumps
from runware_ws.errors import (
    InvalidTask,
    OutcomeUnknown,
    RunwareError,
    TaskCancelled,
    TaskError,
    TaskTimeout,
)
from runware_ws.messages.response import to_message
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.jsonable import is_array, is_object
from runware_ws.models.results import RecoveredBy, Result
from runware_ws.models.usage import Usage

__all__ = [
    "BATCH",
    "COLUMNS",
    "EMULATOR",
    "OURS",
    "ROW",
    "RUNWARE",
    "UNNAMED",
    "AnswerEntry",
    "Bill",
    "Shape",
    "bill_of",
    "error_entry",
    "inner",
    "key_text",
    "record_of",
    "result_entry",
    "row_of",
    "source_name",
]

Shape = Literal["ours", "anthropic-batch"]
OURS: Shape = "ours"
BATCH: Shape = "anthropic-batch"
ROW: Literal["row"] = "row"
"""No shape of an output: in a side file, a row of a table may stand as a JSON object."""

RUNWARE = "runware"
EMULATOR = "emulator"

UNNAMED = "unnamed"
"""Marks a record of the batch shape whose ``custom_id`` is the line's number, for want of an id."""

_INTEGERS = 1 << 63
"""No table has larger ones."""

COLUMNS: dict[str, type] = {
    "line": int,
    "key": str,
    "id": str,
    "text": str,
    "reasoning": str,
    "tool_calls": str,
    "model": str,
    "finish_reason": str,
    "input_tokens": int,
    "output_tokens": int,
    "cost": float,
    "recovered_by": str,
    "task_uuid": str,
    "seconds": float,
    "error_type": str,
    "error_code": str,
    "error_message": str,
    "error_retryable": bool,
    "source": str,
    "raw": str,
}
"""The columns of CSV, Parquet and SQLite, in their order. Each may be null, except ``line``,
``key`` and ``source``. ``tool_calls`` and ``raw`` (all that the server sent) are JSON;
``cost`` is US dollars; ``seconds`` is the time from submission to the answer."""


@dataclass(frozen=True, slots=True)
class AnswerEntry:
    """The outcome of one line.

    ``key`` identifies the line, whatever its number. ``id`` is the name under which the line has
    its id, and the id. ``model`` is the model that the line asked for. ``seconds``: from submission
    to the answer; ``None``: not measured (an answer out of the journal). ``retry_of``: the
    taskUUID of the failed attempt that an error is of a new try of; ``None``: it was the first.
    """

    line: int
    key: int
    id: tuple[str, str | int | float] | None
    answer: Result | RunwareError
    model: str | None = None
    seconds: float | None = None
    retry_of: str | None = None


def source_name(url: str | None, *, emulate: bool = False) -> str:
    """Where answers come from, as the output notes it. ``None``: Runware itself.

    Credentials and the query of a URL stay out.
    """
    if emulate:
        return EMULATOR
    if url is None or url == DEFAULT_URL:
        return RUNWARE
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port is None else f":{parts.port}"
    name = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
    return RUNWARE if name == DEFAULT_URL else name


def key_text(key: int) -> str:
    """A line's key as it stands in every output."""
    return f"{key:016x}"


# The record


def result_entry(result: Result) -> dict[str, Any]:
    """A result: the parts that are read most, and ``raw`` with all that the server sent."""
    usage = result.usage
    entry: dict[str, Any] = {
        "text": result.text,
        "finish_reason": result.finish_reason,
        "usage": None if usage is None else usage.raw,
        "cost": result.cost,
        "recovered_by": result.recovered_by.value,
        "task_uuid": result.task_uuid,
        "raw": result.raw,
    }
    if len(result.items) > 1:
        entry["texts"] = [item.text for item in result.items]
    return entry


def error_entry(error: RunwareError, retry_of: str | None = None) -> dict[str, Any]:
    """An error. ``retryable``: the next run with the same output tries this line again."""
    if isinstance(error, TaskError):
        retryable = error.retryable
    else:
        # What is no verdict on the task itself says nothing against another try.
        retryable = not isinstance(error, InvalidTask)
    entry: dict[str, Any] = {
        "type": type(error).__name__,
        "code": getattr(error, "code", None),
        "message": error.message,
        "submitted": error.submitted.value,
        "safe_to_resend": error.safe_to_resend,
        "retryable": retryable,
        "task_uuid": error.task_uuid,
    }
    if retry_of is not None:
        entry["retry_of"] = retry_of
    if isinstance(error, TaskError):
        entry |= {
            "parameter": error.parameter,
            "documentation": error.documentation,
            "raw": error.raw,
        }
        if error.items:
            entry["items"] = list(error.items)
    return entry


def record_of(entry: AnswerEntry, source: str, shape: Shape) -> dict[str, Any]:
    """The JSON object of one line of the output."""
    if shape == BATCH:
        return _batch_record(entry, source)
    record: dict[str, Any] = {"line": entry.line, "key": key_text(entry.key)}
    if entry.id is not None:
        name, value = entry.id
        record[name] = value
    record["from"] = source
    if entry.model is not None:
        record["model"] = entry.model
    if entry.seconds is not None:
        record["seconds"] = round(entry.seconds, 6)
    if isinstance(entry.answer, Result):
        record["result"] = result_entry(entry.answer)
    else:
        record["error"] = error_entry(entry.answer, entry.retry_of)
    return record


class Bill(NamedTuple):
    """What answers cost: US dollars, and the tokens of those that tell no price. False: nothing.

    Only who runs knows what tokens cost.
    """

    dollars: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0

    def __bool__(self) -> bool:
        return any(self)

    def plus(self, other: Bill) -> Bill:
        """Both together."""
        return Bill(
            self.dollars + other.dollars,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )


def bill_of(record: dict[str, Any]) -> Bill:
    """What a record of either shape, or a row, cost: the price that it tells, else its tokens.

    A failed task's items that came before the error were billed too.
    """
    told: object
    usage: dict[str, Any] = {}
    if "source" in record:
        told, usage = record.get("cost"), record
    elif "custom_id" in record and "runware" in record:
        told = inner(record, "runware").get("cost")
        usage = inner(record, "result", "message", "usage")
    elif is_object(result := record.get("result")):
        told, usage = result.get("cost"), inner(result, "usage")
    else:
        told = _items_cost(inner(record, "error").get("items"))
    if told is not None:
        return Bill(_amount(told))
    tokens = Usage(usage)
    return Bill(0.0, tokens.input_tokens or 0, tokens.output_tokens or 0)


def inner(value: object, *way: str) -> dict[str, Any]:
    """The object there, or an empty one."""
    for name in way:
        value = value.get(name) if is_object(value) else None
    return value if is_object(value) else {}


def _items_cost(items: object) -> float:
    if not is_array(items):
        return 0.0
    return math.fsum(_amount(item.get("cost")) for item in items if is_object(item))


def _amount(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return 0.0


# The batch shape

_ERROR_TYPES = {
    ErrorFamily.AUTH: "authentication_error",
    ErrorFamily.QUOTA: "billing_error",
    ErrorFamily.RATE: "rate_limit_error",
    ErrorFamily.TIMEOUT: "timeout_error",
    ErrorFamily.NOT_FOUND: "not_found_error",
    ErrorFamily.PROVIDER: "overloaded_error",
    ErrorFamily.VALIDATION: "invalid_request_error",
    ErrorFamily.SAFETY: "invalid_request_error",
}


def _batch_record(entry: AnswerEntry, source: str) -> dict[str, Any]:
    answer = entry.answer
    beside: dict[str, Any] = {"line": entry.line, "key": key_text(entry.key), "from": source}
    if entry.seconds is not None:
        beside["seconds"] = round(entry.seconds, 6)
    if isinstance(answer, Result):
        message = to_message(answer) if entry.model is None else to_message(answer, entry.model)
        outcome: dict[str, Any] = {"type": "succeeded", "message": message}
        beside["cost"] = answer.cost
    else:
        error = error_entry(answer, entry.retry_of)
        outcome = _batch_failure(answer)
        beside["cost"] = _items_cost(error.get("items"))
        beside["error"] = error
    custom_id = f"line-{entry.line}" if entry.id is None else str(entry.id[1])
    if entry.id is None:
        beside[UNNAMED] = True
    return {"custom_id": custom_id, "result": outcome, "runware": beside}


def _batch_failure(error: RunwareError) -> dict[str, Any]:
    if isinstance(error, TaskCancelled):
        return {"type": "canceled"}
    if isinstance(error, TaskTimeout | OutcomeUnknown):
        return {"type": "expired"}
    if isinstance(error, InvalidTask):
        kind = "invalid_request_error"
    elif isinstance(error, TaskError) and error.family is not None:
        kind = _ERROR_TYPES.get(error.family, "api_error")
    else:
        kind = "api_error"
    detail = {"type": kind, "message": str(error)}
    return {
        "type": "errored",
        "error": {"type": "error", "error": detail, "request_id": error.task_uuid},
    }


# The row


def row_of(record: dict[str, Any]) -> dict[str, Any]:
    """The row of a record in our shape: every column, in order. A row is one already."""
    if "source" in record:
        return {name: record[name] for name in COLUMNS}
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"line": record.get("line"), "key": record["key"], "source": record.get("from")}
    row |= {"seconds": record.get("seconds"), "model": record.get("model")}
    for name in ("custom_id", "id", "task_id"):
        if (value := record.get(name)) is not None:
            row["id"] = value if isinstance(value, str) else dumps(value).decode()
            break
    result, error = record.get("result"), record.get("error")
    if is_object(result):
        row |= _result_columns(result)
    elif is_object(error):
        row |= _error_columns(error)
        row["cost"] = _items_cost(error.get("items")) or None
    for name, value in row.items():
        if isinstance(value, str) and not value.isascii():
            # No table format takes a lone surrogate.
            row[name] = value.encode("utf-8", "backslashreplace").decode()
        elif isinstance(value, int) and not -_INTEGERS <= value < _INTEGERS:
            row[name] = None  # Nor so long a number; ``raw`` has it.
    return row


def _result_columns(entry: dict[str, Any]) -> dict[str, Any]:
    raw = cast("list[dict[str, Any]]", entry.get("raw") or [])
    result = Result(str(entry.get("task_uuid")), raw, RecoveredBy.LIVE)
    usage = result.usage
    columns: dict[str, Any] = {
        "text": entry.get("text"),
        "reasoning": result.reasoning_content,
        "tool_calls": None,
        "finish_reason": entry.get("finish_reason"),
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "cost": entry.get("cost"),
        "recovered_by": entry.get("recovered_by"),
        "task_uuid": entry.get("task_uuid"),
        "raw": dumps(raw).decode(),
    }
    calls = raw[0].get("toolCalls") if raw else None
    if calls:
        columns["tool_calls"] = dumps(calls).decode()
    if raw and isinstance(model := raw[0].get("model"), str):
        columns["model"] = model
    return columns


def _error_columns(error: dict[str, Any]) -> dict[str, Any]:
    code = error.get("code")
    return {
        "task_uuid": error.get("task_uuid"),
        "error_type": error.get("type"),
        "error_code": None if code is None else str(code),
        "error_message": error.get("message"),
        "error_retryable": error.get("retryable"),
        "raw": dumps(error).decode(),
    }
