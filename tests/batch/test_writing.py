"""Outputs of every format: written, killed, taken up, put in order, refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runware_ws import InvalidTask, OutcomeUnknown, Submitted, TaskError
from runware_ws.batch.writing import PriorAnswers, PriorError, open_output
from runware_ws.cli.exits import ExitCode, Stop
from tests.batch.conftest import (
    FORMATS,
    definite,
    disk_of,
    entry,
    opened,
    passing,
    result,
    rows,
    text_of,
    write,
)

pytestmark = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture
def out(tmp_path: Path, name: str) -> Path:
    return tmp_path / name


def listing(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_what_is_written_is_known_again(out: Path, tmp_path: Path) -> None:
    unknown = OutcomeUnknown("who knows", task_uuid="e-3", submitted=Submitted.MAYBE)
    write(
        out,
        entry(1),
        entry(2, passing()),
        entry(3, definite()),
        entry(4, unknown),
        entry(5, InvalidTask("no")),
    )
    assert listing(tmp_path) == [out.name]
    with opened(out) as writer:
        prior = writer.known()
    assert prior.results == {11}
    assert prior.errors == {
        22: PriorError("TaskError", "providerRateLimitExceeded", True, task_uuid="e-1"),
        33: PriorError("TaskError", "invalidField", False, task_uuid="e-2"),
        44: PriorError("OutcomeUnknown", None, True, unsure="e-3", task_uuid="e-3"),
        55: PriorError("InvalidTask", None, False, safe=True),
    }
    assert prior.bill.dollars == pytest.approx(0.001)
    assert [prior.done(key) for key in (11, 22, 33, 44, 55, 66)] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    assert not prior.done(33, retry_errors=True)
    assert prior.done(11, retry_errors=True)


def test_a_new_answer_replaces_an_error_and_no_result(out: Path) -> None:
    write(out, entry(1), entry(2, passing()))
    write(out, entry(1, definite()), entry(2, result("better")))
    assert [text_of(row) for row in rows(out)] == ["text 1", "better"]
    with opened(out) as writer:
        assert writer.known().results == {11, 22}


def test_a_kill_loses_nothing(out: Path) -> None:
    write(out, entry(1))
    program = """
import os, sys
from runware_ws.batch.writing import open_output
from tests.batch.conftest import entry
writer = open_output(sys.argv[1], source="runware")
writer.known()
writer.write(entry(2))
writer.write(entry(3))
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", program, str(out)], check=False, timeout=60)
    assert done.returncode == 9
    with opened(out) as writer:
        assert writer.known().results == {11, 22, 33}
        writer.write(entry(4))
        writer.finish()
    assert [text_of(row) for row in rows(out)] == [f"text {n}" for n in (1, 2, 3, 4)]


def test_sorted_in_the_order_of_the_input(out: Path, tmp_path: Path) -> None:
    write(out, entry(3), entry(1, passing()))
    with opened(out, sort=True) as writer:
        writer.known()
        for number in (5, 1, 2):
            writer.write(entry(number))
        # A blank line was put before line 3 since the run before.
        writer.finish([(11, 1), (22, 2), (33, 4), (44, 5), (55, 6)])
    assert [(int(row["line"]), text_of(row)) for row in rows(out)] == [
        (1, "text 1"),
        (2, "text 2"),
        (4, "text 3"),
        (6, "text 5"),
    ]
    assert listing(tmp_path) == [out.name]


def test_lines_that_are_gone_are_set_aside_and_still_cost(out: Path, tmp_path: Path) -> None:
    write(out, entry(1), entry(2))
    with opened(out) as writer:
        writer.known()
        writer.set_aside({11})
        writer.write(entry(3))
        writer.finish()
    assert [text_of(row) for row in rows(out)] == ["text 2", "text 3"]
    assert listing(tmp_path) == [out.name, f"{out.name}.stale"]
    with opened(out) as writer:
        prior = writer.known()
    assert prior.results == {22, 33}
    assert prior.bill.dollars == pytest.approx(0.003)


