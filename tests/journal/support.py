"""What the tests of the journal share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runware_ws import Client, JournalError, TaskHandle
from runware_ws.client.tasks import Task
from runware_ws.emulator import Emulator, Request, expected_text
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.store import Entry, Store
from runware_ws.testing.stores import MemoryStore
from tests.client.support import client_of

__all__ = ["Ledger", "Unsure", "begun", "keyed_client", "prune", "rows"]


class Ledger:
    """What the server executed: the taskUUIDs, by prompt."""

    def __init__(self, emulator: Emulator) -> None:
        self.uuids: dict[str, list[str]] = defaultdict(list)
        emulator.reply("textInference")(self._reply)

    def _reply(self, request: Request) -> str:
        self.uuids[request.prompt].append(request.task_uuid)
        return expected_text(request.prompt, request.task_uuid, request.index)


def keyed_client(emulator: Emulator, journal: Path | Store, **options: Any) -> Client:
    """A quick client with a journal."""
    return client_of(emulator, journal=journal, **{"poll_first": 0.02, **options})


def rows(path: Path, target: str) -> list[Entry]:
    """What is in the journal, read by an owner of its own."""
    store = SqliteStore(path)
    store.open(target, 0.0)
    try:
        with store.transaction() as transaction:
            return list(transaction.entries())
    finally:
        store.close()


def begun(client: Client, task: Task, **options: Any) -> TaskHandle:
    """A task is submitted, and its handle is here before there is room for it."""
    return client.begin(task, options.pop("timeout", 50.0), **options)


def prune(store: Store, target: str, before: float = 0.0) -> int:
    """Forget what may be forgotten, by an owner of its own."""
    store.open(target, 0.0)
    try:
        with store.transaction() as work:
            return work.prune(before, 0)
    finally:
        store.close()


class Unsure(MemoryStore):
    """A database whose connection breaks after each second commit, before that is heard."""

    commits = 1  # So that it can be opened.

    @contextmanager
    def transaction(self) -> Generator[Any]:
        with super().transaction() as transaction:
            yield transaction
        self.commits += 1
        if self.commits % 2:
            raise JournalError("memory: away", temporary=True, in_doubt=True)
