"""``client.stream`` over both carriers: deltas in order, cuts, timeouts, the whole at the end."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest
import tenacity

from runware_ws import (
    Client,
    HttpRefused,
    InvalidTask,
    StreamInterrupted,
    TaskError,
    TaskTimeout,
    TextInference,
)
from runware_ws.emulator import Emulator, EmulatorOptions, expected_text
from tests.streams.servers import Odd, listening

pytestmark = pytest.mark.anyio

KEY = "key-of-the-streams"
CARRIERS = pytest.mark.parametrize("carrier", ["socket", "sse"])
Way = Literal["socket", "sse"]


def emulator(**options: Any) -> Emulator:
    """A server whose streams take some milliseconds."""
    choices: dict[str, Any] = {"token_pause": 0.002, **options}
    return Emulator(KEY, options=EmulatorOptions(**choices))


def client_of(server: Emulator, **options: Any) -> Client:
    """A client with short waits."""
    waits: dict[str, Any] = {"replay_grace": 0.05, "resend_after": 0.1}
    choices: dict[str, Any] = {"backoff": tenacity.wait_fixed(0.01), **waits, **options}
    return Client(server.url, api_key=KEY, **choices)


@CARRIERS
async def test_deltas_come_in_order_and_make_the_whole(carrier: Way) -> None:
    task = TextInference.prompt("tell me " + "a story " * 20, include_usage=True, include_cost=True)
    async with emulator() as server, client_of(server) as client:
        with anyio.fail_after(20):
            async with client.stream(task, carrier=carrier) as stream:
                deltas = [delta async for delta in stream]
                result = await stream.result()
        assert stream.carrier == carrier
        assert len(deltas) > 5
        text = expected_text(task.messages[0].content, task.task_uuid)
        assert "".join(delta.text or "" for delta in deltas) == text
        assert result.text == stream.text == text
        assert result.finish_reason == "stop"
        assert result.usage is not None
        assert result.cost is not None
        assert stream.time_to_first_delta is not None
        assert client.stats().pending == 0
        assert client.claim(task.task_uuid) is None, "it was read"
    assert not server.stats.executed_twice


@CARRIERS
async def test_a_whole_answer_is_one_delta(carrier: Way) -> None:
    options: dict[str, Any] = {"stream_over_socket": "whole", "stream_over_http": "whole"}
    async with emulator(**options) as server, client_of(server) as client:
        with anyio.fail_after(20):
            async with client.stream(TextInference.prompt("hi"), carrier=carrier) as stream:
                deltas = [delta async for delta in stream]
        assert len(deltas) == 1
        assert deltas[0].text == stream.text


@CARRIERS
@pytest.mark.parametrize("resume", ["continue", "overlap", "restart", "whole", "lost"])
async def test_a_cut_in_mid_stream_doubles_and_loses_nothing(carrier: Way, resume: str) -> None:
    task = TextInference.prompt("count " + "sheep " * 40)
    async with emulator(stream_resume=resume) as server, client_of(server) as client:
        server.faults.cut_after(deltas=10)
        with anyio.fail_after(20):
            async with client.stream(task, carrier=carrier, timeout=15) as stream:
                texts = [delta.text or "" async for delta in stream]
        assert "".join(texts) == expected_text(task.messages[0].content, task.task_uuid)
    assert not server.stats.executed_twice


@CARRIERS
@pytest.mark.parametrize("pieces", ["frame", "items", "frames", "behind", "before"])
async def test_an_archive_of_pieces_makes_the_whole(carrier: Way, pieces: str) -> None:
    task = TextInference.prompt("count " + "sheep " * 40)
    choice = {"stream_resume": "lost", "archive_pieces": pieces}
    async with emulator(**choice) as server, client_of(server) as client:
        server.faults.cut_after(deltas=10)
        with anyio.fail_after(20):
            async with client.stream(task, carrier=carrier, timeout=15) as stream:
                texts = [delta.text or "" async for delta in stream]
        assert "".join(texts) == expected_text(task.messages[0].content, task.task_uuid)
        assert server.stats.details > 0
    assert not server.stats.executed_twice


@CARRIERS
async def test_without_an_archive_a_cut_interrupts_and_tells_what_came(carrier: Way) -> None:
    options: dict[str, Any] = {"archive_limit": 0, "stream_resume": "lost"}
    task = TextInference.prompt("count " + "sheep " * 40)
    async with emulator(**options) as server, client_of(server) as client:
        server.faults.cut_after(deltas=10)
        texts: list[str] = []
        with anyio.fail_after(20), pytest.raises(StreamInterrupted) as caught:  # noqa: PT012
            async with client.stream(task, carrier=carrier, timeout=1.5) as stream:
                async for delta in stream:
                    texts.append(delta.text or "")  # noqa: PERF401
        assert texts
        assert caught.value.text == "".join(texts)
        whole = expected_text(task.messages[0].content, task.task_uuid)
        assert whole.startswith(caught.value.text)


@CARRIERS
async def test_errors_and_timeouts(carrier: Way) -> None:
    async with emulator(token_pause=0.05) as server, client_of(server) as client:
        with anyio.fail_after(20):
            server.faults.inject_error("contentPolicyViolation")
            with pytest.raises(TaskError) as refused:
                async with client.stream(TextInference.prompt("x"), carrier=carrier) as stream:
                    await stream.result()
            assert refused.value.code == "contentPolicyViolation"
            with pytest.raises((StreamInterrupted, TaskTimeout)):  # noqa: PT012
                task = TextInference.prompt("slow " * 50)
                async with client.stream(task, carrier=carrier, timeout=0.3) as stream:
                    await stream.result()
        assert client.stats().pending == 0


async def test_a_read_that_was_cancelled_is_taken_up_again() -> None:
    task = TextInference.prompt("count " + "sheep " * 20)
    async with emulator(token_pause=0.02) as server, client_of(server) as client:
        with anyio.fail_after(20):
            async with client.stream(task, carrier="sse", timeout=15) as stream:
                texts = [(await anext(stream)).text or ""]
                with anyio.move_on_after(0.005):
                    texts.append((await anext(stream)).text or "")
                texts += [delta.text or "" async for delta in stream]
        assert "".join(texts) == expected_text(task.messages[0].content, task.task_uuid)


async def test_a_redirect_is_told_as_one() -> None:
    moved = b"HTTP/1.1 307 Over there\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    async with (
        Emulator(KEY) as emulator,
        listening(Odd(moved).handle) as port,
        client_of(emulator, http_url=f"http://127.0.0.1:{port}/v1") as client,
    ):
        with pytest.raises(HttpRefused, match="HTTP 307: a redirect, which is not followed"):
            async with client.stream(TextInference.prompt("hello")) as stream:
                await stream.result()
    assert emulator.stats.executed == 0


async def test_a_stream_is_not_run_as_a_task() -> None:
    async with emulator() as server, client_of(server) as client:
        task = TextInference.prompt("x", delivery_method="stream")
        with pytest.raises(InvalidTask, match=r"client\.stream"):
            await client.run(task)


@pytest.mark.slow
async def test_a_request_that_was_lost_on_its_way_is_sent_again_under_its_uuid() -> None:
    task = TextInference.prompt("are you there")

    async def hang_up(socket: anyio.abc.SocketStream) -> None:
        async with socket:
            await socket.receive()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, emulator() as server, anyio.create_task_group() as group:
        group.start_soon(listener.serve, hang_up)
        async with client_of(server, http_url=f"http://127.0.0.1:{port}/v1") as client:
            with anyio.fail_after(20):
                async with client.stream(task, carrier="sse", timeout=15) as stream:
                    result = await stream.result()
            assert result.text == expected_text("are you there", task.task_uuid)
            assert client.stats().resends == 1
        group.cancel_scope.cancel()
    assert server.stats.executions[task.task_uuid] == 1
