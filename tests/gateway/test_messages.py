"""The Messages shape over HTTP, through the published client, plain and streamed."""

from __future__ import annotations

import gzip
import json
from typing import Any

import anthropic
import anyio
import pytest
from anthropic.types import ToolParam

from runware_ws.emulator import Request, expected_text
from tests import virtual
from tests.client.support import ample, until
from tests.gateway.support import MODEL, executions, place, request

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend

ASK = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "Why?"}]}
TOOL: ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@ample
async def test_a_message_through_the_published_client() -> None:
    async with place() as here:
        raw = await here.anthropic().messages.with_raw_response.create(
            model=MODEL, max_tokens=64, messages=[{"role": "user", "content": "Why?"}]
        )
        message = await raw.parse()
        uuid = raw.headers["runware-task-uuid"]
        assert [block.type for block in message.content] == ["text"]
        assert message.content[0].text == expected_text("Why?", uuid)  # type: ignore[union-attr]
        assert message.id == f"msg_{uuid.replace('-', '')}"
        assert message.model == MODEL
        assert message.stop_reason == "end_turn"
        assert raw.headers["request-id"].startswith("req_")
        assert raw.headers["runware-recovered-by"] == "live"
        assert float(raw.headers["runware-cost"]) > 0
        assert executions(here) == 1


@ample
async def test_a_stream_through_the_published_client() -> None:
    async with place() as here:
        types: list[str] = []
        async with here.anthropic().messages.stream(
            model=MODEL, max_tokens=64, messages=[{"role": "user", "content": "Why?"}]
        ) as stream:
            types += [event.type async for event in stream]
            message = await stream.get_final_message()
            uuid = stream.response.headers["runware-task-uuid"]
        assert types[0] == "message_start"
        assert types[-1] == "message_stop"
        assert message.content[0].text == expected_text("Why?", uuid)  # type: ignore[union-attr]
        assert message.usage.output_tokens > 0
        assert executions(here) == 1


@ample
async def test_tools_through_the_published_client() -> None:
    def weather(_: Request) -> dict[str, object]:
        call = {"id": "toolu_1", "name": "get_weather", "arguments": '{"city":"Oslo"}'}
        return {"text": "", "toolCalls": [call], "finishReason": "tool_calls"}

    async with place() as here:
        here.emulator.reply("textInference")(weather)
        ask = here.anthropic().messages
        plain = await ask.create(
            model=MODEL,
            max_tokens=64,
            messages=[{"role": "user", "content": "Why?"}],
            tools=[TOOL],
        )
        async with ask.stream(
            model=MODEL,
            max_tokens=64,
            messages=[{"role": "user", "content": "Why?"}],
            tools=[TOOL],
        ) as stream:
            streamed = await stream.get_final_message()
        for message in (plain, streamed):
            (block,) = message.content
            assert block.type == "tool_use"
            assert (block.id, block.name, block.input) == (
                "toolu_1",
                "get_weather",
                {"city": "Oslo"},
            )
            assert message.stop_reason == "tool_use"


@ample
async def test_what_runware_cannot_take_is_refused_by_name() -> None:
    async with place() as here:
        with pytest.raises(anthropic.BadRequestError) as refused:
            await here.anthropic().messages.create(
                model="gpt",
                max_tokens=64,
                messages=[{"role": "user", "content": "Why?"}],
                extra_body={"temperature": 1},
            )
        assert refused.value.type == "invalid_request_error"
        assert "model: must be" in str(refused.value)
        assert "temperature: is not supported" in str(refused.value)
        assert executions(here) == 0


@ample
async def test_what_runware_cannot_take_is_left_out_where_that_is_wanted() -> None:
    async with place(unsupported="drop") as here:
        for stream in (False, True):
            answer = await here.post(request(temperature=1, top_k=5, stream=stream))
            assert answer.status_code == 200
            assert answer.headers["runware-dropped"] == "temperature, top_k"
        assert executions(here) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": 1}', "max_tokens: is required"),
        (b"\xff\xfe", "not JSON"),
    ],
)
@ample
async def test_a_body_that_is_no_request(body: bytes, words: str) -> None:
    async with place() as here:
        answer = await here.post(body)
        assert answer.status_code == 400
        assert answer.headers["x-should-retry"] == "false"
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert words in answer.json()["error"]["message"]
        assert answer.json()["request_id"] == answer.headers["request-id"]


@ample
async def test_a_body_that_is_too_large() -> None:
    async with place(max_body_bytes=100) as here:
        answer = await here.post(request("w" * 200))
        assert answer.status_code == 413
        assert "100 bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/messages", 405),
                                                        ("POST", "/v2", 404)])  # fmt: skip
