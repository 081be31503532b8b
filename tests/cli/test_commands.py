"""The other commands, and the frame around them all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from runware_ws import __version__
from runware_ws.cli import app as cli_app
from runware_ws.cli.demo import DemoOptions, run_demo
from runware_ws.cli.emulate import describe, parse_options
from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.cli.tally import Tally
from runware_ws.emulator import KNOWN_ORDERS, EmulatorOptions
from tests.cli.conftest import ROOT, TOO_LONG, Ended, start

Cli = Callable[..., Ended]
LOAD = "load --emulate --rate 20 --duration 300ms --allow-lag"


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out == f"runware-ws {__version__}\n"
    assert "Exit codes" in cli("--help").out
    assert "A line is one of" in cli("run", "--help").out
    assert cli("run", "in").code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
@pytest.mark.parametrize("command", ["--version", "run -h", "emulate --list", "run in -o - -q"])
def test_a_full_standard_output_is_one_line(command: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"prompt": "a"}')
    emulated = " --emulate" if "in" in command.split() else ""
    ended = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m runware_ws {command}{emulated} >/dev/full"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ended.stderr.startswith("runware-ws: standard output: cannot be written: No space left")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("demo --tasks 20 --cuts 0 >&-", 0, ""),
        ("run nowhere -o out --emulate 2>/dev/full", 2, ""),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("probe --emulate -y --only ping >&-", 0, None),
                ("probe --emulate -y --only ping 2>/dev/full >/dev/null", 0, ""),
                ("run in -o out --emulate 2>/dev/full", 0, ""),
                ("run nowhere -o out --emulate 2>&-", 2, ""),
                ("run --no-such-option 2>/dev/full", 2, ""),
                (f"{LOAD} 2>/dev/full >/dev/null", 0, ""),
                (f"{LOAD} 2>&- >/dev/null", 0, ""),
            )
        ),
    ],
)
def test_nobody_hears_what_is_told(
    command: str, code: int, said: str | None, tmp_path: Path
) -> None:
    (tmp_path / "in").write_text('{"prompt": "a"}')
    ended = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m runware_ws {command}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    assert ended.returncode == code, ended.stderr
    if said is not None:
        assert ended.stderr == said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_evidence_that_was_paid_for_is_written_whoever_reads_the_table(tmp_path: Path) -> None:
    ended = subprocess.run(
        [
            "sh",
            "-c",
            f"exec {sys.executable} -m runware_ws probe --emulate -y --only ping --json out.json "
            ">/dev/full",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "standard output: cannot be written" in ended.stderr
    questions = json.loads((tmp_path / "out.json").read_text())["questions"]
    assert [question["name"] for question in questions] == ["ping"]


def test_the_probe_asks_the_server_that_the_environment_names(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every other command: else paid tasks, and the key, go to another server than was set."""
    monkeypatch.setenv("RUNWARE_WS_URL", "ws://127.0.0.1:9/v1")
    ended = cli("probe", "--only", "repeat-later")
    assert ended.said.startswith("runware-ws: 1 question to ws://127.0.0.1:9/v1\n")
    assert (ended.code, "give --yes" in ended.said) == (2, True)


def test_what_ends_a_command_is_told_without_the_groups_around_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise ExceptionGroup("", [ExceptionGroup("", [Stop(ExitCode.UNREACHABLE, "away")])])

    monkeypatch.setattr(cli_app, "run_demo", full)
    ended = cli("demo")
    assert (ended.code, ended.said) == (4, "runware-ws: away\n")


