"""``run_file``: a whole file against the emulator, with its options, and in two runs at once."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws import ConfigurationError, ConnectionFailed, JournalError, OutputError, RunReport
from runware_ws.batch.progress import Standing
from runware_ws.batch.reading import InputError
from runware_ws.testing.stores import MemoryJournal
from tests.batch.run_bench import KEY, answers, bench, names, records, write_prompts
from tests.batch.support import asks_soon

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    asks_soon(monkeypatch)


def contents(folder: Path) -> bytes:
    """All that stands in all files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 2
    return b"".join(path.read_bytes() for path in files)


async def test_each_line_once_and_nothing_is_left_behind(tmp_path: Path) -> None:
    seen: list[Standing] = []
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(30))
        report = await b.run(on_progress=seen.append)
        assert report.complete
        assert (report.done, report.left, report.found, b.executed) == (30, 0, 0, 30)
        assert report.cost == pytest.approx(sum(r["result"]["cost"] for r in records(b.output)))
        assert (seen[-1].done, seen[-1].total) == (30, 30)
        again = await b.run()
        assert (again.before, again.done, again.total_cost) == (30, 0, pytest.approx(report.cost))
        assert b.executed == 30
    assert names(tmp_path) == ["in", "out"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.sqlite"])
async def test_tables(name: str, tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.output = tmp_path / name
        write_prompts(b.input, *range(5))
        assert (await b.run(sort=True)).complete
        assert (await b.run()).before == 5
        assert b.executed == 5
    assert names(tmp_path) == ["in", name]


async def test_why_a_run_stands_still_is_told_at_once(tmp_path: Path) -> None:
    store = MemoryJournal().store()
    async with bench(tmp_path) as b, anyio.create_task_group() as group:
        write_prompts(b.input, "hold", "b")

        async def act() -> None:
            with anyio.fail_after(60):
                while not b.held:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                store.trouble = JournalError("memory: no room: make some", temporary=True)
                b.hold.set()
                while not b.said:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                store.trouble = None

        group.start_soon(act)
        report = await b.run(journal=store, job="x", concurrency=1)
        assert (report.complete, b.executed) == (True, 2)
        assert b.said == ["tasks wait for the journal: memory: no room: make some"]


async def test_two_runs_share_the_work(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(60))
        journal, reports = str(tmp_path / "work.db"), list[RunReport]()

        async def one(name: str) -> None:
            options: dict[str, Any] = {"journal": journal, "job": "ask", "concurrency": 10}
            reports.append(await b.run(output=tmp_path / name, **options))

        async with anyio.create_task_group() as group:
            group.start_soon(one, "one")
            group.start_soon(one, "two")
        assert b.executed == 60
        assert [report.complete for report in reports] == [True, True]
        assert sum(report.found for report in reports) == 60
        assert answers(tmp_path / "one") == answers(tmp_path / "two")
        assert len(answers(tmp_path / "one")) == 60
        # Another job is other work.
        assert (await b.run(output=tmp_path / "one2", journal=journal, job="b")).found == 0
        assert b.executed == 120
    assert (tmp_path / "work.db").exists()


async def test_a_busy_server_slows_the_run_down_and_burns_no_line(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(40))
        b.emulator.faults.inject_error("providerRateLimitExceeded", times=60, probability=0.6)
        report = await b.run()
        assert (report.done, report.errors) == (40, 0)
        assert b.executed == 40
        assert report.found == 0


async def test_all_the_same_error_ends_the_run_early(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(200))
        b.emulator.faults.inject_error("insufficientCredits", "Top up.", times=None)
        report = await b.run(concurrency=10)
        assert report.stopped is not None
        assert "stopped early: all 20 lines so far ended with the same error" in report.stopped
        found = re.search(r"the first of them line (\d+):", report.stopped)
        assert found is not None
        assert 1 <= int(found[1]) <= 10  # Ten lines are under way at once.
        assert 20 <= report.errors <= 30
        assert report.left == 200 - report.errors
        assert b.executed == 0


async def test_limits(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(20), max_tokens=100)
        report = await b.run(limit=3)
        assert (report.done, report.left, b.executed) == (3, 17, 3)
        assert report.stopped == "--limit 3: so many lines were taken"
        each = report.cost / 3
        report = await b.run(max_cost=10.5 * each, concurrency=1)
        assert report.stopped is not None
        assert report.stopped.startswith("--max-cost")
        assert each < report.total_cost <= 10.5 * each
        assert report.left > 0


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("out", {}),
        ("out", {"shape": "anthropic-batch"}),
        ("out.csv", {}),
        ("out.parquet", {}),
        ("out.sqlite", {}),
    ],
)
async def test_what_the_server_tells_no_price_for_counts_in_later_runs_too(
    name: str, more: dict[str, Any], tmp_path: Path
) -> None:
    async with bench(tmp_path) as b:
        b.output = tmp_path / name
        task = {"taskType": "textInference", "includeCost": False, "settings": {"maxTokens": 9}}
        lines = ({"messages": [{"role": "user", "content": f"ask {n}"}], **task} for n in range(9))
        b.input.write_text("".join(json.dumps(line) + "\n" for line in lines))
        usual = {"concurrency": 1, "price": (100.0, 500.0), **more}
        first = await b.run(limit=3, **usual)
        assert first.total_cost == first.cost > 0
        second = await b.run(limit=3, **usual)
        assert second.total_cost == pytest.approx(first.cost + second.cost)
        told = (await b.run(dry_run=True, **usual)).forecast
        assert told[-1] == f"this output has cost ${second.total_cost:.4f} in earlier runs"
        third = await b.run(max_cost=second.total_cost, **usual)
        assert (third.done, third.left) == (0, 3)
        # Its tokens are what the output holds: what they cost is told anew.
        assert (await b.run(**usual | {"price": (0.0, 0.0)})).total_cost == 0


