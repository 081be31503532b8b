"""A host that slept: meanwhile others may have taken this client's tasks over."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, cast

import anyio
import pytest

from runware_ws import Fenced
from runware_ws.emulator import Emulator
from runware_ws.journal import keeper
from runware_ws.journal.clock import elapsed
from runware_ws.journal.writer import JournalWriter
from runware_ws.testing.stores import MemoryJournal
from tests.client.support import Gate, ask, bounded, until
from tests.journal.support import keyed_client

pytestmark = pytest.mark.anyio


class Suspended:
    """The clock of a host that can be put to sleep: what ``time.monotonic()`` does not see."""

    def __init__(self) -> None:
        self.asleep = 0.0

    def __call__(self) -> float:
        return elapsed() + self.asleep


@bounded
async def test_who_was_suspended_looks_again_before_it_writes() -> None:
    clock = Suspended()
    journal = MemoryJournal()
    async with Emulator() as emulator:
        gate = Gate(emulator)
        old = keyed_client(emulator, journal.store())
        keeper_of_it = cast("Any", old)._journal
        keeper_of_it._link._make = partial(JournalWriter, clock=clock)
        async with old:
            handle = await old.submit(ask("running"), key="k")
            await until(lambda: gate.running)
            commits = journal.commits
            clock.asleep += 4
            await keeper_of_it.verify()
            assert journal.commits == commits, "it looked lately"
            # Asleep for longer than a session lives, and replaced meanwhile.
            other = journal.store()
            other.open(emulator.url, 0.0)
            (owner,) = set(journal.owners) - {other.owner}
            assert other.fence(owner)
            clock.asleep += 300
            assert emulator.faults.cut() == 1
            with anyio.fail_after(keeper.ADOPT_EVERY - 1), pytest.raises(Fenced):
                await handle
            other.close()
        assert (emulator.stats.authentications, emulator.stats.resumes) == (1, 0)


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="Linux's")
def test_the_clock_goes_on_while_the_host_sleeps() -> None:
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert now <= elapsed() <= time.clock_gettime(time.CLOCK_BOOTTIME)
