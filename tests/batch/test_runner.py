"""``run_file``: a whole file against the emulator, again and again, and in two runs at once."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws import (
    ConfigurationError,
    ConnectionFailed,
    JournalError,
    OutputError,
    RunReport,
    run_file,
)
from runware_ws.batch.progress import Standing
from runware_ws.batch.reading import InputError
from runware_ws.emulator import Emulator, ReplyError, Request, expected_text
from runware_ws.testing.stores import MemoryJournal
from tests.conftest import uvloop_slowly

from .support import asks_soon

pytestmark = pytest.mark.anyio

anyio_backend = uvloop_slowly

KEY = "a-key-of-the-tests"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    asks_soon(monkeypatch)


def write_prompts(path: Path, *names: object, **more: Any) -> None:
    lines = ({"id": str(name), "prompt": f"ask {name}", **more} for name in names)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def answers(path: Path) -> dict[str, str]:
    """The texts of all results by id; each line must stand there once."""
    found = records(path)
    told = {each["id"]: each["result"]["text"] for each in found if "result" in each}
    assert len({each["key"] for each in found}) == len(found)
    return {name: text.partition(": ")[2] for name, text in told.items()}


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def contents(folder: Path) -> bytes:
    """All that stands in all files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 2
    return b"".join(path.read_bytes() for path in files)


