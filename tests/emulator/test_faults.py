"""Each fault once, seen from the wire."""

from __future__ import annotations

import json

import anyio
import pytest
from websockets.exceptions import InvalidStatus

from runware_ws.emulator import KNOWN_ORDERS, EmulatorOptions, apply_fault_order
from tests import virtual

from .wire import KEY, details, poll, raw, ready, serving, text_task, until

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


@pytest.mark.parametrize("code", [None, 1000, 1005, 1006, 1012, 3999, 4321])
async def test_cut_with_codes(code: int | None) -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        assert emulator.faults.cut(code, "on order" if code not in (None, 1005) else "") == 1
        assert await wire.closed() == (code or 1006)
        assert emulator.stats.cuts == 1
        assert emulator.faults.cut() == 0


@pytest.mark.parametrize("reset", [False, True])
async def test_cut_in_mid_frame(reset: bool) -> None:
    async with serving(api_key=KEY) as emulator:
        async with ready(emulator) as (wire, session):
            task = text_task()
            await wire.send(task)
            await wire.item()
            sent = emulator.stats.bytes_out
            emulator.faults.cut(mid_frame=True, reset=reset)
            assert await wire.closed() == 1006
            assert emulator.stats.bytes_out == sent
        async with ready(emulator, session) as (wire, _):
            assert (await wire.item())["taskUUID"] == task["taskUUID"]


async def test_cut_after_results() -> None:
    async with serving(api_key=KEY) as emulator:
        emulator.faults.cut_after(results=3)
        async with ready(emulator) as (wire, session):
            tasks = [text_task() for _ in range(5)]
            await wire.send(*tasks)
            seen = [item["taskUUID"] for item in await wire.items(3)]
            assert await wire.closed() == 1006
        async with ready(emulator, session) as (wire, _):
            # The three were written just before the end, so they come again.
            again = [item["taskUUID"] for item in await wire.items(5)]
        assert seen == again[:3]
        assert again == [task["taskUUID"] for task in tasks]


async def test_cut_after_frames_in_mid_frame_several_times() -> None:
    async with serving(api_key=KEY) as emulator:
        emulator.faults.cut_after(frames=2, times=2, mid_frame=True)
        for _ in range(2):
            async with ready(emulator) as (wire, _):
                await wire.send(text_task())
                assert await wire.closed() == 1006
        async with ready(emulator) as (wire, _):
            await wire.send(text_task())
            await wire.item()
        with pytest.raises(ValueError, match="either"):
            emulator.faults.cut_after()


async def test_cut_every() -> None:
    async with serving(api_key=KEY) as emulator:
        emulator.faults.cut_every(0.05)
        for _ in range(3):
            async with ready(emulator) as (wire, _):
                assert await wire.closed() == 1006
        emulator.faults.stop_cutting()
        async with ready(emulator) as (wire, _):
            await wire.silence(0.1)


async def test_blackhole_hold_and_heal() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        emulator.faults.blackhole()
        task = text_task()
        await wire.send(task)
        await wire.silence()
        with pytest.raises(TimeoutError):
            async with raw(emulator, open_timeout=60):
                pass
        assert emulator.stats.tasks_accepted == 0
        emulator.faults.heal()
        assert (await wire.item())["taskUUID"] == task["taskUUID"]


async def test_blackhole_drop_and_heal() -> None:
    async with serving(api_key=KEY, latency=0.02) as emulator:
        async with ready(emulator) as (wire, session):
            before, during = text_task(), text_task()
            await wire.send(before)
            await until(lambda: emulator.stats.tasks_accepted == 1)
            emulator.faults.blackhole("drop")
            await wire.send(during)
            await wire.silence(0.1)
            emulator.faults.heal()
            assert await wire.closed() == 1006
        async with ready(emulator, session) as (wire, resumed):
            assert resumed == session
            assert (await wire.item())["taskUUID"] == before["taskUUID"]
            await wire.send(poll(during))
            assert (await wire.error())["code"] == "taskFailedOrNotFound"


