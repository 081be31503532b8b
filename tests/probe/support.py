"""An emulator in memory, and a lab before it at the pace of the live service, in virtual time."""

from __future__ import annotations

from typing import Any

from runware_ws._io.keys import KeySource
from runware_ws.config import Config
from runware_ws.emulator import EmulatorOptions
from runware_ws.probe import QUESTIONS, Lab, Pace, Question, Verdict
from runware_ws.testing.memory import SocketlessEmulator

KEY = "a-key-that-must-not-leak"
LATENCY = 3.0
PACE = Pace()


def named(name: str) -> Question[Any]:
    """The question of this name."""
    return next(question for question in QUESTIONS if question.name == name)


def emulator(**options: Any) -> SocketlessEmulator:
    """A server with these choices."""
    return SocketlessEmulator(KEY, latency=LATENCY, options=EmulatorOptions(**options))


def lab_of(server: SocketlessEmulator) -> Lab:
    """A lab in front of a server."""
    return Lab(server.url, KeySource(KEY), Config(), PACE, server.dial)


async def verdict_of(name: str, server: SocketlessEmulator) -> Verdict:
    """Ask one question."""
    return await named(name).ask(lab_of(server))
