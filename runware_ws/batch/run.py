"""``run_file``: a whole file of tasks, as ``runware-ws run`` does it, from Python.

What does the work is imported when it is called, so that nobody else pays for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from runware_ws.batch.run_report import RunReport

if TYPE_CHECKING:
    from runware_ws._io.keys import ApiKey
    from runware_ws.batch.progress import Standing
    from runware_ws.journal.opening import JournalPlace

__all__ = ["run_file"]


async def run_file(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    url: str | None = None,
    api_key: ApiKey = None,
    emulate: bool = False,
    journal: JournalPlace | None = None,
    job: str | None = None,
    concurrency: int = 100,
    timeout: float = 300.0,
    connect_timeout: float = 15.0,
    input_format: str | None = None,
    prompt_column: str | None = None,
    unsupported: Literal["error", "drop"] = "error",
    shape: Literal["ours", "anthropic-batch"] = "ours",
    sort: bool = False,
    max_cost: float | None = None,
    limit: int | None = None,
    price: tuple[float, float] | None = None,
    retries: int = 5,
    retry_errors: bool = False,
    dry_run: bool = False,
    on_note: Callable[[str], None] | None = None,
    on_progress: Callable[[Standing], None] | None = None,
) -> RunReport:
    """Run every line of a file, and write the answers into another; ``docs/batch.md`` tells all.

    The same call again does only what is missing, also after the death of this process. Runs on
    asyncio and trio. If it is cancelled, nothing is lost: what ended is in the output, and the
    journal has the rest for the next call.

    Args:
        input: the file of tasks; ``"-"``: standard input.
        output: where answers go, one for each line; ``"-"``: standard output. Its suffix tells
            the format.
        url: the socket's address, as of :class:`Client`.
        api_key: the key, as of :class:`Client`.
        emulate: use a built-in server: no key, no cost, and no journal.
        journal: where tasks are recorded; ``None``: a file beside the output, which goes when all
            is done. A shared one lets several runs share the work, see ``job``.
        job: the name of the work in a shared journal: a line is done once for all runs with one
            name. ``None``: the name of the output's file.
        concurrency: how many lines at once, at most.
        timeout: seconds for each line.
        connect_timeout: seconds for the first connection.
        input_format: ``None``: told by the content.
        prompt_column: the field with the prompt; ``None``: ``prompt`` in tables.
        unsupported: refuse a line with what Runware cannot take, or drop that.
        shape: of the lines of a JSONL output.
        sort: put the output in the order of the input in the end.
        max_cost: US dollars over all runs of this output; ``None``: no limit.
        limit: lines of this run; ``None``: all.
        price: US dollars for a million tokens of input and of output, where the server does not
            tell a price; ``None``: those of Claude Haiku 4.5.
        retries: how often a line is tried again within the run where an error may pass.
        retry_errors: try again lines with errors that are definite.
        dry_run: send nothing; ``report.forecast`` tells what would be done, and what it may cost.
        on_note: called with each line for people, in any thread.
        on_progress: called, often, with how far it is.

    Raises:
        ConfigurationError: an option is wrong, or there is no key.
        InputError: the input cannot be read (``runware_ws.batch.reading``).
        OutputError: the output cannot be read or written, or is not ours.
        AuthenticationError: the server refuses the key.
        ConnectionFailed: the server cannot be reached.
        JournalError: the journal cannot be used.
    """
    from runware_ws.batch.run_batch import run_once
    from runware_ws.batch.run_options import BatchOptions

    options = BatchOptions(
        url=url,
        api_key=api_key,
        emulate=emulate,
        journal=journal,
        job=job,
        concurrency=concurrency,
        timeout=timeout,
        connect_timeout=connect_timeout,
        input_format=input_format,
        prompt_column=prompt_column,
        unsupported=unsupported,
        shape=shape,
        sort=sort,
        max_cost=max_cost,
        limit=limit,
        price=price,
        retries=retries,
        retry_errors=retry_errors,
        dry_run=dry_run,
    )
    return await run_once(input, output, options, on_note, on_progress)
