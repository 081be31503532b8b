"""The relay: what an EventSource hears, also when its connection breaks and it dials again."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws import Client
from runware_ws.emulator import Emulator, EmulatorOptions, Request

from .serving import TOO_LONG, served, until
from .test_examples import load_example

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": False})]),
]

httpx: Any = pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUESTION = "Why is the sky blue?"


@dataclass
class Service:
    """The relay on a port, and the emulator behind it."""

    emulator: Emulator
    relay: Any
    port: int = 0
    server: Any = None
    asked: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """The headers of each request for a stream."""
    on_event: Callable[[int], None] = lambda number: None
    """Told how many pieces the running response has written."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def answers(self) -> dict[str, Any]:
        found: dict[str, Any] = self.relay.app.state.answers
        return found

    def break_connections(self) -> None:
        """As a network does: without a word."""
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()

    async def watch(self, scope: Any, receive: Any, send: Any) -> None:
        """The app, with somebody who counts."""
        if scope["type"] == "http" and scope["path"] == "/stream":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.asked.append(headers)
            written = 0

            async def counted(message: Any) -> None:
                nonlocal written
                await send(message)
                if message.get("body"):
                    written += 1
                    self.on_event(written)

            await self.relay.app(scope, receive, counted)
        else:
            await self.relay.app(scope, receive, send)


@asynccontextmanager
async def serving(
    monkeypatch: pytest.MonkeyPatch, app: Callable[[Service], Any] | None = None, **settings: Any
) -> AsyncGenerator[Service]:
    """The service on a port of its own, over an emulator that answers slowly."""
    relay = load_example(monkeypatch, "relay")
    for name, value in {"RETRY": 50, **settings}.items():
        monkeypatch.setattr(relay, name, value)
    monkeypatch.delenv("RUNWARE_API_KEY", raising=False)
    options = EmulatorOptions(token_pause=0.01)
    async with Emulator(options=options) as emulator:
        monkeypatch.setenv("RUNWARE_WS_URL", emulator.url)
        service = Service(emulator, relay)
        served_app = service.watch if app is None else app(service)
        async with served(served_app) as (service.server, service.port):
            yield service


@dataclass
class Heard:
    """What a plain client heard."""

    status: int = 0
    ids: list[str] = field(default_factory=list[str])
    names: list[str] = field(default_factory=list[str])
    text: str = ""
    pings: int = 0


async def hear(
    service: Service, ask: str = "", last: str = "", question: str = QUESTION, leave: int = 0
) -> Heard:
    """One request, as an EventSource makes it; ``leave`` after so many events."""
    heard = Heard()
    params = {"q": question, **({"ask": ask} if ask else {})}
    headers = {"Last-Event-ID": last} if last else {}
    async with (
        httpx.AsyncClient(trust_env=False, timeout=TOO_LONG) as client,
        client.stream("GET", f"{service.url}/stream", params=params, headers=headers) as response,
    ):
        heard.status = response.status_code
        try:
            async for line in response.aiter_lines():
                name, _, value = line.partition(": ")
                heard.pings += line == ": ping"
                if name == "id":
                    heard.ids.append(value)
                elif name == "event":
                    heard.names.append(value)
                elif name == "data":
                    delta: dict[str, Any] = json.loads(value).get("delta") or {}
                    heard.text += delta.get("text", "")
                if leave and line == "" and len(heard.names) == leave:
                    break
        except httpx.RemoteProtocolError:
            heard.names.append("broken")
    return heard


async def test_a_redial_gets_the_rest_and_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch) as service:
        service.on_event = lambda number: (
            service.break_connections() if number == 8 and len(service.asked) == 1 else None
        )
        first = await hear(service, "a-name")
        assert first.names[-1] == "broken"
        second = await hear(service, last=first.ids[-1])
        assert second.names[-1] == "message_stop"
        whole = await hear(service, last="a-name:0")
        assert first.text + second.text == whole.text
        assert whole.text.endswith(QUESTION)
        numbers = [int(each.rpartition(":")[2]) for each in (*first.ids, *second.ids[1:])]
        assert numbers == list(range(len(numbers)))
        assert service.emulator.stats.executed == 1


async def test_a_redial_before_the_first_id_asks_nothing_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(monkeypatch) as service:
        service.emulator.latency = "300ms"
        async with anyio.create_task_group() as group:
            group.start_soon(hear, service, "a-name")
            await until(lambda: service.answers)
            service.break_connections()
            group.cancel_scope.cancel()
        heard = await hear(service, "a-name")
        assert heard.names[-1] == "message_stop"
        assert heard.text.endswith(QUESTION)
        assert service.emulator.stats.executed == 1


