"""A repeated request joins what it repeats: nothing is paid for twice, and nobody's is mixed up."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws.gateway import Callers, GatewayCaller, hash_of_key
from runware_ws.gateway.attempts import Attempt
from runware_ws.gateway.works import PlainWork, StreamWork
from tests import virtual
from tests.client.support import Gate, ample, bounded, until
from tests.gateway.support import Place, executions, place, request

pytestmark = pytest.mark.anyio
KINDS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


async def leave_early(here: Place, body: dict[str, Any], **how: Any) -> None:
    """Ask, and go away once the task runs."""
    before = here.client.stats().submitted
    async with anyio.create_task_group() as group:

        async def ask() -> None:
            await here.post(body, **how)

        group.start_soon(ask)
        await until(lambda: here.client.stats().submitted > before)
        group.cancel_scope.cancel()


def uuid_in(answer: Any) -> str:
    uuid: str = answer.headers["runware-task-uuid"]
    return uuid


@KINDS
@virtual.only()
@ample
async def test_a_retry_gets_the_answer_of_the_client_that_went_away(stream: bool) -> None:
    async with place(emulator={"latency": "5s"}) as here:
        body = request(stream=stream)
        await leave_early(here, body, retry=0)
        answer = await here.post(body, retry=1)
        assert answer.status_code == 200
        assert executions(here) == 1
        if stream:
            assert answer.text.endswith('data: {"type":"message_stop"}\n\n')


@KINDS
@virtual.only()
@ample
async def test_equal_requests_are_different_ones(stream: bool) -> None:
    async with place() as here:
        answers = [await here.post(request(stream=stream), retry=0) for _ in range(3)]
        assert len({uuid_in(answer) for answer in answers}) == 3
        assert executions(here) == 3


@KINDS
@virtual.only()
@ample
async def test_retries_of_equal_requests_get_one_each(stream: bool) -> None:
    async with place(emulator={"latency": "5s"}) as here:
        body = request(stream=stream)
        for _ in range(5):
            await leave_early(here, body, retry=0)
        uuids: set[str] = set()

        async def retry() -> None:
            uuids.add(uuid_in(await here.post(body, retry=1)))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(retry)
        assert len(uuids) == 5
        assert executions(here) == 5


@KINDS
@virtual.only()
@ample
async def test_an_answer_that_was_lost_on_its_way(stream: bool) -> None:
    async with place() as here:
        first = await here.post(request(stream=stream), retry=0)
        again = await here.post(request(stream=stream), retry=1)
        assert uuid_in(first) == uuid_in(again)
        if not stream:
            assert first.json() == again.json()
        assert executions(here) == 1


@KINDS
@virtual.only()
@ample
async def test_an_idempotency_key_names_the_request(stream: bool) -> None:
    async with place(emulator={"latency": "5s"}) as here:
        uuids: list[str] = []

        async def ask() -> None:
            answer = await here.post(request(stream=stream), idempotency_key="order-17")
            assert answer.status_code == 200
            uuids.append(uuid_in(answer))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
        await ask()
        assert len(uuids) == 3
        assert len(set(uuids)) == 1
        both = [("x-api-key", "any"), *(("idempotency-key", f"order-{each}") for each in (17, 18))]
        which = await here.http.post("/v1/messages", json=request(stream=stream), headers=both)
        assert which.status_code == 400
        assert "must be one, of 1 to 255" in which.json()["error"]["message"]
        other = await here.post(request("Else?", stream=stream), idempotency_key="order-17")
        assert (other.status_code, other.headers["x-should-retry"]) == (409, "false")
        assert executions(here) == 1


@virtual.only()
@KINDS
@ample
async def test_what_is_forgotten_is_no_garbage(stream: bool) -> None:
    """It is old by then, so the collector would find it late, and the process grow till then."""
    async with place(remembered=2) as here:
        gc.collect()
        gc.disable()
        try:
            for number in range(10):
                answer = await here.post(request(f"{number}", stream=stream), retry=0)
                assert answer.status_code == 200
            known = [
                each
                for each in gc.get_objects()
                if isinstance(each, Attempt | PlainWork | StreamWork)
            ]
            assert len(here.gateway.attempts) == 2
            assert len(known) <= 2 * (2 + 1)
        finally:
            gc.enable()


@virtual.only()
@ample
async def test_two_readers_of_one_stream_read_all_of_it() -> None:
    options = {"options": {"token_pause": 1.0}}
    async with place(emulator=_emulator(**options["options"])) as here:
        texts: list[list[str]] = []

        async def read(after: float) -> None:
            await anyio.sleep(after)
            answer = await here.post(request(stream=True), idempotency_key="k")
            parts = [line for line in answer.text.splitlines() if '"text_delta"' in line]
            texts.append([part.split('"text":"')[1].split('"')[0] for part in parts])

        async with anyio.create_task_group() as group:
            for after in (0.0, 3.5, 100.0):
                group.start_soon(read, after)
        assert len({"".join(each) for each in texts}) == 1
        assert len(texts[0]) > len(texts[2]) == 1
        assert executions(here) == 1


def _emulator(**options: Any) -> dict[str, Any]:
    from runware_ws.emulator import EmulatorOptions

    return {"options": EmulatorOptions(**options)}


def two_callers(**limits: Any) -> Callers:
    return Callers(
        {
            name: GatewayCaller(name=name, key=hash_of_key(f"key-of-{name}"), **limits)
            for name in ("ann", "bob")
        }
    )


@KINDS
@virtual.only()
@ample
async def test_no_caller_gets_anothers_answer(stream: bool) -> None:
    for callers in (two_callers(), None):
        async with place(callers) as here:
            uuids: set[str] = set()
            for caller in ("ann", "bob"):
                ways: list[dict[str, Any]] = [{"idempotency_key": "same"}, {"retry": 1}]
                for more in ways:
                    answer = await here.post(request(stream=stream), key=f"key-of-{caller}", **more)
                    assert answer.status_code == 200
                    uuids.add(uuid_in(answer))
            assert len(uuids) == 4
            assert executions(here) == 4


@virtual.only()
@ample
async def test_a_refusal_that_invites_a_retry_is_joined_by_it() -> None:
    """Else the retry would take the answer of an equal request that was answered before."""
    async with place(two_callers(max_concurrency=1), emulator={"latency": "5s"}) as here:
        key = "key-of-ann"
        first = await here.post(request(), key=key, retry=0)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: here.post(request("Else?"), key=key))
            await until(lambda: here.gateway.turns.running)
            refused = await here.post(request(), key=key, retry=0)
            assert refused.status_code == 429
        again = await here.post(request(), key=key, retry=1)
        assert again.status_code == 200
        assert uuid_in(again) != uuid_in(first)
        assert executions(here) == 3


# With a journal, which has a thread of its own: in real time


@pytest.fixture
def journal(tmp_path: Path) -> dict[str, Any]:
    return {"journal": f"sqlite:{tmp_path / 'gateway.db'}?synchronous=NORMAL"}


@pytest.mark.parametrize("shape", ["plain", "stream", "task", "array"])
@bounded
async def test_what_an_earlier_life_was_asked_under_a_key_counts(
    shape: str, journal: dict[str, Any]
) -> None:
    """Another request under it is refused, and keeps the right one from nothing."""
    from runware_ws import Client
    from runware_ws.emulator import Emulator
    from runware_ws.gateway import app
    from tests.client.support import QUICK
    from tests.gateway.support import in_process
    from tests.gateway.test_native import task

    texts = ("right", "other")
    path = "/v1/messages" if shape in ("plain", "stream") else "/v1"
    right, other = (
        request(text, stream=shape == "stream")
        if path == "/v1/messages"
        else [task(each) for each in ([text] if shape == "task" else [text, "second"])]
        for text in texts
    )
    wrong: list[Any] = [other]
    if isinstance(right, list):
        wrong.append([*right, task("more")])
    async with Emulator(api_key=None) as emulator:
        answers: list[bytes] = []
        for life in range(2):
            async with (
                Client(emulator.url, api_key="any", **journal, **QUICK) as client,
                in_process(app(client)) as http,
            ):
                headers = {"x-api-key": "any", "idempotency-key": "order-17"}
                for each in wrong if life else ():
                    refused = await http.post(path, json=each, headers=headers)
                    assert refused.status_code == 409
                answer = await http.post(path, json=right, headers=headers)
                assert answer.status_code == 200
                answers.append(answer.content)
        assert "right" in answers[1].decode()
        assert sum(emulator.stats.executions.values()) == (2 if shape == "array" else 1)
        assert emulator.stats.executed_twice == []


@KINDS
@bounded
async def test_a_retry_finds_its_task_after_a_restart(
    stream: bool, journal: dict[str, Any]
) -> None:
    from runware_ws import Client
    from runware_ws.emulator import Emulator
    from runware_ws.gateway import app
    from tests.client.support import QUICK
    from tests.gateway.support import in_process

    async with Emulator(api_key=None) as emulator:
        gate = Gate(emulator)
        uuids: list[set[str]] = []
        for life in range(3):
            async with (
                Client(emulator.url, api_key="any", **journal, **QUICK) as client,
                in_process(app(client)) as http,
            ):
                here = Place(emulator, client, Any, http)  # type: ignore[arg-type]
                if life == 0:
                    for _ in range(2):
                        await leave_early(here, request(stream=stream), retry=0)
                    await until(lambda: gate.running == 2)
                    continue
                gate.open()
                answers = [await here.post(request(stream=stream), retry=life) for _ in range(2)]
                assert [answer.status_code for answer in answers] == [200, 200]
                uuids.append({uuid_in(answer) for answer in answers})
        assert uuids[0] == uuids[1]
        assert len(uuids[0]) == 2
        assert sum(emulator.stats.executions.values()) == 2
        assert emulator.stats.executed_twice == []


@KINDS
@bounded
async def test_with_a_journal_nothing_is_kept_twice(stream: bool, journal: dict[str, Any]) -> None:
    async with place(client=journal) as here:
        first = await here.post(request(stream=stream), retry=0)
        again = await here.post(request(stream=stream), retry=1)
        assert again.headers["runware-recovered-by"] == "journal"
        assert uuid_in(first) == uuid_in(again)
        assert executions(here) == 1


@pytest.mark.parametrize("recorded", [False, True])
@KINDS
@bounded
async def test_the_end_invites_only_those_who_do_not_pay_twice(
    stream: bool, recorded: bool, tmp_path: Path
) -> None:
    client = {"journal": str(tmp_path / "gateway.db")} if recorded else {}
    async with place(client=client, max_running=1, start_within=60) as here:
        gate = Gate(here.emulator)
        invited: dict[str, tuple[int, str]] = {}

        async def ask(text: str) -> None:
            answer = await here.post(request(text, stream=stream))
            invited[text] = (answer.status_code, answer.headers["x-should-retry"])

        async with anyio.create_task_group() as group:
            group.start_soon(ask, "running")
            await until(lambda: gate.running == 1)
            group.start_soon(ask, "waiting")
            await until(lambda: here.gateway.turns.waiting == 1)
            await here.http.aclose()
        again = "true" if recorded else "false"
        assert invited == {"running": (503, again), "waiting": (503, "true")}


@virtual.only()
@ample
async def test_a_retry_does_not_join_what_was_refused() -> None:
    """Its answer was lost on the way; meanwhile the budget was spent."""
    key = "key-of-ann"
    ann = GatewayCaller(name="ann", key=hash_of_key(key), budget=1e-9)
    async with place(Callers({"ann": ann})) as here:
        first = await here.post(request(), key=key, retry=0)
        await anyio.sleep(1)
        assert (await here.post(request(), key=key, retry=0)).status_code == 402
        again = await here.post(request(), key=key, retry=1)
        assert again.status_code == 200
        assert uuid_in(again) == uuid_in(first)
        assert executions(here) == 1
