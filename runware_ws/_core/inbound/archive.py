"""What the archive tells, in answer to a question about one task, and of which task it tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from runware_ws._core.inbound.meaning import Meaning, meaning
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.items import INCIDENTAL

__all__ = ["Listing", "archived", "owner_of"]

_Entries = dict[str, list[dict[str, Any]]]
"""Results or errors, by the task that they belong to."""


@dataclass(slots=True)
class Listing:
    """The results and the errors of an answer; and of which tasks it tells that they still run.

    ``None`` among those: one that it does not name.
    """

    results: _Entries
    errors: _Entries
    running: set[str | None]


def owner_of(entry: dict[str, Any]) -> str | None:
    """The taskUUID that an entry carries, in lower case; ``None`` if it carries none."""
    uuid = entry.get("taskUUID")
    return uuid.lower() if isinstance(uuid, str) and uuid else None


def _was_alone(item: dict[str, Any]) -> bool:
    """Whether an answer to ``getTaskDetails`` is about a request that held one task only.

    The archive keeps request and response "exactly as sent and received" (documented). So for
    a task that was sent in an array it may list the whole array (unsure).
    """
    request = item.get("request")
    if isinstance(request, list):
        return len(cast("list[Any]", request)) <= 1
    # As text it may be an array too.
    return request is None or isinstance(request, dict)


def archived(item: dict[str, Any], uuid: str) -> Listing:
    """What an answer to ``getTaskDetails`` about the task ``uuid`` lists.

    The answer's ``response`` is an object (documented). Its contents are not
    documented, so a frame, a list of items or of frames, and a single item are all accepted.
    """
    entries, errors = _opened(item.get("response"))
    judged = [(entry, meaning(entry)) for entry in entries]
    # "Exactly as sent" (documented) may be piece by piece.
    streams = {owner_of(entry): Deltas() for entry, means in judged if means is Meaning.DELTA}
    results: list[dict[str, Any]] = []
    running: set[str | None] = set()
    for entry, means in _wholes_last(judged) if streams else judged:
        deltas = streams.get(owner_of(entry))
        if means is Meaning.ERROR:
            errors += _errors_in(entry) or [entry]
        elif means is Meaning.PROGRESS:
            running.add(owner_of(entry))
        elif deltas is not None and means is not Meaning.ARCHIVE:
            if means is not Meaning.RESULT or deltas.is_piece(entry, INCIDENTAL):
                deltas.add(entry, 0.0)
            else:
                # The last piece may have no delta, as it may on the wire.
                deltas.complete(entry, 0.0)
        elif means is Meaning.RESULT:
            results.append(entry)
    for owner, deltas in streams.items():
        if deltas.finished:
            results.append(deltas.whole())
        else:
            running.add(owner)
    default = uuid if _was_alone(item) else None
    return Listing(
        _by_owner(results, default),
        _by_owner(errors, default),
        {owner or default for owner in running},
    )


def _by_owner(entries: list[dict[str, Any]], default: str | None) -> _Entries:
    """Entries by the task that they name; one that names none is ``default``'s, or nobody's."""
    found: _Entries = {}
    for entry in entries:
        uuid = owner_of(entry) or default
        if uuid is not None:
            found.setdefault(uuid, []).append(entry)
    return found


def _wholes_last(
    judged: list[tuple[dict[str, Any], Meaning]],
) -> list[tuple[dict[str, Any], Meaning]]:
    """A result in front of a stream's pieces is not the last of them: it stands behind them now."""
    begun: set[str | None] = set()
    pieces: list[tuple[dict[str, Any], Meaning]] = []
    wholes: list[tuple[dict[str, Any], Meaning]] = []
    for entry, means in judged:
        owner = owner_of(entry)
        if means is Meaning.DELTA:
            begun.add(owner)
        early = means is Meaning.RESULT and owner not in begun
        (wholes if early else pieces).append((entry, means))
    return pieces + wholes


def _opened(response: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The items of a response, and the errors that stand beside them."""
    entries: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    listed = isinstance(response, list)
    for body in _objects(response):
        if listed and ("data" not in body or owner_of(body) is not None):
            entries.append(body)  # an item, and no frame
            continue
        data = body.get("data")
        found = _errors_in(body)
        errors += found
        entries += _objects(data)
        if not found and "data" not in body:
            entries.append(body)
    return entries, errors


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; a single one stands for itself."""
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, dict)]


def _errors_in(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The errors that a frame or an item holds; one without an address has that of ``body``."""
    found = body.get("errors") or body.get("error")
    told = cast("list[Any]", found) if isinstance(found, list) else [found]
    # In the old style the facts are next to ``"error": true``.
    errors = [{**body, "error": None} if error is True else error for error in told]
    address = {name: body[name] for name in ("taskType", "taskUUID") if body.get(name)}
    return [
        {**error, **{name: at for name, at in address.items() if not error.get(name)}}
        for error in _objects(errors)
    ]
