"""The processes of a run: one responder, and one contender at a time."""

from __future__ import annotations

import importlib.util
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from websockets.sync.client import ClientConnection, connect

from benchmarks.contenders import Entry
from benchmarks.memory import resident
from benchmarks.tasks import KEY
from benchmarks.workloads import Phase, Workload

__all__ = ["ContenderFailed", "Responder", "available", "responder", "run_contender"]

ROOT = Path(__file__).parent.parent
POLL = 0.02
STUCK = 3.0
"""A contender that brings no further task for this many seconds is answered all the same."""
CUT_AFTER = 0.3
"""How long the loop is left alone between the last task and the cut, in seconds."""

Figures = dict[str, Any]


class ContenderFailed(RuntimeError):
    """A contender broke, or took too long."""


def available(entry: Entry) -> bool:
    """Whether the contender's own extra is installed."""
    return entry.extra is None or importlib.util.find_spec(entry.extra) is not None


class Responder:
    """The responder, from the parent's side."""

    def __init__(self, url: str, control: ClientConnection) -> None:
        self.url = url
        self._control = control

    def order(self, order: str, **options: Any) -> Figures:
        """Give an order; its figures since it was armed."""
        self._control.send(json.dumps({"order": order, **options}))
        figures: Figures = json.loads(self._control.recv(timeout=60))
        return figures


@contextmanager
def responder() -> Generator[Responder]:
    """Start a responder, and end it."""
    command = [sys.executable, "-m", "benchmarks.responder"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = f"ws://127.0.0.1:{int(_line(process.stdout, 20))}"
        with connect(f"{address}/control", proxy=None, ping_interval=None) as control:
            found = Responder(f"{address}/v1", control)
            yield found
            found.order("stop")
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait(10)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _line(stream: IO[str], limit: float) -> str:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        if not selector.select(limit):
            raise ContenderFailed(f"nothing within {limit:.0f} s")
    line = stream.readline()
    if not line:
        raise ContenderFailed("its process ended")
    return line


def _environment(folder: Path | None) -> dict[str, str]:
    environment = {name: text for name, text in os.environ.items() if "RUNWARE" not in name}
    environment["PYTHONWARNINGS"] = "ignore"
    # The older client keeps only so many requests in flight at once by itself.
    environment["RUNWARE_MAX_CONCURRENT_REQUESTS"] = "1000000"
    if folder is not None:
        environment["PYTHONPATH"] = str(folder)
    return environment


def run_contender(
    entry: Entry, workload: Workload, server: Responder, folder: Path | None
) -> list[Figures]:
    """Run one contender through one workload; the figures of each phase.

    Raises:
        ContenderFailed: it broke, or took longer than the workload's limit.
    """
    options = {
        "url": server.url,
        "key": KEY,
        "loop": entry.loop,
        "task": entry.task,
        "phases": [asdict(phase) for phase in workload.phases],
    }
    command = [
        sys.executable,
        "-m",
        f"benchmarks.contenders.{entry.module}",
        json.dumps(options),
    ]
    server.order("arm")
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=_environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )
    deadline = time.monotonic() + workload.limit
    try:
        return [_run_phase(process, phase, server, deadline) for phase in workload.phases]
    finally:
        _end(process)


def _run_phase(
    process: subprocess.Popen[str], phase: Phase, server: Responder, deadline: float
) -> Figures:
    assert process.stdin is not None
    assert process.stdout is not None
    left = deadline - time.monotonic()
    if _line(process.stdout, max(1.0, left)).strip() != "ready":
        raise ContenderFailed("it did not get ready")
    server.order(
        "arm",
        hold=phase.tasks if phase.hold else 0,
        merge=phase.merge,
        result_bytes=phase.result_bytes,
        duration=phase.duration,
    )
    before = resident(process.pid)
    process.stdin.write("go\n")
    process.stdin.flush()
    figures: Figures = {"name": phase.name}
    if phase.hold:
        figures["together"] = _wait_arrived(process, phase, server, deadline)
        figures["memory"] = (resident(process.pid) - before) / phase.tasks
        if phase.then == "answer":
            server.order("release")
        else:
            time.sleep(CUT_AFTER)
            server.order("cut", forget=phase.then == "forget")
    left = deadline - time.monotonic()
    figures |= json.loads(_line(process.stdout, max(1.0, left)))
    told = server.order("status")
    figures["responder_cpu"] = told.pop("cpu")
    figures |= told
    return figures


def _wait_arrived(
    process: subprocess.Popen[str], phase: Phase, server: Responder, deadline: float
) -> bool:
    """Wait until all tasks are in flight; False where the contender does not bring them all."""
    arrived, since = -1, time.monotonic()
    while arrived < phase.tasks:
        time.sleep(POLL)
        now = time.monotonic()
        count = server.order("status")["arrived"]
        if count != arrived:
            arrived, since = count, now
        if now > deadline or process.poll() is not None:
            raise ContenderFailed("too slow, or gone")
        if now - since > STUCK and arrived > 0:
            return False
    return True
