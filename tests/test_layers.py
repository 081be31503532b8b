"""Who imports whom, and what the package offers. Read from the source, not from memory."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import runware_ws
from runware_ws import errors

PACKAGE = Path(runware_ws.__file__).parent

# From the top down: a room may import itself and the rooms below it.
ROOMS: tuple[frozenset[str], ...] = (
    frozenset({"__main__"}),
    frozenset({"cli"}),
    frozenset({"testing"}),
    frozenset({"probe"}),
    frozenset({"client"}),
    frozenset({"messages"}),
    frozenset({"_io"}),
    frozenset({"_core"}),
    frozenset({"models", "errors", "config", "events", "classify", "backoff", "stats"}),
    frozenset({"_version"}),
)
ALOOF = "emulator"
"""Imports nothing of the client's; only the command line, the test kit and tests import it."""

FORBIDDEN_IN_CORE = frozenset(
    [
        "anyio",
        "asyncio",
        "trio",
        "time",
        "random",
        "socket",
        "logging",
        "websockets",
        "secrets",
        "ssl",
        "os",
    ]
)
PRIVATE_TO_CLI = frozenset({"_io", "_core"})


@dataclass(frozen=True)
class Import:
    """One import of a module: what it names, in full, and where."""

    name: str
    place: str
    for_types: bool


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _full_names(node: ast.Import | ast.ImportFrom, package: list[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    above = package[: len(package) - node.level + 1] if node.level else []
    base = ".".join([*above, *([node.module] if node.module else [])])
    if base in ("runware_ws", ""):
        return [f"{base}.{alias.name}" for alias in node.names]
    return [base]


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, also inside functions."""
    relative = path.relative_to(PACKAGE.parent)
    package = list(relative.parent.parts)

    def walk(node: ast.AST, for_types: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in _full_names(node, package):
                yield Import(name, f"{relative}:{node.lineno}", for_types)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            for guarded in node.body:
                yield from walk(guarded, True)
            for otherwise in node.orelse:
                yield from walk(otherwise, for_types)
        else:
            for child in ast.iter_child_nodes(node):
                yield from walk(child, for_types)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False)


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def own(name: str) -> str | None:
    """The room that an import of this project names; ``""`` for the package itself."""
    parts = name.split(".")
    if parts[0] != "runware_ws":
        return None
    if len(parts) == 1:
        return ""
    is_room = (PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").is_file()
    return parts[1] if is_room else ""


FILES = sorted(PACKAGE.rglob("*.py"))
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


def files_of(room: str) -> list[Path]:
    return [path for path in FILES if room_of(path) == room]


def test_every_module_has_a_room() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__", ALOOF}
    assert rooms <= set(LEVEL), f"give a room in ROOMS to: {sorted(rooms - set(LEVEL))}"


@pytest.mark.parametrize("room", sorted(LEVEL))
def test_imports_run_downward(room: str) -> None:
    wrong: list[str] = []
    for path in files_of(room):
        for found in imports_of(path):
            other = own(found.name)
            if other is None or found.for_types:
                continue
            if other in ("", ALOOF):
                # The package's own names, and the emulator, are for the top only.
                fine = (
                    room in ("cli", "testing", "__main__") or found.name == "runware_ws.__version__"
                )
            elif room == "cli" and other in PRIVATE_TO_CLI:
                fine = found.name == "runware_ws._io.keys"
            else:
                fine = other == "config" or LEVEL[other] >= LEVEL[room]
            if not fine:
                wrong.append(f"{found.place} imports {found.name}")
    assert not wrong


def test_the_core_touches_no_world() -> None:
    wrong = [
        f"{found.place} imports {found.name}"
        for path in files_of("_core")
        for found in imports_of(path)
        if not found.for_types and found.name.split(".")[0] in FORBIDDEN_IN_CORE
    ]
    assert files_of("_core")
    assert not wrong


def test_the_emulator_shares_nothing_with_the_client() -> None:
    wrong = [
        f"{found.place} imports {found.name}"
        for path in files_of(ALOOF)
        for found in imports_of(path)
        if own(found.name) not in (None, ALOOF)
    ]
    assert files_of(ALOOF)
    assert not wrong


def test_a_wrong_import_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "runware_ws"
    (package / "_core").mkdir(parents=True)
    (package / "errors.py").touch()
    source = package / "_core" / "bad.py"
    source.write_text(
        "from typing import TYPE_CHECKING\n"
        "from ..errors import X\n"
        "from . import sibling\n"
        "from runware_ws import errors\n"
        "if TYPE_CHECKING:\n    import ssl\nelse:\n    import os.path\n"
        "def late():\n    import time\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", package)
    found = [(each.name, each.for_types) for each in imports_of(source)]
    assert found == [
        ("typing", False),
        ("runware_ws.errors", False),
        ("runware_ws._core", False),
        ("runware_ws.errors", False),
        ("ssl", True),
        ("os.path", False),
        ("time", False),
    ]


# What the package offers


def _sort_key(name: str) -> tuple[int, str]:
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name


def test_all_is_sorted_and_importable() -> None:
    names = runware_ws.__all__
    assert names == sorted(set(names), key=_sort_key)
    for name in names:
        assert getattr(runware_ws, name) is not None, name


def test_all_is_complete() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(runware_ws.__all__)


def test_every_error_is_offered() -> None:
    assert set(errors.__all__) <= set(runware_ws.__all__)


_BLOCKED = [
    "typer",
    "click",
    "rich",
    "trio",
    "uvloop",
    "hypothesis",
    "pytest",
    "starlette",
    "httpx",
    "httpx2",
    "h11",
    "anthropic",
    "picows",
    "uvicorn",
]
_PROGRAM = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {_BLOCKED!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)

sys.meta_path.insert(0, Blocker())
try:
    import trio
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the blocker does not block")
import runware_ws
import runware_ws.emulator
print(runware_ws.__version__)
"""


def test_import_needs_no_extra() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=PACKAGE.parent,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == runware_ws.__version__
