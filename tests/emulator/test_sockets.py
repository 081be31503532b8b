"""What only a port shows: real sockets, on every loop. Nothing here is a matter of time."""

from __future__ import annotations

import anyio
import pytest

from runware_ws.emulator import Emulator, EmulatorOptions, serve

from .wire import KEY, connected, expected, ready, stream_task, text_of, text_task, until

pytestmark = pytest.mark.anyio


async def test_hosts_and_life_cycle() -> None:
    with pytest.raises(ValueError, match="allow_remote"):
        Emulator(host="0.0.0.0")
    with pytest.raises(ValueError, match="empty"):
        Emulator(api_key="")
    remote = Emulator(host="0.0.0.0", allow_remote=True)
    assert remote.url == "ws://0.0.0.0:0/v1"
    async with Emulator(api_key=KEY) as first:
        port = first.port
        async with ready(first):
            pass
    async with Emulator(api_key=KEY, port=port) as second, ready(second):
        assert second.port == port
        assert second.live_sockets == 1
        assert second.live_sessions == 1


async def test_a_conversation() -> None:
    async with Emulator(KEY) as emulator:
        async with ready(emulator) as (wire, session):
            tasks = [text_task(f"question {number}") for number in range(20)]
            await wire.send(*tasks)
            answers = {item["taskUUID"]: item["text"] for item in await wire.items(20)}
            assert answers == {task["taskUUID"]: expected(task) for task in tasks}
            await wire.send(task := stream_task())
            items = await wire.items(1)
            while "finishReason" not in items[-1]:
                items += await wire.items(1)
            assert text_of(items) == expected(task)
            await wire.send(text_task("x" * 3_000_000))
            assert len((await wire.item())["text"]) > 3_000_000
        async with ready(emulator, session) as (wire, again):
            assert again == session
        assert emulator.stats.executed == len(emulator.stats.executions) == 22


@pytest.mark.parametrize("mid_frame", [False, True])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut(mid_frame: bool, reset: bool) -> None:
    options = EmulatorOptions(dying_window=60.0)
    async with Emulator(KEY, options=options) as emulator:
        async with ready(emulator) as (wire, session):
            await wire.send(task := text_task())
            item = await wire.item()
            emulator.faults.cut_after(results=1, mid_frame=mid_frame, reset=reset)
            await wire.send(text_task())
            assert await wire.closed() == 1006
        async with ready(emulator, session) as (wire, _):
            assert await wire.item() == item
            assert item["taskUUID"] == task["taskUUID"]
            await wire.item()
            assert emulator.stats.executed == 2


async def test_a_close_code() -> None:
    async with Emulator(KEY) as emulator, ready(emulator) as (wire, _):
        assert emulator.faults.cut(4321, "on order") == 1
        assert await wire.closed() == 4321


async def test_a_client_that_vanishes() -> None:
    async with Emulator(KEY) as emulator, ready(emulator) as (wire, _):
        await wire.vanish()
        await until(lambda: emulator.live_sockets == 0)


async def test_http_beside_websockets() -> None:
    async with Emulator(KEY) as emulator, ready(emulator) as (wire, _):
        assert emulator.http_url == f"http://127.0.0.1:{emulator.port}/v1"
        async with await connected(emulator) as stream:
            await stream.send(b"DELETE /v1 HTTP/1.1\r\nHost: local\r\n\r\n")
            assert b" 405 " in await stream.receive()
        await wire.send(text_task())
        await wire.item()


async def test_serve() -> None:
    said: list[str] = []
    started: list[Emulator] = []
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await serve(
                KEY, latency="1ms", faults=["shuffle"], say=said.append, on_ready=started.append
            )

        group.start_soon(run)
        await until(lambda: said)
        assert said == [f"listening on {started[0].url}"]
        async with ready(started[0]) as (wire, _):
            await wire.send(text_task())
            await wire.item()
        group.cancel_scope.cancel()


async def test_leaving_with_open_sockets_and_running_tasks() -> None:
    emulator = Emulator(api_key=KEY, latency=60)
    async with anyio.create_task_group() as group, emulator:
        finished = anyio.Event()

        async def client() -> None:
            async with ready(emulator) as (wire, _):
                await wire.send(text_task())
                finished.set()
                assert await wire.closed() == 1006

        group.start_soon(client)
        await finished.wait()
    assert emulator.live_sockets == 0
