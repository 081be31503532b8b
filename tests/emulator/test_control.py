"""Commands that change an emulator while it runs: from Python, over HTTP, to a process."""

from __future__ import annotations

import math
import sys
from typing import Any

import anyio
import pytest

from runware_ws.emulator import Emulator, EmulatorOptions, EmulatorProcess, read_script
from tests import virtual

from .test_web import Http
from .wire import KEY, expected, ready, serving, text_task, until

pytestmark = pytest.mark.anyio

WRONG: list[tuple[Any, str]] = [
    ([], "must be an object"),
    ({}, "unknown command None; known are: change, executions"),
    ({"do": "dance"}, "unknown command 'dance'"),
    ({"do": "order"}, "order: orders is missing"),
    ({"do": "order", "orders": "cut"}, "orders must be a list of texts"),
    ({"do": "order", "orders": ["rain"]}, "unknown fault 'rain'"),
    ({"do": "order", "orders": ["cut"], "now": True}, "order: now is unknown"),
    ({"do": "repeat", "steps": [], "every": 1}, "steps must be a list"),
    ({"do": "repeat", "steps": [["cut"], ["rain"]], "every": 1}, "unknown fault 'rain'"),
    ({"do": "repeat", "steps": [["cut"]], "every": "1s"}, "every must be a number of seconds"),
    ({"do": "repeat", "steps": [["cut"]], "every": 0}, "every must be positive"),
    ({"do": "repeat", "steps": [["cut"]], "every": 10**400}, "every must be a number of seconds"),
    ({"do": "order", "orders": ["giant-result=99999999999999999999"]}, "size must be from 1"),
    ({"do": "change", "options": {"http_error_status": 9999}}, "from 200 to 599"),
    ({"do": "change", "options": {"idle_close_code": 99999}}, "must have 16 bits"),
    ({"do": "change", "options": {"archive_limit": -1}}, "must not be negative"),
    ({"do": "change", "options": {"max_frame_bytes": 0}}, "must be positive"),
    ({"do": "change", "options": {"merge_window": math.nan}}, "must not be negative"),
    ({"do": "repeat", "steps": [["cut"]], "every": 1, "first": -1}, "first 0 or more"),
    ({"do": "repeat", "steps": [["cut"]], "every": 1, "times": 0}, "times must be"),
    ({"do": "change", "options": {"nonsense": 1}}, "there is no 'nonsense'; names: ack_copies"),
    ({"do": "change", "options": {"capacity": "many"}}, "options.capacity: .*integer"),
    ({"do": "change", "options": {"replay": "soon"}}, "options.replay: .*after-auth"),
    ({"do": "change", "options": {"capacity": 0}}, "options: capacity must be at least 1"),
    ({"do": "change", "options": []}, "options must be an object"),
    ({"do": "change", "latency": "soon"}, "not a latency"),
    ({"do": "change", "latency": True}, "latency must be"),
    ({"do": "play", "script": {"steps": [{"at": "1s"}]}}, r"script: steps\[0\].orders: Field req"),
    ({"do": "executions", "uuids": [1]}, "uuids must be a list of texts"),
]

in_memory = virtual.only()


@pytest.mark.parametrize(("command", "why"), WRONG, ids=str)
@in_memory
async def test_what_is_wrong_is_told_and_changes_nothing(command: Any, why: str) -> None:
    async with serving(KEY) as emulator:
        before = emulator.options, emulator.latency
        with pytest.raises(ValueError, match=why):
            emulator.control(command)
        await anyio.sleep(10)
        assert (emulator.options, emulator.latency) == before
        assert emulator.stats.cuts == 0


@in_memory
async def test_what_is_endless_stays_so() -> None:
    async with serving(KEY, options=EmulatorOptions(buffer_seconds=math.inf)) as emulator:
        emulator.control({"do": "change", "options": {"capacity": 3}})
        assert emulator.options == EmulatorOptions(buffer_seconds=math.inf, capacity=3)


@in_memory
async def test_faults_come_and_go_while_it_runs() -> None:
    async with serving(KEY) as emulator:
        async with ready(emulator) as (wire, session):
            emulator.control({"do": "order", "orders": ["lose-results", "cut=1012"]})
            assert await wire.closed() == 1012
        async with ready(emulator, session):
            steps = [["shuffle"], ["cut"]]
            emulator.control({"do": "repeat", "steps": steps, "every": 2, "first": 1, "times": 4})
            began = anyio.current_time()
            await until(lambda: emulator.stats.cuts == 2)
            assert anyio.current_time() - began == pytest.approx(3.0, abs=0.01)
        # The fourth turn cuts, though there is nobody; then it is over.
        await anyio.sleep(100)
        emulator.control({"do": "repeat", "steps": [["cut"]], "every": 5})
        emulator.control({"do": "rest"})
        async with ready(emulator) as (wire, _):
            await anyio.sleep(100)
            assert emulator.stats.cuts == 2
            await wire.send(task := text_task())
            assert (await wire.item())["text"] == expected(task)
            uuids = [task["taskUUID"], "another"]
            ran = emulator.control({"do": "executions", "uuids": uuids})
            assert ran == {uuids[0]: 1, "another": 0}
            told = emulator.control({"do": "tellable", "uuids": uuids})
            assert told == {uuids[0]: True, "another": False}
            assert emulator.control({"do": "stats"}) == emulator.stats.summary()


