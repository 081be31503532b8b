"""``run`` as a process: signals, sudden death, and the run after it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from tests.cli.conftest import TOO_LONG, Ended, Server, start, texts, wait_for, write_lines

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

Cli = Callable[..., Ended]
QUICK, HELD = 8, 6


def write_input(folder: Path) -> None:
    quick = [{"id": n, "prompt": f"quick {n}"} for n in range(QUICK)]
    write_lines(folder / "in", *quick, *({"prompt": f"hold {n}"} for n in range(HELD)))


def answered(folder: Path) -> int:
    out = folder / "out"
    return out.read_bytes().count(b"\n") if out.exists() else 0


def stuck(server: Server, folder: Path, *more: str) -> Popen[str]:
    """Start a run, of which the quick lines are written and the held ones are in flight."""
    write_input(folder)
    process = start("run", "in", "-o", "out", "--url", server.url, *more, cwd=folder)
    wait_for(lambda: answered(folder) == QUICK and server.held == HELD)
    return process


def assert_whole(server: Server, folder: Path) -> None:
    assert len(texts(folder / "out")) == QUICK + HELD
    assert server.emulator.stats.executed_twice == []
    assert server.emulator.stats.executed == QUICK + HELD
    assert not (folder / "out.journal").exists()


def test_killed_and_answered_meanwhile(cli: Cli, server: Server, tmp_path: Path) -> None:
    with stuck(server, tmp_path) as process:
        process.kill()
    wait_for(lambda: server.emulator.live_sockets == 0)
    server.release()
    wait_for(lambda: server.let_go == HELD)
    ended = cli("run", "in", "-o", "out", "--url", server.url)
    assert ended.code == 0, ended.said
    assert f"{HELD} tasks of an earlier run" in ended.said
    assert_whole(server, tmp_path)


@pytest.mark.slow
def test_killed_and_still_running(cli: Cli, server: Server, tmp_path: Path) -> None:
    with stuck(server, tmp_path) as process:
        process.kill()
    stats = server.emulator.stats
    asked = stats.polls + stats.details

    async def release_when_asked_twice() -> None:
        await server.when(lambda: stats.polls + stats.details >= asked + 2 * HELD)
        server.release()

    server.portal.start_task_soon(release_when_asked_twice)
    ended = cli("run", "in", "-o", "out", "--url", server.url)
    assert ended.code == 0, ended.said
    assert_whole(server, tmp_path)


def test_a_killed_run_is_not_finished_by_the_emulator(
    cli: Cli, server: Server, tmp_path: Path
) -> None:
    with stuck(server, tmp_path) as process:
        process.kill()
    before = (tmp_path / "out").read_bytes()
    ended = cli("run", "in", "-o", "out", "--emulate")
    assert ended.code == 2
    assert "and this run asks the emulator" in ended.said
    assert (tmp_path / "out").read_bytes() == before
    server.release()
    assert cli("run", "in", "-o", "out", "--url", server.url).code == 0
    assert_whole(server, tmp_path)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_lets_tasks_in_flight_finish(
    server: Server, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with stuck(server, tmp_path, "--concurrency", str(QUICK + HELD), "--grace", "600") as process:
        process.send_signal(number)
        assert process.stderr is not None
        assert f"{HELD} tasks in flight" in process.stderr.readline()
        server.release()
        _, said = process.communicate(timeout=TOO_LONG)
        assert process.returncode == code
        assert f"{QUICK + HELD} done" in said
    assert len(texts(tmp_path / "out")) == QUICK + HELD


def test_grace_is_short_and_the_rest_comes_next_time(
    cli: Cli, server: Server, tmp_path: Path
) -> None:
    with stuck(server, tmp_path, "--grace", "0.05") as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TOO_LONG)
        assert process.returncode == 130
        assert f"{HELD} left" in said
        assert "Traceback" not in said
    assert len(texts(tmp_path / "out")) == QUICK
    server.release()
    assert cli("run", "in", "-o", "out", "--url", server.url).code == 0
    assert_whole(server, tmp_path)


def test_a_second_signal_ends_at_once(server: Server, tmp_path: Path) -> None:
    with stuck(server, tmp_path, "--grace", "600") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TOO_LONG)
        assert process.returncode == 130
    assert len(texts(tmp_path / "out")) == QUICK


def test_two_runs_do_not_share_an_output(cli: Cli, server: Server, tmp_path: Path) -> None:
    with stuck(server, tmp_path) as process:
        ended = cli("run", "in", "-o", "out", "--url", server.url)
        assert ended.code == 2
        assert "another run writes it" in ended.said
        server.release()
        process.communicate(timeout=TOO_LONG)
        assert process.returncode == 0
    assert_whole(server, tmp_path)
