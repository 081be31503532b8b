"""The server's errors, in all known spellings. Nothing here ever raises.

Spellings: ``{"errors": [{…}]}`` (seed); ``{"error": {…}}`` and ``{"error": [{…}]}`` (observed);
``{"error": true, "errorId": 19, "errorMessage": "…"}`` (documented, old style); and an item of
``data`` with ``status: "error"`` (documented for polling).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runware_ws.models.error_codes import ErrorFamily, family, retryable
from runware_ws.models.jsonable import is_array, is_object

__all__ = ["WireError", "asked_pause", "parse_errors", "parse_item_error"]

UNKNOWN_CODE = "unknown"


@dataclass(frozen=True, slots=True)
class WireError:
    """One error, as the server reported it.

    ``code`` is ``"unknown"`` and ``message`` is empty if the server gave none. ``parameter`` is
    a name, a tuple of names, or ``None``. ``task_uuid`` is in lower case; ``None`` means that the
    error names no task, and must not be attributed to one. ``raw`` is the object as it came.
    """

    code: str
    message: str
    parameter: str | tuple[str, ...] | None = None
    task_type: str | None = None
    task_uuid: str | None = None
    documentation: str | None = None
    raw: dict[str, Any] = field(default_factory=dict[str, Any], compare=False)

    @property
    def family(self) -> ErrorFamily:
        """The kind of trouble; see ``error_codes``."""
        return family(self.code)

    @property
    def retryable(self) -> bool:
        """Whether the same request, as a new task, is worth a retry."""
        return retryable(self.family)


def asked_pause(raw: Mapping[str, Any]) -> float | None:
    """How many seconds an error's object asks to wait (observed); ``None`` if it does not say."""
    found = next((raw[name] for name in ("retry_after", "retryAfter") if name in raw), None)
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        seconds = float(found)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < math.inf else None


def _text(source: Mapping[str, Any], *keys: str) -> str | None:
    """Return the first non-empty string (or number, as text) under ``keys``."""
    for key in keys:
        value = source.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    return None


def _parameter(value: Any) -> str | tuple[str, ...] | None:
    if isinstance(value, str):
        return value or None
    if is_array(value):
        names = tuple(name for name in value if isinstance(name, str))
        return names or None
    return None


def _code(source: Mapping[str, Any]) -> str:
    code = _text(source, "code", "errorCode")
    if code is not None:
        return code
    legacy = _text(source, "errorId")
    return UNKNOWN_CODE if legacy is None else f"legacyError{legacy}"


def _error(value: Any, frame: Mapping[str, Any], beside: dict[str, Any]) -> WireError:
    """Make an error from whatever is in an error's place; ``beside`` it stands this."""
    if not is_object(value):
        # ``true`` is the old style: the facts are next to it, in the frame itself.
        source = beside
        message = value if isinstance(value, str) else _text(source, "errorMessage", "message")
    else:
        source = value
        message = _text(source, "message", "errorMessage", "error")
    uuid = _text(source, "taskUUID") or _text(frame, "taskUUID")
    return WireError(
        code=_code(source),
        message=message or "",
        parameter=_parameter(source.get("parameter")),
        task_type=_text(source, "taskType") or _text(frame, "taskType"),
        task_uuid=uuid.lower() if uuid else None,
        documentation=_text(source, "documentation"),
        raw=source,
    )


def _beside(frame: Mapping[str, Any]) -> dict[str, Any]:
    """What a frame says beside its items and its errors. All of its errors share it."""
    return {key: value for key, value in frame.items() if key not in ("data", "errors")}


def _values(frame: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = []
    for key in ("errors", "error"):
        value = frame.get(key)
        if is_array(value):
            # An empty object in a list is still an error that the server meant to report.
            found.extend(entry for entry in value if entry is not None)
        elif value is not None and value is not False:
            found.append(value)
    return found


def parse_errors(frame: Mapping[str, Any]) -> list[WireError]:
    """Return the errors of a whole decoded frame, in order and without duplicates.

    Wrong types never raise: what cannot be read is left out of the fields and stays in ``raw``.
    Errors inside ``data`` items are not read here; see ``parse_item_error``.
    """
    if "errors" not in frame and "error" not in frame:
        return []
    # ``raw`` does not count: the same error may appear under both spellings of the key.
    errors: dict[WireError, WireError] = {}
    beside = _beside(frame)
    for value in _values(frame):
        error = _error(value, frame, beside)
        errors.setdefault(error, error)
    return list(errors)


def parse_item_error(item: Mapping[str, Any]) -> WireError | None:
    """Return the error of one ``data`` item, ``None`` if it has none.

    An item has an error if its ``status`` is ``"error"`` (documented), or if there is one under
    ``error`` or ``errors``. The error's task is the item's.
    """
    errors = parse_errors(item)
    if errors:
        return errors[0]
    if item.get("status") == "error":
        return _error(dict(item), item, {})
    return None
