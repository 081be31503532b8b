"""What both scripted servers have in common: the script, the fault orders, the verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import anyio

from runware_ws import Client
from runware_ws.emulator import Emulator, EmulatorOptions, Faults, Latency, Stats
from runware_ws.testing.answers import Function
from runware_ws.testing.asked import Asked
from runware_ws.testing.expectation import Expectation, Prompt
from runware_ws.testing.script import Policy, Script

__all__ = ["TEST_KEY", "ClientFactory", "Scripted"]

TEST_KEY = "runware-test-key"
"""The API key that scripted servers accept where the test names no other."""

FunctionT = TypeVar("FunctionT", bound=Function)


class ClientFactory(Protocol):
    """Makes clients of a scripted server: ``async with runware_client() as client``."""

    def __call__(self, **options: Any) -> Client: ...


class Scripted(ABC):
    """A server that answers what the test says.

    Args:
        api_key: the key that it accepts.
        unexpected: ``"fail"``: a request that nobody expects is answered with the error
            ``unexpectedRequest``, and :meth:`verify` fails. ``"allow"``: it gets an echo.
        unfulfilled: ``"fail"``: :meth:`verify` fails for what was expected and not asked.
        options: how the server behaves where nobody can know.
        latency: duration of each generation; ``"50ms"``, ``"10ms-200ms"``, seconds.
        seed: all of the server's choices come from it.
    """

    def __init__(
        self,
        *,
        api_key: str = TEST_KEY,
        unexpected: Policy = "fail",
        unfulfilled: Policy = "fail",
        options: EmulatorOptions | None = None,
        latency: str | float | Latency = 0.0,
        seed: int = 0,
    ) -> None:
        self._api_key = api_key
        self._script = Script(unexpected, unfulfilled)
        self._emulator = self._make(api_key=api_key, options=options, latency=latency, seed=seed)
        # Whatever the type, it is the script that answers.
        self._emulator.reply("*")(self._script.reply)
        self._emulator.reply("textInference")(self._script.reply)

    def _make(self, **options: Any) -> Emulator:
        return Emulator(**options)

    @property
    def api_key(self) -> str:
        """The key that it accepts."""
        return self._api_key

    # What it answers

    def expect(
        self,
        prompt: Prompt = None,
        *,
        task_type: str | None = "textInference",
        fields: Mapping[str, Any] | None = None,
    ) -> Expectation:
        """Expect a request; say the answer with ``.reply(…)``.

        The first expectation that fits a request takes it, until it has had its number.

        Args:
            prompt: text that the last message contains, a compiled pattern that is found in it,
                or a function of :class:`Asked`; ``None``: any.
            task_type: the ``taskType``; ``None``: any.
            fields: fields of the task, in the wire's spelling, that must be equal.
        """
        expectation = Expectation(prompt, task_type, fields)
        self._script.add(expectation)
        return expectation

    def reply(self, task_type: str = "textInference") -> Callable[[FunctionT], FunctionT]:
        """Decorator: a function, plain or async, answers what no expectation takes.

        It gets an :class:`Asked` for each result. ``"*"``: every type without one of its own.
        Under :class:`ScriptedEmulator` it runs in the emulator's thread, on asyncio.
        """

        def register(function: FunctionT) -> FunctionT:
            self._script.register(task_type, function)
            return function

        return register

    # What it was asked

    @property
    def requests(self) -> tuple[Asked, ...]:
        """Every task that was executed so far, in order; each once, whatever the socket did.

        The client's own questions (pings, polls) are not among them, and neither is what the
        server's rules refuse.
        """
        return self._script.asked

    async def asked(self, number: int = 1, *, timeout: float = 5.0) -> tuple[Asked, ...]:
        """Wait until so many requests came; returns all. Cancel-safe.

        Raises:
            TimeoutError: they did not come within ``timeout`` seconds.
        """
        with anyio.fail_after(timeout):
            while len(self.requests) < number:  # noqa: ASYNC110 - they come in another thread
                await anyio.sleep(0.005)
        return self.requests

    def problems(self) -> list[str]:
        """What went otherwise than the test said, since the last call: empty is good."""
        return self._script.take_problems()

    def verify(self) -> None:
        """Fail where something unexpected was asked, or something expected was not.

        Each problem is told once.

        Raises:
            AssertionError: one line for each problem.
        """
        problems = self.problems()
        if problems:
            raise AssertionError(
                "\n  ".join(["Runware was not asked what was expected:", *problems])
            )

    # What goes wrong

    @property
    @abstractmethod
    def faults(self) -> Faults:
        """All fault orders of the emulator."""

    @property
    @abstractmethod
    def stats(self) -> Stats:
        """What the server counted so far."""

    def cut(self, code: int | None = None, *, mid_frame: bool = False) -> int:
        """Cut all sockets now; see :meth:`Faults.cut`. Returns how many."""
        return self.faults.cut(code, mid_frame=mid_frame)

    def cut_after(self, results: int, *, times: int | None = 1) -> None:
        """Cut a socket when it has written so many results from now on."""
        self.faults.cut_after(results=results, times=times)

    def lose_results(self, on: bool = True, *, window: float | None = None) -> None:
        """Let cuts lose what becomes ready in the last ``window`` seconds, but for the archive."""
        self.faults.lose_results_on_cut(on, window)

    def lose_requests(self, on: bool = True, *, window: float | None = None) -> None:
        """Let cuts lose what arrives in the last ``window`` seconds: it is not executed."""
        self.faults.lose_requests_on_cut(on, window)

    def forget_sessions(self) -> int:
        """Forget all sessions, with what they keep for an absent socket; returns how many."""
        return self.faults.forget_sessions()

    def blackhole(self) -> None:
        """Keep the sockets open, but say and hear nothing until :meth:`heal`."""
        self.faults.blackhole()

    def go_down(self) -> None:
        """Cut all sockets and refuse new ones (HTTP 503), until :meth:`come_back`."""
        self.faults.reject_upgrades(503, times=None)
        self.faults.cut()

    def come_back(self) -> None:
        """End :meth:`go_down`."""
        self.faults.reject_upgrades(503, times=0)

    def heal(self) -> None:
        """End every fault that goes on."""
        self.faults.heal()
