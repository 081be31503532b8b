"""Scripts: what comes when, what is answered, and what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws.emulator import Emulator, Request, load_script, read_script
from tests import virtual

from .test_streams import read_stream
from .wire import KEY, expected, ready, serving, stream_task, text_of, text_task

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend

TOML = """
[[steps]]
at = "2s"
orders = ["cut=1012"]

[[steps]]
at = 3
every = "2s"
times = 2
orders = ["inject-error=soon"]

[[steps]]
task = 2
orders = ["cut=1013"]

[[answers]]
task = 1
text = "the first"

[[answers]]
prompt = "weather"
times = 1
after = "500ms"
fields = { text = "Rain.", cost = 0.25 }

[[answers]]
prompt = "weather"
error = { code = "taskFailed", message = "No more.", parameter = "messages" }
"""


def write(folder: Path, text: str, name: str = "script.toml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


async def test_steps_come_at_their_times_and_tasks(tmp_path: Path) -> None:
    async with serving(KEY, script=write(tmp_path, TOML)) as emulator:
        began = anyio.current_time()
        async with ready(emulator) as (wire, session):
            assert await wire.closed() == 1012
            assert anyio.current_time() - began == pytest.approx(2.0)
        async with ready(emulator, session) as (wire, _):
            await wire.send(text_task("first"))
            assert (await wire.item())["text"] == "the first"
            # What a cut finds in the last moments comes again: that is another test's.
            await anyio.sleep(0.5)
            await wire.send(second := text_task("second"))
            assert await wire.closed() == 1013
        async with ready(emulator, session) as (wire, _):
            assert (await wire.item())["text"] == expected(second)
            await anyio.sleep(2)
            await wire.send(text_task())
            assert (await wire.error())["code"] == "soon"


async def test_answers_are_used_up_in_their_order(tmp_path: Path) -> None:
    async with serving(KEY, script=str(write(tmp_path, TOML))) as emulator:
        emulator.faults.heal()
        async with ready(emulator) as (wire, _):
            began = anyio.current_time()
            await wire.send(text_task("any"))
            assert (await wire.item())["text"] == "the first"
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        script = load_script(write(tmp_path, TOML))
        emulator.play(script.model_copy(update={"steps": ()}))
        began = anyio.current_time()
        await wire.send(text_task("the weather?"))
        assert (await wire.item())["text"] == "the first"
        await wire.send(text_task("the weather?", numberResults=2))
        items = await wire.items(2)
        assert [each["text"] for each in items] == ["Rain.", "Rain."]
        assert items[0]["cost"] == 0.25
        assert anyio.current_time() - began == pytest.approx(0.5)
        await wire.send(asked := text_task("the weather?"), other := text_task("else"))
        assert (await wire.recv())["errors"] == [
            {
                "code": "taskFailed",
                "message": "No more.",
                "taskType": "textInference",
                "taskUUID": asked["taskUUID"],
                "parameter": "messages",
                "documentation": "https://runware.ai/docs/models/anthropic-claude-haiku-4-5",
            }
        ]
        assert (await wire.item())["text"] == expected(other)


async def test_a_scripted_answer_is_streamed_and_cut_like_any_other() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):

        @emulator.reply("textInference")
        def reply(_: Request) -> str:
            return "a reply"

        emulator.play(read_script({"answers": [{"text": "scripted text", "times": 1}]}))
        await wire.send(stream_task(settings={"maxTokens": 2}))
        items = await read_stream(wire)
        assert (text_of(items), items[-1]["finishReason"]) == ("scripted", "length")
        await wire.send(text_task())
        assert (await wire.item())["text"] == "a reply"


async def test_a_new_script_takes_the_place_of_the_old_one() -> None:
    async with serving(KEY) as emulator, ready(emulator) as (wire, _):
        emulator.play(read_script({"steps": [{"at": 1, "orders": ["cut"]}]}))
        emulator.play(read_script({"steps": [{"at": 5, "orders": ["cut=1001"], "every": 1}]}))
        began = anyio.current_time()
        assert await wire.closed() == 1001
        assert anyio.current_time() - began == pytest.approx(5.0)


def test_json_is_read_too(tmp_path: Path) -> None:
    value = {"steps": [{"task": 1, "orders": ["shuffle"]}], "answers": [{"text": ""}]}
    file = write(tmp_path, json.dumps(value), "script.json")
    assert load_script(file) == read_script(value)
    assert Emulator(script=file).script == read_script(value)


WRONG: list[tuple[Any, str]] = [
    ([], "script: Input should be"),
    ({"step": []}, "script: step: Extra inputs are not permitted"),
    ({"steps": [{"orders": ["cut"]}]}, r"script: steps\[0\]: give either at, or task"),
    ({"steps": [{"orders": ["cut"], "at": 1, "task": 1}]}, r"steps\[0\]: give either at, or task"),
    ({"steps": [{"orders": [], "at": 1}]}, r"steps\[0\].orders: "),
    ({"steps": [{"orders": ["rain"], "at": 1}]}, r"steps\[0\].orders\[0\]: unknown fault 'rain'"),
    ({"steps": [{"orders": ["cut-every=0s"], "at": 1}]}, "seconds must be positive"),
    ({"steps": [{"orders": ["stall=2s"], "at": "soon"}]}, r"steps\[0\].at: not a duration: 'soon'"),
    ({"steps": [{"orders": ["cut"], "at": -1}]}, r"steps\[0\].at: must be seconds"),
    ({"steps": [{"orders": ["cut"], "task": 0}]}, r"steps\[0\].task: "),
    ({"steps": [{"orders": ["cut"], "task": 1, "every": 1}]}, "every goes with at"),
    ({"steps": [{"orders": ["cut"], "at": 1, "every": 0}]}, "must be above 0"),
    ({"steps": [{"orders": ["cut"], "at": 1, "times": 2}]}, "times goes with every"),
    ({"answers": [{}]}, r"answers\[0\]: give one of text, fields and error"),
    (
        {"answers": [{"text": "x"}, {"text": "x", "error": {"code": "x"}}]},
        r"answers\[1\]: give one",
    ),
    ({"answers": [{"error": {"message": "x"}}]}, r"answers\[0\]: error needs a code"),
    ({"answers": [{"text": "x", "task": 1, "prompt": "x"}]}, "task or prompt, not both"),
    ({"answers": [{"text": "x", "after": True}]}, r"answers\[0\].after: must be seconds"),
]


@pytest.mark.parametrize(("value", "why"), WRONG, ids=str)
def test_what_is_wrong_is_told_with_its_place(value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why) as wrong:
        read_script(value)
    assert len(str(wrong.value).splitlines()) == 1


def test_files_that_are_no_scripts(tmp_path: Path) -> None:
    for file, why in (
        (tmp_path / "missing.toml", "missing.toml: cannot be read: No such file"),
        (write(tmp_path, "", "script.yaml"), "must end in .json or .toml"),
        (write(tmp_path, "[[steps]\n"), r"script.toml: no TOML: .*line 1"),
        (write(tmp_path, "{", "script.json"), "script.json: no JSON: "),
        (write(tmp_path, "[[answers]]\n", "a.toml"), r"a.toml: answers\[0\]: give one of"),
    ):
        with pytest.raises(ValueError, match=why):
            load_script(file)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'a = "\xe9"')
    with pytest.raises(ValueError, match="no TOML"):
        load_script(latin)