@in_memory
async def test_options_and_latency_are_changed() -> None:
    async with serving(KEY, options=EmulatorOptions(capacity=1)) as emulator:
        changes = {"capacity": 2, "queue_limit": None, "merge_window": 0}
        emulator.control({"do": "change", "options": changes, "latency": "3s"})
        assert (emulator.options.capacity, emulator.options.replay) == (2, "after-auth")
        async with ready(emulator) as (wire, _):
            began = anyio.current_time()
            await wire.send(*(text_task() for _ in range(3)))
            await wire.silence(1)
            assert emulator.control({"do": "load"}) == {"running": 2, "waiting": 1}
            await wire.items(3)
            assert anyio.current_time() - began == pytest.approx(6.0)
            emulator.control({"do": "change", "latency": 0.5})
            assert emulator.latency.low == 0.5


@in_memory
async def test_answers_are_changed() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        script = {"answers": [{"text": "scripted"}]}
        emulator.control({"do": "play", "script": script})
        await wire.send(text_task())
        assert (await wire.item())["text"] == "scripted"
        emulator.control({"do": "play"})
        await wire.send(task := text_task())
        assert (await wire.item())["text"] == expected(task)


# Over HTTP


async def command(emulator: Emulator, body: Any, token: str | None = None, **more: Any) -> Any:
    """One request on a connection of its own."""
    assert emulator.control_url is not None
    port = int(emulator.control_url.rpartition(":")[2].rstrip("/"))
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        wire = Http(stream)
        bearer = emulator.control_token if token is None else token
        await wire.send(body, f"Authorization: Bearer {bearer}", **{"path": "/", **more})
        status, headers = await wire.head()
        return status, await wire.json(headers)


async def test_commands_over_http() -> None:
    async with Emulator(KEY, control_port=0) as emulator, ready(emulator) as (wire, _):
        assert len(emulator.control_token) >= 20
        assert await command(emulator, {"do": "order", "orders": ["shuffle"]}) == (
            200,
            {"ok": None},
        )
        status, answer = await command(emulator, {"do": "stats"})
        # What comes over this port is counted nowhere.
        assert (status, answer["ok"]["connections"]) == (200, 1)
        status, answer = await command(emulator, {"do": "order", "orders": ["rain"]})
        assert status == 400
        assert answer["error"].startswith("unknown fault 'rain'")
        # No fault touches it: it is there to end them.
        await command(emulator, {"do": "order", "orders": ["blackhole=hold", "reject-posts=503"]})
        await wire.send(task := text_task())
        assert (await command(emulator, {"do": "order", "orders": ["heal"]}))[0] == 200
        assert (await wire.item())["text"] == expected(task)
        assert (await command(emulator, {"do": "order", "orders": ["cut"]}))[0] == 200
        await wire.closed()


async def test_who_may_not_command() -> None:
    async with Emulator(KEY, control_port=0, control_token="mine") as emulator:
        assert emulator.control_token == "mine"
        for body, more, status in (
            ({"do": "stats"}, {"token": "yours"}, 401),
            ({"do": "stats"}, {"token": ""}, 401),
            ({"do": "stats"}, {"path": "/v1"}, 404),
            ({"do": "stats"}, {"method": "PUT"}, 405),
            (b"nonsense", {}, 400),
        ):
            found, answer = await command(emulator, body, **more)
            assert (found, list(answer)) == (status, ["error"])
        assert emulator.control_url is not None
        port = int(emulator.control_url.rpartition(":")[2].rstrip("/"))
        assert port != emulator.port
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            wire = Http(stream)
            # Several on one connection, until it is no HTTP any more.
            for _ in range(2):
                await wire.send({"do": "load"}, "Authorization: bearer mine", path="/")
                _, headers = await wire.head()
                assert await wire.json(headers) == {"ok": {"running": 0, "waiting": 0}}
            await stream.send(b"NONSENSE\r\n\r\n")
            assert (await wire.head())[0] == 400


async def test_a_command_that_is_too_large() -> None:
    async with Emulator(KEY, control_port=0) as emulator:
        # The client may still be writing when it is refused.
        try:
            status, _ = await command(emulator, b" " * (17 * 1024 * 1024))
        except anyio.BrokenResourceError:
            return
        assert status == 413


async def test_no_control_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Emulator(KEY) as emulator:
        assert emulator.control_url is None
    with pytest.raises(ValueError, match="control_token must not be empty"):
        Emulator(KEY, control_port=0, control_token="")
    async with Emulator(KEY) as emulator:
        with pytest.raises(OSError, match=r".*"):
            await Emulator(KEY, control_port=emulator.port).__aenter__()
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(ValueError, match="needs h11"):
        Emulator(KEY, control_port=0)


# In a process


async def test_a_process_plays_a_script_and_tells_its_load() -> None:
    script = read_script({"answers": [{"prompt": "a", "text": "first"}]})
    async with EmulatorProcess(KEY, script=script, options=EmulatorOptions(capacity=3)) as emulator:
        assert await emulator.load() == {"running": 0, "waiting": 0}
        answers: list[str] = []
        for again in (False, True):
            if again:
                await emulator.play(read_script({"answers": [{"text": "second"}]}))
            answers.append(await _ask(emulator.http_url))
        assert answers == ["first", "second"]


async def _ask(url: str) -> str:
    port = int(url.rpartition(":")[2].partition("/")[0])
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        wire = Http(stream)
        _, headers = await wire.post(text_task("a"))
        body = await wire.json(headers)
        return str(body["data"][0]["text"])
