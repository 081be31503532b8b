"""Load for agent backends: an open model, honest percentiles, and whether the promise was kept.

``runware-ws load`` is the same as a command; ``docs/load.md`` tells how to read a result. Needs the
extra ``load``.
"""

from __future__ import annotations

from runware_ws.load.arrivals import (
    Arrivals,
    ClosedModel,
    Segment,
    intended_starts,
    parse_rate,
    read_trace,
)
from runware_ws.load.conditions import Condition, Slo, parse_condition, parse_slo
from runware_ws.load.faults import TimedFault, parse_fault
from runware_ws.load.histogram import Histogram
from runware_ws.load.messages_url import MessagesFailed, MessagesUrl
from runware_ws.load.plan import LoadPlan, Place, Tick, check_echo
from runware_ws.load.recorder import Recorder, Sample
from runware_ws.load.report import SCHEMA
from runware_ws.load.runs import run_load, run_plan
from runware_ws.load.targets import Answer, ClientTarget, LoadTarget, MessagesTarget
from runware_ws.load.work import Agent, Caller, drawn_tasks, listed_tasks, parse_length

__all__ = [
    "SCHEMA",
    "Agent",
    "Answer",
    "Arrivals",
    "Caller",
    "ClientTarget",
    "ClosedModel",
    "Condition",
    "Histogram",
    "LoadPlan",
    "LoadTarget",
    "MessagesFailed",
    "MessagesTarget",
    "MessagesUrl",
    "Place",
    "Recorder",
    "Sample",
    "Segment",
    "Slo",
    "Tick",
    "TimedFault",
    "check_echo",
    "drawn_tasks",
    "intended_starts",
    "listed_tasks",
    "parse_condition",
    "parse_fault",
    "parse_length",
    "parse_rate",
    "parse_slo",
    "read_trace",
    "run_load",
    "run_plan",
]
