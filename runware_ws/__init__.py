"""One long-lived, authenticated socket to Runware that loses nothing and runs nothing twice."""

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._core.states import ConnectionState, TaskState
from runware_ws._io.feed import EventStream
from runware_ws._io.transport.base import Dial, HttpPost, NotSent, Transport, TransportLost
from runware_ws._version import __version__
from runware_ws.batch.run import run_file
from runware_ws.batch.run_report import RunReport
from runware_ws.classify import Loss, LossKind, Verdict
from runware_ws.client.client import Client, DrainReport
from runware_ws.client.handle import TaskHandle
from runware_ws.client.mapping import Outcome
from runware_ws.client.recovered import Recovered
from runware_ws.client.streams import TaskStream
from runware_ws.client.sync import SyncClient, SyncTaskStream
from runware_ws.config import DEFAULT_URL, Config
from runware_ws.errors import (
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    Fenced,
    HttpRefused,
    InvalidTask,
    JournalError,
    KeyConflict,
    OutcomeUnknown,
    OutputError,
    ProtocolError,
    RunwareError,
    StreamInterrupted,
    Submitted,
    TaskCancelled,
    TaskError,
    TaskTimeout,
)
from runware_ws.models import (
    HAIKU_MODEL,
    Cache,
    ErrorFamily,
    Inputs,
    Message,
    RecoveredBy,
    Result,
    ResultItem,
    Settings,
    TextInference,
    Timing,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
    data_uri,
)
from runware_ws.models.delta import Delta, ToolCallPiece
from runware_ws.stats import Stats

__all__ = [
    "DEFAULT_URL",
    "HAIKU_MODEL",
    "AuthenticationError",
    "Cache",
    "Client",
    "ClientClosed",
    "Config",
    "ConfigurationError",
    "ConnectionFailed",
    "ConnectionState",
    "Delta",
    "Dial",
    "DrainReport",
    "Ending",
    "ErrorFamily",
    "EventStream",
    "Fenced",
    "HttpPost",
    "HttpRefused",
    "Inputs",
    "InvalidTask",
    "JournalError",
    "KeyConflict",
    "Loss",
    "LossKind",
    "Message",
    "NotSent",
    "Outcome",
    "OutcomeUnknown",
    "OutputError",
    "PostEnding",
    "ProtocolError",
    "Recovered",
    "RecoveredBy",
    "Result",
    "ResultItem",
    "RunReport",
    "RunwareError",
    "Settings",
    "Stats",
    "StreamInterrupted",
    "Submitted",
    "SyncClient",
    "SyncTaskStream",
    "TaskCancelled",
    "TaskError",
    "TaskHandle",
    "TaskState",
    "TaskStream",
    "TaskTimeout",
    "TextInference",
    "Timing",
    "Tool",
    "ToolCall",
    "ToolCallPiece",
    "ToolChoice",
    "Transport",
    "TransportLost",
    "Usage",
    "Verdict",
    "__version__",
    "data_uri",
    "run_file",
]
