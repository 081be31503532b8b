"""The key appears nowhere."""

from __future__ import annotations

import logging
import traceback
from typing import Any, cast

import anyio
import pytest

from runware_ws import AuthenticationError, Client, Config, ConfigurationError, RunwareError
from runware_ws._io.driver import Driver
from runware_ws._io.keys import KeySource
from runware_ws.emulator import Emulator, EmulatorOptions, ReplyError, Request
from runware_ws.testing.network import MemoryNetwork

from .support import KEY, NOWHERE, ask, bounded, client_of, rest, until

pytestmark = pytest.mark.anyio

ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY)


def chain_of(error: BaseException) -> list[BaseException]:
    """An exception with everything that it was raised from, or while."""
    found: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or any(one is known for known in found):
            continue
        found.append(one)
        pending += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            pending += cast("BaseExceptionGroup[BaseException]", one).exceptions
    return found


def words_of(error: BaseException) -> str:
    """All that an exception can print."""
    parts = traceback.format_exception(error)
    for one in chain_of(error):
        parts += [repr(one), str(one), repr(one.args), repr(vars(one))]
    return "\n".join(parts)


def assert_clean(*things: object) -> None:
    """No thing shows the key, as text or as repr."""
    for thing in things:
        text = words_of(thing) if isinstance(thing, BaseException) else f"{thing!r} {thing!s}"
        assert KEY not in text


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All loggers at DEBUG, as a user in need sets them."""
    caplog.set_level(logging.DEBUG)
    names = ["websockets", "websockets.client", "runware_ws", "runware_ws.websockets", "asyncio"]
    for name in names:
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def assert_logs_clean(caplog: pytest.LogCaptureFixture) -> None:
    for record in caplog.records:
        assert KEY not in record.getMessage()
        assert KEY not in repr(record.__dict__)
    assert KEY not in caplog.text


@bounded
async def test_a_life_with_faults_shows_no_key(
    everything_logged: pytest.LogCaptureFixture,
) -> None:
    errors: list[BaseException] = []
    async with Emulator(KEY, latency="5ms") as emulator:
        async with client_of(emulator) as client:
            events = client.events()
            handle = await client.submit(ask())
            assert_clean(client, handle, await handle, client.stats())
            emulator.faults.send_raw(f'{{"broken": "{KEY}"')
            emulator.faults.send_raw(f'["{KEY}"]')
            emulator.faults.send_error("internalServerError", f"the key {KEY} is odd", key=KEY)
            emulator.faults.inject_error("inferenceError", f"{KEY}!", parameter=KEY, about=[KEY])
            with pytest.raises(RunwareError) as caught:
                await client.run(ask())
            errors.append(caught.value)
            emulator.faults.cut(1000, f"bye {KEY}")
            await until(lambda: client.stats().connections == 2)
            emulator.latency = "10s"
            with pytest.raises(RunwareError) as caught:
                await client.run(ask(), timeout=0.05)
            errors.append(caught.value)
            pending = await client.submit(ask())
            assert_clean(client, client.stats(), client.session_uuid)
        with pytest.raises(RunwareError) as caught:
            await pending
        errors.append(caught.value)
        found = await rest(events)
    assert any("[redacted]" in repr(event) for event in found)
    assert_clean(*errors, *found, pending, client)
    assert_logs_clean(everything_logged)


@bounded
async def test_a_refusal_that_echoes_the_key(
    everything_logged: pytest.LogCaptureFixture,
) -> None:
    async with Emulator("another", options=EmulatorOptions(refusal_close_code=None)) as emulator:
        async with client_of(emulator) as client:
            events = client.events()
            with pytest.raises(AuthenticationError) as caught:
                await client.run(ask())
            assert_clean(caught.value, client, client.stats())
        assert_clean(*await rest(events))
    assert_logs_clean(everything_logged)


@bounded
async def test_a_connection_that_cannot_be_opened(
    everything_logged: pytest.LogCaptureFixture,
) -> None:
    async with Emulator(KEY) as emulator:
        url = emulator.url
    async with Client(url, api_key=KEY, proxy=None) as client:
        events = client.events()
        with pytest.raises(RunwareError) as caught:
            await client.ready(timeout=0.05)
        with pytest.raises(RunwareError) as second:
            await client.run(ask(), timeout=0.05)
    assert_clean(caught.value, second.value, *await rest(events))
    assert_logs_clean(everything_logged)


@pytest.mark.parametrize("road", ["poll", "archive"])
@bounded
async def test_an_error_inside_an_item_that_echoes_the_key(road: str) -> None:
    async with Emulator(KEY) as emulator, client_of(emulator, poll_first=0.02) as client:

        @emulator.reply("textInference")
        def _(request: Request) -> str:
            raise ReplyError("inferenceError", f"upstream refused {KEY}", detail={"key": KEY})

        await client.ready()
        if road == "archive":
            emulator.faults.lose_results_on_cut()
            emulator.faults.cut()
        with pytest.raises(RunwareError) as caught:
            await client.run(ask(delivery_method="async" if road == "poll" else "sync"))
        assert_clean(caught.value)


@bounded
async def test_an_error_that_echoes_the_key_in_json_escapes() -> None:
    async with Emulator(KEY) as emulator:
        async with client_of(emulator) as client:
            await client.ready()
            events = client.events()
            emulator.faults.send_raw(
                f'{{"errors":[{{"code":"internalServerError","message":"{ESCAPED}"}}]}}'
            )
            await client.run(ask())
        assert_clean(*await rest(events))


def test_what_is_printed() -> None:
    client = Client(NOWHERE, api_key=KEY)
    config = Config()
    keys = KeySource(KEY)

    async def build() -> Driver:
        return Driver(NOWHERE, keys, config, MemoryNetwork().dial)

    assert_clean(client, config, keys, anyio.run(build))
    assert_clean(KeySource(lambda: KEY))
    assert keys.redact_text(f"<{KEY}>") == "<[redacted]>"


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY}\x00", KEY.encode()])
def test_a_key_that_is_none_is_not_printed(key: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Client(NOWHERE, api_key=key)
    assert_clean(caught.value)


@bounded
async def test_no_exception_keeps_a_frame_that_holds_the_key() -> None:
    """Tools that print local variables must not find the key in a traceback either."""
    errors: list[BaseException] = []
    async with Emulator(KEY, latency="1s") as emulator:
        async with client_of(emulator) as client:
            await client.ready()
            handle = await client.submit(ask())
            emulator.faults.cut(reset=True)
            await until(lambda: client.stats().connections == 2)
            with pytest.raises(RunwareError) as caught:
                await client.run(ask(), timeout=0.05)
            errors.append(caught.value)
        with pytest.raises(RunwareError) as caught:
            await handle
        errors.append(caught.value)
    for error in errors:
        for one in chain_of(error):
            printed = traceback.TracebackException.from_exception(one, capture_locals=True)
            frames = [frame for frame in printed.stack if "/runware_ws/" in frame.filename]
            assert KEY not in "".join(repr(frame.locals) for frame in frames)
