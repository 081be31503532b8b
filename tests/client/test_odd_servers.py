"""Paid answers come, with default options, before servers that answer oddly but legally.

In virtual time. Each server is the emulator with some choices; the proof is what it counted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from runware_ws import Client
from runware_ws.emulator import Emulator
from tests import virtual

from .support import ample, ask, until
from .test_rules import Answers, pair

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


async def run_twenty(
    server: Emulator, client: Client, strike: Callable[[], Awaitable[object]]
) -> None:
    """Twenty tasks while something strikes: each is answered, and runs once."""
    answers = Answers()
    tasks = [ask(f"{n}", delivery_method="async" if n % 2 else None) for n in range(20)]
    await answers.run(client, *tasks, strike=strike)
    assert answers.errors == []
    assert len(answers.results) == 20
    assert server.stats.executed_twice == []
    assert client.stats().strays == 0


async def all_answered(
    latency: float = 2.0,
    *,
    forget: bool = True,
    client: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Twenty tasks are cut off, and each is answered once; returns what the server counted."""
    async with pair(latency, client, **options) as (server, user):

        async def strike() -> None:
            await until(lambda: server.stats.tasks_accepted == 20)
            if forget:
                server.faults.forget_sessions()
            server.faults.cut()

        await run_twenty(server, user, strike)
        return server.stats


@pytest.mark.parametrize("kind", ["getResponse", "getTaskDetails"])
@ample
async def test_a_question_that_is_never_answered_has_another(kind: Any) -> None:
    stats = await all_answered(mute_question=kind)
    assert stats.mute_questions > 0


@pytest.mark.parametrize("named", ["new", "none"])
@pytest.mark.parametrize("dying", ["buffered", "lost"])
@ample
async def test_a_session_that_lives_on_under_another_name(named: Any, dying: Any) -> None:
    stats = await all_answered(forget=False, resumed_session=named, dying_results=dying)
    assert stats.resumes == 1
    assert stats.executed == 20


@pytest.mark.parametrize("code", ["rateLimitExceeded", "serviceUnavailable"])
@pytest.mark.parametrize("early", [True, False])
@ample
async def test_a_copy_that_is_not_let_in_ends_no_task(code: str, early: bool) -> None:
    stats = await all_answered(
        latency=8.0, client={"resend_early": early}, busy_copies=code, poll_running="unknown"
    )
    assert (stats.tasks_turned_away > 0) is early


@pytest.mark.parametrize("spelling", [{"upper_uuids": True}, {"null_fields": True}])
@pytest.mark.parametrize("forget", [True, False])
@ample
async def test_an_item_in_another_spelling_is_the_same(
    spelling: dict[str, Any], forget: bool
) -> None:
    stats = await all_answered(forget=forget, ack_fields="all", **spelling)
    assert stats.executed == 20


@pytest.mark.parametrize("dying", ["buffered", "lost"])
@ample
async def test_a_running_task_that_has_only_a_status(dying: Any) -> None:
    choice: dict[str, Any] = {"details_while_running": "status", "dying_results": dying}
    stats = await all_answered(latency=8.0, **choice)
    assert stats.conflicts == 0


@pytest.mark.parametrize("code", ["invalidRequest", "providerUnavailable"])
@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("kind", ["getResponse", "getTaskDetails"])
@ample
async def test_several_errors_about_a_question_end_no_task(
    kind: Any, code: str, typed: bool
) -> None:
    choice: dict[str, Any] = {"failing_question": kind, "question_error_typed": typed}
    stats = await all_answered(question_errors=2, question_error=code, **choice)
    assert stats.failed_questions > 0


@pytest.mark.parametrize("dying", ["buffered", "lost"])
@ample
async def test_answers_that_come_again(dying: Any) -> None:
    choice: dict[str, Any] = {"dying_results": dying, "buffer_answers": True}
    async with pair(6.0, **choice) as (server, client):

        def asked() -> int:
            return server.stats.polls + server.stats.details

        def more(before: int) -> bool:
            return asked() > before

        async def strike() -> None:
            # Each cut strikes while answers to questions are on their way.
            for _ in range(4):
                await until(partial(more, asked()))
                server.faults.cut()

        await run_twenty(server, client, strike)


@pytest.mark.parametrize("style", ["question", "task", "none"])
@pytest.mark.parametrize("joined", [True, False])
@ample
async def test_denials_that_name_nobody_end_no_task(style: Any, joined: bool) -> None:
    choice: dict[str, Any] = {"answer_type": style, "answers_joined": joined}
    stats = await all_answered(latency=8.0, nameless_denials=True, **choice)
    assert stats.details > 0


@pytest.mark.parametrize("style", ["task", "none"])
@pytest.mark.parametrize("running", ["processing", "status"])
@ample
async def test_an_entry_of_another_type_is_an_entry(style: Any, running: Any) -> None:
    choice: dict[str, Any] = {"details_type": style, "details_while_running": running}
    stats = await all_answered(latency=8.0, dying_results="lost", poll_sync_tasks=False, **choice)
    assert stats.details > 0
