"""What a caller says about a task, for people: it goes to logs, spans and events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from runware_ws._checks import refusal
from runware_ws.errors import ConfigurationError

__all__ = ["checked_metadata"]

MOST = 16
"""Entries."""
LONGEST_NAME = 64
LONGEST_VALUE = 256
"""In characters."""


def checked_metadata(metadata: object) -> dict[str, str] | None:
    """A copy of the metadata of one task; ``None`` where there is none.

    Raises:
        ConfigurationError: it is no mapping from texts to texts, or too large.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise refusal("metadata", "be a mapping from texts to texts, or None", metadata)
    given = dict(cast("Mapping[Any, Any]", metadata))
    if len(given) > MOST:
        raise ConfigurationError(f"metadata: {len(given)} entries are too many; at most {MOST}")
    for name, value in given.items():
        _check("a name in it", name, 1, LONGEST_NAME)
        _check("a value in it", value, 0, LONGEST_VALUE)
    return given or None


def _check(what: str, text: object, least: int, most: int) -> None:
    if not isinstance(text, str) or not least <= len(text) <= most:
        raise refusal(f"metadata: {what}", f"be a text of {least} to {most} characters", text)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"metadata: {what} contains a lone surrogate, which is no character"
        ) from None
