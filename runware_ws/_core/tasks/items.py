"""What an item holds: which of its fields are output, and what tells it from others of its task."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from runware_ws._core.tasks.ladder import Identity
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.models.results import result_index

__all__ = ["ACKNOWLEDGING", "ENVELOPE", "INCIDENTAL", "are_copies", "fresh_items", "has_output"]

# Fields of the envelope. An item of nothing but these is a receipt: documented for ``async``, and
# harmless in any other case, because it holds no answer.
ENVELOPE = frozenset(
    {"taskType", "taskUUID", "status", "progress", "deliveryMethod", "createdAt", "updatedAt"}
)

# Besides the envelope, fields that one copy of a result may have and another lack.
INCIDENTAL = ENVELOPE | {"resultIndex", "cost", "usage"}

# What an acknowledgement may say besides (unsure); none of it is output. Nor does it tell one
# result from another: a message about a result may be sent anew with each copy.
_ABOUT_IT = INCIDENTAL | {
    *(
        "message",
        "queuePosition",
        "position",
        "queue",
        "queued",
        "estimatedTime",
        "eta",
        "priority",
    ),
    *("model", "numberResults", "webhookURL", "timestamp", "requestId", "accepted"),
}
ACKNOWLEDGING = _ABOUT_IT | {"seed"}

# Fields of results. Media come as ``imageURL``, ``videoURL``, ``audioBase64Data``,
# ``imageDataURI``, ``imageUUID`` and the like. A ``finishReason`` alone is an answer without text.
_OUTPUT = frozenset(
    {"text", "reasoningContent", "toolCalls", "finishReason", "output", "outputs", "result"}
    | {"results", "images", "videos", "audios", "files", "content", "choices", "structuredData"}
)
_MEDIA = ("URL", "Base64Data", "DataURI", "UUID")
_NO_MEDIA = frozenset({"taskUUID", "webhookURL", "connectionSessionUUID"})


def has_output(item: dict[str, Any]) -> bool:
    """Whether an item holds output. A field that is null holds none."""
    return _is_output([key for key, value in item.items() if value is not None])


def _is_output(names: Collection[str]) -> bool:
    """Whether one of these fields is output."""
    return not _OUTPUT.isdisjoint(names) or any(
        name.endswith(_MEDIA) and name not in _NO_MEDIA for name in names
    )


def _identity(item: dict[str, Any]) -> Identity:
    """What tells this item from the others of its task: index, ids of its output, output."""
    ids = sorted(
        (key, value)
        for key, value in item.items()
        if key.endswith("UUID") and key != "taskUUID" and isinstance(value, str)
    )
    return result_index(item), tuple(ids), {k: v for k, v in item.items() if k not in _ABOUT_IT}


def _same(one: Identity, other: Identity) -> bool:
    """Whether two items are copies of one result, as far as anybody can tell.

    One copy may have more fields than the other (the archive knows more than what was pushed), so
    only what both have is compared: all of it must be equal, and some of it be output.
    """
    if one[0] is not None and other[0] is not None:
        return _named_alike(one, other)
    if one[1] and other[1]:
        return one[1] == other[1]
    common = one[2].keys() & other[2].keys()
    if not all(one[2][key] == other[2][key] for key in common):
        return False
    return one[2] == other[2] or _is_output(common)


def _is_named(identity: Identity) -> bool:
    """Whether the server tells this result from the others, by its index or by ids."""
    return identity[0] is not None or bool(identity[1])


def _named_alike(one: Identity, other: Identity) -> bool:
    """Whether the server calls two items the same result.

    An index may count within one frame only, so with two different texts they are two all the
    same. (Links and ids are no proof of that: each copy may have its own.)
    """
    if one[0] is not None and other[0] is not None:
        mine, theirs = one[2].get("text"), other[2].get("text")
        return one[0] == other[0] and (mine == theirs or not (mine and theirs))
    return bool(one[1]) and one[1] == other[1]


def fresh_items(
    record: TaskRecord, items: list[dict[str, Any]], *, listing: bool
) -> list[dict[str, Any]]:
    """Return those of ``items`` that are new to ``record``, and remember them.

    Two results without an index may be equal, and a copy of one looks just the
    same. Equal items that were pushed count as copies: no item is ever delivered
    twice. A ``listing`` (the archive, a poll) names all results at once, so two
    equal entries in it are two results, unless they have one index or one id.
    """
    known = record.identities()
    unmatched = list(known)
    fresh: list[dict[str, Any]] = []
    for item in items:
        identity = _identity(item)
        match = next((old for old in unmatched if _same(old, identity)), None)
        entry = identity if match is None else match
        if match is None:
            fresh.append(item)
            known.append(identity)
        elif _named_alike(match, identity):
            continue  # However often it is named, it is one.
        else:
            unmatched.remove(match)
            if _is_named(identity) and not _is_named(match):
                # What the server calls it is known from now on.
                known[known.index(match)] = entry = identity
        if not listing or _is_named(identity):
            unmatched.append(entry)
    return fresh


def are_copies(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two items are copies of one result, as far as anybody can tell."""
    return _same(_identity(one), _identity(other))
