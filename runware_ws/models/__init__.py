"""Requests, results and errors of the wire. No I/O, except ``data_uri``, which reads a file."""

from runware_ws.models.error_codes import ErrorFamily, family, retryable
from runware_ws.models.files import data_uri
from runware_ws.models.results import RecoveredBy, Result, ResultItem
from runware_ws.models.text_inference import (
    HAIKU_MODEL,
    Cache,
    Inputs,
    Message,
    Settings,
    TextInference,
    Tool,
    ToolChoice,
)
from runware_ws.models.timing import Timing
from runware_ws.models.tool_calls import ToolCall
from runware_ws.models.usage import Usage
from runware_ws.models.utility import (
    AuthenticationTask,
    GetResponseTask,
    GetTaskDetailsTask,
    PingTask,
)
from runware_ws.models.validation import ValidatedTask, validate_task
from runware_ws.models.wire_errors import WireError, parse_errors, parse_item_error

__all__ = [
    "HAIKU_MODEL",
    "AuthenticationTask",
    "Cache",
    "ErrorFamily",
    "GetResponseTask",
    "GetTaskDetailsTask",
    "Inputs",
    "Message",
    "PingTask",
    "RecoveredBy",
    "Result",
    "ResultItem",
    "Settings",
    "TextInference",
    "Timing",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "Usage",
    "ValidatedTask",
    "WireError",
    "data_uri",
    "family",
    "parse_errors",
    "parse_item_error",
    "retryable",
    "validate_task",
]
