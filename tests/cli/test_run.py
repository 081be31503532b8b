"""``run``: what it writes, what it refuses, what it does when it is called again."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runware_ws.emulator import Request
from tests.cli.conftest import KEY, ROOT, Ended, Server, read_lines, texts, write_lines

Cli = Callable[..., Ended]


@pytest.fixture
def run(cli: Cli, server: Server) -> Cli:
    """``run`` against the server, with short limits."""

    def invoke(*args: str, stdin: str | None = None) -> Ended:
        return cli("run", *args, "--url", server.url, "--connect-timeout", "30", stdin=stdin)

    return invoke


def prompts(*names: str) -> list[dict[str, Any]]:
    return [{"id": name, "prompt": f"ask {name}"} for name in names]


def written(folder: Path) -> int:
    out = folder / "out"
    return out.read_bytes().count(b"\n") if out.exists() else 0


def test_each_line_gets_one_line(run: Cli, server: Server, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "ask c"}]
    params = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": messages}
    batch = {"custom_id": "c", "params": params}
    write_lines(tmp_path / "in", *prompts("a"), {"prompt": "ask b"}, batch)
    ended = run("in", "-o", "out")
    assert ended.code == 0, ended.said
    assert texts(tmp_path / "out") == {1: "ask a", 2: "ask b", 3: "ask c"}
    by_line = {entry["line"]: entry for entry in read_lines(tmp_path / "out")}
    assert by_line[1]["id"] == "a"
    assert by_line[3]["custom_id"] == "c"
    result = by_line[1]["result"]
    assert result["finish_reason"] == "stop"
    assert result["recovered_by"] == "poll"  # What is polled can be had again after a crash.
    assert result["cost"] > 0
    assert result["usage"]["totalTokens"] > 0
    assert result["raw"][0]["taskUUID"] == result["task_uuid"]
    assert "3 done, 0 errors, $0.0" in ended.said
    assert {entry["from"] for entry in by_line.values()} == {server.url}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in", "out"]


def test_stdin_to_stdout(run: Cli) -> None:
    ended = run("-", "-o", "-", "--quiet", stdin='\ufeff{"prompt": "ask"}\r\n\n{"prompt": "b"}')
    assert (ended.code, ended.said) == (0, "")
    assert {json.loads(line)["line"] for line in ended.out.splitlines()} == {1, 3}


def test_emulate_needs_nothing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNWARE_API_KEY")
    write_lines(tmp_path / "in", *prompts("a"))
    assert cli("run", "in", "-o", "out", "--emulate").code == 0
    assert texts(tmp_path / "out") == {1: "ask a"}


def test_a_bad_line_harms_no_other(run: Cli, server: Server, tmp_path: Path) -> None:
    too_many = {"id": "z", "prompt": "x", "max_tokens": 10**6}
    write_lines(tmp_path / "in", [1], *prompts("a"), {"prompt": "x", "top_p": 1}, too_many)
    ended = run("in", "-o", "out")
    assert ended.code == 1
    assert texts(tmp_path / "out") == {2: "ask a"}
    errors = {e["line"]: e["error"] for e in read_lines(tmp_path / "out") if "error" in e}
    assert "must be a JSON object" in errors[1]["message"]
    assert "top_p" in errors[3]["message"]
    assert errors[4]["message"] == "max_tokens: must be at most 64000"
    assert {error["type"] for error in errors.values()} == {"InvalidTask"}
    assert {(e["submitted"], e["retryable"]) for e in errors.values()} == {("no", False)}
    assert server.emulator.stats.executed == 1


def test_again_does_nothing(run: Cli, server: Server, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a", "b"))
    run("in", "-o", "out")
    before = (tmp_path / "out").read_bytes()
    ended = run("in", "-o", "out")
    assert ended.code == 0
    assert "2 already there" in ended.said
    assert (tmp_path / "out").read_bytes() == before
    assert server.emulator.stats.executed == 2


def test_more_lines_and_another_order(run: Cli, server: Server, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a", "b"))
    run("in", "-o", "out")
    write_lines(tmp_path / "in", *prompts("c", "b", "a"))
    assert run("in", "-o", "out").code == 0
    assert [entry["id"] for entry in read_lines(tmp_path / "out")][2] == "c"
    assert server.emulator.stats.executed == 3


def test_an_edited_line_is_done_again(run: Cli, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a", "b"))
    run("in", "-o", "out")
    write_lines(tmp_path / "in", *prompts("a"), {"id": "b", "prompt": "edited"})
    ended = run("in", "-o", "out")
    assert ended.code == 0
    assert "out.stale" in ended.said
    assert texts(tmp_path / "out") == {1: "ask a", 2: "edited"}
    assert texts(tmp_path / "out.stale") == {2: "ask b"}


def test_a_torn_line_is_done_again(run: Cli, server: Server, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a", "b"))
    run("in", "-o", "out")
    whole = (tmp_path / "out").read_bytes()
    (tmp_path / "out").write_bytes(whole[:-20])
    ended = run("in", "-o", "out")
    assert ended.code == 0
    assert "cut off" in ended.said
    assert len(texts(tmp_path / "out")) == 2
    # A last line that only lacks its line end was paid for, and stays.
    (tmp_path / "out").write_bytes((tmp_path / "out").read_bytes()[:-1])
    assert run("in", "-o", "out").code == 0
    assert len(texts(tmp_path / "out")) == 2
    assert server.emulator.stats.executed == 3


def test_which_errors_are_tried_again(run: Cli, server: Server, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a"))
    server.fault("inject_error", "providerError", times=1)
    ended = run("in", "-o", "out", "--retries", "0")
    assert ended.code == 1
    assert "1 errors may pass" in ended.said
    assert read_lines(tmp_path / "out")[0]["error"]["retryable"] is True

    server.fault("inject_error", "contentPolicyViolation", times=1)
    ended = run("in", "-o", "out")
    assert ended.code == 1
    assert read_lines(tmp_path / "out")[0]["error"]["code"] == "contentPolicyViolation"

    ended = run("in", "-o", "out")  # A definite error stays
    assert ended.code == 1
    assert "(1 of them errors)" in ended.said
    assert server.emulator.stats.executed == 0

    ended = run("in", "-o", "out", "--retry-errors")
    assert ended.code == 0, ended.said  # until it is asked for.
    assert texts(tmp_path / "out") == {1: "ask a"}
    assert len(read_lines(tmp_path / "out")) == 1


def test_a_timeout_is_asked_for_and_not_run_twice(run: Cli, server: Server, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", {"prompt": "hold a"})
    for timeout in ("0.3", "2", "20"):  # A busy machine may need longer to get the task out.
        assert run("in", "-o", "out", "--timeout", timeout).code == 1
        if server.held:
            break
    assert server.held == 1
    assert (tmp_path / "out.journal").exists()
    error = read_lines(tmp_path / "out")[0]["error"]
    assert (error["type"], error["retryable"]) == ("TaskTimeout", True)
    server.release()
    ended = run("in", "-o", "out")
    assert ended.code == 0, ended.said
    assert texts(tmp_path / "out") == {1: "hold a"}
    assert server.emulator.stats.executed == 1


def test_ids_that_are_not_unique(run: Cli, server: Server, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a", "a"))
    assert run("in", "-o", "out").code == 0
    assert len(texts(tmp_path / "out")) == 2
    assert "2 already there" in run("in", "-o", "out").said
    write_lines(tmp_path / "in", {"id": "a", "prompt": "another"}, *prompts("a", "a"))
    assert "2 already there" in run("in", "-o", "out").said
    assert server.emulator.stats.executed == 3


def test_lines_that_move_are_not_paid_again(run: Cli, server: Server, tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"prompt": f"ask {n % 7}"} for n in range(20)]
    write_lines(tmp_path / "in", *lines)
    assert run("in", "-o", "out").code == 0
    blank = "\n\n".join(json.dumps(line, separators=(" ,", ":  ")) for line in reversed(lines[1:]))
    (tmp_path / "in").write_text(f'{{"prompt": "new"}}\n{blank}')
    assert "19 already there" in run("in", "-o", "out").said
    assert server.emulator.stats.executed == 21
    assert len({entry["key"] for entry in read_lines(tmp_path / "out")}) == 20


@pytest.mark.parametrize(
    ("name", "content", "args"),
    [
        ("in.csv", b"id,prompt\na,ask\n", ()),
        ("in.csv.gz", gzip.compress(b"id,q\na,ask\n", mtime=0), ("--prompt-column", "q")),
        ("in", b"id|prompt\na|ask\n", ("--input-format", "csv")),
        ("in.json", b'[{"id": "a", "prompt": "ask"}]', ()),
        ("in", b'{"requests": [{"id": "a", "prompt": "ask"}]}', ()),
        ("in", '{"id": "a", "prompt": "ask"}'.encode("utf-16"), ()),
        ("in", b'{"id": "a", "prompt": "ask", "temperature": 1}', ("--unsupported", "drop")),
        ("in", b'{"id": "a", "body": {"messages": [{"role": "user", "content": "ask"}]}}', ()),
    ],
)
def test_input_in_many_forms(
    run: Cli, tmp_path: Path, name: str, content: bytes, args: tuple[str, ...]
) -> None:
    (tmp_path / name).write_bytes(content)
    ended = run(name, "-o", "out", *args)
    assert ended.code == 0, ended.said
    assert ("temperature is left out of 1 lines" in ended.said) == ("drop" in args)
    (entry,) = read_lines(tmp_path / "out")
    assert entry["id"] == "a"
    assert entry["result"]["text"].endswith("ask")


def test_long_ids_stay_apart(run: Cli, server: Server, tmp_path: Path) -> None:
    big = 12345678901234567890123
    write_lines(tmp_path / "in", {"id": big, "prompt": "a"}, {"id": big + 1, "prompt": "a"})
    assert run("in", "-o", "out").code == 0
    assert {entry["id"] for entry in read_lines(tmp_path / "out")} == {big, big + 1}
    assert "2 already there" in run("in", "-o", "out").said
    assert server.emulator.stats.executed == 2


def test_integers_of_tools_are_exact_on_the_whole_way(
    run: Cli, server: Server, tmp_path: Path
) -> None:
    big = 12345678901234567890123
    schema = {"type": "object", "properties": {"id": {"enum": [big, big + 1]}}}
    call = {"id": "t", "name": "f", "arguments": {"id": big}}
    seen: list[Any] = []

    async def answer(request: Request) -> dict[str, Any]:
        seen.append(request.task["tools"][0]["schema"])
        return {"text": "", "toolCalls": [call], "finishReason": "tool_calls"}

    server.emulator.reply("textInference")(answer)
    tools = [{"type": "function", "name": "f", "schema": schema}]
    asked = [{"role": "user", "content": "x"}]
    write_lines(tmp_path / "in", {"messages": asked, "tools": tools})
    ended = run("in", "-o", "out")
    assert ended.code == 0, ended.said
    assert seen == [schema]
    (entry,) = read_lines(tmp_path / "out")
    assert entry["result"]["raw"][0]["toolCalls"] == [call]


def test_half_of_a_pair_is_one_lines_error(run: Cli, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a"), {"id": "\ud800", "prompt": "\ud800"})
    assert run("in", "-o", "out").code == 1
    assert texts(tmp_path / "out") == {1: "ask a"}
    (error,) = [entry for entry in read_lines(tmp_path / "out") if "error" in entry]
    assert "must be valid Unicode" in error["error"]["message"]


def test_a_line_with_its_own_task_uuid(run: Cli, server: Server, tmp_path: Path) -> None:
    uuid = "7f3d7a52-3a0f-4d59-9f0e-0d6a3f1b2c4d"
    write_lines(
        tmp_path / "in",
        {"taskUUID": uuid, "messages": [{"role": "user", "content": "x"}]},
    )
    run("in", "-o", "out")
    assert read_lines(tmp_path / "out")[0]["result"]["task_uuid"] == uuid
    question = {"taskType": "getTaskDetails", "taskUUID": uuid}
    write_lines(tmp_path / "in2", question, {"taskType": "getTaskDetails"})
    assert run("in2", "-o", "out2").code == 1
    found = {entry["line"]: entry for entry in read_lines(tmp_path / "out2")}
    assert found[1]["result"]["raw"][0]["request"][0]["taskUUID"] == uuid
    assert "taskUUID: is required" in found[2]["error"]["message"]


@pytest.mark.parametrize(
    ("args", "files", "said"),
    [
        (("nope", "-o", "out"), {}, "nope: cannot be read: No such file"),
        ((".", "-o", "out"), {}, ".: cannot be read: Is a directory"),
        (("in", "-o", "out"), {"in": ""}, "in: is empty"),
        (("in", "-o", "out"), {"in": '{"prompt": "x"}\n{"a":}\n'}, "in:2: not JSON"),
        (("in", "-o", "out"), {"in": "\xff"}, "in:1: not JSON"),
        (("in", "-o", "in"), {"in": "{}"}, "in: is the input too"),
        (("in", "-o", "."), {"in": "{}"}, ".: is a directory: name a file"),
        (("in", "-o", "no/out"), {"in": "{}"}, "no/out: cannot be written: No such file"),
        (("in", "-o", "out"), {"in": "{}", "out": "mine\n"}, "out:1: was not written by this"),
        (
            ("in", "-o", "out"),
            {"in": "{}", "out": '{"line":1,"key":"00","from":"runware","result":{}}\n'},
            "out: none of its lines belongs to in",
        ),
        (
            ("in", "-o", "out", "--unsupported", "no"),
            {"in": "{}"},
            "--unsupported: must be 'error' or",
        ),
        (("in", "-o", "out", "--input-format", "xls"), {"in": "{}"}, "'xls' is no format of"),
        (("in.csv", "-o", "out"), {"in.csv": "a,b\n1,2"}, "in.csv: has no column 'prompt', only"),
        (("in", "-o", "out", "--timeout", "inf"), {"in": "{}"}, "--timeout: must be a finite"),
        (("in", "-o", "out", "--grace", "inf"), {"in": "{}"}, "--grace: must be a finite"),
        (("in", "-o", "out", "--max-cost", "nan"), {"in": "{}"}, "--max-cost: must be an amount"),
        (("in", "-o", "out", "--price", "1"), {"in": "{}"}, "--price: '1' is not IN,OUT"),
        (("in", "-o", "out", "--shape", "x"), {"in": "{}"}, "--shape: must be 'ours' or"),
        (("in", "-o", "out", "--job", "x"), {"in": "{}"}, "--job names the work in a shared"),
        (("in", "-o", "-", "--journal", "j"), {"in": "{}"}, "--job is needed with a journal"),
        (("in", "-o", "out", "--journal", "out"), {"in": "{}"}, "out is the output: choose"),
        (("in", "-o", "out", "--journal", "x://y"), {"in": "{}"}, "there is no such store"),
        (("in", "-o", "out.xlsx"), {"in": "{}"}, "the suffix '.xlsx' of an output is not known"),
        (("in", "-o", "out.csv", "--shape", "anthropic-batch"), {"in": "{}"}, "is for JSON lines"),
        (("in", "-o", "out", "--url", "http://x"), {"in": "{}"}, "--url: url must look like"),
        (("in", "-o", "out", "--url", "ws://example.com/v1"), {"in": "{}"}, "use wss://"),
        (("in", "-o", "out", "--url", "ws://x", "--emulate"), {"in": "{}"}, "exclude each other"),
        (("in", "-o", "out", "--api-key-file", "no"), {"in": "{}"}, "no: the key cannot be read"),
        (("in", "-o", "out", "--api-key-file", "k"), {"in": "{}", "k": "\n"}, "k: is empty"),
    ],
)
def test_what_is_refused_before_anything_is_run(
    cli: Cli, tmp_path: Path, args: tuple[str, ...], files: dict[str, str], said: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "latin-1")
    before = (tmp_path / "out").read_text() if "out" in files else None
    ended = cli("run", *args)
    assert ended.code == 2
    assert said in ended.said
    assert len(ended.said.splitlines()) == 1
    assert not (tmp_path / "out.journal").exists()
    if before is not None:
        assert (tmp_path / "out").read_text() == before


def test_no_key(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNWARE_API_KEY")
    write_lines(tmp_path / "in", *prompts("a"))
    ended = cli("run", "in", "-o", "out")
    assert ended.code == 2
    assert "set RUNWARE_API_KEY" in ended.said


def test_the_key_comes_from_a_file(
    run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNWARE_API_KEY")
    write_lines(tmp_path / "in", *prompts("a"))
    (tmp_path / "key").write_text(KEY + "\n")
    assert run("in", "-o", "out", "--api-key-file", "key").code == 0


def test_a_refused_key(run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNWARE_API_KEY", "another-key")
    write_lines(tmp_path / "in", *prompts("a"))
    ended = run("in", "-o", "out")
    assert ended.code == 3
    assert "refuses the API key" in ended.said
    assert "another-key" not in ended.said


def test_a_key_that_is_refused_later_loses_nothing(
    run: Cli, server: Server, tmp_path: Path
) -> None:
    write_lines(tmp_path / "in", *prompts("a", "b", "c"), {"id": "d", "prompt": "hold d"})

    async def refuse_after_three() -> None:
        await server.when(lambda: server.held == 1 and written(tmp_path) == 3)
        server.emulator.faults.reject_upgrades(401, times=None)
        server.emulator.faults.cut()

    server.portal.start_task_soon(refuse_after_three)
    ended = run("in", "-o", "out")
    assert ended.code == 3, ended.said
    assert "1 lines are left" in ended.said
    assert len(texts(tmp_path / "out")) == 3
    server.fault("heal")
    server.release()
    assert run("in", "-o", "out").code == 0
    assert len(texts(tmp_path / "out")) == 4
    assert server.emulator.stats.executed == 4


def test_a_server_that_is_away(cli: Cli, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a"))
    url = "ws://127.0.0.1:1/v1"
    ended = cli("run", "in", "-o", "out", "--url", url, "--connect-timeout", "0.1")
    assert ended.code == 4
    assert f"no connection to {url}" in ended.said
    assert not (tmp_path / "out.journal").exists()


def test_cuts_lose_nothing(run: Cli, server: Server, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts(*map(str, range(60))))
    server.fault("cut_after", frames=4, times=2)
    ended = run("in", "-o", "out", "--concurrency", "10")
    assert ended.code == 0, ended.said
    assert "2 reconnects" in ended.said
    assert len(texts(tmp_path / "out")) == 60
    assert server.emulator.stats.executed == 60


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_an_output_that_takes_nothing(run: Cli, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a"))
    ended = run("in", "-o", "/dev/full")
    assert ended.code == 2
    assert "/dev/full: cannot be written: No space left" in ended.said


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_has_gone(tmp_path: Path) -> None:
    """As with ``| head``: no answer counts that nobody can have got."""
    write_lines(tmp_path / "in", *prompts(*"abcdefghij"))
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "runware_ws", "run", "in", "-o", "-", "--emulate"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert ended.stderr == "runware-ws: standard output: cannot be written: Broken pipe\n"
    assert ended.returncode == 2


def test_nobody_is_told_to_run_again_what_would_be_paid_again(run: Cli, tmp_path: Path) -> None:
    """Of standard output the next run knows nothing: it would do all lines anew."""
    write_lines(tmp_path / "in", *prompts("a", "b", "c"), {"question": "d"})
    ended = run("in", "-o", "-", "--limit", "2")
    assert (ended.code, len(ended.out.splitlines())) == (1, 2)
    assert "2 left: only with -o FILE the next run can go on" in ended.said
    ended = run("in", "-o", "-")
    assert (ended.code, len(ended.out.splitlines())) == (1, 4)
    assert "3 done, 1 errors, $" in ended.said
    assert "again" not in ended.said + ended.out
    assert "--retry-errors" not in ended.said


def test_the_output_may_be_a_link(run: Cli, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a", "b"))
    os.symlink("real", tmp_path / "out")
    run("in", "-o", "out")
    (tmp_path / "real").write_bytes((tmp_path / "real").read_bytes()[:-9])
    assert run("in", "-o", "out").code == 0
    assert (tmp_path / "out").is_symlink()
    assert len(texts(tmp_path / "real")) == 2


def test_a_journal_that_is_none_is_refused(run: Cli, server: Server, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a"))
    ended = run("in", "-o", "out", "--journal", "in")
    assert ended.code == 2
    assert "this file is not a journal" in ended.said
    assert len(ended.said.splitlines()) == 1
    assert server.emulator.stats.executed == 0


def test_money_is_told_before_and_bounded(run: Cli, server: Server, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts(*"abcdef"))
    ended = run("in", "-o", "out", "--dry-run", "--price", "2,10")
    assert ended.code == 0
    assert ended.out.splitlines()[0].startswith("6 lines (6 textInference): 6 to send")
    assert "$2 and $10 for a million tokens" in ended.out
    assert not (tmp_path / "out").exists()
    ended = run("in", "-o", "out", "--limit", "2", "--sort")
    assert ended.code == 1
    assert "--limit 2: so many lines were taken" in ended.said
    assert "4 left: run it again" in ended.said
    ended = run("in", "-o", "out", "--max-cost", "0.00001")
    assert ended.code == 1
    assert "--max-cost 1e-05" in ended.said
    assert server.emulator.stats.executed == 2
    ended = run("in", "-o", "out", "--sort")
    assert ended.code == 0
    assert "in all runs" in ended.said
    assert [entry["id"] for entry in read_lines(tmp_path / "out")] == list("abcdef")


def test_the_batch_shape(run: Cli, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a"))
    for _ in range(2):
        assert run("in", "-o", "out", "--shape", "anthropic-batch").code == 0
    (entry,) = read_lines(tmp_path / "out")
    assert entry["custom_id"] == "a"
    assert entry["result"]["type"] == "succeeded"
    assert entry["result"]["message"]["model"] == "anthropic/claude-haiku-4.5"


def test_another_server_is_refused(run: Cli, cli: Cli, tmp_path: Path) -> None:
    write_lines(tmp_path / "in", *prompts("a"))
    assert run("in", "-o", "out").code == 0
    ended = cli("run", "in", "-o", "out")
    assert ended.code == 2
    assert "and this run asks Runware: choose another output" in ended.said
    assert cli("run", "in", "-o", "out", "--emulate").code == 2


@pytest.mark.skipif(os.name == "nt", reason="POSIX descriptors")
@pytest.mark.parametrize(
    ("args", "closed", "said"),
    [
        ("- -o out", "<&-", "standard input: is closed"),
        ("in -o -", ">&-", "standard output: is closed"),
        ("in -o out", "2>&-", ""),
    ],
)
def test_closed_streams(tmp_path: Path, args: str, closed: str, said: str) -> None:
    write_lines(tmp_path / "in", *prompts("a"))
    command = f"exec {sys.executable} -m runware_ws run {args} --emulate {closed}"
    ended = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) <= 1
    assert ended.returncode == (2 if said else 0)
