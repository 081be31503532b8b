"""Looking for keys by how they begin: for whoever makes keys that a later process must find."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from runware_ws.journal.holding import as_journal_error
from runware_ws.journal.link import WriterLink
from runware_ws.journal.store import EntryHead, HeadTransaction, Transaction

__all__ = ["KeyLookup"]

_PAGE = 500


class KeyLookup:
    """See the top of the module."""

    def __init__(self, link: WriterLink) -> None:
        self._link = link

    async def heads(self, prefix: str, limit: int = 1_000) -> Sequence[EntryHead]:
        """The entries whose keys begin with ``prefix``, those that were begun last first.

        Cancel-safe.

        Raises:
            JournalError: the journal cannot be read.
        """
        heads, error = await self._link.do(partial(_heads, prefix, limit))
        if error is not None or heads is None:
            raise as_journal_error(error)
        return heads


def _heads(prefix: str, limit: int, transaction: Transaction) -> Sequence[EntryHead]:
    if isinstance(transaction, HeadTransaction):
        return transaction.heads(prefix, limit)
    # A store that cannot look for keys is read from end to end.
    found: list[EntryHead] = []
    after = ""
    while entries := transaction.entries(after=after, limit=_PAGE):
        after = entries[-1].uuid
        found += [
            EntryHead(each.uuid, each.key, each.state, each.created, each.ended)
            for each in entries
            if each.key is not None and each.key.startswith(prefix)
        ]
    found.sort(key=lambda head: head.created, reverse=True)
    return found[:limit]
