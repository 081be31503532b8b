"""SIGHUP: the file of callers is read again; without one the gateway ends as at SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Sequence
from pathlib import Path

import anyio
import httpx2
import pytest

from runware_ws.emulator import EmulatorProcess
from runware_ws.gateway import hash_of_key
from tests.gateway.processes import KEY, TOO_LONG, GatewayProcess
from tests.gateway.support import request
from tests.gateway.test_serve import accepted, http

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal here"),
]


@pytest.fixture
def anyio_backend() -> str:
    """The processes are what is tested."""
    return "asyncio"


@pytest.fixture(autouse=True)
def heard() -> Generator[None]:
    """A process that is told by ``nohup`` to ignore the signal hands that on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def write(path: Path, **callers: str) -> None:
    """A file of callers, as a careful editor leaves it: the new one in the place of the old one."""
    new = path.with_suffix(".new")
    new.write_text(
        "\n".join(
            f'[callers.{name}]\nkey = "{hash_of_key(f"key-of-{name}")}"\n{limits}'
            for name, limits in callers.items()
        )
    )
    os.replace(new, path)


async def ask(asks: httpx2.AsyncClient, gateway: GatewayProcess, name: str) -> int:
    answer = await asks.post(
        f"{gateway.url}/v1/messages", json=request(), headers={"x-api-key": f"key-of-{name}"}
    )
    return answer.status_code


async def hang_up(gateway: GatewayProcess, said: Path, words: str) -> None:
    """Send the signal, and wait until it has said so."""
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)
    with anyio.fail_after(TOO_LONG):
        while words not in await anyio.Path(said).read_text():  # noqa: ASYNC110 (a file)
            await anyio.sleep(0.01)


async def test_the_file_of_callers_is_read_again(tmp_path: Path) -> None:
    path, said = tmp_path / "callers.toml", tmp_path / "said"
    write(path, ann="max_concurrency = 1", bob="")
    async with EmulatorProcess(KEY, latency="1s") as emulator:
        gateway = GatewayProcess("--url", emulator.url, "--callers", str(path), said=said)
        codes: list[int] = []

        async def later(name: str) -> None:
            codes.append(await ask(asks, gateway, name))

        async with gateway, http() as asks, anyio.create_task_group() as group:
            for name in ("ann", "bob"):
                group.start_soon(later, name)
            await accepted(emulator, 2)
            write(path, ann="max_concurrency = 2", cid="")
            await hang_up(gateway, said, "2 callers")
            # What runs still counts, whoever else has gone.
            group.start_soon(later, "ann")
            await accepted(emulator, 3)
            assert await ask(asks, gateway, "ann") == 429
            assert await ask(asks, gateway, "bob") == 401
            assert await ask(asks, gateway, "cid") == 200
        assert codes == [200, 200, 200]


async def test_a_file_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    path, said = tmp_path / "callers.toml", tmp_path / "said"
    write(path, ann="")
    gateway = GatewayProcess("--emulate", "--callers", str(path), said=said)
    async with gateway, http() as asks:
        for text in ("[callers", None):
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
            words = "is not TOML" if text is not None else "cannot be read"
            await hang_up(gateway, said, words)
            assert await ask(asks, gateway, "ann") == 200
        write(path, bob="")
        await hang_up(gateway, said, "1 caller")
        assert [await ask(asks, gateway, name) for name in ("ann", "bob")] == [401, 200]
        assert await gateway.end() == 0
    assert "Traceback" not in said.read_text()


async def test_without_a_file_it_ends_in_good_order(tmp_path: Path) -> None:
    async with EmulatorProcess(KEY, latency="1s") as emulator:
        gateway = GatewayProcess("--url", emulator.url)
        codes: Sequence[int] = []
        async with gateway, http() as asks, anyio.create_task_group() as group:

            async def later() -> None:
                nonlocal codes
                codes = [await ask(asks, gateway, "ann")]

            group.start_soon(later)
            await accepted(emulator, 1)
            assert await gateway.end(signal.SIGHUP) == 0
        assert codes == [200]
