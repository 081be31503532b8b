"""The way that the key travels: TLS, redirects, proxies, URLs."""

from __future__ import annotations

import re
import ssl
from typing import Any

import anyio
import pytest
import trustme
from anyio.abc import SocketStream
from websockets.utils import accept_key

from runware_ws import Client, Config, ConfigurationError, ConnectionFailed
from runware_ws._io.transport import dial
from runware_ws.emulator import Emulator
from tests.streams.servers import listening

from .support import KEY, QUICK, ask, bounded, client_of, until

pytestmark = pytest.mark.anyio

PASSWORD = "pa55wordInTheUrl"


class Recorder:
    """Reads one HTTP request per connection and answers with fixed bytes."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.connections = 0
        self.heard = bytearray()

    async def handle(self, stream: SocketStream) -> None:
        """Serve one connection."""
        self.connections += 1
        async with stream:
            try:
                while b"\r\n\r\n" not in self.heard:
                    self.heard += await stream.receive()
                await stream.send(self.answer)
                while True:
                    self.heard += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return


# URLs


@pytest.mark.parametrize(
    "url",
    ["ws://ws-api.example/v1", "ws://10.1.2.3:80/v1", "ws://localhost.evil.example/v1"],
)
def test_plain_sockets_beyond_loopback_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="allow_insecure"):
        Client(url, api_key=KEY)
    assert url in repr(Client(url, api_key=KEY, allow_insecure=True))


@pytest.mark.parametrize(
    "url",
    [
        "ws://127.0.0.1:1/v1",
        "ws://127.8.9.1/v1",
        "ws://[::1]:1/v1",
        "ws://localhost/v1",
        "wss://any.example/v1",
    ],
)
def test_urls_over_which_the_key_may_travel(url: str) -> None:
    Client(url, api_key=KEY)


@pytest.mark.parametrize(
    "url", ["", "no url", "http://127.0.0.1/v1", "wss:///v1", "wss://host:0/", "wss://host:99999/"]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match="url"):
        Client(url, api_key=KEY)


@pytest.mark.parametrize("scheme", ["wss", "ws"])
def test_credentials_in_the_url_are_refused_and_not_shown(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match="credentials") as caught:
        Client(f"{scheme}://user:{PASSWORD}@127.0.0.1/v1", api_key=KEY)
    assert PASSWORD not in str(caught.value)


def test_credentials_in_a_url_of_another_scheme_are_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Client(f"https://user:{PASSWORD}@127.0.0.1/v1", api_key=KEY)
    assert PASSWORD not in str(caught.value)


# Redirects


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
@bounded
async def test_redirects_are_not_followed(status: str) -> None:
    async with Emulator(KEY) as target:
        answer = (
            f"HTTP/1.1 {status}\r\nLocation: {target.url}\r\nContent-Length: 0\r\n"
            "Connection: close\r\n\r\n"
        )
        recorder = Recorder(answer.encode())
        async with listening(recorder.handle) as port:
            async with Client(f"ws://127.0.0.1:{port}/v1", api_key=KEY, **QUICK) as client:
                with pytest.raises(ConnectionFailed, match=status[:3]):
                    await client.run(ask())
                await anyio.sleep(0.03)
                assert client.stats().dials == 1
            assert recorder.connections == 1
            assert KEY.encode() not in recorder.heard
        assert target.stats.connections == 0


# The end of a socket


@bounded
async def test_a_socket_that_is_dropped_ends_with_a_reset() -> None:
    ends: list[str] = []

    async def serve(stream: SocketStream) -> None:
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive()
            (key,) = re.findall(rb"(?i)sec-websocket-key: *(\S+)", request)
            accept = accept_key(key.decode())
            await stream.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
            )
            try:
                while True:
                    await stream.receive()
            except anyio.EndOfStream:
                ends.append("end")
            except anyio.BrokenResourceError:
                ends.append("reset")

    # Otherwise the kernel goes on sending what it holds, and a request arrives long after.
    async with listening(serve) as port:
        async with dial(f"ws://127.0.0.1:{port}/v1", Config(proxy=None)) as transport:
            await transport.send(b"[]")
        await until(lambda: ends)
    assert ends == ["reset"]


# TLS


def certificate(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Settings of a server whose authority nobody knows, and of a client that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server)  # pyright: ignore[reportUnknownMemberType]
    client = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    return server, client


@pytest.mark.parametrize("wrong", ["unknown authority", "wrong name"])
@bounded
async def test_a_certificate_that_cannot_be_trusted_is_terminal(wrong: str) -> None:
    heard = 0

    async def handle(stream: Any) -> None:
        nonlocal heard
        try:
            heard += len(await stream.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return

    named = "127.0.0.1" if wrong == "unknown authority" else "other.example"
    server, trusting = certificate(named)
    options: dict[str, Any] = QUICK if wrong == "unknown authority" else QUICK | {"ssl": trusting}
    async with listening(handle, server) as port:
        client = Client(f"wss://127.0.0.1:{port}/v1", api_key=KEY, **options)
        async with client:
            handle_of_task = await client.submit(ask())
            with pytest.raises(ConnectionFailed, match="tls failed"):
                await client.ready()
            with pytest.raises(ConnectionFailed) as caught:
                await handle_of_task
            assert caught.value.safe_to_resend
            await anyio.sleep(0.03)
            assert client.stats().dials == 1
    assert heard == 0


@bounded
async def test_a_certificate_that_is_trusted() -> None:
    server, trusting = certificate("localhost")
    options: dict[str, Any] = {**QUICK, "ssl": trusting}
    async with Emulator(KEY) as emulator:

        async def relay(stream: Any) -> None:
            async def copy(source: Any, sink: Any, scope: anyio.CancelScope) -> None:
                try:
                    while True:
                        await sink.send(await source.receive())
                except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    scope.cancel()

            back = await anyio.connect_tcp("127.0.0.1", emulator.port)
            async with back, anyio.create_task_group() as group:
                group.start_soon(copy, stream, back, group.cancel_scope)
                group.start_soon(copy, back, stream, group.cancel_scope)
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)

        async with listening(relay, server) as port:
            url = f"wss://localhost:{port}/v1"
            async with Client(url, api_key=KEY, **options) as client:
                await client.run(ask())
                emulator.faults.cut()
                await client.run(ask())


# Proxies


@bounded
async def test_a_socket_to_loopback_takes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    async with Emulator(KEY) as emulator, listening(recorder.handle) as port:
        for name in ("http_proxy", "https_proxy", "socks_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        async with client_of(emulator, proxy=True) as client:
            await until(lambda: client.connected or recorder.connections)
            connected = client.connected
            # Let it come home without the proxy, so that closing finds a socket.
            monkeypatch.delenv("https_proxy")
            await client.ready()
        assert recorder.connections == 0
        assert connected
