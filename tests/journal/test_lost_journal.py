"""The journal is lost, and the server still knows what was sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from runware_ws import Client, OutcomeUnknown, RecoveredBy, TaskError
from runware_ws.emulator import Emulator, EmulatorOptions
from tests.client.support import ask, bounded
from tests.journal.support import keyed_client

pytestmark = pytest.mark.anyio

OWN = "0f9b1c2d-3e4f-4a5b-8c6d-7e8f90a1b2c3"


@pytest.mark.parametrize("how", ["sync", "async", "socket", "sse"])
@bounded
async def test_the_callers_own_uuid_after_the_journal_was_lost(tmp_path: Path, how: str) -> None:
    fields = {} if how in ("socket", "sse") else {"delivery_method": how}
    task = ask("paid once", task_uuid=OWN, **fields)

    async def told(client: Client) -> str | None:
        if not fields:
            async with client.stream(task, key="k", carrier=cast("Any", how)) as stream:
                return (await stream.result()).text
        return (await client.run(task, key="k")).text

    async with Emulator() as emulator:
        async with keyed_client(emulator, tmp_path / "lost.db") as client:
            first = await told(client)
        async with keyed_client(emulator, tmp_path / "new.db") as client:
            assert await told(client) == first
            again = await client.run(task, key="k")
            assert (again.text, again.recovered_by) == (first, RecoveredBy.JOURNAL)
        assert emulator.stats.executed == 1


@bounded
async def test_the_callers_own_uuid_when_the_server_does_not_tell_the_result_any_more(
    tmp_path: Path,
) -> None:
    task = ask("paid once", task_uuid=OWN)
    async with Emulator(options=EmulatorOptions(archive_limit=0)) as emulator:
        async with keyed_client(emulator, tmp_path / "lost.db") as client:
            await client.run(ask("paid once", task_uuid=OWN, delivery_method="sync"), key="k")
        async with keyed_client(emulator, tmp_path / "new.db") as client:
            for _ in range(2):
                with pytest.raises(OutcomeUnknown, match=r"knew the taskUUID|second try") as error:
                    await client.run(task, key="k", timeout=1.0)
                assert (error.value.task_uuid, error.value.safe_to_resend) == (OWN, False)
        async with keyed_client(emulator, tmp_path / "third.db") as client:
            with pytest.raises(TaskError) as verdict:
                await client.run(task)
            assert verdict.value.code == "conflictTaskUUID", "without a key it is a mistake"
        assert emulator.stats.executed == 1
