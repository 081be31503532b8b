"""Lines that are tried again: under which key, when, and whose verdict counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws import RunReport
from runware_ws.emulator import ReplyError, Request
from tests.batch.run_bench import answers, bench, names, write_prompts
from tests.batch.support import asks_soon

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    asks_soon(monkeypatch)


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
