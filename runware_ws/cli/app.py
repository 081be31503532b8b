"""The commands and their options."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer

from runware_ws import __version__
from runware_ws.batch.reading import InputError
from runware_ws.cli.chaos import run_chaos
from runware_ws.cli.chaos_faults import FAULTS, find_faults
from runware_ws.cli.demo import DemoOptions, run_demo
from runware_ws.cli.emulate import emulate
from runware_ws.cli.exits import ExitCode, Stop, say
from runware_ws.cli.journal_commands import (
    fence_owner,
    list_entries,
    prune_entries,
    show_entry,
)
from runware_ws.cli.load_command import load
from runware_ws.cli.options import (
    ConcurrencyOption,
    ConnectTimeoutOption,
    DryRunOption,
    EmulateOption,
    GraceOption,
    InputArgument,
    InputFormatOption,
    JobOption,
    KeyFileOption,
    LimitOption,
    MaxCostOption,
    OutputOption,
    PriceOption,
    PromptColumnOption,
    QuietOption,
    RetriesOption,
    RetryErrorsOption,
    RunJournalOption,
    ShapeOption,
    SortOption,
    TimeoutOption,
    UnsupportedOption,
    UrlOption,
)
from runware_ws.cli.probe import ProbeOptions, describe_questions, run_probe
from runware_ws.cli.run import run_lines
from runware_ws.cli.serve import serve
from runware_ws.emulator import parse_duration

__all__ = ["app", "run_app"]

FAULT_NAMES = ", ".join(fault.name for fault in FAULTS)

app = typer.Typer(
    name="runware-ws",
    no_args_is_help=True,
    add_completion=False,
    # Errors are plain lines: a box around them breaks in narrow terminals and in logs.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

journal = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, short_help="See what a journal holds."
)
app.add_typer(journal, name="journal")


def run_app() -> None:
    """Run the command line and exit."""
    app(prog_name="runware-ws")


def _alone(action: Callable[[], int]) -> int:
    """What a command ends with, though it may come out of groups of tasks."""
    try:
        return int(action())
    except BaseExceptionGroup as group:
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup):
            inner = cast("Sequence[BaseException]", found.exceptions)
            if len(inner) > 1:
                break
            found = inner[0]
        raise found from None


def _finish(action: Callable[[], int]) -> NoReturn:
    try:
        code = _alone(action)
    except Stop as exc:
        say(exc.message)
        code = int(exc.code)
    except InputError as exc:
        say(exc.message)
        code = int(ExitCode.USAGE)
    except KeyboardInterrupt:
        code = int(ExitCode.INTERRUPTED)
    raise typer.Exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"runware-ws {__version__}")
        raise typer.Exit


@app.callback()
def main(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Thousands of tasks over one socket to Runware: nothing lost, nothing run twice.

    Try first, without a key or a network:

    \b
      runware-ws demo
      echo '{"prompt": "Why is the sky blue?"}' | runware-ws run - -o - --emulate

    The API key comes from the environment variable RUNWARE_API_KEY, or from a
    file (run --api-key-file).

    \b
    Exit codes:
      0    every line has a result; the demo found nothing wrong
      1    some lines ended with an error; the demo found a fault; a load
           did not keep what it should
      2    wrong usage, bad input, or an output that cannot be written
      3    the server refuses the API key
      4    the server cannot be reached
      130  ended by Ctrl-C (143: by SIGTERM)
    """


