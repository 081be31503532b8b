"""The flight recorder on real sockets: what it writes, when, how much; it can be played again."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
import tenacity

from runware_ws import (
    Client,
    ConfigurationError,
    OutcomeUnknown,
    RecoveredBy,
    SyncClient,
    TaskError,
    TaskState,
)
from runware_ws.emulator import Emulator, Request
from runware_ws.telemetry import dump_on_signal, flight
from runware_ws.telemetry.flight_lines import SMALL
from runware_ws.telemetry.ring import Ring
from tests.client.support import KEY, NOWHERE, Gate, ask, bounded, client_of, connected, until
from tests.simulation.replay import Replay, replay

pytestmark = pytest.mark.anyio

MIB = 1 << 20
PROMPT = "xylophone-of-the-planted-prompt"


def _echo(request: Request) -> str:
    return f"answer to {request.prompt} {KEY}"


def _lengthy(request: Request) -> str:
    return request.prompt * 3_000


def lines_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def played(client: Client | SyncClient, path: Path) -> Replay:
    """What comes of this client's recording, which has no words in it."""
    client.dump(path)
    text = path.read_text(encoding="utf-8")
    assert KEY not in text
    assert PROMPT not in text
    return replay(path)


# Three recordings from real sockets


@bounded
async def test_a_cut_with_a_resume_comes_to_the_same_again(tmp_path: Path) -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, flight_bytes=MIB) as client:
            tasks = [ask(f"{PROMPT} {number}", number_results=1 + number) for number in range(3)]
            handles = [await client.submit(task) for task in tasks]
            await until(lambda: gate.running == 6)
            emulator.faults.cut(reset=True)
            await until(connected(client, 2))
            gate.open()
            results = [await handle for handle in handles]
            found = played(client, tmp_path / "cut.jsonl")
    assert found.same, found.text()
    assert {result.recovered_by for result in results} == {RecoveredBy.REPLAY}
    assert found.played == {
        result.task_uuid: ["DONE", "replay", len(result.items), None] for result in results
    }


@bounded
async def test_a_lost_session_and_the_archive_come_to_the_same_again(tmp_path: Path) -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator, flight_bytes=MIB) as client:
            handle = await client.submit(ask(PROMPT))
            await until(lambda: gate.running == 1)
            emulator.faults.forget_sessions()
            emulator.faults.cut(reset=True)
            gate.open()
            result = await handle
            emulator.faults.inject_error("invalidModel", PROMPT)
            with pytest.raises(TaskError):
                await client.run(ask(PROMPT))
            found = played(client, tmp_path / "lost.jsonl")
    assert found.same, found.text()
    assert result.recovered_by is RecoveredBy.ARCHIVE
    assert found.played[result.task_uuid] == ["DONE", "archive", 1, None]
    (refused,) = [end for uuid, end in found.played.items() if uuid != result.task_uuid]
    assert refused[0] == "FAILED"
    assert (refused[3]["error"], refused[3]["code"]) == ("TaskError", "invalidModel")


