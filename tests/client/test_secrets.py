"""The key appears nowhere."""

from __future__ import annotations

import base64
import copy
import gc
import json
import logging
import pickle
import traceback
import types
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

import anyio
import pytest
from pydantic import SecretStr
from websockets.frames import Close, Frame, Opcode

from runware_ws import (
    AuthenticationError,
    Client,
    Config,
    ConfigurationError,
    RunwareError,
    SyncClient,
)
from runware_ws._io.driver import Driver
from runware_ws._io.http_carrier import HttpCarrier
from runware_ws._io.keys import KeySource
from runware_ws.emulator import Emulator, EmulatorOptions, ReplyError, Request
from runware_ws.telemetry.watchers import Watchers
from runware_ws.testing.network import MemoryNetwork
from tests.streams.servers import listening

from .raw import Peer, quick, serving
from .support import KEY, NOWHERE, ask, bounded, client_of, rest, until

pytestmark = pytest.mark.anyio

ODD = "q+7xZ2mK/Lw9=Rd4+Yb8Nc3/Hg6Jt="
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
        return Driver(
            NOWHERE, keys, config, MemoryNetwork().dial, Watchers(NOWHERE, keys.redact_text)
        )

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


# What tools that print the variables of frames would show


def frames_of(error: BaseException) -> list[Any]:
    """Every frame of an exception and of all it was raised from, or while."""
    found: list[Any] = []
    for one in chain_of(error):
        trace = one.__traceback__
        while trace is not None:
            found.append(trace.tb_frame)
            trace = trace.tb_next
    return found


def frames_waiting() -> list[Any]:
    """The frames of all tasks that wait, those of libraries too."""
    found: list[Any] = []

    def walk(awaitable: Any) -> None:
        while awaitable is not None:
            for kind in ("cr", "gi", "ag"):
                if (frame := getattr(awaitable, f"{kind}_frame", None)) is not None:
                    found.append(frame)
                if (waited := getattr(awaitable, f"{kind}_await", None)) is not None:
                    awaitable = waited
                    break
                if (waited := getattr(awaitable, f"{kind}_yieldfrom", None)) is not None:
                    awaitable = waited
                    break
            else:
                return

    for thing in gc.get_objects():
        if type(thing) is types.CoroutineType:
            walk(thing)
    return found


KEY_PARTS = [KEY[at : at + 8] for at in range(len(KEY) - 7)]


def assert_frames_clean(frames: list[Any]) -> None:
    """No variable of our frames, or of a library's, shows the key or a part of it."""
    for frame in frames:
        if "/tests/" in frame.f_code.co_filename or "/emulator/" in frame.f_code.co_filename:
            continue  # the server knows it, of course
        for name, value in list(frame.f_locals.items()):
            shown = "" if isinstance(value, bytes | bytearray) else repr(value)
            if isinstance(value, bytes | bytearray):
                shown += bytes(value).decode("latin-1")
            where = f"{name} in {frame.f_code.co_qualname} of {frame.f_code.co_filename}"
            assert not any(part in shown for part in KEY_PARTS), where


@pytest.mark.slow
@bounded
async def test_no_frame_shows_the_key_while_the_socket_takes_nothing() -> None:
    """The authentication waits in the socket's buffers, with all frames below it."""
    upgraded = anyio.Event()

    async def serve(peer: Peer) -> None:
        await peer.upgrade()
        upgraded.set()
        await anyio.sleep_forever()

    async with serving(serve) as (url, _), Client(url, api_key=KEY, proxy=None) as client:
        await upgraded.wait()
        for _ in range(4):
            assert_frames_clean(frames_waiting())
            await anyio.lowlevel.checkpoint()
        vars(client)["_driver"].abort()


@pytest.mark.slow
@bounded
async def test_no_frame_shows_the_key_while_a_post_waits() -> None:
    """The server reads nothing, so the request, with the key in its head, waits in the frames."""

    async def serve(_: Any) -> None:
        await anyio.sleep_forever()

    async with listening(serve) as port:
        carrier = HttpCarrier(f"http://127.0.0.1:{port}/v1", proxy=None)
        began = anyio.Event()

        def sending() -> bool:
            began.set()
            return True

        async with anyio.create_task_group() as group:
            large = bytes(12_000_000)  # More than the sockets take in.
            group.start_soon(carrier, large, SecretStr(KEY), sending, list[bytes]().append)
            await began.wait()
            for _ in range(4):
                assert_frames_clean(frames_waiting())
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await carrier.aclose()


