"""Batches of ``runware-ws serve`` as a process: cut, killed and replaced."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anthropic
import httpx2
import pytest

from runware_ws.emulator import EmulatorProcess
from tests.gateway.batches import are_right, kinds, lines, results
from tests.gateway.processes import KEY, Cuts, GatewayProcess, proxy
from tests.gateway.test_serve import accepted, journal_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The processes are what is tested."""
    return "asyncio"


@asynccontextmanager
async def client(url: str) -> AsyncGenerator[anthropic.AsyncAnthropic]:
    """The published client at its defaults, with a connection for each request."""
    limits = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(limits=limits, timeout=60, trust_env=False) as http:
        yield anthropic.AsyncAnthropic(base_url=url, api_key="any", http_client=http)


async def all_are_there(url: str, batch_id: str, number: int) -> None:
    async with client(url) as asks:
        assert await kinds(asks, batch_id) == ["succeeded"] * number
        assert are_right(await results(asks, batch_id))


class EachFirstTry(Cuts):
    """Each first try is cut: before, within or behind its answer, which the gateway has sent."""

    def decide(self, tries: int) -> int | None:
        self.made += tries == 0
        return (0, 1, 300, 1_000_000)[self.made % 4] if tries == 0 else None


@pytest.mark.slow
async def test_a_client_whose_answers_are_cut_makes_each_batch_once(tmp_path: Path) -> None:
    async with (
        EmulatorProcess(KEY, latency="10ms") as emulator,
        GatewayProcess("--url", emulator.url, "--journal", journal_in(tmp_path)) as gateway,
    ):
        cuts = EachFirstTry(seed=1, delay=0.3)
        async with proxy(lambda: gateway.port, cuts) as url, client(url) as asks:
            ids = [(await asks.messages.batches.create(requests=lines(2))).id for _ in range(4)]
        assert cuts.made == 4
        assert len(set(ids)) == 4
        async with client(gateway.url) as asks:
            assert [each.id async for each in asks.messages.batches.list()] == ids[::-1]
        for each in ids:
            await all_are_there(gateway.url, each, 2)
        assert (await emulator.stats())["executed"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("delivery", ["sync", "async"])
async def test_a_batch_outlives_a_kill_in_its_midst(delivery: str, tmp_path: Path) -> None:
    async with EmulatorProcess(KEY, latency="100ms-300ms") as emulator:
        options = ("--journal", journal_in(tmp_path), "--max-running", "5")
        gateway = GatewayProcess("--url", emulator.url, "--delivery", delivery, *options)
        async with gateway:
            async with client(gateway.url) as asks:
                batch = await asks.messages.batches.create(requests=lines(40))
            for number in (8, 20):
                await accepted(emulator, number)
                await gateway.end(signal.SIGKILL)
                await gateway.start()
            await all_are_there(gateway.url, batch.id, 40)
        assert (await emulator.stats())["executed"] == 40


@pytest.mark.slow
async def test_a_living_process_goes_on_with_the_batch_of_a_killed_one(tmp_path: Path) -> None:
    async with EmulatorProcess(KEY, latency="100ms-300ms") as emulator:
        options = ("--url", emulator.url, "--journal", journal_in(tmp_path), "--max-running", "5")
        async with GatewayProcess(*options) as other:
            async with GatewayProcess(*options) as one:
                async with client(one.url) as asks:
                    batch = await asks.messages.batches.create(requests=lines(20))
                await accepted(emulator, 8)
                await one.end(signal.SIGKILL)
            await all_are_there(other.url, batch.id, 20)
        assert (await emulator.stats())["executed"] == 20
