"""A ``post=`` of the caller's own that breaks: that is the end of a POST, and of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic import SecretStr

from runware_ws import (
    Client,
    ConfigurationError,
    InvalidTask,
    TaskCancelled,
    TaskHandle,
    TaskTimeout,
)
from runware_ws.emulator import expected_text
from tests import virtual

from .support import KEY, EndlessPost, ask, assert_answers, bounded, client_of

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


class Breaking:
    """Sends its request, so to say, and breaks."""

    def __init__(self, end: Any) -> None:
        self.end = end

    async def __call__(
        self,
        payload: bytes,
        key: SecretStr,
        sending: Callable[[], None],
        take: Callable[[bytes], None],
    ) -> Any:
        """Break."""
        sending()
        if isinstance(self.end, BaseException):
            raise self.end
        return self.end


@pytest.mark.parametrize(
    "end", [None, ValueError(KEY), asyncio.CancelledError()], ids=lambda end: type(end).__name__
)
@bounded
async def test_a_post_that_breaks_harms_nobody_else(end: Any) -> None:
    async with (
        virtual.serving(KEY) as emulator,
        client_of(emulator, post=Breaking(end)) as client,
    ):
        await client.ready()
        task, other = ask("one"), ask("two")
        async with client.stream(task, carrier="sse") as stream:
            assert (await stream.result()).text == expected_text("one", task.task_uuid)
        assert_answers(await client.run(other), other)


@bounded
async def test_the_words_of_a_post_that_breaks_before_it_is_sent_are_not_told() -> None:
    async def post(*_: Any) -> Any:
        raise ValueError("token=Zx81")

    async with virtual.serving(KEY) as emulator, client_of(emulator, post=post) as client:
        async with client.stream(ask(), carrier="sse", timeout=3) as stream:
            with pytest.raises(TaskTimeout) as caught:
                await stream.result()
        assert "ValueError" in str(caught.value)
        assert "Zx81" not in str(caught.value)


@pytest.mark.parametrize("turns", range(8))
@bounded
async def test_what_is_given_up_as_its_key_comes_is_not_posted(turns: int) -> None:
    late: list[bool] = []
    handles: list[TaskHandle] = []

    async def give_up() -> None:
        for _ in range(turns):
            await checkpoint()
        handles[0].cancel()

    async def key() -> str:
        if handles:
            group.start_soon(give_up)
        return KEY

    async def post(*_: Any) -> Any:
        late.append(handles[0].done)
        await anyio.sleep_forever()

    async with (
        virtual.serving(KEY) as emulator,
        client_of(emulator, api_key=key, post=post) as client,
        anyio.create_task_group() as group,
    ):
        await client.ready()
        async with client.stream(ask(), carrier="sse") as stream:
            assert stream.handle is not None
            handles.append(stream.handle)
            with pytest.raises(TaskCancelled):
                await stream.result()
    assert not any(late)


@bounded
async def test_a_post_may_begin_in_a_plain_callback_of_the_loop() -> None:
    post = EndlessPost()
    async with (
        virtual.serving(KEY) as emulator,
        client_of(emulator, post=post, max_posts=1) as client,
        client.stream(ask("first"), carrier="sse") as first,
        client.stream(ask("second"), carrier="sse"),
    ):
        await anyio.sleep(1)
        assert first.handle is not None
        virtual.call_soon(first.handle.cancel)
        await anyio.sleep(1)
        assert [b"first" in post.begun[0], b"second" in post.begun[-1]] == [True, True]
        assert post.ended == post.begun[:1]


def test_what_cannot_be_called_is_no_post() -> None:
    wrong: Any = 5
    with pytest.raises(ConfigurationError, match="post must be"):
        Client(api_key=KEY, post=wrong)


@bounded
async def test_what_can_be_no_stream_is_refused_before_the_wire() -> None:
    two = {"taskType": "textInference", "model": "a:b@c", "numberResults": 2}
    tasks: list[Any] = [two, ask(number_results=2), None, 5, "text"]
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:
        for task in tasks:
            with pytest.raises(InvalidTask):
                client.stream(task)
        assert client.stats().submitted == 0
