"""Timers, in virtual time: what happens when, to the millisecond."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
import tenacity
import trio
import trio.testing

from runware_ws import (
    AuthenticationError,
    Client,
    ClientClosed,
    Config,
    ConnectionFailed,
    Loss,
    LossKind,
    OutcomeUnknown,
    RecoveredBy,
    Submitted,
    TaskTimeout,
)
from runware_ws._io.transport import Transport
from runware_ws.events import Connected, DialFailed, Disconnected, PeerSuspected
from runware_ws.testing.network import MemoryNetwork, MemorySocket

from .support import (
    SESSION,
    ample,
    answer,
    ask,
    echoing,
    memory_client,
    only,
    pong,
    rest,
    until,
)

pytestmark = pytest.mark.anyio

REFUSED = Loss(LossKind.DIAL_FAILED, detail="nobody listens")


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
def anyio_backend(clock: trio.testing.MockClock) -> Any:
    return "trio", {"clock": clock}


async def ready_pair(network: MemoryNetwork, client: Client) -> MemorySocket:
    """The server's side of an authenticated socket."""
    socket = await network.accept()
    await socket.authenticate(SESSION)
    await client.ready()
    return socket


# Liveness


@ample
async def test_a_ping_goes_out_only_when_nothing_came_in() -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        socket = await ready_pair(network, client)
        for _ in range(5):
            await anyio.sleep(7)
            pong(socket)
        assert client.stats().pings == 0
        heard = anyio.current_time()
        (task,) = await socket.receive()
        assert task == {"taskType": "ping", "ping": True}
        assert anyio.current_time() == pytest.approx(heard + Config().ping_after)
        pong(socket)
        await anyio.sleep(9.9)
        assert client.stats().pings == 1
        assert socket.open


@ample
@pytest.mark.parametrize("busy", [True, False])
async def test_a_dead_peer_is_found_in_time(busy: bool) -> None:
    network = MemoryNetwork()
    async with memory_client(network, backoff=tenacity.wait_fixed(0)) as client:
        events = client.events()
        socket = await ready_pair(network, client)
        await anyio.sleep(3)
        pong(socket)
        silent_since = anyio.current_time()
        handle = await client.submit(ask()) if busy else None
        again = await network.accept()
        took = anyio.current_time() - silent_since
        assert (4 < took <= 5) if busy else (15 < took <= 20)
        # Aborted: a dead peer would answer no closing handshake.
        assert socket.client_left == "aborted"
        offered = await again.authenticate(SESSION)
        assert offered["connectionSessionUUID"] == SESSION
        if handle is not None:
            answer(again, {"taskType": "textInference", "taskUUID": handle.uuid})
            assert (await handle).recovered_by is RecoveredBy.REPLAY
        await client.ready()
    found = await rest(events)
    assert len(only(found, PeerSuspected)) == 1
    assert [event.resumed for event in only(found, Connected)] == [False, True]


@ample
async def test_any_inbound_counts_as_life() -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        socket = await ready_pair(network, client)
        for number in range(40):
            await anyio.sleep(9.5)
            socket.send(b"{" if number % 2 else {"data": []})
        assert client.stats().connections == 1
        assert socket.open


@ample
async def test_our_own_silence_is_broken_before_the_server_closes() -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        socket = await ready_pair(network, client)
        pings: list[float] = []

        async def listen() -> None:
            while True:
                await socket.receive()
                pings.append(anyio.current_time())

        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            # The server talks all the time; the client has nothing to say.
            for _ in range(100):
                await anyio.sleep(5)
                socket.send({"data": []})
            group.cancel_scope.cancel()
        gaps = [b - a for a, b in zip([began, *pings], pings, strict=False)]
        assert gaps
        assert max(gaps) < 120
        assert min(gaps) > 30


