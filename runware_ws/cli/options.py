"""Options that several commands have, and those of ``run``, which would bury its signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "ConcurrencyOption",
    "ConnectTimeoutOption",
    "DryRunOption",
    "EmulateOption",
    "GraceOption",
    "HostOption",
    "InputArgument",
    "InputFormatOption",
    "JobOption",
    "KeyFileOption",
    "LimitOption",
    "MaxCostOption",
    "OutputOption",
    "PortOption",
    "PriceOption",
    "PromptColumnOption",
    "QuietOption",
    "RetriesOption",
    "RetryErrorsOption",
    "RunJournalOption",
    "ShapeOption",
    "SortOption",
    "TimeoutOption",
    "UnsupportedOption",
    "UrlOption",
]

UrlOption = Annotated[
    str | None, typer.Option(help="Another server, ws:// or wss://. [default: Runware]")
]
HostOption = Annotated[str, typer.Option(help="Address to listen on.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0: any free one.")]
KeyFileOption = Annotated[
    Path | None, typer.Option(metavar="PATH", help="Read the API key from this file.")
]
InputArgument = Annotated[
    str, typer.Argument(metavar="IN", help="JSON lines, an array, CSV or Parquet; - for stdin.")
]
OutputOption = Annotated[
    str,
    typer.Option("-o", "--output", metavar="OUT", help="Where answers go; - for stdout."),
]
EmulateOption = Annotated[
    bool, typer.Option("--emulate", help="Use a built-in server: no key, no cost.")
]
ConcurrencyOption = Annotated[int, typer.Option(min=1, metavar="N", help="How many tasks at once.")]
TimeoutOption = Annotated[
    float, typer.Option(min=0.001, metavar="SECONDS", help="Limit for each task.")
]
ConnectTimeoutOption = Annotated[
    float, typer.Option(min=0.001, metavar="SECONDS", help="Limit for the first connection.")
]
GraceOption = Annotated[
    float, typer.Option(min=0.0, metavar="SECONDS", help="For tasks in flight after Ctrl-C.")
]
PromptColumnOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Where prompts stand; all else is yours. [default: prompt]"),
]
InputFormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT", help="jsonl, json, csv, tsv or parquet. [default: by the content]"
    ),
]
UnsupportedOption = Annotated[
    str, typer.Option(metavar="error|drop", help="What to do with what Runware cannot take.")
]
RunJournalOption = Annotated[
    str | None,
    typer.Option(
        "--journal", metavar="PATH|URL", help="Shared by runs. [default: OUT.journal, until done]"
    ),
]
JobOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Names the work in --journal. [default: OUT's name]"),
]
ShapeOption = Annotated[str, typer.Option(metavar="ours|anthropic-batch", help="Of JSON lines.")]
SortOption = Annotated[bool, typer.Option("--sort", help="In the end, as the input is ordered.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Send nothing: tell the lines, and what they may cost.")
]
MaxCostOption = Annotated[
    float | None, typer.Option(metavar="DOLLARS", help="For all runs of this output together.")
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="So many lines in this run.")
]
PriceOption = Annotated[
    str | None,
    typer.Option(metavar="IN,OUT", help="Dollars for a million tokens. [default: 1,5]"),
]
RetriesOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="Of a line within the run, if an error may pass.")
]
RetryErrorsOption = Annotated[
    bool, typer.Option("--retry-errors", help="Try again every line with an error.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")]
