"""The FastAPI service: small, and with all that a service needs."""

from __future__ import annotations

import ast
import json
from typing import Any

import anyio
import pytest

import runware_ws
from runware_ws.emulator import Emulator

from .serving import TOO_LONG, served, until
from .test_examples import EXAMPLES, Failing, load_example, run_example

httpx: Any = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")


def code_lines(source: str) -> int:
    """Lines that are neither blank, nor a comment, nor a docstring."""
    kinds = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    told: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds) and ast.get_docstring(node) is not None:
            told.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and n not in told for n, line in lines)


def test_fastapi_service_has_sixty_lines_and_all_that_a_service_needs() -> None:
    assert code_lines((EXAMPLES / "fastapi_service.py").read_text(encoding="utf-8")) <= 60
    printed, _, rest = run_example("fastapi_service.py").partition("drained: 0 tasks were left")
    lines = printed.splitlines()
    assert lines[0] == "POST /ask -> 200, order-17"
    assert json.loads(lines[1])["answer"].endswith("Why is the sky blue?")
    assert lines[2] == "POST /ask -> 400, order-17"
    wrong = {"error": "InvalidTask", "task": None, "request": "order-17"}
    assert json.loads(lines[3]) == wrong
    assert lines[4] == 'GET /health/live -> 200 {"live":true}'
    assert lines[5] == 'GET /health/ready -> 200 {"state":"ready"}'
    assert lines[6] == "GET /metrics -> 200"
    assert '  runware_ws_tasks_ended_total{client="main",end="answered"} 1.0' in lines
    # The spans: the caller's trace goes on in the request, and the request's in the task.
    written = rest.partition("\n")[2].removeprefix("{").split("\n{")
    spans: list[dict[str, Any]] = [json.loads("{" + each) for each in written]
    by_name = {span["name"]: span for span in spans}
    request, task = by_name["POST /ask"], by_name["chat anthropic:claude@haiku-4.5"]
    parents = {span["context"]["span_id"] for span in spans}
    assert request["parent_id"] == "0xb7ad6b7169203331"
    assert task["context"]["trace_id"] == "0x0af7651916cd43dd8448eb211c80319c"
    assert task["parent_id"] in parents
    assert task["attributes"]["runware_ws.metadata.request_id"] == "order-17"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (runware_ws.ConnectionFailed("no server"), 503),
        (runware_ws.TaskError("no", code="taskFailed"), 502),
    ],
    ids=["unreached", "failed"],
)
@pytest.mark.anyio
async def test_fastapi_service_maps_errors_and_tells_whether_it_is_ready(
    monkeypatch: pytest.MonkeyPatch, anyio_backend: str, error: Exception, status: int
) -> None:
    service = load_example(monkeypatch, "fastapi_service")
    monkeypatch.setattr(service.app.state, "client", Failing(error), raising=False)
    transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as browser:
        answer = await browser.post("/ask", json={"question": "why"})
        ready = await browser.get("/health/ready")
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == ("5" if status == 503 else None)
    assert answer.json()["request"] == answer.headers["X-Request-ID"]
    assert len(answer.headers["X-Request-ID"]) == 36
    assert (ready.status_code, ready.json()) == (503, {"state": "connecting"})


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_what_is_in_flight_at_the_end_is_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], anyio_backend: str
) -> None:
    service = load_example(monkeypatch, "fastapi_service")
    answers: list[Any] = []

    async def ask(url: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=TOO_LONG) as browser:
            answers.append(await browser.post(f"{url}/ask", json={"question": "Why?"}))

    async with Emulator(latency="500ms") as emulator, anyio.create_task_group() as group:
        monkeypatch.setenv("RUNWARE_WS_URL", emulator.url)
        async with served(service.app) as (_, port):
            group.start_soon(ask, f"http://127.0.0.1:{port}")
            await until(lambda: emulator.running)
            # Another cut on the way out: the answer comes all the same.
            emulator.faults.cut()
        await until(lambda: answers)
        assert emulator.stats.executed_twice == []
    assert answers[0].status_code == 200
    assert answers[0].json()["answer"].endswith("Why?")
    assert "drained: 0 tasks were left over" in capsys.readouterr().out
