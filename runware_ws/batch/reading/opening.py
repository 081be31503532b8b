"""Opens an input as bytes that can be read again and again: UTF-8, or Parquet.

What cannot be read twice (standard input, pipes), is compressed, or is in another encoding, is
written to a temporary file first, which nobody else sees.
"""

from __future__ import annotations

import importlib
import io
import json
import re
import sys
import tempfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from runware_ws.batch.reading.errors import InputError

__all__ = ["BOM", "PARQUET", "open_raw", "plain", "spooled", "unreadable"]

BOM = b"\xef\xbb\xbf"
PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
"""A frame of data, or one that readers skip: ``pzstd`` begins with such a one."""
_CHUNK = 1 << 16


def open_raw(name: str) -> tuple[IO[bytes], str]:
    """Open a file, or standard input (``-``); returns what is read again, and its name for people.

    Raises:
        InputError: it cannot be opened.
    """
    if not name:
        raise InputError("the name of the input is empty: name a file")
    shown = "standard input" if name == "-" else name
    try:
        if name == "-":
            # All passes need the same lines, and a pipe can be read once only.
            stream = getattr(sys.stdin, "buffer", None)
            if stream is None or stream.closed:
                raise InputError("standard input: is closed: give a file, or pipe something in")
            return spooled(iter(lambda: stream.read(_CHUNK), b""), shown), shown
        file = Path(name).open("rb")  # noqa: SIM115
        if not file.seekable():
            with file:
                return spooled(iter(lambda: file.read(_CHUNK), b""), shown), shown
    except (OSError, ValueError) as exc:
        if isinstance(exc, InputError):
            raise
        raise unreadable(shown, exc) from None
    return file, shown


def unreadable(name: str, exc: Exception) -> InputError:
    """The error of a file that the system does not let us read."""
    return InputError(f"{name}: cannot be read: {getattr(exc, 'strerror', None) or exc}")


def spooled(chunks: Iterable[bytes], name: str) -> IO[bytes]:
    """A temporary file with these bytes, at its start.

    Raises:
        InputError: it cannot be written. What ``chunks`` raises comes out as it is.
    """
    with _told_as_no_copy(name):
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        for chunk in chunks:
            with _told_as_no_copy(name):
                file.write(chunk)
        with _told_as_no_copy(name):
            file.seek(0)
    except BaseException:
        with suppress(OSError):  # What could not be written is tried once more.
            file.close()
        raise
    return file


@contextmanager
def _told_as_no_copy(name: str) -> Generator[None]:
    try:
        yield
    except OSError as exc:
        raise InputError(
            f"{name}: a temporary copy of it cannot be written: {exc.strerror or exc}: "
            "make room, or set TMPDIR to a folder that has it"
        ) from None


def plain(file: IO[bytes], name: str) -> IO[bytes]:
    """The same content, neither compressed nor in another encoding than UTF-8.

    Returns ``file`` itself if it is plain already, otherwise a temporary file. What is not
    returned is closed.

    Raises:
        InputError: it is damaged, or an extra is missing.
    """
    try:
        while True:
            file.seek(0)
            head = file.read(4)
            file.seek(0)
            encoding = json.detect_encoding(head)
            if head.startswith(_GZIP):
                file = _replaced(file, _unpacked(file, name, "gzip"), name)
            elif _ZSTD.match(head):
                file = _replaced(file, _unpacked(file, name, "zstd"), name)
            elif head == PARQUET or encoding.startswith("utf-8"):
                return file
            else:
                return _replaced(file, _recoded(file, encoding), name)
    except UnicodeDecodeError as exc:
        raise InputError(
            f"{name}: is not {exc.encoding.upper()} though it begins so: save it as UTF-8"
        ) from None
    except OSError as exc:
        file.close()
        raise unreadable(name, exc) from None


def _replaced(file: IO[bytes], chunks: Iterator[bytes], name: str) -> IO[bytes]:
    with file:
        return spooled(chunks, name)


def _recoded(file: IO[bytes], encoding: str) -> Iterator[bytes]:
    # Half of a surrogate pair is a mistake in one line, which is told when this line is read.
    with io.TextIOWrapper(file, encoding, errors="surrogatepass", newline="") as text:
        while chunk := text.read(_CHUNK):
            yield chunk.encode("utf-8", "surrogatepass")


def _unpacked(file: IO[bytes], name: str, kind: str) -> Iterator[bytes]:
    """The content of all members of a compressed file."""
    broken = InputError(f"{name}: the {kind} data is cut off or damaged: make the file again")
    unpacker = _unpacker(kind, name)
    try:
        while chunk := file.read(_CHUNK):
            while chunk:
                if unpacker.eof:
                    chunk = chunk.lstrip(b"\0")  # gzip files may be padded
                    if not chunk:
                        break
                    unpacker = _unpacker(kind, name)
                yield unpacker.decompress(chunk)
                chunk = unpacker.unused_data if unpacker.eof else b""
    except OSError:
        raise
    except Exception as exc:
        if isinstance(exc, InputError) or type(exc).__module__ == "builtins":
            raise
        raise broken from None  # zlib.error, ZstdError
    if not unpacker.eof:
        raise broken


def _unpacker(kind: str, name: str) -> Any:
    if kind == "gzip":
        return zlib.decompressobj(wbits=31)
    try:
        if sys.version_info >= (3, 14):
            return importlib.import_module("compression.zstd").ZstdDecompressor()
        return importlib.import_module("zstandard").ZstdDecompressor().decompressobj()
    except ModuleNotFoundError:
        raise InputError(
            f"{name}: is compressed with zstd: pip install 'runware-ws[table]', or unpack it"
        ) from None