async def test_a_client_that_gives_up_a_blackholed_socket_takes_nothing_over() -> None:
    async with serving(api_key=KEY) as emulator:
        async with ready(emulator) as (wire, session):
            task = text_task()
            emulator.faults.blackhole()
            await wire.send(task)
            await wire.vanish()
        emulator.faults.heal()
        async with ready(emulator, session) as (wire, resumed):
            assert resumed == session
            await anyio.sleep(0.15)
        assert emulator.stats.session_takeovers == 0


async def test_forgotten_and_refused_sessions() -> None:
    async with serving(api_key=KEY, latency=0.02) as emulator:
        async with ready(emulator) as (wire, session):
            assert emulator.faults.forget_sessions() == 1
            await wire.send(text_task())
            await wire.item()
            emulator.faults.cut()
        async with ready(emulator, session) as (wire, fresh):
            assert fresh != session
        emulator.faults.refuse_sessions()
        async with ready(emulator, fresh) as (wire, other):
            assert other != fresh
        emulator.faults.heal()
        async with ready(emulator, fresh) as (wire, again):
            assert again == fresh


async def test_duplicates() -> None:
    async with serving(api_key=KEY) as emulator:
        emulator.faults.duplicate_results()
        async with ready(emulator) as (wire, session):
            await wire.send(text_task())
            first, second = await wire.items(2)
            assert first == second
            emulator.faults.duplicate_results(False)
            emulator.faults.duplicate_replay()
            emulator.faults.cut()
        async with ready(emulator, session) as (wire, _):
            assert await wire.items(4) == [first] * 4


async def test_split_and_merge_and_shuffle() -> None:
    options = EmulatorOptions(results_framing="together")
    async with serving(api_key=KEY, options=options) as emulator, ready(emulator) as (wire, _):
        await wire.send(text_task(numberResults=2))
        assert len((await wire.recv())["data"]) == 2
        emulator.faults.split()
        await wire.send(text_task(numberResults=2))
        assert len((await wire.recv())["data"]) == 1
        await wire.recv()
        emulator.faults.heal()
        emulator.faults.merge(10, 0.01)
        emulator.faults.shuffle()
        tasks = [text_task() for _ in range(10)]
        await wire.send(*tasks)
        merged = [item["taskUUID"] for item in (await wire.recv())["data"]]
        sent = [task["taskUUID"] for task in tasks]
        assert sorted(merged) == sorted(sent)
        assert merged != sent


async def test_injected_errors() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        task = text_task()
        emulator.faults.inject_error("rateLimitExceeded", task_uuid=task["taskUUID"], retryAfter=1)
        other = text_task()
        await wire.send(other, task)
        assert (await wire.item())["taskUUID"] == other["taskUUID"]
        error = await wire.error()
        assert (error["code"], error["retryAfter"]) == ("rateLimitExceeded", 1)
        assert error["taskUUID"] == task["taskUUID"]
        await wire.send(task)  # it was refused, so its UUID is unused
        await wire.item()

        emulator.faults.inject_error("providerError", stage="execute", task_type="textInference")
        failing = text_task(deliveryMethod="async")
        await wire.send(failing, poll(failing), details(failing))
        await wire.item()
        assert (await wire.item())["error"]["code"] == "providerError"
        assert (await wire.item())["response"]["errors"][0]["code"] == "providerError"

        emulator.faults.inject_error("internalServerError", anonymous=True)
        await wire.send(text_task())
        assert await wire.error() == {"code": "internalServerError", "message": "Injected."}

        emulator.faults.inject_error("x", times=None, probability=0.5)
        await wire.send(*(text_task() for _ in range(40)))
        frames = [await wire.recv() for _ in range(40)]
        assert 5 < sum("errors" in frame for frame in frames) < 35

        emulator.faults.heal()
        assert emulator.faults.send_error("serviceUnavailable", "Soon.") == 1
        assert (await wire.error())["code"] == "serviceUnavailable"


