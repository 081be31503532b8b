"""What the site needs beyond settings; ``conf.py`` loads it.

* Pages from the root of the project, whose links lead from there.
* The words about names that a package only passes on: Sphinx looks for them in that package alone.
* Checks that no public name is missing, and that nothing is loaded from elsewhere.
"""

from __future__ import annotations

import ast
import importlib
import re
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

_LOG = logging.getLogger(__name__)
_COLON = "\ue000"
_LOADED = re.compile(r'<(?:script|img|iframe|link)\b[^>]* (?:src|href)="(?:https?:)?//[^"]*')

_ROOT = Path(__file__).resolve().parents[1]
MODULES = [
    module
    for page in sorted((_ROOT / "docs" / "api").glob("*.rst"))
    for module in re.findall(r"^.. automodule:: (\S+)", page.read_text(encoding="utf-8"), re.M)
]
"""Those that have a reference."""

_PAGES = {
    **{f"docs/{page.name}": page.name for page in (_ROOT / "docs").glob("*.md")},
    "docs/decisions/": "decisions/README.md",
    "CONTRIBUTING.md": "contributing.rst",
    "CHANGELOG.md": "changelog.rst",
}
"""How the files of the root name a page, and what it is for the pages of the site."""


class Parser(MystParser):
    """For ``include`` with ``:parser: _site``: a file of the root, as a page in ``docs/``."""

    def parse(self, inputstring: str, document: nodes.document) -> None:
        # The README names pages and does not link them: the package index shows it without them.
        for name, page in _PAGES.items():
            inputstring = re.sub(
                rf"\[`{name}`\]\([^)]*\)|`{name}`", f"[`{name}`]({page})", inputstring
            )
        super().parse(inputstring.replace("](docs/", "]("), document)


def words_about(module: str, name: str) -> list[str] | None:
    """What stands below the assignment of a name, also where ``module`` imports it."""
    found = ModuleAnalyzer.for_module(module)
    words = found.find_attr_docs().get(("", name))
    if words is not None:
        return words
    for node in ast.parse(found.code).body:
        if isinstance(node, ast.ImportFrom) and any(name == each.name for each in node.names):
            package = importlib.import_module(module).__package__
            return words_about(resolve_name("." * node.level + (node.module or ""), package), name)
    return None


def pass_words_on(_: Sphinx) -> None:
    """The analyzers are kept; autodoc gets the same ones."""
    for module in MODULES:
        found = ModuleAnalyzer.for_module(module)
        for name in public(module):
            words = words_about(module, name)
            if words is not None:
                found.attr_docs["", name] = words


def hide_colons(_: Sphinx, what: str, *given: Any) -> None:
    """Napoleon takes what stands before the first colon for the type of a value."""
    if what in ("attribute", "data", "property"):
        given[-1][:] = [line.replace(":", _COLON) for line in given[-1]]


def show_colons(_: Sphinx, what: str, *given: Any) -> None:
    given[-1][:] = [line.replace(_COLON, ":") for line in given[-1]]


def list_decisions(_: Sphinx, page: str, source: list[str]) -> None:
    """On GitHub the list would be seen twice."""
    if page == "decisions/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"


def miss_nothing(_: Sphinx, env: BuildEnvironment) -> None:
    """Each public name of each module that is shown is there, under this name or its own."""
    domain: Any = env.get_domain("py")
    for module in MODULES:
        for name in public(module):
            found = getattr(importlib.import_module(module), name)
            home = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
            if not domain.objects.keys() & {f"{module}.{name}", home}:
                _LOG.warning("%s.%s is public, and no words stand below it", module, name)


def load_nothing(app: Sphinx, failure: Exception | None) -> None:
    """A browser that reads the site asks nobody else for anything."""
    for page in sorted(Path(app.outdir).rglob("*.html")) if failure is None else ():
        found = _LOADED.search(page.read_text(encoding="utf-8"))
        if found:
            _LOG.warning("%s loads something from elsewhere: %s", page.name, found[0])


def public(module: str) -> list[str]:
    return [name for name in importlib.import_module(module).__all__ if name[0] != "_"]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", pass_words_on)
    app.connect("autodoc-process-docstring", hide_colons, priority=100)
    app.connect("autodoc-process-docstring", show_colons, priority=900)
    app.connect("source-read", list_decisions)
    app.connect("env-check-consistency", miss_nothing)
    app.connect("build-finished", load_nothing)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