@app.command(short_help="See the promise kept on a wire that is cut again and again.")
def demo(
    tasks: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="How many tasks. [default: 1000; 3000 a fault]"),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="How many at once.")] = 200,
    cuts: Annotated[
        str,
        typer.Option(metavar="PAUSE", help="Time between two cuts of the wire; 0 for none."),
    ] = "300ms",
    seed: Annotated[
        int, typer.Option(metavar="N", help="All choices of the demo come from it.")
    ] = 1,
    faults: Annotated[
        str,
        typer.Option(metavar="NAMES", help=f"A run under each fault: all, or of {FAULT_NAMES}."),
    ] = "",
    choices: Annotated[
        bool,
        typer.Option("--choices", help="With --faults: over all that a server may choose, too."),
    ] = False,
) -> None:
    """Run tasks against a built-in server while the wire is cut again and again.

    No key and no network are needed. The table at the end tells how each answer
    came home, and whether one was lost, run twice, or given to a wrong question.
    With --faults the server runs in a process of its own, and there is a tally for
    each fault.
    """

    def action() -> int:
        if faults:
            try:
                wanted = find_faults(faults)
            except ValueError as exc:
                raise Stop(ExitCode.USAGE, f"--faults: {exc}") from None
            return run_chaos(
                wanted, tasks=tasks or 3000, concurrency=concurrency, seed=seed, choices=choices
            )
        try:
            pause = parse_duration(cuts)
        except ValueError as exc:
            raise Stop(ExitCode.USAGE, f"--cuts: {exc}") from None
        return run_demo(DemoOptions(tasks or 1000, concurrency, seed, pause))

    _finish(action)


