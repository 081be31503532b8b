"""``runware-ws serve --uds``: a socket in the file system, for one user of one host."""

from __future__ import annotations

import signal
import socket
import stat
import sys
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import httpx2
import pytest
from typer.testing import CliRunner

from runware_ws.cli.app import app as command
from runware_ws.emulator import EmulatorProcess
from tests.gateway.processes import KEY, GatewayProcess
from tests.gateway.support import request
from tests.gateway.test_serve import accepted, journal_in

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="there are no such sockets here"),
]


@pytest.fixture
def anyio_backend() -> str:
    """The processes are what is tested."""
    return "asyncio"


@pytest.fixture
def folder() -> Generator[Path]:
    """The path of such a socket has room for some 100 bytes only."""
    with TemporaryDirectory(prefix="rw-") as name:
        yield Path(name)


def http(path: Path) -> httpx2.AsyncClient:
    transport = httpx2.AsyncHTTPTransport(uds=str(path))
    return httpx2.AsyncClient(transport=transport, base_url="http://gateway", timeout=60)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


async def test_it_is_there_for_its_user_alone_and_gone_at_the_end(folder: Path) -> None:
    path = folder / "gateway.sock"
    async with GatewayProcess("--emulate", uds=path) as gateway, http(path) as asks:
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        bodies = [request(), request(stream=True)]
        answers = [await asks.post("/v1/messages", json=body) for body in bodies]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[1].text.endswith('"message_stop"}\n\n')
        assert names(folder) == [path.name]
        assert await gateway.end() == 0
    assert names(folder) == []


async def test_one_that_a_killed_process_left_is_replaced(folder: Path) -> None:
    path = folder / "gateway.sock"
    async with GatewayProcess("--emulate", uds=path) as gateway, http(path) as asks:
        await gateway.end(signal.SIGKILL)
        assert path.exists()
        await gateway.start()
        assert (await asks.get("/health/live")).status_code == 200


async def test_a_new_process_takes_over_the_path(folder: Path, tmp_path: Path) -> None:
    path = folder / "gateway.sock"
    async with EmulatorProcess(KEY, latency="1s") as emulator:
        options = ("--url", emulator.url, "--journal", journal_in(tmp_path), "--reuse-port")
        async with GatewayProcess(*options, uds=path) as old, http(path) as asks:
            answers: list[int] = []

            async def ask() -> None:
                answers.append((await asks.post("/v1/messages", json=request())).status_code)

            async with (
                anyio.create_task_group() as group,
                GatewayProcess(*options, uds=path) as new,
            ):
                group.start_soon(ask)
                await accepted(emulator, 1)
                assert await old.end() == 0
                await ask()
                assert answers == [200, 200]
                assert await new.end() == 0
        assert names(folder) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--uds", "file"), "file: is no socket: choose another path"),
        (("--uds", "."), ".: is no socket"),
        (("--uds", "live"), "another process listens there"),
        (("--uds", "none/gateway.sock"), "No such file or directory"),
        (("--uds", "x" * 200), "path too long"),
        (("--uds", "free", "--host", "::1"), "--uds and --host exclude each other"),
        (("--uds", "free", "--port", "9"), "--uds and --port exclude each other"),
    ],
)
def test_what_cannot_be_a_socket_is_refused(
    options: tuple[str, ...], words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    Path("file").write_text("precious")
    with socket.socket(socket.AF_UNIX) as live:
        live.bind("live")
        live.listen()
        result = CliRunner().invoke(command, ["serve", "--emulate", *options])
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert Path("file").read_text() == "precious"
    assert names(folder) == ["file", "live"]