async def test_raw_messages() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        for message in ("{", "[" * 5000, b"\x00\xff", '{"data":[{"taskUUID":"nobody"}]}'):
            assert emulator.faults.send_raw(message) == 1
            assert await wire.socket.recv() == message


async def test_revoked_keys() -> None:
    async with serving(api_key=[KEY, "second"]) as emulator, ready(emulator) as (wire, _):
        emulator.faults.revoke_key(KEY, close=True)
        assert await wire.closed() == 1008
        async with raw(emulator) as refused:
            await refused.send({"taskType": "authentication", "apiKey": KEY})
            assert (await refused.error())["code"] == "invalidApiKey"
        emulator.faults.accept_key("third")
        emulator.faults.accept_key(KEY)
        for key in (KEY, "second", "third"):
            async with raw(emulator) as wire:
                await wire.auth(key=key)


async def test_rejected_upgrades() -> None:
    async with serving(api_key=KEY) as emulator:
        emulator.faults.reject_upgrades(429, retry_after=7, times=2)
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                # The status is in the exception, or the dialer tries again by itself.
                async with raw(emulator):
                    pass
            assert refused.value.response.status_code == 429
            assert refused.value.response.headers["Retry-After"] == "7"
        async with ready(emulator):
            assert emulator.stats.upgrades_rejected == 2
        with pytest.raises(ValueError, match="status"):
            emulator.faults.reject_upgrades(99)


async def test_authentication_faults() -> None:
    async with serving(api_key=KEY) as emulator:
        auth = {"taskType": "authentication", "apiKey": KEY}
        emulator.faults.ignore_auth()
        async with raw(emulator) as wire:
            await wire.send(auth)
            await wire.send({"taskType": "ping", "ping": True})
            await wire.silence()
        emulator.faults.close_before_auth_reply()
        async with raw(emulator) as wire:
            await wire.send(auth)
            assert await wire.closed() == 1006
        emulator.faults.delay_auth(0.1)
        async with raw(emulator) as wire:
            task = text_task()
            await wire.send(auth)
            await wire.send(task)
            await wire.silence()
            assert (await wire.item())["taskType"] == "authentication"
            assert (await wire.item())["taskUUID"] == task["taskUUID"]
        emulator.faults.heal()
        async with ready(emulator):
            pass


@pytest.mark.parametrize("after", [0, 2])
async def test_death_during_replay(after: int) -> None:
    async with serving(api_key=KEY, latency=0.02) as emulator:
        tasks = [text_task() for _ in range(4)]
        async with ready(emulator) as (wire, session):
            await wire.send(*tasks)
            await until(lambda: emulator.stats.tasks_accepted == 4)
            emulator.faults.cut()
        await until(lambda: emulator.stats.buffered == 4)
        emulator.faults.die_during_replay(after)
        async with ready(emulator, session) as (wire, _):
            await wire.items(after)
            assert await wire.closed() == 1006
        async with ready(emulator, session) as (wire, _):
            found = {item["taskUUID"] for item in await wire.items(4)}
        assert found == {task["taskUUID"] for task in tasks}


async def test_dropped_requests() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        emulator.faults.drop_requests(1)
        task = text_task()
        await wire.send(task, text_task())
        await wire.silence()
        assert emulator.stats.lost_requests == 2
        await wire.send(task)
        await wire.item()


async def test_lost_results_by_order() -> None:
    async with serving(api_key=KEY) as emulator:
        emulator.faults.lose_results_on_cut(window=0.1)
        async with ready(emulator) as (wire, session):
            emulator.faults.cut()
            await wire.send(text_task())
            await wire.closed()
        async with ready(emulator, session) as (wire, _):
            await wire.silence()
            emulator.faults.lose_results_on_cut(None)
            emulator.faults.lose_requests_on_cut(window=0.1)
            emulator.faults.cut()
            await wire.send(text_task())
            await wire.closed()
        assert emulator.stats.lost_results == 1
        assert emulator.stats.lost_requests == 1
        assert emulator.stats.executed == 1


