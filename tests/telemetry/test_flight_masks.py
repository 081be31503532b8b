"""A planted key and a planted prompt are in no recording, whatever the server says and however."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runware_ws import RunwareError
from runware_ws._core.effects import Ending, PostEnding
from runware_ws._core.inbound.meaning import meaning
from runware_ws._core.tasks.deltas import Deltas
from runware_ws.classify import Loss, LossKind
from runware_ws.emulator import Request
from runware_ws.events import LONGEST_TEXT
from runware_ws.models.error_codes import FAMILY_PATTERNS, family
from runware_ws.telemetry.flight_lines import lines_of
from runware_ws.telemetry.masking import Mask
from runware_ws.testing.network import MemoryNetwork, MemorySocket
from tests import virtual
from tests.client.support import KEY, SESSION, ask, client_of, memory_client
from tests.simulation.replay import replay

PROMPT = "xylophone-of-the-planted-prompt"
UUID = "0d5b8f7e-93d4-4a55-9d0e-2f4a1f6f0a11"
SECRETS = (KEY, PROMPT)

pytestmark = pytest.mark.timeout(300)

AROUND = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
PLANTED = st.sampled_from((*SECRETS, f"{KEY} {PROMPT}"))
TEXTS = st.tuples(AROUND, PLANTED, AROUND).map("".join)
CODES = TEXTS | st.sampled_from(["inferenceError", "rateLimitExceeded", "invalidApiKey", "odd"])
NAMES = TEXTS | st.sampled_from(
    [
        *("taskUUID", "taskType", "text", "delta", "toolCalls", "arguments", "status", "code"),
        *("error", "errors", "message", "imageURL", "finishReason", "data", "response"),
    ]
)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none() | st.booleans() | st.sampled_from([UUID, "success", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def mask_of(*, content: bool = False) -> Mask:
    return Mask(b"secret", lambda text: text.replace(KEY, "[redacted]"), content=content)


def spelled(text: str) -> list[str]:
    """How a text may stand in a file of JSON."""
    return [text, json.dumps(text)[1:-1], text.encode().hex()]


def assert_clean(written: str) -> None:
    assert [secret for secret in SECRETS for word in spelled(secret) if word in written] == []


# A client's life


async def life(texts: list[str], code: str, frame: Any, path: Path) -> None:
    """A client's life in which the server repeats what it should not, everywhere."""
    async with virtual.serving(KEY, latency="10ms") as emulator:

        def repeat(request: Request) -> str:
            return f"{request.prompt} {KEY} {texts[0]}"

        emulator.reply("textInference")(repeat)
        async with client_of(emulator, timeout=2.0, flight_bytes=1 << 22) as client:
            await client.ready()
            for kind in ("sync", "async"):
                with suppress(RunwareError):
                    await client.run(
                        ask(PROMPT, delivery_method=kind), metadata={"order": f"17 {KEY} {PROMPT}"}
                    )
            picture = {"taskType": "imageInference", "positivePrompt": PROMPT, "model": PROMPT}
            with suppress(RunwareError):
                await client.run({**picture, "width": 512, "height": 512})
            emulator.faults.inject_error(code, texts[0], parameter=texts[1])
            with suppress(RunwareError):
                await client.run(ask(PROMPT))
            emulator.faults.send_error(code, texts[0], documentation=texts[1])
            emulator.faults.send_raw(f'{{"data": [{{"taskUUID": "{KEY}{PROMPT}", "text": "a"}}]}}')
            emulator.faults.send_raw(json.dumps(frame))
            emulator.faults.send_raw(texts[1])
            emulator.faults.send_raw(f'{{"data": [{texts[1]}')
            emulator.faults.send_raw(texts[0].encode("utf-16", "surrogatepass"))
            async with client.stream(ask(PROMPT), carrier="socket") as stream:
                with suppress(RunwareError):
                    await anext(stream)
            handle = await client.submit(ask(PROMPT))
            emulator.faults.cut(1011, texts[1].encode()[:100].decode("utf-8", "ignore"))
            with suppress(RunwareError):
                await handle
            client.claim(f"{KEY}{PROMPT}")
            emulator.faults.revoke_key(KEY)
            emulator.faults.cut(1008, texts[1].encode()[:100].decode("utf-8", "ignore"))
            with suppress(RunwareError):
                await client.run(ask(PROMPT), timeout=5)
        client.dump(path)