@app.command(short_help="Run a file of tasks, one JSON object on each line.")
def run(
    source: InputArgument,
    output: OutputOption,
    emulate: EmulateOption = False,
    url: UrlOption = None,
    api_key_file: KeyFileOption = None,
    concurrency: ConcurrencyOption = 100,
    timeout: TimeoutOption = 300.0,
    connect_timeout: ConnectTimeoutOption = 15.0,
    grace: GraceOption = 5.0,
    prompt_column: PromptColumnOption = None,
    input_format: InputFormatOption = None,
    unsupported: UnsupportedOption = "error",
    shape: ShapeOption = "ours",
    sort: SortOption = False,
    journal: RunJournalOption = None,
    job: JobOption = None,
    dry_run: DryRunOption = False,
    max_cost: MaxCostOption = None,
    limit: LimitOption = None,
    price: PriceOption = None,
    retries: RetriesOption = 5,
    retry_errors: RetryErrorsOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run a file of tasks, one JSON object on each line.

    \b
    A line is one of:
      {"prompt": "…"}       also system, max_tokens, stop_sequences, model
      {"messages": […]}     a task in Runware's spelling; taskType, taskUUID
                            and, for Claude Haiku 4.5, model may be missing
      {"max_tokens": 99, "messages": […]}
                            a Messages request in the Anthropic style
      {"custom_id": "…", "params": {"model": "claude-haiku-4-5", …}}
      {"custom_id": "…", "body": {"messages": […], …}}
                            batch lines in the Anthropic and the OpenAI style

    Also taken: a JSON array of them, {"requests": […]}, and CSV, TSV or Parquet
    with a column of prompts; as they are, or as .gz or .zst, in UTF-8 or UTF-16.

    OUT is JSON lines (.jsonl, or no suffix), .csv, .parquet or .sqlite. A line's
    id is its custom_id, id or task_id. Each line of the output carries it, the
    line's number, and a result or an error, in the order in which tasks end. A
    file with a line that is not JSON is refused before anything is run; any
    other bad line gets an error of its own.

    The same command again does only what is missing: lines without a result,
    and errors that may pass (an error's "retryable": timeouts, a busy server).
    Definite errors stay, unless --retry-errors. An edited line is done again;
    the old answer moves to OUT.stale.

    OUT.journal holds what is in flight, until all is done: after a crash the
    next run asks the server for these answers, and no task is run twice. With
    --journal, several runs on several machines share the work.

    Ctrl-C (or SIGTERM) takes no new line and gives tasks in flight a short
    grace; a second one ends at once.

    \b
    Exit codes: 0 all lines have a result, 1 some have an error or are left,
    2 bad input or output, 3 key refused, 4 server unreachable, 130 Ctrl-C,
    143 SIGTERM.
    """
    given = dict(locals())
    names = ("source", "output", "api_key_file", "grace", "price", "quiet")
    own = {name: given.pop(name) for name in names}
    _finish(lambda: _run(given, **own))


def _run(given: dict[str, Any], **own: Any) -> int:
    if given["emulate"] and given["url"] is not None:
        raise Stop(ExitCode.USAGE, "--emulate and --url exclude each other: use one of them")
    if not 0 <= own["grace"] < math.inf:
        raise Stop(ExitCode.USAGE, "--grace: must be a finite number of seconds, 0 or more")
    return run_lines(
        own["source"],
        own["output"],
        given,
        price=own["price"],
        key_file=own["api_key_file"],
        grace=own["grace"],
        quiet=own["quiet"],
    )


@app.command("emulate", short_help="Run a local server that speaks Runware's protocol.")
@wraps(emulate)
def emulate_command(**given: Any) -> None:
    _finish(lambda: emulate(**given))


@app.command(short_help="Ask a live server what its documentation leaves open.")
def probe(
    url: UrlOption = None,
    api_key_file: KeyFileOption = None,
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Ask a built-in server: no key, no cost.")
    ] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="With --emulate: another choice of its."),
    ] = None,
    only: Annotated[str, typer.Option(metavar="NAME,NAME", help="These questions only.")] = "",
    slow: Annotated[
        bool, typer.Option("--slow", help="Also the questions that must wait for minutes.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before tasks that cost money.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the whole evidence.")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List all questions, and end.")] = False,
) -> None:
    """Ask a live server what its documentation leaves open, with the cheapest tasks.

    It says beforehand how many tasks it will run and what they cost at most, and
    asks. At the end it prints a table of verdicts. The key never shows.
    """
    if list_all:
        typer.echo(describe_questions())
        raise typer.Exit
    options = ProbeOptions(url, api_key_file, emulate, only, yes, slow, json, setting or ())
    _finish(lambda: run_probe(options))


@app.command("load", short_help="Load a server, and see how it and its answers fared.")
@wraps(load)
def load_command(**given: Any) -> None:
    _finish(lambda: load(**given))


@app.command("serve", short_help="One gateway for a host, spoken to in the Messages shape.")
@wraps(serve)
def serve_command(**given: Any) -> None:
    _finish(lambda: serve(**given))


JournalArgument = Annotated[
    str, typer.Argument(help="As journal= has it: a path, sqlite:PATH or postgresql://...")
]


@journal.callback()
def about_journal() -> None:
    """See what a journal holds: tasks, their outcomes, and whose they are.

    It takes part in nothing: no client can adopt what these commands do.
    """


@journal.command("ls", short_help="The newest entries.")
def journal_ls(
    place: JournalArgument,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only tasks without an outcome.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many.")] = 1_000,
    json: Annotated[bool, typer.Option("--json", help="A JSON object on each line.")] = False,
) -> None:
    """The newest entries of all servers, and whether their owners live."""
    _finish(lambda: list_entries(place, only_open=only_open, limit=limit, as_json=json))


@journal.command("show", short_help="All that is recorded of one task.")
def journal_show(
    place: JournalArgument,
    name: Annotated[str, typer.Argument(metavar="KEY|UUID", help="Its key or its taskUUID.")],
) -> None:
    """All that is recorded of a task, as JSON: also what was asked and answered."""
    _finish(lambda: show_entry(place, name))


@journal.command("prune", short_help="Forget old outcomes.")
def journal_prune(
    place: JournalArgument,
    older: Annotated[
        str, typer.Option(metavar="TIME", help="Older than this: 1d, 12h, 0s.")
    ] = "1d",
) -> None:
    """Forget outcomes that are older. Tasks without an outcome stay."""
    _finish(lambda: prune_entries(place, older))


@journal.command("fence", short_help="Declare an owner dead that hangs.")
def journal_fence(
    place: JournalArgument,
    owner: Annotated[int, typer.Argument(help="Its number, as ls shows it.")],
) -> None:
    """Declare an owner dead that hangs, or whose machine does.

    It can write nothing to the journal any more, and others take its tasks over.
    """
    _finish(lambda: fence_owner(place, owner))
