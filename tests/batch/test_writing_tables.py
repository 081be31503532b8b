"""Tables: their columns, a disk that is full when they are written, files of other programs."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from runware_ws import TaskError
from runware_ws.batch.writing import COLUMNS, open_output
from runware_ws.cli.exits import Stop
from tests.batch.conftest import definite, disk_of, entry, opened, passing, result, rows, write


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.sqlite"])
def test_the_columns(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    calls = [{"id": "c1", "name": "add", "arguments": {"a": 1}}]
    answer = result("hi", toolCalls=calls, reasoningContent="hm")
    failed = TaskError("slow down", code="rateLimit", retryable=True, task_uuid="e-9")
    write(out, entry(7, answer), entry(8, failed))
    first, second = rows(out)
    assert list(first) == list(COLUMNS)
    values = {name: str(value) for name, value in first.items() if value not in (None, "")}
    raw = json.loads(values.pop("raw"))
    assert json.loads(values.pop("tool_calls")) == calls
    assert raw == answer.raw
    assert values == {
        "line": "7",
        "key": "000000000000004d",
        "id": "n7",
        "text": "hi",
        "reasoning": "hm",
        "model": "claude-haiku-4-5",
        "finish_reason": "stop",
        "input_tokens": "7",
        "output_tokens": "3",
        "cost": "0.001",
        "recovered_by": "live",
        "task_uuid": "u-hi",
        "seconds": "0.25",
        "source": "runware",
    }
    assert (second["error_type"], second["error_code"]) == ("TaskError", "rateLimit")
    assert second["error_message"] == "slow down"
    assert str(second["error_retryable"]).lower() in ("true", "1")


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.sqlite"])
def test_every_character_of_an_answer_comes_back(name: str, tmp_path: Path) -> None:
    texts = ["a\rb", "\r", "a\r\nb\nc", "\n", "a\0b", "\x0b\x1c\x85\u2028", "\ufeffx", '"', ",;\t"]
    texts += ["=1+1", "'", "  x ", "\\N", "null", "\U0001f600"]
    out = tmp_path / name
    write(out, *(entry(number, result(text)) for number, text in enumerate(texts, 1)))
    assert [row["text"] for row in rows(out)] == texts
    with opened(out) as writer:  # The next run reads them again, and writes them anew.
        assert len(writer.known().results) == len(texts)
        writer.write(entry(99))
        writer.finish()
    assert [row["text"] for row in rows(out)] == [*texts, "text 99"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.sqlite"])
def test_a_number_that_no_table_has_is_a_null(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    usage = {"inputTokens": 1 << 63, "outputTokens": (1 << 63) - 1}
    write(out, entry(1, result("a", usage=usage)))
    (row,) = rows(out)
    assert row["input_tokens"] in (None, "")
    assert int(row["output_tokens"]) == (1 << 63) - 1
    assert json.loads(row["raw"])[0]["usage"] == usage


@pytest.mark.parametrize("name", ["out", "out.csv", "out.parquet"])
def test_a_disk_that_is_full_in_the_end_leaves_the_old_file(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    many = [entry(number, result("x" * 50)) for number in range(1, 40)]
    write(out, *many, entry(40, passing()))
    before = out.read_bytes()
    noise = os.urandom(2000).hex()  # Which no compression makes small.
    with opened(out) as writer:
        writer.known()
        writer.write(entry(40, result(noise)))
        held = out.read_bytes()
        with disk_of(900), pytest.raises(Stop, match="cannot be written"):
            writer.finish([])
    assert out.read_bytes() == held
    assert held.startswith(before)
    assert not list(tmp_path.glob("*.new"))
    with opened(out) as writer:
        assert len(writer.known().results) == 40
        writer.finish()
    assert len(rows(out)) == 40


def test_another_programs_database_is_untouched(tmp_path: Path) -> None:
    out = tmp_path / "out.sqlite"
    db = sqlite3.connect(out)
    db.execute("CREATE TABLE answers (key TEXT)")
    db.commit()
    db.close()
    before = out.read_bytes()
    with pytest.raises(Stop, match="was not written by this command"):
        open_output(out, source="runware")
    assert out.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["out.sqlite"]


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.sqlite"
    write(out, entry(1))
    db = sqlite3.connect(out)
    db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(Stop, match="a newer version of this command wrote it: upgrade"):
        open_output(out, source="runware")


def test_a_locked_database_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.sqlite"
    write(out, entry(1))
    monkeypatch.setattr("runware_ws.batch.writing.sqlite.BUSY_TIMEOUT", 0.01)
    other = sqlite3.connect(out)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(Stop, match="close the program that holds it"), opened(out) as writer:
            writer.known()
    finally:
        other.close()


def test_rows_are_there_while_the_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out.sqlite"
    with opened(out) as writer:
        writer.known()
        writer.write(entry(1))
        assert [row["text"] for row in rows(out)] == ["text 1"]


def test_a_reader_in_between_does_not_fail_the_run(tmp_path: Path) -> None:
    out = tmp_path / "out.sqlite"
    with opened(out) as writer:
        writer.known()
        writer.write(entry(1))
        reader = sqlite3.connect(out)
        try:
            assert reader.execute("SELECT count(*) FROM answers").fetchone() == (1,)
            writer.write(entry(2))
            writer.finish()
            assert not (tmp_path / "out.sqlite-wal").stat().st_size  # All is in the file itself.
            assert reader.execute("SELECT count(*) FROM answers").fetchone() == (2,)
        finally:
            reader.close()
    write(out, entry(3))
    assert (len(rows(out)), [each.name for each in tmp_path.iterdir()]) == (3, [out.name])


def test_a_reader_that_holds_an_old_state_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runware_ws.batch.writing.sqlite.BUSY_TIMEOUT", 0.01)
    out = tmp_path / "out.sqlite"
    with opened(out) as writer:
        writer.known()
        writer.write(entry(1))
        reader = sqlite3.connect(out, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM answers").fetchone()
        writer.write(entry(2))
        with pytest.raises(Stop, match="close the program that holds it"):
            writer.finish()
        reader.close()
    write(out, entry(3))
    assert (len(rows(out)), [each.name for each in tmp_path.iterdir()]) == (3, [out.name])


def test_sorting_leaves_the_users_views_and_indexes_alone(tmp_path: Path) -> None:
    out = tmp_path / "out.sqlite"
    write(out, *(entry(number) for number in (3, 1, 5, 2, 4)))
    db = sqlite3.connect(out)
    db.execute("CREATE VIEW texts AS SELECT text FROM answers")
    db.execute("CREATE INDEX by_model ON answers (model)")
    db.close()
    write(out, entry(6), order=[(n * 11, 7 - n) for n in (6, 4, 3, 2, 1)], sort=True)
    assert [(row["text"], row["line"]) for row in rows(out)] == [
        *((f"text {n}", 7 - n) for n in (6, 4, 3, 2, 1)),
        ("text 5", 5),  # It is not in the input any more.
    ]
    db = sqlite3.connect(out)
    assert db.execute("SELECT count(*) FROM texts").fetchone() == (6,)
    assert db.execute("SELECT name FROM sqlite_master WHERE name = 'by_model'").fetchone()
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_without_pyarrow_the_cure_is_named(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["pyarrow"] = None
from runware_ws.batch.writing import open_output
from runware_ws.cli.exits import Stop
open_output("out.csv", source="runware").close()
try:
    open_output("out.parquet", source="runware")
except Stop as stop:
    print(stop.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "pip install 'runware-ws[table]'" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_kill_right_after_the_table_was_written_counts_nothing_twice(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with opened(out) as writer:
        writer.known()
        writer.write(entry(1))
        writer.write(entry(2))
        side = (tmp_path / "out.csv.rows").read_bytes()
        writer.finish()
    (tmp_path / "out.csv.rows").write_bytes(side)
    with opened(out) as writer:
        prior = writer.known()
        writer.finish()
    assert (prior.results, prior.bill.dollars) == ({11, 22}, pytest.approx(0.002))
    assert [row["text"] for row in rows(out)] == ["text 1", "text 2"]
    assert not list(tmp_path.glob("*.stale"))


@pytest.mark.parametrize("word", ["TRUE", "True"])
def test_a_table_that_a_spreadsheet_saved_says_the_same(word: str, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    write(out, entry(1, passing()), entry(2, definite()), entry(3))
    text = out.read_text().replace(",true,", f",{word},").replace(",false,", ",FALSE,")
    out.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    with opened(out) as writer:
        prior = writer.known()
    assert prior.results == {33}
    assert {key: error.retryable for key, error in prior.errors.items()} == {11: True, 22: False}
