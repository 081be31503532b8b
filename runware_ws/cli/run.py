"""``run``: what its options mean, signals, and what is told after."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import typer

from runware_ws import (
    DEFAULT_URL,
    AuthenticationError,
    Client,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    RunReport,
    RunwareError,
)
from runware_ws.batch.money import Price, dollars
from runware_ws.batch.progress import BatchProgress, Standing
from runware_ws.batch.run_batch import check_client, finish_batch, run_client
from runware_ws.batch.run_opening import OpenedBatch, forecast, open_batch
from runware_ws.batch.run_options import BatchOptions
from runware_ws.batch.run_seeding import seed_journal
from runware_ws.batch.runner import BatchRunner
from runware_ws.cli.exits import ExitCode, Stop

_ENV = "RUNWARE_API_KEY"
_AGAIN = "run it again"
_NOT_AGAIN = "only with -o FILE the next run can go on"

__all__ = ["read_key_file", "run_lines"]


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


def _options(given: dict[str, Any], price: str | None) -> BatchOptions:
    try:
        prices = None if price is None else Price.parse(price)
        return BatchOptions(
            **given, price=None if prices is None else (prices.input, prices.output)
        )
    except ConfigurationError as exc:
        name, _, rest = exc.message.partition(" ")
        raise Stop(ExitCode.USAGE, f"--{name.replace('_', '-')}: {rest}") from None


def _with_key(options: BatchOptions, key_file: Path | None) -> BatchOptions:
    """The options with the key of a file; all that can be refused of URL and key is."""
    if options.emulate:
        return options
    url = options.url
    for insecure in (True, False):
        try:
            Client(url, api_key="checks the url only", allow_insecure=insecure)
        except ConfigurationError as exc:
            if insecure:
                raise Stop(ExitCode.USAGE, f"--url: {exc.message}") from None
            shown = url or os.environ.get("RUNWARE_WS_URL") or DEFAULT_URL
            raise Stop(
                ExitCode.USAGE,
                f"--url: {shown} would send the API key unencrypted over the network: use wss://",
            ) from None
    key = None if key_file is None else read_key_file(key_file)
    if key is None and not os.environ.get(_ENV):
        raise Stop(
            ExitCode.USAGE,
            f"no API key: set {_ENV}, or give --api-key-file PATH, or try --emulate",
        )
    options = replace(options, api_key=key)
    try:
        check_client(options)
    except ConfigurationError as exc:
        where = _ENV if key_file is None else str(key_file)
        raise Stop(ExitCode.USAGE, f"{where}: {exc.message}") from None
    return options


def run_lines(
    input_name: str,
    output_name: str,
    given: dict[str, Any],
    *,
    price: str | None,
    key_file: Path | None,
    grace: float,
    quiet: bool,
) -> int:
    """Run a file of lines; returns the exit code. ``given``: fields of :class:`BatchOptions`.

    Raises:
        Stop: it cannot be done, or not to the end.
    """
    options = _options(given, price)
    try:
        if options.dry_run:
            for line in forecast(input_name, output_name, options)[1]:
                typer.echo(line)
            return ExitCode.OK
        options = _with_key(options, key_file)
        progress = BatchProgress(sys.stderr, quiet=quiet)
        batch = open_batch(input_name, output_name, options, progress.say)
        with ExitStack() as stack:
            stack.callback(batch.close)
            runner = _SignalledRun(batch, options, progress, grace)
            with progress:
                runner.run()
            finish_batch(batch, runner.runner)
            return runner.tell(quiet=quiet)
    except ConfigurationError as exc:
        raise Stop(ExitCode.USAGE, f"--{exc.message}") from None
    except RunwareError as exc:
        raise Stop(ExitCode.USAGE, exc.message) from None


class _SignalledRun:
    """A run that ends when it is told to, and what is said of it."""

    def __init__(
        self, batch: OpenedBatch, options: BatchOptions, progress: BatchProgress, grace: float
    ) -> None:
        self._batch, self._options, self._progress = batch, options, progress
        self._grace = grace
        self._signal: int | None = None
        self._refused: RunwareError | None = None
        self._scope: anyio.CancelScope
        self.runner = BatchRunner(batch, options, self._show)

    def _show(self, standing: Standing) -> None:
        self._progress.update(standing, anyio.current_time())

    def run(self) -> None:
        """Run what is left."""
        if self.runner.report().left:
            seed_journal(self._batch)
            anyio.run(self._run)
        if self._refused is not None:
            raise self._refused

    async def _run(self) -> None:
        self._scope = anyio.CancelScope()
        # The signals stay ours while the client closes, so that a second one ends that too.
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch_signals)
            with self._scope:
                try:
                    async with run_client(self._batch, self._options) as client:
                        await self.runner.run(client)
                except RunwareError as exc:
                    self._refused = exc  # Raised through a task group it would come out wrapped.
            group.cancel_scope.cancel()

    async def _watch_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                again, self._signal = self._signal is not None, self._signal or number
                in_flight = self.runner.in_flight
                if again or not in_flight:
                    self._scope.cancel()
                    continue
                self.runner.stop(self._grace)
                self._progress.say(
                    f"ending: {in_flight} tasks in flight get {self._grace:g} s; "
                    "once more to end at once"
                )

    # What is told

    def tell(self, *, quiet: bool) -> int:
        """Tell what became of all lines; returns the exit code.

        Raises:
            Stop: something broke.
        """
        report, fatal = self.runner.report(), self.runner.fatal
        cure = _AGAIN if self._batch.writer.can_resume else _NOT_AGAIN
        if fatal is not None:
            stop = _stop_of(fatal)
            if report.left and (report.done or report.errors):
                stop = Stop(stop.code, f"{stop.message}; {report.left} lines are left: {cure}")
            raise stop
        if report.stopped is not None:
            self._progress.say(report.stopped)
        if not quiet:
            _summary(report, self._options, self._progress.say, cure)
        if self._signal is not None:
            terminated = self._signal == signal.SIGTERM
            return ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
        return ExitCode.OK if report.complete else ExitCode.ERRORS


def _summary(
    report: RunReport, options: BatchOptions, say: Callable[[str], None], cure: str
) -> None:
    if report.found:
        say(f"{report.found} tasks of an earlier run, or of another one, were not sent again")
    parts = [f"{report.done} done", f"{report.errors} errors"]
    if report.before:
        kept = f" ({report.errors_before} of them errors)" if report.errors_before else ""
        parts.append(f"{report.before} already there{kept}")
    if report.left:
        parts.append(f"{report.left} left: {cure}")
    parts.append(dollars(report.cost, emulated=options.emulate))
    if report.total_cost > report.cost:
        parts.append(f"{dollars(report.total_cost)} in all runs")
    if report.input_tokens or report.output_tokens:
        parts.append(f"{report.input_tokens} tokens in, {report.output_tokens} out")
    parts += [f"{report.reconnects} reconnects", f"{report.seconds:.1f} s"]
    say(", ".join(parts))
    if cure is not _AGAIN:
        return
    if report.curable:
        say(f"{report.curable} errors may pass: the same command tries these lines again")
    stay = report.errors + report.errors_before - report.curable
    if stay:
        say(f"{stay} errors stay: mend these lines, or use --retry-errors")


def _stop_of(error: RunwareError) -> Stop:
    if isinstance(error, AuthenticationError):
        return Stop(
            ExitCode.KEY_REFUSED,
            f"the server refuses the API key ({error.code or error.message}): "
            "check RUNWARE_API_KEY or --api-key-file",
        )
    if isinstance(error, ConnectionFailed | ClientClosed):
        return Stop(
            ExitCode.UNREACHABLE, f"{error}: check the network and --url, then run it again"
        )
    return Stop(ExitCode.USAGE, error.message)
