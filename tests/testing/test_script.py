"""Expectations and answers, and the emulator outside of pytest's fixtures."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import runware_ws
from runware_ws import TaskError, TextInference
from runware_ws.testing import (
    Asked,
    Expectation,
    ScriptedEmulator,
    error,
    tool_call,
    tool_calls,
)


def asked(prompt: str = "hello world", **fields: Any) -> Asked:
    message = {"role": "user", "content": prompt}
    return Asked({"taskType": "textInference", "messages": [message], **fields})


def has_no_model(request: Asked) -> bool:
    return request.model is None


def has_a_model(request: Asked) -> bool:
    return request.model is not None


@pytest.mark.parametrize(
    ("prompt", "fits"),
    [
        (None, True),
        ("world", True),
        ("World", False),
        (re.compile("^hello"), True),
        (re.compile("^world"), False),
        (has_no_model, True),
        (has_a_model, False),
    ],
)
def test_conditions(prompt: Any, fits: bool) -> None:
    assert Expectation(prompt, "textInference", None).takes(asked()) is fits


def test_type_and_fields() -> None:
    assert not Expectation(None, "imageInference", None).takes(asked())
    assert Expectation(None, None, None).takes(asked())
    assert Expectation(None, None, {"model": "x"}).takes(asked(model="x"))
    assert not Expectation(None, None, {"model": "x"}).takes(asked())


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ({}, 1, 1),
        ({"reply": ["a", "b"]}, 2, 2),
        ({"reply": ["a", "b"], "times": [3]}, 3, 3),
        ({"times": [0]}, 0, 0),
        ({"at_least": [2]}, 2, None),
        ({"any_number": []}, 0, None),
    ],
)
def test_numbers(said: dict[str, list[Any]], least: int, most: int | None) -> None:
    expectation = Expectation(None, None, None)
    for name, values in said.items():
        assert getattr(expectation, name)(*values) is expectation
    for number in range(6):
        assert expectation.fulfilled is (number >= least)
        assert expectation.takes(asked()) is (most is None or number < most)
        expectation.take(asked())
    assert len(expectation.requests) == 6


@pytest.mark.parametrize(
    ("name", "values"), [("reply", []), ("times", [-1]), ("at_least", [-1]), ("after", [-1])]
)
def test_mistakes(name: str, values: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"needs|negative"):
        getattr(Expectation(None, None, None), name)(*values)


def test_what_is_read_of_a_request() -> None:
    request = asked(
        "x" * 100,
        taskUUID="u",
        model="m",
        settings={"systemPrompt": "be brief"},
        tools=[{"type": "function", "name": "look"}, {"type": "search"}, 3],
    )
    assert (request.task_uuid, request.model, request.system_prompt) == ("u", "m", "be brief")
    assert request.tools == ["look"]
    assert request["model"] == "m"
    assert len(str(request)) < 100
    odd = Asked({"taskType": "x", "messages": 3, "settings": []})
    assert (odd.prompt, odd.model, odd.system_prompt, odd.tools) == ("", None, None, [])
    assert str(odd) == "x"


# Outside of pytest's fixtures


def texts(emulator: ScriptedEmulator, *tasks: TextInference) -> list[str]:
    async def main() -> list[str]:
        async with emulator.client() as client:
            return [f"{(await client.run(task)).text}" for task in tasks]

    return anyio.run(main)


def prompts(*words: str) -> list[TextInference]:
    return [TextInference.prompt(word) for word in words]


def test_the_first_that_fits_and_is_not_used_up() -> None:
    with ScriptedEmulator() as emulator:
        first = emulator.expect("a").reply("1")
        emulator.expect("a").reply("2").at_least(1)

        @emulator.reply("*")
        def other(request: Asked) -> str:
            return f"else: {request.prompt}"

        got = texts(emulator, *prompts("a", "a", "ab", "b"))
    assert got == ["1", "2", "2", "else: b"]
    assert [each.prompt for each in first.requests] == ["a"]


def test_answers_of_every_kind() -> None:
    async def slow(request: Asked) -> str:
        await anyio.sleep(0.01)
        return request.prompt.upper()

    with ScriptedEmulator() as emulator:
        call = tool_call("look", {"at": "it"}, id="c7")
        emulator.expect("answers").reply(
            {"text": "a", "cost": 0.5}, slow, tool_calls(call, text="t")
        )
        emulator.expect("error").reply(error("noCredits", "Top up.", parameter="p")).times(2)

        async def main() -> None:
            async with emulator.client() as client:
                results = [await client.run(task) for task in prompts(*["answers"] * 3)]
                assert [each.text for each in results] == ["a", "ANSWERS", "t"]
                assert results[0].cost == 0.5
                (seen,) = results[2].tool_calls or (None,)
                assert seen is not None
                assert (seen.id, seen.name, seen.arguments) == ("c7", "look", {"at": "it"})
                for task in prompts("error", "error"):
                    with pytest.raises(TaskError, match="Top up") as caught:
                        await client.run(task)
                    assert caught.value.parameter == "p"

        anyio.run(main)


def three(_: Asked) -> Any:
    return 3


@pytest.mark.parametrize("reply", [three, ["one of two"]])
def test_answers_that_are_none(reply: Any) -> None:
    emulator = ScriptedEmulator()
    with emulator.start() as running:
        running.expect().reply(reply)
        with pytest.raises(TaskError):
            texts(running, TextInference.prompt("?", number_results=2))
        assert any("the reply raised" in problem for problem in running.problems())


def test_a_condition_that_raises() -> None:
    with ScriptedEmulator(unfulfilled="allow") as emulator:
        emulator.expect(lambda request: bool(request["nothing"]))
        with pytest.raises(TaskError):
            texts(emulator, *prompts("?"))
        with pytest.raises(AssertionError, match="condition of an expectation raised KeyError"):
            emulator.verify()


def test_problems_are_told_once() -> None:
    with ScriptedEmulator() as emulator:
        emulator.expect("never")
        assert len(emulator.problems()) == 1
        assert emulator.problems() == []
        emulator.verify()


def test_an_error_of_the_block_wins() -> None:
    def fails() -> None:
        with ScriptedEmulator() as emulator:
            emulator.expect("never")
            raise LookupError

    with pytest.raises(LookupError):
        fails()


def test_leaving_the_block_verifies() -> None:
    def forgets() -> None:
        with ScriptedEmulator() as emulator:
            emulator.expect(re.compile("nev.r"), fields={"model": "m"})

    with pytest.raises(AssertionError, match=r"prompt like 'nev.r' with \{'model': 'm'\}: 1 exp"):
        forgets()


def test_orders_from_a_reply_function_and_from_other_threads() -> None:
    with ScriptedEmulator() as emulator:

        @emulator.reply()
        def cut_first(request: Asked) -> str:
            assert emulator.cut() == 1
            return request.prompt

        assert texts(emulator, *prompts("a", "b")) == ["a", "b"]
        assert emulator.stats.cuts == 2
        emulator.go_down()
        assert emulator.faults.rejections.left is None
        thread = threading.Thread(target=emulator.come_back)
        thread.start()
        thread.join()
        assert emulator.faults.rejections.left == 0
        assert texts(emulator, *prompts("c")) == ["c"]


def test_stopping_leaves_nothing() -> None:
    before = threading.active_count()
    emulator = ScriptedEmulator().start()
    assert repr(emulator) == f"<ScriptedEmulator {emulator.url}>"
    emulator.stop()
    emulator.stop()
    assert threading.active_count() == before
    assert repr(emulator) == "<ScriptedEmulator not running>"


def test_waiting_for_requests_is_bounded() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await emulator.asked(1, timeout=0.02)

    with ScriptedEmulator() as emulator:
        anyio.run(main)


def test_a_reply_in_deltas() -> None:
    def pieces(request: Asked) -> Iterator[str]:
        yield "to "
        yield request.prompt

    with ScriptedEmulator() as emulator:
        emulator.expect("a").reply(pieces)
        late = emulator.expect("b").reply(pieces).after(0.01)
        assert texts(emulator, *prompts("a")) == ["to a"]
        with pytest.raises(TaskError):
            texts(emulator, *prompts("b"))
        (problem,) = emulator.problems()
        assert "leave out after()" in problem
        assert late.fulfilled


_PROGRAM = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pytest", "_pytest", "trio"):
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Blocker())
import runware_ws.testing
"""


def test_pytest_is_not_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(runware_ws.__file__).parents[1],
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_forgets_to_stop_it_ends() -> None:
    text = "from runware_ws.testing import ScriptedEmulator\nemulator = ScriptedEmulator().start()"
    root = Path(runware_ws.__file__).parents[1]
    command = [sys.executable, "-W", "error", "-c", text]
    done = subprocess.run(command, capture_output=True, timeout=20, cwd=root, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
