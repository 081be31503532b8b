"""Batches that more than one gateway runs, and batches in trouble."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from runware_ws import JournalError
from runware_ws.emulator import Emulator
from runware_ws.gateway import app, batches
from runware_ws.journal.store import Store
from runware_ws.testing.stores import MemoryJournal, MemoryStore
from tests.client.support import Gate, bounded, client_of, until
from tests.gateway.batches import (
    BATCHES,
    are_right,
    ended,
    gateway_on,
    kinds,
    lines,
    lines_ended,
    results,
)
from tests.gateway.support import BASE, Place, executions, in_process, place, published
from tests.journal.support import prune

pytestmark = pytest.mark.anyio


# More than one process


class Full(MemoryStore):
    """A store that cannot be written while it is full."""

    full = False

    @contextmanager
    def transaction(self) -> Generator[Any]:
        if self.full:
            raise JournalError("memory: the disk is full")
        with super().transaction() as transaction:
            yield transaction


@bounded
async def test_two_gateways_run_one_batch(journal: str, quick: None) -> None:
    async with Emulator(api_key=None) as emulator:
        gate = Gate(emulator)
        async with gateway_on(emulator, journal) as one:
            made = await one.anthropic().messages.batches.create(requests=lines(20))
            await until(lambda: gate.running == 20)
            async with gateway_on(emulator, journal) as other:
                # Both wait for each line: one for its own tasks, the other for those of the first.
                await until(lambda: other.gateway.turns.running == 20)
                gate.open()
                told = [await results_of(each, made.id) for each in (one, other)]
                assert told[0] == told[1]
                assert told[0].count(b"\n") == 20
                assert await kinds(other.anthropic(), made.id) == ["succeeded"] * 20
                assert are_right(await results(other.anthropic(), made.id))
        assert executions(one) == 20


async def results_of(here: Place, batch_id: str) -> bytes:
    """The results as they are sent."""
    await ended(here.anthropic(), batch_id)
    answer = await here.http.get(f"{BATCHES}/{batch_id}/results", headers={"x-api-key": "any"})
    return answer.content


@bounded
async def test_a_cancel_reaches_the_gateway_that_runs_it(journal: str, quick: None) -> None:
    async with Emulator(api_key=None) as emulator:
        gate = Gate(emulator)
        async with (
            gateway_on(emulator, journal) as other,
            gateway_on(emulator, journal, max_running=1) as one,
        ):
            made = await one.anthropic().messages.batches.create(requests=lines(3))
            await until(lambda: gate.running == 1 and one.gateway.turns.waiting == 2)
            await other.anthropic().messages.batches.cancel(made.id)
            await until(lambda: not one.gateway.turns.waiting)
            gate.open()
            told = ["succeeded", "canceled", "canceled"]
            assert await kinds(one.anthropic(), made.id) == told
        assert executions(one) == 1


@bounded
async def test_a_first_look_that_comes_late_takes_nothing_that_others_began_meanwhile(
    quick: None,
) -> None:
    everything = MemoryJournal()
    store = Full(everything)
    async with (
        Emulator(api_key=None) as emulator,
        gateway_on(emulator, MemoryStore(everything), max_running=1) as one,
    ):
        gate = Gate(emulator)
        before = await one.anthropic().messages.batches.create(requests=lines(1))
        await until(lambda: gate.running == 1)
        async with gateway_on(emulator, store) as other:
            store.full = True
            made = await one.anthropic().messages.batches.create(requests=lines(3))
            await until(lambda: one.gateway.turns.waiting == 3)
            store.full = False
            # What was there when it started is gone on with; the newest is looked at first.
            await until(lambda: other.gateway.turns.running)
            assert other.gateway.turns.running == 1
            await other.anthropic().messages.batches.cancel(made.id)
            await until(lambda: not one.gateway.turns.waiting)
            gate.open()
            assert await kinds(one.anthropic(), made.id) == ["canceled"] * 3
            assert await kinds(one.anthropic(), before.id) == ["succeeded"]
        assert executions(one) == 1


@bounded
async def test_a_line_that_one_gateway_has_closed_is_not_sent_by_another(journal: str) -> None:
    """The one does not know yet that it is canceled."""
    async with (
        Emulator(api_key=None) as emulator,
        gateway_on(emulator, journal, max_running=1) as one,
    ):
        gate = Gate(emulator)
        made = await one.anthropic().messages.batches.create(requests=lines(3))
        await until(lambda: gate.running == 1)
        async with gateway_on(emulator, journal, max_running=1) as other:
            await until(lambda: other.gateway.turns.waiting)
            await other.anthropic().messages.batches.cancel(made.id)
            while await lines_ended(other) < 2:  # noqa: ASYNC110 (the journal has no event for it)
                await anyio.sleep(0.002)
            assert one.gateway.turns.waiting
            gate.open()
            told = ["succeeded", "canceled", "canceled"]
            assert await kinds(one.anthropic(), made.id) == told
            await until(lambda: not one.gateway.turns.running)
        assert executions(one) == 1


@bounded
async def test_a_mounted_gateway_goes_on_at_its_first_request(journal: str) -> None:
    async with Emulator(api_key=None) as emulator:
        gate = Gate(emulator)
        async with gateway_on(emulator, journal) as here:
            made = await here.anthropic().messages.batches.create(requests=lines(2))
            await until(lambda: gate.running == 2)
        gate.open()
        async with client_of(emulator, api_key="any", journal=journal, poll_first=0.02) as client:
            service = Starlette(routes=[Mount("/runware", app(client))])
            async with in_process(service) as http:
                asks = published(http, api_key="any").with_options(base_url=f"{BASE}/runware")
                assert await kinds(asks, made.id) == ["succeeded"] * 2
                batch = await asks.messages.batches.retrieve(made.id)
        assert batch.results_url == f"{BASE}/runware{BATCHES}/{made.id}/results"
        assert executions(here) == 2


@bounded
async def test_a_living_gateway_goes_on_with_what_another_left(
    journal: str, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator(api_key=None) as emulator:
        gate = Gate(emulator)
        async with gateway_on(emulator, journal) as other:
            async with gateway_on(emulator, journal, max_running=1) as one:
                made = await one.anthropic().messages.batches.create(requests=lines(3))
                await until(lambda: gate.running == 1)
            monkeypatch.setattr(batches, "STALE", 0.3)
            gate.open()
            assert await kinds(other.anthropic(), made.id) == ["succeeded"] * 3
        assert executions(other) == 3


# Trouble


@bounded
async def test_a_batch_outlives_trouble_with_the_journal(quick: None) -> None:
    store = Full(MemoryJournal())
    async with place(client={"journal": store}, max_running=2) as here:
        gate = Gate(here.emulator)
        asks = here.anthropic()
        made = await asks.messages.batches.create(requests=lines(4))
        await until(lambda: gate.running == 2)
        store.full = True
        gate.open()
        with pytest.raises(anthropic.InternalServerError, match="the disk is full"):
            await asks.messages.batches.retrieve(made.id)
        await anyio.sleep(0.1)
        store.full = False
        assert await kinds(asks, made.id) == ["succeeded"] * 4
        assert executions(here) == 4


@bounded
async def test_a_line_whose_end_is_unknown_says_so(journal: str, quick: None) -> None:
    async with place(client={"journal": journal, "resubmit": "never"}, timeout=0.5) as here:
        here.emulator.faults.drop_requests()
        asks = here.anthropic()
        made = await asks.messages.batches.create(requests=lines(1))
        await until(lambda: here.gateway.turns.running == 1)
        await anyio.sleep(0.1)
        here.emulator.faults.cut(reset=True)
        assert await kinds(asks, made.id) == ["errored"]
        error = (await results(asks, made.id))["c0"].error
        assert error.error.type == "timeout_error"
        assert error.runware["error"] == "OutcomeUnknown"


@bounded
async def test_a_line_waits_for_the_servers_limit_of_rate(journal: str, quick: None) -> None:
    async with place(client={"journal": journal}) as here:
        here.emulator.faults.inject_error("rateLimitExceeded", "Slow down.", times=8)
        asks = here.anthropic()
        made = await asks.messages.batches.create(requests=lines(1))
        assert await kinds(asks, made.id) == ["succeeded"]
        assert here.emulator.stats.errors_sent == 8


@bounded
async def test_a_line_that_the_server_fails_harms_no_other(journal: str, quick: None) -> None:
    async with place(client={"journal": journal}) as here:
        here.emulator.faults.inject_error("invalidModel", "No such model.", stage="execute")
        asks = here.anthropic()
        made = await asks.messages.batches.create(requests=lines(3))
        assert sorted(await kinds(asks, made.id)) == ["errored", "succeeded", "succeeded"]


@bounded
async def test_nothing_of_a_batch_is_pruned_while_it_runs(tmp_path: Path) -> None:
    from runware_ws.journal.sqlite import SqliteStore

    path = tmp_path / "gateway.db"

    def forget(emulator: Emulator) -> None:
        store: Store = SqliteStore(path)
        assert prune(store, emulator.url, time.time())

    async with Emulator(api_key=None) as emulator:
        async with gateway_on(emulator, str(path)) as here:
            asks = here.anthropic()
            gate = Gate(emulator)
            made = await asks.messages.batches.create(requests=lines(2))
            await until(lambda: gate.running == 2)
            forget(emulator)
        gate.open()
        async with gateway_on(emulator, str(path)) as here:
            asks = here.anthropic()
            assert await kinds(asks, made.id) == ["succeeded"] * 2
            forget(emulator)
            with pytest.raises(anthropic.NotFoundError, match="kept no more"):
                await asks.messages.batches.retrieve(made.id)
            assert (await asks.messages.batches.list()).data == []
            assert executions(here) == 2