@ample
async def test_a_blocked_loop_does_not_kill_a_live_peer(clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        socket = await ready_pair(network, client)
        await socket.receive()
        # The pong lies in the buffer while nothing of ours runs for a minute.
        pong(socket)
        clock.jump(60)
        await anyio.sleep(1)
        assert client.stats().connections == 1
        assert client.connected


@ample
async def test_a_suspended_host_asks_once_more_before_it_redials(
    clock: trio.testing.MockClock,
) -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        socket = await ready_pair(network, client)
        await socket.receive()
        clock.jump(3_600)
        # The answer to the probe decides, not the hour that passed.
        (probe,) = await socket.receive()
        assert probe["taskType"] == "ping"
        await anyio.sleep(1)
        pong(socket)
        await anyio.sleep(5)
        assert client.connected
        assert client.stats().dials == 1


# Dials


@ample
async def test_the_delays_between_dials_are_those_of_the_strategy() -> None:
    network = MemoryNetwork()
    wait = tenacity.wait_chain(*[tenacity.wait_fixed(n) for n in (1, 2, 4)])
    async with memory_client(network, backoff=wait) as client:
        events = client.events()
        network.refuse(*[REFUSED] * 5)
        begun = anyio.current_time()
        await ready_pair(network, client)
        times = [at - begun for at in network.dials]
        assert times == pytest.approx([0, 1, 3, 7, 11, 15])
        failed = only([await anext(events) for _ in range(10)], DialFailed)
        assert [event.retry_after for event in failed] == [1, 2, 4, 4, 4]
        assert all("nobody listens" in event.reason for event in failed)


@ample
async def test_no_delay_is_over_the_cap() -> None:
    network = MemoryNetwork()
    wait = tenacity.wait_fixed(1_000)
    async with memory_client(network, backoff=wait, backoff_cap=7) as client:
        network.refuse(REFUSED, REFUSED)
        begun = anyio.current_time()
        await ready_pair(network, client)
        assert anyio.current_time() - begun == pytest.approx(14)


@ample
async def test_default_delays_start_short_and_stay_bounded() -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        network.refuse(*[REFUSED] * 12)
        await ready_pair(network, client)
    gaps = [b - a for a, b in zip(network.dials, network.dials[1:], strict=False)]
    assert gaps[0] <= 0.5
    assert max(gaps) <= 30
    assert len(gaps) == 12


@pytest.mark.parametrize("stuck", ["dial", "authentication"])
@ample
async def test_one_deadline_over_dial_and_authentication(stuck: str) -> None:
    network = MemoryNetwork()
    async with memory_client(network, backoff=tenacity.wait_fixed(2)) as client:
        events = client.events()
        network.hang = stuck == "dial"
        begun = anyio.current_time()
        sockets: list[MemorySocket] = []
        while len(sockets) < 3 and stuck == "authentication":
            socket = await network.accept()
            (task,) = await socket.receive()
            assert task["taskType"] == "authentication"
            sockets.append(socket)
        await anyio.sleep(begun + 50 - anyio.current_time())
        network.hang = False
        await ready_pair(network, client)
        assert [at - begun for at in network.dials] == pytest.approx([0, 17, 34, 51])
        assert all(socket.client_left == "aborted" for socket in sockets)
    reasons = [event.reason for event in only(await rest(events), DialFailed)]
    assert len(reasons) == 3
    assert all("open timeout" in reason for reason in reasons)


@ample
async def test_data_before_the_reply_to_the_authentication_is_routed() -> None:
    network = MemoryNetwork()
    async with memory_client(network, backoff=tenacity.wait_fixed(0)) as client:
        first = await ready_pair(network, client)
        handle = await client.submit(ask())
        (wire,) = await first.receive()
        first.end(1012)
        second = await network.accept()
        (task,) = await second.receive()
        assert task["connectionSessionUUID"] == SESSION
        answer(second, wire)
        result = await handle
        assert result.recovered_by is RecoveredBy.REPLAY
        assert not client.connected
        reply = {"taskType": "authentication", "connectionSessionUUID": SESSION}
        second.send({"data": [reply]})
        await client.ready()
        assert client.stats().resumes == 1


# Timeouts


@pytest.mark.parametrize("phase", ["dialing", "waiting for room", "written"])
@ample
async def test_timeouts_are_exact(phase: str) -> None:
    network = MemoryNetwork()
    network.hang = phase == "dialing"
    async with memory_client(network, max_in_flight=1) as client:
        if phase != "dialing":
            await ready_pair(network, client)
        if phase == "waiting for room":
            await client.submit(ask(), timeout=None)
        begun = anyio.current_time()
        with pytest.raises(TaskTimeout) as caught:
            await client.run(ask(), timeout=3.5)
        assert anyio.current_time() - begun == pytest.approx(3.5, abs=1e-3)
        want = Submitted.MAYBE if phase == "written" else Submitted.NO
        assert caught.value.submitted is want
        assert client.stats().pending == (1 if phase == "waiting for room" else 0)


@ample
async def test_a_task_that_went_through_a_cut_ends_with_the_truth() -> None:
    network = MemoryNetwork()
    async with memory_client(network, backoff=tenacity.wait_fixed(0)) as client:
        socket = await ready_pair(network, client)
        begun = anyio.current_time()
        handle = await client.submit(ask(), timeout=20)
        await socket.receive()
        socket.end()
        await ready_pair(network, client)
        with pytest.raises(OutcomeUnknown) as caught:
            await handle
        assert anyio.current_time() - begun == pytest.approx(20, abs=1e-3)
        assert caught.value.submitted is Submitted.MAYBE
        assert not caught.value.safe_to_resend


# Polls of async tasks


@asynccontextmanager
async def slow_server(network: MemoryNetwork, seconds: float) -> AsyncGenerator[list[float]]:
    """Runs async tasks for ``seconds``; gives the ages at which it was polled."""
    started: dict[str, float] = {}
    polls: list[float] = []

    async def serve() -> None:
        socket = await network.accept()
        await socket.authenticate(SESSION)
        with suppress(anyio.EndOfStream):
            while True:
                for task in await socket.receive():
                    one(socket, task)

    def one(socket: MemorySocket, task: dict[str, Any]) -> None:
        if task["taskType"] == "ping":
            pong(socket)
            return
        uuid = task["taskUUID"]
        item = {"taskType": "textInference", "taskUUID": uuid}
        if task["taskType"] == "getResponse":
            age = anyio.current_time() - started[uuid]
            polls.append(age)
            item |= {"status": "success", "text": "done"} if age >= seconds else {}
            item.setdefault("status", "processing")
        else:
            started[uuid] = anyio.current_time()
        socket.send({"data": [item]})

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        yield polls
        group.cancel_scope.cancel()


@pytest.mark.parametrize("seconds", [0.3, 3.0, 45.0])
@ample
async def test_the_cadence_of_polls_is_learned(seconds: float) -> None:
    network = MemoryNetwork()
    async with slow_server(network, seconds) as polls, memory_client(network) as client:
        overheads: list[float] = []
        counts: list[int] = []
        for _ in range(12):
            del polls[:]
            begun = anyio.current_time()
            result = await client.run(ask(delivery_method="async"))
            assert result.text == "done"
            overheads.append(anyio.current_time() - begun - seconds)
            counts.append(len(polls))
        # In the end a task is asked for when it should be done, and found soon after.
        assert max(counts[-4:]) <= 5
        assert max(overheads[-4:]) <= max(0.15 * seconds, 0.05)
        assert min(overheads) >= -1e-6


@ample
async def test_polls_share_frames() -> None:
    network = MemoryNetwork()
    async with slow_server(network, 3.0), memory_client(network) as client:
        handles = [await client.submit(ask(delivery_method="async")) for _ in range(60)]
        for handle in handles:
            await handle
        stats = client.stats()
        assert stats.polls >= 60
        assert stats.frames_out < stats.polls / 4


# Closing


@pytest.mark.parametrize("phase", ["backoff", "dial", "authentication"])
@ample
async def test_closing_before_there_is_a_connection(phase: str) -> None:
    network = MemoryNetwork()
    network.hang = phase == "dial"
    if phase == "backoff":
        network.refuse(REFUSED)
    async with memory_client(network, backoff=tenacity.wait_fixed(25)) as client:
        handle = await client.submit(ask(), timeout=None)
        state = {"dial": "dialing", "authentication": "authenticating"}.get(phase, phase)
        await until(lambda: client.stats().state == state and network.dials)
        begun = anyio.current_time()
        with anyio.fail_after(60):
            await client.aclose()
        assert anyio.current_time() - begun < 0.1
        with pytest.raises(ClientClosed) as caught:
            await handle
        assert caught.value.submitted is Submitted.NO
    assert len(network.dials) == 1


class Stuck:
    """A network whose closing handshake nobody answers."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network

    @asynccontextmanager
    async def dial(self, url: str, config: Config) -> AsyncGenerator[Transport]:
        async with self._network.dial(url, config) as transport:
            transport.aclose = anyio.sleep_forever  # type: ignore[method-assign]
            yield transport


@pytest.mark.parametrize("cancelled", [False, True])
@ample
async def test_closing_with_a_peer_that_does_not_answer(cancelled: bool) -> None:
    network = MemoryNetwork()
    client = Client("ws://127.0.0.1:9", api_key="some key", dial=Stuck(network).dial)
    async with client:
        socket = await ready_pair(network, client)
        begun = anyio.current_time()
        with anyio.move_on_after(1 if cancelled else None):
            await client.aclose()
    took = anyio.current_time() - begun
    assert socket.client_left == "aborted"
    assert took == pytest.approx(1 if cancelled else Config().close_timeout, abs=0.1)


@ample
async def test_drain_in_virtual_time_is_exact() -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        socket = await ready_pair(network, client)
        await client.submit(ask(), timeout=None)
        (wire,) = await socket.receive()
        begun = anyio.current_time()
        assert not (await client.drain(timeout=4)).clean
        assert anyio.current_time() - begun == pytest.approx(4, abs=1e-3)
        answer(socket, wire)
        assert (await client.drain()).clean


@ample
async def test_ready_when_the_key_is_refused_or_nobody_answers() -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        socket = await network.accept()
        await socket.receive()
        begun = anyio.current_time()
        with pytest.raises(ConnectionFailed, match="within 4 s"):
            await client.ready(timeout=4)
        assert anyio.current_time() - begun == pytest.approx(4, abs=1e-3)
        error = {"code": "invalidApiKey", "message": "No.", "taskType": "authentication"}
        socket.send({"errors": [error]})
        with pytest.raises(AuthenticationError):
            await client.ready()


@ample
async def test_a_thousand_tasks_and_a_cut_leave_nothing_behind() -> None:
    network = MemoryNetwork()
    async with echoing(network) as server:
        async with memory_client(network, backoff=tenacity.wait_fixed(0)) as client:
            events = client.events()
            await client.ready()
            server.mute = True
            handles = [await client.submit(ask()) for _ in range(1_000)]
            await until(lambda: len(server.received) == 1_000)
            server.sockets[0].end()
            await until(lambda: len(server.sockets) == 2)
            for handle in handles:
                answer(server.sockets[1], {"taskType": "textInference", "taskUUID": handle.uuid})
            for handle in handles:
                assert (await handle).text == f"to {handle.uuid}"
            assert client.stats().pending == 0
        lost = only(await rest(events), Disconnected)
        assert [event.pending for event in lost] == [1_000, 0]
