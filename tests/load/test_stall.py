"""The server stands still for ten seconds: the report tells it, as a closed loop does not."""

from __future__ import annotations

import pytest

from runware_ws import Client
from tests import virtual
from tests.client.support import KEY, ample
from tests.load.stall import Stall, load_over

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend
STALL = Stall(whole=16.0, at=3.0)


async def told(users: int, stall: Stall) -> dict[str, float]:
    async with virtual.serving(KEY) as emulator:
        client = Client(emulator.url, api_key=KEY, dial=emulator.dial)  # type: ignore[attr-defined]
        report = await load_over(emulator, client, stall, users)
    assert report["answered"] == report["attempted"]
    figures: dict[str, float] = report["latency_intended_ms"]
    return figures


@pytest.mark.slow
@ample
async def test_an_open_load_tells_the_truth() -> None:
    figures = await told(0, STALL)
    assert figures["count"] == 3_200
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
        assert figures[name] == pytest.approx(STALL.quantile(share) * 1e3, rel=0.02)
    # What is computed is no small thing either.
    assert figures["p99"] > 9_800
    assert figures["max"] > 9_900


@ample
async def test_a_closed_load_hides_it() -> None:
    figures = await told(8, STALL)
    # Eight users wait, once each, in a thousand tasks: the stall is gone from all but the maximum.
    assert figures["max"] > 9_900
    assert figures["p99"] < 100
    assert STALL.quantile(0.99) * 1e3 > 90 * figures["p99"]
