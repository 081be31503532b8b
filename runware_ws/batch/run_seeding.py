"""Tasks that only the output still knows: their journal has gone, or is on another machine.

A line that timed out has its taskUUID in the output. It is entered in the journal as if a process
had died with it, so the client asks the server for it before anything is sent anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from runware_ws.batch.money import LineCost
from runware_ws.batch.run_opening import JournalSite, OpenedBatch
from runware_ws.batch.run_tries import LineTry
from runware_ws.batch.writing import PriorError
from runware_ws.errors import InvalidTask
from runware_ws.journal.store import NewEntry
from runware_ws.models import validate_task
from runware_ws.models.content import content_digest

__all__ = ["seed_journal"]


def seed_journal(batch: OpenedBatch) -> None:
    """Enter what the output is unsure of, where the journal does not have its key. Blocks.

    Raises:
        JournalError: the journal cannot be used.
    """
    site = batch.journal
    unsure = {key: each for key, each in batch.prior.errors.items() if each.unsure}
    if site is None or not unsure:
        return
    # Read before the transaction: others share the journal, and wait while it is open.
    left = list(_left(batch, site, unsure))
    with site.transaction() as transaction:
        for entry in left:
            transaction.begin(entry)


def _left(
    batch: OpenedBatch, site: JournalSite, unsure: dict[int, PriorError]
) -> Iterator[NewEntry]:
    now = time.time()
    for line in batch.source.lines(batch.facts):
        prior = unsure.get(line.key)
        work = LineTry(line, LineCost(0, 0), prior)
        if prior is None or prior.unsure is None or not work.keyed:
            continue
        uuid = prior.unsure
        task = {"deliveryMethod": "async", **(line.task or {}), "taskUUID": uuid}
        try:
            payload = validate_task(task).payload
        except InvalidTask:
            continue
        yield NewEntry(uuid, work.key(site.scope), content_digest(payload), payload, now)