def test_lines_that_are_there_again_come_back(out: Path, tmp_path: Path) -> None:
    write(out, entry(1), entry(2, definite(), retry_of="e-0"), entry(3))
    with opened(out) as writer:
        writer.known()
        writer.set_aside({11, 22})
        writer.finish()
    for _ in range(2):  # The second time nothing is there any more.
        with opened(out) as writer:
            prior = writer.known()
            back = {key for key in (11, 22, 33, 44) if prior.recall(key)}
            writer.bring_back(back)
            writer.finish()
        assert (prior.results, set(prior.errors)) == ({11, 33}, {22})
        assert prior.errors[22].retry_of == "e-0"
        assert prior.bill.dollars == pytest.approx(0.002)
    assert sorted(text_of(row) or "" for row in rows(out)) == ["", "text 1", "text 3"]
    assert listing(tmp_path) == [out.name]


def test_what_comes_back_outlives_a_kill_and_comes_from_the_same_place(out: Path) -> None:
    write(out, entry(1), entry(2))
    with opened(out) as writer:
        writer.known()
        writer.set_aside({11})
        writer.finish()
    with opened(out) as writer:
        writer.known()
        writer.bring_back({11})
    with opened(out) as writer:
        prior = writer.known()
        assert (prior.results, prior.aside) == ({11, 22}, PriorAnswers())
        assert prior.bill.dollars == pytest.approx(0.002)
        writer.set_aside({11})
        writer.finish()
    out.unlink()
    with opened(out, source="emulator") as writer:
        assert not writer.known().recall(11)


def put_aside(out: Path, key: int) -> tuple[Path, bytes]:
    """Set one answer aside; where it is then, and what is there."""
    with opened(out) as writer:
        writer.known()
        writer.set_aside({key})
        writer.finish()
    stale = out.with_name(out.name + ".stale")
    return stale, stale.read_bytes()


def test_what_a_kill_left_in_both_places_was_paid_for_once(out: Path) -> None:
    write(out, entry(1), entry(2))
    before = out.read_bytes()
    stale, aside = put_aside(out, 11)
    with opened(out) as writer:
        writer.known()
        writer.bring_back({11})
        writer.finish()
    stale.write_bytes(aside)  # As if the kill had come before it was removed there.
    with opened(out) as writer:
        assert writer.known().bill.dollars == pytest.approx(0.002)
    out.write_bytes(before)  # Or before it was removed here.
    with opened(out) as writer:
        assert writer.known().bill.dollars == pytest.approx(0.002)