def test_ctrl_c_while_modules_are_loaded(tmp_path: Path) -> None:
    """Half a second is enough for somebody to change their mind."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    ended = subprocess.run(
        [sys.executable, "-m", "runware_ws", "--version"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (130, "")


def test_demo_keeps_the_promise(cli: Cli) -> None:
    ended = cli("demo", "--tasks", "300", "--seed", "3")
    assert ended.code == 0
    told = dict(line.split(": ") for line in ended.out.splitlines() if ": " in line)
    assert (told["submitted"], told["answered"]) == ("300", "300")
    assert (told["lost"], told["run twice"], told["wrong answers"]) == ("0", "0", "0")
    assert int(told["cuts of the wire"]) >= 3
    assert int(told["reconnects"]) >= 3
    assert int(told["  live"]) < 300


def test_demo_without_cuts(cli: Cli) -> None:
    ended = cli("demo", "--tasks", "20", "--cuts", "0")
    assert ended.code == 0
    assert "reconnects: 0" in ended.out
    assert cli("demo", "--cuts", "often").code == 2


def test_demo_tells_a_broken_promise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: object) -> Tally:
        return Tally(submitted=2, answered=2, run_twice=1)

    monkeypatch.setattr("runware_ws.cli.demo._demo", broken)
    assert run_demo(DemoOptions(2, 1, 1, 0.0)) == 1
    assert "FAILED" in capsys.readouterr().out


def test_a_tally_counts_shares() -> None:
    tally = Tally(submitted=4, answered=3, latencies=[3.0, 1.0, 2.0])
    assert (tally.lost, tally.clean) == (1, False)
    assert (tally.latency(0.5), tally.latency(0.99)) == (2.0, 3.0)
    assert Tally().latency(0.5) == 0.0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_emulate_serves_until_a_signal(cli: Cli, tmp_path: Path) -> None:
    with start("emulate", "--api-key", "made-up", "--latency", "1ms", cwd=tmp_path) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("listening on ws://127.0.0.1:")
        url = line.removeprefix("listening on ")
        (tmp_path / "in").write_text('{"prompt": "x"}')
        (tmp_path / "key").write_text("made-up")
        assert cli("run", "in", "-o", "out", "--url", url, "--api-key-file", "key").code == 0
        port = url.removesuffix("/v1").rpartition(":")[2]
        taken = cli("emulate", "--port", port)
        assert taken.code == 2
        assert f"cannot listen on 127.0.0.1:{port}" in taken.said
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=TOO_LONG)
        assert process.returncode == 0
        assert json.loads(said)["executed"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_emulate_tells_what_it_serves_and_takes_commands(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text('[[answers]]\ntext = "scripted"\n')
    wanted = ["--fault", "shuffle", "--fault", "merge=10", "--latency", "1ms-5ms", "--seed", "3"]
    limits = ["--set", "capacity=4", "--set", "queue_limit=9", "--set", "rate_limit=2.5"]
    secret = ["--api-key", "made-up", "--control-token", "mine", "--script", str(script)]
    with start("emulate", *wanted, *limits, *secret, cwd=tmp_path) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().rstrip() for _ in range(8)]
        url = told[0].removeprefix("listening on ")
        control = told[-1].removeprefix("control:   ").removesuffix(" (token mine)")
        assert told[1:] == [
            f"http:      {url.replace('ws:', 'http:')}",
            "models:    anthropic:claude@haiku-4.5, checked as its schema is published; "
            "any other, unchecked",
            "latency:   0.001 s (uniform, 0.005)",
            "faults:    shuffle, merge=10",
            "capacity:  4 at a time, 9 waiting; 2.5 a second for each key",
            "script:    0 steps, 1 answers",
            f"control:   {control} (token mine)",
        ]
        headers = {"Authorization": "Bearer mine"}
        body = json.dumps({"do": "change", "options": {"capacity": 1}}).encode()
        with urlopen(Request(control, body, headers), timeout=TOO_LONG) as answer:
            assert json.load(answer) == {"ok": None}
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TOO_LONG)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--fault", "nope"), "unknown fault 'nope'"),
        (("--script", "nowhere.toml"), "nowhere.toml: cannot be read"),
        (("--script", "script.txt"), "must end in .json or .toml"),
        (("--set", "capacity=0"), "capacity must be at least 1"),
        (("--set", "rate_limit=5ms"), "--set rate_limit=5ms: must be a number"),
        (("--latency", "soon"), "not a latency"),
        (("--host", "0.0.0.0"), "use --allow-remote"),
        (("--set", "nope=1"), "names: ack_copies"),
        (("--set", "replay=sometimes"), "must be after-auth or before-auth"),
        (("--set", "merge_limit=0"), "merge_limit must be at least 1"),
    ],
)
def test_emulate_refuses(cli: Cli, args: tuple[str, ...], said: str) -> None:
    ended = cli("emulate", *args)
    assert ended.code == 2
    assert said in ended.said
    assert len(ended.said.splitlines()) == 1


def test_settings_of_all_kinds() -> None:
    options = parse_options(
        [
            "replay=before-auth",
            "buffer-seconds=2m",
            "idle_seconds=none",
            "shuffle=on",
            "merge_limit=7",
            "idle_close_code=1001",
        ]
    )
    assert options == EmulatorOptions(
        replay="before-auth",
        buffer_seconds=120.0,
        idle_seconds=None,
        shuffle=True,
        merge_limit=7,
        idle_close_code=1001,
    )
    with pytest.raises(Stop, match="on or off"):
        parse_options(["shuffle=maybe"])


def test_everything_is_listed(cli: Cli) -> None:
    listed = cli("emulate", "--list").out
    assert listed == describe() + "\n"
    for usage in KNOWN_ORDERS.values():
        assert usage in listed


def test_without_the_extra(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['typer'] = None; from runware_ws.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", hide], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "pip install 'runware-ws[cli]'" in ended.stderr
