"""What is collected while a request is read: media, cache marks, and all its problems."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from pydantic import BaseModel

from runware_ws.models.jsonable import is_object

__all__ = ["Reading", "UnsupportedWarning", "as_data", "as_object", "shown"]

CacheScope = Literal["system", "system+history"]

# A name in a message comes from the caller's data; keep the message readable.
_MAX_NAME = 60


class UnsupportedWarning(UserWarning):
    """Something was left out of a request, because the model on Runware does not support it."""


def shown(name: object) -> str:
    """A name from the caller's data, made safe for an error message."""
    text = name if isinstance(name, str) else type(name).__name__
    return repr(text if len(text) <= _MAX_NAME else text[:_MAX_NAME] + "…")


def as_data(value: object) -> dict[str, Any] | None:
    """Read a JSON object as it is: a mapping, or a pydantic model. ``None`` if it is neither."""
    if is_object(value):
        return value
    if isinstance(value, BaseModel):
        return value.model_dump()
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else None


def as_object(value: object) -> dict[str, Any] | None:
    """Read an object of the shape, as :func:`as_data` does; a field that is ``None`` is not set.

    ``model_dump()`` writes each field that a block does not have as ``None``.
    """
    # Only at the top level: a ``None`` deeper inside may be data, such as a tool's argument.
    given = as_data(value)
    if given is None or None not in given.values():
        return given
    return {key: each for key, each in given.items() if each is not None}


@dataclass
class Reading:
    """The state of one request while it is read. Places are in the caller's spelling."""

    drop: bool
    problems: list[str] = field(default_factory=list[str])
    dropped: list[str] = field(default_factory=list[str])
    images: list[str] = field(default_factory=list[str])
    documents: list[str] = field(default_factory=list[str])
    places: dict[str, str] = field(default_factory=dict[str, str])
    """Where the field of the wire (``inputs.images[0]``) came from in the request."""
    _cache: list[tuple[CacheScope, str]] = field(default_factory=list[tuple[CacheScope, str]])

    def wrong(self, place: str, rule: str) -> None:
        """Note something that is wrong under every policy."""
        self.problems.append(f"{place}: {rule}")

    def unsupported(
        self, place: str, why: str = "is not supported by this model on Runware"
    ) -> None:
        """Note something that is valid in the Messages shape but not supported on Runware."""
        if self.drop:
            self.dropped.append(place)
        else:
            self.problems.append(f"{place}: {why}")

    def only(self, given: Mapping[Any, Any], known: Collection[str], place: str = "") -> None:
        """Note each key that is not among ``known``; ``place`` is empty for the request itself."""
        for key in given:
            if key not in known:
                name = key if isinstance(key, str) and len(key) <= _MAX_NAME else shown(key)
                self.unsupported(f"{place}.{name}" if place else name)

    def media(self, kind: Literal["image", "document"], value: str, place: str) -> str:
        """Add an image or a document; return its label, which counts from 1."""
        taken = self.images if kind == "image" else self.documents
        self.places[f"inputs.{kind}s[{len(taken)}]"] = place
        taken.append(value)
        return f"[{kind} {len(taken)}]"

    def cache_control(self, value: object, place: str, scope: CacheScope) -> None:
        """Add a cache mark. All marks become one ``settings.cache``; see :meth:`cache`."""
        given = as_object(value)
        if given is None or given.get("type") != "ephemeral":
            self.wrong(place, "must be an object of type 'ephemeral'")
            return
        self.only(given, ("type", "ttl"), place)
        ttl = given.get("ttl", "5m")
        if ttl in ("5m", "1h"):
            self._cache.append((scope, cast("str", ttl)))
        else:
            self.wrong(f"{place}.ttl", "must be '5m' or '1h'")

    def cache(self) -> dict[str, str] | None:
        """The widest scope and the longest lifetime of all marks, for ``settings.cache``."""
        if not self._cache:
            return None
        scopes = [scope for scope, _ in self._cache]
        return {
            "scope": "system+history" if "system+history" in scopes else "system",
            "ttl": "1h" if any(ttl == "1h" for _, ttl in self._cache) else "5m",
        }

    def warn(self, stacklevel: int) -> None:
        """Give one warning that lists what was left out."""
        if self.dropped:
            warnings.warn(
                "left out, because this model on Runware does not support it: "
                + ", ".join(self.dropped),
                UnsupportedWarning,
                stacklevel=stacklevel + 1,
            )
