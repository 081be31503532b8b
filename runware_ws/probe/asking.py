"""Asking the server about a task, and telling the answer from what else comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runware_ws.models import WireError
from runware_ws.probe.lab import Bench, Socket, has_output

__all__ = ["Reply", "archived", "ask", "ask_for"]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a question about a task: ``item`` or ``error``; neither: none came.

    ``empty``: an answer without anything in it came, which names nobody.
    """

    item: dict[str, Any] | None = None
    error: WireError | None = None
    empty: bool = False

    @property
    def words(self) -> str:
        """The answer in short."""
        if self.error is not None:
            return self.error.code
        if self.empty:
            return "an empty answer"
        if self.item is None:
            return "silence"
        return f"status {self.item['status']!r}" if "status" in self.item else "an answer"


async def ask(
    socket: Socket,
    kind: str,
    uuid: str,
    limit: float,
    receipts: Sequence[dict[str, Any]] = (),
) -> Reply:
    """Ask about a task. Its own result, which may come in between, is no answer.

    Nor is a copy of one of its ``receipts``.
    """
    done = bool(socket.results(uuid))

    def mine(item: dict[str, Any]) -> bool:
        if item in receipts:
            return False
        if kind == "getTaskDetails":
            return item.get("taskType") == kind or "request" in item or "response" in item
        return done or "status" in item or not has_output(item)

    return await ask_for(socket, kind, uuid, limit, mine)


async def ask_for(
    socket: Socket, kind: str, uuid: str, limit: float, mine: Callable[[dict[str, Any]], bool]
) -> Reply:
    """Ask about a task; ``mine`` tells which of its items is the answer."""
    start = len(socket.frames)
    await socket.send({"taskType": kind, "taskUUID": uuid})

    def answer() -> Reply:
        for seen in socket.frames[start:]:
            if seen.is_empty:
                return Reply(empty=True)
            for item in seen.of(uuid):
                if mine(item):
                    return Reply(item=item)
            error = seen.error_of(uuid)
            if error is not None:
                return Reply(error=error)
        return Reply()

    await socket.listen(limit, lambda: answer() != Reply())
    return answer()


async def archived(bench: Bench, socket: Socket, uuid: str, since: float) -> Reply:
    """The archive's entry of a task that ended at ``since``, once it is there."""
    pace = bench.pace
    while True:
        reply = await ask(socket, "getTaskDetails", uuid, pace.answer)
        if reply.item is not None or bench.now() - since > pace.answer:
            return reply
        await socket.listen(pace.step)
