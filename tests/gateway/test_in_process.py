"""The transport without a port: what a server and a network would do, it does."""

from __future__ import annotations

import anthropic
import anyio
import httpx2
import pytest

from tests import virtual
from tests.client.support import ample
from tests.gateway.support import MODEL, executions, place, request

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


@ample
async def test_the_timeout_of_the_published_client_holds() -> None:
    async with place(emulator={"latency": "30s"}) as here:
        asks = here.anthropic(timeout=5, max_retries=1)
        began = anyio.current_time()
        with pytest.raises(anthropic.APITimeoutError):
            await asks.messages.create(
                model=MODEL, max_tokens=64, messages=[{"role": "user", "content": "Why?"}]
            )
        assert 10 <= anyio.current_time() - began < 15
        await anyio.sleep(30)
        assert executions(here) == 1  # The retry has joined the first try.


@ample
async def test_it_holds_between_the_parts_of_a_stream() -> None:
    async with place(emulator={"latency": "30s"}, start_within=1, ping_every=10) as here:
        for limit, whole in ((5, False), (15, True)):
            text = ""
            began = anyio.current_time()
            try:
                async with here.http.stream(
                    "POST", "/v1/messages", json=request(stream=True), timeout=limit
                ) as answer:
                    assert answer.status_code == 200
                    async for part in answer.aiter_text():
                        text += part
            except httpx2.ReadTimeout:
                assert anyio.current_time() - began == pytest.approx(1 + limit)
            assert ("message_stop" in text) is whole
