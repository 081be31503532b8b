"""Every ```` ```python ```` block of README.md, CONTRIBUTING.md and docs/ is run."""

from __future__ import annotations

import builtins
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio import to_thread

import runware_ws
from runware_ws import Client
from runware_ws.emulator import Emulator
from tests.docs.blocks import PYTHON, ROOT, Block

KEY = "key-of-the-docs"
TOO_LONG = 120.0

_ASKED = re.compile(r"(?P<first>a service|more of it), asked: (?P<verb>[A-Z]+) (?P<path>\S+) ?(.*)")
_RUN_BY = re.compile(r"run by (\S+)")
_PROCESSES = ("a process of its own", "a step of DBOS")

ELSEWHERE = [block for block in PYTHON if _RUN_BY.fullmatch(block.note)]
SERVICES = [block for block in PYTHON if _ASKED.fullmatch(block.note)]
LOCUST = [block for block in PYTHON if block.note == "a file for Locust"]
PROCESSES = [block for block in PYTHON if block.note in _PROCESSES]
HERE = [block for block in PYTHON if block not in [*ELSEWHERE, *SERVICES, *LOCUST, *PROCESSES]]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Programs have a loop of their own."""
    return "asyncio"


def _place(block: Block) -> str:
    return block.place


def test_there_are_blocks_of_each_kind() -> None:
    assert len(HERE) >= 5
    assert ELSEWHERE
    assert SERVICES
    assert LOCUST
    assert {block.note for block in PROCESSES} == set(_PROCESSES)


@pytest.mark.parametrize("block", HERE, ids=_place)
async def test_a_program_runs(
    block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = compile(block.program, block.place, "exec")
    printed: list[str] = []

    def note(*values: object, **_: object) -> None:
        printed.append(" ".join(map(str, values)))

    async with Emulator(api_key=[KEY, "any"]) as emulator:

        class Connected(Client):
            def __init__(self, url: str = emulator.url, **options: Any) -> None:
                super().__init__(url, **options)

        monkeypatch.chdir(tmp_path)  # Some write files.
        monkeypatch.setenv("RUNWARE_API_KEY", KEY)
        monkeypatch.setenv("RUNWARE_WS_URL", emulator.url)
        monkeypatch.setattr(runware_ws, "Client", Connected)
        # Programs start an event loop of their own, so they need a thread of their own.
        program: Callable[[], None] = lambda: builtins.exec(  # noqa: E731
            code, {"__name__": "__main__", "print": note}
        )
        with anyio.fail_after(30), logs_as_they_were():
            await to_thread.run_sync(program)
    assert printed


@contextmanager
def logs_as_they_were() -> Generator[None]:
    """A program sets up the logs of the whole process."""
    loggers = (logging.getLogger(), logging.getLogger("runware_ws"))
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    try:
        yield
    finally:
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers


@pytest.mark.parametrize("block", SERVICES, ids=_place)
async def test_a_service_answers(
    block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``more of it`` stands on all that the page has had of its service so far."""
    asked = _ASKED.fullmatch(block.note)
    assert asked is not None
    parts = [block]
    if asked["first"] == "more of it":
        parts = [each for each in SERVICES if each.page == block.page and each.line <= block.line]
    source = "\n".join(part.body for part in parts)
    async with Emulator(api_key=KEY) as emulator:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("RUNWARE_API_KEY", KEY)
        monkeypatch.setenv("RUNWARE_WS_URL", emulator.url)
        names: dict[str, Any] = {"__name__": "service"}
        builtins.exec(compile(source, block.place, "exec", dont_inherit=True), names)
        service = names["service" if "service" in names else "app"]
        async with (
            service.router.lifespan_context(service),
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(service), base_url="http://service"
            ) as http,
        ):
            body = json.loads(asked[4]) if asked[4] else None
            with anyio.fail_after(30):
                # It may not be ready yet.
                while True:
                    answer = await http.request(asked["verb"], asked["path"], json=body)
                    if answer.status_code != 503:
                        break
                    await anyio.sleep(0.01)
    assert answer.status_code == 200, answer.text
    assert answer.content


@pytest.mark.parametrize("block", PROCESSES, ids=_place)
async def test_a_process_ends_well(block: Block, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(block.program, encoding="utf-8")
    async with Emulator(api_key=KEY) as emulator:
        assert await run("program.py", folder=tmp_path, url=emulator.url)


@pytest.mark.slow
@pytest.mark.parametrize("block", LOCUST, ids=_place)
async def test_a_file_for_locust_asks(block: Block, tmp_path: Path) -> None:
    pytest.importorskip("ddsketch")
    (tmp_path / "agents.py").write_text(block.program, encoding="utf-8")
    async with Emulator(api_key=KEY, latency=0.3) as emulator:
        load = f"--headless --host {emulator.url} -u 2 -r 2 -t 10m --stop-timeout 30".split()
        with anyio.fail_after(TOO_LONG), (tmp_path / "told").open("wb") as told:
            async with await anyio.open_process(
                [sys.executable, "-m", "locust", "-f", "agents.py", *load],
                cwd=tmp_path,
                env=environment(emulator.url),
                stdout=told,
                stderr=told,
            ) as locust:
                # What runs when Locust is told to end is waited for.
                while not (emulator.running or locust.returncode):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
                with suppress(ProcessLookupError):
                    locust.terminate()
                await locust.wait()
        assert locust.returncode == 0, (tmp_path / "told").read_text()
        assert emulator.stats.executions


def environment(url: str) -> dict[str, str]:
    """The environment of a process with an emulator to go to."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "RUNWARE_API_KEY": KEY, "RUNWARE_WS_URL": url, "PYTHONPATH": path}


async def run(*arguments: str, folder: Path, url: str) -> str:
    """What a Python process printed, in a folder, with an emulator to go to."""
    with anyio.fail_after(TOO_LONG):
        done = await anyio.run_process(
            [sys.executable, *arguments], cwd=folder, env=environment(url), check=False
        )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


@pytest.mark.parametrize("block", ELSEWHERE, ids=_place)
def test_it_is_run_elsewhere(block: Block) -> None:
    where = _RUN_BY.fullmatch(block.note)
    assert where is not None
    assert f'"{block.page.name}"' in (ROOT / where[1]).read_text(encoding="utf-8")
