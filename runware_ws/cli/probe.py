"""``probe``: what a live server does where its documentation is silent."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runware_ws import (
    DEFAULT_URL,
    HAIKU_MODEL,
    AuthenticationError,
    Config,
    ConfigurationError,
    ConnectionFailed,
)
from runware_ws._urls import default_url
from runware_ws.cli.emulate import parse_options
from runware_ws.cli.exits import ExitCode, Stop, say
from runware_ws.cli.run import read_key_file
from runware_ws.cli.screen import on_terminal
from runware_ws.config import check_url
from runware_ws.emulator import Emulator, EmulatorOptions
from runware_ws.probe import (
    ENV,
    QUESTIONS,
    Experiment,
    KeySource,
    Lab,
    Pace,
    Plan,
    Question,
    Verdict,
    survey,
)

if TYPE_CHECKING:
    from runware_ws import Dial

__all__ = ["ProbeOptions", "describe_questions", "run_probe"]

# Against the built-in server nothing needs to take minutes; --set has the last word.
_LOCAL_SETTINGS = ("buffer_seconds=1s", "idle_seconds=1s", "dying_window=500ms")
_LOCAL_LATENCY = "300ms"
_LOCAL_PACE = Pace(answer=2.0, task=5.0, away=0.6, quiet=0.2, margin=0.5, step=0.02)


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """Options of a probe.

    ``url`` ``None``: Runware. ``only``: names of questions with commas in between; empty: all.
    ``settings``: ``NAME=VALUE`` of the emulator's options. ``pace`` ``None``: one that suits the
    server.
    """

    url: str | None = None
    key_file: Path | None = None
    emulate: bool = False
    only: str = ""
    yes: bool = False
    slow: bool = False
    json: Path | None = None
    settings: Sequence[str] = ()
    pace: Pace | None = None


def describe_questions() -> str:
    """All questions by name, for people."""
    width = max(len(question.name) for question in QUESTIONS)
    return "\n".join(f"{each.name:{width}}  {each.words}" for each in QUESTIONS)


def run_probe(
    options: ProbeOptions, *, dial: Dial | None = None, run: Callable[..., object] = anyio.run
) -> int:
    """Ask the questions; returns the exit code.

    ``dial`` opens the sockets (``None``: the ``websockets`` library does); ``run`` runs an async
    function with its arguments, in an event loop.

    Raises:
        Stop: it cannot be done.
    """
    emulated = parse_options((*_LOCAL_SETTINGS, *options.settings))
    if options.emulate and (options.url is not None or options.key_file is not None):
        raise Stop(ExitCode.USAGE, "--emulate excludes --url and --api-key-file")
    if options.settings and not options.emulate:
        raise Stop(ExitCode.USAGE, "--set is about the built-in server: it needs --emulate")
    url = DEFAULT_URL if options.emulate else _checked_url(options.url or default_url())
    keys = KeySource(secrets.token_hex(16)) if options.emulate else _keys(options.key_file)
    pace = options.pace or (_local_pace(emulated) if options.emulate else Pace())
    plan = Plan.of(_chosen(options.only), pace)
    if not options.slow:
        plan = _without_slow(plan)
    _writable(options.json)
    target = "the built-in server" if options.emulate else url
    _announce(plan, target, paid=not options.emulate)
    if plan.tasks and not options.emulate and not options.yes and not _agreed():
        say("nothing was asked")
        return ExitCode.ERRORS
    asking = _Asking(plan, target)
    try:
        run(_ask, asking, url, keys, emulated if options.emulate else None, dial)
    except AuthenticationError as exc:
        raise Stop(ExitCode.KEY_REFUSED, f"the server refuses the API key: {exc}") from None
    except ConnectionFailed as exc:
        raise Stop(ExitCode.UNREACHABLE, f"{target}: {exc}") from None
    finally:
        # What was paid for is shown after Ctrl-C as well.
        if asking.verdicts:
            try:
                asking.write(options.json, keys)
            finally:
                asking.show(paid=not options.emulate)
    clear = all(verdict.clear for _, verdict in asking.verdicts)
    return ExitCode.OK if clear else ExitCode.ERRORS


# What is checked before


def _checked_url(url: str) -> str:
    try:
        check_url(url, allow_insecure=True)
    except ConfigurationError as exc:
        raise Stop(ExitCode.USAGE, f"--url: {exc.message}") from None
    try:
        return check_url(url, allow_insecure=False)
    except ConfigurationError:
        raise Stop(
            ExitCode.USAGE,
            f"--url: {url} would send the API key unencrypted over the network: use wss://",
        ) from None


def _keys(file: Path | None) -> KeySource:
    if file is None and not os.environ.get(ENV):
        raise Stop(
            ExitCode.USAGE,
            f"no API key: set {ENV}, or give --api-key-file PATH, or try --emulate",
        )
    try:
        return KeySource(None if file is None else read_key_file(file))
    except ConfigurationError as exc:
        raise Stop(ExitCode.USAGE, f"{ENV if file is None else file}: {exc.message}") from None


def _local_pace(options: EmulatorOptions) -> Pace:
    idle = 1.0 if options.idle_seconds is None else options.idle_seconds
    return replace(_LOCAL_PACE, buffer=options.buffer_seconds, idle=idle)


def _chosen(only: str) -> list[Question[Any]]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {question.name: question for question in QUESTIONS}
    for name in names:
        if name not in known:
            raise Stop(
                ExitCode.USAGE, f"--only {name}: no such question; names: {', '.join(known)}"
            )
    return [question for question in QUESTIONS if not names or question.name in names]


def _without_slow(plan: Plan) -> Plan:
    quick = plan.without_slow()
    if quick.questions == plan.questions:
        return plan
    skipped = [each.name for each in plan.questions if each not in quick.questions]
    say(f"not asked, since they wait for minutes (--slow asks them too): {', '.join(skipped)}")
    if not quick.questions:
        raise Stop(ExitCode.USAGE, "nothing is left to ask: give --slow")
    return quick


def _writable(path: Path | None) -> None:
    # Before anything is paid for.
    if path is not None:
        try:
            path.open("ab").close()
        except OSError as exc:
            raise _unwritable(path, exc) from None


def _unwritable(path: Path, exc: OSError) -> Stop:
    return Stop(ExitCode.USAGE, f"{path}: cannot be written: {exc.strerror or exc}")


def _announce(plan: Plan, target: str, *, paid: bool) -> None:
    count = len(plan.questions)
    say(f"{count} question{'s' * (count != 1)} to {target}")
    if plan.tasks:
        cost = f"at most about ${plan.dollars:.3f}" if paid else "free here"
        say(f"this runs {plan.tasks} small tasks of {HAIKU_MODEL}, {cost}")
    else:
        say("this runs no paid task")
    say(f"it takes about {_time(plan.likely_seconds)}, at most {_time(plan.seconds)}")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _agreed() -> bool:
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        raise Stop(ExitCode.USAGE, "these tasks are billed: give --yes to run them")
    return typer.confirm("Run them?", err=True)


# What is asked, and told after


class _Asking:
    """The verdicts as they come in."""

    def __init__(self, plan: Plan, target: str) -> None:
        self.plan = plan
        self.target = target
        self.lab: Lab | None = None
        self.verdicts: list[tuple[Question[Any], Verdict]] = []

    def begins(self, experiment: Experiment[Any]) -> None:
        """Tell what is asked now."""
        names = [each.name for each in self.plan.questions if each.experiment is experiment]
        say(f"asking: {', '.join(names)}")

    def answered(self, question: Question[Any], verdict: Verdict) -> None:
        """Take a verdict."""
        self.verdicts.append((question, verdict))

    @property
    def cost(self) -> float:
        """What the server said that all of it cost."""
        return sum(ran.cost for ran in self.lab.ran.values()) if self.lab else 0.0

    def _ordered(self) -> list[tuple[Question[Any], Verdict]]:
        order = {question: place for place, question in enumerate(self.plan.questions)}
        return sorted(self.verdicts, key=lambda each: order[each[0]])

    def show(self, *, paid: bool) -> None:
        """Print the table."""
        verdicts = self._ordered()
        if on_terminal(stderr=False):
            table = Table("question", "verdict", "evidence")
            for question, verdict in verdicts:
                style = "green" if verdict.clear else "bold red"
                # Text, not markup: codes and session words are the server's.
                table.add_row(
                    f"{question.words}\n[dim]{question.name}[/dim]",
                    Text(verdict.answer, style=style),
                    Text(_plain(verdict.detail)),
                )
            Console().print(table)
        else:
            for question, verdict in verdicts:
                detail = f" ({_plain(verdict.detail)})" if verdict.detail else ""
                typer.echo(f"{question.name}: {verdict.answer}{detail}")
        if paid and self.cost:
            say(f"the server says that this cost ${self.cost:.5f}")

    def write(self, path: Path | None, keys: KeySource) -> None:
        """Write the whole evidence.

        Raises:
            Stop: it cannot be written.
        """
        if path is None:
            return
        verdicts = self._ordered()
        report: dict[str, Any] = {
            "server": self.target,
            "model": HAIKU_MODEL,
            "cost": self.cost,
            "questions": [
                {
                    "name": question.name,
                    "question": question.words,
                    "answer": verdict.answer,
                    "detail": verdict.detail,
                    "experiment": question.experiment.name,
                }
                for question, verdict in verdicts
            ],
            "experiments": {
                question.experiment.name: verdict.evidence for question, verdict in verdicts
            },
        }
        data = orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        try:
            # Frames were cleaned when they came in; this is the second lock.
            path.write_bytes(keys.redact(data))
        except OSError as exc:
            raise _unwritable(path, exc) from None


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


async def _ask(
    asking: _Asking,
    url: str,
    keys: KeySource,
    emulated: EmulatorOptions | None,
    dial: Dial | None,
) -> None:
    async with _server(url, keys, emulated) as real_url:
        asking.lab = Lab(real_url, keys, Config(), asking.plan.pace, dial)
        await survey(asking.lab, asking.plan, asking.answered, asking.begins)


@asynccontextmanager
async def _server(
    url: str, keys: KeySource, emulated: EmulatorOptions | None
) -> AsyncGenerator[str]:
    if emulated is None:
        yield url
        return
    key = (await keys.fetch()).get_secret_value()
    async with Emulator(key, latency=_LOCAL_LATENCY, options=emulated) as emulator:
        yield emulator.url
