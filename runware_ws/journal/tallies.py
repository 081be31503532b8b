"""Tallies: what the results under some keys cost together, however long ago.

A tally is written in the transaction that records a result, so none is counted twice and none is
left out, whatever process records it. It is a failed entry that is held, and each sum is its next
attempt: so of two processes that add to one at a time, the second adds to what the first has left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any
from uuid import uuid4

from runware_ws.journal.holding import as_journal_error
from runware_ws.journal.link import WriterLink
from runware_ws.journal.store import Entry, EntryState, NewEntry, Transaction
from runware_ws.models import ResultItem
from runware_ws.models.content import content_digest

__all__ = ["Share", "Tallies", "add_shares"]

Share = tuple[str, float]
"""What one result adds to which tally: a key, and US dollars."""

DEAREST = 1e12
"""What costs so much has no price: of such numbers no sum can be told."""

_HELD = 100 * 365 * 86_400.0
_NOTHING = content_digest(b"{}")


class Tallies:
    """See the top of the module."""

    def __init__(self, link: WriterLink) -> None:
        self._link = link
        self._names: dict[str, str] = {}

    def count(self, tallies: Mapping[str, str]) -> None:
        """Keep these from now on, each under its key. They are named by how the keys begin whose
        results are counted, up to the second slash."""
        self._names.update(tallies)

    def share_of(self, key: str, items: Iterable[Mapping[str, Any]]) -> Share | None:
        """What results under this key add to a tally."""
        if not self._names:
            return None
        *begin, _ = key.split("/", 2)
        name = self._names.get("/".join([*begin, ""]))
        if name is None:
            return None
        try:
            cost = math.fsum(ResultItem(dict(item)).cost or 0.0 for item in items)
        except (OverflowError, ValueError):  # infinite, or the sum of such
            return None
        return (name, cost) if 0.0 < cost < DEAREST else None

    async def read(self, key: str) -> float:
        """The tally under this key; 0 if there is none. Cancel-safe.

        Raises:
            JournalError: the journal cannot be read.
        """
        answer, error = await self._link.do(partial(_read, key))
        if error is not None or answer is None:
            raise as_journal_error(error)
        return answer


def _read(key: str, transaction: Transaction) -> float:
    return _sum_in(transaction.find(key))


def _sum_in(entry: Entry | None) -> float:
    return 0.0 if entry is None or not _is_tally(entry) else float(entry.outcome or 0.0)


def _is_tally(entry: Entry) -> bool:
    """Whether it is none of somebody's who used our key for work of his own."""
    return entry.state is EntryState.FAILED and entry.digest == _NOTHING


def add_shares(shares: Iterable[Share], transaction: Transaction) -> None:
    """Add to the tallies: once in a transaction, when nothing else is left to do in it, and in the
    order of their keys. Two processes that lock them in different orders would wait for each other.
    A key that somebody's own work has is left to it, and the tally is not kept."""
    shares = list(shares)
    for key in sorted({key for key, _ in shares}):
        _add(key, math.fsum(cost for name, cost in shares if name == key), transaction)


def _add(key: str, cost: float, transaction: Transaction) -> None:
    while True:
        now = time.time()
        new = NewEntry(str(uuid4()), key, _NOTHING, b"{}", now)
        before = transaction.begin(new)
        if before is not None and not _is_tally(before):
            return
        if before is None or transaction.again(before.uuid, new):
            total = _sum_in(before) + cost
            transaction.end(new.uuid, EntryState.FAILED, repr(total).encode(), now + _HELD)
            return
