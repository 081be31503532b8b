"""The next run after one that did not come to its end, or of lines that went and came back."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from runware_ws import ConfigurationError
from runware_ws.batch import run_batch
from runware_ws.batch.reading import Facts, Line
from runware_ws.batch.run_opening import OpenedBatch
from runware_ws.batch.run_seeding import seed_journal
from runware_ws.emulator import Emulator, ReplyError, Request
from tests.batch.run_bench import KEY, answers, bench, names, records, write_prompts
from tests.batch.support import asks_soon

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    asks_soon(monkeypatch)


async def test_a_run_that_is_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(5), *(f"hold {n}" for n in range(5)))
        await b.cut_off(lambda: b.held == 5 and b.output.read_bytes().count(b"\n") == 5)
        assert (tmp_path / "out.journal").exists()
        b.hold.set()
        # Other lines, another order and another spelling change nothing.
        lines = b.input.read_text().splitlines()
        wide = (json.dumps(json.loads(line), separators=(" , ", " : ")) for line in lines[:0:-1])
        b.input.write_text('{"id": "new", "prompt": "ask new"}\n\n' + "\n".join(wide))
        report = await b.run()
        assert report.complete
        assert (report.before, report.done, report.found) == (4, 6, 5)
        assert len(answers(b.output)) == 10
        assert b.executed == 11
    assert names(tmp_path) == ["in", "out", "out.stale"]


@pytest.mark.parametrize("answered", ["meanwhile", "later"])
async def test_a_line_that_is_taken_out_while_it_is_in_flight_may_come_back(
    answered: str, tmp_path: Path
) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(5), "hold")
        await b.cut_off(lambda: b.held == 1 and b.output.read_bytes().count(b"\n") == 5)
        write_prompts(b.input, *range(6))
        if answered == "meanwhile":
            b.hold.set()
        assert (await b.run()).complete
        assert (tmp_path / "out.journal").exists()
        assert (await b.run()).complete
        b.hold.set()
        write_prompts(b.input, *range(6), "hold")
        report = await b.run()
        assert (report.complete, report.found, b.executed) == (True, 1, 7)
    assert names(tmp_path) == ["in", "out"]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("out", "ours"), ("out", "anthropic-batch"), ("out.csv", "ours"), ("out.sqlite", "ours")],
)
async def test_a_changed_line_with_a_task_uuid_of_its_own_gets_an_answer_of_its_own(
    name: str, shape: Literal["ours", "anthropic-batch"], tmp_path: Path
) -> None:
    """The server would answer the old taskUUID with what it was asked before."""
    uuid = "7F3D7A52-3a0f-4d59-9f0e-0d6a3f1b2c4d"
    async with bench(tmp_path) as b:
        b.output = tmp_path / name

        def write(prompt: str) -> None:
            task = {"taskUUID": uuid, "messages": [{"role": "user", "content": prompt}]}
            b.input.write_text(json.dumps(task) + '\n{"prompt": "ask other"}\n')

        write("ask one")
        assert (await b.run(shape=shape)).done == 2
        assert uuid.lower() in b.output.read_bytes().decode("latin-1")
        for prompt in ("ask two", "ask three"):  # The first answer is in OUT, then beside it.
            write(prompt)
            assert (await b.run(shape=shape, sort=True)).done == 1
            assert f": {prompt}".encode() in b.output.read_bytes()
        assert b.executed == 4
        write("ask one")  # And this one is there again.
        assert (await b.run(shape=shape, sort=True)).before == 2
        assert b": ask one" in b.output.read_bytes()
        assert b.executed == 4


@pytest.mark.parametrize("name", ["out", "out.csv", "out.sqlite"])
async def test_a_line_that_comes_back_is_not_paid_for_again(name: str, tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.output = tmp_path / name
        write_prompts(b.input, *range(6))
        cost = (await b.run()).cost
        write_prompts(b.input, *range(2))
        assert (await b.run()).before == 2
        write_prompts(b.input, *range(3, 6), "new")
        forecast = (await b.run(dry_run=True)).forecast
        assert "1 to send, 3 done before" in forecast[0]
        report = await b.run()
        assert (report.complete, report.before, report.done) == (True, 3, 1)
        assert report.total_cost == pytest.approx(cost + report.cost)
        write_prompts(b.input, *range(6), "new")
        assert (await b.run(sort=True)).before == 7
        assert b.executed == 7
        assert any("3 lines are back" in said for said in b.said)
    assert names(tmp_path) == ["in", name]


async def test_a_line_in_doubt_that_comes_back_is_asked_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, "a", "hold")
        for timeout in (0.5, 2, 20):  # A busy machine may need longer to get the task out.
            assert (await b.run(timeout=timeout)).curable == 1
            if b.held:
                break
        write_prompts(b.input, "a")
        assert (await b.run()).complete
        assert (tmp_path / "out.journal").exists()
        b.hold.set()
        write_prompts(b.input, "a", "hold")
        report = await b.run()
        assert (report.complete, report.found, b.executed) == (True, 1, 2)
    assert names(tmp_path) == ["in", "out"]


async def test_another_journal_is_refused_while_the_outputs_own_has_lines_in_hand(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(3), "hold 1", "hold 2")
        await b.cut_off(lambda: b.held == 2 and b.output.read_bytes().count(b"\n") == 3)
        b.hold.set()
        shared = tmp_path / "shared.db"
        with pytest.raises(
            ConfigurationError, match=r"out\.journal has 2 .* in hand.*without"
        ) as told:
            await b.run(journal=shared)
        assert told.value.message.startswith("journal: ")
        # What is not in this input is in nobody's way.
        whole = b.input.read_text()
        write_prompts(b.input, *range(3), "other")
        assert (await b.run(journal=shared)).done == 1
        b.input.write_text(whole)
        assert (await b.run()).complete
        assert (await b.run(journal=shared)).complete
        assert b.executed == 6


@pytest.mark.parametrize("name", [None, "shared.db"])
async def test_what_a_run_had_in_flight_counts_before_other_lines(
    name: str | None, tmp_path: Path
) -> None:
    journal = None if name is None else tmp_path / name
    async with bench(tmp_path) as b:
        # The output's own journal may have other work's keys, too.
        write_prompts(b.input, *range(3), max_tokens=10)
        await b.run(output=tmp_path / "other", journal=tmp_path / "out.journal")
        held = [f"hold {n}" for n in range(10)]
        write_prompts(b.input, *held, max_tokens=10)
        await b.cut_off(lambda: b.held == 10, journal=journal)
        b.hold.set()
        write_prompts(b.input, *range(10), *held, max_tokens=10)
        report = await b.run(max_cost=0.0007, concurrency=1, journal=journal)
        assert report.stopped is not None
        executed = b.executed - 3
        assert executed * report.total_cost / report.done <= 0.0007  # Also what is not told yet.
        assert report.found == 10


async def test_what_may_have_been_paid_for_counts_before_other_lines(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        held = [f"hold {n}" for n in range(5)]
        write_prompts(b.input, *held, max_tokens=10)
        assert (await b.run(timeout=0.5)).errors == 5
        b.hold.set()
        write_prompts(b.input, *range(10), *held, max_tokens=10)
        report = await b.run(max_cost=0.0004, concurrency=1)
        assert report.stopped is not None
        assert report.found == 5
        assert b.executed * report.total_cost / report.done <= 0.0004


async def test_a_journal_that_was_not_made_when_its_run_died_is_made(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(3))
        (tmp_path / "out.journal").touch()
        assert (await b.run()).complete
    assert names(tmp_path) == ["in", "out"]


async def test_a_journal_that_stays_is_left_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(3))
        assert (await b.run(journal=tmp_path / "out.journal")).done == 3
        assert (await b.run()).before == 3  # Other work's keys are in it.
    assert (tmp_path / "out.journal").exists()
    assert ignored == []


@pytest.mark.parametrize("more", ["/", "?token=new"])
async def test_another_url_of_the_same_server_is_refused_while_the_journal_has_lines_in_hand(
    more: str, tmp_path: Path
) -> None:
    """An output takes the answers of both for those of one server; a journal tells them apart."""
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(3), "hold 1", "hold 2")
        await b.cut_off(lambda: b.held == 2 and b.output.read_bytes().count(b"\n") == 3)
        b.hold.set()
        with pytest.raises(ConfigurationError, match=r"out\.journal has 2 .* in hand") as told:
            await b.run(url=b.emulator.url + more)
        assert told.value.message.startswith("url: ")
        assert "token" not in told.value.message
        assert (await b.run()).complete
        assert (await b.run(url=b.emulator.url + more)).before == 5
        assert b.executed == 5
    assert names(tmp_path) == ["in", "out"]


async def test_what_another_server_has_in_hand_is_not_forgotten(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, Emulator(KEY) as other:
        write_prompts(b.input, "hold")
        await b.cut_off(lambda: b.held == 1)
        assert (await b.run(url=other.url)).complete
        assert (tmp_path / "out.journal").exists()
        b.hold.set()
        b.output.unlink()
        report = await b.run()
        assert (report.complete, report.found, b.executed) == (True, 1, 1)


async def test_what_was_recorded_and_not_written_is_not_asked_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(3), "hold")
        await b.cut_off(lambda: b.held == 1 and b.output.read_bytes().count(b"\n") == 3)
        b.output.write_text("")  # As if the process had died between the two.
        b.hold.set()
        assert (await b.run()).found == 4
        ways = {each["id"]: each["result"]["recovered_by"] for each in records(b.output)}
        assert [ways[name] for name in "012"] == ["journal"] * 3
        assert b.executed == 4


@pytest.mark.parametrize("shared", [False, True])
async def test_a_task_in_doubt_is_asked_for_without_its_journal(
    shared: bool, tmp_path: Path
) -> None:
    journal = str(tmp_path / "first.db") if shared else None
    async with bench(tmp_path) as b:
        write_prompts(b.input, "hold")
        for timeout in (0.5, 2, 20):  # A busy machine may need longer to get the task out.
            report = await b.run(timeout=timeout, journal=journal)
            assert (report.errors, report.curable) == (1, 1)
            if b.held:
                break
        assert b.held == 1
        if shared:
            journal = str(tmp_path / "second.db")
        else:
            (tmp_path / "out.journal").unlink()
        b.hold.set()
        report = await b.run(journal=journal)
        assert (report.done, report.found, b.executed) == (1, 1, 1)


async def test_others_can_write_while_a_run_looks_for_what_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "shared.db"
    looked: list[int] = []

    def seed(batch: OpenedBatch) -> None:
        real = batch.source.lines

        def lines(facts: Facts) -> Iterator[Line]:
            for line in real(facts):
                with closing(sqlite3.connect(journal, timeout=0)) as db:
                    db.execute("BEGIN IMMEDIATE")  # Raises where somebody holds it.
                looked.append(line.number)
                yield line

        batch.source.lines = lines  # type: ignore[method-assign]
        try:
            seed_journal(batch)
        finally:
            batch.source.lines = real  # type: ignore[method-assign]

    async with bench(tmp_path) as b:
        write_prompts(b.input, "hold", 1)
        for timeout in (0.5, 2, 20):  # A busy machine may need longer to get the task out.
            assert (await b.run(timeout=timeout, journal=str(journal))).curable == 1
            if b.held:
                break
        b.hold.set()
        monkeypatch.setattr(run_batch, "seed_journal", seed)
        report = await b.run(journal=str(journal))
        assert (report.done, report.found, b.executed) == (1, 1, 2)
    assert looked == [1, 2]


async def test_the_verdict_on_a_task_in_doubt_is_no_reason_for_another_try(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        hold = b.emulator.reply("textInference")

        @hold
        async def _(_: Request) -> str:
            b.held += 1
            await b.hold.wait()
            raise ReplyError("contentPolicyViolation", "No.")

        write_prompts(b.input, "a")
        for timeout in (0.5, 2, 20):  # A busy machine may need longer to get the task out.
            assert (await b.run(timeout=timeout)).curable == 1
            if b.held:
                break
        b.hold.set()
        report = await b.run()
        assert (report.errors, report.curable, report.found, b.held) == (1, 0, 1, 1)
        assert (await b.run(retry_errors=True)).errors == 1
        assert b.held == 2
