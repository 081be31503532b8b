"""Callers: who may ask, how much, and whose turn it is."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws import ConfigurationError
from runware_ws.emulator import Request
from runware_ws.gateway import Callers, GatewayCaller, GatewayOptions, app, hash_of_key, new_key
from runware_ws.gateway.error_table import GatewayRefusal
from runware_ws.gateway.turns import CallerUse, Turns
from tests import virtual
from tests.client.support import Gate, ample, until
from tests.gateway.support import executions, place, request

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend

KEY = "key-of-ann"


def callers(**limits: Any) -> Callers:
    names = ("ann", "bob")
    return Callers(
        {
            name: GatewayCaller(name=name, key=hash_of_key(f"key-of-{name}"), **limits)
            for name in names
        }
    )


# Keys


@ample
async def test_only_known_keys_are_let_in(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with place(callers()) as here:
        assert (await here.post(request(), key=KEY)).status_code == 200
        bearer = await here.http.post(
            "/v1/messages", json=request(), headers={"authorization": f"Bearer {KEY}"}
        )
        assert bearer.status_code == 200
        wrong = "the-key-of-somebody-else"
        for key in (wrong, "", KEY.upper()):
            refused = await here.post(request(), key=key)
            assert refused.status_code == 401
            assert refused.json()["error"]["type"] == "authentication_error"
            assert not key or key not in refused.text
        assert executions(here) == 2
        told = caplog.text + repr(here.gateway.callers) + repr(vars(here.gateway.callers))
    assert KEY not in told
    assert wrong not in told
    assert "ann" in caplog.text  # the metadata of its tasks


def test_a_key_is_kept_as_a_hash() -> None:
    key = new_key()
    one, other = hash_of_key(key), hash_of_key(key)
    assert one != other  # salted
    assert key not in one
    known = Callers({"ann": GatewayCaller(name="ann", key=one)})
    for _ in range(2):
        found = known.find(key)
        assert found is not None
        assert found.name == "ann"
        assert known.find(key[:-1]) is None
        assert known.find(None) is None


def test_without_callers_each_key_is_one() -> None:
    anybody = Callers()
    one, other = anybody.find("one"), anybody.find("other")
    assert one is not None
    assert other is not None
    assert one.name != other.name
    assert one is anybody.find("one")
    assert "one" not in one.name.removeprefix("key-")
    again = Callers().find("one")  # the next life of the gateway
    assert again is not None
    assert again.name == one.name


# The file


def test_a_file_of_callers(tmp_path: Path) -> None:
    key = hash_of_key(KEY)
    toml = tmp_path / "callers.toml"
    toml.write_text(f'[callers.ann]\nkey = "{key}"\nbudget = 2.5\nunsupported = "drop"\n')
    as_json = tmp_path / "callers.json"
    as_json.write_text(json.dumps({"callers": {"ann": {"key": key, "budget": 2.5}}}))
    for path in (toml, as_json):
        found = Callers.read(path).find(KEY)
        assert found is not None
        assert (found.name, found.budget) == ("ann", 2.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[callers", "is not TOML"),
        ("", "has no callers"),
        ("a = 1\n[callers.ann]\nkey = 'x'", "'ann', or is 'a'"),
        ("[callers.ann]\n", "caller 'ann': key: is missing"),
        ("[callers.ann]\nkey = 'plain'", "caller ann: key: must be the hash"),
        ("[callers.ann]\nkey = 'K'\nspeed = 3", "'speed' is unknown; known are: key"),
        ("[callers.ann]\nkey = 'K'\nbudget = -1", "caller ann: budget=-1: must be"),
        ("[callers.ann]\nkey = 'K'\nmax_concurrency = 1.5", "must be a whole number"),
        ("[callers.ann]\nkey = 'K'\nunsupported = 'x'", "must be 'error' or 'drop'"),
        ("[callers.'a b']\nkey = 'K'", "a name has 1 to 64 letters"),
        ("[callers.ann]\nkey = 'K'\n[callers.bob]\nkey = 'K'", "two callers have one key"),
        (f"[callers.ann]\nkey = 'K'\nbudget = 1{'0' * 400}", "caller ann: budget=1"),
        (f"[callers.ann]\nkey = 'sha256${'a' * 33}${'b' * 64}'", "key: must be the hash"),
        ('{"callers": {"ann": {"key": "K", "budget": 1}, "ann": {"key": "K"}}}', "'ann' stands"),
        ('{"callers": {"ann": {"key": "K", "budget": 1, "budget": 2}}}', "'budget' stands"),
    ],
)
def test_a_file_that_is_wrong(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / ("callers.json" if text.startswith("{") else "callers.toml")
    path.write_text(text.replace("'K'", f"'{hash_of_key(KEY, '00' * 16)}'"))
    with pytest.raises(ConfigurationError) as refused:
        Callers.read(path)
    assert str(path) in refused.value.message
    assert all(word in refused.value.message for word in words.split(", or is ")[-1:])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        Callers.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("option", "value"), [("max_running", 0), ("timeout", -1), ("delivery", "x"), ("speed", 1)]
)
def test_options_are_checked(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=option):
        app(None, **{option: value})  # type: ignore[arg-type]


def test_a_path_is_no_callers() -> None:
    with pytest.raises(ConfigurationError, match=r"Callers\.read\(PATH\)"):
        app(None, "callers.toml")  # type: ignore[arg-type]


def test_options_and_settings_have_the_same_names() -> None:
    from dataclasses import fields

    from runware_ws.gateway.options import GatewaySettings

    assert [option.name for option in fields(GatewayOptions)] == list(
        GatewaySettings.__annotations__
    )


# Limits


@ample
async def test_a_caller_has_so_many_tasks_at_once() -> None:
    async with place(callers(max_concurrency=2)) as here:
        gate = Gate(here.emulator)
        async with anyio.create_task_group() as group:
            for number in range(2):
                group.start_soon(lambda n: here.post(request(f"{n}"), key=KEY), number)
            await until(lambda: gate.running == 2)
            refused = await here.post(request(), key=KEY)
            assert (refused.status_code, refused.headers["x-should-retry"]) == (429, "true")
            assert refused.json()["error"]["type"] == "rate_limit_error"
            group.start_soon(lambda: here.post(request(), key="key-of-bob"))
            await until(lambda: gate.running == 3)
            gate.open()
        assert (await here.post(request(), key=KEY)).status_code == 200


@ample
async def test_a_caller_has_a_rate() -> None:
    async with place(callers(requests_per_minute=60)) as here:
        answers = [(await here.post(request(), key=KEY)).status_code for _ in range(12)]
        assert answers == [200] * 10 + [429] * 2  # ten seconds' worth at once
        refused = await here.post(request(), key=KEY)
        assert 0 < float(refused.headers["retry-after"]) <= 1
        await anyio.sleep(1)
        assert (await here.post(request(), key=KEY)).status_code == 200


@ample
async def test_a_caller_has_a_budget() -> None:
    async with place(callers(budget=1e-6)) as here:
        first = await here.post(request(), key=KEY, retry=0)
        assert float(first.headers["runware-cost"]) > 1e-6
        refused = await here.post(request(), key=KEY, retry=0)
        assert (refused.status_code, refused.headers["x-should-retry"]) == (402, "false")
        # What was paid for is still to be had.
        again = await here.post(request(), key=KEY, retry=1)
        assert again.headers["runware-task-uuid"] == first.headers["runware-task-uuid"]
        assert (await here.post(request(), key="key-of-bob")).status_code == 200
        assert executions(here) == 2


@ample
async def test_a_budget_is_spent_to_the_cent() -> None:
    async with place(callers(budget=1.0)) as here:

        @here.emulator.reply("textInference")
        def answer(_: Request) -> dict[str, Any]:
            return {"text": "x", "cost": 0.1}

        answers = [(await here.post(request(), key=KEY)).status_code for _ in range(12)]
        assert answers == [200] * 10 + [402] * 2  # although ten times 0.1 is less than 1


@pytest.mark.parametrize("rate", [0.7, 7, 13, 70])
@ample
async def test_who_comes_again_when_it_was_told_to_is_let_in(rate: float) -> None:
    async with place(callers(requests_per_minute=rate)) as here:
        while (answer := await here.post(request(), key=KEY)).status_code == 200:
            pass
        for _ in range(10):
            await anyio.sleep(float(answer.headers["retry-after"]))
            assert (await here.post(request(), key=KEY)).status_code == 200
            answer = await here.post(request(), key=KEY)
            assert answer.status_code == 429


@ample
async def test_a_rate_counts_what_starts() -> None:
    who = callers()
    ann, bob = who.known()
    both = Callers({"ann": replace(ann, requests_per_minute=6), "bob": bob})
    async with place(both, max_running=1, max_waiting=1) as here:
        gate = Gate(here.emulator)
        async with anyio.create_task_group() as group:
            for number in range(2):
                group.start_soon(lambda n: here.post(request(f"{n}"), key="key-of-bob"), number)
            await until(lambda: gate.running and here.gateway.turns.waiting)
            full = await here.post(request(), key=KEY)
            assert (full.status_code, full.headers["x-should-retry"]) == (529, "true")
            gate.open()
        assert (await here.post(request(), key=KEY)).status_code == 200
        assert (await here.post(request(), key=KEY)).status_code == 429


@ample
async def test_a_request_that_leaves_gives_its_place_back() -> None:
    async with place(callers(max_concurrency=1), emulator={"latency": "1s"}) as here:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: here.post(request(), key=KEY))
            await until(lambda: here.gateway.turns.running)
            group.cancel_scope.cancel()
        await until(lambda: not here.gateway.turns.running)
        assert (await here.post(request(), key=KEY)).status_code == 200
        here.emulator.faults.inject_error("inferenceError", "It went wrong.")
        assert (await here.post(request(), key=KEY)).status_code == 529
        assert (await here.post(request(), key=KEY)).status_code == 200
        assert here.gateway.turns.running == 0


# Turns


@ample
async def test_under_saturation_callers_take_turns() -> None:
    async with place(callers(), max_running=1) as here:
        gate = Gate(here.emulator)
        served: list[str] = []

        async def ask(name: str, number: int) -> None:
            await here.post(request(f"{number}"), key=f"key-of-{name}")
            served.append(name)

        async with anyio.create_task_group() as group:
            group.start_soon(ask, "ann", 0)
            await until(lambda: gate.running)
            for number in range(6):
                group.start_soon(ask, "ann", number + 1)
            await until(lambda: here.gateway.turns.waiting == 6)
            for number in range(3):
                group.start_soon(ask, "bob", number)
            await until(lambda: here.gateway.turns.waiting == 9)
            gate.open()
        assert served == ["ann", *["ann", "bob"] * 3, "ann", "ann", "ann"]
        assert (here.gateway.turns.running, here.gateway.turns.waiting) == (0, 0)


async def test_turns_that_are_not_taken_are_passed_on() -> None:
    turns = Turns(1, most_waiting=2)
    await turns.take("ann")
    async with anyio.create_task_group() as group:
        group.start_soon(turns.take, "bob")
        await until(lambda: turns.waiting == 1)
        group.cancel_scope.cancel()
    assert turns.waiting == 0
    turns.give()
    await turns.take("bob")
    async with anyio.create_task_group() as group:
        for name in ("ann", "bob"):
            group.start_soon(turns.take, name)
        await until(lambda: turns.waiting == 2)
        with pytest.raises(GatewayRefusal) as refused:
            await turns.take("cid")
        assert refused.value.reply.status == 529
        turns.give()
        turns.give()
        group.cancel_scope.cancel()
    assert turns.running <= 1


def test_credit_comes_back_and_is_bounded() -> None:
    use = CallerUse(GatewayCaller(name="ann", requests_per_minute=6), 0.0)
    use.enter(0.0)
    with pytest.raises(GatewayRefusal) as refused:
        use.enter(9.0)
    assert refused.value.reply.retry_after == pytest.approx(1.0)
    use.enter(10.0)
    use.enter(1_000.0)
    with pytest.raises(GatewayRefusal):
        use.enter(1_000.0)
    use.enter(None)
    assert use.running == 4
