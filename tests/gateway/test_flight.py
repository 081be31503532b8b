"""``runware-ws serve --flight``: what SIGUSR2 does to a gateway, with it and without it."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import anyio
import httpx2
import pytest
from typer.testing import CliRunner

from runware_ws.cli.app import app as command
from runware_ws.emulator import EmulatorProcess
from tests.gateway.processes import KEY, TOO_LONG, GatewayProcess
from tests.gateway.support import request
from tests.simulation.replay import replay

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="there is no such signal here"),
]

PROMPT = "xylophone-of-the-planted-prompt"


@pytest.fixture
def anyio_backend() -> str:
    """The processes are what is tested."""
    return "asyncio"


async def ask(gateway: GatewayProcess, *, stream: bool = False) -> str:
    """What the gateway answers to the planted prompt, which the emulator repeats."""
    async with httpx2.AsyncClient(timeout=TOO_LONG, trust_env=False) as http:
        body = request(PROMPT, stream=stream, max_tokens=512)
        answer = await http.post(f"{gateway.url}/v1/messages", json=body)
    assert answer.status_code == 200
    return answer.text


async def signalled(gateway: GatewayProcess, said: Path, wanted: str, times: int = 1) -> str:
    """Send it the signal, and wait until it has said what is wanted; returns all that it said."""
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGUSR2)
    with anyio.fail_after(TOO_LONG):
        while True:
            words = await anyio.Path(said).read_text()
            if words.count(wanted) >= times:
                return words
            await anyio.sleep(0.01)


async def test_a_signal_has_a_recording_written_without_the_key_and_the_words(
    tmp_path: Path,
) -> None:
    folder, said = tmp_path / "made" / "flights", tmp_path / "said"
    async with EmulatorProcess(KEY) as emulator:
        gateway = GatewayProcess("--url", emulator.url, "--flight", str(folder), said=said)
        async with gateway:
            assert PROMPT in await ask(gateway)
            await ask(gateway, stream=True)
            for times in (1, 2):
                words = await signalled(gateway, said, ".jsonl\n", times)
            assert PROMPT in await ask(gateway)
            assert await gateway.end() == 0
    told = [Path(path) for path in re.findall(r"asked for is in (\S+\.jsonl)\n", words)]
    assert sorted(told) == sorted(folder.iterdir())
    assert len(told) == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in told:
        text = path.read_text(encoding="utf-8")
        assert json.loads(text.splitlines()[0])["kind"] == "recording"
        for secret in (KEY, PROMPT, PROMPT[:9]):
            assert secret not in text
            assert secret not in words
        found = replay(path)
        assert found.same, found.text()
        assert [end[0] for end in found.played.values()] == ["DONE", "DONE"]


async def test_without_it_the_signal_is_told_and_does_no_harm(tmp_path: Path) -> None:
    said = tmp_path / "said"
    async with GatewayProcess("--emulate", said=said) as gateway:
        words = await signalled(gateway, said, "FOLDER\n")
        assert "SIGUSR2: nothing is recorded: start it with --flight FOLDER\n" in words
        assert PROMPT in await ask(gateway)
        assert await gateway.end() == 0


def test_a_folder_that_cannot_be_is_refused_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for place, why in ((file, "File exists"), (file / "below", "Not a directory")):
        result = CliRunner().invoke(
            command, ["serve", "--port", "0", "--emulate", "--flight", str(place)]
        )
        assert result.exit_code == 2
        assert result.stderr == f"runware-ws: --flight {place}: {why}: name a folder\n"
