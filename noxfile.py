"""The checks of this project, each by name: ``nox -s lint types``. ``nox -l`` lists them.

``.ci/run`` runs the README's test command, and then what stands in ``nox.options.sessions``. Those
without an environment of their own use the one that nox itself is installed in: the extra ``dev``.
"""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
LOWEST_NEEDS = (
    *("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist"),
    *("hypothesis", "jsonschema-rs", "python-socks", "trustme", "h11"),
)
"""What those tests need beside the library itself."""

nox.needs_version = ">=2024.10.9"
# The longest is last: what it says of a failure ends the output then.
nox.options.sessions = ["lint", "types", "docs", "wheel", "lowest", "slow"]
nox.options.error_on_external_run = True
nox.options.default_venv_backend = "venv"


@nox.session
def tests(session: nox.Session) -> None:
    """The suite in an environment of its own, as the README has it; arguments go to pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "4", "--dist", "worksteal", *session.posargs)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Two type checkers, both strict."""
    session.run("mypy")
    session.run("pyright", "--pythonpath", sys.executable)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The pages as a site in ``build/site``; a broken link or a missing page fails it."""
    build = ("sphinx-build", "--quiet", "--jobs", "auto", "--fail-on-warning", "--keep-going")
    session.run(*build, "--fresh-env", *session.posargs, "docs", "build/site")


@nox.session(venv_backend="none")
def slow(session: nox.Session) -> None:
    """The tests that take too long for each run."""
    session.run("pytest", "-m", "slow", "-n", "3", "--dist", "worksteal", *session.posargs)


@nox.session(venv_backend="none")
def mutation(session: nox.Session) -> None:
    """Small bugs, planted one by one: a test or the simulation must notice each. Ten minutes."""
    session.run("python", "-m", "tests.mutation", "--jobs", "3", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """The built wheel works with the core dependencies alone."""
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    build = (sys.executable, "-m", "build", "--quiet", "--wheel", "--outdir", str(dist), ".")
    session.run(*build, external=True)
    (built,) = dist.glob("*.whl")
    session.install(str(built))
    session.run("python", "-W", "error", ".ci/smoke.py")


@nox.session
def lowest(session: nox.Session) -> None:
    """The core and the client with the lowest allowed versions of the core dependencies."""
    pins = lowest_versions()
    session.log("%s", " ".join(pins))
    session.install(*pins, "-e", ".", "uvloop", "trio", *LOWEST_NEEDS)
    # websockets has a trio client from 17 on only, so the sockets are tried on asyncio here.
    places = session.posargs or ("tests/core", "tests/client", "tests/models")
    session.run("pytest", "-q", "-n", "3", "-p", "no:cacheprovider", "-k", "not trio", *places)


def lowest_versions() -> list[str]:
    """The core dependencies, pinned."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins: list[str] = []
    for requirement in project["dependencies"]:
        match = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement)
        if match is None:
            raise SystemExit(f"no lowest version in {requirement!r}")
        pins.append(f"{match[1]}=={match[2]}")
    return pins
