"""The key: refused, revoked, fetched, rotated; and ``ready()``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Literal

import anyio
import pytest
from pydantic import SecretStr

from runware_ws import (
    AuthenticationError,
    Client,
    ConfigurationError,
    ConnectionFailed,
    Ending,
    PostEnding,
    RunwareError,
    Submitted,
)
from runware_ws.emulator import Emulator, EmulatorOptions
from runware_ws.events import Closed, Disconnected, KeyRefused, ServerNotice
from tests import virtual

from .support import (
    KEY,
    NOWHERE,
    Gate,
    ask,
    assert_answers,
    bounded,
    client_of,
    connected,
    only,
    rest,
    until,
)

pytestmark = pytest.mark.anyio

WRONG = "Wr0ngKeyThatNobodyAccepts99"
OTHER = "0therKeyThatComesByRotation7"


# Refused from the start


@pytest.mark.parametrize("spelling", ["errors", "error", "error-list", "legacy"])
@pytest.mark.parametrize("closes", [True, False])
@bounded
async def test_a_wrong_key_ends_every_task_and_is_not_tried_again(
    spelling: Literal["errors", "error", "error-list", "legacy"], closes: bool
) -> None:
    options = EmulatorOptions(bad_key=spelling, close_after_refusal=closes)
    async with Emulator(KEY, options=options) as emulator:
        async with client_of(emulator, api_key=WRONG, max_in_flight=2) as client:
            events = client.events()
            handles = [await client.submit(ask()) for _ in range(2)]
            with pytest.raises(AuthenticationError) as caught:
                await client.run(ask())
            for handle in handles:
                with pytest.raises(AuthenticationError) as caught:
                    await handle
                assert caught.value.task_uuid == handle.uuid
                assert caught.value.submitted is Submitted.NO
                assert caught.value.safe_to_resend
            for verb in (client.run, client.submit):
                with pytest.raises(AuthenticationError) as caught:
                    await verb(ask())
            with pytest.raises(AuthenticationError) as caught:
                await client.ready()
            code = "legacyError19" if spelling == "legacy" else "invalidApiKey"
            assert caught.value.code == code
            await anyio.sleep(0.05)
            stats = client.stats()
            assert (stats.dials, stats.pending, stats.state) == (1, 0, "failed")
        assert len(emulator.stats.dials) == 1
        found = await rest(events)
        assert [event.final for event in only(found, KeyRefused)] == [True]
        assert isinstance(found[-1], Closed)
        assert found[-1].reason


@virtual.only()
@bounded
async def test_a_wrong_key_that_is_fetched_is_fetched_once_more() -> None:
    async with virtual.serving(KEY) as emulator:
        given: list[str] = []

        def fetch() -> str:
            given.append(WRONG)
            return WRONG

        async with client_of(emulator, api_key=fetch) as client:
            with pytest.raises(AuthenticationError):
                await client.run(ask())
            await anyio.sleep(0.05)
        assert given == [WRONG, WRONG]
        assert len(emulator.stats.dials) == 2


# Revoked later


@pytest.mark.parametrize("close", [True, False])
@bounded
async def test_a_key_revoked_while_connected(close: bool) -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            events = client.events()
            handles = [await client.submit(ask()) for _ in range(3)]
            await until(lambda: gate.running == 3)
            emulator.faults.revoke_key(KEY, close=close)
            if not close:
                emulator.faults.cut()
            for handle in handles:
                with pytest.raises(AuthenticationError) as caught:
                    await handle
                assert caught.value.task_uuid == handle.uuid
                assert caught.value.submitted is Submitted.MAYBE
                assert not caught.value.safe_to_resend
            await anyio.sleep(0.05)
            # It was good before, so it is tried again, with the session and, where the server
            # closes, without it: that may be what is refused. But not in a loop.
            assert client.stats().dials <= 4
        found = await rest(events)
        assert [event.final for event in only(found, KeyRefused)] == [False, True]
        assert len(only(found, Disconnected)) == 1


@bounded
async def test_a_rotated_key_is_fetched_and_the_tasks_live() -> None:
    async with Emulator([KEY, OTHER]) as emulator:
        current = KEY
        gate = Gate(emulator)

        async def fetch() -> SecretStr:
            await anyio.lowlevel.checkpoint()
            return SecretStr(current)

        async with client_of(emulator, api_key=fetch) as client:
            await client.ready()
            emulator.faults.revoke_key(KEY)
            emulator.faults.cut()
            await until(lambda: client.stats().connections == 1 and client.stats().dials >= 2)
            current = OTHER
            gate.open()
            task = ask()
            assert_answers(await client.run(task), task)
            assert client.stats().connections == 2


# Fetched


@pytest.mark.parametrize("kind", ["plain", "secret", "async", "async secret"])
@bounded
async def test_a_key_is_fetched_for_each_dial(kind: str) -> None:
    async with Emulator(KEY) as emulator:
        calls = 0

        def plain() -> str | SecretStr:
            nonlocal calls
            calls += 1
            return SecretStr(KEY) if "secret" in kind else KEY

        async def fetched() -> str | SecretStr:
            await anyio.lowlevel.checkpoint()
            return plain()

        key: Any = fetched if kind.startswith("async") else plain
        async with client_of(emulator, api_key=key) as client:
            for number in range(1, 4):
                await client.run(ask())
                assert calls == number == client.stats().dials
                emulator.faults.cut()
                await until(connected(client, number + 1))


@bounded
async def test_the_key_before_a_rotation_is_still_redacted() -> None:
    keys = iter((KEY, OTHER))
    async with Emulator([KEY, OTHER]) as emulator:
        async with client_of(emulator, api_key=lambda: next(keys)) as client:
            await client.ready()
            events = client.events()
            emulator.faults.cut()
            await until(connected(client, 2))
            emulator.faults.send_error("oddNotice", f"in the name of {KEY}")
            await client.run(ask())
        told = only(await rest(events), ServerNotice)
        assert [notice.message for notice in told] == ["in the name of [redacted]"]


@pytest.mark.parametrize("trouble", ["raises", "empty", "no string"])
@bounded
async def test_a_fetch_that_fails_is_tried_again(trouble: str) -> None:
    async with Emulator(KEY) as emulator:
        calls = 0

        async def fetch() -> Any:
            nonlocal calls
            calls += 1
            if calls > 2:
                return KEY
            if trouble == "raises":
                raise LookupError(f"the vault says {KEY}")
            return "" if trouble == "empty" else 17

        async with client_of(emulator, api_key=fetch) as client:
            events = client.events()
            await client.run(ask())
            assert calls == 3
        assert all(KEY not in repr(event) for event in await rest(events))


@virtual.only()
@bounded
async def test_a_fetch_that_hangs_is_bounded() -> None:
    async with virtual.serving(KEY) as emulator:
        calls = 0

        async def fetch() -> str:
            nonlocal calls
            calls += 1
            if calls == 1:
                await anyio.sleep_forever()
            return KEY

        async with client_of(emulator, api_key=fetch, open_timeout=0.1) as client:
            await client.run(ask())
            assert calls == 2


class Posting:
    """Posts that are answered at once."""

    def __init__(self) -> None:
        self.posts = 0

    async def __call__(
        self,
        payload: bytes,
        key: SecretStr,
        sending: Callable[[], None],
        take: Callable[[bytes], None],
    ) -> PostEnding:
        """Answer one."""
        sending()
        self.posts += 1
        await anyio.sleep(0.01)
        take(b'{"delta": {"text": "yes"}, "finishReason": "stop"}')
        return PostEnding(Ending.DONE)


@virtual.only()
@bounded
async def test_a_fetch_for_a_post_that_hangs_is_bounded() -> None:
    async with virtual.serving(KEY) as emulator:
        calls = 0

        async def fetch() -> str:
            nonlocal calls
            calls += 1
            if calls == 2:  # the first one is the socket's
                await anyio.sleep_forever()
            return KEY

        post = Posting()
        async with client_of(emulator, api_key=fetch, post=post, open_timeout=0.1) as client:
            await client.ready()
            async with client.stream(ask(), carrier="sse", timeout=None) as stream:
                assert (await stream.result()).text == "yes"
            assert (calls, post.posts) == (3, 1)


@virtual.only()
@bounded
async def test_no_key_is_fetched_for_streams_that_are_not_posted_any_more() -> None:
    async with virtual.serving(KEY) as emulator:
        calls = 0

        def fetch() -> str:
            nonlocal calls
            calls += 1
            return KEY

        post = Posting()
        async with client_of(emulator, api_key=fetch, post=post, max_posts=1) as client:
            await client.ready()
            async with AsyncExitStack() as streams:
                for _ in range(10):
                    await streams.enter_async_context(client.stream(ask(), carrier="sse"))
                await anyio.sleep(0.005)
                assert (calls, post.posts) == (2, 1)
                await client.aclose()
        assert (calls, post.posts) == (2, 1)


@bounded
async def test_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNWARE_API_KEY", f" {KEY}\n")
    async with Emulator(KEY) as emulator, client_of(emulator, api_key=None) as client:
        await client.run(ask())


@pytest.mark.parametrize("key", ["", "   ", "a\x00b", "a\nb", b"bytes", 17])
def test_no_key(key: Any) -> None:
    with pytest.raises(ConfigurationError):
        Client(NOWHERE, api_key=key)


# ready()


@bounded
async def test_ready() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        assert client.session_uuid is None
        assert not client.connected
        await client.ready()
        assert client.connected
        assert client.session_uuid is not None
        await client.ready(timeout=0.001)


@virtual.only()
@bounded
async def test_ready_that_takes_too_long_harms_nothing() -> None:
    async with virtual.serving(KEY) as emulator:
        emulator.faults.delay_auth(0.15)
        async with client_of(emulator) as client:
            with pytest.raises(ConnectionFailed, match=r"within 0\.05 s"):
                await client.ready(timeout=0.05)
            await client.ready()
            assert client.stats().dials == 1


@bounded
async def test_ready_without_a_server() -> None:
    async with Emulator(KEY) as emulator:
        url = emulator.url
    async with Client(url, api_key=KEY, proxy=None) as client:
        with pytest.raises(ConnectionFailed, match="dial failed") as caught:
            await client.ready(timeout=0.1)
        assert isinstance(caught.value, ConnectionError)
        assert isinstance(caught.value, RunwareError)


@pytest.mark.parametrize("status", [400, 404, 426])
@bounded
async def test_an_endpoint_that_cannot_work_is_terminal(status: int) -> None:
    async with Emulator(KEY) as emulator:
        emulator.faults.reject_upgrades(status, times=None)
        async with client_of(emulator) as client:
            with pytest.raises(ConnectionFailed, match=str(status)):
                await client.run(ask())
            await anyio.sleep(0.03)
        assert len(emulator.stats.dials) == 1


@pytest.mark.parametrize("status", [401, 403])
@bounded
async def test_an_upgrade_refused_as_a_wrong_key(status: int) -> None:
    async with Emulator(KEY) as emulator:
        emulator.faults.reject_upgrades(status, times=None)
        async with client_of(emulator) as client:
            with pytest.raises(AuthenticationError, match=str(status)):
                await client.run(ask())
        assert len(emulator.stats.dials) == 1
