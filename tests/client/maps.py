"""Sources and ends of maps."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeVar, cast

import anyio

from runware_ws import Outcome, TextInference
from runware_ws.client.tasks import Task

T = TypeVar("T", bound=Task)


async def as_async(tasks: list[TextInference]) -> AsyncGenerator[TextInference]:
    for task in tasks:
        await anyio.lowlevel.checkpoint()
        yield task


def closing(outcomes: AsyncIterator[Outcome[T]]) -> aclosing[AsyncGenerator[Outcome[T]]]:
    """Close a map at the end of the block."""
    return aclosing(cast("AsyncGenerator[Outcome[T]]", outcomes))
