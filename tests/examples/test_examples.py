"""Every example runs as a newcomer runs it, without a key, and prints what it promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runware_ws

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run_example(name: str, *arguments: str) -> str:
    """Run one example with warnings as errors; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if k != "RUNWARE_API_KEY"}
    # The library under test, installed or not.
    package = str(Path(runware_ws.__file__).parents[1])
    environment |= {"PYTHONPATH": package, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=90,
        env=environment,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_example_is_run_here() -> None:
    names = {path.name for path in EXAMPLES.glob("[!_]*.py")}
    assert names == {"single_call.py", "fan_out.py", "tool_loop.py", "web_service.py"}


def test_single_call() -> None:
    printed = run_example("single_call.py")
    assert re.search(r"answer: +echo \w+: Why is the sky blue\?", printed)
    assert re.search(r"finished by: +stop", printed)
    assert re.search(r"tokens: +\d+ in, \d+ out", printed)
    assert re.search(r"cost: +\$0\.0000\d\d", printed)
    assert re.search(r"came home by: live", printed)


def test_fan_out_answers_all_although_the_wire_is_cut() -> None:
    printed = run_example("fan_out.py")
    assert "answered: 500 of 500" in printed
    assert "errors:   0" in printed
    cuts = re.search(r"the wire was cut (\d+) times", printed)
    assert cuts is not None
    assert int(cuts[1]) >= 3
    cost = re.search(r"for \$(\d+\.\d+) in all", printed)
    assert cost is not None
    assert float(cost[1]) > 0
    ways = {way: int(count) for count, way in re.findall(r"(\d+) came home by (\w+)", printed)}
    assert sum(ways.values()) == 500
    assert ways.keys() > {"live"}


def test_tool_loop_uses_what_the_tool_returned() -> None:
    printed = run_example("tool_loop.py").splitlines()
    assert printed[1:] == [
        '  tool: get_weather({"city": "Oslo"}) -> {"celsius": -3}',
        "answer:   Take a warm coat: it is -3 °C in Oslo.",
    ]


def test_web_service_asks_itself_and_drains() -> None:
    printed = run_example("web_service.py").splitlines()
    assert printed[0].endswith("-> 200")
    answer = json.loads(printed[1])
    assert answer["recovered_by"] == "live"
    assert answer["answer"].endswith("Why is the sky blue?")
    assert printed[2].endswith("-> 400")
    assert json.loads(printed[3])["error"] == "InvalidTask"
    assert printed[4] == "drained: 0 tasks were left over"


class _Failing:
    """A client whose every task ends with the same error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def run(self, task: object) -> None:
        raise self.error


UUID = "f0a5574f-653c-4e2b-8f36-d2f0b4d5f9a1"
UNKNOWN = runware_ws.OutcomeUnknown(
    "lost sight of it", task_uuid=UUID, submitted=runware_ws.Submitted.MAYBE
)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (runware_ws.ConnectionFailed("no server"), 503, "5"),
        (UNKNOWN, 503, None),
        (runware_ws.TaskTimeout("too slow", submitted=runware_ws.Submitted.YES), 504, None),
        (runware_ws.TaskError("no", code="taskFailed"), 502, None),
        (runware_ws.ProtocolError("odd"), 500, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
@pytest.mark.anyio
async def test_web_service_maps_errors(
    monkeypatch: pytest.MonkeyPatch,
    anyio_backend: str,
    error: Exception,
    status: int,
    retry_after: str | None,
) -> None:
    httpx: Any = pytest.importorskip("httpx")
    pytest.importorskip("starlette")
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    web_service: Any = __import__("web_service")
    monkeypatch.setattr(web_service.app.state, "client", _Failing(error), raising=False)

    transport = httpx.ASGITransport(web_service.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as browser:
        response = await browser.get("/ask?q=why")

    assert response.status_code == status
    assert response.headers.get("Retry-After") == retry_after
    assert response.json()["error"] == type(error).__name__
