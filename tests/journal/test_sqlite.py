"""The journal in a SQLite file: what is its own, beside what every store must do."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest

from runware_ws.errors import ConfigurationError, JournalError
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.sqlite_schema import SCHEMA_VERSION
from runware_ws.journal.sqlite_view import SqliteView
from tests.journal.sqlite_support import TARGET, begin, fill, new, opened, run_python

pytestmark = pytest.mark.timeout(120)


def refusal(path: Path, **options: float) -> JournalError:
    store = SqliteStore(path, **options)  # type: ignore[arg-type]
    with pytest.raises(JournalError) as told:
        store.open(TARGET, 1.0)
    assert str(path.resolve()) in told.value.message
    store.close()
    return told.value


# Files


def modes(path: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}


def test_only_its_user_can_read_it(path: Path) -> None:
    store = opened(path)
    begin(store, "a")
    assert modes(path) == {
        "agents.db": 0o600,
        "agents.db-wal": 0o600,
        "agents.db-shm": 0o600,
        "agents.db.owners": 0o700,
    }
    assert set(modes(path.parent / "agents.db.owners" / "x").values()) == {0o600}
    store.close()


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    store = opened(path)
    begin(store, "a")
    for name in ("agents.db", "agents.db-wal", "agents.db-shm"):
        (path.parent / name).chmod(0o644)
    second = opened(path)
    begin(second, "b")
    assert {mode for name, mode in modes(path).items() if "owners" not in name} == {0o600}
    second.close()
    store.close()


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch(0o644)
    store = opened(path)
    begin(store, "a")
    assert modes(path)["agents.db"] == 0o600
    store.close()


def test_a_link_and_its_file_are_one_journal(path: Path) -> None:
    path.parent.joinpath("link.db").symlink_to(path)
    first = opened(path.parent / "link.db")
    second = opened(path)
    assert first.place == second.place == str(path.resolve())
    begin(first, "a")
    with second.transaction() as work:
        assert not work.adopt("a", first.owner)
    second.close()
    first.close()


def test_closed_with_nothing_left_it_leaves_no_owner(path: Path) -> None:
    store = opened(path)
    store.close()
    store.close()
    assert list((path.parent / "agents.db.owners").iterdir()) == []
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM owners").fetchone() == (0,)
    db.close()


def test_locks_of_processes_that_died_between_two_steps_are_swept(path: Path) -> None:
    opened(path).close()
    stray = path.parent / "agents.db.owners" / "0123456789abcdef"
    stray.touch()
    store = opened(path)
    assert [each.name for each in stray.parent.iterdir()] != []
    assert not stray.exists()
    store.close()


# Refusals


def test_another_programs_database_is_refused_and_left_as_it_is(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (a)")
    db.close()
    path.chmod(0o644)
    before = path.read_bytes()
    told = refusal(path)
    assert "another program" in told.message
    assert not told.temporary
    assert path.read_bytes() == before
    assert modes(path) == {"agents.db": 0o644}


def test_a_newer_journal_is_refused_and_left_as_it_is(path: Path) -> None:
    opened(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    told = refusal(path)
    assert "pip install -U runware-ws" in told.message
    assert not told.temporary


@pytest.mark.parametrize("content", [b"hello, world\n", b'{"a": 1}\n' * 1000, b"\0" * 5000])
def test_a_file_that_is_no_database(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    told = refusal(path)
    assert "not a journal" in told.message or "damaged" in told.message
    assert not told.temporary
    assert path.read_bytes() == content


def grown(path: Path) -> None:
    store = opened(path)
    begin(store, *(f"{number:04}" for number in range(1000)))
    store.close()


def test_a_truncated_journal(path: Path) -> None:
    grown(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    told = refusal(path)
    assert "damaged" in told.message
    assert not told.temporary


def open_and_begin(store: SqliteStore) -> None:
    store.open(TARGET, 1.0)
    begin(store, "a")


def test_a_journal_that_is_broken_inside(path: Path) -> None:
    grown(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    store = SqliteStore(path)
    with pytest.raises(JournalError, match="damaged") as told:
        open_and_begin(store)
    store.close()
    assert str(path) in told.value.message
    assert not told.value.temporary


def test_a_folder_and_a_missing_folder(tmp_path: Path) -> None:
    assert "folder: name a file" in refusal(tmp_path).message
    missing = refusal(tmp_path / "no" / "agents.db")
    assert "create it" in missing.message
    assert not missing.temporary
    (tmp_path / "file").touch()
    assert not refusal(tmp_path / "file" / "agents.db").temporary
    os.mkfifo(tmp_path / "pipe")
    assert "regular file" in refusal(tmp_path / "pipe").message
    assert "File name too long" in refusal(tmp_path / ("x" * 300)).message


def test_a_folder_that_one_may_not_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        assert "give this user the right" in refusal(closed / "agents.db").message
        with pytest.raises(JournalError, match="give this user the right"):
            SqliteView(closed / "agents.db")
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("value", ["", ":memory:", "a\0b", "a\ud800b"])
def test_what_cannot_be_a_path(value: str) -> None:
    with pytest.raises(ConfigurationError, match="must be the path of a file"):
        SqliteStore(value)


def test_an_unknown_way_to_sync() -> None:
    with pytest.raises(ConfigurationError, match="FULL"):
        SqliteStore("a.db", synchronous="OFF")  # type: ignore[arg-type]


def test_it_is_opened_once(path: Path) -> None:
    store = opened(path)
    with pytest.raises(JournalError, match="open already"):
        store.open(TARGET, 2.0)
    begin(store, "a")
    store.close()
    with pytest.raises(JournalError, match="not open"):
        begin(store, "b")


def test_a_full_disk_is_told_and_loses_nothing(small_disk: Path) -> None:
    store = opened(small_disk / "agents.db")
    begin(store, "a")
    filler = small_disk / "filler"
    fill(filler)
    for number in range(100):
        try:
            begin(store, f"b{number}")
        except JournalError as exc:
            told = exc
            break
    else:
        pytest.fail("there was room")
    assert told.temporary
    assert "make room" in told.message
    full = refusal(small_disk / "agents.db")
    assert full.temporary
    filler.unlink()
    begin(store, "c")
    with store.transaction() as work:
        there = [entry.uuid for entry in work.entries()]
    assert there == sorted(["a", "c", *(f"b{each}" for each in range(number))])
    store.close()


def test_a_disk_full_from_the_beginning(small_disk: Path) -> None:
    fill(small_disk / "filler")
    told = refusal(small_disk / "agents.db")
    assert told.temporary
    (small_disk / "filler").unlink()
    opened(small_disk / "agents.db").close()


def test_a_disk_that_became_read_only(small_disk: Path) -> None:
    store = opened(small_disk / "agents.db")
    begin(store, "a")
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    told = refusal(small_disk / "agents.db")
    assert not told.temporary
    assert "cannot be written" in told.message


def test_a_limit_of_file_sizes(path: Path) -> None:
    said = run_python(
        """
        import resource
        path = Path(sys.argv[1])
        store = opened(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        done = 0
        try:
            while True:
                begin(store, f"{done:05}")
                done += 1
        except JournalError as exc:
            print(done, exc.temporary, exc.message)
        """,
        path,
    ).stdout
    done, temporary, message = said.split(" ", 2)
    assert temporary == "True"
    assert "limit of file sizes" in message
    store = opened(path)
    with store.transaction() as work:
        assert len(work.adopt_all().entries) == int(done) > 0
    store.close()


def test_a_process_without_files_takes_nobody_for_dead(path: Path) -> None:
    said = run_python(
        """
        import resource
        path = Path(sys.argv[1])
        store, other = opened(path), opened(path)
        begin(other, "theirs")
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        with store.transaction() as work:
            print(len(work.adopt_all().entries), work.adopt("theirs", other.owner))
        """,
        path,
    ).stdout
    assert said.split() == ["0", "False"]


def test_a_process_without_files_is_told_so(path: Path) -> None:
    opened(path).close()
    said = run_python(
        """
        import resource
        path = Path(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) - 1,) * 2)
        try:
            opened(path)
        except JournalError as error:
            print(error)
        """,
        path,
    ).stdout
    assert "limit of open files" in said


def test_somebody_keeps_it_locked(path: Path) -> None:
    store = opened(path, busy_timeout=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match=r"locked for 0\.05 s") as told:
        begin(store, "a")
    assert told.value.temporary
    assert refusal(path, busy_timeout=0.05).temporary
    other.execute("ROLLBACK")
    other.close()
    begin(store, "a")
    store.close()


def test_a_file_that_is_removed_or_replaced_under_it(path: Path) -> None:
    store = opened(path)
    begin(store, "a")
    aside = path.rename(path.with_name("aside"))
    with pytest.raises(JournalError, match="removed or replaced") as told:
        begin(store, "b")
    assert not told.value.temporary
    path.touch()
    with pytest.raises(JournalError, match="removed or replaced"):
        begin(store, "b")
    aside.rename(path)
    begin(store, "b")
    store.close()


@pytest.mark.parametrize("lost", [("-wal",), ("-shm",), ("-wal", "-shm")], ids="+".join)
def test_a_log_that_is_removed_or_replaced_under_it(path: Path, lost: tuple[str, ...]) -> None:
    store = opened(path)
    begin(store, "a")
    for part in lost:
        Path(f"{path}{part}").rename(path.with_name(f"aside{part}"))
    with pytest.raises(JournalError, match="removed or replaced") as told:
        begin(store, "b")
    assert f"agents.db{lost[0]}" in told.value.message
    assert not told.value.temporary
    for part in lost:
        path.with_name(f"aside{part}").rename(f"{path}{part}")
    begin(store, "b")
    store.close()
    assert set(uuids(path)) == {"a", "b"}


def test_who_lost_its_log_copies_nothing_over_what_others_have_committed_since(path: Path) -> None:
    store = opened(path)
    begin(store, "a")
    for part in ("-wal", "-shm"):
        Path(f"{path}{part}").unlink()
    other = (
        "store = opened(Path(sys.argv[1]))\n"
        "begin(store, *(f'b{number}' for number in range(300)))\n"
        "store.close()"
    )
    run_python(other, path)
    store.close()
    assert len(uuids(path)) == 300


def test_somebody_here_reads_the_file_and_another_process_takes_the_log_away(path: Path) -> None:
    """Closing a file frees all locks that a process has on it: the next to leave believes to be
    the last one."""
    store = opened(path)
    begin(store, "a")
    path.read_bytes()
    run_python("store = opened(Path(sys.argv[1]))\nstore.close()", path)
    assert not Path(f"{path}-wal").exists()
    with pytest.raises(JournalError, match="removed or replaced"):
        begin(store, "b")
    store.close()
    assert uuids(path) == ["a"]


def test_a_file_of_two_names_is_refused(path: Path) -> None:
    store = opened(path)
    begin(store, "a")
    other = path.with_name("other.db")
    other.hardlink_to(path)
    for name in (path, other):
        assert "hard links" in refusal(name).message
    begin(store, "b")
    store.close()
    other.unlink()
    assert uuids(path) == ["a", "b"]


def test_who_died_while_it_created_the_file_is_no_second_name(path: Path) -> None:
    begun = path.with_name(".agents.db.0123abcd")
    begun.touch(0o600)
    path.hardlink_to(begun)
    store = opened(path)
    begin(store, "a")
    assert not begun.exists()
    store.close()


def uuids(path: Path) -> list[str]:
    """All that are in the file, for one who comes anew."""
    store = opened(path)
    with store.transaction() as work:
        found = [entry.uuid for entry in work.entries()]
    store.close()
    return found


def test_a_transaction_that_is_over_does_nothing(path: Path) -> None:
    store = opened(path)
    with store.transaction() as work:
        work.begin(new("a"))
    with pytest.raises(RuntimeError, match="over"):
        work.begin(new("b"))
    store.close()


@pytest.mark.parametrize("what", ["surrogate", "size", "rule"])
def test_a_value_that_is_refused(path: Path, what: str) -> None:
    store = opened(path)
    db = store._db  # pyright: ignore[reportPrivateUsage]
    assert db is not None
    if what == "size":
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
    elif what == "rule":
        db.execute(
            "CREATE TEMP TRIGGER no BEFORE INSERT ON main.entries WHEN NEW.uuid = 'a' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    entry = new("a", "\ud800" if what == "surrogate" else "key", b"x" * 20_000)
    with pytest.raises(JournalError, match="does not take") as told, store.transaction() as work:
        work.begin(entry)
    assert told.value.about_data
    assert not told.value.temporary
    assert store.place in told.value.message
    begin(store, "b")
    store.close()
