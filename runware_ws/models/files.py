"""Local files as data URIs, for ``Inputs``. The only module of the models that reads files."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from runware_ws.errors import InvalidTask

__all__ = ["DEFAULT_FILE_LIMIT", "data_uri"]

DEFAULT_FILE_LIMIT = 20 * 1024 * 1024
"""In bytes. Our own limit, because the server's is unknown; Base64 adds a third."""

_BY_SUFFIX = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".avif": "image/avif",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".csv": "text/csv",
    ".json": "application/json",
    ".html": "text/html",
}


def _sniff(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return "application/pdf" if head.startswith(b"%PDF-") else None


def data_uri(path: str | os.PathLike[str], *, limit: int = DEFAULT_FILE_LIMIT) -> str:
    """Return the file as ``data:<type>;base64,…``.

    The type comes from the suffix, else from the first bytes (PNG, JPEG, GIF, WebP, PDF). The
    table is our own, so the answer does not depend on the machine. ``limit`` is in bytes.

    Reads the file in this thread: in async code, use a worker thread if the file is large.

    Raises ``InvalidTask``, which names the path: no such file, a directory, not readable, empty,
    larger than ``limit``, or of an unknown type.
    """
    file = Path(path)
    try:
        # Reading one byte more than allowed shows "too large" without reading a huge file, and
        # without trusting a size that can change (or that a pipe does not have).
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    except FileNotFoundError:
        raise InvalidTask(f"{file}: no such file") from None
    except IsADirectoryError:
        raise InvalidTask(f"{file}: is a directory, not a file") from None
    except OSError as error:
        reason = "is a directory, not a file" if file.is_dir() else str(error.strerror or error)
        raise InvalidTask(f"{file}: {reason}") from None
    except ValueError:
        raise InvalidTask(f"{str(file)!r}: is not a valid path") from None
    if not content:
        raise InvalidTask(f"{file}: is empty")
    if len(content) > limit:
        raise InvalidTask(f"{file}: is larger than the limit of {limit} bytes")
    mime = _BY_SUFFIX.get(file.suffix.lower()) or _sniff(content)
    if mime is None:
        raise InvalidTask(
            f"{file}: unknown type of file; give it a usual suffix, such as .png or .pdf"
        )
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
