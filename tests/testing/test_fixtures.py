"""The fixtures: which tests fail, on which event loops they work, what they set."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import pytest_runware_ws  # pyright: ignore[reportMissingTypeStubs]

from .support import run

AS_ASKED = """
def test_it(runware_emulator, runware_client):
    runware_emulator.expect("hello").reply("world")
    assert ask(runware_client, "hello") == ["world"]
    assert [each.prompt for each in runware_emulator.requests] == ["hello"]
"""


def test_what_is_expected_passes(pytester: pytest.Pytester) -> None:
    run(pytester, AS_ASKED).assert_outcomes(passed=1)


def test_an_unexpected_request_fails_the_test_even_if_its_error_is_swallowed(
    pytester: pytest.Pytester,
) -> None:
    done = run(
        pytester,
        """
def test_it(runware_emulator, runware_client):
    runware_emulator.expect("hello").reply("world")
    assert ask(runware_client, "hello") == ["world"]
    with pytest.raises(TaskError, match="unexpectedRequest"):
        ask(runware_client, "what else")
""",
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "Runware was not asked what was expected:",
            "  unexpected request: textInference 'what else' (model anthropic:*",
            "*runware requests*",
            "1. textInference 'hello'*",
            "2. textInference 'what else'*",
        ]
    )


def test_an_expectation_that_was_not_met_fails_the_test(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
def test_it(runware_emulator, runware_client):
    runware_emulator.expect("hello").reply("world").times(3)
    runware_emulator.expect("never").any_number()
    ask(runware_client, "hello")
""",
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["  not asked: textInference with 'hello' in its prompt: 3 expected, 1 came"]
    )
    done.stdout.no_fnmatch_line("*never*")


def test_one_request_too_many_is_unexpected(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
@pytest.mark.xfail(strict=True)
def test_it(runware_emulator, runware_client):
    runware_emulator.expect("hello").reply("world")
    with pytest.raises(TaskError):
        ask(runware_client, "hello", "hello")
""",
    )
    done.assert_outcomes(xfailed=1)


def test_a_test_that_fails_by_itself_shows_what_was_asked(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
def test_it(runware_emulator, runware_client):
    runware_emulator.expect("never")
    ask(runware_client, "one")
""",
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["*runware requests*", "1. textInference 'one'*", "! unexpected*", "! not asked*"]
    )


def test_what_comes_after_the_test_fails_its_teardown(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
@pytest.fixture
def late(runware_client):
    yield
    with pytest.raises(TaskError):
        ask(runware_client, "too late")

def test_it(late, runware_emulator):
    pass
""",
    )
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*unexpected request: textInference 'too late'*"])


def test_a_reply_that_raises_fails_the_test(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
def test_it(runware_emulator, runware_client):
    @runware_emulator.reply()
    async def broken(asked):
        assert asked.prompt == "one"
        return "fine"
    with pytest.raises(TaskError):
        ask(runware_client, "one", "two")
""",
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["  the reply raised AssertionError*textInference 'two'*"])


def test_the_marker_loosens(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
pytestmark = pytest.mark.runware(unexpected="allow", latency="1ms")

@pytest.mark.runware(unfulfilled="allow", api_key="mine")
def test_it(runware_emulator, runware_client):
    runware_emulator.expect("never")
    assert runware_emulator.api_key == "mine"
    (text,) = ask(runware_client, "echo me")
    (asked,) = runware_emulator.requests
    assert text == expected_text("echo me", asked.task_uuid)
""",
    )
    done.assert_outcomes(passed=1)


@pytest.mark.parametrize("marker", ["unexpected='no'", "'allow'", "colour='red'"])
def test_a_marker_that_makes_no_sense(pytester: pytest.Pytester, marker: str) -> None:
    done = run(
        pytester,
        f"""
@pytest.mark.runware({marker})
def test_it(runware_emulator):
    pass
""",
    )
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*marker runware*"])


def test_every_kind_of_test(pytester: pytest.Pytester) -> None:
    """Sync, pytest-asyncio, and anyio on both loops; the code under test makes its own client."""
    done = run(
        pytester,
        """
import asyncio
import os

async def work(emulator):
    emulator.expect("hello").reply("one", "two").after(0.01)
    async with Client() as client:
        assert (await client.run(TextInference.prompt("hello"))).text == "one"
        assert (await client.run(TextInference.prompt("hello"))).text == "two"
    assert len(await emulator.asked(2)) == 2

def test_sync(runware_emulator):
    asyncio.run(work(runware_emulator))

@pytest.mark.asyncio
async def test_asyncio(runware_emulator):
    await work(runware_emulator)

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_anyio(anyio_backend, runware_emulator):
    await work(runware_emulator)

def test_none_is_left():
    assert "RUNWARE_WS_URL" not in os.environ
""",
    )
    done.assert_outcomes(passed=5)


def test_auto_mode(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
async def test_it(runware_emulator, runware_client):
    runware_emulator.expect("hello").reply("world")
    async with runware_client() as client:
        assert (await client.run(TextInference.prompt("hello"))).text == "world"
""",
        "--asyncio-mode=auto",
    )
    done.assert_outcomes(passed=1)


def test_a_client_in_a_fixture_of_anyio(pytester: pytest.Pytester) -> None:
    """anyio keeps a fixture in one task from its start to its end; pytest-asyncio does not."""
    done = run(
        pytester,
        """
@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.fixture
async def client(runware_client, anyio_backend):
    async with runware_client() as client:
        yield client

@pytest.mark.anyio
async def test_it(runware_emulator, client):
    runware_emulator.expect("hello").reply("world")
    assert (await client.run(TextInference.prompt("hello"))).text == "world"
""",
    )
    done.assert_outcomes(passed=2)


def test_no_fixture_no_import(tmp_path: Path) -> None:
    """Every start of pytest loads the plugin, so it must cost nothing."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.has_plugin('pytest_runware_ws')\n"
        "    heavy = {'runware_ws', 'anyio', 'websockets', 'pydantic', 'orjson', 'tenacity'}\n"
        "    assert not heavy & set(sys.modules)\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-p", "pytest_runware_ws", "-q", "."]
    command += ["-p", "no:anyio", "-p", "no:asyncio", "-p", "no:hypothesispytest"]
    root = Path(pytest_runware_ws.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n"
         f"import pytest; raise SystemExit(pytest.main({command[3:]!r}))"],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
