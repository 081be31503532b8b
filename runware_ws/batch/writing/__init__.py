"""The output of a batch: one line for each line of the input, in the format that its name says.

:func:`open_output` gives a :class:`Writer`; what it writes is an :class:`AnswerEntry`.
"""

from __future__ import annotations

from runware_ws.batch.writing.base import Order, PriorAnswers, PriorError, Writer
from runware_ws.batch.writing.entries import (
    BATCH,
    COLUMNS,
    OURS,
    AnswerEntry,
    Shape,
    error_entry,
    result_entry,
    source_name,
)
from runware_ws.batch.writing.opening import FORMATS, is_begun, open_output

__all__ = [
    "BATCH",
    "COLUMNS",
    "FORMATS",
    "OURS",
    "AnswerEntry",
    "Order",
    "PriorAnswers",
    "PriorError",
    "Shape",
    "Writer",
    "error_entry",
    "is_begun",
    "open_output",
    "result_entry",
    "source_name",
]
