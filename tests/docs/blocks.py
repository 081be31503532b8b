"""The blocks of code in README.md, CONTRIBUTING.md and docs/, and what makes programs of them.

A ```` ```python ```` block is a whole program, in which ``Client()`` without an address connects to
an emulator, unless a note on the line before says what it is. For
``<!-- python: inside a client -->`` it is the body of ``async with Client() as client:``, and knows
every name of ``runware_ws``, and ``task`` and ``tasks`` to play with. ``test_blocks.py`` has the
others.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PATTERN = re.compile(
    r"^(?:<!-- python: (?P<note>.*?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)

PROGRAMS = {
    "": "{body}",
    "a process of its own": "{body}",
    "a file for Locust": "{body}",
    "inside a client": """\
import asyncio
from runware_ws import *

async def main():
    task = TextInference.prompt("Why?")
    tasks = [TextInference.prompt(f"Is {{number}} prime?") for number in range(5)]
    async with Client() as client:
{indented}
asyncio.run(main())
""",
    "inside a client of a gateway": """\
import asyncio
import anthropic
import httpx2
from runware_ws import Client
from runware_ws.gateway import app
from runware_ws.gateway.in_process import InProcessTransport

async def main():
    async with Client() as upstream:
        http = httpx2.AsyncClient(transport=InProcessTransport(app(upstream)))
        client = anthropic.AsyncAnthropic(http_client=http, base_url="http://here", api_key="any")
        async with client:
{indented}
asyncio.run(main())
""",
    "a step of DBOS": """\
from dbos import DBOS
from runware_ws import SyncClient, TextInference

{body}
@DBOS.workflow()
def work():
    return ask("Why?")

DBOS(config={{"name": "page", "system_database_url": "sqlite:///dbos.db", "log_level": "ERROR"}})
with SyncClient(journal="journal.db") as client:
    DBOS.launch()
    try:
        print(work())
    finally:
        DBOS.destroy()
""",
}
"""What makes a program of a block, by its note. ``test_blocks.py`` says how each is run."""


@dataclass(frozen=True)
class Block:
    """One block of code: where it stands, its language, its note, its text."""

    page: Path
    line: int
    language: str
    note: str
    body: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def program(self) -> str:
        """The whole program."""
        assert self.note in PROGRAMS, f"{self.place}: unknown note {self.note!r}"
        within = " " * (12 if "gateway" in self.note else 8)
        return PROGRAMS[self.note].format(
            body=self.body, indented=textwrap.indent(self.body, within)
        )


def blocks_of(path: Path) -> Iterator[Block]:
    """The blocks of a page, in their order."""
    text = path.read_text(encoding="utf-8")
    for match in PATTERN.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        yield Block(path, line, match["language"], match["note"] or "", match["body"])


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PYTHON = [block for page in PAGES for block in blocks_of(page) if block.language == "python"]
