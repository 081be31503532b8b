"""A text that a regular expression matches. Pure."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["matching_text"]

_LETTERS = "aA0_- .@:/xyzXYZ19,;!?#+*~é\n"
"""Tried in this order where any of several characters will do."""
_CATEGORIES = {
    "CATEGORY_DIGIT": "0",
    "CATEGORY_SPACE": " ",
    "CATEGORY_WORD": "a",
    "CATEGORY_NOT_DIGIT": "a",
    "CATEGORY_NOT_SPACE": "a",
    "CATEGORY_NOT_WORD": "-",
}
_ENDLESS = 1000


def matching_text(pattern: str, shortest: int = 0) -> str | None:
    """A text of ``shortest`` characters or more in which ``pattern`` is found.

    Repeats are taken as rarely as they may be, and oftener only where the text would be too
    short. ``None``: none was made, as for most patterns that look around. The caller must check
    the text: what repeats oftener may be too long.
    """
    # There is no public way to the parts of an expression; where this one is gone, no pattern is
    # matched, and whoever asked is told so.
    try:
        tree: Any = importlib.import_module("re._parser").parse(pattern)
    except (ImportError, re.error, TypeError):
        return None
    for extra in (0, shortest, _ENDLESS):
        text = _Writer(extra).write(tree)
        if text is not None and len(text) >= shortest and re.search(pattern, text):
            return text
    return None


class _Writer:
    """Writes one text for the parts of an expression, repeating ``extra`` times more at most."""

    def __init__(self, extra: int) -> None:
        self._extra = extra
        self._groups: dict[int, str] = {}

    def write(self, parts: Iterable[tuple[Any, Any]]) -> str | None:
        """The text, or ``None`` where a part is not known here."""
        found: list[str] = []
        for kind, value in parts:
            text = self._part(str(kind), value)
            if text is None:
                return None
            found.append(text)
        return "".join(found)

    def _part(self, kind: str, value: Any) -> str | None:
        if kind == "LITERAL":
            return chr(value)
        if kind == "ANY":
            return "a"
        if kind == "NOT_LITERAL":
            return "a" if value != ord("a") else "b"
        if kind == "IN":
            return _one_of(value)
        if kind == "AT":
            return ""
        if kind == "BRANCH":
            return next((text for each in value[1] if (text := self.write(each)) is not None), None)
        if kind == "SUBPATTERN":
            text = self.write(value[3])
            if value[0] is not None and text is not None:
                self._groups[value[0]] = text
            return text
        if kind == "GROUPREF":
            return self._groups.get(value)
        if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, inner = value
            text = self.write(inner)
            return None if text is None else text * min(least + self._extra, int(most), _ENDLESS)
        return self.write(value) if kind == "ATOMIC_GROUP" else None


def _one_of(choices: list[tuple[Any, Any]]) -> str | None:
    """One character of a set."""
    if str(choices[0][0]) == "NEGATE":
        rest = choices[1:]
        return next((each for each in _LETTERS if not _is_in(each, rest)), None)
    kind, value = str(choices[0][0]), choices[0][1]
    if kind == "LITERAL":
        return chr(value)
    if kind == "RANGE":
        return chr(value[0])
    return _CATEGORIES.get(str(value)) if kind == "CATEGORY" else None


def _is_in(letter: str, choices: list[tuple[Any, Any]]) -> bool:
    for kind, value in choices:
        name = str(kind)
        if name == "LITERAL" and ord(letter) == value:
            return True
        if name == "RANGE" and value[0] <= ord(letter) <= value[1]:
            return True
        if name == "CATEGORY":
            letters = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
            *_, what = str(value).split("_")
            inside = re.match(letters.get(what, r"\w"), letter) is not None
            if inside is not ("_NOT_" in str(value)):
                return True
    return False