async def test_pings_while_the_model_thinks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch, PING=0.05, SLOW=0.05) as service:
        service.emulator.latency = "500ms"
        heard = await hear(service)
        assert heard.pings >= 3
        assert heard.names[-1] == "message_stop"


async def test_what_is_gone_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch, LINGER=0.0) as service:
        service.emulator.options = EmulatorOptions(token_pause=0.2)
        heard = await hear(service, "a-name", leave=3)
        await until(lambda: not service.answers)
        # Nobody came back: the task was given up, and its answer is not kept.
        client: Client = service.relay.app.state.client
        await until(lambda: client.stats().pending == 0)
        # 204 tells an EventSource to dial no more.
        assert (await hear(service, last=heard.ids[-1])).status == 204
        assert service.emulator.stats.executed == 1


async def test_what_cannot_be_asked_has_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch, MOST=1) as service:
        assert (await hear(service, question="")).status == 400
        assert service.answers == {}
        assert (await hear(service, "two\nlines")).status == 400
        assert (await hear(service, "a-name")).status == 200
        assert (await hear(service, "a-name", question="Another?")).status == 400
        assert (await hear(service, "b-name")).status == 503
        service.answers.clear()
        service.emulator.faults.inject_error("taskFailed", stage="execute")
        assert (await hear(service, "c-name")).status == 502


async def test_an_answer_that_breaks_off_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch) as service:

        @service.emulator.reply("textInference")
        async def script(_: Request) -> AsyncGenerator[str]:
            yield "It is "
            raise RuntimeError("broken")

        heard = await hear(service)
        assert heard.names[-1] == "failed"
        assert heard.text == "It is "


# In a browser

WRAPPER = """<!doctype html>
<iframe id="f" src="/?q=Why%20is%20the%20sky%20blue%3F"></iframe><script>
const frame = document.getElementById("f"), words = [];
const look = () => {
  const inner = frame.contentDocument;
  const state = inner.getElementById("state")?.textContent ?? "";
  if (state && words.at(-1) !== state) words.push(state);
  if (state === "done" || state.startsWith("failed")) {
    const text = inner.getElementById("answer").textContent;
    fetch("/report", { method: "POST", body: JSON.stringify({ text, words }) });
  } else setTimeout(look, 5);
};
look();
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: .ci/run installs one")
async def test_the_page_in_a_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []

    def wrapped(service: Service) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            from starlette.requests import Request as HttpRequest
            from starlette.responses import HTMLResponse, Response

            if scope["type"] != "http" or scope["path"] not in ("/wrapper", "/report"):
                await service.watch(scope, receive, send)
            elif scope["path"] == "/wrapper":
                await HTMLResponse(WRAPPER)(scope, receive, send)
            else:
                reports.append(await HttpRequest(scope, receive).json())
                await Response()(scope, receive, send)

        return app

    async with serving(monkeypatch, wrapped) as service:

        def break_twice(number: int) -> None:
            if (number, len(service.asked)) in ((6, 1), (4, 2)):
                service.break_connections()

        service.on_event = break_twice
        browser = await anyio.open_process(
            [
                *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu"),
                *("--no-proxy-server", "--remote-debugging-port=0"),
                *(f"--user-data-dir={tmp_path / 'profile'}", f"{service.url}/wrapper"),
            ],
            stdout=None,
            stderr=None,
        )
        try:
            await until(lambda: reports)
            # A redial would come after RETRY milliseconds; four times as long is real silence.
            await anyio.sleep(4 * service.relay.RETRY / 1000)
        finally:
            browser.terminate()
            await browser.aclose()
        (report,) = reports
        assert report["text"].endswith(QUESTION)
        assert report["text"].startswith("echo ")
        assert report["words"][-1] == "done"
        # Each break was followed by one redial that knew where it was; the end by none.
        assert len(service.asked) == 3
        ids = [headers.get("last-event-id", "") for headers in service.asked]
        assert ids[0] == ""
        assert [int(each.rpartition(":")[2]) for each in ids[1:]] == sorted(
            int(each.rpartition(":")[2]) for each in ids[1:]
        )
        assert len({each.rpartition(":")[0] for each in ids[1:]}) == 1
        assert service.emulator.stats.executed == 1
