"""Of which server a key is, and what of its address is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from runware_ws import Client, RecoveredBy
from runware_ws.emulator import Emulator
from tests.client.support import KEY, QUICK, ask, bounded

pytestmark = pytest.mark.anyio


@bounded
async def test_a_query_tells_servers_apart_and_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"

    async def told(emulator: Emulator, query: str) -> RecoveredBy:
        url = f"{emulator.url}?{query}"
        async with Client(url, api_key=KEY, journal=path, poll_first=0.02, **QUICK) as client:
            return (await client.run(ask(), key="k")).recovered_by

    async with Emulator() as emulator:
        assert await told(emulator, "token=hidden-one") is not RecoveredBy.JOURNAL
        assert await told(emulator, "token=hidden-two") is not RecoveredBy.JOURNAL
        assert await told(emulator, "token=hidden-one") is RecoveredBy.JOURNAL
        assert emulator.stats.executions.total() == 2
    assert b"hidden" not in path.read_bytes()
