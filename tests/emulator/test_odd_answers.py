"""Odd ways to answer, all of them legal: each choice, seen from the wire."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from runware_ws.emulator import Emulator, EmulatorOptions
from tests import virtual

from .wire import KEY, details, expected, poll, raw, ready, serving, stream_task, text_task, until

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend

STRANGER = text_task("never sent")


def server(latency: float = 0.0, **options: Any) -> Emulator:
    """An emulator with these choices."""
    return serving(api_key=KEY, latency=latency, options=EmulatorOptions(**options))


# Sessions


async def test_a_resumed_session_goes_on_under_another_name() -> None:
    async with server(1.0, resumed_session="new") as emulator:
        task = text_task()
        async with ready(emulator) as (wire, first):
            await wire.send(task)
            await wire.vanish()
        async with raw(emulator) as wire:
            second = await wire.auth(first)
            assert second != first
            assert (await wire.item())["taskUUID"] == task["taskUUID"]
        async with raw(emulator) as wire:
            assert await wire.auth(second) not in (first, second)
        assert (emulator.stats.resumes, emulator.stats.resumes_refused) == (2, 0)
        async with raw(emulator) as wire:
            await wire.auth(first)
        assert (emulator.stats.resumes, emulator.stats.resumes_refused) == (2, 1)


async def test_a_resumed_session_is_not_named() -> None:
    async with server(1.0, resumed_session="none") as emulator:
        task = text_task()
        async with ready(emulator) as (wire, session):
            await wire.send(task)
            await wire.vanish()
        for _ in range(2):
            async with raw(emulator) as wire:
                login = {"taskType": "authentication", "apiKey": KEY}
                await wire.send({**login, "connectionSessionUUID": session})
                assert await wire.item() == {"taskType": "authentication"}
        assert emulator.stats.resumes == 2


@pytest.mark.parametrize("kept", [True, False])
async def test_an_answer_that_did_not_arrive_comes_again(kept: bool) -> None:
    async with server(buffer_answers=kept) as emulator:
        task = text_task()
        async with ready(emulator) as (wire, session):
            await wire.send(task)
            await wire.item()
            await anyio.sleep(1.0)
            await wire.send(details(task), poll(STRANGER))
            await until(lambda: emulator.stats.polls)
            await wire.vanish()
        async with raw(emulator) as wire:
            await wire.auth(session)
            if kept:
                assert (await wire.item())["taskType"] == "getTaskDetails"
                assert (await wire.error())["taskUUID"] == STRANGER["taskUUID"]
            await wire.silence(1.0)
        assert emulator.stats.replayed == 0


# Copies


async def test_a_copy_is_refused_without_a_look() -> None:
    choice: dict[str, Any] = {"busy_copies": "rateLimitExceeded", "archive_keeps": "for-good"}
    async with server(1.0, **choice) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        await wire.send(task)
        refusal = await wire.error()
        assert (refusal["code"], refusal["taskUUID"]) == ("rateLimitExceeded", task["taskUUID"])
        await wire.item()
        await wire.send(task)
        assert (await wire.error())["code"] == "rateLimitExceeded"
        await wire.send(details(task))
        assert (await wire.item())["response"]["data"]
        assert emulator.stats.executions[task["taskUUID"]] == 1
        assert emulator.stats.conflicts == 0


# Questions


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(
    ("kind", "mute", "told"),
    [("getResponse", poll, details), ("getTaskDetails", details, poll)],
)
async def test_a_kind_of_question_is_never_answered(
    kind: Any, mute: Any, told: Any, joined: bool
) -> None:
    choice: dict[str, Any] = {"mute_question": kind, "answers_joined": joined}
    async with server(**choice) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        await wire.item()
        await wire.send(mute(task))
        await wire.send(mute(task), told(task), mute(STRANGER))
        assert (await wire.item())["taskUUID"] == task["taskUUID"]
        await wire.silence(60.0)
        assert emulator.tellable([task["taskUUID"]])[task["taskUUID"]]
        emulator.options = EmulatorOptions()
        await wire.send(mute(task))
        await wire.item()


@pytest.mark.parametrize("joined", [True, False])
async def test_several_errors_say_what_is_wrong_with_a_question(joined: bool) -> None:
    choice: dict[str, Any] = {"failing_question": "getResponse", "question_errors": 2}
    async with server(answers_joined=joined, **choice) as emulator, ready(emulator) as (wire, _):
        await wire.send(poll(STRANGER))
        errors = (await wire.recv())["errors"]
        assert [error["code"] for error in errors] == ["internalServerError", "unknownParameter"]
        assert {error["taskUUID"] for error in errors} == {STRANGER["taskUUID"]}
        assert emulator.stats.failed_questions == 1
    with pytest.raises(ValueError, match="question_errors must be at least 1"):
        EmulatorOptions(question_errors=0)


@pytest.mark.parametrize(("style", "typed"), [("question", True), ("task", False), ("none", False)])
async def test_a_denial_names_nobody(style: Any, typed: bool) -> None:
    choice: dict[str, Any] = {"nameless_denials": True, "answer_type": style}
    async with server(1.0, **choice) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        for question in (poll(STRANGER), details(STRANGER), details(task)):
            await wire.send(question)
            error = await wire.error()
            assert "taskUUID" not in error
            assert error.get("taskType") == (question["taskType"] if typed else None)
        await wire.item()


# The archive


@pytest.mark.parametrize(
    ("style", "kind"), [("question", "getTaskDetails"), ("task", "textInference"), ("none", None)]
)
async def test_the_type_of_an_entry(style: Any, kind: str | None) -> None:
    async with server(details_type=style) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task)
        live = await wire.item()
        await wire.send(details(task))
        entry = await wire.item()
        assert entry.get("taskType") == kind
        assert entry["response"]["data"] == [live]


async def test_a_running_task_has_a_status_and_nothing_else() -> None:
    choice: dict[str, Any] = {"details_while_running": "status"}
    async with server(1.0, **choice) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        await wire.send(task, details(task))
        about = {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}
        assert await wire.item() == {**about, "status": "processing"}
        await wire.item()
        await wire.send(details(task))
        assert {"request", "response"} < set(await wire.item())


@pytest.mark.parametrize("form", ["frame", "items", "frames", "behind", "before"])
async def test_the_archive_lists_pieces(form: Any) -> None:
    async with server(archive_pieces=form) as emulator, ready(emulator) as (wire, _):
        task = stream_task()
        await wire.send(task)
        pieces = await wire.items(1)
        while "finishReason" not in pieces[-1]:
            pieces += await wire.items(1)
        await wire.send(details(task))
        kept = (await wire.item())["response"]
        if form == "items":
            assert kept == pieces
        elif form == "frames":
            assert kept == [{"data": [piece]} for piece in pieces]
        elif form == "frame":
            assert kept == {"data": pieces}
        else:
            whole = kept["data"].pop(0 if form == "before" else -1)
            assert whole["text"] == expected(task)
            assert kept == {"data": pieces}
        # What was not streamed is listed as ever.
        plain = text_task()
        await wire.send(plain)
        live = await wire.item()
        await wire.send(details(plain))
        assert (await wire.item())["response"] == {"data": [live]}


# Spelling


async def test_uuids_come_back_in_capitals() -> None:
    async with (
        server(upper_uuids=True, archive_array=True) as emulator,
        ready(emulator) as (wire, _),
    ):
        task = text_task()
        other = text_task(deliveryMethod="async")
        await wire.send(task, other)
        capitals = [each["taskUUID"].upper() for each in (task, other)]
        assert {item["taskUUID"] for item in await wire.items(2)} == set(capitals)
        await wire.send(details(task), poll(other))
        entry, polled = await wire.items(2)
        assert entry["taskUUID"] == capitals[0]
        assert [item["taskUUID"] for item in entry["request"]] == capitals
        assert [item["taskUUID"] for item in entry["response"]["data"]] == capitals
        assert polled["taskUUID"] == capitals[1]
        await wire.send(task)
        assert (await wire.error())["taskUUID"] == capitals[0]


async def test_fields_without_a_value_are_null() -> None:
    async with server(null_fields=True) as emulator, ready(emulator) as (wire, _):
        await wire.send(text_task(deliveryMethod="async"), stream_task())
        items = await wire.items(3)
        for item in items:
            assert {"text", "delta", "status", "error", "toolCalls"} <= set(item)
            assert item["status"] is None
        assert [item["delta"] is None for item in items] == [True, False, False]
    async with server(null_fields=True) as emulator, ready(emulator) as (wire, _):
        await wire.send({"taskType": "ping", "ping": True})
        assert await wire.item() == {"taskType": "ping", "pong": True}
        await wire.send(poll(STRANGER))
        assert "text" not in await wire.error()
