"""README.md and docs/ say what the code does: tables, links, commands.

Their blocks of code are run by ``test_blocks.py``.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

import runware_ws
from runware_ws import Client, Config, RunwareError, SyncClient, errors, events
from runware_ws.cli.app import app
from runware_ws.cli.exits import ExitCode
from tests.docs.blocks import PAGES, PATTERN

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")

# Tables


def table_under(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading of the reference, without its head."""
    section = REFERENCE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    end = next((i for i, row in enumerate(cells[2:], 2) if set(row[0]) <= set("-: ")), None)
    return cells[2:] if end is None else cells[2 : end - 1]


def ticked(heading: str, column: int = 0) -> list[str]:
    """What stands in backticks in a column of that table."""
    return [name for row in table_under(heading) for name in re.findall(r"`([^`]+)`", row[column])]


def shown(name: str, value: object) -> str:
    """How the options table writes a default."""
    if name == "backoff":
        return "full jitter"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool) or not isinstance(value, int):
        return repr(value)
    if name.endswith("_bytes"):
        mib, rest = divmod(value, 1024 * 1024)
        return f"{mib} MiB" if not rest else f"{value // 1024} KiB"
    return f"{value:_}"


def test_options_table_is_complete_and_right() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in table_under("Options")}
    default = Config()
    assert told == {f.name: shown(f.name, getattr(default, f.name)) for f in fields(Config)}


def test_errors_table_is_complete() -> None:
    told = [row[0].strip("`") for row in table_under("Errors")]
    exported = {name: getattr(errors, name) for name in errors.__all__}
    classes = {name for name, kind in exported.items() if issubclass(kind, RunwareError)}
    assert len(told) == len(set(told))
    assert set(told) == classes
    assert all(all(row) for row in table_under("Errors"))


def test_events_table_is_complete() -> None:
    told = {name for row in table_under("Events") for name in re.findall(r"`(\w+)`", row[0])}
    assert told == set(events.__all__) - {"Event"}


def test_every_public_name_has_its_line() -> None:
    told = ticked("Names")
    exported = {name: getattr(runware_ws, name) for name in runware_ws.__all__}
    failures = {
        name
        for name, kind in exported.items()
        if isinstance(kind, type) and issubclass(kind, RunwareError)
    }
    assert failures == set(ticked("Errors"))
    assert told == [name for name in exported if name not in failures]
    assert all(len(row) == 2 and all(row) for row in table_under("Names"))


def test_verbs_table_is_complete() -> None:
    def public(kind: type) -> set[str]:
        return {name for name, value in vars(kind).items() if name[0] != "_" and value.__doc__}

    assert set(ticked("Verbs")) == public(Client)
    # ``call`` and ``look`` are for the streams that it hands out.
    assert set(ticked("Verbs", 1)) == public(SyncClient) - {"call", "look"}


def test_extras_table_is_complete() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(ticked("Extras")) == project["optional-dependencies"].keys()


def test_commands_and_exit_codes_are_complete() -> None:
    commands = {words.split()[1] for words in ticked("Command line")}
    known = {command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    assert commands == known | {group.name for group in app.registered_groups}
    codes = re.findall(r"^\| (\d+(?:, \d+)*) \|", REFERENCE, re.MULTILINE)
    told = {int(code) for row in codes for code in row.split(", ")}
    assert told == {code.value for code in ExitCode}


# The README


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 160


def test_links_of_the_readme_lead_somewhere_on_the_package_index_too() -> None:
    """It is shown there without the files beside it: those are named, and not linked to."""
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []
    named = [
        name
        for row in README.split("\n## Where to find everything\n", 1)[1].splitlines()[3:]
        if row.startswith("|")
        for name in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]
    assert [name for name in named if not (ROOT / name).exists()] == []
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages <= set(named)


# Commands


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_one_command_line_each(heading: str) -> None:
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    blocks = list(PATTERN.finditer(section))
    assert len(blocks) == 1
    lines = blocks[0]["body"].splitlines()
    assert len(lines) == 1
    assert lines[0].strip()


def test_changelog_tells_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{runware_ws.__version__}]" in changelog


def test_links_inside_the_project_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
