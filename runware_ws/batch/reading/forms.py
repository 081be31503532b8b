"""Which form an input has, told by its content, and by its name where that leaves it open."""

from __future__ import annotations

from pathlib import PurePath
from typing import IO, Literal

from runware_ws.batch.reading.documents import REQUESTS
from runware_ws.batch.reading.errors import InputError, NotJSON
from runware_ws.batch.reading.opening import BOM, PARQUET
from runware_ws.batch.reading.tables import header_of
from runware_ws.batch.reading.texts import read_text

__all__ = ["INPUT_FORMATS", "InputFormat", "find_format", "format_named"]

InputFormat = Literal["jsonl", "json", "csv", "tsv", "parquet"]
INPUT_FORMATS: tuple[InputFormat, ...] = ("jsonl", "json", "csv", "tsv", "parquet")
"""``jsonl``: an object on each line. ``json``: an array, ``{"requests": […]}``, or objects over
several lines. ``csv``: also with ``;`` or ``|`` between its columns."""

_LINE = 1 << 20
_SUFFIXES: dict[str, InputFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PACKED = (".gz", ".gzip", ".zst", ".zstd")


def format_named(name: str) -> InputFormat:
    """The format of this name. Raises ``InputError``."""
    for known in INPUT_FORMATS:
        if known == name:
            return known
    raise InputError(
        f"{name!r} is no format of input: use {', '.join(INPUT_FORMATS)}, or none, to tell it by "
        "the content"
    )


def find_format(file: IO[bytes], name: str, prompt_column: str | None) -> InputFormat:
    """The form of a plain file, which is left at its start.

    Raises:
        InputError: it is none of the forms.
    """
    file.seek(0)
    start = file.read(4096).removeprefix(BOM)
    file.seek(0)
    if start.startswith(PARQUET):
        return "parquet"
    if b"\0" in start:
        raise InputError(
            f"{name}: is not text: give JSON lines, a JSON array, CSV or Parquet "
            "(as they are, or as .gz or .zst)"
        )
    try:
        return _by_text(file, _by_name(name), prompt_column)
    finally:
        file.seek(0)


def _by_name(name: str) -> InputFormat | None:
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    while suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def _by_text(file: IO[bytes], named: InputFormat | None, prompt_column: str | None) -> InputFormat:
    first = line = b""
    while not first:
        line = file.readline(_LINE)
        if not line:
            return "jsonl"  # empty
        first = line.removeprefix(BOM).strip()
    columns, delimiter = header_of(first.decode("utf-8", "replace"))
    looks_like_json = first[:1] in (b"{", b"[")
    if (prompt_column or "prompt") in columns and (named or not looks_like_json):
        return named or ("tsv" if delimiter == "\t" else "csv")
    if looks_like_json:
        return _json_form(file, first, len(line) == _LINE)
    return named or "jsonl"


def _json_form(file: IO[bytes], first: bytes, cut: bool) -> InputFormat:
    if cut:
        array = first.startswith(b"[") or REQUESTS.match(first[:99].decode("utf-8", "replace"))
        return "json" if array else "jsonl"
    try:
        read_text(first)
    except NotJSON:
        return "json"  # over several lines, or broken
    # A single line may be a whole array. Where others follow, each is a line.
    while more := file.read(_LINE):
        if more.strip():
            return "jsonl"
    return "json"
