"""A run from its opening to its end: over a client or the emulator, until all is in order."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio

from runware_ws.batch.progress import Standing
from runware_ws.batch.run_opening import OpenedBatch, forecast, open_batch
from runware_ws.batch.run_options import BatchOptions
from runware_ws.batch.run_report import RunReport
from runware_ws.batch.run_seeding import seed_journal
from runware_ws.batch.runner import BatchRunner
from runware_ws.cli.exits import Stop
from runware_ws.client.client import Client
from runware_ws.config import Config
from runware_ws.errors import OutputError
from runware_ws.journal.opening import JournalPlace

__all__ = ["check_client", "finish_batch", "run_client", "run_once"]

_FOR_EVER = 10 * 365 * 86_400.0


def _client(
    url: str | None, api_key: object, batch: OpenedBatch | None, options: BatchOptions
) -> Client:
    journal: JournalPlace | None = None
    more: dict[str, float] = {}
    site = None if batch is None else batch.journal
    if site is not None:
        journal = site.place
        if site.own is not None:
            # It goes when all is done, and not before: the next start may be next week.
            more["journal_keep"] = _FOR_EVER
    return Client(
        url,
        api_key=api_key,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        journal=journal,
        timeout=options.timeout,
        max_in_flight=max(Config().max_in_flight, options.concurrency),
        **more,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )


def check_client(options: BatchOptions) -> None:
    """Refuse a bad URL or a missing key before anything is opened.

    Raises:
        ConfigurationError: there is one.
    """
    if not options.emulate:
        _client(options.url, options.api_key, None, options)


@asynccontextmanager
async def run_client(batch: OpenedBatch, options: BatchOptions) -> AsyncGenerator[Client]:
    """The client of a run, not entered yet; with ``emulate`` its server lives as long as this."""
    if not options.emulate:
        with _warnings_of_journal(batch.note):
            yield _client(options.url, options.api_key, batch, options)
        return
    from runware_ws.emulator import Emulator

    made_up = secrets.token_hex(16)
    async with Emulator(made_up) as emulator:
        yield _client(emulator.url, made_up, batch, options)


class _Notes(logging.Handler):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._note(record.getMessage())
        except Exception:  # The journal's thread goes on, whatever it calls.
            self.handleError(record)


@contextmanager
def _warnings_of_journal(note: Callable[[str], None]) -> Generator[None]:
    """Tell why a run stands still. ``note`` is called in the journal's thread."""
    logger, handler = logging.getLogger("runware_ws.journal"), _Notes(note)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def finish_batch(batch: OpenedBatch, runner: BatchRunner) -> None:
    """Leave the output in order, and remove the journal if nobody needs it any more. Blocks.

    Raises:
        OutputError: the output cannot be written; the next run goes on from what there is.
    """
    if not isinstance(runner.fatal, OutputError):
        try:
            batch.writer.finish(batch.order())
        except Stop as exc:
            raise OutputError(exc.message) from None
    site = batch.journal
    if site is None or site.own is None:
        return
    untouched = site.fresh and not runner.asked
    done = not (runner.report().left or runner.doubtful or runner.fatal)
    if untouched or (done and not site.holds_more({key for key, _ in batch.order()} | batch.stale)):
        try:
            site.remove()
        except OSError as exc:
            raise OutputError(f"{site.own}: cannot be removed: {exc.strerror or exc}") from None


def _nobody(_: str) -> None:
    """Nobody wants to be told."""


async def run_once(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: BatchOptions,
    on_note: Callable[[str], None] | None,
    on_progress: Callable[[Standing], None] | None,
) -> RunReport:
    """What :func:`runware_ws.run_file` does."""
    if options.dry_run:
        total, told = await anyio.to_thread.run_sync(forecast, input, output, options)
        return RunReport(total=total, forecast=told)
    check_client(options)
    note = on_note or _nobody
    batch = await anyio.to_thread.run_sync(open_batch, input, output, options, note)
    try:
        runner = BatchRunner(batch, options, on_progress)
        try:
            if runner.report().left:
                await anyio.to_thread.run_sync(seed_journal, batch)
                async with run_client(batch, options) as client:
                    await runner.run(client)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(finish_batch, batch, runner)
        if runner.fatal is not None:
            raise runner.fatal
        return runner.report()
    finally:
        batch.close()