async def test_giant_results() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        emulator.faults.giant_result(3_000_000)
        await wire.send(text_task(), text_task())
        big, small = await wire.items(2)
        assert len(big["text"]) == 3_000_000
        assert len(small["text"]) < 100


async def test_broken_uniqueness_is_noticed() -> None:
    async with serving(api_key=KEY) as emulator, ready(emulator) as (wire, _):
        emulator.faults.break_uniqueness()
        task = text_task()
        await wire.send(task, task)
        await wire.items(2)
        assert emulator.stats.executed_twice == [task["taskUUID"]]
        assert emulator.stats.summary()["executed_twice"] == 1
        assert json.dumps(emulator.stats.summary())


ORDERS = [
    *("cut-every=1s", "cut-every=1s,0.5", "cut-after-results=5", "cut-after-frames=5,always"),
    *("lose-results", "lose-results=20ms", "lose-requests", "blackhole", "blackhole=drop"),
    *("refuse-sessions", "duplicate-replay=on", "duplicate-results=off", "shuffle", "split"),
    *("merge", "merge=10,5ms", "inject-error=providerError,0.1", "reject-upgrades=503,3,2s"),
    *("ignore-auth", "delay-auth=1s", "close-before-auth-reply=2", "die-during-replay=3"),
    *("drop-requests", "drop-requests=5", "giant-result=1000,2", "break-uniqueness"),
    *("cut-after-deltas=3", "reject-posts=429,3,2s"),
    *("blackhole=hold,pings", "blackhole=drop,bytes", "stall=2s", "hand-over-sessions"),
    *("fail-questions", "fail-questions=unauthorized,getTaskDetails,untyped,5s"),
    *("fail-questions=,getResponse", "deny-archive", "deny-archive=5s"),
    *("poison=1008,some text", "poison=1007,5"),
    *("cut", "cut=1001", "cut=reset", "cut=mid-frame", "forget-sessions", "heal"),
]


WRONG = ("blackhole=drop,words", "stall=0s", "poison=70000,x", "poison=1008", "poison=x")


async def test_orders_as_text() -> None:
    async with serving(api_key=KEY) as emulator:
        for order in ORDERS:
            apply_fault_order(emulator.faults, order)
        given = {order.partition("=")[0] for order in ORDERS} | {"revoke-keys"}
        assert given == set(KNOWN_ORDERS)
        emulator.faults.heal()
        async with ready(emulator) as (wire, _):
            await wire.send(text_task())
            await wire.item()
        for bad in (
            "cut-often",
            "cut-every",
            "cut-every=soon",
            "shuffle=maybe",
            "merge=0",
            "",
            *WRONG,
        ):
            with pytest.raises(ValueError, match=r"fault '") as refused:
                apply_fault_order(emulator.faults, bad)
            assert bad in str(refused.value)
            usage = bad in ("shuffle=maybe", "merge=0", *WRONG)
            assert "cut-every" in str(refused.value) or usage


async def test_orders_that_strike_at_once() -> None:
    async with serving(api_key=KEY) as emulator:
        async with ready(emulator) as (wire, session):
            apply_fault_order(emulator.faults, "cut=4001")
            assert await wire.closed() == 4001
        apply_fault_order(emulator.faults, "forget-sessions")
        async with ready(emulator, session):
            pass
        assert emulator.stats.resumes_refused == 1
        apply_fault_order(emulator.faults, "revoke-keys")
        async with raw(emulator) as wire:
            await wire.send({"taskType": "authentication", "apiKey": KEY})
            assert (await wire.error())["code"] == "invalidApiKey"
