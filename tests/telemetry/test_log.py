"""The logger ``runware_ws``."""

from __future__ import annotations

import logging

import anyio
import pytest

from runware_ws import AuthenticationError
from tests import virtual
from tests.client.support import KEY, ample, ask, client_of, connected, until

pytestmark = pytest.mark.anyio

anyio_backend = virtual.anyio_backend


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="runware_ws")
    return caplog


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "runware_ws" and record.levelno == level
    ]


def told_of(caplog: pytest.LogCaptureFixture, uuid: str) -> list[str]:
    """What the log says of one task, without its name."""
    start = f"task {uuid}: "
    return [
        line.removeprefix(start) for line in lines(caplog, logging.DEBUG) if line.startswith(start)
    ]


@ample
async def test_the_life_of_a_connection(log: pytest.LogCaptureFixture) -> None:
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:
        await client.ready()
        emulator.faults.cut(1011, "bye")
        await until(connected(client, 2))
        emulator.faults.forget_sessions()
        emulator.faults.reject_upgrades(503, times=1)
        emulator.faults.cut()
        await until(connected(client, 3))
        await client.drain()
    assert lines(log, logging.INFO) == [
        "connected, in a new session",
        "connected, and the session is resumed",
        "the replay is over: it brought 0 answers",
        "connected, in a new session",
        "draining: 0 tasks are pending",
        "closed",
    ]
    warnings = lines(log, logging.WARNING)
    assert warnings[0] == "connection lost (closed, code 1011) with 0 tasks pending"
    assert warnings[1].startswith("connection lost (closed")
    assert warnings[2].startswith("no connection (http refused, HTTP 503) at attempt 3; the next")
    assert warnings[3] == "the session is lost: 0 tasks are asked for one by one"
    assert len(warnings) == 4
    assert lines(log, logging.ERROR) == []


@ample
async def test_a_refused_key_is_an_error(log: pytest.LogCaptureFixture) -> None:
    async with virtual.serving("another") as emulator, client_of(emulator) as client:
        with pytest.raises(AuthenticationError):
            await client.ready()
    assert lines(log, logging.ERROR) == [
        "the server refused the API key: the client ends",
        "the client has ended for good: see the errors of its tasks",
    ]


@ample
async def test_the_way_of_a_task(log: pytest.LogCaptureFixture) -> None:
    async with virtual.serving(KEY, latency="1s") as emulator, client_of(emulator) as client:
        await client.ready()
        emulator.faults.drop_requests(times=1)
        emulator.faults.forget_sessions()
        task = ask("What a planted prompt")
        handle = await client.submit(task, metadata={"order": "17"})
        await anyio.sleep(0.1)
        emulator.faults.cut()
        await handle
    way = told_of(log, handle.uuid)
    assert all(line.endswith(" {'order': '17'}") for line in way)
    way = [line.removesuffix(" {'order': '17'}") for line in way]
    assert way[0].startswith("submitted (sync, ")
    assert way[1] == "written"
    assert way[2].startswith("cut (")
    assert "asked (getTaskDetails)" in way
    assert "asked (getResponse)" in way
    assert way[-2] == "resent"
    assert way[-1].startswith("ended after ")
    assert way[-1].endswith(" s: done, 1 results by way of resubmit")
    assert "planted" not in log.text
    told = [record for record in log.records if hasattr(record, "task_uuid")]
    assert {record.__dict__["task_uuid"] for record in told} == {handle.uuid}
    assert all(record.__dict__["task_metadata"] == {"order": "17"} for record in told)


@ample
async def test_how_a_task_ended(log: pytest.LogCaptureFixture) -> None:
    async with virtual.serving(KEY, latency="10s") as emulator, client_of(emulator) as client:
        await client.ready()
        emulator.faults.inject_error("inferenceError", "planted words")
        failed = await client.submit(ask())
        await failed.wait()
        late = await client.submit(ask(), timeout=1)
        await late.wait()
        left = await client.submit(ask())
        left.cancel()
        open_still = await client.submit(ask())
    ends = [told_of(log, each.uuid)[-1] for each in (failed, late, left, open_still)]
    assert ends[0].endswith("failed, TaskError.provider, submitted: yes")
    assert ends[1] == "ended after 1.000 s: timed_out, TaskTimeout, submitted: maybe"
    assert ends[2].endswith("cancelled, TaskCancelled, submitted: no")
    assert ends[3].endswith("closed, ClientClosed, submitted: no")
    assert "planted" not in log.text


@ample
async def test_a_level_may_change_at_any_time(caplog: pytest.LogCaptureFixture) -> None:
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:
        caplog.set_level(logging.WARNING, logger="runware_ws")
        quiet = await client.run(ask())
        caplog.set_level(logging.DEBUG, logger="runware_ws")
        loud = await client.run(ask())
        caplog.set_level(logging.WARNING, logger="runware_ws")
        again = await client.run(ask())
    assert told_of(caplog, quiet.task_uuid) == told_of(caplog, again.task_uuid) == []
    assert len(told_of(caplog, loud.task_uuid)) == 3


@ample
async def test_rubbish_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="runware_ws")
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:
        await client.ready()
        for _ in range(1_000):
            emulator.faults.send_raw("{")
            emulator.faults.send_error("oddError", "planted words")
            await anyio.sleep(0.001)
        await until(lambda: client.stats().notices == 1_000)
    assert len(lines(caplog, logging.WARNING)) == 20
    assert "planted" not in caplog.text
    assert "oddError" not in caplog.text


@ample
async def test_a_handler_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("planted words")

    caplog.set_level(logging.DEBUG, logger="runware_ws")
    logger, failing = logging.getLogger("runware_ws"), Failing()
    logger.addHandler(failing)
    try:
        async with virtual.serving(KEY) as emulator, client_of(emulator) as client:
            assert (await client.run(ask())).text
    finally:
        logger.removeHandler(failing)
