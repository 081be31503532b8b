"""The parts of docs/recovery.md that are drawn from the tables.

``python -m tests.docs.drawn`` writes them anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from runware_ws._core.states import CONNECTION_TRANSITIONS, TASK_TRANSITIONS, TaskState
from runware_ws.classify import CLOSE_CODES, HTTP_STATUSES, Verdict

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recovery.md"

S = TypeVar("S", bound=Enum)

_PART = re.compile(r"<!-- (?:diagram|table): (\w+) -->\n(?:.*?<!-- end -->\n)?", re.DOTALL)


def _diagram(start: S, table: Mapping[S, frozenset[S]]) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start.name}"]
    for old, news in table.items():
        lines += [f"    {old.name} --> {new.name}" for new in type(old) if new in news]
        if not news:
            lines.append(f"    {old.name} --> [*]")
    return "\n".join([*lines, "```"])


def _table(rows: tuple[tuple[int, Verdict, str], ...], last: int, word: str) -> str:
    lines = [f"| {word} | verdict | why |", "|---|---|---|"]
    ends = [row[0] - 1 for row in rows[1:]] + [last]
    for (first, verdict, why), end in zip(rows, ends, strict=True):
        span = str(first) if first == end else f"{first}-{end}"
        lines.append(f"| {span} | `{verdict.value}` | {why} |")
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    "TASK_TRANSITIONS": lambda: _diagram(TaskState.WAITING, TASK_TRANSITIONS),
    "CONNECTION_TRANSITIONS": lambda: _diagram(
        next(iter(CONNECTION_TRANSITIONS)), CONNECTION_TRANSITIONS
    ),
    "CLOSE_CODES": lambda: _table(CLOSE_CODES, 65_535, "close code"),
    "HTTP_STATUSES": lambda: _table(HTTP_STATUSES, 999, "HTTP status"),
}


def drawn(text: str) -> str:
    """``text`` with every drawn part as the tables have it now."""

    def fill(match: re.Match[str]) -> str:
        head = match[0].partition("\n")[0]
        return f"{head}\n\n{PARTS[match[1]]()}\n\n<!-- end -->\n"

    return _PART.sub(fill, text)


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
