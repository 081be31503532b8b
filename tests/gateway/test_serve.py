"""``runware-ws serve`` as a process: killed, replaced, ended; and what it refuses at its start."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from runware_ws.cli.app import app as command
from runware_ws.emulator import EmulatorProcess
from runware_ws.gateway import hash_of_key
from tests.gateway.cuts import run
from tests.gateway.processes import KEY, GatewayProcess
from tests.gateway.support import request

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The processes are what is tested."""
    return "asyncio"


HAIKU = "anthropic:claude@haiku-4.5"


def journal_in(folder: Path) -> str:
    return f"sqlite:{folder / 'gateway.db'}?synchronous=NORMAL"


async def accepted(emulator: EmulatorProcess, number: int) -> None:
    """Wait until the server has so many tasks."""
    with anyio.fail_after(60):
        while (await emulator.stats())["tasks_accepted"] < number:  # noqa: ASYNC110 (another process)
            await anyio.sleep(0.01)


def http() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=60, trust_env=False)


@pytest.mark.slow
async def test_clients_are_cut_and_nothing_runs_twice() -> None:
    tally = await run(requests=40, at_once=20, latency="20ms-80ms")
    assert tally.cuts >= 40
    assert tally.clean, tally


@pytest.mark.slow
async def test_a_thousand_clients_are_cut_and_nothing_runs_twice() -> None:
    tally = await run(requests=1_000, at_once=100, upstream=1.0)
    assert tally.cuts >= 1_000
    assert tally.clean, tally


@pytest.mark.slow
async def test_equal_requests_that_are_cut_run_once_each() -> None:
    tally = await run(requests=300, at_once=50, equal=10)
    assert tally.clean, tally


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
async def test_the_gateway_is_killed_under_load(stream: bool) -> None:
    """Streams are cut in the midst, too; that is told, and nobody takes it for the end."""
    tally = await run(
        requests=600, at_once=100, cut=0.0, kills=2, retries=8, latency="500ms-1500ms",
        stream=stream,
    )  # fmt: skip
    assert not tally.wrong, tally
    assert tally.executed == tally.asked, tally
    if not stream:
        assert tally.clean, tally


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
async def test_a_new_process_takes_over_under_load(stream: bool) -> None:
    tally = await run(
        requests=600, at_once=100, cut=0.0, rolls=2, latency="100ms-1500ms", stream=stream
    )
    assert tally.clean, tally


async def test_its_end_is_orderly(tmp_path: Path) -> None:
    async with EmulatorProcess(KEY, latency="1500ms") as emulator:
        gateway = GatewayProcess("--url", emulator.url, "--journal", journal_in(tmp_path))
        texts: list[str] = []
        async with gateway, http() as asks, anyio.create_task_group() as group:

            async def ask(stream: bool) -> None:
                answer = await asks.post(f"{gateway.url}/v1/messages", json=request(stream=stream))
                texts.append(answer.text)

            for stream in (False, True):
                group.start_soon(ask, stream)
            await accepted(emulator, 2)
            url = gateway.url
            assert await gateway.end() == 0
            with pytest.raises(httpx2.ConnectError):
                await asks.get(f"{url}/health/live")
        assert len(texts) == 2
        assert any(text.endswith('"message_stop"}\n\n') for text in texts)


@pytest.mark.slow
async def test_what_does_not_end_in_time_is_left_to_the_next_one(tmp_path: Path) -> None:
    async with EmulatorProcess(KEY, latency="5s") as emulator:
        options = ("--url", emulator.url, "--journal", journal_in(tmp_path), "--drain", "1")
        gateway = GatewayProcess(*options, said=tmp_path / "said")
        async with gateway, http() as asks:
            headers = {"idempotency-key": "k"}
            body = request(stream=True)
            texts: list[str] = []

            async def ask() -> None:
                answer = await asks.post(f"{gateway.url}/v1/messages", json=body, headers=headers)
                texts.append(answer.text)

            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await accepted(emulator, 1)
                assert await gateway.end() == 0
            assert '"type":"error"' in texts[0]
            assert "this gateway ends: ask again" in texts[0]
            assert "Traceback" not in (tmp_path / "said").read_text()
            await gateway.start()
            await ask()
            assert texts[1].endswith('"message_stop"}\n\n')
        assert (await emulator.stats())["executed"] == 1


