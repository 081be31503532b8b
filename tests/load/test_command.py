"""``runware-ws load`` as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import KEY, TOO_LONG, Ended, Server, cli, server, start, wait_for

__all__ = ["cli", "server"]

Cli = Callable[..., Ended]
QUICK = ("load", "--emulate", "--latency", "20ms", "--duration", "1s", "--allow-lag")


def report_of(path: str = "out.json") -> dict[str, Any]:
    report: dict[str, Any] = json.loads(Path(path).read_text())
    return report


def test_a_load_of_the_built_in_server(cli: Cli) -> None:
    ended = cli(
        *QUICK, "--rate", "100", "--fault", "cut@400ms", "--slo", "p99<50s",
        *("--json", "out.json", "--html", "out.html", "--fail-if", "lost==0"),
        *("--fail-if", "run_twice==0", "--fail-if", "p99<30s", "--fail-if", "reconnects>=1"),
    )  # fmt: skip
    assert ended.code == 0, ended.said
    report = report_of()
    assert report["schema"] == "runware-ws-load/1"
    told = {name: report[name] for name in ("attempted", "answered", "lost", "run_twice", "wrong")}
    assert told == {"attempted": 100, "answered": 100, "lost": 0, "run_twice": 0, "wrong": 0}
    assert report["unknown"] == 0
    assert report["lost_known_by"] == "server"
    assert sum(report["recovered_by"].values()) == 100
    for name in ("latency_intended_ms", "latency_sent_ms", "own_lag_ms"):
        assert report[name].keys() >= {"p50", "p90", "p99", "p99.9", "max"}
    assert report["latency_intended_ms"]["p99.9"] <= report["latency_intended_ms"]["max"]
    assert report["good"] == 100
    assert report["server"]["cuts"] == 1
    assert report["faults"] == [{"order": "cut", "at_s": 0.4, "until_s": None}]
    assert "answered 100 of 100" in ended.out
    # Plain lines where nobody looks on.
    assert "1/1 s, " in ended.said
    assert "reconnected at" in Path("out.html").read_text()
    assert KEY not in ended.out + ended.said + Path("out.json").read_text()


def test_a_condition_that_is_not_kept_fails(cli: Cli) -> None:
    ended = cli(*QUICK, "--rate", "20", "--fail-if", "p50<1ms", "--fail-if", "lost==0")
    assert ended.code == 1
    assert "not kept: p50<1ms: p50 is 0.0" in ended.said
    assert "lost" not in ended.said


def test_a_load_without_an_answer_measured_nothing(cli: Cli) -> None:
    """Else a pipeline is green whose script fails at every start."""
    Path("bad.py").write_text("async def agent(caller):\n    raise ValueError('no')\n")
    bad = (*QUICK, "--rate", "5", "--agent", "bad.py:agent", "--json", "out.json")
    ended = cli(*bad, "--fail-if", "lost==0", "--fail-if", "agent_errors<9")
    assert ended.code == 1
    assert ended.said.splitlines()[-1] == (
        "runware-ws: not kept: no task was answered, so nothing was measured"
    )
    assert "the agent raised ValueError 5 times" in ended.out
    assert report_of()["broken"] == ["no task was answered, so nothing was measured"]


@pytest.mark.slow
def test_errors_of_an_agent_can_be_a_condition(cli: Cli) -> None:
    Path("bad.py").write_text(
        "from runware_ws import TextInference\n"
        "async def agent(caller):\n"
        "    await caller.ask(TextInference.prompt('a'))\n"
        "    if caller.number == 1:\n"
        "        raise ValueError('no')\n"
    )
    agent = (*QUICK, "--rate", "5", "--agent", "bad.py:agent", "-q")
    assert cli(*agent).code == 0
    ended = cli(*agent, "--fail-if", "agent_errors==0")
    assert ended.code == 1
    assert "runware-ws: not kept: agent_errors==0: agent_errors is 1\n" in ended.said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nowhere\n", "ModuleNotFoundError: No module named 'nowhere' (bad.py:1)"),
        ("\ndef agent(:\n", "SyntaxError: invalid syntax (bad.py, line 2)"),
        ("def find():\n    return {}['x']\nfind()\n", "KeyError: 'x' (bad.py:2)"),
        ("import sys\nsys.exit('no')\n", "SystemExit: no (bad.py:2)"),
    ],
)
def test_a_script_that_cannot_be_loaded(
    cli: Cli, text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(Path.cwd()), *sys.path])
    Path("bad.py").write_text(text)
    for name in ("bad.py", "bad"):
        sys.modules.pop("bad", None)
        ended = cli("load", "--emulate", "--agent", f"{name}:agent")
        assert ended.code == 2
        assert ended.said == f"runware-ws: {name}: cannot be loaded: {words}\n"


@pytest.mark.slow
def test_a_generator_that_lags_fails_unless_told(cli: Cli) -> None:
    """Answers that take no time leave no room for any lag."""
    options = ("load", "--emulate", "--latency", "0", "--duration", "300ms", "--rate", "100")
    ended = cli(*options, "--json", "out.json", "--quiet")
    report = report_of()
    lagged = report["own_lag_ms"]["p99"] > 0.05 * report["latency_intended_ms"]["p99"]
    assert report["own_lag_ok"] is not lagged
    assert ended.code == int(lagged)
    assert ("bottleneck" in ended.said) is lagged
    assert cli(*options, "--allow-lag", "--quiet").code == 0


def test_a_server_elsewhere_by_streams(cli: Cli, server: Server) -> None:
    Path("tasks").write_text('{"prompt": "one"}\n{"prompt": "two", "max_tokens": 5}\n')
    ended = cli(
        "load", "--url", server.url, "--rate", "20", "--duration", "500ms", "--tasks", "tasks",
        *("--carrier", "socket", "--json", "out.json", "--allow-lag", "--quiet"),
    )  # fmt: skip
    assert (ended.code, ended.out) == (0, "")
    report = report_of()
    assert report["answered"] == 10
    assert report["first_delta_ms"]["count"] == 10
    # Of a server elsewhere nobody here knows.
    assert report["run_twice"] is None
    assert report["lost_known_by"] == "client"
    assert report["target"] == server.url


@pytest.mark.slow
def test_a_load_is_compared(cli: Cli) -> None:
    assert cli(*QUICK, "--rate", "100", "--json", "base.json", "--quiet").code == 0
    slower = ("load", "--emulate", "--latency", "90ms", "--duration", "1s", "--allow-lag")
    ended = cli(*slower, "--rate", "100", "--compare", "base.json", "--json", "out.json")
    assert ended.code == 1
    assert "not kept: p50 is worse than before" in ended.said
    change = report_of()["comparison"][0]
    assert (change["figure"], change["verdict"]) == ("p50", "worse")
    assert 0 < change["low"] < change["change"] < change["high"]


def test_a_limit_that_no_rate_keeps(cli: Cli) -> None:
    ended = cli(
        "load", "--emulate", "--latency", "200ms", "--rate", "4", "--duration", "300ms",
        *("--slo", "150ms", "--find-limit", "--json", "out.json", "--allow-lag"),
    )  # fmt: skip
    limit = report_of()["limit"]
    assert (limit["rate"], [rate for rate, _, _ in limit["steps"]]) == (0, [4, 2, 1, 0.5])
    assert ended.code == 1
    assert "the highest rate that keeps p99<0.15s: 0.0/s" in ended.said
    assert "not kept: p99<0.15s: no rate keeps it" in ended.said


@pytest.mark.slow
def test_several_processes_are_one_load(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from runware_ws import TextInference\n"
        "async def agent(caller):\n"
        "    await caller.ask(TextInference.prompt('one'), name='first')\n"
        "    print('this goes among no pickles')\n"
    )
    ended = cli(*QUICK, "--rate", "60", "--processes", "2", "--agent", "mine.py:agent",
                "--json", "out.json")  # fmt: skip
    assert ended.code == 0, ended.said
    report = report_of()
    assert (report["processes"], report["answered"], report["run_twice"]) == (2, 60, 0)
    assert report["by_name_ms"]["first"]["count"] == 60
    assert report["series"]["intended"][:10] == [6] * 10
    assert report["server"]["connections"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--emulate", "--url", "ws://127.0.0.1:9"), "exclude each other"),
        (("--fault", "cut"), "use --emulate"),
        (("--emulate", "--fault", "fire"), "unknown fault"),
        (("--emulate", "--fault", "cut-every"), "bad fault"),
        (("--emulate", "--rate", "fast"), "not a rate"),
        (("--emulate", "--duration", "soon"), "not a duration"),
        (("--emulate", "--arrivals", "odd"), "--arrivals: must be"),
        (("--emulate", "--carrier", "dove"), "--carrier: must be"),
        (("--emulate", "--fail-if", "p99"), "not a condition"),
        (("--emulate", "--slo", "never"), "not a duration"),
        (("--emulate", "--find-limit"), "needs --slo"),
        (("--emulate", "--tasks", "none"), "none: cannot be read"),
        (("--emulate", "--agent", "nowhere:agent"), "nowhere"),
        (("--emulate", "--compare", "none"), "--compare none"),
        (("--emulate", "--trace", "none"), "none"),
        (("--emulate", "--json", "no/where"), "there is no folder"),
        (("--emulate", "--prompt-tokens", "many"), "not a length"),
        (("--url", "ws://example.com/v1",), "--url"),
    ],
)  # fmt: skip
def test_a_bad_option_is_told_before_anything_runs(
    cli: Cli, options: tuple[str, ...], words: str
) -> None:
    ended = cli("load", "--duration", "1s", *options)
    assert ended.code == 2
    assert words in ended.said
    assert "Traceback" not in ended.said


def test_a_bad_line_is_told_with_its_place(cli: Cli) -> None:
    Path("tasks").write_text('{"prompt": "one"}\n{"question": "two"}\n')
    ended = cli("load", "--emulate", "--tasks", "tasks")
    assert (ended.code, "tasks:2: " in ended.said) == (2, True)


def test_no_server_and_a_wrong_key_have_codes_of_their_own(
    cli: Cli, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNWARE_API_KEY", "another")
    assert cli("load", "--url", server.url).code == 3
    monkeypatch.delenv("RUNWARE_API_KEY")
    ended = cli("load", "--url", server.url)
    assert (ended.code, "no API key" in ended.said) == (2, True)


def test_ctrl_c_reports_what_there_is(tmp_path: Path) -> None:
    running = start(
        "load", "--emulate", "--rate", "50", "--duration", "60s", "--json", "out.json",
        "--latency", "20ms", cwd=tmp_path,
    )  # fmt: skip
    assert running.stderr is not None
    line = running.stderr.readline()
    assert "1/60 s" in line
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=TOO_LONG)
    assert running.returncode == 130, said
    wait_for((tmp_path / "out.json").exists)
    report = report_of(str(tmp_path / "out.json"))
    assert 50 <= report["answered"] == report["attempted"] < 3000


def test_the_extra_is_asked_for(tmp_path: Path) -> None:
    """Without the extra the other commands work, and this one says what is missing."""
    import os
    import sys

    code = (
        "import sys; sys.modules['ddsketch'] = None\n"
        "from runware_ws.cli import main; sys.argv = ['x', 'load', '--emulate']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'runware-ws[load]'" in done.stderr
