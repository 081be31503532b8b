"""A local server that speaks Runware's protocol, with faults on order.

It takes tasks over a WebSocket, and over HTTP on the same port where ``h11`` is installed.

It shares no code with the client, so that a wrong idea cannot hide in both. ::

    async with Emulator(api_key="k", latency="50ms") as emulator:
        client = AnyClient(url=emulator.url, api_key="k")
        emulator.faults.cut_every(1.0)
        ...
        assert emulator.stats.executed_twice == []

:class:`EmulatorOptions` has one entry for each thing about the real server that nobody
outside can know; :class:`Faults` has one method for each thing that can go wrong.
:class:`EmulatorProcess` runs one in a process of its own.
"""

from __future__ import annotations

from .calls import expected_arguments
from .control_http import has_h11
from .faults import Faults
from .latency import Latency, parse_duration, parse_latency
from .options import EmulatorOptions
from .orders import KNOWN_ORDERS, apply_fault_order
from .process import EmulatorProcess
from .replies import ReplyError, Request, expected_text
from .running import serve
from .script_file import EmulatorScript, load_script, read_script
from .server import Emulator
from .stats import Stats

__all__ = [
    "KNOWN_ORDERS",
    "Emulator",
    "EmulatorOptions",
    "EmulatorProcess",
    "EmulatorScript",
    "Faults",
    "Latency",
    "ReplyError",
    "Request",
    "Stats",
    "apply_fault_order",
    "expected_arguments",
    "expected_text",
    "has_h11",
    "load_script",
    "parse_duration",
    "parse_latency",
    "read_script",
    "serve",
]
