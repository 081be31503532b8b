"""What a user may write for ``journal=``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runware_ws.errors import ConfigurationError
from runware_ws.journal.opening import open_store, open_view
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.testing.stores import MemoryJournal

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize(
    ("journal", "path"),
    [
        ("agents.db", "agents.db"),
        ("sqlite:agents.db", "agents.db"),
        ("sqlite:///agents.db", "agents.db"),
        ("sqlite:////var/agents.db", "/var/agents.db"),
        ("sqlite:/var/agents.db?synchronous=NORMAL", "/var/agents.db"),
        ("sqlite:a%3Fb.db?synchronous=full", "a?b.db"),
        (Path("there/agents.db"), "there/agents.db"),
    ],
)
def test_files(journal: str | Path, path: str) -> None:
    store = open_store(journal)
    assert isinstance(store, SqliteStore)
    assert store.place == os.path.realpath(path)


def test_synchronous_is_taken_from_the_url() -> None:
    for value in ("NORMAL", "FULL"):
        store = open_store(f"sqlite:a.db?synchronous={value}")
        assert isinstance(store, SqliteStore)
        assert store.synchronous == value
    plain = open_store("a.db")
    assert isinstance(plain, SqliteStore)
    assert plain.synchronous == "FULL"


def test_a_store_is_taken_as_it_is() -> None:
    store = MemoryJournal().store()
    assert open_store(store) is store


def test_postgres() -> None:
    pytest.importorskip("psycopg")
    for scheme in ("postgres", "postgresql"):
        store = open_store(f"{scheme}://me:hidden@db.test/agents")
        assert store.place == "postgresql://me@db.test/agents"


@pytest.mark.parametrize(
    ("journal", "cure"),
    [
        ("", "must be a path"),
        ("  ", "must be a path"),
        (b"agents.db", "must be a path"),
        (7, "must be a path"),
        (object(), "must be a path"),
        (None, "must be a path"),
        (":memory:", "the path of a file"),
        ("sqlite::memory:", "the path of a file"),
        ("sqlite:", "a path is missing"),
        ("sqlite:///", "a path is missing"),
        ("sqlite://host/agents.db", "SQLite has no host"),
        ("sqlite:a.db?synchronous=OFF", "synchronous=FULL or synchronous=NORMAL"),
        ("sqlite:a.db?mode=ro", "synchronous=FULL or synchronous=NORMAL"),
        ("a.db?synchronous=NORMAL", "write sqlite:PATH?synchronous=NORMAL"),
        ("mysql://h/db", "there is no such store"),
        ("redis://h", "there is no such store"),
        ("sqlite+pysqlite:///a.db", "there is no such store"),
        ("file:a.db?mode=rw", "there is no such store"),
        ("SQLite:a.db", "there is no such store"),
        ("sqlite:a%00b", "the path of a file"),
        ("postgresql://[", "postgresql://USER@HOST"),
    ],
)
def test_what_names_no_journal(journal: object, cure: str) -> None:
    if isinstance(journal, str) and journal.startswith("postgres"):
        pytest.importorskip("psycopg")
    with pytest.raises(ConfigurationError, match="journal") as told:
        open_store(journal)  # type: ignore[arg-type]
    assert cure in told.value.message


@pytest.mark.parametrize(
    "journal",
    [
        "postgresql+psycopg://me:hidden@h/db",
        "postgresql+asyncpg://me:hidden@h/db?ssl=hidden",
        "postgres:me:hidden@h/db",
        "PostgreSQL:/me:hidden@h/db",
        "host=h user=me password=hidden dbname=db",
        "  dbname = db password=hidden",
        "sslmode=require password=hidden",
        "application_name = 'my app' connect_timeout=3 user=me password=hidden",
        "postgresql://me:a/hidden@h/db",
        "postgresql://me:a@hidden@h/db",
        "postgresql://me:hidden/a@b@h/db",
        "postgresql://me:hidden@h:port/db",
        "postgresql://me:hidden@h:99999/db",
        "postgresql://me:hidden@h\0/db",
        "postgresql://me:hidden\udcff@h/db",
    ],
)
@pytest.mark.parametrize("opening", [open_store, open_view])
def test_a_password_in_what_is_misspelt_is_not_repeated(
    journal: str, opening: Callable[[str], object]
) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigurationError, match="write ") as told:
        opening(journal)
    assert "hidden" not in told.value.message


def test_several_hosts_and_a_password_with_escapes() -> None:
    pytest.importorskip("psycopg")
    store = open_store("postgresql://me:hid%40%2Fden@a.test:5432,b.test/db?options=-c%20a%3D@")
    assert store.place == "postgresql://me@a.test,b.test:5432,/db"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'runware-ws\[postgres\]'"):
        open_store("postgresql://h/db")
