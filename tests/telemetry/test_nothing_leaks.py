"""A planted key and a planted prompt appear in no log, span or metric, whatever the server says."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from runware_ws import RunwareError
from runware_ws.emulator import Request
from runware_ws.telemetry.prometheus import ClientCollector
from tests import virtual
from tests.client.support import KEY, ask, client_of

from .support import Telemetry

PROMPT = "xylophone-of-the-planted-prompt"
SECRETS = (KEY, PROMPT)

pytestmark = pytest.mark.timeout(300)


class Kept(logging.Handler):
    """Keeps every record, as text and with all that hangs on it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(f"{record.getMessage()} {record.__dict__!r}")


@contextmanager
def logged() -> Generator[Kept]:
    logger, kept = logging.getLogger("runware_ws"), Kept()
    level = logger.level
    logger.addHandler(kept)
    logger.setLevel(logging.DEBUG)
    try:
        yield kept
    finally:
        logger.removeHandler(kept)
        logger.setLevel(level)


AROUND = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
PLANTED = st.sampled_from((*SECRETS, f"{KEY} {PROMPT}"))
TEXTS = st.tuples(AROUND, PLANTED, AROUND).map("".join)
CODES = TEXTS | st.sampled_from(["inferenceError", "rateLimitExceeded", "invalidApiKey", "odd"])
FIELDS = st.dictionaries(TEXTS | st.sampled_from(["parameter", "documentation"]), TEXTS, max_size=2)


async def life(telemetry: Telemetry, texts: list[str], code: str, fields: dict[str, str]) -> str:
    """A client's life in which the server repeats what it should not; returns the scrape."""
    registry = CollectorRegistry()
    async with virtual.serving(KEY, latency="10ms") as emulator:
        async with client_of(emulator, timeout=2.0) as client:
            telemetry.instrument(client)
            registry.register(ClientCollector(main=client))
            events = client.events()
            await client.ready()
            emulator.faults.inject_error(code, texts[0])
            with suppress(RunwareError):
                await client.run(ask(PROMPT), metadata={"order": f"17 {KEY}", f"n-{KEY}": "a"})
            emulator.faults.send_error(code, texts[0], **fields)
            emulator.faults.send_raw(f'{{"data": [{{"taskUUID": "{KEY}{PROMPT}", "text": "a"}}]}}')
            emulator.faults.send_raw(texts[1])
            async with client.stream(ask(PROMPT)) as stream:
                with suppress(RunwareError):
                    await anext(stream)
            handle = await client.submit(ask(PROMPT))
            emulator.faults.cut(1011, texts[1].encode()[:100].decode("utf-8", "ignore"))
            with suppress(RunwareError):
                await handle

            def repeat(request: Request) -> str:
                return f"{request.prompt} {KEY} {texts[0]}"

            emulator.reply("textInference")(repeat)
            with suppress(RunwareError):
                await client.run(ask(PROMPT))
            page = generate_latest(registry).decode()
            emulator.faults.revoke_key(KEY)
            emulator.faults.cut(1008, texts[1].encode()[:100].decode("utf-8", "ignore"))
            with suppress(RunwareError):
                await client.run(ask(PROMPT), timeout=5)
        told = [event async for event in events]
    # What is planted did arrive: the events have the server's own words, but for the key.
    assert PROMPT in repr(told)
    assert KEY not in repr(told)
    return page


@pytest.mark.parametrize("loop", virtual.LOOPS)
@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TEXTS, min_size=2, max_size=2), CODES, FIELDS)
@example([PROMPT, PROMPT], PROMPT, {})
@example([KEY, KEY], KEY, {"parameter": KEY})
def test_no_export_has_the_key_or_the_prompt(
    loop: str, texts: list[str], code: str, fields: dict[str, str]
) -> None:
    name, options = virtual.backend(loop)
    telemetry = Telemetry()
    with logged() as kept:
        page = anyio.run(
            life, telemetry, texts, code, fields, backend=name, backend_options=options
        )
    printed: dict[str, Any] = {
        "log": "\n".join(kept.told),
        "OpenTelemetry": telemetry.printed(),
        "Prometheus": page,
    }
    assert telemetry.spans
    assert kept.told
    for secret in SECRETS:
        assert [where for where, text in printed.items() if secret in text] == []
