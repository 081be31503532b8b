"""What the journal has of all batches: they are made, found, listed, canceled and deleted there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio

from runware_ws._checks import shown
from runware_ws.gateway.batch_record import (
    ALL_BATCHES,
    Batch,
    batches_of,
    is_batch_id,
    new_batch_id,
)
from runware_ws.gateway.error_table import GatewayRefusal, another_request
from runware_ws.journal.notes import Note
from runware_ws.models.jsonable import encode_json, load_json

if TYPE_CHECKING:
    from runware_ws.gateway.gateway import Gateway
    from runware_ws.journal.keeper import JournalKeeper
    from runware_ws.journal.store import EntryHead

__all__ = ["MOST_HEADS", "BatchBook"]

MOST_HEADS = 1_000_000
"""Keys that are read at once: more than there are."""

_PAGE = 50
"""Results that are read at once."""


class BatchBook:
    """See the top of the module. All methods raise ``JournalError`` if the journal cannot be used,
    and ``GatewayRefusal`` if there is none."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._making = anyio.Lock()

    @property
    def journal(self) -> JournalKeeper:
        """The journal of the gateway's client."""
        journal = self._gateway.client.journal
        if journal is None:
            raise GatewayRefusal(
                *(400, "invalid_request_error"),
                "batches need a journal, because they outlive this process: start the gateway "
                "with --journal PATH, or its client with journal=PATH",
            )
        return journal

    async def make(self, caller: str, key: str, body: str, requests: Sequence[bytes]) -> Batch:
        """Record a batch; or find the one that the same request has made before.

        ``key``: of the request. ``body``: a digest of its body.

        Raises:
            GatewayRefusal: another request has the key, the caller has too many batches that have
                not ended, or the gateway drains.
        """
        notes = self.journal.notes
        async with self._making:  # So that two do not see the same room.
            if (before := await notes.read([key])) == {}:
                await self._check_room(caller)
                batch = Batch(new_batch_id(), caller, time.time(), len(requests))
                until = batch.held_until
                if await notes.put(
                    Note(key, encode_json({"id": batch.id, "body": body})),
                    Note(batch.record_key, batch.written(), until),
                    Note(batch.key("requests"), b"\n".join(requests), until),
                ):
                    return batch
                before = await notes.read([key])
        found: Any = load_json(before[key])
        if found["body"] != body:
            raise another_request()
        return await self.find(caller, found["id"])

    async def _check_room(self, caller: str) -> None:
        if self._gateway.draining:
            raise GatewayRefusal(
                *(503, "api_error", "this gateway is about to end: ask again"),
                should_retry=True,
                retry_after=0.2,
            )
        most = self._gateway.options.max_batches
        if len(await self.unended(batches_of(caller))) >= most:
            raise GatewayRefusal(
                *(429, "rate_limit_error"),
                f"{caller!r} may have {most} batches that have not ended: wait for one, or cancel "
                "one",
            )

    async def unended(self, prefix: str = ALL_BATCHES) -> Sequence[EntryHead]:
        """The records of batches that have not ended, by how their keys begin."""
        now = time.time()
        heads = await self.journal.lookup.heads(prefix, MOST_HEADS)
        return [head for head in heads if head.ended is not None and head.ended > now]

    async def find(self, caller: str, batch_id: str) -> Batch:
        """A batch of this caller.

        Raises:
            GatewayRefusal: there is none.
        """
        for batch in await self._read(caller, [batch_id] if is_batch_id(batch_id) else []):
            return batch
        raise _no_batch(batch_id, ", or its results are kept no more")

    async def _read(self, caller: str, ids: Sequence[str]) -> Sequence[Batch]:
        names = [Batch(each, caller, 0.0, 0) for each in ids]
        keys = [
            key for each in names for key in (each.record_key, each.key("cancel"), each.key("end"))
        ]
        notes = await self.journal.notes.read(keys)
        found = [Batch.read(each, caller, notes) for each in ids]
        return [each for each in found if each is not None]

    async def page(
        self, caller: str, limit: int, *, after: str | None, before: str | None
    ) -> tuple[Sequence[Batch], bool]:
        """Batches of a caller, the newest first, and whether there are more in that direction.

        Raises:
            GatewayRefusal: ``after`` or ``before`` is no batch.
        """
        prefix = batches_of(caller)
        heads = [head for head in await self.journal.lookup.heads(prefix, MOST_HEADS) if head.ended]
        heads.sort(key=lambda head: (head.created, head.key), reverse=True)
        ids = [head.key.removeprefix(prefix) for head in heads]
        for each in (after, before):
            if each is not None and each not in ids:
                raise _no_batch(each)
        if after is not None:
            ids = ids[ids.index(after) + 1 :]
        if before is not None:
            ids = ids[: ids.index(before)]
        chosen = ids[:limit] if before is None else ids[-limit:]
        return await self._read(caller, chosen), len(ids) > limit

    async def cancel(self, caller: str, batch_id: str) -> Batch:
        """Have no further line of it begun. Raises as :meth:`find`."""
        batch = await self.find(caller, batch_id)
        if batch.canceled is None and batch.ended is None:
            now = time.time()
            note = Note(batch.key("cancel"), repr(now).encode(), batch.held_until)
            if not await self.journal.notes.put(note):
                return await self.find(caller, batch_id)
            batch.canceled = now
        return batch

    async def delete(self, caller: str, batch_id: str) -> None:
        """Forget a batch that has ended.

        Raises:
            GatewayRefusal: there is none, it has not ended, or the journal's store cannot do it.
        """
        batch = await self.find(caller, batch_id)
        if batch.ended is None:
            raise GatewayRefusal(
                *(400, "invalid_request_error"),
                f"{batch_id} has not ended: cancel it, and delete it then",
            )
        if not await self.journal.notes.release(batch.release(0.0)):
            raise GatewayRefusal(
                *(400, "invalid_request_error"), "the journal of this gateway cannot delete batches"
            )

    async def results(self, batch: Batch, first: int) -> tuple[bytes, int]:
        """Results of a batch that has ended, from line ``first`` on, and the next line.

        Raises:
            GatewayRefusal: they are kept no more.
        """
        last = min(first + _PAGE, batch.total)
        keys = [batch.line_key(number) for number in range(first, last)]
        notes = await self.journal.notes.read(keys)
        if len(notes) < len(keys):
            raise GatewayRefusal(
                404, "not_found_error", f"the results of {batch.id} are kept no more"
            )
        return b"".join(notes[key].partition(b" ")[2] for key in keys), last


def _no_batch(batch_id: str, why: str = "") -> GatewayRefusal:
    known = is_batch_id(batch_id)
    words = f"there is no batch {batch_id}{why}" if known else f"{shown(batch_id)} is no batch"
    return GatewayRefusal(404, "not_found_error", words)
