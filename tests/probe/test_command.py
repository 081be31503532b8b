"""``probe`` as a command: what it says before and after, its exits, and what it never says.

The command brings its own event loop. Where the answer is a matter of time, that loop is one in
virtual time, with the server in it; elsewhere the server is a real one, in a thread of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from runware_ws.cli import probe
from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.cli.probe import ProbeOptions, describe_questions, run_probe
from runware_ws.emulator import Emulator
from runware_ws.probe import QUESTIONS
from runware_ws.testing import virtual_time
from runware_ws.testing.memory import SocketlessEmulator

from .support import KEY, emulator

FREE = "ping,resume,unknown-session,bad-key,bad-task"


@contextmanager
def serving() -> Generator[Emulator]:
    """An emulator on a port, in a thread."""
    before = threading.active_count()
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(KEY)) as server,
    ):
        yield server
    assert threading.active_count() == before


def probed(options: ProbeOptions, server: SocketlessEmulator) -> int:
    """Run the command in virtual time, before a server in memory."""

    def run(function: Callable[..., Awaitable[None]], *args: object) -> None:
        async def beside() -> None:
            async with server:
                await function(*args)

        backend, choices = virtual_time()
        anyio.run(beside, backend=backend, backend_options=choices)

    return run_probe(options, dial=server.dial, run=run)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    return path


def test_a_whole_probe(key_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    server = emulator()
    options = ProbeOptions(server.url, key_file, yes=True, slow=True, json=report)
    assert probed(options, server) == ExitCode.OK
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [each.name for each in QUESTIONS]
    assert "replay-cut: again" in lines
    assert f"{len(QUESTIONS)} questions" in err
    assert "this runs 17 small tasks of anthropic:claude@haiku-4.5, at most about $0.0" in err
    assert "the server says that this cost $0.00" in err
    told = json.loads(report.read_text())
    assert [each["name"] for each in told["questions"]] == [each.name for each in QUESTIONS]
    assert all(told["experiments"][each["experiment"]] for each in told["questions"])
    assert told["server"] == server.url
    assert KEY not in out + err + report.read_text()


def test_a_server_that_echoes_the_key(
    key_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    server = emulator()
    server.faults.inject_error(f"bad{KEY}", f"the key is {KEY}", times=None)
    options = ProbeOptions(server.url, key_file, only="buffer,stream", yes=True, json=report)
    assert probed(options, server) == ExitCode.ERRORS
    out, err = capsys.readouterr()
    assert "buffer: unclear (the server refuses the task: bad[redacted])" in out
    assert "stream: error (bad[redacted])" in out
    assert KEY not in out + err + report.read_text()
    assert "[redacted]" in report.read_text()


def test_the_built_in_server(capsys: pytest.CaptureFixture[str]) -> None:
    options = ProbeOptions(
        emulate=True, only="unknown-session,resume", settings=("unknown_session=error",)
    )
    assert run_probe(options) == ExitCode.OK
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "resume: same"
    assert out.splitlines()[1].startswith("unknown-session: error (")
    assert "the built-in server" in err
    assert "no paid task" in err


def test_slow_questions_are_skipped_and_named(
    key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving() as server:
        options = ProbeOptions(server.url, key_file, only="ping,idle-close,expired-result")
        assert run_probe(options) == ExitCode.OK
    out, err = capsys.readouterr()
    assert out.startswith("ping: pong")
    assert "not asked" in err
    assert "idle-close, expired-result" in err


def test_a_refused_key(key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as server:
        server.faults.revoke_key(KEY)
        with pytest.raises(Stop) as stop:
            run_probe(ProbeOptions(server.url, key_file, only=FREE))
    assert stop.value.code == ExitCode.KEY_REFUSED
    assert "Invalid API key" in stop.value.message
    assert KEY not in stop.value.message + "".join(capsys.readouterr())


@pytest.mark.parametrize("cause", ["nobody", "http"])
def test_unreachable(cause: str, key_file: Path) -> None:
    with serving() as server:
        url = server.url
        if cause == "http":
            server.faults.reject_upgrades(503, times=None)
        if cause == "nobody":
            url = "ws://127.0.0.1:9"
        with pytest.raises(Stop) as stop:
            run_probe(ProbeOptions(url, key_file, only=FREE))
    assert stop.value.code == ExitCode.UNREACHABLE
    assert url in stop.value.message


def test_no_answer(key_file: Path) -> None:
    server = emulator()
    server.faults.ignore_auth(None)
    with pytest.raises(Stop) as stop:
        probed(ProbeOptions(server.url, key_file, only=FREE), server)
    assert stop.value.code == ExitCode.UNREACHABLE
    assert server.url in stop.value.message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ProbeOptions("http://x/v1"), "--url"),
        (ProbeOptions("ws://example.com/v1"), "unencrypted"),
        (ProbeOptions(only="ping,pong"), "no such question"),
        (ProbeOptions(only="idle-close"), "--slow"),
        (ProbeOptions("ws://127.0.0.1:9", emulate=True), "--emulate"),
        (ProbeOptions(settings=("replay=before-auth",)), "--emulate"),
        (ProbeOptions(emulate=True, settings=("replay=never",)), "before-auth"),
        (ProbeOptions(key_file=Path("no-such-file")), "cannot be read"),
        (ProbeOptions(json=Path("no-such-folder/report.json")), "cannot be written"),
        (ProbeOptions(only="buffer"), "--yes"),
    ],
)
def test_wrong_usage(options: ProbeOptions, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNWARE_API_KEY", KEY)
    with pytest.raises(Stop) as stop:
        run_probe(options)
    assert stop.value.code == ExitCode.USAGE
    assert words in stop.value.message


def test_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNWARE_API_KEY", raising=False)
    with pytest.raises(Stop, match="no API key"):
        run_probe(ProbeOptions())


@pytest.mark.parametrize("agreed", [True, False])
def test_a_terminal_is_asked(
    agreed: bool,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def confirm(question: str, *, err: bool) -> bool:
        return agreed

    everywhere: Callable[[], bool] = lambda: True  # noqa: E731
    monkeypatch.setattr("typer.confirm", confirm)
    monkeypatch.setattr("sys.stdin.isatty", everywhere, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", everywhere, raising=False)
    server = emulator()
    options = ProbeOptions(server.url, key_file, only="replay-order")
    assert probed(options, server) == (ExitCode.OK if agreed else ExitCode.ERRORS)
    assert server.stats.tasks_accepted == (2 if agreed else 0)
    out, err = capsys.readouterr()
    assert ("replay-order: after-auth" in out) is agreed
    assert ("nothing was asked" in err) is not agreed


def test_what_was_paid_for_is_shown_after_an_interrupt(
    key_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(lab: Any, plan: Any, answered: Any, begins: Any) -> None:
        question = plan.questions[0]
        answered(question, await question.ask(lab))
        await anyio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    monkeypatch.setattr(probe, "survey", interrupted)
    with serving() as server, pytest.raises(KeyboardInterrupt):
        run_probe(ProbeOptions(server.url, key_file, only=FREE))
    assert capsys.readouterr().out.startswith("ping: pong")


def test_a_table_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminal(*, stderr: bool = True) -> bool:
        return True

    monkeypatch.setattr(probe, "on_terminal", terminal)
    assert run_probe(ProbeOptions(emulate=True, only="bad-key")) == ExitCode.OK
    out = capsys.readouterr().out
    assert "verdict" in out
    assert "invalidApiKey" in out


def test_questions_can_be_listed() -> None:
    assert [line.split()[0] for line in describe_questions().splitlines()] == [
        each.name for each in QUESTIONS
    ]
