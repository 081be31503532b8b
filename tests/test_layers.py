"""Who imports whom, who may change what, and what the package offers: read from the source.

The rules are in ``layers.py``, the table of rooms in ``docs/design.md``. Each rule is shown to
notice a breach that is planted for it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import runware_ws
import runware_ws.emulator
import runware_ws.messages
import runware_ws.probe
from runware_ws import errors
from tests.layers import (
    Breach,
    Room,
    Tree,
    circles,
    doubled_names,
    foreign_hands,
    read_rooms,
    room_of,
    settled_elsewhere,
    touched,
    wrong_imports,
    wrong_table,
)

PENDING: frozenset[tuple[str, str]] = frozenset()
"""Files that still break a rule, and which. Nothing is added here, and what is mended goes."""

SAME_NAME = frozenset(
    {
        "Message",  # of a task; of the Messages shape
        "Stats",  # of a client; of the emulator
        "Usage",  # of a result; of the Messages shape
        "Verdict",  # on a lost socket; on a question of the probe
    }
)
"""Public classes that share a name across rooms which nobody imports together."""

PACKAGE = Path(runware_ws.__file__).parent
ROOMS = read_rooms((PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8"))
TREE = Tree(PACKAGE)


def all_breaches() -> list[Breach]:
    return [
        *wrong_table(TREE, ROOMS),
        *wrong_imports(TREE, ROOMS),
        *touched(TREE, ROOMS),
        *circles(TREE),
        *foreign_hands(TREE),
        *settled_elsewhere(TREE),
        *doubled_names(TREE, SAME_NAME),
    ]


def test_the_house_is_in_order() -> None:
    assert len(TREE.files) > 100
    assert [each for each in all_breaches() if (each.file, each.rule) not in PENDING] == []


def test_nothing_pending_is_mended() -> None:
    assert PENDING - {(each.file, each.rule) for each in all_breaches()} == set()


# Planted breaches


def plant(folder: Path, files: Mapping[str, str]) -> Tree:
    """A package with these files, and ``__init__.py`` in each folder."""
    root = folder / "runware_ws"
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        for above in path.relative_to(root).parents:
            if not (root / above / "__init__.py").exists():
                (root / above / "__init__.py").touch()
    return Tree(root)


def sample(room: Room) -> str:
    """A file that belongs to a room."""
    path = room.paths[0].replace("*", "_planted")
    return f"{path}planted.py" if path.endswith("/") else path


def module(file: str) -> str:
    return ".".join(["runware_ws", *file.removesuffix(".py").split("/")]).removesuffix(".__init__")


def every_room(folder: Path, importer: str, source: str) -> Tree:
    return plant(folder, {**{sample(room): "" for room in ROOMS}, importer: source})


def lines_of(breaches: list[Breach]) -> list[int]:
    return [int(each.words.split()[1].rstrip(":")) for each in breaches]


@pytest.mark.parametrize("room", ROOMS, ids=[room.name for room in ROOMS])
def test_a_room_imports_what_its_row_lists_and_no_more(room: Room, tmp_path: Path) -> None:
    others = [other for other in ROOMS if other is not room]
    source = "".join(f"import {module(sample(other))}\n" for other in others)
    tree = every_room(tmp_path, sample(room), source)
    refused = [line for line, other in enumerate(others, 1) if other.name not in room.may_import]
    found = wrong_imports(tree, ROOMS)
    assert {each.file for each in found} == {sample(room)}
    assert lines_of(found) == refused


@pytest.mark.parametrize(
    ("room", "token"),
    [(room, token) for room in ROOMS for token in room.must_not],
    ids=[f"{room.name}-{token}" for room in ROOMS for token in room.must_not],
)
def test_a_room_touches_nothing_that_its_row_forbids(
    room: Room, token: str, tmp_path: Path
) -> None:
    planted: dict[str, str] = {}
    name = token
    if "/" in token or token.endswith(".py"):
        file = token.replace("*", "_planted")
        file = f"{file}planted.py" if file.endswith("/") else file
        planted, name = {file: ""}, module(file)
    source = f"""from typing import TYPE_CHECKING
import {name}
import {name}.inner as other
from {name} import thing
if TYPE_CHECKING:
    import {name}