@pytest.mark.slow
async def test_an_answer_for_one_who_left_is_no_failure(tmp_path: Path) -> None:
    """Whoever sends its next request at once goes away unseen by the server under this."""
    pytest.importorskip("uvloop")  # It refuses what asyncio ignores.
    said = tmp_path / "said"
    body = json.dumps(request()).encode()
    one = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: any\r\n"
    one += b"content-length: %d\r\n\r\n%s" % (len(body), body)
    async with EmulatorProcess(KEY, latency="300ms") as emulator:
        async with GatewayProcess("--url", emulator.url, said=said) as gateway:
            async with await anyio.connect_tcp("127.0.0.1", gateway.port) as stream:
                await stream.send(one * 2)
                await accepted(emulator, 1)
            with anyio.fail_after(30):
                while not (await emulator.stats())["results_sent"]:  # noqa: ASYNC110 (as above)
                    await anyio.sleep(0.01)
            assert await gateway.end() == 0
        assert (await emulator.stats())["tasks_accepted"] == 1
    assert "Traceback" not in said.read_text()


@asynccontextmanager
async def served(
    httptools: bool, body_timeout: float, journal: str | None = None, **options: Any
) -> AsyncGenerator[int]:
    """A gateway's port, with a parser of heads that is chosen."""
    import uvicorn

    from runware_ws import Client
    from runware_ws.emulator import Emulator
    from runware_ws.gateway import app, listening
    from runware_ws.gateway.protocols import HEAD_BYTES, http_protocol

    if httptools:
        pytest.importorskip("httptools")
    place = listening.listen("127.0.0.1", 0)
    async with (
        Emulator(KEY) as emulator,
        Client(emulator.url, api_key=KEY, journal=journal) as client,
    ):
        config = uvicorn.Config(
            app(client, body_timeout=body_timeout, **options),
            http=http_protocol(httptools=httptools),
            lifespan="off",
            log_config=None,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        server = uvicorn.Server(config)
        server.capture_signals = _no_signals  # type: ignore[method-assign]
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [place.sock])
            yield int(place.address.rsplit(":", 1)[1])
            server.should_exit = True


parsers = pytest.mark.parametrize("httptools", [False, True], ids=["h11", "httptools"])


@parsers
async def test_an_upgrade_that_is_not_taken_loses_no_body(httptools: bool) -> None:
    """Java's client offers HTTP/2 with its first request. Its body is no request of its own."""
    body = json.dumps(request()).encode()
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: any\r\n"
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"
    length = b"content-length: %d\r\n\r\n" % len(body)
    chunked = b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    last = b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    whole = head + offer + length + body + head + offer + chunked
    async with served(httptools, 30) as port:
        for parts in (
            [whole, last],
            [whole[at : at + 7] for at in range(0, len(whole), 7)] + [last],
        ):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                answer = b""
                with anyio.fail_after(30):
                    for part in parts:
                        await stream.send(part)
                    with suppress(anyio.EndOfStream):
                        while True:
                            answer += await stream.receive()
            assert answer.count(b"HTTP/1.1 200 ") == 3, answer
            assert answer.count(b'"type":"message"') == 2


async def test_a_page_of_another_site_spends_nothing(tmp_path: Path) -> None:
    """Any page may have its reader's browser post to 127.0.0.1, and needs no answer for that."""
    foreign = ["http://evil.example:8080", "https://10.0.0.1", "null", "http://[", "HTTP://EVIL"]
    own = ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8", "app://chat", ""]
    callers = tmp_path / "callers.toml"
    callers.write_text(f'[callers.ann]\nkey = "{hash_of_key("any")}"\n')
    form = {"content-type": "text/plain", "x-api-key": "any"}
    for options, refused in ([], True), (["--callers", str(callers)], False):
        async with GatewayProcess("--emulate", *options) as gateway, http() as asks:
            for origin in foreign + own:
                for path in ("/v1/messages", "/v1", "/v1/messages/batches"):
                    answer = await asks.post(
                        f"{gateway.url}{path}",
                        content=json.dumps(request()),
                        headers={"origin": origin, **form},
                    )
                    expected = 403 if refused and origin in foreign else 200
                    if path != "/v1/messages" and expected == 200:
                        expected = 400
                    assert answer.status_code == expected, (origin, path, answer.text)
                    if expected == 403:
                        assert answer.json()["error"]["type"] == "permission_error"
                        assert "--callers" in answer.json()["error"]["message"]


@parsers
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(
    ("headers", "status"), [({}, 413), ({"content-encoding": "br", "connection": "close"}, 400)]
)
async def test_who_sends_all_and_then_reads_is_told(
    httptools: bool, chunked: bool, headers: dict[str, str], status: int
) -> None:
    """So the published clients do. A connection that closes on unread bytes loses its answer."""
    body = json.dumps(request("w" * 12_000_000)).encode()

    async def parts() -> AsyncGenerator[bytes]:
        for first in range(0, len(body), 65_536):
            yield body[first : first + 65_536]

    async with served(httptools, 30, max_body_bytes=1_000_000) as port, http() as asks:
        url = f"http://127.0.0.1:{port}/v1/messages"
        for _ in range(3):
            answer = await asks.post(url, content=parts() if chunked else body, headers=headers)
            assert answer.status_code == status
            assert answer.json()["type"] == "error"


