"""``run``: what is checked before, and told after."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

import anyio

from runware_ws import DEFAULT_URL, Client, ConfigurationError
from runware_ws.batch.reading import Facts, Source
from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.cli.journal import Journal
from runware_ws.cli.output import Output, Prior
from runware_ws.cli.runner import BatchRunner, RunOptions
from runware_ws.cli.screen import Screen
from runware_ws.emulator import Emulator

_ENV = "RUNWARE_API_KEY"

__all__ = ["ReadOptions", "Target", "read_key_file", "run_lines"]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How the input is read; see ``Source``."""

    input_format: str | None = None
    prompt_column: str | None = None
    unsupported: str = "error"

    def open(self, name: str) -> Source:
        """Open the input.

        Raises:
            Stop: an option has no such value.
            InputError: the input cannot be read.
        """
        if self.unsupported not in ("error", "drop"):
            raise Stop(ExitCode.USAGE, "--unsupported: must be error or drop")
        return Source(
            name,
            input_format=self.input_format,
            prompt_column=self.prompt_column,
            unsupported="drop" if self.unsupported == "drop" else "error",
        )


@dataclass(frozen=True, slots=True)
class Target:
    """Where a run goes. ``url`` ``None`` and ``emulate`` false: Runware."""

    url: str | None
    emulate: bool
    key_file: Path | None


def read_key_file(path: Path) -> str:
    """The key in a file.

    Raises:
        Stop: there is none.
    """
    try:
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "is not text"
        raise Stop(ExitCode.USAGE, f"{path}: the key cannot be read: {reason}") from None
    if not key:
        raise Stop(ExitCode.USAGE, f"{path}: is empty: put the API key in it")
    return key


def _checked(target: Target) -> tuple[str, str | None]:
    """The URL and the key; ``None``: from the environment."""
    url = target.url or DEFAULT_URL
    for insecure in (True, False):
        try:
            Client(url, api_key="checks the url only", allow_insecure=insecure)
        except ConfigurationError as exc:
            if insecure:
                raise Stop(ExitCode.USAGE, f"--url: {exc.message}") from None
            raise Stop(
                ExitCode.USAGE,
                f"--url: {url} would send the API key unencrypted over the network: use wss://",
            ) from None
    key = None if target.key_file is None else read_key_file(target.key_file)
    if key is None and not os.environ.get(_ENV):
        raise Stop(
            ExitCode.USAGE,
            f"no API key: set {_ENV}, or give --api-key-file PATH, or try --emulate",
        )
    try:
        Client(url, api_key=key)
    except ConfigurationError as exc:
        where = _ENV if target.key_file is None else str(target.key_file)
        raise Stop(ExitCode.USAGE, f"{where}: {exc.message}") from None
    return url, key


def run_lines(
    input_name: str,
    output_name: str,
    target: Target,
    options: RunOptions,
    *,
    reading: ReadOptions,
    retry_errors: bool,
    quiet: bool,
) -> int:
    """Run a file of lines; returns the exit code.

    Raises:
        Stop: it cannot be done, or not to the end.
    """
    url, key = ("", None) if target.emulate else _checked(target)
    with ExitStack() as stack:
        source = stack.enter_context(reading.open(input_name))
        if output_name != "-" and source.is_file(Path(output_name)):
            raise Stop(ExitCode.USAGE, f"{output_name}: is the input too: choose another output")
        facts = source.check()
        output = Output(output_name)
        stack.callback(output.close)
        journal = None
        finished = False
        if output.can_resume:
            journal = Journal(Path(output_name))
            stack.callback(lambda: journal.close(finished=finished))
        screen = Screen("run", facts.count, quiet=quiet)
        prior = _prepare(source, facts, output, journal, screen, retry_errors=retry_errors)
        runner = BatchRunner(source, facts, output, prior, journal, screen, options)
        began = time.monotonic()
        left = facts.count - len(prior.results) - len(prior.kept_errors)
        with screen:
            session = None if journal is None else journal.session
            if left:
                anyio.run(_with_client, runner, url, key, target.emulate, session, options)
        finished = runner.signal is None and runner.fatal is None
        _tell(runner, prior, screen, time.monotonic() - began, facts.count, quiet=quiet)
        return _code(runner, prior)


