"""The rules of recovery, with default options, before servers that do what the wire allows.

In virtual time. Each server is the emulator with some choices; the proof is what it counted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest

from runware_ws import Client, OutcomeUnknown, ProtocolError, Result, TextInference
from runware_ws.emulator import Emulator, EmulatorOptions
from runware_ws.events import PeerSuspected, ServerNotice
from tests import virtual

from .support import KEY, ample, ask, assert_answers, only, until

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend

TROUBLE = ("providerUnavailable", "invalidRequest", "insufficientCredits", "unauthorized")


@asynccontextmanager
async def pair(
    latency: float, client: dict[str, Any] | None = None, **options: Any
) -> AsyncGenerator[tuple[Emulator, Client]]:
    """A server with these choices, and a client of it."""
    server = virtual.serving(KEY, latency=latency, options=EmulatorOptions(**options))
    async with server:
        settings: dict[str, Any] = {"dial": getattr(server, "dial", None), **(client or {})}
        async with Client(server.url, api_key=KEY, **settings) as user:
            await user.ready()
            yield server, user


class Answers:
    """Tasks that run, and what became of them."""

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}
        self.errors: list[Exception] = []

    async def run(self, client: Client, *tasks: TextInference, strike: Any = None) -> None:
        """Submit all, strike once they run, and wait for the ends."""
        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(self._one, client, task)
            if strike is not None:
                group.start_soon(strike)

    async def _one(self, client: Client, task: TextInference) -> None:
        try:
            result = await client.run(task)
        except Exception as exc:
            self.errors.append(exc)
        else:
            assert_answers(result, task)
            self.results[str(task.task_uuid)] = result


@ample
async def test_no_running_task_of_a_forgotten_session_is_copied() -> None:
    async with pair(9.0, poll_running="unknown") as (server, client):
        answers = Answers()

        async def strike() -> None:
            await until(lambda: server.stats.tasks_accepted == 100)
            server.faults.forget_sessions()
            server.faults.cut()

        await answers.run(client, *(ask(f"{n}") for n in range(100)), strike=strike)
        assert len(answers.results) == 100
        assert client.stats().resends == 0
        assert server.stats.conflicts == 0


@pytest.mark.parametrize("joined", [False, True])
@ample
async def test_lost_async_requests_that_empty_answers_deny(joined: bool) -> None:
    empty: dict[str, Any] = {"poll_unknown": "empty", "details_unknown": "empty"}
    async with pair(1.0, **empty, answers_joined=joined) as (server, client):
        answers = Answers()
        server.faults.drop_requests()

        async def strike() -> None:
            await until(lambda: server.stats.lost_requests >= 83)
            server.faults.heal()
            server.faults.cut()

        tasks = [ask(f"{n}", delivery_method="async") for n in range(83)]
        await answers.run(client, *tasks, strike=strike)
        assert len(answers.results) == 83
        assert server.stats.empty_answers > 0
        assert server.stats.conflicts == 0
        assert server.stats.executed == 83


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("code", TROUBLE)
@pytest.mark.parametrize("kind", ["getResponse", "getTaskDetails", None])
@ample
async def test_an_error_about_a_question_ends_no_task(
    kind: Literal["getResponse", "getTaskDetails"] | None, code: str, typed: bool
) -> None:
    async with pair(2.0) as (server, client):
        answers = Answers()
        server.faults.fail_questions(code, kind, typed=typed, seconds=15.0)

        async def strike() -> None:
            await until(lambda: server.stats.tasks_accepted == 20)
            server.faults.forget_sessions()
            server.faults.cut()

        tasks = [ask(f"{n}", delivery_method="async" if n % 2 else None) for n in range(20)]
        await answers.run(client, *tasks, strike=strike)
        assert answers.errors == []
        assert server.stats.failed_questions > 0
        assert server.stats.executed_twice == []


@pytest.mark.parametrize("kind", ["getResponse", "getTaskDetails"])
@ample
async def test_a_question_that_always_fails_has_another(
    kind: Literal["getResponse", "getTaskDetails"],
) -> None:
    async with pair(2.0, failing_question=kind) as (server, client):
        answers = Answers()

        async def strike() -> None:
            await until(lambda: server.stats.tasks_accepted == 20)
            server.faults.forget_sessions()
            server.faults.cut()

        await answers.run(client, *(ask(f"{n}") for n in range(20)), strike=strike)
        assert answers.errors == []
        assert server.stats.executed_twice == []


@pytest.mark.parametrize("style", ["while-running", "for-good"])
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("polls", [True, False])
@ample
async def test_a_kept_refusal_is_a_receipt(
    style: Literal["while-running", "for-good"], early: bool, polls: bool
) -> None:
    choice: dict[str, Any] = {"archive_keeps": style, "poll_sync_tasks": polls}
    choice |= {"poll_running": "unknown", "dying_results": "lost"}
    async with pair(12.0, {"resend_early": early, "timeout": 90.0}, **choice) as (server, client):
        answers = Answers()

        async def strike() -> None:
            await until(lambda: server.stats.tasks_accepted == 10)
            server.faults.forget_sessions()
            server.faults.cut()

        tasks = [ask(f"{n}") for n in range(10)]
        await answers.run(client, *tasks, strike=strike)
        assert {type(error) for error in answers.errors} <= {OutcomeUnknown}
        assert (server.stats.conflicts > 0) is early
        tellable = server.tellable(str(task.task_uuid) for task in tasks)
        assert len(answers.results) == sum(tellable.values())
        assert server.stats.executed_twice == []


@pytest.mark.parametrize("fields", ["bare", "cost", "message", "queue", "status", "all"])
@ample
async def test_a_receipt_is_no_result(fields: Any) -> None:
    async with pair(3.0, ack_fields=fields, ack_copies=2, sync_notes=True) as (server, client):
        answers = Answers()
        tasks = [
            ask(
                f"{n}",
                delivery_method="async" if n % 2 else None,
                number_results=3 if n % 3 == 0 else None,
            )
            for n in range(12)
        ]

        async def strike() -> None:
            await until(lambda: server.stats.tasks_accepted == 12)
            server.faults.cut()

        await answers.run(client, *tasks, strike=strike)
        assert answers.errors == []
        assert client.stats().strays == 0


@ample
async def test_what_a_dead_socket_brought_is_read_late_and_registered_later() -> None:
    late: dict[str, Any] = {"registration_delay": 1.0, "unregistered_copies": "run"}
    async with pair(4.0, **late) as (server, client):
        answers = Answers()

        async def strike() -> None:
            for _ in range(3):
                server.faults.stall(2.0)
                await anyio.sleep(0.5)
                server.faults.cut()
                await anyio.sleep(4.0)

        await answers.run(client, *(ask(f"{n}") for n in range(50)), strike=strike)
        assert answers.errors == []
        assert server.stats.executed_twice == []
        assert server.stats.executed == 50


@pytest.mark.parametrize("code", [1007, 1008])
@ample
async def test_a_poisonous_task_fails_alone(code: int) -> None:
    async with pair(0.2) as (server, client):
        server.faults.poison(code, marker="poison")
        answers = Answers()
        bad = ask("poison")
        await answers.run(client, *(ask(f"{n}") for n in range(10)), bad)
        (error,) = answers.errors
        assert isinstance(error, ProtocolError)
        assert error.task_uuid == str(bad.task_uuid)
        assert len(answers.results) == 10
        # It goes on for others.
        assert_answers(await client.run(task := ask("after")), task)


@ample
async def test_a_result_that_is_too_big_fails_alone() -> None:
    async with pair(1.0, max_sent_bytes=100_000) as (server, client):
        server.faults.giant_result(200_000)
        answers = Answers()
        await answers.run(client, *(ask(f"{n}") for n in range(10)))
        assert len(answers.results) == 9
        assert len(answers.errors) == 1
        assert server.stats.executed_twice == []


@ample
async def test_a_stray_error_before_the_reply_ends_nothing() -> None:
    async with pair(0.1, before_auth="insufficientCredits") as (server, client):
        events = client.events()
        server.faults.cut()
        await until(lambda: client.stats().connections == 2)
        assert_answers(await client.run(task := ask()), task)
        await client.aclose()
        told = only([event async for event in events], ServerNotice)
        assert {notice.code for notice in told} == {"insufficientCredits"}


@pytest.mark.parametrize("what", ["pings", "bytes"])
@ample
async def test_a_peer_that_only_pings_or_dribbles_is_dead(what: Literal["pings", "bytes"]) -> None:
    async with pair(1.0) as (server, client):
        events = client.events()
        answers = Answers()

        async def strike() -> None:
            await until(lambda: server.stats.tasks_accepted == 20)
            silent = anyio.current_time()
            server.faults.blackhole("drop")
            server.faults.trickle(what, every=0.3)
            await until(lambda: not client.connected)
            assert anyio.current_time() - silent <= 5.0
            server.faults.heal()

        await answers.run(client, *(ask(f"{n}") for n in range(20)), strike=strike)
        assert answers.errors == []
        await client.aclose()
        assert len(only([event async for event in events], PeerSuspected)) == 1


@ample
async def test_what_somebody_else_got_of_a_session_is_in_the_archive() -> None:
    async with pair(1.0) as (server, client):
        answers = Answers()

        async def strike() -> None:
            await until(lambda: server.stats.tasks_accepted == 20)
            server.faults.hand_over_sessions()
            server.faults.reject_upgrades(503, retry_after=3.0)
            server.faults.cut()

        await answers.run(client, *(ask(f"{n}") for n in range(20)), strike=strike)
        assert answers.errors == []
        assert server.stats.handed_over == 20
        assert {each.recovered_by for each in answers.results.values()} == {"archive"}


@ample
async def test_the_archive_lists_an_array_lags_and_has_more_fields() -> None:
    choice: dict[str, Any] = {"archive_array": True, "archive_lag": 6.0, "archive_field": "model"}
    async with pair(1.0, **choice, result_index="never") as (server, client):
        answers = Answers()
        server.faults.deny_archive(10.0)

        async def strike() -> None:
            await until(lambda: server.stats.tasks_accepted == 20)
            server.faults.lose_results_on_cut(window=1.5)
            server.faults.cut()

        tasks = [ask(f"{n}", number_results=2 if n % 4 == 0 else None) for n in range(20)]
        await answers.run(client, *tasks, strike=strike)
        assert answers.errors == []
        assert server.stats.lost_results == 25
        assert server.stats.executed_twice == []
