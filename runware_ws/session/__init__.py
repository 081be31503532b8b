"""The sans-I/O core: states, transitions, routing, recovery. Read ``core.py`` first."""

from runware_ws.session.core import SessionCore
from runware_ws.session.record import TaskRecord
from runware_ws.session.states import ConnectionState, TaskState

__all__ = ["ConnectionState", "SessionCore", "TaskRecord", "TaskState"]
