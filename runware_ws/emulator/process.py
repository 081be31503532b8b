"""An emulator in a process of its own, seen from its parent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import orjson
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from .child import child_environment, end_child
from .options import EmulatorOptions
from .script_file import EmulatorScript, load_script

__all__ = ["EmulatorProcess"]

_START = 30.0  # seconds until it must listen
_LONGEST_LINE = 256 * 1024 * 1024


class EmulatorProcess:
    """An :class:`Emulator` in a process of its own, so that it takes no time from the client. ::

        async with EmulatorProcess("k", latency="50ms") as emulator:
            client = AnyClient(url=emulator.url, api_key="k")
            await emulator.repeat([["cut"]], every=1.0)
            ...
            assert (await emulator.stats())["executed_twice"] == 0

    It listens once entered. The process ends with the ``async with``, and also when this process
    dies. The key goes to it over a pipe: no list of processes shows it. Runs on asyncio and trio.

    Args:
        api_key: the accepted key; ``None``: any non-empty one.
        options: how the server behaves where nobody can know.
        latency: duration of each generation, as text.
        seed: all choices come from it. Session UUIDs do not.
        script: orders and answers for certain moments and tasks: a file, or a script.

    Raises:
        ValueError: the script cannot be read, or is wrong; on entering, when another argument
            makes no sense.
        RuntimeError: the process ended, or did not start.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        options: EmulatorOptions | None = None,
        latency: str = "0",
        seed: int = 0,
        script: str | Path | EmulatorScript | None = None,
    ) -> None:
        self._start: dict[str, Any] = {
            "api_key": api_key,
            "latency": latency,
            "seed": seed,
            "options": asdict(options or EmulatorOptions()),
        }
        if script is not None:
            read = script if isinstance(script, EmulatorScript) else load_script(script)
            self._start["script"] = read.model_dump(exclude_none=True)
        self._process: Process | None = None
        self._lines: BufferedByteReceiveStream | None = None
        self._turn = anyio.Lock()
        self._url = ""

    def __repr__(self) -> str:
        return f"<EmulatorProcess {self._url or 'not listening'}>"

    @property
    def url(self) -> str:
        """Where a client connects."""
        return self._url

    @property
    def http_url(self) -> str:
        """Where a client posts."""
        return self._url.replace("ws://", "http://", 1)

    # Commands

    async def order(self, *orders: str) -> None:
        """Give fault orders in text form; see :func:`apply_fault_order`.

        Raises:
            ValueError: an order is unknown or makes no sense; those before it were given.
        """
        await self._tell({"do": "order", "orders": orders})

    async def repeat(
        self,
        steps: Sequence[Sequence[str]],
        *,
        every: float,
        first: float | None = None,
        times: int | None = None,
    ) -> None:
        """Give the orders of the next step every so many seconds, over and over.

        The first one comes after ``first`` seconds; ``None``: after ``every``. ``times`` ``None``:
        until :meth:`rest`. Replaces an earlier call.

        Raises:
            ValueError: an order or a time makes no sense; nothing was changed.
        """
        await self._tell(
            {
                "do": "repeat",
                "steps": steps,
                "every": every,
                "first": every if first is None else first,
                "times": times,
            }
        )

    async def rest(self) -> None:
        """Take no further step of :meth:`repeat`. What was ordered goes on: ``heal`` ends it."""
        await self._tell({"do": "rest"})

    async def stats(self) -> dict[str, int]:
        """The emulator's counters; see :class:`Stats`."""
        counters: dict[str, int] = await self._tell({"do": "stats"})
        return counters

    async def executions(self, task_uuids: Iterable[str]) -> dict[str, int]:
        """How often each of these tasks ran."""
        found: dict[str, int] = await self._tell({"do": "executions", "uuids": list(task_uuids)})
        return found

    async def tellable(self, task_uuids: Iterable[str]) -> dict[str, bool]:
        """Whether some question about each of these tasks would get its whole answer, now."""
        found: dict[str, bool] = await self._tell({"do": "tellable", "uuids": list(task_uuids)})
        return found

    async def play(self, script: EmulatorScript) -> None:
        """Play a script from now on, in place of an earlier one. Raises ``RuntimeError``."""
        await self._tell({"do": "play", "script": script.model_dump(exclude_none=True)})

    async def load(self) -> dict[str, int]:
        """How many tasks are ``running`` and ``waiting`` for a slot, now."""
        found: dict[str, int] = await self._tell({"do": "load"})
        return found

    async def change(self, **options: Any) -> None:
        """Change some of the options from now on.

        Raises:
            ValueError: an option is unknown or makes no sense; nothing was changed.
        """
        await self._tell({"do": "change", "options": options})

    async def _tell(self, command: dict[str, Any]) -> Any:
        answer: dict[str, Any] = {}
        async with self._turn:
            # An answer that nobody waits for would be taken for that of the next command.
            with anyio.CancelScope(shield=True), anyio.fail_after(_START):
                await self._send(command)
                answer = orjson.loads(await self._line())
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["ok"]

    # Life

    async def __aenter__(self) -> Self:
        self._process = process = await anyio.open_process(
            [sys.executable, "-m", "runware_ws.emulator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            # The service's key is not for it.
            env=child_environment(without=("RUNWARE_API_KEY",)),
            # Ctrl-C is for the parent, which still wants to read the counters.
            start_new_session=True,
        )
        assert process.stdout is not None
        self._lines = BufferedByteReceiveStream(process.stdout)
        try:
            with anyio.fail_after(_START):
                await self._send(self._start)
                line = await self._line()
        except BaseException:
            await self._end()
            raise
        text = line.decode()
        if not text.startswith("listening on "):
            await self._end()
            raise ValueError(orjson.loads(line)["error"])
        self._url = text.removeprefix("listening on ")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()

    async def _send(self, command: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the emulator's process does not run: use async with")
        try:
            await self._process.stdin.send(orjson.dumps(command) + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise RuntimeError("the emulator's process has ended") from None

    async def _line(self) -> bytes:
        assert self._lines is not None
        try:
            return await self._lines.receive_until(b"\n", _LONGEST_LINE)
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise RuntimeError("the emulator's process has ended") from None

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end_child(process)