@ample
async def test_a_place_that_is_none(method: str, path: str, status: int) -> None:
    async with place() as here:
        answer = await here.http.request(method, path)
        assert answer.status_code == status
        assert answer.json()["type"] == "error"
        assert answer.headers["x-should-retry"] == "false"


@ample
async def test_a_path_says_all_that_can_be_done_there() -> None:
    async with place() as here:
        for path, methods in (
            ("/v1/messages", {"POST"}),
            ("/v1/messages/batches", {"GET", "HEAD", "POST"}),
            ("/v1/messages/batches/x", {"GET", "HEAD", "DELETE"}),
        ):
            answer = await here.http.put(path)
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) == methods


@ample
async def test_pings_until_the_first_event() -> None:
    async with place(start_within=1.0, ping_every=2.0, emulator={"latency": "7s"}) as here:
        answer = await here.post(request(stream=True))
        names = [line for line in answer.text.splitlines() if line.startswith("event: ")]
        assert names[:4] == ["event: ping"] * 4  # after 1, 3, 5 and 7 s
        assert names[4] == "event: message_start"
        assert names[-1] == "event: message_stop"


@ample
async def test_a_stream_begins_while_it_waits_for_its_turn() -> None:
    async with place(max_running=1, emulator={"latency": "60s"}) as here:
        headers = {"x-api-key": "any"}
        how: dict[str, Any] = {"json": request(stream=True), "headers": headers}
        text = ""
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: here.post(request("Else?")))
            await until(lambda: here.gateway.turns.running)
            before = anyio.current_time()
            async with here.http.stream("POST", "/v1/messages", **how) as answer:
                assert anyio.current_time() - before == pytest.approx(5)
                text = "".join([part async for part in answer.aiter_text()])
        names = [line for line in text.splitlines() if line.startswith("event: ")]
        assert names.count("event: ping") == 12  # each 10 s, until the 120th
        assert names[-1] == "event: message_stop"
        assert (here.gateway.turns.running, executions(here)) == (0, 2)


@ample
async def test_who_leaves_while_a_stream_waits_for_its_turn_finds_it_again() -> None:
    async with place(max_running=1, emulator={"latency": "60s"}) as here:
        body = request(stream=True)
        text = ""
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: here.post(request("Else?")))
            await until(lambda: here.gateway.turns.running)
            with anyio.move_on_after(20):
                await here.post(body, retry=0)
            text = (await here.post(body, retry=1)).text
        assert text.endswith('data: {"type":"message_stop"}\n\n')
        assert (here.gateway.turns.running, executions(here)) == (0, 2)


@ample
async def test_a_compressed_body_is_refused_by_name() -> None:
    async with place() as here:
        body = json.dumps(request()).encode()
        for coding, status in (("gzip", 400), ("identity", 200), ("", 200)):
            packed = gzip.compress(body) if coding == "gzip" else body
            answer = await here.post(packed, content_encoding=coding)
            assert answer.status_code == status
            if status == 400:
                assert "Content-Encoding: 'gzip' is not taken" in answer.json()["error"]["message"]


@ample
async def test_a_beta_is_told_as_left_out() -> None:
    async with place(unsupported="drop") as here:
        told = [
            await here.post(
                request(**fields), "/v1/messages?beta=true", anthropic_beta="context-1m"
            )
            for fields in ({}, {"speed": "fast"})
        ]
        names = [answer.headers["runware-dropped"] for answer in told]
        assert names == ["anthropic-beta", "speed, anthropic-beta"]


@ample
async def test_nobody_is_sent_elsewhere_with_a_key() -> None:
    """A redirection would name this gateway as it sees itself: behind a proxy that ends TLS,
    without TLS."""
    async with place() as here:
        for path in ("/v1/messages/", "/v1/", "/v1/messages/batches/"):
            answer = await here.post(request(), path)
            assert answer.status_code == 404
            assert answer.json()["error"]["type"] == "not_found_error"


@ample
async def test_health_and_metrics() -> None:
    async with place() as here:
        assert (await here.http.get("/health/live")).json() == {"status": "alive"}
        await here.client.ready()
        assert (await here.http.get("/health/ready")).status_code == 200
        metrics = (await here.http.get("/metrics")).text
        assert 'runware_ws_tasks_submitted_total{client="gateway"} 0.0' in metrics
        assert "runware_ws_gateway_running 0.0" in metrics
        here.gateway.draining = True
        ready = await here.http.get("/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
        refused = await here.post(request())
        assert (refused.status_code, refused.headers["x-should-retry"]) == (503, "true")
        assert executions(here) == 0
