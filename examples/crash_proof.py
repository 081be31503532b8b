"""An agent of 20 steps that is killed at random, again and again, and still pays for 20 answers.

It runs in a process of its own, which is killed with SIGKILL wherever it stands, and started again
until it comes to its end. A journal keeps what was asked and what was answered, and each step has a
key: that is all the agent has to do for it.

Run it as ``python examples/crash_proof.py``. It exits with 1 unless everything is right.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from _crashes import FAST_MODEL, NOTHING, STEPS, prompt_of, show

from runware_ws import Client, TextInference


async def agent(client: Client, name: str) -> str:
    """20 steps, each of which needs the one before. Nothing here knows about crashes."""
    answer: str = NOTHING
    for step in range(1, STEPS + 1):
        task = TextInference.prompt(prompt_of(step, answer))
        result = await client.run(task, key=f"{name}/step-{step}")
        answer = result.text or ""
    return answer


async def work(journal: str) -> None:
    """The process that is killed. It does the same in each of its lives."""
    async with Client(journal=journal, **FAST_MODEL) as client:
        print("at work", flush=True)
        print(await agent(client, "agent-7"))


def main() -> None:
    if len(sys.argv) == 2:
        asyncio.run(work(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        right = asyncio.run(show(__file__, str(Path(folder) / "agents.db")))
    if not right:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
