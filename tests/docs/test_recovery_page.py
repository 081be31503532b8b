"""docs/recovery.md shows the tables as they are."""

from __future__ import annotations

from tests.docs.drawn import PAGE, PARTS, drawn


def test_diagrams_and_tables_are_drawn_from_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f": {name} -->" in text for name in PARTS)
    assert drawn(text) == text, "run: python -m tests.docs.drawn"