def _prepare(
    source: Source,
    facts: Facts,
    output: Output,
    journal: Journal | None,
    screen: Screen,
    *,
    retry_errors: bool,
) -> Prior:
    """Read the output of an earlier run, and tidy it."""
    for name, lines in sorted(facts.dropped.items()):
        screen.say(f"{source.name}: {name} is left out of {lines} lines: Runware cannot take it")
    prior = output.read(retry_errors=retry_errors)
    if prior.torn:
        screen.say(f"{output.name}: its last line was cut off: this line is done again")
    known = prior.results | prior.kept_errors
    if known:
        stale = set(known)
        for line in source.lines(facts):
            stale.discard(line.key)
        if len(stale) == len(known) and not prior.again:
            raise Stop(
                ExitCode.USAGE,
                f"{output.name}: none of its lines belongs to {source.name}: choose another output",
            )
        if stale:
            screen.say(
                f"{output.name}: {len(stale)} lines belong to no line of {source.name} any more: "
                f"moved to {output.name}.stale"
            )
    else:
        stale = set[int]()
    if journal is not None:
        # The error line that told of these tasks is about to go.
        for key, uuid in prior.ask.items():
            journal.sent(key, uuid)
            journal.entries[key] = uuid
    output.tidy(prior, stale)
    prior.results -= stale
    prior.kept_errors -= stale
    return prior


async def _with_client(
    runner: BatchRunner,
    url: str,
    key: str | None,
    emulate: bool,
    session: str | None,
    options: RunOptions,
) -> None:
    async with _server(url, key, emulate) as (real_url, real_key):
        await runner.run(
            Client(
                real_url,
                api_key=real_key,
                session_uuid=session,
                timeout=options.timeout,
                # An earlier run's answers come unasked when its session is taken up.
                claim_limit=max(1000, 2 * options.concurrency),
            )
        )


@asynccontextmanager
async def _server(
    url: str, key: str | None, emulate: bool
) -> AsyncGenerator[tuple[str, str | None]]:
    if not emulate:
        yield url, key
        return
    made_up = secrets.token_hex(16)
    async with Emulator(made_up) as emulator:
        yield emulator.url, made_up


def _tell(
    runner: BatchRunner, prior: Prior, screen: Screen, seconds: float, total: int, *, quiet: bool
) -> None:
    counts = runner.counts
    before = len(prior.results) + len(prior.kept_errors)
    errors = counts.errors + len(prior.kept_errors)
    left = total - before - counts.done - counts.errors
    if runner.fatal is not None:
        if left:
            more = f"; {left} lines are left: run it again" if counts.done else ""
            raise Stop(runner.fatal.code, runner.fatal.message + more)
        raise runner.fatal
    if quiet:
        return
    if counts.asked:
        screen.say(f"{counts.asked} tasks of an earlier run were found done on the server")
    parts = [f"{counts.done} done", f"{counts.errors} errors"]
    if before:
        kept = f" ({len(prior.kept_errors)} of them errors)" if prior.kept_errors else ""
        parts.append(f"{before} already there{kept}")
    if left:
        parts.append(f"{left} left: run it again")
    parts += [f"${counts.cost:.4f}", f"{counts.reconnects} reconnects", f"{seconds:.1f} s"]
    screen.say(", ".join(parts))
    if counts.curable:
        screen.say(f"{counts.curable} errors may pass: the same command tries these lines again")
    if errors > counts.curable:
        screen.say(
            f"{errors - counts.curable} errors stay: mend these lines, or use --retry-errors"
        )


def _code(runner: BatchRunner, prior: Prior) -> int:
    if runner.signal is not None:
        return ExitCode.TERMINATED if runner.signal == SIGTERM else ExitCode.INTERRUPTED
    return ExitCode.ERRORS if runner.counts.errors or prior.kept_errors else ExitCode.OK