@bounded
async def test_an_unknown_outcome_is_recorded_by_itself_and_comes_to_the_same_again(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "flights"
    async with Emulator(KEY) as emulator:
        emulator.faults.drop_requests()
        async with client_of(
            emulator, flight_folder=str(folder), resubmit="never", flight_bytes=MIB
        ) as client:
            handle = await client.submit(ask(PROMPT), timeout=1.0)
            await until(lambda: handle.state is TaskState.WRITTEN)
            emulator.faults.cut(reset=True)
            with pytest.raises(OutcomeUnknown) as caught:
                await handle
    # Whoever closes the client has waited for it.
    (path,) = folder.iterdir()
    assert PROMPT not in path.read_text()
    found = replay(path)
    assert found.same, found.text()
    assert caught.value.task_uuid is not None
    state, _, _, error = found.played[caught.value.task_uuid]
    assert (state, error["error"], error["submitted"]) == ("UNKNOWN", "OutcomeUnknown", "maybe")


@bounded
async def test_a_changed_recording_comes_to_another_verdict(tmp_path: Path) -> None:
    async with Emulator(KEY) as emulator, client_of(emulator, flight_bytes=MIB) as client:
        result = await client.run(ask(PROMPT))
        found = played(client, tmp_path / "good.jsonl")
    assert found.same
    changed = tmp_path / "changed.jsonl"
    text = (tmp_path / "good.jsonl").read_text()
    lines = text.splitlines()
    place = next(n for n, line in enumerate(lines) if '"text":"~' in line)
    # The server says an error instead.
    told = json.loads(lines[place])
    told["message"] = {"errors": [{"code": "invalidModel", "taskUUID": result.task_uuid}]}
    changed.write_text("\n".join([*lines[:place], json.dumps(told), *lines[place + 1 :]]))
    again = replay(changed)
    assert not again.same
    assert again.played[result.task_uuid][0] == "FAILED"
    assert again.ends[result.task_uuid][0] == "DONE"


@pytest.mark.parametrize("carrier", ["socket", "sse"])
@bounded
async def test_streams_come_to_the_same_again(carrier: Any, tmp_path: Path) -> None:
    async with Emulator(KEY) as emulator, client_of(emulator, flight_bytes=MIB) as client:
        for cut in (False, True):
            if cut:
                emulator.faults.cut_after(deltas=2)
            async with client.stream(ask(f"{PROMPT} in words"), carrier=carrier) as stream:
                whole = await stream.result()
            assert PROMPT in str(whole.text)
        found = played(client, tmp_path / "stream.jsonl")
    assert found.same, found.text()
    assert [end[0] for end in found.played.values()] == ["DONE", "DONE"]


# What is written, and when


@bounded
async def test_content_is_shown_to_those_who_ask_for_it(tmp_path: Path) -> None:
    async with Emulator(KEY) as emulator:
        emulator.reply("textInference")(_echo)
        async with client_of(emulator, flight_bytes=MIB, flight_content=True) as client:
            await client.run(ask(PROMPT))
            client.dump(tmp_path / "content.jsonl")
    text = (tmp_path / "content.jsonl").read_text()
    assert text.count(PROMPT) == 2
    assert f"answer to {PROMPT} [redacted]" in text
    assert KEY not in text
    assert replay(tmp_path / "content.jsonl").same


def test_it_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    client = Client(NOWHERE, api_key=KEY)
    with pytest.raises(ConfigurationError, match="flight_bytes"):
        client.dump(tmp_path / "none.jsonl")
    assert not list(tmp_path.iterdir())
    # A folder turns it on.
    Client(NOWHERE, api_key=KEY, flight_folder=str(tmp_path)).dump(tmp_path / "some.jsonl")
    assert [line["kind"] for line in lines_in(tmp_path / "some.jsonl")] == ["recording"]


def test_a_sync_client_writes_too(tmp_path: Path) -> None:
    path = tmp_path / "sync.jsonl"
    # One dial, which has failed before the client is closed: nothing is told of it afterwards.
    once: dict[str, Any] = {"backoff": tenacity.wait_fixed(60)}
    with SyncClient(NOWHERE, api_key=KEY, flight_bytes=MIB, **once) as client:
        assert client.dump(path) == path
        while "lost" not in {line["kind"] for line in lines_in(path)}:
            time.sleep(0.01)
            client.dump(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    client.dump(path)  # what was there is replaced, and closed clients may still tell
    assert lines_in(path)[-1]["kind"] == "take"
    with pytest.raises(OSError, match="nowhere"):
        client.dump(tmp_path / "nowhere" / "a.jsonl")
    assert os.listdir(tmp_path) == ["sync.jsonl"]


def test_a_folder_has_eight_recordings_and_no_more(tmp_path: Path) -> None:
    client = Client(NOWHERE, api_key=KEY, flight_folder=str(tmp_path))
    recorder = client._flight  # pyright: ignore[reportPrivateUsage]
    assert recorder is not None
    (tmp_path / "mine.jsonl").write_text("not a recording of ours")
    written = [client.dump(tmp_path) for _ in range(flight.MOST_FILES + 3)]
    assert len(list(tmp_path.iterdir())) == flight.MOST_FILES + 1
    assert [path.exists() for path in written] == [False] * 3 + [True] * flight.MOST_FILES
    assert (tmp_path / "mine.jsonl").exists()
    assert recorder.wanted(1000.0)
    assert not recorder.wanted(1000.0 + flight.REST - 1)
    assert recorder.wanted(1000.0 + flight.REST)


@bounded
async def test_a_recording_that_cannot_be_written_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    async with Emulator(KEY) as emulator:
        emulator.faults.drop_requests(times=1)
        async with client_of(
            emulator, flight_folder=str(tmp_path / "file"), resubmit="never"
        ) as client:
            handle = await client.submit(ask(), timeout=0.5)
            await until(lambda: handle.state is TaskState.WRITTEN)
            emulator.faults.cut(reset=True)
            with pytest.raises(OutcomeUnknown):
                await handle
            await until(lambda: "cannot be written" in caplog.text)
            await client.run(ask())


@pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="there is no such signal here")
def test_a_signal_has_it_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "signal.jsonl"
    before = signal.getsignal(signal.SIGUSR2)
    try:
        dump_on_signal(Client(NOWHERE, api_key=KEY, flight_bytes=MIB), path)
        signal.raise_signal(signal.SIGUSR2)
        for thread in threading.enumerate():
            if thread.name == "runware_ws recording":
                thread.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert lines_in(path)[0]["kind"] == "recording"
    assert f"asked for is in {path}" in caplog.text


# How much


def test_a_ring_drops_its_oldest_entries_many_at_a_time() -> None:
    ring = Ring(4_000)
    assert ring.turn_at == 1_000
    for number in range(5):
        ring.entries.append(("entry", number))
        ring.turn(1_000)
        assert [entry[1] for entry in ring.held()] == list(range(max(0, number - 2), number + 1))
    assert (ring.size, ring.dropped) == (3_000, 2)
    # One that is larger than all: nothing is left of it either.
    ring.entries.append(("entry", 5))
    ring.turn(9_000)
    assert (ring.size, ring.dropped, ring.held()) == (0, 6, [])


@bounded
async def test_memory_is_bounded(tmp_path: Path) -> None:
    limit = 64 * 1024
    async with Emulator(KEY) as emulator, client_of(emulator, flight_bytes=limit) as client:
        recorder = client._flight  # pyright: ignore[reportPrivateUsage]
        assert recorder is not None
        ring = recorder._ring  # pyright: ignore[reportPrivateUsage]
        for _ in range(6):
            async for outcome in client.map([ask("x" * 900) for _ in range(40)]):
                outcome.unwrap()
                held = ring.held()
                known = sum(len(entry[3]) for entry in held if entry[0] == "receive")
                known += sum(len(entry[1][3]) for entry in held if entry[0] == "submit")
                # What one read of the socket brings may come on top.
                assert known + SMALL * len(held) <= limit + 64 * 1024
        client.dump(tmp_path / "bounded.jsonl")
    head, *rest = lines_in(tmp_path / "bounded.jsonl")
    assert not head["whole"]
    assert head["dropped"] > len(rest)


@bounded
async def test_a_message_that_is_larger_than_half_of_it_leaves_its_length_and_hash(
    tmp_path: Path,
) -> None:
    async with Emulator(KEY) as emulator:
        emulator.reply("textInference")(_lengthy)
        async with client_of(emulator, flight_bytes=100_000) as client:
            await client.run(ask(PROMPT))
            client.dump(tmp_path / "large.jsonl")
    (large,) = [line for line in lines_in(tmp_path / "large.jsonl") if line.get("kept") is False]
    length = int(large["message"][1:].partition(":")[0])
    assert length > 3_000 * len(PROMPT)
    assert len(large["message"]) < 40


@bounded
async def test_no_repr_shows_what_is_recorded() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator, flight_bytes=MIB) as client:
        await client.run(ask(PROMPT))
        driver: Any = client._driver  # pyright: ignore[reportPrivateUsage]
        recorder: Any = driver.core._flight
        for thing in (driver, driver.core, recorder, recorder._ring):
            assert PROMPT not in repr(thing)
            assert KEY not in repr(thing)
        entries = recorder._ring.held()
        # The authentication is no input.
        assert PROMPT in repr(entries)
        assert KEY not in repr(entries)


async def test_every_word_of_the_recording_is_json(tmp_path: Path) -> None:
    """A file of many lines can be read by other tools."""
    client = Client(NOWHERE, api_key=KEY, flight_bytes=MIB, timeout=None)
    async with client:
        await anyio.lowlevel.checkpoint()
    client.dump(tmp_path / "a.jsonl")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for line in (tmp_path / "a.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
