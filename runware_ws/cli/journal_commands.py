"""``runware-ws journal``: what is in a journal, for people. It is no owner, and adopts nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import orjson
import typer

from runware_ws.cli.exits import ExitCode, Stop, say
from runware_ws.emulator import parse_duration
from runware_ws.errors import ConfigurationError, JournalError
from runware_ws.journal.opening import open_view
from runware_ws.journal.store import Entry
from runware_ws.journal.viewing import Listed, OwnerState, View

__all__ = ["fence_owner", "list_entries", "prune_entries", "show_entry"]

_MOST = 1 << 31
"""No journal has more entries, and a larger number may not fit the database."""

_COLUMNS = ("STATE", "AGE", "TRY", "SIZE", "OWNER", "UUID", "KEY")


def list_entries(journal: str, *, only_open: bool, limit: int, as_json: bool) -> int:
    """The newest entries: a table, or a JSON object on each line."""
    limit = min(limit, _MOST)
    with _opened(journal) as view:
        found = view.newest(limit + 1, only_open=only_open)
    entries, more = found[:limit], len(found) > limit
    if as_json:
        for entry in entries:
            typer.echo(orjson.dumps(asdict(entry)))
    else:
        _print_table(entries)
    if more:
        say(f"only the newest {limit} are shown: --limit shows more")
    return ExitCode.OK


def show_entry(journal: str, name: str) -> int:
    """All that is recorded of a key or a taskUUID, as JSON."""
    with _opened(journal) as view:
        found = view.find(name)
    if not found:
        raise Stop(ExitCode.ERRORS, f"{view.place}: no entry has the key or taskUUID {name!r}")
    for target, entry in found:
        # Not orjson: integers of any size have to stay what they are.
        text = json.dumps(_whole(target, entry), indent=2, ensure_ascii=False)
        typer.echo(text.encode(errors="backslashreplace"))
    return ExitCode.OK


def prune_entries(journal: str, older: str) -> int:
    """Forget outcomes that are older."""
    seconds = _seconds(older)
    with _opened(journal) as view:
        gone = view.prune(time.time() - seconds)
    typer.echo(f"{gone} forgotten")
    return ExitCode.OK


def fence_owner(journal: str, owner: int) -> int:
    """Declare an owner dead."""
    with _opened(journal) as view:
        if not view.fence(owner):
            raise Stop(
                ExitCode.ERRORS,
                f"{view.place}: there is no owner {owner}: `runware-ws journal ls` names them",
            )
    typer.echo(f"owner {owner} is fenced: the next client adopts its tasks")
    return ExitCode.OK


@contextmanager
def _opened(journal: str) -> Generator[View]:
    try:
        view = open_view(journal)
        try:
            yield view
        finally:
            view.close()
    except (ConfigurationError, JournalError) as exc:
        raise Stop(ExitCode.USAGE, exc.message) from None


def _print_table(entries: Sequence[Listed]) -> None:
    now = time.time()
    rows = [_COLUMNS, *(_row(entry, now) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        typer.echo("  ".join([*cells, row[-1]]).rstrip())


def _row(entry: Listed, now: float) -> tuple[str, ...]:
    owner = f"{entry.owner} {entry.owner_state}"
    if entry.owner_state is not OwnerState.GONE:
        owner += f" ({entry.host}:{entry.pid})"
    return (
        *(str(entry.state), _age(now - entry.created), str(entry.attempt), str(entry.size)),
        # A key is the user's: what would move the cursor is shown, not done.
        *(owner, entry.uuid, "-" if entry.key is None else _printable(entry.key)),
    )


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def _whole(target: str, entry: Entry) -> dict[str, Any]:
    whole: dict[str, Any] = {"target": target, **asdict(entry), "digest": entry.digest.hex()}
    for part in ("payload", "outcome"):
        if whole[part] is not None:
            whole[part] = _as_json(whole[part])
    return whole


def _as_json(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    try:
        if unit in ("d", "h"):
            return float(parse_duration(number)) * (86_400 if unit == "d" else 3_600)
        return parse_duration(text)
    except ValueError:
        raise Stop(
            ExitCode.USAGE, f"--older {text}: not a duration: write it like 1d, 12h or 30m"
        ) from None