def test_what_is_found_of_a_task_that_a_kill_left_in_doubt_in_both_places_costs(out: Path) -> None:
    """What is in doubt has cost nothing yet."""
    write(out, entry(1), entry(2, OutcomeUnknown("who knows", task_uuid="u-2")))
    stale, aside = put_aside(out, 22)
    with opened(out) as writer:
        writer.known()
        writer.bring_back({22})
        stale.write_bytes(aside)  # As if the kill had come before it was removed there.
    write(out, entry(2, result("found", taskUUID="u-2")))
    with opened(out) as writer:
        assert writer.known().bill.dollars == pytest.approx(0.002)


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_an_output_that_goes_while_it_is_written_is_no_success(
    how: str, out: Path, name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    write(folder / name, entry(1))
    with opened(folder / name) as writer:
        writer.known()
        writer.write(entry(2))
        folder.rename(tmp_path / "there")
        if how == "replaced":
            folder.mkdir()
            for each in (tmp_path / "there").iterdir():
                (folder / each.name).write_bytes(each.read_bytes())
        acts: tuple[Callable[[], None], ...] = (lambda: writer.write(entry(3)), writer.finish)
        for act in acts:
            with pytest.raises(Stop) as caught:
                act()
            assert "was removed or replaced while this run wrote it" in caught.value.message
            assert "kept" not in caught.value.message


def test_an_error_that_was_billed_still_costs_when_it_is_replaced(out: Path) -> None:
    billed = TaskError("cut", code="providerError", retryable=True, items=[{"cost": 0.5}])
    write(out, entry(1, billed))
    write(out, entry(1))
    with opened(out) as writer:
        prior = writer.known()
    assert (prior.results, prior.errors) == ({11}, {})
    assert prior.bill.dollars == pytest.approx(0.501)


@pytest.mark.parametrize(("first", "second"), [("emulator", "runware"), ("ws://a/v1", "ws://b/v1")])
def test_answers_from_elsewhere_are_refused(out: Path, first: str, second: str) -> None:
    write(out, entry(1), source=first)
    before = out.read_bytes()
    with opened(out, source=second) as writer, pytest.raises(Stop) as caught:
        writer.known()
    assert caught.value.code is ExitCode.USAGE
    assert "choose another output" in caught.value.message
    assert {"emulator": "--emulate"}.get(first, first) in caught.value.message
    assert out.read_bytes() == before


def test_a_file_of_somebody_else_is_refused(out: Path) -> None:
    for text in (b"a,b\n1,2\n", b'{"line": 1}\n', b"dear diary", b'{"custom_id":"a"}'):
        out.write_bytes(text)
        with pytest.raises(Stop, match="was not written by this command"), opened(out) as writer:
            writer.known()
        assert out.read_bytes() == text


def test_one_run_at_a_time_under_any_name(out: Path, tmp_path: Path) -> None:
    link = tmp_path / f"link{out.suffix}"
    link.symlink_to(out)
    with opened(link) as writer:
        writer.known()
        for name in (out, link):
            with pytest.raises(Stop, match="another run writes it"):
                open_output(name, source="runware")
        writer.write(entry(1))
        writer.finish()
    assert link.is_symlink()
    write(out, entry(2))
    assert [text_of(row) for row in rows(out)] == ["text 1", "text 2"]
    assert listing(tmp_path) == sorted([out.name, link.name])


def test_a_link_to_another_file_system(out: Path, name: str) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or os.stat(other).st_dev == os.stat(out.parent).st_dev:
        pytest.skip("there is no second file system")
    folder = other / f"runware-ws-test-{os.getpid()}"
    folder.mkdir()
    try:
        out.symlink_to(folder / name)
        write(out, entry(1, passing()))
        write(out, entry(1), sort=True)
        assert out.is_symlink()
        assert [text_of(row) for row in rows(folder / name)] == ["text 1"]
        assert listing(folder) == [name]
    finally:
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()


def test_a_full_disk_tears_nothing(out: Path, tmp_path: Path) -> None:
    write(out, entry(1))
    size = max(each.stat().st_size for each in tmp_path.iterdir())
    written = {11}
    with opened(out) as writer:
        writer.known()
        with disk_of(max(2000, size + 700)), pytest.raises(Stop) as caught:  # noqa: PT012
            for number in range(2, 100):
                writer.write(entry(number))
                written.add(number * 11)
    assert caught.value.code is ExitCode.USAGE
    assert "cannot be written" in caught.value.message
    assert len(written) < 99
    with opened(out) as writer:
        prior = writer.known()
        assert prior.results == written
        assert not prior.torn
        writer.write(entry(100))
        writer.finish()
    assert len(rows(out)) == len(written) + 1


def test_an_empty_file_is_an_empty_output(out: Path) -> None:
    out.touch()
    write(out, entry(1))
    assert [text_of(row) for row in rows(out)] == ["text 1"]


def test_a_run_without_lines_leaves_a_file_that_can_be_read(out: Path) -> None:
    write(out)
    write(out)
    assert rows(out) == []


def test_odd_texts_come_back_as_they_were(out: Path) -> None:
    texts = [
        'a "quoted", cell',
        "two\nlines\r\n",
        "nul \0",
        "é 漢字 \U0001f600",
        "=1+1",
        "y" * 200_000,
    ]
    write(out, *(entry(n, result(text)) for n, text in enumerate(texts, 1)))
    write(out, entry(99, passing()))
    write(out, entry(99, result("last")))
    found = [text_of(row) for row in rows(out)] if out.suffix != ".csv" else csv_texts(out)
    assert found == [*texts, "last"]


def csv_texts(out: Path) -> list[str | None]:
    import csv

    csv.field_size_limit(10**7)
    try:
        return [text_of(row) for row in rows(out)]
    finally:
        csv.field_size_limit(131_072)


def test_a_lone_surrogate_or_a_long_integer_stops_no_run(out: Path) -> None:
    write(out, entry(1, id=("id", "\ud800")), entry(2, id=("id", 10**22 + 1)))
    write(out, entry(3))
    with opened(out) as writer:
        assert writer.known().results == {11, 22, 33}
    ids = [row["id"] for row in rows(out)]
    assert str(ids[1]) == str(10**22 + 1)