@parsers
@pytest.mark.parametrize("path", ["/v1/messages", "/v1", "/v1/messages/batches"])
async def test_who_left_before_a_request_was_read_has_asked_for_nothing(
    httptools: bool, path: str, tmp_path: Path
) -> None:
    """The process was frozen, or busy. Meanwhile another one answered the retry."""
    one: Any = request()
    if path == "/v1":
        one = [{"taskType": "textInference", "model": HAIKU, "messages": one["messages"]}]
    elif path.endswith("batches"):
        one = {"requests": [{"custom_id": "c", "params": one}]}
    body = json.dumps(one).encode()
    head = b"POST %s HTTP/1.1\r\nhost: x\r\nx-api-key: any\r\n" % path.encode()
    async with (
        served(httptools, 30, str(tmp_path / "j.db")) as port,
        http() as client,
    ):
        url = f"http://127.0.0.1:{port}"
        assert (await client.get(f"{url}/health/live")).status_code == 200
        # Not one turn of the event loop passes until it has left.
        with socket.create_connection(("127.0.0.1", port)) as gone:
            gone.sendall(head + b"content-length: %d\r\n\r\n%s" % (len(body), body))
        assert (await client.post(f"{url}/v1/messages", json=request())).status_code == 200
        told = (await client.get(f"{url}/metrics")).text
        assert 'runware_ws_tasks_submitted_total{client="gateway"} 1.0' in told
        batches = await client.get(f"{url}/v1/messages/batches", headers={"x-api-key": "any"})
        assert batches.json()["data"] == []


@parsers
@pytest.mark.parametrize("name", ["a\0b", "a\vb", "a\x7fb", "a\r\nx-y: z", "a\t", " ", "é"])
async def test_an_answer_arrives_whatever_names_its_request_has(httptools: bool, name: str) -> None:
    """They come back in a header, and no server takes every character there."""
    async with served(httptools, 30, unsupported="drop") as port, http() as client:
        url = f"http://127.0.0.1:{port}/v1/messages"
        answer = await client.post(url, json={**request(), name: 1})
        assert answer.status_code == 200
        assert "runware-dropped" in answer.headers
        assert "x-y" not in answer.headers


@parsers
async def test_a_request_that_never_comes_is_given_up(
    monkeypatch: pytest.MonkeyPatch, httptools: bool
) -> None:
    from runware_ws.gateway import protocols

    monkeypatch.setattr(protocols, "HEAD_TIMEOUT", 0.2)
    async with served(httptools, 0.2) as port:
        for head in (b"", b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n"):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                if head:
                    await stream.send(head)
                with anyio.fail_after(30), pytest.raises(anyio.EndOfStream):
                    await stream.receive()
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(
                b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{"
            )
            with anyio.fail_after(30):
                answer = await stream.receive()
            assert answer.startswith(b"HTTP/1.1 408 ")


_CHUNKED = (
    b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: any\r\n"
    b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"
)


@parsers
@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /", b"a" * 1_000),
        (b"GET / HTTP/1.1\r\n", b"x-%s: y\r\n" % (b"x" * 1_000)),
        (b"GET / HTTP/1.1\r\nx-one: ", b"y" * 1_000),
        (_CHUNKED + b"0\r\n", b"x-%s: y\r\n" % (b"x" * 1_000)),
    ],
    ids=["address", "headers", "header", "trailers"],
)
async def test_a_head_without_end_is_cut_off(httptools: bool, begin: bytes, more: bytes) -> None:
    async with served(httptools, 30) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        cut = False
        # Sooner than any limit of time would do it.
        with anyio.fail_after(8):
            try:
                await stream.send(begin)
                for _ in range(5_000):
                    await stream.send(more)
                while True:
                    await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                cut = True
        assert cut


def _no_signals() -> Any:
    from contextlib import nullcontext

    return nullcontext()


# What it refuses


Refused = Callable[..., tuple[int, str]]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Refused:
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNWARE_API_KEY", KEY)

    def invoke(*args: str) -> tuple[int, str]:
        result = CliRunner().invoke(command, ["serve", *args])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stderr

    return invoke


