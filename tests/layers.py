"""The rules of the house: who imports whom, and who may change what.

Each rule is a function over a :class:`Tree` of source files; it returns every :class:`Breach` that
it finds. The table of rooms comes from ``docs/design.md``, which says how to read it.

They read the source, so there is what they cannot see: an import by a string (``importlib``), and
that importing ``a.b`` runs ``a/__init__.py``. :func:`foreign_hands` has limits of its own.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import NamedTuple


class Breach(NamedTuple):
    """A rule that a file breaks: ``words`` tell where and how."""

    file: str
    rule: str
    words: str


# -- source ----------------------------------------------------------------------------------


class Import(NamedTuple):
    """One import. ``own`` is the file of the package that it names, or ``None``."""

    line: int
    name: str
    own: str | None


class Tree:
    """The files of one package, by their path inside it (``_core/wire.py``)."""

    def __init__(self, root: Path) -> None:
        self.package = root.name
        self._root = root

    @cached_property
    def files(self) -> dict[str, ast.Module]:
        """All of them, parsed."""
        return {
            path.relative_to(self._root).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
            for path in sorted(self._root.rglob("*.py"))
        }

    def _file_of(self, name: str) -> str | None:
        """The file of a module's full name."""
        inner = name.split(".")[1:]
        for path in ("/".join(inner) + ".py", "/".join([*inner, "__init__.py"])):
            if path in self.files:
                return path
        return None

    def _own(self, name: str) -> str | None:
        """The file of this package that defines a dotted name, which may stand for no module."""
        parts = name.split(".")
        if parts[0] != self.package:
            return None
        for end in range(len(parts), 0, -1):
            found = self._file_of(".".join(parts[:end]))
            if found is not None:
                return found
        return "__init__.py"

    def _names(self, file: str, node: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        package = [self.package, *file.split("/")[:-1]]
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names]

    @cached_property
    def imports(self) -> dict[str, list[Import]]:
        """Every import of every file: inside functions and for types alike."""
        return {
            file: sorted(
                (
                    Import(node.lineno, name, self._own(name))
                    for node in ast.walk(module)
                    if isinstance(node, ast.Import | ast.ImportFrom)
                    for name in self._names(file, node)
                ),
                key=lambda each: each.line,
            )
            for file, module in self.files.items()
        }


# -- rooms -----------------------------------------------------------------------------------


def covers(path: str, file: str) -> bool:
    """Whether a path of the table covers a file: a folder, a file, or a pattern of files."""
    return file.startswith(path) if path.endswith("/") else fnmatchcase(file, path)


@dataclass(frozen=True)
class Room:
    """One row of the table."""

    name: str
    paths: tuple[str, ...]
    holds: str
    may_import: tuple[str, ...]
    must_not: tuple[str, ...]

    def covers(self, file: str) -> bool:
        return any(covers(path, file) for path in self.paths)


def _quoted(cell: str) -> tuple[str, ...]:
    return tuple(cell.split("`")[1::2])


