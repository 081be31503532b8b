"""No stream ends in silence, wherever it is cut, on either side; slow readers are bounded."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx2
import pytest

from runware_ws.emulator import EmulatorOptions
from runware_ws.gateway import works
from runware_ws.messages import Delta, ToolCallPiece
from tests import virtual
from tests.client.support import ample
from tests.gateway.support import Place, executions, place, request

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend

TEXT = "one two three four five six seven eight nine ten"


def events_in(text: str) -> list[dict[str, Any]]:
    assert text == "" or text.endswith("\n\n"), "cut within an event"
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def text_of(events: list[dict[str, Any]]) -> str:
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return "".join(delta.get("text", "") for delta in deltas)


def slow_emulator(**options: Any) -> dict[str, Any]:
    return {"options": EmulatorOptions(token_pause=0.5, **options)}


@pytest.mark.parametrize("deltas", range(1, 14))
@pytest.mark.parametrize("archive", [True, False], ids=["kept", "lost"])
@ample
async def test_the_way_to_runware_is_cut_at_every_event(deltas: int, archive: bool) -> None:
    lost: dict[str, Any] = {} if archive else {"archive_limit": 0, "stream_resume": "lost"}
    options = slow_emulator(**lost)
    async with place(emulator=options, client={"timeout": 60.0, "resubmit": "never"}) as here:
        here.emulator.faults.cut_after(deltas=deltas)
        answer = await here.post(request(TEXT, stream=True))
        if answer.status_code != 200:
            assert answer.headers["x-should-retry"] == "false"  # it ran, and was paid for
            assert not archive
            return
        events = events_in(answer.text)
        assert events[-1]["type"] in ("message_stop", "error")
        if archive:
            assert text_of(events).endswith(TEXT)
            assert events[-1]["type"] == "message_stop"
        assert executions(here) == 1


async def read_some(here: Place, body: dict[str, Any], number: int, **headers: str) -> None:
    """Read so many events of a stream, then go away."""
    taken = 0
    with anyio.CancelScope() as scope:
        async with here.http.stream("POST", "/v1/messages", json=body, headers=headers) as answer:
            async for line in answer.aiter_lines():
                taken += line.startswith("event: ")
                if taken >= number:
                    scope.cancel()


@pytest.mark.parametrize("number", range(0, 20, 3))
@ample
async def test_the_client_leaves_at_any_event_and_comes_back(number: int) -> None:
    async with place(emulator=slow_emulator()) as here:
        body, key = request(TEXT, stream=True), {"idempotency-key": "k", "x-api-key": "any"}
        await read_some(here, body, number, **key)
        again = await here.post(body, idempotency_key="k")
        events = events_in(again.text)
        assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
        assert text_of(events).endswith(TEXT)
        assert executions(here) == 1


@ample
async def test_a_reader_who_takes_nothing_is_left_and_its_answer_kept() -> None:
    async with place(emulator=slow_emulator(), send_timeout=30.0) as here:
        body, key = request(TEXT, stream=True), {"idempotency-key": "k", "x-api-key": "any"}
        async with here.http.stream("POST", "/v1/messages", json=body, headers=key) as answer:
            parts = answer.aiter_raw()
            await anext(parts)
            await anyio.sleep(100)
            with pytest.raises(httpx2.RemoteProtocolError):
                async for _ in parts:
                    pass
        again = await here.post(body, idempotency_key="k")
        assert text_of(events_in(again.text)).endswith(TEXT)
        assert executions(here) == 1


@ample
async def test_a_slow_reader_holds_up_nobody() -> None:
    async with place(emulator=slow_emulator(), send_timeout=3_000.0) as here:
        async with here.http.stream(
            "POST", "/v1/messages", json=request(TEXT, stream=True)
        ) as answer:
            parts = answer.aiter_text()
            text = await anext(parts)
            began = anyio.current_time()
            others = [await here.post(request(TEXT, stream=True)) for _ in range(3)]
            assert anyio.current_time() - began < 3 * 30
            assert all(other.text.endswith('"message_stop"}\n\n') for other in others)
            async for part in parts:
                text += part
        events = events_in(text)
        assert text_of(events).endswith(TEXT)
        assert len(events) < len(events_in(others[0].text))  # what piled up came as one
        assert executions(here) == 4


@ample
async def test_a_bug_is_told_as_an_error_and_not_by_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with place(emulator=slow_emulator()) as here:
        calls = 0

        def broken(deltas: Any) -> Delta:
            nonlocal calls
            calls += 1
            if calls > 3:
                raise ValueError("secret words")
            return Delta(text="x")

        monkeypatch.setattr(works, "merged", broken)
        answer = await here.post(request(TEXT, stream=True))
        last = events_in(answer.text)[-1]
        assert last["type"] == "error"
        assert last["error"]["type"] == "api_error"
        assert "secret" not in answer.text + caplog.text
        assert "ValueError" in caplog.text


def test_deltas_joined_are_what_they_were_apart() -> None:
    whole = works.merged(
        [
            Delta(text="a", reasoning="r"),
            Delta(text="b", tool_calls=(ToolCallPiece(0, "id", "tool", '{"a"'),)),
            Delta(tool_calls=(ToolCallPiece(1, "jd", "look"), ToolCallPiece(0, arguments=":1}"))),
            Delta(finish_reason="stop", cost=0.5),
        ]
    )
    assert (whole.text, whole.reasoning, whole.finish_reason, whole.cost) == (
        "ab",
        "r",
        "stop",
        0.5,
    )
    assert whole.tool_calls == (
        ToolCallPiece(0, "id", "tool", '{"a":1}'),
        ToolCallPiece(1, "jd", "look"),
    )