@pytest.mark.parametrize("loop", virtual.LOOPS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TEXTS, min_size=2, max_size=2), CODES, VALUES)
@example([PROMPT, PROMPT], PROMPT, {"data": [{"taskUUID": KEY}], "errors": [{"code": PROMPT}]})
@example([KEY, KEY], KEY, {PROMPT: KEY})
def test_no_recording_has_the_key_or_the_prompt(
    loop: str, texts: list[str], code: str, frame: Any
) -> None:
    name, options = virtual.backend(loop)
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        anyio.run(life, texts, code, frame, path, backend=name, backend_options=options)
        written = path.read_text()
        assert written.count('"submit"') >= 7
        assert_clean(written)
        # And still it holds all that the core decided by.
        found = replay(path)
    assert found.same, found.text()


# Single messages


@given(VALUES, st.booleans())
def test_no_message_shows_a_word(frame: Any, posted: bool) -> None:
    mask = mask_of()
    data = json.dumps(frame, ensure_ascii=posted).encode("utf-8", "surrogatepass")
    entry = ("posted", 1.0, UUID, -1, data) if posted else ("receive", 1.0, 1, data)
    assert_clean(json.dumps(list(lines_of([entry], mask))))


@given(st.binary(max_size=60), st.sampled_from([PROMPT.encode(), KEY.encode()]))
def test_no_malformed_message_shows_a_word(around: bytes, planted: bytes) -> None:
    for data in (around + planted, planted + around, b'{"data": "' + planted + around):
        assert_clean(json.dumps(list(lines_of([("receive", 1.0, 1, data)], mask_of()))))


@given(TEXTS)
def test_no_end_of_a_post_or_socket_shows_a_word(text: str) -> None:
    loss = Loss(LossKind.CLOSED, 1011, None, None, text)
    entries = [
        ("lost", 1.0, 1, loss),
        ("post_ended", 1.0, UUID, -1, PostEnding(Ending.REFUSED, loss, text.encode())),
        ("claim", text, None),
    ]
    assert_clean(json.dumps(list(lines_of(entries, mask_of()))))


# What is left is what counts


@given(VALUES)
def test_a_masked_item_means_the_same(item: Any) -> None:
    if isinstance(item, dict):
        told = cast("dict[str, Any]", item)
        assert meaning(mask_of().value(told)) is meaning(told)


WORDS = st.sampled_from(
    [
        *("invalid", "Missing", "conflict", "Task", "UUID", "api", "Key", "rate", "Limit", "not"),
        *("Found", "time", "Out", "credits", "server", "Error", "expired", "balancer", "archive"),
        *("_", "-", "404"),
    ]
)


@given(st.lists(WORDS | st.text(max_size=4), max_size=6).map("".join))
@example("insufficientCredits")
@example("legacyError19")
@example("provider timeout")
def test_a_masked_code_is_of_the_same_family(code: str) -> None:
    assert family(mask_of().code(code)) is family(code)


def test_known_codes_are_shown() -> None:
    for code in ("conflictTaskUUID", "invalidApiKey", "taskNotFound", "rateLimitExceeded"):
        assert mask_of().code(code) == code
    assert "xylophone" not in mask_of().code("invalidXylophone")
    assert len(FAMILY_PATTERNS) > 10


def test_equal_words_have_equal_masks_and_others_do_not() -> None:
    mask, other = mask_of(), Mask(b"another", str)
    assert mask.text("yes") == mask.text("yes") != mask.text("no!")
    assert mask.text("yes") != other.text("yes")  # nobody finds out by guessing
    assert mask.text("") == ""
    assert mask.text("yes").startswith("~3:")


def test_a_key_that_looks_like_a_uuid_is_redacted_in_the_place_of_one() -> None:
    mask = Mask(b"secret", lambda text: text.replace(UUID, "[redacted]"))
    assert UUID not in json.dumps(mask.message(item(text=UUID, imageUUID=UUID)))
    assert UUID in json.dumps(mask_of().message(item()))


def item(**fields: Any) -> bytes:
    return json.dumps({"data": [{"taskUUID": UUID, **fields}]}).encode()


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), min_size=1))
def test_a_masked_whole_begins_with_its_masked_pieces(pieces: list[str]) -> None:
    mask = mask_of()
    told = [
        mask.message(item(delta={"text": piece}))["data"][0]["delta"]["text"] for piece in pieces
    ]
    whole = mask.message(item(text="".join(pieces)))["data"][0]["text"]
    assert whole == "".join(told)
    more = mask.message(item(text="".join(pieces) + "!"))["data"][0]["text"]
    assert more != whole
    assert more.startswith("".join(told[:-1]))
    wrong = mask.message(item(text=f"{chr(ord(pieces[0][0]) + 1)}{''.join(pieces)[1:]}"))
    assert not wrong["data"][0]["text"].startswith(told[0])


