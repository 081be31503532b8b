"""The published clients of the Messages shape, and frameworks above them, through the gateway.

Each knows the gateway by its address alone. All cases of one of them run in one process: to import
a framework takes seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
import uvicorn
from anyio.streams.buffered import BufferedByteReceiveStream
from starlette.types import Receive, Scope, Send

from runware_ws.emulator import Emulator, expected_text
from runware_ws.errors import RunwareError
from runware_ws.gateway.error_table import ErrorReply, reply_to
from runware_ws.gateway.exchange import Exchange
from tests.gateway.processes import KEY, Cuts, GatewayProcess, proxy
from tests.gateway.test_error_table import CASES, CLASSES

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # the first run installs the clients

HERE = Path(__file__).parent
PYTHON = ["anthropic", "anthropic-async", "langchain-anthropic", "pydantic-ai", "instructor"]
TOOL = {"tool": "Weather", "arguments": {"city": "text", "days": 1}}
"""What the emulator calls the tool with that the scripts force."""


class Driver:
    """A process that runs case after case."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to = process.stdin
        self._from = BufferedByteReceiveStream(process.stdout)

    async def run(self, case: str, url: str, prompt: str) -> dict[str, Any]:
        """What the script reports of one case."""
        await self._to.send(f"{case} {url} {prompt}\n".encode())
        with anyio.fail_after(120):
            report: dict[str, Any] = json.loads(await self._from.receive_until(b"\n", 1_000_000))
        assert report["outside"] == []
        return report


@asynccontextmanager
async def driver(name: str, request: pytest.FixtureRequest) -> AsyncGenerator[Driver]:
    """The script of a client, as a process."""
    environment = {key: text for key, text in os.environ.items() if "ANTHROPIC" not in key}
    if name == "typescript":
        folder: Path = request.getfixturevalue("typescript_folder")
        command = ["node", str(HERE / "typescript_script.mjs"), str(folder)]
    else:
        folder = request.getfixturevalue("frameworks_folder")
        environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(HERE)])
        environment["PYTHONWARNINGS"] = "ignore"
        command = [sys.executable, str(HERE / "frameworks_script.py"), name]
    process = await anyio.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, env=environment
    )
    try:
        yield Driver(process)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()


class Matrix:
    """One client, the gateway, and an emulator that counts what ran."""

    def __init__(self, name: str, driver: Driver, emulator: Emulator, url: str) -> None:
        self.name = name
        self.driver = driver
        self.emulator = emulator
        self.url = url
        self._known: set[str] = set()

    def ran(self) -> list[str]:
        """The tasks that ran since it was asked last; none ran twice."""
        stats = self.emulator.stats
        assert stats.executed_twice == []
        assert set(stats.executions.values()) <= {1}
        new = [uuid for uuid in stats.executions if uuid not in self._known]
        self._known.update(new)
        return new

    async def answered(self, case: str, prompt: str, url: str | None = None) -> None:
        """A case ends with the right answer, and ran once."""
        report = await self.driver.run(case, url or self.url, prompt)
        assert report["error"] is None, (self.name, prompt, report)
        found = report["found"]
        (uuid,) = self.ran()
        if case == "stream":
            assert found.pop("pieces") >= 1
        if case == "tools" or self.name == "instructor":
            assert found == TOOL
        else:
            assert found == {"text": expected_text(prompt, uuid)}

    async def failed(self) -> None:
        """The verdict of the server arrives as the right class, and is not asked for again."""
        self.emulator.faults.inject_error("insufficientCredits", "No credits.")
        sent = self.emulator.stats.errors_sent
        error = (await self.driver.run("plain", self.url, "error"))["error"]
        assert (error["class"], error["status"]) == ("PaymentRequiredError", 402), error
        assert "No credits." in error["words"]
        assert self.emulator.stats.errors_sent == sent + 1
        assert self.ran() == []


class BeforeTheHead(Cuts):
    """Cuts before the head of an answer is whole: at once, or when all of it was sent. The
    TypeScript client does not ask again if the body breaks off."""

    def decide(self, tries: int) -> int | None:
        if tries > 1:
            return None
        self.made += 1
        return (0, 1, 1_000_000)[self.made % 3]


