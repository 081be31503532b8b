"""``--flight``: where the gateway's recordings go, and what ``SIGUSR2`` does without it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from runware_ws.cli.exits import ExitCode, Stop, say

__all__ = ["flight_folder", "no_surprise"]


def flight_folder(folder: Path | None) -> str | None:
    """The folder, which is made if it is not there, for its owner only.

    Raises:
        Stop: nothing can be written there. It is told at the start, not when a recording is due.
    """
    if folder is None:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise Stop(ExitCode.USAGE, f"--flight {folder}: {exc.strerror}: name a folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Stop(ExitCode.USAGE, f"--flight {folder}: cannot be written: name another folder")
    return str(folder)


@contextmanager
def no_surprise(folder: str | None) -> Generator[None]:
    """Say why there is no recording where ``SIGUSR2`` would end the process, which is its default.

    With a folder that is so only until there is a client to be recorded.
    """
    number = getattr(signal, "SIGUSR2", None)
    if number is None:  # on Windows
        yield
        return
    reason = (
        "nothing is recorded: start it with --flight FOLDER"
        if folder is None
        else "there is nothing to record yet"
    )

    def handle(_number: int, _frame: object) -> None:
        # In a thread, because this may come in the midst of another line.
        threading.Thread(target=say, args=(f"SIGUSR2: {reason}",)).start()

    before = signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)
