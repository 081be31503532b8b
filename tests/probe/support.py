"""An emulator and a lab that wait for tenths of a second where the live ones take minutes."""

from __future__ import annotations

from typing import Any

from runware_ws._io.keys import KeySource
from runware_ws.config import Config
from runware_ws.emulator import Emulator, EmulatorOptions
from runware_ws.probe import QUESTIONS, Lab, Pace, Question, Verdict

KEY = "a-key-that-must-not-leak"
LATENCY = 0.05
PACE = Pace(
    answer=0.4, task=0.8, away=0.1, quiet=0.06, buffer=0.2, idle=0.24, margin=0.1, step=0.02
)


def named(name: str) -> Question[Any]:
    """The question of this name."""
    return next(question for question in QUESTIONS if question.name == name)


def emulator(**options: Any) -> Emulator:
    """A server with these choices, and short waits."""
    short: dict[str, Any] = {"dying_window": 0.4}
    return Emulator(KEY, latency=LATENCY, options=EmulatorOptions(**{**short, **options}))


def lab_of(server: Emulator) -> Lab:
    """A lab in front of a server."""
    return Lab(server.url, KeySource(KEY), Config(), PACE)


async def verdict_of(name: str, server: Emulator) -> Verdict:
    """Ask one question."""
    return await named(name).ask(lab_of(server))