def test_arguments_that_are_spelled_otherwise_still_fit() -> None:
    mask = mask_of()
    told: list[str] = []
    for piece in ('{"city": "Par', 'is", "n": 1}'):
        call = {"index": 0, "name": "weather", "arguments": piece}
        masked = mask.message(item(delta={"toolCalls": [call]}))
        told.append(masked["data"][0]["delta"]["toolCalls"][0]["arguments"])
    for again in ({"n": 1, "city": "Paris"}, '{"city":"Paris","n":1}', '{"city": "Paris", "n": 1}'):
        whole = mask.message(item(toolCalls=[{"name": "weather", "arguments": again}]))
        assert whole["data"][0]["toolCalls"][0]["arguments"] == "".join(told)
    other = mask.message(item(toolCalls=[{"name": "weather", "arguments": {"city": "Rome"}}]))
    assert other["data"][0]["toolCalls"][0]["arguments"] != "".join(told)


# Streams over HTTP, and a server that says it in its own words


async def posting(path: Path) -> None:
    network = MemoryNetwork()

    async def post(payload: bytes, key: Any, sending: Any, take: Any) -> PostEnding:
        uuid = json.loads(payload)[0]["taskUUID"]
        assert sending()
        for text in (PROMPT, KEY, PROMPT):
            take(json.dumps({"taskUUID": uuid, "delta": {"text": text}}).encode())
        take(f"{PROMPT} is no JSON".encode())
        take(json.dumps({"data": [], "errors": [{"message": PROMPT, "code": PROMPT}]}).encode())
        return PostEnding(Ending.CUT, Loss(LossKind.CLOSED, detail=PROMPT))

    async with memory_client(network, post=post, flight_bytes=1 << 20) as client:
        socket: MemorySocket = await network.accept()
        await socket.authenticate(SESSION)
        with suppress(RunwareError):
            async with client.stream(ask(PROMPT), carrier="sse", timeout=2.0) as stream:
                await stream.result()
    client.dump(path)


@pytest.mark.parametrize("loop", virtual.LOOPS)
def test_no_recording_of_a_post_has_them(loop: str, tmp_path: Path) -> None:
    name, options = virtual.backend(loop)
    path = tmp_path / "post.jsonl"
    anyio.run(posting, path, backend=name, backend_options=options)
    written = path.read_text()
    assert written.count('"posted"') >= 4
    assert_clean(written)
    assert replay(path).same


def test_what_the_core_asks_of_odd_fields_is_the_same() -> None:
    mask = mask_of()
    item: dict[str, Any] = {
        "taskUUID": 5,
        "resultIndex": "10",
        "status": " FAILED",
        "imageUUID": 7.5,
    }
    (shown,) = mask.message(json.dumps({"data": [item]}))["data"]
    assert shown["resultIndex"] == "10"
    assert shown["status"] == " FAILED"
    for name in ("taskUUID", "imageUUID"):
        assert isinstance(shown[name], int)
        assert shown[name] != item[name]


@pytest.mark.parametrize(
    "delta", [5, "ab", ["ab"], {"text": 5}, {"text": ["ab"]}, {"toolCalls": 5}, {"toolCalls": [5]}]
)
def test_a_delta_that_nobody_can_read_is_none_in_a_recording_either(delta: Any) -> None:
    (shown,) = mask_of().message(json.dumps({"data": [{"taskUUID": UUID, "delta": delta}]}))["data"]
    assert shown["delta"] != delta
    for item in ({"delta": delta}, shown):
        deltas = Deltas()
        deltas.add(item, 1.0)
        assert deltas.suspended


def test_of_what_cannot_be_read_the_tasks_that_it_names_are_left() -> None:
    broken = f'{{"taskUUID": "{UUID}", "text": "secret'.encode()
    shown = mask_of().message(broken)
    assert shown == f"{mask_of().data(broken)} {{ {UUID}"
    assert "{" not in mask_of().message(b"secret")


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("name", [f"of {KEY}", "s" * 2_000], ids=["secret", "endless"])
def test_a_session_that_the_client_takes_for_none_is_masked_as_one(
    name: str, content: bool
) -> None:
    said = {"taskType": "authentication", "connectionSessionUUID": name}
    masked = mask_of(content=content).value(said)["connectionSessionUUID"]
    assert len(masked) > LONGEST_TEXT
    assert KEY not in masked
