"""``MemoryServer``: the emulator without sockets, in virtual time and in real time."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from runware_ws import (
    AuthenticationError,
    Client,
    Config,
    ConnectionFailed,
    ProtocolError,
    RecoveredBy,
    TaskError,
    TextInference,
)
from runware_ws.events import Disconnected
from runware_ws.testing import EmulatorOptions, MemoryServer, virtual_time

pytestmark = pytest.mark.anyio

REAL = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    pytest.param(("trio", {"strict_exception_groups": True}), id="trio"),
]


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Virtual time, unless the test says otherwise."""
    return getattr(request, "param", None) or virtual_time()


def ask(text: str = "hello", **fields: Any) -> TextInference:
    return TextInference.prompt(text, **fields)


@pytest.mark.parametrize("anyio_backend", REAL, indirect=True)
async def test_it_runs_on_every_loop() -> None:
    async with MemoryServer() as server, server.client() as client:
        server.expect("hello").reply(["one", "two"])
        result = await client.run(ask(number_results=2))
        assert sorted(str(item.text) for item in result.items) == ["one", "two"]
        assert [each.prompt for each in server.requests] == ["hello"]


async def test_leaving_the_block_verifies() -> None:
    with pytest.raises(AssertionError, match="not asked: textInference: 1 expected, 0 came"):
        async with MemoryServer() as server:
            server.expect()


async def test_an_error_of_the_block_comes_through_alone() -> None:
    async def fails() -> None:
        async with MemoryServer() as server, server.client() as client:
            server.expect()
            await client.ready()
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await fails()


async def test_delays_are_virtual() -> None:
    started = time.monotonic()
    async with MemoryServer(latency="30s") as server, server.client(timeout=9000) as client:
        server.expect().reply("late").after(3600)
        begin = anyio.current_time()
        assert (await client.run(ask())).text == "late"
        took = anyio.current_time() - begin
        assert 3630 <= took < 3640
    assert time.monotonic() - started < took / 60


@pytest.mark.parametrize("minutes", [1, 10])
async def test_an_outage(minutes: int) -> None:
    async with MemoryServer() as server, server.client(timeout=3600) as client:
        server.expect().reply("at last").after(30)
        handle = await client.submit(ask())
        await server.asked()
        server.go_down()
        await anyio.sleep(60 * minutes)
        assert not client.connected
        server.come_back()
        result = await handle
        assert result.text == "at last"
        # Within 120 seconds the server replays; after that only its archive knows.
        assert result.recovered_by == (RecoveredBy.REPLAY if minutes == 1 else RecoveredBy.ARCHIVE)
        assert server.stats.executed_twice == []


async def test_cuts_everywhere_lose_nothing() -> None:
    options = EmulatorOptions(dying_results="lost", dying_requests="lost")
    async with MemoryServer(options=options, latency="1s-20s") as server:
        server.expect().reply(lambda asked: f"to {asked.prompt}").times(50)
        server.faults.cut_every(3.0, jitter=0.5, mid_frame=True)
        async with server.client(timeout=7200) as client:
            tasks = [ask(f"number {number}") for number in range(50)]
            async for outcome in client.map(tasks):
                assert outcome.unwrap().text == f"to number {outcome.index}"
        assert server.stats.cuts > 3
        assert server.stats.executed == len(server.requests) == 50


async def test_a_silent_peer_is_found() -> None:
    async with MemoryServer() as server, server.client(timeout=3600) as client:
        server.expect().reply("heard")
        await client.ready()
        server.blackhole()
        with anyio.fail_after(21):
            while client.connected:  # noqa: ASYNC110
                await anyio.sleep(0.1)
        server.heal()
        assert (await client.run(ask())).text == "heard"


async def test_closing_is_bounded_with_a_silent_peer() -> None:
    async with MemoryServer() as server:
        async with server.client() as client:
            await client.ready()
            server.blackhole()
            begin = anyio.current_time()
        assert anyio.current_time() - begin <= 6


async def test_a_close_code_arrives() -> None:
    async with MemoryServer() as server, server.client() as client:
        await client.ready()
        events = client.events()
        server.cut(1012)
        async for event in events:
            if isinstance(event, Disconnected):
                assert "1012" in str(event)
                break
        await client.ready(timeout=60)


async def test_refusals_arrive() -> None:
    async with MemoryServer() as server:
        server.faults.reject_upgrades(404)
        async with server.client() as client:
            with pytest.raises(ConnectionFailed, match="404"):
                await client.ready(timeout=600)
        async with server.client(api_key="another key") as client:
            with pytest.raises(AuthenticationError):
                await client.ready(timeout=600)


async def test_a_frame_over_the_limit() -> None:
    async with MemoryServer() as server:
        server.expect().reply("x" * 10_000)
        async with server.client(max_frame_bytes=5_000, timeout=3600) as client:
            with pytest.raises(ProtocolError):
                await client.run(ask())


async def test_code_that_makes_its_own_client() -> None:
    async with MemoryServer(api_key="a key of mine") as server:
        server.expect(task_type="imageInference").reply({"imageURL": "https://im/1"})
        client = Client(api_key="a key of mine", dial=server.dial)
        async with client:
            result = await client.run({"taskType": "imageInference", "positivePrompt": "a cat"})
        assert result.items[0]["imageURL"] == "https://im/1"


async def test_unexpected_is_answered_at_once() -> None:
    async def asks() -> None:
        async with MemoryServer() as server, server.client() as client:
            with pytest.raises(TaskError) as caught:
                await client.run(ask())
            assert caught.value.code == "unexpectedRequest"
            assert not caught.value.retryable

    with pytest.raises(AssertionError, match="unexpected request: textInference 'hello'"):
        await asks()


async def test_a_server_that_does_not_run() -> None:
    with pytest.raises(RuntimeError, match="async with MemoryServer"):
        await MemoryServer().dial("ws://localhost/v1", Config()).__aenter__()