def late():
    from {name}.inner import thing
import {"runware_ws" if planted else name}_of_another
"""
    found = touched(plant(tmp_path, {**planted, sample(room): source}), ROOMS)
    mine = [each for each in found if each.words.endswith(f": {room.name} must not touch {token}")]
    assert lines_of(mine) == [2, 3, 4, 6, 8]
    assert {each.file for each in mine} == {sample(room)}


def test_a_row_forbids_for_the_rooms_inside_it(tmp_path: Path) -> None:
    tree = plant(tmp_path, {"_core/tasks/record.py": "import random\n"})
    assert touched(tree, ROOMS) == [
        Breach("_core/tasks/record.py", "must not touch", "line 1: _core/ must not touch random")
    ]


def test_a_file_without_a_room_is_noticed(tmp_path: Path) -> None:
    tree = plant(tmp_path, {"attic.py": ""})
    assert [(each.file, each.rule) for each in wrong_imports(tree, ROOMS)] == [
        ("attic.py", "rooms")
    ]


def test_the_closest_row_is_a_files_room() -> None:
    where = {
        "_core/tasks/record.py": "record",
        "_core/tasks/table.py": "_core/tasks/",
        "_core/wire.py": "_core/wire.py",
        "_core/new.py": "_core/",
        "models/error_codes.py": "vocabulary",
        "_io/http_dial.py": "http",
        "__init__.py": "__init__.py",
    }
    rooms = {file: room_of(file, ROOMS) for file in where}
    assert {file: room and room.name for file, room in rooms.items()} == where
    assert room_of("attic.py", ROOMS) is None


TABLE = """
## Rooms

Words, and `code`.

| Room | Holds | May import | Must not touch |
|---|---|---|---|
| upper: `a.py` `b/` | verbs | `c.py` | `ssl` `b/d*.py`, never |
| `c.py` | nouns, `code` | | |

## Next

| `no.py` | row | | |
"""


def test_the_table_is_read() -> None:
    assert read_rooms(TABLE) == [
        Room("upper", ("a.py", "b/"), "verbs", ("c.py",), ("ssl", "b/d*.py")),
        Room("c.py", ("c.py",), "nouns, `code`", (), ()),
    ]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            "| nouns, `code` | |",
            "| nouns | upper |",
            "c.py may import upper, which is no room below",
        ),
        ("| `c.py` | `ssl`", "| `e.py` | `ssl`", "upper may import e.py, which is no room below"),
        ("`a.py` `b/`", "`a.py` `b/` `e.py`", "upper: there is no e.py"),
        ("| nouns, `code` |", "| |", "c.py does not say what it holds"),
        ("\n\n## Next", "\n| upper: `a.py` | again | | |\n## Next", "upper stands there twice"),
    ],
)
def test_a_wrong_table_is_noticed(tmp_path: Path, before: str, after: str, words: str) -> None:
    tree = plant(tmp_path, {"a.py": "", "b/x.py": "", "c.py": ""})
    assert wrong_table(tree, read_rooms(TABLE)) == []
    assert before in TABLE
    found = wrong_table(tree, read_rooms(TABLE.replace(before, after)))
    assert any(each.words.startswith(words) for each in found)


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    source = """from typing import TYPE_CHECKING
from ..errors import X
from . import sibling, missing
from runware_ws import errors, Client
from .. import _core
if TYPE_CHECKING:
    import ssl
else:
    import os.path
def late():
    import runware_ws._core.sibling.inner
