"""What the server does when nothing goes wrong, and what its options change."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from websockets.exceptions import InvalidStatus

from runware_ws.emulator import EmulatorOptions, ReplyError, Request, expected_text
from tests import virtual

from .wire import KEY, connected, details, poll, raw, ready, serving, text_task

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


async def test_text_answer_belongs_to_its_question() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        tasks = [text_task(f"question {number}") for number in range(20)]
        await wire.send(*tasks)
        answers = {item["taskUUID"]: item for item in await wire.items(20)}
        for task in tasks:
            item = answers[task["taskUUID"]]
            assert item["text"] == expected_text(task["messages"][0]["content"], task["taskUUID"])
            assert item["finishReason"] == "stop"
            assert "usage" not in item
            assert "cost" not in item
            assert "resultIndex" not in item
        assert emulator.stats.executed == 20
        assert emulator.stats.executed_twice == []


async def test_usage_and_cost_on_request() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        await wire.send(text_task(includeUsage=True, includeCost=True))
        item = await wire.item()
        usage = item["usage"]
        assert usage["totalTokens"] == usage["promptTokens"] + usage["completionTokens"]
        assert item["cost"] > 0


async def test_ping_and_protocol_ping() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        await wire.send({"taskType": "ping", "ping": True})
        assert await wire.recv() == {"data": [{"taskType": "ping", "pong": True}]}
        pong: Any = await wire.socket.ping()
        with anyio.fail_after(5):
            if hasattr(pong, "wait"):
                await pong.wait()
            else:
                await pong
        assert emulator.stats.pings == 1
        assert emulator.stats.protocol_pings == 1


async def test_messages_that_are_no_arrays_keep_the_socket() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        for message in ('{"taskType":"ping"}', "not json", "[1]", "[" * 100_000):
            await wire.socket.send(message)
            assert (await wire.error())["code"] == "invalidRequest"
        await wire.socket.send(b'[{"taskType":"ping","ping":true}]')
        assert (await wire.item())["pong"] is True


async def test_fragmented_client_message() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        await wire.socket.send(['[{"taskType":', '"ping",', '"ping":true}]'])
        assert (await wire.item())["pong"] is True


async def test_nothing_before_authentication() -> None:
    async with serving(api_key=KEY) as emulator, raw(emulator) as wire:
        task = text_task()
        await wire.send(task)
        error = await wire.error()
        assert error["code"] == "unauthorized"
        assert error["taskType"] == "textInference"
        assert error["taskUUID"] == task["taskUUID"]
        await wire.auth()
        await wire.send(task)
        assert (await wire.item())["taskUUID"] == task["taskUUID"]


async def test_authentication_may_lead_an_array() -> None:
    async with serving(api_key=[KEY, "another"]) as emulator, raw(emulator) as wire:
        await wire.send({"taskType": "authentication", "apiKey": "another"}, text_task())
        assert [item["taskType"] for item in await wire.items(2)] == [
            "authentication",
            "textInference",
        ]


async def test_any_key_but_an_empty_one() -> None:
    async with serving() as emulator:
        async with raw(emulator) as wire:
            await wire.auth(key="whatever")
        async with raw(emulator) as wire:
            await wire.send({"taskType": "authentication", "apiKey": ""})
            assert (await wire.error())["code"] == "invalidApiKey"


@pytest.mark.parametrize("style", ["errors", "error", "error-list", "legacy"])
async def test_refusal_spellings(style: Any) -> None:
    options = EmulatorOptions(bad_key=style, close_after_refusal=False)
    async with serving(api_key=KEY, options=options) as emulator, raw(emulator) as wire:
        await wire.send({"taskType": "authentication", "apiKey": "wrong"})
        message = await wire.recv()
        if style == "legacy":
            assert message["error"] is True
            assert message["errorId"] == 19
            assert message["errorMessageContentId"] == 1212
        else:
            name = "errors" if style == "errors" else "error"
            error = message[name] if style == "error" else message[name][0]
            assert error["code"] == "invalidApiKey"
            assert error["taskType"] == "authentication"
            assert error["parameter"] == "apiKey"
            assert error["documentation"].startswith("https://")
        await wire.auth()
        assert emulator.stats.refused == 1


@pytest.mark.parametrize("code", [1008, None])
async def test_close_after_refusal(code: int | None) -> None:
    options = EmulatorOptions(refusal_close_code=code)
    async with serving(api_key=KEY, options=options) as emulator, raw(emulator) as wire:
        await wire.send({"taskType": "authentication", "apiKey": "wrong"})
        assert (await wire.error())["code"] == "invalidApiKey"
        assert await wire.closed() == (code or 1006)


async def test_async_delivery_and_partial_polls() -> None:
    async with serving(api_key=KEY, latency=0.0) as emulator, ready(emulator) as (wire, _):
        release = anyio.Event()

        @emulator.reply("textInference")
        async def answer(request: Request) -> str:
            if request.index == 1:
                await release.wait()
            if request.index == 2:
                raise ReplyError("inferenceError", "It broke.", parameter="messages")
            return f"part {request.index}"

        assert answer is not None
        task = text_task(deliveryMethod="async", numberResults=3)
        await wire.send(task)
        assert await wire.item() == {"taskType": "textInference", "taskUUID": task["taskUUID"]}
        await wire.silence()
        await wire.send(poll(task))
        first, second, third = (await wire.recv())["data"]
        assert (first["status"], first["text"], first["resultIndex"]) == ("success", "part 0", 0)
        assert (second["status"], second["resultIndex"]) == ("processing", 1)
        assert 0 <= second["progress"] <= 100
        assert (third["status"], third["error"]["code"]) == ("error", "inferenceError")
        assert third["taskUUID"] == task["taskUUID"]
        release.set()
        await anyio.sleep(0.01)
        for _ in range(2):
            await wire.send(poll(task))
            assert [each["status"] for each in (await wire.recv())["data"]] == [
                "success",
                "success",
                "error",
            ]
        emulator.options = replace(emulator.options, poll_errors="errors")
        await wire.send(poll(task))
        message = await wire.recv()
        assert len(message["data"]) == 2
        assert message["errors"][0]["code"] == "inferenceError"
        assert emulator.stats.polls == 4


async def test_progress_grows_with_time() -> None:
    async with serving(api_key=KEY, latency="200ms") as emulator, ready(emulator) as (wire, _):
        task = text_task(deliveryMethod="async")
        await wire.send(task)
        await wire.item()
        await anyio.sleep(0.1)
        await wire.send(poll(task))
        assert (await wire.item())["progress"] == 50


async def test_unknown_tasks_when_asked() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        for question, code in ((poll, "taskFailedOrNotFound"), (details, "taskNotFound")):
            await wire.send(question(task))
            error = await wire.error()
            assert error["code"] == code
            assert error["taskType"] == question(task)["taskType"]
            assert error["taskUUID"] == task["taskUUID"]


async def test_foreign_tasks_are_unknown() -> None:
    async with (
        serving(api_key=[KEY, "other"]) as emulator,
        ready(emulator) as (wire, _),
        raw(emulator) as other,
    ):
        task = text_task()
        await wire.send(task)
        await wire.item()
        await other.auth(key="other")
        await other.send(details(task))
        assert (await other.error())["code"] == "taskNotFound"
        await other.send(task)
        assert (await other.item())["taskUUID"] == task["taskUUID"]


async def test_archive() -> None:
    async with serving(api_key=KEY, latency=0.05) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task, details(task))
        assert (await wire.error())["code"] == "taskNotFound"
        result = await wire.item()
        await wire.send(details(task))
        item = await wire.item()
        assert item == {
            "taskType": "getTaskDetails",
            "taskUUID": task["taskUUID"],
            "request": [task],
            "response": {"data": [result]},
        }
        emulator.options = replace(emulator.options, details_while_running="processing")
        running = text_task()
        await wire.send(running, details(running))
        assert (await wire.item())["status"] == "processing"


async def test_archive_limit() -> None:
    options = EmulatorOptions(archive_limit=1)
    async with serving(api_key=KEY, options=options) as emulator, ready(emulator) as (wire, _):
        first, second = text_task(), text_task()
        await wire.send(first, second, details(first), details(second))
        await wire.items(2)
        assert (await wire.error())["code"] == "taskNotFound"
        assert (await wire.item())["taskUUID"] == second["taskUUID"]
        await wire.send(first)
        assert (await wire.error())["code"] == "conflictTaskUUID"


async def test_stream_can_give_one_whole_result() -> None:
    options = EmulatorOptions(stream_over_socket="whole")
    async with serving(api_key=KEY, options=options) as emulator, ready(emulator) as (wire, _):
        task = text_task(deliveryMethod="stream")
        await wire.send(task)
        assert (await wire.item())["text"] == expected_text("hello", task["taskUUID"])


async def test_repeated_uuid_is_a_conflict() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        result = await wire.item()
        await wire.send(task)
        error = await wire.error()
        assert error["code"] == "conflictTaskUUID"
        assert error["parameter"] == "taskUUID"
        assert (error["taskType"], error["taskUUID"]) == ("textInference", task["taskUUID"])
        emulator.options = replace(emulator.options, repeated_uuid="result")
        await wire.send(task)
        assert await wire.item() == result
        assert emulator.stats.executions[task["taskUUID"]] == 1
        assert emulator.stats.conflicts == 2


async def test_registration_delay() -> None:
    options = EmulatorOptions(registration_delay=0.1)
    async with serving(api_key=KEY, options=options) as emulator, ready(emulator) as (wire, _):
        task = text_task(deliveryMethod="async")
        await wire.send(task, poll(task), details(task), task)
        await wire.item()
        codes = [(await wire.error())["code"] for _ in range(3)]
        assert codes == ["taskFailedOrNotFound", "taskNotFound", "conflictTaskUUID"]
        await anyio.sleep(0.12)
        await wire.send(poll(task))
        assert (await wire.item())["status"] == "success"


async def test_polls_of_sync_tasks_are_an_option() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task, poll(task))
        assert (await wire.items(2))[1]["status"] == "success"
        emulator.options = EmulatorOptions(poll_sync_tasks=False)
        await wire.send(poll(task))
        assert (await wire.error())["code"] == "taskFailedOrNotFound"


@pytest.mark.parametrize("framing", ["separate", "together"])
@pytest.mark.parametrize("index", ["many", "always", "never"])
async def test_number_of_results(framing: Any, index: Any) -> None:
    options = EmulatorOptions(results_framing=framing, result_index=index)
    async with serving(api_key=KEY, options=options) as emulator, ready(emulator) as (wire, _):
        await wire.send(text_task(numberResults=3))
        frames = [await wire.recv() for _ in range(3 if framing == "separate" else 1)]
        items = [item for frame in frames for item in frame["data"]]
        assert len({item["text"] for item in items}) == 3
        expected = [None] * 3 if index == "never" else [0, 1, 2]
        assert [item.get("resultIndex") for item in items] == expected
        await wire.send(text_task())
        assert ("resultIndex" in await wire.item()) == (index == "always")


async def test_shuffle_is_deterministic() -> None:
    async def order(seed: int) -> list[str]:
        options = EmulatorOptions(shuffle=True)
        async with (
            serving(api_key=KEY, options=options, seed=seed) as emulator,
            ready(emulator) as (wire, _),
        ):
            await wire.send(*(text_task(f"{number}") for number in range(30)))
            return [item["text"].rpartition(" ")[2] for item in await wire.items(30)]

    first = await order(1)
    assert first == await order(1)
    assert first != await order(2)
    assert sorted(first, key=int) == [str(number) for number in range(30)] != first


@pytest.mark.parametrize("spelling", ["errors", "error", "error-list"])
async def test_merged_frames_and_error_spellings(spelling: Any) -> None:
    options = EmulatorOptions(merge_limit=3, merge_window=0.01, error_spelling=spelling)
    async with serving(api_key=KEY, options=options) as emulator, ready(emulator) as (wire, _):
        await wire.send(text_task(), text_task(unheard=1), text_task(), text_task())
        message = await wire.recv()
        assert len(message["data"]) == 2
        found = message["errors" if spelling == "errors" else "error"]
        error = found if spelling == "error" else found[0]
        assert error["code"] == "unknownParameter"
        assert len((await wire.recv())["data"]) == 1


async def test_replies_of_the_user() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        seen: list[tuple[str, int, int]] = []

        @emulator.reply("textInference")
        def text(request: Request) -> dict[str, Any]:
            seen.append((request.task_uuid, request.index, request.execution))
            if request.prompt == "fail":
                raise ReplyError("providerError", "No.", parameter="model")
            if request.prompt == "bug":
                raise RuntimeError("a bug in a test")
            return {"text": "mine", "finishReason": "length"}

        @emulator.reply("*")
        async def other(request: Request) -> dict[str, Any]:
            await anyio.lowlevel.checkpoint()
            return {"imageURL": f"https://example.invalid/{request.index}"}

        assert text is not None
        assert other is not None
        good = text_task(numberResults=2)
        await wire.send(good)
        assert [item["finishReason"] for item in await wire.items(2)] == ["length", "length"]
        assert seen == [(good["taskUUID"], 0, 1), (good["taskUUID"], 1, 1)]
        bad = text_task("fail")
        await wire.send(bad)
        error = await wire.error()
        assert (error["code"], error["parameter"]) == ("providerError", "model")
        assert (error["taskType"], error["taskUUID"]) == ("textInference", bad["taskUUID"])
        await wire.send(text_task("bug"))
        assert (await wire.error())["code"] == "internalServerError"
        assert emulator.stats.reply_failures == 1
        image = {"taskType": "imageInference", "taskUUID": text_task()["taskUUID"]}
        await wire.send(image)
        assert (await wire.item())["imageURL"] == "https://example.invalid/0"


async def test_unsupported_task_type() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        task = {"taskType": "imageInference", "taskUUID": text_task()["taskUUID"]}
        await wire.send(task)
        error = await wire.error()
        assert (error["code"], error["taskUUID"]) == ("unsupportedTaskType", task["taskUUID"])


async def test_idle_close() -> None:
    options = EmulatorOptions(idle_seconds=0.15, pings_are_activity=False)
    async with serving(api_key=KEY, options=options) as emulator, ready(emulator) as (wire, _):
        for _ in range(3):
            await anyio.sleep(0.1)
            await wire.send({"taskType": "ping", "ping": True})
            await wire.item()
        assert await wire.closed() == 1000
        assert emulator.stats.idle_closes == 1


@pytest.mark.parametrize("active", [True, False])
async def test_protocol_pings_as_activity(active: bool) -> None:
    options = EmulatorOptions(idle_seconds=0.15, pings_are_activity=active, idle_close_code=None)
    async with serving(api_key=KEY, options=options) as emulator, ready(emulator) as (wire, _):
        for _ in range(3 if active else 1):
            await anyio.sleep(0.1)
            await wire.socket.ping()
        if active:
            assert emulator.stats.idle_closes == 0
        else:
            assert await wire.closed() == 1006


async def test_frame_limit() -> None:
    options = EmulatorOptions(max_frame_bytes=10_000)
    async with serving(api_key=KEY, options=options) as emulator, ready(emulator) as (wire, _):
        await wire.send(text_task("x" * 20_000))
        assert await wire.closed() == 1009


async def test_the_key_appears_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets.client").setLevel(logging.WARNING)
    async with serving(api_key=KEY) as emulator:
        async with ready(emulator) as (wire, _):
            await wire.send(text_task(), {"taskType": "authentication", "apiKey": KEY + "?"})
            frames = [await wire.recv(), await wire.recv()]
            assert KEY not in repr(frames)
        shown = [repr(emulator), repr(emulator.stats), repr(emulator.stats.summary())]
        shown += [repr(emulator.faults), repr(emulator.options), repr(vars(emulator))]
        assert KEY not in "".join(shown)
    assert KEY not in caplog.text


async def test_other_paths_and_plain_http() -> None:
    async with serving(api_key=KEY) as emulator:
        with pytest.raises(InvalidStatus) as refused:
            async with raw(emulator, emulator.url.replace("/v1", "/v2")):
                pass
        assert refused.value.response.status_code == 404
        async with await connected(emulator) as stream:
            await stream.send(b"GET /v1 HTTP/1.1\r\nHost: local\r\n\r\n")
            assert b"426" in await stream.receive()
