"""What is answered about tasks, where nobody outside can know: each choice, seen from the wire."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from runware_ws.emulator import Emulator, EmulatorOptions, ReplyError
from tests import virtual

from .wire import KEY, details, expected, poll, ready, serving, text_task

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


def server(latency: float = 0.0, **options: Any) -> Emulator:
    """An emulator with these choices."""
    return serving(api_key=KEY, latency=latency, options=EmulatorOptions(**options))


STRANGER = text_task("never sent")


# Unknown and running ids


@pytest.mark.parametrize("question", [poll, details])
async def test_an_unknown_id_is_answered_by_nobody(question: Any) -> None:
    async with server(poll_unknown="empty", details_unknown="empty") as emulator:
        async with ready(emulator) as (wire, _):
            await wire.send(question(STRANGER), question(STRANGER))
            assert [await wire.recv() for _ in range(2)] == [{"data": []}] * 2
        assert emulator.stats.empty_answers == 2


async def test_one_frame_answers_all_questions_of_a_message() -> None:
    choice: dict[str, Any] = {"poll_unknown": "empty", "answers_joined": True}
    async with server(**choice) as emulator, ready(emulator) as (wire, _):
        await wire.send(poll(STRANGER), poll(STRANGER))
        assert await wire.recv() == {"data": []}
        task = text_task()
        await wire.send(task)
        await wire.item()
        await wire.send(poll(STRANGER), details(STRANGER), poll(task))
        message = await wire.recv()
        assert [item["taskUUID"] for item in message["data"]] == [task["taskUUID"]]
        assert [error["code"] for error in message["errors"]] == ["taskNotFound"]
        await wire.silence()


async def test_an_empty_answer_keeps_a_frame_of_its_own_where_items_are_merged() -> None:
    async with (
        server(details_unknown="empty", merge_limit=50) as emulator,
        ready(emulator) as (wire, _),
    ):
        task = text_task()
        await wire.send(task, details(STRANGER), details(task))
        frames = [await wire.recv() for _ in range(3)]
        assert [len(frame["data"]) for frame in frames] == [1, 0, 1]


@pytest.mark.parametrize(("style", "answered"), [("processing", 3), ("unknown", 1), ("empty", 1)])
async def test_a_running_task(style: Any, answered: int) -> None:
    async with server(poll_running=style) as emulator, ready(emulator) as (wire, _):
        waits = anyio.Event()

        @emulator.reply("textInference")
        async def slowly(request: Any) -> str:
            if request.index:
                await waits.wait()
            return "x"

        task = text_task(numberResults=3)
        await wire.send(task)
        await wire.item()
        await wire.send(poll(task))
        found = (await wire.recv())["data"]
        assert len(found) == answered
        assert found[0]["status"] == "success"
        assert {item["status"] for item in found[1:]} <= {"processing"}
        waits.set()


@pytest.mark.parametrize("style", ["unknown", "empty"])
async def test_a_running_task_looks_like_none(style: Any) -> None:
    async with server(1.0, poll_running=style) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task, poll(task))
        if style == "empty":
            assert await wire.recv() == {"data": []}
        else:
            assert (await wire.error())["code"] == "taskFailedOrNotFound"


@pytest.mark.parametrize(
    ("style", "kind"), [("question", "getResponse"), ("task", "textInference"), ("none", None)]
)
async def test_the_type_of_not_found(style: Any, kind: str | None) -> None:
    async with server(answer_type=style) as emulator, ready(emulator) as (wire, _):
        await wire.send(poll(STRANGER))
        assert (await wire.error()).get("taskType") == kind


@pytest.mark.parametrize(
    ("style", "kind"), [("question", "getResponse"), ("task", "textInference"), ("none", None)]
)
async def test_a_failed_task_among_errors(style: Any, kind: str | None) -> None:
    async with server(poll_errors="errors", poll_error_type=style) as emulator:

        @emulator.reply("textInference")
        def fail(_: Any) -> str:
            raise ReplyError("inferenceError")

        async with ready(emulator) as (wire, _):
            task = text_task()
            await wire.send(task)
            await wire.error()
            await wire.send(poll(task))
            error = await wire.error()
            assert (error["code"], error.get("taskType")) == ("inferenceError", kind)
            assert error["taskUUID"] == task["taskUUID"]


# Questions that fail


async def test_one_kind_of_question_always_fails() -> None:
    choice: dict[str, Any] = {"failing_question": "getResponse", "question_error": "invalidRequest"}
    async with server(**choice) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        await wire.item()
        await wire.send(poll(task))
        error = await wire.error()
        assert (error["code"], error["taskType"]) == ("invalidRequest", "getResponse")
        assert error["taskUUID"] == task["taskUUID"]
        await wire.send(details(task))
        await wire.item()
        # It can be changed while the server runs.
        emulator.options = EmulatorOptions()
        await wire.send(poll(task))
        assert (await wire.item())["text"] == expected(task)
        assert emulator.stats.failed_questions == 1


async def test_questions_fail_for_a_while() -> None:
    async with server() as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        await wire.item()
        emulator.faults.fail_questions("unauthorized", typed=False, seconds=1.0)
        emulator.faults.fail_questions("rateLimitExceeded", "getResponse", seconds=0.5)
        await wire.send(poll(task), details(task))
        first, second = await wire.error(), await wire.error()
        assert (first["code"], first["taskType"]) == ("rateLimitExceeded", "getResponse")
        assert (second["code"], "taskType" in second) == ("unauthorized", False)
        await anyio.sleep(0.6)
        await wire.send(poll(task))
        assert (await wire.error())["code"] == "unauthorized"
        await anyio.sleep(0.6)
        await wire.send(poll(task))
        await wire.item()


# The archive


async def test_the_archive_lists_the_whole_array() -> None:
    async with server(archive_array=True) as emulator, ready(emulator) as (wire, _):

        @emulator.reply("textInference")
        def answer(request: Any) -> str:
            if request.prompt == "bad":
                raise ReplyError("inferenceError")
            return str(request.prompt)

        one, bad, other = text_task("one"), text_task("bad"), text_task("other")
        await wire.send(one, bad, other)
        for _ in range(3):
            await wire.recv()
        await wire.send(details(other))
        entry = await wire.item()
        assert entry["taskUUID"] == other["taskUUID"]
        assert [task["taskUUID"] for task in entry["request"]] == [
            task["taskUUID"] for task in (one, bad, other)
        ]
        assert [item["text"] for item in entry["response"]["data"]] == ["one", "other"]
        assert [error["taskUUID"] for error in entry["response"]["errors"]] == [bad["taskUUID"]]
        lone = text_task("lone")
        await wire.send(lone)
        await wire.item()
        await wire.send(details(lone))
        assert len((await wire.item())["request"]) == 1


@pytest.mark.parametrize("style", ["nothing", "while-running", "for-good"])
async def test_the_refusal_of_a_copy_is_kept(style: Any) -> None:
    async with server(1.0, archive_keeps=style) as emulator, ready(emulator) as (wire, _):
        task, alone = text_task(), text_task()
        await wire.send(task, alone)
        await wire.send(task)
        assert (await wire.error())["code"] == "conflictTaskUUID"
        await wire.send(details(task))
        if style == "nothing":
            assert (await wire.error())["code"] == "taskNotFound"
        else:
            kept = (await wire.item())["response"]["errors"]
            assert [error["code"] for error in kept] == ["conflictTaskUUID"]
        await wire.items(2)
        await wire.send(details(task))
        response = (await wire.item())["response"]
        assert ("errors" in response) is (style == "for-good")
        await wire.send(details(alone))
        assert (await wire.item())["response"]["data"][0]["text"] == expected(alone)
        uuids = [task["taskUUID"], alone["taskUUID"]]
        assert emulator.tellable(uuids) == dict.fromkeys(uuids, True)
        emulator.options = EmulatorOptions(archive_keeps=style, poll_sync_tasks=False)
        assert emulator.tellable(uuids)[uuids[0]] is (style != "for-good")


async def test_the_archive_lags_behind() -> None:
    async with server(archive_lag=2.0) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        await wire.item()
        await anyio.sleep(1.9)
        await wire.send(details(task))
        assert (await wire.error())["code"] == "taskNotFound"
        await anyio.sleep(0.2)
        await wire.send(details(task))
        assert (await wire.item())["response"]["data"]


async def test_the_archive_denies_what_it_has_for_a_while() -> None:
    async with server() as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        await wire.item()
        emulator.faults.deny_archive(1.0)
        await wire.send(details(task))
        assert (await wire.error())["code"] == "taskNotFound"
        await anyio.sleep(1.1)
        await wire.send(details(task))
        await wire.item()


async def test_the_archive_has_a_field_more() -> None:
    async with server(archive_field="createdAt") as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        live = await wire.item()
        await wire.send(details(task))
        (kept,) = (await wire.item())["response"]["data"]
        assert kept == {**live, "createdAt": "kept"}


# Receipts


@pytest.mark.parametrize(
    ("style", "fields"),
    [
        ("bare", set[str]()),
        ("cost", {"cost"}),
        ("message", {"message"}),
        ("queue", {"queuePosition", "estimatedTime"}),
        ("status", {"status"}),
        ("all", {"cost", "message", "queuePosition", "estimatedTime", "status"}),
    ],
)
async def test_receipts(style: Any, fields: set[str]) -> None:
    async with (
        server(1.0, ack_fields=style, ack_copies=2) as emulator,
        ready(emulator) as (wire, _),
    ):
        task = text_task(deliveryMethod="async")
        await wire.send(task)
        receipts = await wire.items(2)
        assert receipts[0] == receipts[1]
        assert set(receipts[0]) == {"taskType", "taskUUID"} | fields
        await wire.silence(0.5)


async def test_a_note_that_a_sync_task_runs() -> None:
    async with server(sync_notes=True) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        note, result = await wire.items(2)
        assert note == {**{k: task[k] for k in ("taskType", "taskUUID")}, "status": "processing"}
        assert result["text"] == expected(task)


# Registration


@pytest.mark.parametrize("style", ["conflict", "run"])
async def test_a_copy_before_the_registration(style: Any) -> None:
    choice: dict[str, Any] = {"registration_delay": 1.0, "unregistered_copies": style}
    async with server(5.0, **choice) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task, task)
        if style == "conflict":
            assert (await wire.error())["code"] == "conflictTaskUUID"
        await anyio.sleep(1.1)
        await wire.send(task)
        assert (await wire.error())["code"] == "conflictTaskUUID"
        assert emulator.stats.executions[task["taskUUID"]] == (2 if style == "run" else 1)