def read_rooms(text: str) -> list[Room]:
    """The rows of the table under "Rooms" in ``docs/design.md``, from the top down."""
    _, _, section = text.partition("\n## Rooms\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    rooms: list[Room] = []
    for line in lines[1:]:
        room, holds, may, must_not = (cell.strip() for cell in line.strip("|").split("|"))
        paths = _quoted(room)
        name = room.partition(":")[0] if ":" in room else paths[0]
        allowed = tuple(each.strip(" `") for each in may.split(",") if each.strip())
        rooms.append(Room(name, paths, holds, allowed, _quoted(must_not)))
    return rooms


def room_of(file: str, rooms: Iterable[Room]) -> Room | None:
    """The room whose path names a file most closely."""
    found = [(len(path), room) for room in rooms for path in room.paths if covers(path, file)]
    return max(found, key=lambda each: each[0])[1] if found else None


def wrong_table(tree: Tree, rooms: list[Room]) -> list[Breach]:
    """Rooms are named once, hold something, and may import only rooms further down."""
    names = [room.name for room in rooms]
    wrong: list[Breach] = []

    def note(words: str) -> None:
        wrong.append(Breach("docs/design.md", "table", words))

    for place, room in enumerate(rooms):
        if names.index(room.name) != place:
            note(f"{room.name} stands there twice")
        if not room.holds:
            note(f"{room.name} does not say what it holds")
        for path in room.paths:
            if not any(covers(path, file) for file in tree.files):
                note(f"{room.name}: there is no {path}")
        for other in room.may_import:
            if other not in names[place + 1 :]:
                note(f"{room.name} may import {other}, which is no room below it")
    return wrong


def wrong_imports(tree: Tree, rooms: list[Room]) -> list[Breach]:
    """A file imports its own room, and those that its row lists."""
    wrong: list[Breach] = []
    for file, imports in tree.imports.items():
        room = room_of(file, rooms)
        if room is None:
            wrong.append(Breach(file, "rooms", "it has no room: give it one in docs/design.md"))
            continue
        for found in imports:
            other = None if found.own is None else room_of(found.own, rooms)
            if other is not None and other is not room and other.name not in room.may_import:
                words = f"line {found.line}: {room.name} may not import {found.name}"
                wrong.append(Breach(file, "rooms", words))
    return wrong


def touched(tree: Tree, rooms: list[Room]) -> list[Breach]:
    """Nobody imports what the rows that cover the file say it must not touch."""
    wrong: list[Breach] = []
    for file, imports in tree.imports.items():
        above = [(room, token) for room in rooms if room.covers(file) for token in room.must_not]
        for found in imports:
            for room, token in above:
                ours = "/" in token or token.endswith(".py")
                hit = (
                    found.own is not None and covers(token, found.own)
                    if ours
                    else found.name.split(".")[0] == token
                )
                if hit:
                    words = f"line {found.line}: {room.name} must not touch {token}"
                    wrong.append(Breach(file, "must not touch", words))
    return wrong


# -- circles ---------------------------------------------------------------------------------


def circles(tree: Tree) -> list[Breach]:
    """No files import each other in a circle. The first file of a circle answers for it."""
    ahead = {
        file: {found.own for found in imports if found.own is not None and found.own != file}
        for file, imports in tree.imports.items()
    }
    reached = {file: _reachable(file, ahead) for file in ahead}
    wrong: list[Breach] = []
    told: set[str] = set()
    for file in ahead:
        circle = sorted(other for other in reached[file] if file in reached[other])
        if circle and file not in told:
            told.update(circle)
            wrong.append(Breach(circle[0], "circles", " <-> ".join(circle)))
    return wrong


def _reachable(start: str, ahead: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for file in ahead[waiting.pop()]:
            if file not in found:
                found.add(file)
                waiting.append(file)
    return found


# -- hands off -------------------------------------------------------------------------------

_GUARDED_NAMES = frozenset({"record", "ladder"})
_GUARDED_TYPES = frozenset({"TaskRecord", "Ladder"})


def foreign_hands(tree: Tree) -> list[Breach]:
    """Nobody outside ``_core/tasks/`` assigns an attribute of a record, or of its ladder.

    A record is known by its name (``record``, ``self._record``, ``handle.ladder``), by its
    annotation (``task: TaskRecord``), by what made it (``TaskRecord(…)``, ``record.climb()``), or
    as a second name for one of these. Assigning an attribute, adding to it, deleting it, assigning
    an entry of it, and ``setattr`` count. Not seen: a record that comes out of a list or of a call
    under another name, and a method that changes what an attribute holds
    (``record.items.append``). The emulator's records are its own.
    """
    wrong: list[Breach] = []
    for file, module in tree.files.items():
        if not file.startswith(("_core/tasks/", "emulator/")):
            names = _record_names(module)
            for line, words in _assignments(module, names):
                wrong.append(Breach(file, "records", f"line {line}: {words}"))
    return wrong


def _names_a_type(annotation: ast.expr | None) -> bool:
    """Whether an annotation is the type of a record, alone or with ``| None``."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp):
        return _names_a_type(annotation.left) or _names_a_type(annotation.right)
    if isinstance(annotation, ast.Attribute):
        return annotation.attr in _GUARDED_TYPES
    return isinstance(annotation, ast.Name) and annotation.id in _GUARDED_TYPES


def _is_record(node: ast.expr, names: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Attribute):
        return node.attr.lstrip("_") in _GUARDED_NAMES
    if isinstance(node, ast.NamedExpr):
        return _is_record(node.value, names)
    if isinstance(node, ast.Call):
        made = node.func
        if isinstance(made, ast.Attribute):
            return made.attr in _GUARDED_TYPES or _is_record(made.value, names)
        return isinstance(made, ast.Name) and made.id in _GUARDED_TYPES
    return False


def _record_names(module: ast.Module) -> set[str]:
    """The names that stand for a record somewhere in a file."""
    names = set(_GUARDED_NAMES)
    nodes = list(ast.walk(module))
    for node in nodes:
        if isinstance(node, ast.arg) and _names_a_type(node.annotation):
            names.add(node.arg)
        elif (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and _names_a_type(node.annotation)
        ):
            names.add(node.target.id)
    size = 0
    while size != len(names):
        size = len(names)
        for node in nodes:
            if isinstance(node, ast.Assign | ast.NamedExpr) and _is_record(node.value, names):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def _assignments(module: ast.Module, names: set[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            target: ast.expr = node
            while isinstance(target, ast.Subscript):
                target = target.value
            if isinstance(target, ast.Attribute) and _is_record(target.value, names):
                yield node.lineno, f"{ast.unparse(node)} is assigned"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            setter = called in ("setattr", "delattr", "__setattr__", "__delattr__")
            if setter and node.args and _is_record(node.args[0], names):
                yield node.lineno, ast.unparse(node)


def settled_elsewhere(tree: Tree) -> list[Breach]:
    """Only ``_core/ends.py`` calls ``settle``, or hands it on to be called."""
    return [
        Breach(file, "settle", f"line {node.lineno}: {ast.unparse(node)}")
        for file, module in tree.files.items()
        if file != "_core/ends.py"
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and node.attr == "settle"
    ]


# -- names -----------------------------------------------------------------------------------


def doubled_names(tree: Tree, allowed: Iterable[str] = ()) -> list[Breach]:
    """No two classes have one name. The first file that has it answers for it."""
    places: dict[str, list[str]] = defaultdict(list)
    for file, module in tree.files.items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and node.name not in allowed:
                places[node.name].append(file)
    return [
        Breach(found[0], "names", f"class {name}: {', '.join(found)}")
        for name, found in places.items()
        if len(found) > 1
    ]
