"""A step of a DBOS workflow that is paid once, although DBOS runs it at least once.

DBOS records what a step returned after it has returned. A worker that dies in between runs the step
again, and pays again. With the step's own id as the key, the second run gets the answer of the
first. Here the worker is killed with SIGKILL wherever it stands, and started again until the
workflow of 20 steps has ended.

Run it as ``python examples/durable_dbos.py``, with ``pip install dbos``. It exits with 1 unless
everything is right.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from _crashes import FAST_MODEL, NOTHING, STEPS, prompt_of, show
from dbos import DBOS, SetWorkflowID

from runware_ws import SyncClient, TextInference

client: SyncClient
"""One for all steps, in all threads."""


@DBOS.step()
def ask(prompt: str) -> str:
    """One paid call. Its key is the same in each run of this step, and of no other step."""
    key = f"{DBOS.workflow_id}/{DBOS.step_id}"
    return client.run(TextInference.prompt(prompt), key=key).text or ""


@DBOS.workflow()
def agent() -> str:
    """20 steps, each of which needs the one before."""
    answer: str = NOTHING
    for step in range(1, STEPS + 1):
        answer = ask(prompt_of(step, answer))
    return answer


def work(folder: Path) -> str:
    """The process that is killed: the engine's own database, and our journal beside it."""
    global client
    DBOS(
        config={
            "name": "agents",
            "system_database_url": f"sqlite:///{folder / 'dbos.db'}",
            "log_level": "ERROR",
        }
    )
    with SyncClient(journal=folder / "journal.db", **FAST_MODEL) as client:
        # Also goes on with what a dead worker left.
        DBOS.launch()
        print("at work", flush=True)
        try:
            with SetWorkflowID("agent-7"):
                return DBOS.start_workflow(agent).get_result()
        finally:
            DBOS.destroy()


def main() -> None:
    if len(sys.argv) == 2:
        print(work(Path(sys.argv[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        right = asyncio.run(show(__file__, folder))
    if not right:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
