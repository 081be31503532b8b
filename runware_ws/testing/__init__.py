"""A test kit: say what Runware answers, and be told what it was asked.

:class:`ScriptedEmulator` is a real local server in a thread, for code on any event loop or on
none. :class:`MemoryServer` is the same server without sockets, so that it also runs in virtual
time. Both are scripted alike, and both fail where they were asked something that nobody expected.

With pytest, the fixtures ``runware_emulator`` and ``runware_client`` are there without an import.
Nothing in here needs pytest.
"""

from __future__ import annotations

from runware_ws.emulator import EmulatorOptions, Faults, Latency, ReplyError, Stats, expected_text
from runware_ws.testing.answers import error, tool_call, tool_calls
from runware_ws.testing.asked import Asked
from runware_ws.testing.emulated import ScriptedEmulator
from runware_ws.testing.expectation import Expectation
from runware_ws.testing.memory import MemoryServer, virtual_time
from runware_ws.testing.network import MemoryNetwork, MemorySocket
from runware_ws.testing.scripted import TEST_KEY, ClientFactory, Scripted

__all__ = [
    "TEST_KEY",
    "Asked",
    "ClientFactory",
    "EmulatorOptions",
    "Expectation",
    "Faults",
    "Latency",
    "MemoryNetwork",
    "MemoryServer",
    "MemorySocket",
    "ReplyError",
    "Scripted",
    "ScriptedEmulator",
    "Stats",
    "error",
    "expected_text",
    "tool_call",
    "tool_calls",
    "virtual_time",
]
