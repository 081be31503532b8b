"""What the tests of batches share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import anyio
from anthropic.types.messages import MessageBatch

from runware_ws.emulator import Emulator, expected_text
from runware_ws.gateway import Callers, GatewayCaller, app, gateway_of, hash_of_key
from tests.client.support import client_of
from tests.gateway.support import Place, in_process, request

BATCHES = "/v1/messages/batches"


@asynccontextmanager
async def gateway_on(
    emulator: Emulator,
    journal: Any,
    callers: Callers | None = None,
    client: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncGenerator[Place]:
    """One life of a gateway that goes on with what is in the journal."""
    more = {"journal": journal, "poll_first": 0.02, **(client or {})}
    async with client_of(emulator, api_key="any", **more) as caller:
        application = app(caller, callers, **options)
        application.state.batches.start()
        async with in_process(application) as http:
            yield Place(emulator, caller, gateway_of(application), http)
        application.state.batches.stop()


def callers(**limits: Any) -> Callers:
    """Two of them; the limits are those of ann."""
    return Callers(
        {
            "ann": GatewayCaller(name="ann", key=hash_of_key("key-of-ann"), **limits),
            "bob": GatewayCaller(name="bob", key=hash_of_key("key-of-bob")),
        }
    )


def lines(number: int, **fields: Any) -> list[Any]:
    """Requests of a batch: line N is called ``cN`` and asks ``question N``."""
    return [
        {"custom_id": f"c{each}", "params": request(f"question {each}", **fields)}
        for each in range(number)
    ]


async def ended(asks: anthropic.AsyncAnthropic, batch_id: str) -> MessageBatch:
    """Wait until a batch has ended."""
    with anyio.fail_after(50):
        while True:
            batch = await asks.messages.batches.retrieve(batch_id)
            if batch.processing_status == "ended":
                return batch
            await anyio.sleep(0.02)


async def results(asks: anthropic.AsyncAnthropic, batch_id: str) -> dict[str, Any]:
    """The results of a batch, by the names of its lines; each is there once."""
    found: dict[str, Any] = {}
    async for each in await asks.messages.batches.results(batch_id):
        assert each.custom_id not in found
        found[each.custom_id] = each.result
    return found


async def kinds(asks: anthropic.AsyncAnthropic, batch_id: str) -> list[str]:
    """How the lines of a batch ended, in their order, once it has ended."""
    batch = await ended(asks, batch_id)
    found = await results(asks, batch_id)
    told = [found[f"c{number}"].type for number in range(len(found))]
    counts = batch.request_counts.model_dump()
    assert counts == {
        kind: told.count(kind)
        for kind in ("canceled", "errored", "expired", "processing", "succeeded")
    }
    return told


def are_right(found: Mapping[str, Any]) -> bool:
    """Whether these lines have the answers to their own questions."""
    return all(
        result.message.content[0].text
        == expected_text(f"question {name[1:]}", result.message.runware["task_uuid"])
        for name, result in found.items()
    )


async def lines_ended(here: Place) -> int:
    """How many lines of all batches have their ends in the journal."""
    assert here.client.journal is not None
    heads = await here.client.journal.lookup.heads("gateway-batch/", 1_000)
    return sum("/line/" in head.key for head in heads)