class EachFirstTry(Cuts):
    """Each first try is cut when the gateway has long had it."""

    def decide(self, tries: int) -> int | None:
        self.made += tries == 0
        return 0 if tries == 0 else None


@pytest.mark.parametrize("name", [*PYTHON, "typescript"])
async def test_a_client_works_through_the_gateway(
    name: str, request: pytest.FixtureRequest
) -> None:
    # Of what instructor sends, Runware cannot take ``disable_parallel_tool_use``.
    options = ("--unsupported", "drop") if name == "instructor" else ()
    async with (
        driver(name, request) as script,
        Emulator(api_key=KEY, latency="20ms") as emulator,
        GatewayProcess("--url", emulator.url, *options) as gateway,
    ):
        matrix = Matrix(name, script, emulator, gateway.url)
        for case in ("plain", "stream", "tools"):
            await matrix.answered(case, case)
        await matrix.failed()
        emulator.faults.inject_error("rateLimitExceeded", "Slow down.")
        sent = emulator.stats.errors_sent
        await matrix.answered("plain", "retry")
        assert emulator.stats.errors_sent == sent + 1
        cuts = EachFirstTry(seed=1, delay=0.3)
        for number, case in enumerate(("plain", "stream", "tools"), 1):
            # A proxy for each: it decides by connection, and clients keep theirs.
            async with proxy(lambda: gateway.port, cuts) as url:
                await matrix.answered(case, "cut", url)
            assert cuts.made == number


async def test_the_typescript_client_makes_batches(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with (
        driver("typescript", request) as script,
        Emulator(api_key=KEY, latency="20ms") as emulator,
        GatewayProcess("--url", emulator.url, "--journal", str(tmp_path / "g.db")) as gateway,
    ):
        matrix = Matrix("typescript", script, emulator, gateway.url)
        await matrix.answered("batch", "batch")
        async with proxy(lambda: gateway.port, BeforeTheHead(seed=1, delay=0.1)) as url:
            await matrix.answered("batch", "cut", url)


async def test_the_typescript_client_is_cut_and_nothing_runs_twice(
    request: pytest.FixtureRequest,
) -> None:
    async with (
        driver("typescript", request) as script,
        Emulator(api_key=KEY, latency="20ms-80ms") as emulator,
        GatewayProcess("--url", emulator.url) as gateway,
    ):
        matrix = Matrix("typescript", script, emulator, gateway.url)
        cuts = BeforeTheHead(seed=7)
        for number in range(25):
            async with proxy(lambda: gateway.port, cuts) as url:
                await matrix.answered("plain", f"cut-{number}", url)
        assert cuts.made >= 25


def table() -> list[ErrorReply]:
    """The reply to each error."""
    return [reply_to(cast("RunwareError", case.values[0]), joins=True) for case in CASES]


@asynccontextmanager
async def errors_by_number() -> AsyncGenerator[str]:
    """A server that answers below ``/3`` with the reply to the third error of the table."""
    replies = table()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        number = int(scope["path"].split("/")[1])
        await Exchange(scope, receive, send).send_error(replies[number])

    config = uvicorn.Config(
        application, host="127.0.0.1", port=0, lifespan="off", log_level="error", http="h11"
    )
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        with anyio.fail_after(30):
            while not server.started:  # noqa: ASYNC110 - no event for it
                await anyio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True


async def test_errors_reach_their_class_in_the_typescript_client(
    request: pytest.FixtureRequest,
) -> None:
    async with driver("typescript", request) as script, errors_by_number() as url:
        reports: list[dict[str, Any]] = [{}] * len(CASES)
        for number in range(len(CASES)):
            reports[number] = await script.run("plain", f"{url}/{number}", "error")
    for case, reply, report in zip(CASES, table(), reports, strict=True):
        error = report["error"]
        assert error["class"] == CLASSES[reply.status].__name__, case.id
        assert (error["status"], error["type"]) == (reply.status, reply.kind)
        assert error["request_id"].startswith("req_")
        assert "it went wrong" in error["words"]
