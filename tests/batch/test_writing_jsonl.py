"""JSON lines: torn ends, shapes, streams, and names that are refused."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from runware_ws import InvalidTask, Result, RunwareError, TaskCancelled, TaskError, TaskTimeout
from runware_ws.batch.writing import BATCH, OURS, Shape, open_output, source_name
from runware_ws.batch.writing.jsontext import dumps, loads
from runware_ws.cli.exits import Stop
from runware_ws.models import ErrorFamily
from tests.batch.conftest import (
    definite,
    disk_of,
    entry,
    opened,
    passing,
    result,
    rows,
    write,
)


def write_lines(out: Path, count: int, **options: Any) -> None:
    write(out, *map(entry, range(1, count + 1)), **options)


@pytest.mark.parametrize("shape", ["ours", BATCH])
def test_a_file_cut_anywhere_is_mended(shape: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_lines(out, 2, shape=shape)
    whole = out.read_bytes()
    first = whole.index(b"\n") + 1
    for size in (*range(first, first + 20), *range(first + 20, len(whole), 9), len(whole) - 1):
        for zeros in (b"", b"\0" * 3):
            out.write_bytes(whole[:size] + zeros)
            with opened(out, shape=shape) as writer:
                prior = writer.known()
                complete = size == len(whole) - 1
                assert prior.results == ({11, 22} if complete else {11})
                assert prior.torn == (size + len(zeros) > first and not complete)
                if not complete:
                    writer.write(entry(2))
                writer.finish()
            assert out.read_bytes() == whole


def test_the_end_of_a_foreign_file_is_no_torn_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_lines(out, 1)
    text = out.read_bytes() + b"my notes"
    out.write_bytes(text)
    with opened(out) as writer, pytest.raises(Stop, match="out:2: was not written"):
        writer.known()
    assert out.read_bytes() == text


def test_the_batch_shape(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    rate = TaskError("slow", code="rateLimit", family=ErrorFamily.RATE, retryable=True)
    answers: list[tuple[Any, Result | RunwareError]] = [
        (("custom_id", "a"), result("hi")),
        (("id", 12), rate),
        (None, InvalidTask("bad")),
        (None, TaskTimeout("late")),
        (None, TaskCancelled("enough")),
    ]
    with opened(out, shape=BATCH) as writer:
        writer.known()
        for number, (line_id, answer) in enumerate(answers, 1):
            writer.write(entry(number, answer, id=line_id))
        writer.finish()
    found = rows(out)
    assert [each["custom_id"] for each in found] == ["a", "12", "line-3", "line-4", "line-5"]
    assert [each["result"]["type"] for each in found] == [
        "succeeded",
        "errored",
        "errored",
        "expired",
        "canceled",
    ]
    message = found[0]["result"]["message"]
    assert message["content"] == [{"type": "text", "text": "hi"}]
    assert (message["model"], message["stop_reason"]) == ("claude-haiku-4-5", "end_turn")
    assert message["usage"] == {"input_tokens": 7, "output_tokens": 3}
    errors = [each["result"]["error"]["error"]["type"] for each in found[1:3]]
    assert errors == ["rate_limit_error", "invalid_request_error"]
    with opened(out, shape=BATCH) as writer:
        prior = writer.known()
    assert prior.results == {11}
    assert {key for key in prior.errors if not prior.done(key)} == {22, 44, 55}
    assert prior.bill.dollars == pytest.approx(0.001)


def test_the_batch_shape_is_what_the_published_client_reads(tmp_path: Path) -> None:
    from anthropic.types.messages import MessageBatchIndividualResponse

    out = tmp_path / "out"
    tool = {"id": "c", "name": "add", "arguments": {"a": 10**20}}
    with opened(out, shape=BATCH) as writer:
        writer.known()
        writer.write(entry(1, result("hi", toolCalls=[tool])))
        writer.write(entry(2, definite()))
        writer.write(entry(3, TaskTimeout("late")))
        writer.finish()
    read = [
        MessageBatchIndividualResponse.model_validate_json(line, strict=False)
        for line in out.read_text().splitlines()
    ]
    assert [each.result.type for each in read] == ["succeeded", "errored", "expired"]


def test_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_lines(out, 1)
    with opened(out, shape=BATCH) as writer, pytest.raises(Stop, match="give --shape ours"):
        writer.known()


def test_sorting_gives_lines_without_an_id_their_number(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(
        out, entry(2, id=None), entry(1, id=None), order=[(11, 1), (22, 3)], shape=BATCH, sort=True
    )
    assert [each["custom_id"] for each in rows(out)] == ["line-1", "line-3"]
    assert [each["runware"]["line"] for each in rows(out)] == [1, 3]


def test_an_id_of_the_users_own_stays_whatever_it_looks_like(tmp_path: Path) -> None:
    """People number their lines so. A renumbered one would be the answer to another line."""
    out = tmp_path / "out"
    write(
        out,
        entry(1, id=("custom_id", "line-1")),
        entry(2, id=("custom_id", "line-2")),
        order=[(11, 1), (22, 2)],
        shape=BATCH,
        sort=True,
    )
    write(
        out,
        entry(3, id=("custom_id", "line-0")),
        order=[(33, 1), (11, 2), (22, 3)],
        shape=BATCH,
        sort=True,
    )
    assert [each["custom_id"] for each in rows(out)] == ["line-0", "line-1", "line-2"]
    assert [each["runware"]["line"] for each in rows(out)] == [1, 2, 3]


@pytest.mark.parametrize("shape", [OURS, BATCH])
def test_sorting_tells_new_numbers_where_nothing_else_is_new(shape: Shape, tmp_path: Path) -> None:
    """A blank line was put before them: they stand in order, and have other numbers."""
    out = tmp_path / "out"
    write(
        out, entry(1, id=None), entry(2, id=None), order=[(11, 1), (22, 2)], shape=shape, sort=True
    )
    write(out, order=[(11, 2), (22, 3)], shape=shape, sort=True)
    assert [each.get("runware", each)["line"] for each in rows(out)] == [2, 3]
    if shape == BATCH:
        assert [each["custom_id"] for each in rows(out)] == ["line-2", "line-3"]


def test_sorting_leaves_one_line_for_each_key_where_nothing_else_is_new(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(out) as writer:
        writer.known()
        writer.write(entry(1, passing()))
        writer.write(entry(1))  # killed before it could finish
    write(out, order=[(11, 1)], sort=True)
    assert [each["result"]["text"] for each in rows(out)] == ["text 1"]


@pytest.mark.parametrize("name", ["o.json", "o.jsonl.gz", "o.xlsx", "o.txt"])
def test_an_unknown_suffix(name: str, tmp_path: Path) -> None:
    with pytest.raises(Stop) as caught:
        open_output(tmp_path / name, source="runware")
    for known in (".jsonl", ".csv", ".parquet", ".sqlite"):
        assert known in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_shape_for_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stop, match="is for JSON lines"):
        open_output(tmp_path / "o.csv", source="runware", shape=BATCH)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in (tmp_path, tmp_path / "no" / "where", tmp_path / "loop"):
        with pytest.raises(Stop) as caught:
            open_output(name, source="runware")
        assert str(name) in caught.value.message


def test_an_error_line_without_a_source_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text('{"line":1,"key":"0b","result":{"text":"x"}}\n')
    with opened(out) as writer, pytest.raises(Stop, match="an earlier version wrote it"):
        writer.known()


def test_a_full_device() -> None:
    with opened("/dev/full") as writer:
        assert not writer.can_resume
        with pytest.raises(Stop, match="/dev/full: cannot be written: No space left"):
            writer.write(entry(1))


def test_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with opened("-") as writer:
        assert writer.known().keys() == set()
        writer.write(entry(2))
        assert json.loads(capfdbinary.readouterr().out)["line"] == 2
        writer.write(entry(1))
        writer.finish()
    assert json.loads(capfdbinary.readouterr().out)["line"] == 1


def test_standard_output_in_order(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with opened("-", sort=True) as writer:
        for number in (3, 1, 2):
            writer.write(entry(number))
        assert capfdbinary.readouterr().out == b""
        writer.finish([(11, 1), (22, 2), (33, 3)])
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["line"] for line in lines] == [1, 2, 3]


def test_a_stream_in_order_needs_room_for_a_copy(
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with opened("-", sort=True) as writer:
        writer.write(entry(2))
        with (
            disk_of(2_000),
            pytest.raises(Stop, match="of --sort: cannot be written: File too large"),
        ):
            writer.write(entry(1, result("x" * 4_000)))
        writer.write(entry(3))
        writer.finish([(11, 1), (22, 2), (33, 3)])
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["line"] for line in lines] == [2, 3]
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        for out in ("-", "/dev/null"):
            with pytest.raises(Stop, match="of --sort: cannot be written: No such file"):
                open_output(out, source="runware", sort=True)


def test_a_closed_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.TextIOWrapper(io.BytesIO())
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    with opened("-") as writer, pytest.raises(Stop, match="standard output: is closed"):
        writer.write(entry(1))
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(Stop, match="standard output: is closed"):
        open_output("-", source="runware")


def test_a_pipe_whose_reader_went(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with opened(pipe) as writer:
        writer.write(entry(1))
        assert json.loads(os.read(reader, 10_000))["line"] == 1
        os.close(reader)
        with pytest.raises(Stop, match="Broken pipe; the 1 lines"):
            writer.write(entry(2))


def test_the_mode_of_the_file_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_lines(out, 1)
    out.chmod(0o600)
    with opened(out) as writer:
        writer.known()
        writer.write(entry(2, passing()))
        writer.write(entry(2))
        writer.set_aside({11})
        writer.finish()
    assert out.stat().st_mode & 0o777 == 0o600


def test_json_is_exact() -> None:
    value = {"a": 10**30, "b": "\ud83d", "c": [2**63, -(2**70), 0.1], "d": "1" * 30}
    assert loads(dumps(value)) == value
    with pytest.raises(ValueError, match=r"."):
        loads(b'{"a": ')


def test_an_answer_without_anything(tmp_path: Path) -> None:
    for name in ("o.jsonl", "o.csv", "o.parquet", "o.sqlite"):
        with opened(tmp_path / name) as writer:
            writer.known()
            writer.write(entry(1, Result("u", []), id=None, model=None, seconds=None))
            writer.finish()
        with opened(tmp_path / name) as writer:
            assert writer.known().results == {11}


def test_the_name_of_a_source_tells_no_secret() -> None:
    assert source_name(None) == source_name("wss://ws-api.runware.ai/v1") == "runware"
    assert source_name(None, emulate=True) == "emulator"
    told = source_name("wss://user:secret@[::1]:8443/v1/?token=secret")
    assert told == "wss://[::1]:8443/v1"


def test_a_torn_line_of_the_side_file_spoils_no_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "out.stale").write_bytes(b'{"line":9,"key":"')
    write_lines(out, 2)
    with opened(out) as writer:
        writer.known()
        writer.set_aside({11})
        writer.finish()
    with opened(out) as writer:
        assert writer.known().bill.dollars == pytest.approx(0.002)