@pytest.mark.parametrize("way", ["status", "code", "error", "cut", "hang"])
@bounded
async def test_no_failure_keeps_a_frame_that_shows_the_key(
    way: str, everything_logged: pytest.LogCaptureFixture
) -> None:
    async def serve(peer: Peer) -> None:
        if way == "status":
            await peer.refuse(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            return
        await peer.upgrade()
        task = await peer.task()
        if way == "code":
            reason = f"bad key {task['apiKey'][:20]}"
            await peer.frames(Frame(Opcode.CLOSE, Close(1008, reason).serialize()))
        elif way == "error":
            error = {"code": "invalidApiKey", "message": f"no: {KEY[:12]}…", KEY: KEY[5:]}
            await peer.send({"errors": [{**error, "taskType": "authentication"}]})
        elif way == "hang":
            await anyio.sleep_forever()

    async with (
        serving(serve) as (url, _),
        quick(url, open_timeout=0.3) as client,
    ):
        events = client.events()
        with pytest.raises(RunwareError) as caught:
            await client.run(ask(), timeout=1.0)
    told = [caught.value, *await rest(events)]
    assert_frames_clean(frames_of(caught.value))
    for thing in told:
        text = words_of(thing) if isinstance(thing, BaseException) else repr(thing)
        assert not [part for part in KEY_PARTS if part in text], text
    assert_logs_clean(everything_logged)


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY}\x00", KEY.encode(), [KEY]])
def test_no_frame_of_a_refused_option_shows_the_key(key: Any) -> None:
    for kind in (Client, SyncClient):
        for options in ({}, {"url": "ftp://nowhere"}, {"timeout": -1}, {"dial": 5}):
            every: dict[str, Any] = {"url": NOWHERE, "api_key": key, **options}
            with pytest.raises(ConfigurationError) as caught:
                kind(**every)
            assert_frames_clean(frames_of(caught.value))


def test_parts_and_spellings_of_a_key_are_redacted() -> None:
    secret = 'K"7x/w2Zé9mLs\\4RdY8bNc3HgJ6'
    keys = KeySource(secret)
    b64 = base64.b64encode(secret.encode()).decode()
    for text in (
        secret,
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        repr(secret),
        quote(secret),
        quote(secret, safe=""),
        b64,
        f"the first are {secret[:12]}...",
        f"...{secret[-12:]} are the last",
    ):
        told = keys.redact_text(f"<{text}>")
        assert "[redacted]" in told
        assert "HgJ6" not in told
        assert secret[:8] not in told


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"%{ord(letter):02x}" for letter in ODD),
        ODD.replace("+", "%2b").replace("=", "%3d"),
        ODD.replace("+", "\\u002B").replace("=", "\\u003d"),
        json.dumps(json.dumps(ODD.replace("/", "\\/"))),
        json.dumps(json.dumps({ODD: quote(ODD)})),
        quote(quote(ODD, safe=""), safe=""),
        *(base64.b64encode(f"{before}{ODD}".encode()).decode() for before in ("", "u:", "Bearer ")),
        *(base64.urlsafe_b64encode(f"{before}{ODD}:".encode()).decode() for before in ("", "u")),
        quote(base64.b64encode(ODD.encode()).decode()),
        # One kind inside the other: what is left of the one is the other.
        quote(json.dumps(ODD).replace("/", "\\/")),
        quote("".join(f"\\u{ord(letter):04x}" for letter in ODD), safe=""),
        json.dumps("".join(f"%{ord(letter):02x}" for letter in ODD)).replace("%", "\\u0025"),
    ],
)
def test_a_key_is_redacted_in_whatever_mixture_of_escapes(text: str) -> None:
    told = KeySource(ODD).redact_text(f"<{text}>")
    assert "[redacted]" in told
    # What was escaped, or encoded with something before it, may leave that, and no more.
    assert len(told) <= len("<[redacted]: [redacted]>") + 12, told
    assert not any(ODD[at : at + 3] in told for at in range(len(ODD) - 2)), told


@pytest.mark.parametrize("escaped", [json.dumps, ascii, repr, quote])
def test_letters_beyond_16_bits_hide_no_key(escaped: Callable[[str], str]) -> None:
    secret = "😀-é😀7x😀"
    told = KeySource(secret).redact_text(f"<{escaped(secret)}>")
    assert told.replace('"', "").replace("'", "") == "<[redacted]>"


def test_parts_of_a_key_are_redacted_in_a_text_of_megabytes() -> None:
    keys = KeySource(ODD)
    assert keys.redact_text(ODD[:8] * 250_000) == "[redacted]" * 250_000
    assert keys.redact_text(f"{ODD[-8:]}, " * 250_000) == "[redacted], " * 250_000


def test_a_long_word_is_searched_for_credentials_once() -> None:
    keys = KeySource(ODD)
    assert keys.redact_text(f"{'x' * 400_000}@") == f"{'x' * 400_000}@"
    assert (
        keys.redact_text(f"{'x' * 400_000}://me:pass@host") == f"{'x' * 400_000}://[redacted]@host"
    )


def test_a_short_key_is_redacted_whole() -> None:
    assert KeySource("k3y-9").redact_text("(k3y-9)") == "([redacted])"


def test_the_credentials_of_a_proxy_are_redacted() -> None:
    keys = KeySource(KEY)
    keys.hide_passwords(["http://me:p%40ss/wörd@proxy.test:1", None, True])
    text = "me:p%40ss/wörd@proxy, p@ss/wörd, " + base64.b64encode("me:p@ss/wörd".encode()).decode()
    told = keys.redact_text(f"{text} wss://other:secret@there")
    assert "ss/w" not in told
    assert "secret" not in told
    assert "bWU6" not in told


@pytest.mark.parametrize("kind", [Client, SyncClient])
@pytest.mark.parametrize("way", [pickle.dumps, copy.deepcopy, copy.copy])
def test_no_client_is_pickled_or_copied(
    kind: type[Client] | type[SyncClient], way: Callable[[Any], Any]
) -> None:
    client = kind(api_key=KEY, url=NOWHERE)
    with pytest.raises(TypeError, match="make one in each process") as raised:
        way(client)
    assert KEY not in str(raised.value)
