"""Runs of one file against an emulator, again and again."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from runware_ws import RunReport, run_file
from runware_ws.emulator import Emulator, Request, expected_text

KEY = "a-key-of-the-tests"


def write_prompts(path: Path, *names: object, **more: Any) -> None:
    lines = ({"id": str(name), "prompt": f"ask {name}", **more} for name in names)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def answers(path: Path) -> dict[str, str]:
    """The texts of all results by id; each line must stand there once."""
    found = records(path)
    told = {each["id"]: each["result"]["text"] for each in found if "result" in each}
    assert len({each["key"] for each in found}) == len(found)
    return {name: text.partition(": ")[2] for name, text in told.items()}


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


class Bench:
    """An emulator, a folder, and runs of ``in`` into ``out``."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator, self.folder = emulator, folder
        self.input, self.output = folder / "in", folder / "out"
        self.said: list[str] = []
        self.hold = anyio.Event()
        self.held = 0
        emulator.reply("textInference")(self._answer)

    async def _answer(self, request: Request) -> str:
        if request.prompt.startswith("ask hold"):
            self.held += 1
            await self.hold.wait()
        return expected_text(request.prompt, request.task_uuid, request.index)

    @property
    def executed(self) -> int:
        assert self.emulator.stats.executed_twice == []
        return self.emulator.stats.executed

    async def run(self, **options: Any) -> RunReport:
        usual: dict[str, Any] = {"input": self.input, "output": self.output}
        usual |= {"url": self.emulator.url, "api_key": KEY, "on_note": self.said.append}
        return await run_file(**(usual | options))

    async def cut_off(self, when: Callable[[], bool], **options: Any) -> None:
        """A run that is cancelled in the middle."""
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while not when():  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                group.cancel_scope.cancel()

            group.start_soon(watch)
            await self.run(**options)
            raise AssertionError("it was not cut off")


@asynccontextmanager
async def bench(folder: Path) -> AsyncGenerator[Bench]:
    async with Emulator(KEY) as emulator:
        yield Bench(emulator, folder)
