"""Lines of the batch format, translated: ``{"custom_id": …, "params": {…}}``.

``params`` is a Messages request in the Anthropic style; :mod:`runware_ws.messages` translates it.
"""

from __future__ import annotations

from typing import Any, cast

from runware_ws import InvalidTask
from runware_ws.messages import is_haiku, to_task

__all__ = ["LineError", "haiku_name", "task_of_params"]

haiku_name = is_haiku


class LineError(ValueError):
    """A line that no task can be made of. The message says what and where."""


def task_of_params(value: object) -> dict[str, Any]:
    """Translate the ``params`` of a batch line into a task in the wire's spelling.

    Raises:
        LineError: a parameter, block or model that Haiku on Runware does not take.
    """
    if not isinstance(value, dict):
        raise LineError("params: must be an object")
    params = cast("dict[str, Any]", value)
    if "model" not in params:
        raise LineError("params.model: is required")
    if params.get("stream"):
        raise LineError("params.stream: a line of a file gets its answer whole: leave it out")
    try:
        wire = to_task(params).to_wire()
    except InvalidTask as error:
        raise LineError("; ".join(f"params.{problem}" for problem in error.problems)) from None
    # The run gives it, so that a second run of the same line can ask for the first.
    del wire["taskUUID"]
    return wire