class Bench:
    """An emulator, a folder, and runs of ``in`` into ``out``."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator, self.folder = emulator, folder
        self.input, self.output = folder / "in", folder / "out"
        self.said: list[str] = []
        self.hold = anyio.Event()
        self.held = 0
        emulator.reply("textInference")(self._answer)

    async def _answer(self, request: Request) -> str:
        if request.prompt.startswith("ask hold"):
            self.held += 1
            await self.hold.wait()
        return expected_text(request.prompt, request.task_uuid, request.index)

    @property
    def executed(self) -> int:
        assert self.emulator.stats.executed_twice == []
        return self.emulator.stats.executed

    async def run(self, **options: Any) -> RunReport:
        usual: dict[str, Any] = {"input": self.input, "output": self.output}
        usual |= {"url": self.emulator.url, "api_key": KEY, "on_note": self.said.append}
        return await run_file(**(usual | options))

    async def cut_off(self, when: Callable[[], bool], **options: Any) -> None:
        """A run that is cancelled in the middle."""
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while not when():  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                group.cancel_scope.cancel()

            group.start_soon(watch)
            await self.run(**options)
            raise AssertionError("it was not cut off")


@asynccontextmanager
async def bench(folder: Path) -> AsyncGenerator[Bench]:
    async with Emulator(KEY) as emulator:
        yield Bench(emulator, folder)


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


async def test_what_was_refused_and_is_sent_anew_was_not_found(tmp_path: Path) -> None:
    journal = str(tmp_path / "work.db")
    async with bench(tmp_path) as b:
        write_prompts(b.input, "a", "b")
        b.emulator.faults.inject_error("providerRateLimitExceeded", times=2)
        assert (await b.run(journal=journal, retries=0)).errors == 2
        report = await b.run(journal=journal)
        assert (report.done, report.found, b.executed) == (2, 0, 2)
        other: dict[str, Any] = {"output": tmp_path / "other", "journal": journal, "job": "out"}
        assert (await b.run(**other)).found == 2


async def test_a_definite_verdict_behind_a_refusal_is_no_reason_for_another_try(
    tmp_path: Path,
) -> None:
    journal = str(tmp_path / "work.db")
    async with bench(tmp_path) as b:
        write_prompts(b.input, "a")
        b.emulator.faults.inject_error("providerRateLimitExceeded", times=1)
        assert (await b.run(journal=journal, retries=0)).errors == 1
        b.emulator.faults.inject_error("contentPolicyViolation", times=1, stage="execute")
        report = await b.run(journal=journal)
        assert (report.errors, b.executed) == (1, 1)


async def test_who_was_refused_takes_the_verdict_that_another_run_got_since(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, "a")
        shared: dict[str, Any] = {"journal": str(tmp_path / "work.db"), "job": "x"}
        one, two = ({**shared, "output": tmp_path / name} for name in ("one", "two"))
        b.emulator.faults.inject_error("providerRateLimitExceeded", times=2)
        for each in (one, two):
            assert (await b.run(**each, retries=0)).curable == 1
        b.emulator.faults.inject_error("contentPolicyViolation", times=1, stage="execute")
        for each, found in ((one, 0), (two, 1)):
            report = await b.run(**each)
            assert (report.errors, report.curable, report.found) == (1, 0, found)
        assert b.executed == 1


async def test_an_error_that_passes_is_tried_again_within_the_run(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, "a")
        b.emulator.faults.inject_error("internalServerError", times=2, stage="execute")
        assert (await b.run(retries=2)).complete
        assert b.executed == 3


async def test_a_definite_error_is_tried_again_when_it_is_asked_for(tmp_path: Path) -> None:
    journal = str(tmp_path / "work.db")
    async with bench(tmp_path) as b:
        write_prompts(b.input, "a")

        async def fails(**options: Any) -> RunReport:
            b.emulator.faults.inject_error("contentPolicyViolation", times=1, stage="execute")
            return await b.run(journal=journal, **options)

        assert (await fails()).errors == 1
        assert (await b.run(journal=journal)).errors_before == 1
        assert (await fails(retry_errors=True)).errors == 1
        assert b.executed == 2
        # Who comes new to the work is told the first verdict, and runs nothing.
        other: dict[str, Any] = {"output": tmp_path / "other", "journal": journal, "job": "out"}
        assert (await b.run(**other)).errors == 1
        assert b.executed == 2
        b.emulator.faults.heal()
        assert (await b.run(journal=journal, retry_errors=True)).complete
        assert b.executed == 3
        # The other one tries again as well, and finds what has become of it.
        await b.run(**other, retry_errors=True)
        await b.run(**other, retry_errors=True)
        assert answers(tmp_path / "other") == {"a": "ask a"}
        assert b.executed == 3


@pytest.mark.parametrize("ends", [1, 2])
async def test_a_try_again_that_was_recorded_and_not_written_is_not_made_anew(
    ends: int, tmp_path: Path
) -> None:
    """The journal of the first try has gone, as it does when a run is over."""
    async with bench(tmp_path) as b:
        write_prompts(b.input, "a")
        options: dict[str, Any] = {"retry_errors": True}
        for _ in range(ends):
            b.emulator.faults.inject_error("contentPolicyViolation", times=1, stage="execute")
            assert (await b.run(**options)).errors == 1
            options["journal"] = str(tmp_path / "work.db")
        b.emulator.faults.inject_error("contentPolicyViolation", times=1, stage="execute")
        before = b.output.read_bytes()
        assert (await b.run(**options)).errors == 1
        b.output.write_bytes(before)  # As if the process had died between the two.
        report = await b.run(**options)
        assert (report.errors, report.found, b.executed) == (1, 1, ends + 1)


@pytest.mark.parametrize("journal", ["one", "another"])
async def test_another_try_that_is_in_doubt_is_asked_for(journal: str, tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        write_prompts(b.input, "hold")
        b.emulator.faults.inject_error("contentPolicyViolation", times=1, stage="execute")
        shared: dict[str, Any] = {"journal": str(tmp_path / "one.db")}
        assert (await b.run(**shared)).errors == 1
        for timeout in (0.5, 2, 20):  # A busy machine may need longer to get the task out.
            assert (await b.run(**shared, timeout=timeout, retry_errors=True)).curable == 1
            if b.held:
                break
        b.hold.set()
        report = await b.run(journal=str(tmp_path / f"{journal}.db"))
        assert (report.complete, report.found, b.executed) == (True, 1, 2)


@pytest.mark.parametrize("shared", [False, True])
async def test_a_try_that_was_asked_for_and_cut_off_is_brought_to_its_end_unasked(
    shared: bool, tmp_path: Path
) -> None:
    """It is paid for, whatever the next command says."""
    journal = str(tmp_path / "work.db") if shared else None
    async with bench(tmp_path) as b:
        write_prompts(b.input, "hold")
        b.emulator.faults.inject_error("contentPolicyViolation", times=1, stage="execute")
        assert (await b.run(journal=journal)).errors == 1
        await b.cut_off(lambda: b.held == 1, journal=journal, retry_errors=True)
        b.hold.set()
        report = await b.run(journal=journal)
        assert (report.complete, report.found, b.executed) == (True, 1, 2)
    assert names(tmp_path)[:2] == ["in", "out"]
    assert not (tmp_path / "out.journal").exists()


async def test_a_try_that_was_asked_for_and_refused_is_not_made_again_unasked(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        journal = str(tmp_path / "work.db")
        write_prompts(b.input, "a")
        b.emulator.faults.inject_error("contentPolicyViolation", times=1, stage="execute")
        assert (await b.run(journal=journal)).errors == 1
        before = b.output.read_bytes()
        b.emulator.faults.inject_error("providerRateLimitExceeded", times=1)
        assert (await b.run(journal=journal, retry_errors=True, retries=0)).errors == 1
        b.output.write_bytes(before)  # As if the process had died between the two.
        assert (await b.run(journal=journal)).errors_before == 1
        assert b.executed == 1


async def test_what_came_of_a_try_that_ended_in_doubt_while_another_run_made_it(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b, anyio.create_task_group() as group:

        @b.emulator.reply("textInference")
        async def _(_: Request) -> str:
            b.held += 1
            await b.hold.wait()
            raise ReplyError("contentPolicyViolation", "No.")

        write_prompts(b.input, "a")
        shared: dict[str, Any] = {"journal": str(tmp_path / "work.db"), "job": "x"}
        reports: list[RunReport] = []

        async def one() -> None:
            reports.append(await b.run(**shared, output=tmp_path / "one"))

        group.start_soon(one)
        with anyio.fail_after(60):
            while not b.held:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        two: dict[str, Any] = {**shared, "output": tmp_path / "two"}
        assert (await b.run(**two, timeout=0.3)).curable == 1
        b.hold.set()
        with anyio.fail_after(60):
            while not reports:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        report = await b.run(**two)
        assert (report.errors, report.curable, report.found, b.held) == (1, 0, 1, 1)


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
