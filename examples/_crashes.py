"""A worker that is killed at random, and started again, until its agent has come to its end.

The agent has 20 steps, and each step's prompt holds the answer of the step before: one wrong or
lost answer would spoil all that come after it. The worker always talks to a local emulator, even
where ``RUNWARE_API_KEY`` is set: only that can say how often it was asked. The worker itself
takes its address from ``RUNWARE_WS_URL``, as any client does.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
import zlib
from subprocess import PIPE, Popen, TimeoutExpired
from typing import TypedDict

from runware_ws.emulator import Emulator, Request

__all__ = ["FAST_MODEL", "NOTHING", "STEPS", "Times", "prompt_of", "show"]

STEPS = 20
NOTHING = "nothing yet"
"""What the step before the first has given."""

FIRST_LIFE, GROWTH = 0.25, 2.0
"""The first life ends within so many seconds of the first line that the worker prints, which is too
short for 20 steps. Each may be twice as long as the one before, so that one is long enough."""


class Times(TypedDict):
    """Options of a client."""

    usual_duration: float
    resend_after: float
    poll_first: float


FAST_MODEL: Times = {"usual_duration": 0.3, "resend_after": 0.3, "poll_first": 0.03}
"""For a model that answers within 50 ms, as the emulator does. A real one needs none of these."""


def prompt_of(step: int, answer: str) -> str:
    """What a step asks; ``answer`` is that of the step before."""
    return f"Step {step} of {STEPS}. The step before gave: {answer}"


def answer_to(prompt: str) -> str:
    """What the "model" says."""
    return f"{zlib.crc32(prompt.encode()):08x}"


def right_answer() -> str:
    """The end of a run in which nothing goes wrong, by a reckoning without any wire."""
    answer = NOTHING
    for step in range(1, STEPS + 1):
        answer = answer_to(prompt_of(step, answer))
    return answer


async def show(*worker: str) -> bool:
    """Let the worker crash until it ends, and print a table; tells whether all went right.

    ``worker`` is a Python program and its arguments. It prints one line when it is at work, and
    the agent's last answer at its end.
    """
    key = "key-of-the-local-emulator"
    async with Emulator(api_key=key, latency="5ms-50ms") as emulator:

        @emulator.reply("textInference")
        def model(request: Request) -> str:
            return answer_to(request.task["messages"][0]["content"])

        environment = {**os.environ, "RUNWARE_API_KEY": key, "RUNWARE_WS_URL": emulator.url}
        began = time.perf_counter()
        kills, printed = await asyncio.to_thread(_crash_until_it_ends, worker, environment)
        seconds = time.perf_counter() - began
        executed, twice = emulator.stats.executed, len(emulator.stats.executed_twice)

    right = printed == [right_answer()]
    print(f"killed          {kills} times, in {seconds:.1f} s")
    print(f"last answer     {'right' if right else f'wrong: {printed}'}")
    print(f"executions      {executed} for {STEPS} steps")
    print(f"executed twice  {twice}")
    return right and executed == STEPS and not twice


def _crash_until_it_ends(
    worker: tuple[str, ...], environment: dict[str, str]
) -> tuple[int, list[str]]:
    """Kill it with SIGKILL at a random moment; again and again, until it ends by itself.

    Returns how often it was killed, and the lines that its last life printed behind the first.
    """
    kills = 0
    while True:
        # Without a buffer of ours, so that nothing is read behind the first line yet.
        with Popen([sys.executable, *worker], stdout=PIPE, bufsize=0, env=environment) as process:
            assert process.stdout is not None
            process.stdout.readline()  # It is at work.
            life = random.uniform(0, FIRST_LIFE * GROWTH**kills)
            try:
                printed, _ = process.communicate(timeout=life)
            except TimeoutExpired:
                process.kill()
                kills += 1
                continue
        if process.returncode != 0:
            raise SystemExit(f"the worker ended with {process.returncode}")
        return kills, printed.decode().splitlines()