import runware_ws_other
"""
    tree = plant(tmp_path, {"errors.py": "", "_core/sibling.py": "", "_core/bad.py": source})
    assert [(each.line, each.name, each.own) for each in tree.imports["_core/bad.py"]] == [
        (1, "typing.TYPE_CHECKING", None),
        (2, "runware_ws.errors.X", "errors.py"),
        (3, "runware_ws._core.sibling", "_core/sibling.py"),
        (3, "runware_ws._core.missing", "_core/__init__.py"),
        (4, "runware_ws.errors", "errors.py"),
        (4, "runware_ws.Client", "__init__.py"),
        (5, "runware_ws._core", "_core/__init__.py"),
        (7, "ssl", None),
        (9, "os.path", None),
        (11, "runware_ws._core.sibling.inner", "_core/sibling.py"),
        (12, "runware_ws_other", None),
    ]


FOR_TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        ({"a.py": "from . import b", "b.py": "import runware_ws.a"}, "a.py <-> b.py"),
        ({"a.py": "from .b import x", "b.py": f"{FOR_TYPES}from .a import y"}, "a.py <-> b.py"),
        (
            {
                "a.py": "import runware_ws.b.c",
                "b/c.py": "def late():\n    from ..d import x",
                "d.py": f"{FOR_TYPES}from . import a",
                "e.py": "from . import a, d",
            },
            "a.py <-> b/c.py <-> d.py",
        ),
        (
            {"b/__init__.py": "from .c import x", "b/c.py": "from . import y"},
            "b/__init__.py <-> b/c.py",
        ),
    ],
)
def test_a_circle_is_noticed(files: dict[str, str], circle: str, tmp_path: Path) -> None:
    first = circle.split()[0]
    assert circles(plant(tmp_path, files)) == [Breach(first, "circles", circle)]


def test_two_ways_to_one_file_are_no_circle(tmp_path: Path) -> None:
    files = {"a.py": "from . import b, c", "b.py": "from . import d", "c.py": "from . import d"}
    assert circles(plant(tmp_path, {**files, "d.py": "import ssl, d"})) == []


ASSIGNMENTS = (
    "record.items = []",
    "record.sends += 1",
    "record.error: str = ''",
    "del record.payload",
    "record.items[0] = 1",
    "record.ladder.question = None",
    "self._record.error = None",
    "handle.record.error, x = None, 1",
    "for record.error in x: pass",
    "with x as record.error: pass",
    "ladder.polls = 1",
    "record.climb().known = True",
    "task: TaskRecord = x\ntask.error = None",
    "def f(task: 'record.TaskRecord | None', x): task.error = None",
    "task = TaskRecord(x)\ntask.error = None",
    "task = record\nother = task\nother.error = None",
    "if (task := self._record): task.error = None",
    "setattr(record, name, x)",
    "object.__setattr__(ladder, name, x)",
)


@pytest.mark.parametrize("source", ASSIGNMENTS)
def test_an_assignment_to_a_record_is_noticed(source: str, tmp_path: Path) -> None:
    planted = {"_core/core.py": source, "client/x/y.py": source, "_core/tasks/table.py": source}
    found = foreign_hands(plant(tmp_path, planted))
    assert [(each.file, each.rule) for each in found] == [
        ("_core/core.py", "records"),
        ("client/x/y.py", "records"),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "x = record.items",
        "record = x",
        "self._record = record",
        "record['items'] = []",
        "record.wrote(now)",
        "self.error = record.error",
        "recorder.error = None",
        "getattr(record, name)",
        "task: Task = record.task\ntask.error = None",
    ],
)
def test_reading_a_record_is_no_assignment(source: str, tmp_path: Path) -> None:
    assert foreign_hands(plant(tmp_path, {"_core/core.py": source})) == []


@pytest.mark.parametrize("source", ["table.settle(record)", "return_to(self._table.settle)"])
def test_a_foreign_end_of_a_task_is_noticed(source: str, tmp_path: Path) -> None:
    tree = plant(tmp_path, {"_core/ends.py": source, "_core/recovery/recovery.py": source})
    assert [(each.file, each.rule) for each in settled_elsewhere(tree)] == [
        ("_core/recovery/recovery.py", "settle")
    ]


def test_a_doubled_name_is_noticed(tmp_path: Path) -> None:
    files = {
        "a.py": "class X: ...\nclass Y: ...",
        "b.py": "def f():\n    class X: ...\nclass Y: ...",
    }
    assert doubled_names(plant(tmp_path, files), {"Y"}) == [
        Breach("a.py", "names", "class X: a.py, b.py")
    ]


def test_no_name_is_allowed_twice_for_nothing() -> None:
    doubled = {each.words.split()[1].rstrip(":") for each in doubled_names(TREE)}
    assert doubled >= SAME_NAME
    assert {
        name
        for place in (runware_ws, runware_ws.emulator, runware_ws.messages, runware_ws.probe)
        for name in place.__all__
    } >= SAME_NAME


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
