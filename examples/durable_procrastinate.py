"""A procrastinate job that pays once for each call, although it may be run more than once.

procrastinate records the end of a job after it has ended. A worker that dies before that leaves a
stalled job, which is run again from its beginning. With the job's id in the keys, the second run
gets the answers of the first. Jobs and journal are in one PostgreSQL here. The worker is killed
with SIGKILL wherever it stands, and started again until the job of 20 calls has ended.

Run it as ``python examples/durable_procrastinate.py postgresql://USER@HOST/DATABASE`` on an empty
database, with ``pip install procrastinate``. It exits with 1 unless everything is right.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile

from _crashes import FAST_MODEL, NOTHING, STEPS, prompt_of, show
from anyio import Path
from procrastinate import App, Blueprint, JobContext, PsycopgConnector

from runware_ws import Client, TextInference

client: Client
"""One for all jobs."""

# It warns of tasks in a program's own file. Theirs have a name that does not depend on the file.
logging.getLogger("procrastinate").setLevel(logging.ERROR)

jobs = Blueprint()


@jobs.task(name="agent", pass_context=True)
async def agent(context: JobContext, *, folder: str) -> None:
    """20 calls, each of which needs the one before."""
    answer: str = NOTHING
    for step in range(1, STEPS + 1):
        task = TextInference.prompt(prompt_of(step, answer))
        result = await client.run(task, key=f"job-{context.job.id}/step-{step}")
        answer = result.text or ""
    await Path(folder, "answer").write_text(answer)


def queue_in(database: str) -> App:
    """The queue of jobs in this database."""
    queue = App(connector=PsycopgConnector(conninfo=database))
    queue.add_tasks_from(jobs, namespace="examples")
    return queue


async def work(database: str, folder: str) -> str:
    """The process that is killed."""
    global client
    queue = queue_in(database)
    async with queue.open_async(), Client(journal=database, **FAST_MODEL) as client:
        print("at work", flush=True)
        # No other worker is alive here. Where there are others, wait for the default of 30 s.
        for job in await queue.job_manager.get_stalled_jobs(seconds_since_heartbeat=0):
            await queue.job_manager.retry_job(job)
        await queue.run_worker_async(wait=False, install_signal_handlers=False)
    return await Path(folder, "answer").read_text()


async def prepare(database: str, folder: str) -> None:
    """Create the queue, and put the job into it."""
    queue = queue_in(database)
    async with queue.open_async():
        await queue.schema_manager.apply_schema_async()
        await queue.configure_task("examples:agent").defer_async(folder=folder)


async def begin(database: str, folder: str) -> bool:
    """Let workers crash over one job."""
    await prepare(database, folder)
    right: bool = await show(__file__, database, folder)
    return right


def main() -> None:
    if len(sys.argv) == 3:
        print(asyncio.run(work(*sys.argv[1:])))
        return
    if len(sys.argv) != 2:
        raise SystemExit("usage: durable_procrastinate.py postgresql://USER@HOST/DATABASE")
    with tempfile.TemporaryDirectory() as folder:
        right = asyncio.run(begin(sys.argv[1], folder))
    if not right:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
