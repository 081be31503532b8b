"""What ``/health/ready`` says: whether a request that comes now is taken."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, cast

import pytest

from runware_ws import JournalError
from runware_ws.emulator import Emulator
from runware_ws.gateway import app
from runware_ws.testing.stores import MemoryJournal, MemoryStore
from tests.client.support import bounded, client_of
from tests.gateway.support import in_process, place, request
from tests.journal.test_suspend import Suspended

pytestmark = pytest.mark.anyio


@bounded
async def test_a_client_that_is_not_started_is_not_ready() -> None:
    async with Emulator(api_key=None) as emulator, AsyncExitStack() as stack:
        client = client_of(emulator)
        http = await stack.enter_async_context(in_process(app(client)))
        ready = await http.get("/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "not started"})
        assert (await http.get("/health/live")).status_code == 200
        await stack.enter_async_context(client)
        await client.ready()
        assert (await http.get("/health/ready")).status_code == 200


@bounded
async def test_who_cannot_write_its_journal_is_not_ready() -> None:
    store = MemoryStore(MemoryJournal())
    clock = Suspended()
    async with place(client={"journal": store}) as here:
        await here.client.ready()
        journal = here.client.journal
        assert journal is not None
        cast("Any", journal)._link._writer._clock = clock
        assert (await here.http.get("/health/ready")).status_code == 200
        store.trouble = JournalError("memory: the disk is full")
        refused = await here.post(request())
        assert refused.status_code == 503
        # It has tried again several times.
        clock.asleep += 15
        ready = await here.http.get("/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "no journal"})
        store.trouble = None
        await journal.verify()
        assert (await here.http.get("/health/ready")).status_code == 200
        assert (await here.post(request())).status_code == 200