async def test_a_dry_run_sends_and_makes_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(7))
        report = await b.run(dry_run=True)
        assert report.forecast[0].startswith("7 lines (7 textInference): 7 to send, 0 done before")
        assert names(tmp_path) == ["in"]
        one, two = [(await b.run(dry_run=True, limit=limit)).forecast for limit in (1, 2)]
        assert "7 to send, of which --limit takes 1, 0 done before" in one[0]
        assert int(two[2].split()[3]) == 2 * int(one[2].split()[3])
        with pytest.raises(OutputError, match=r"suffix '\.txt' of an output is not known"):
            await b.run(output=tmp_path / "out.txt", dry_run=True)
        await b.run(limit=2)
        assert "5 to send, 2 done before" in (await b.run(dry_run=True)).forecast[0]
        assert b.executed == 2


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
async def test_a_dry_run_sees_what_a_kill_left_of_a_table(name: str, tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(5))
        await b.run(limit=2)
        b.output.rename(tmp_path / f"{name}.rows")
        there = names(tmp_path)
        report = await b.run(output=tmp_path / name, dry_run=True)
        assert "3 to send, 2 done before" in report.forecast[0]
        assert names(tmp_path) == there
        assert (await b.run(output=tmp_path / name)).before == 2


async def test_questions_about_other_tasks_need_no_key(tmp_path: Path) -> None:
    uuid = "7f3d7a52-3a0f-4d59-9f0e-0d6a3f1b2c4d"
    async with bench(tmp_path) as b:
        turn = {"role": "user", "content": "x"}
        question = {"taskType": "getTaskDetails", "taskUUID": uuid}
        task = {"id": "a", "taskUUID": uuid, "messages": [turn]}
        b.input.write_text(json.dumps(task) + "\n" + json.dumps(question))
        report = await b.run(concurrency=1)
        assert report.complete
        assert {each["result"]["task_uuid"] for each in records(b.output)} == {uuid}


async def test_the_emulators_answers_are_not_taken_for_real_ones(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, "a")
        report = await b.run(url=None, emulate=True, journal=str(tmp_path / "work.db"))
        assert report.complete
        assert "the journal is left alone" in b.said[0]
        assert not (tmp_path / "work.db").exists()
        with pytest.raises(OutputError, match="choose another output"):
            await b.run()
        assert b.executed == 0


async def test_what_cannot_be_done_is_one_clear_error(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, "a")
        for options, words in (
            ({"timeout": float("inf")}, "timeout must be a finite number"),
            ({"max_cost": float("nan")}, "max_cost must be an amount"),
            ({"retries": -1}, "retries must be"),
            ({"job": "x"}, "give a journal as well"),
            ({"output": "-", "journal": "x.db"}, "job is needed"),
            ({"journal": "mysql://x"}, "there is no such store"),
            ({"journal": str(b.output)}, "is the output"),
            ({"price": 5}, "price must be two prices"),
            ({"price": (1, 2, 3)}, "price must be two prices"),
            ({"prompt_column": ""}, "prompt_column must be a text"),
            ({"prompt_column": 5}, "prompt_column must be a text"),
        ):
            with pytest.raises(ConfigurationError, match=words):
                await b.run(**options)
        with pytest.raises(OutputError, match="is the input too"):
            await b.run(output=b.input)
        for name, why in (("", "is empty: name a file"), ("a\0b", "null"), ("\ud800", "surrog")):
            with pytest.raises(OutputError, match=why):
                await b.run(output=name)
            with pytest.raises(InputError, match=why):
                await b.run(input=name)
        with pytest.raises(ConnectionFailed):
            await b.run(url="ws://127.0.0.1:1/v1", connect_timeout=0.1)
    assert names(tmp_path) == ["in", "out"]


async def test_the_key_shows_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with bench(tmp_path) as b:
        write_prompts(b.input, *range(3), "hold")
        await b.cut_off(lambda: b.held == 1 and b.output.read_bytes().count(b"\n") == 3)
        assert KEY.encode() not in contents(tmp_path)
    assert KEY not in caplog.text
