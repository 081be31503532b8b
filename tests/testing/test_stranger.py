"""The test kit in a stranger's project, which has the built wheel and nothing else of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROJECT = {
    "pyproject.toml": """
        [project]
        name = "stranger"
        version = "1"
        dependencies = ["runware-ws"]

        [tool.pytest.ini_options]
        addopts = "--strict-markers --strict-config -p no:cacheprovider"
        filterwarnings = ["error"]
        asyncio_mode = "auto"
        asyncio_default_fixture_loop_scope = "function"
        """,
    "stranger.py": """
        from runware_ws import Client, RunwareError, TextInference


        async def answer(question):
            async with Client() as client:
                return (await client.run(TextInference.prompt(question), timeout=20)).text


        async def answer_or_none(question):
            try:
                return await answer(question)
            except RunwareError:
                return None
        """,
    "tests/test_good.py": """
        import asyncio
        import pytest
        from runware_ws.testing import MemoryServer, error
        from stranger import answer, answer_or_none

        async def test_auto_mode(runware_emulator):
            runware_emulator.expect("why").reply("because").after(0.01)
            assert await answer("why?") == "because"

        def test_sync(runware_emulator):
            runware_emulator.expect("why").reply(error("noCredits"))
            assert asyncio.run(answer_or_none("why?")) is None

        async def test_factory(runware_emulator, runware_client):
            runware_emulator.expect().reply("one")
            async with runware_client() as client:
                runware_emulator.cut()
                task = {"taskType": "textInference", "model": "any:model@1", "messages": []}
                assert (await client.run(task)).text == "one"

        @pytest.mark.runware(unexpected="allow")
        async def test_allowed(runware_emulator):
            assert await answer("why?")
        """,
    "tests/test_bad.py": """
        from stranger import answer_or_none

        async def test_unexpected(runware_emulator):
            assert await answer_or_none("how?") is None

        async def test_unfulfilled(runware_emulator):
            runware_emulator.expect("why").reply("because").times(2)
            assert await answer_or_none("why?") == "because"
        """,
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and unpacked: for a pure wheel, that is what installing does."""
    if find_spec("hatchling") is None:
        pytest.skip("building a wheel needs hatchling")
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = target.glob("*.whl")
    site = target / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def pytest_in(project: Path, site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """pytest as the stranger runs it. Its plugins come from entry points only."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-p", "no:hypothesispytest", *args],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(project)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_a_strangers_project(installed: Path, tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = text.removeprefix("\n").splitlines(keepends=True)
        path.write_text("".join(line[8:] or "\n" for line in lines), encoding="utf-8")
    done = pytest_in(tmp_path, installed, "-rA")
    assert "4 passed" in done.stdout, done.stdout + done.stderr
    assert "2 failed" in done.stdout
    assert done.returncode == 1
    assert "unexpected request: textInference 'how?'" in done.stdout
    assert "not asked: textInference with 'why' in its prompt: 2 expected, 1 came" in done.stdout
    assert "FAILED tests/test_bad.py::test_unexpected" in done.stdout
    assert "FAILED tests/test_bad.py::test_unfulfilled" in done.stdout


@pytest.mark.slow
def test_what_the_stranger_is_told(installed: Path, tmp_path: Path) -> None:
    """The installed copy is the one that runs, and its help tells of the plugin."""
    (tmp_path / "test_where.py").write_text(
        "import runware_ws\n"
        "def test_where(runware_emulator):\n"
        f"    assert runware_ws.__file__.startswith({str(installed)!r})\n",
        encoding="utf-8",
    )
    done = pytest_in(tmp_path, installed, "-q", "test_where.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "@pytest.mark.runware(" in pytest_in(tmp_path, installed, "--markers").stdout
