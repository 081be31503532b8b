"""Processes that run this package for a parent, and end with their standard input."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import Process

__all__ = ["child_environment", "end_child"]

_END = 5.0  # seconds until it must have ended
_PACKAGE_AT = str(Path(__file__).resolve().parents[2])


def child_environment(*, without: Collection[str] = ()) -> dict[str, str]:
    """That of this process, so that the same package is found; ``without`` these variables."""
    rest = {name: value for name, value in os.environ.items() if name not in without}
    path = os.pathsep.join(filter(None, (_PACKAGE_AT, os.environ.get("PYTHONPATH"))))
    return {**rest, "PYTHONPATH": path}


async def end_child(process: Process) -> None:
    """Close its standard input, and kill it if it does not end. Shielded and bounded."""
    with anyio.CancelScope(shield=True):
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            if process.stdin is not None:
                await process.stdin.aclose()
        with anyio.move_on_after(_END):
            await process.wait()
        if process.returncode is None:
            process.kill()
        # Waits for its end, and closes the pipes.
        await process.aclose()