def test_other_hosts_need_callers(refused: Refused) -> None:
    for host in ("0.0.0.0", "::", "example.org"):
        code, said = refused("--host", host)
        assert code == 2
        assert "--callers FILE" in said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--callers", "none.toml"), "--callers: none.toml: cannot be read"),
        (("--emulate", "--url", "ws://x"), "--emulate and --url exclude each other"),
        (("--emulate", "--journal", "j"), "--emulate and --journal exclude each other"),
        (("--emulate", "--unsupported", "x"), "--unsupported x: must be error or drop"),
        (("--emulate", "--delivery", "x"), "--delivery x: must be sync or async"),
        (("--url", "http://x"), "url must look like"),
        (("--api-key-file", "none"), "the key cannot be read"),
        (("--new-caller", "a b"), "--new-caller: caller"),
        (("--emulate", "--callers", "ok.toml", "--host", "a" * 64), "it is no name of a host"),
        (("--emulate", "--callers", "ok.toml", "--host", "192.0.2.1"), "choose another --host"),
    ],
)
def test_bad_usage_is_one_line(options: tuple[str, ...], words: str, refused: Refused) -> None:
    Path("ok.toml").write_text(f'[callers.ann]\nkey = "{hash_of_key(KEY)}"\n')
    code, said = refused("--port", "0", *options)
    assert code == 2
    assert words in said
    assert said.count("\n") == 1
    assert KEY not in said


def test_an_end_that_never_comes_is_refused(refused: Refused) -> None:
    code, said = refused("--port", "0", "--emulate", "--drain", "inf")
    assert code == 2
    assert "'--drain'" in said


def test_a_port_that_is_taken(refused: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = refused("--emulate", "--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "choose another --port" in said


def test_a_key_is_needed(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNWARE_API_KEY")
    code, said = refused("--port", "0")
    assert code == 2
    assert "RUNWARE_API_KEY" in said


async def test_a_refused_key_ends_it() -> None:
    async with EmulatorProcess("another-key") as emulator:
        gateway = GatewayProcess("--url", emulator.url)
        async with gateway:
            process, gateway.process = gateway.process, None
            assert process is not None
            with anyio.fail_after(60):
                assert await process.wait() == 3
            await process.aclose()


async def test_as_many_connections_as_were_allowed() -> None:
    async with (
        GatewayProcess("--emulate", "--max-connections", "2") as gateway,
        AsyncExitStack() as to,
    ):
        answers: list[bytes] = []
        for _ in range(3):
            stream = await to.enter_async_context(
                await anyio.connect_tcp("127.0.0.1", gateway.port)
            )
            await stream.send(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
            with anyio.fail_after(30):
                answers.append(await stream.receive())
        assert [answer[9:12] for answer in answers] == [b"200", b"200", b"503"]


async def test_who_has_left_takes_up_no_connection() -> None:
    """Its task goes on, and its request with it. In an outage those may be many, but not endless:
    each takes some memory."""
    body = json.dumps(request()).encode()
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with (
        EmulatorProcess(KEY, latency="300s") as emulator,
        GatewayProcess("--url", emulator.url, "--max-connections", "2") as gateway,
        http() as asks,
    ):
        for number in range(1, 13):
            async with await anyio.connect_tcp("127.0.0.1", gateway.port) as stream:
                await stream.send(head + body)
                await accepted(emulator, number)
            if number in (5, 12):
                answer = await asks.get(f"{gateway.url}/health/live")
                assert answer.status_code == (200 if number == 5 else 503)


async def test_batches_over_the_built_in_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have a journal of their own, which is gone at the end; a message waits for none."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    params = request("In a batch?")
    async with GatewayProcess("--emulate") as gateway, http() as asks:
        url = f"{gateway.url}/v1/messages/batches"
        given = {"requests": [{"custom_id": "a", "params": params}]}
        answers = [
            await asks.post(url, json=given, headers={"idempotency-key": "k"}) for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [200, 200]
        (batch,) = {answer.json()["id"] for answer in answers}
        with anyio.fail_after(60):
            while (await asks.get(f"{url}/{batch}")).json()["processing_status"] != "ended":  # noqa: ASYNC110 (another process)
                await anyio.sleep(0.01)
        (line,) = (await asks.get(f"{url}/{batch}/results")).text.splitlines()
        assert "In a batch?" in json.loads(line)["result"]["message"]["content"][0]["text"]
        plain = await asks.post(f"{gateway.url}/v1/messages", json=request())
        assert plain.status_code == 200
        assert any(name.startswith("runware_ws-") for name in os.listdir(tmp_path))
        metrics = (await asks.get(f"{gateway.url}/metrics")).text
        for client in ("gateway", "batches"):
            assert f'runware_ws_tasks_submitted_total{{client="{client}"}} 1.0' in metrics
        assert await gateway.end() == 0
    assert os.listdir(tmp_path) == []


async def test_a_new_caller_gets_in(tmp_path: Path) -> None:
    callers = tmp_path / "callers.toml"
    callers.write_text(f'[callers.ann]\nkey = "{hash_of_key("key-of-ann")}"\n')
    gateway = GatewayProcess("--emulate", "--callers", str(callers))
    async with gateway, http() as asks:
        for key, status in (("key-of-ann", 200), ("key-of-bob", 401)):
            answer = await asks.post(
                f"{gateway.url}/v1/messages", json=request(), headers={"x-api-key": key}
            )
            assert answer.status_code == status
        assert await gateway.end(signal.SIGINT) == 0
