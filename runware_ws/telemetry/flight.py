"""The flight recorder: what the core was told last, to be looked at, and played again.

The core decides by what it is told and by nothing else. So a recording of its inputs is enough to
find out afterwards why a task ended as it did: ``python -m tests.simulation --replay FILE`` plays
it through a new core.

While the client runs only references are noted. Words are masked when a recording is written; see
``masking.py``.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from runware_ws._core import wire
from runware_ws._version import __version__
from runware_ws.config import Config
from runware_ws.telemetry.flight_lines import Unkept, lines_of
from runware_ws.telemetry.masking import Mask
from runware_ws.telemetry.ring import Ring

__all__ = ["FORMAT", "FlightRecorder", "dump_on_signal", "recorder_of"]

_LOG = logging.getLogger("runware_ws")

FORMAT = 1
"""Of the file. A reader refuses any other."""

USUAL = 4 << 20
"""Bytes that are kept where only a folder is given."""

MOST_FILES = 8
"""So many recordings are kept in a folder; then the oldest goes."""

REST = 60.0
"""A client writes no more than one recording by itself in so many seconds."""

_UNTOLD = frozenset(
    {"ssl", "proxy", "user_agent", "http_url", "backoff", "flight_folder", "close_codes"}
    | {"http_statuses"}
)
"""Options that the core does not read, or that are written otherwise."""


class Dumping(Protocol):
    """What :func:`dump_on_signal` needs of a client."""

    def dump(self, path: str | os.PathLike[str]) -> Path:
        """Write what was recorded; returns where it is."""
        ...


def recorder_of(config: Config, redact: Callable[[str], str]) -> FlightRecorder | None:
    """The recorder of a client with these options; ``None`` if it has none."""
    limit = config.flight_bytes
    if limit is None:
        if config.flight_folder is None:
            return None
        limit = USUAL
    return FlightRecorder(config, limit, redact)


class FlightRecorder:
    """The recording of one client. ``redact``: takes the API key out of a text.

    ``limit``: how many bytes it may hold; messages of more than half of that are not kept.
    """

    def __init__(self, config: Config, limit: int, redact: Callable[[str], str]) -> None:
        self._config = config
        self._redact = redact
        self._secret = secrets.token_bytes(16)
        self._ring = Ring(limit)
        self._facts: dict[str, Any] = {}
        self._next_at = 0.0
        self.largest = limit // 2
        # Called when a task ended as unknown.
        self.on_unknown: Callable[[], None] = _nothing

    @property
    def folder(self) -> str | None:
        """Where a recording is written by itself, when a task ends as unknown."""
        return self._config.flight_folder

    # While the client runs

    def begin(self, **facts: Any) -> Ring:
        """A core begins, made with these facts; returns what takes its entries."""
        self._facts = facts
        return self._ring

    def unkept(self, data: bytes | str) -> Unkept:
        """What is kept of a message that is too large."""
        return Unkept(self._mask().data(data))

    @staticmethod
    def weight(items: list[dict[str, Any]]) -> int:
        """The memory that results take up, in bytes."""
        return sum(wire.weight(item, 1 << 40) for item in items)

    def wanted(self, now: float) -> bool:
        """Whether a task that ended as unknown at ``now`` is worth a recording of its own."""
        if self.folder is None or now < self._next_at:
            return False
        self._next_at = now + REST
        return True

    # Afterwards

    def dump(self, path: str | os.PathLike[str]) -> Path:
        """Write what there is to ``path``, which is replaced if it exists; readable for its owner.

        A folder that exists gets a new file, as :meth:`dump_into` has it. Returns where it is. May
        be called from any thread; 4 MiB take some tenths of a second of CPU time.

        Raises:
            OSError: it cannot be written.
        """
        target = Path(path)
        if target.is_dir():
            return self.dump_into(target)
        temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}.new")
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "w", encoding="utf-8") as file:
                for line in self.lines():
                    file.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")))
                    file.write("\n")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def dump_into(self, folder: str | os.PathLike[str]) -> Path:
        """Write a recording into ``folder``, which is made; the oldest of more than eight goes.

        Raises:
            OSError: it cannot be written.
        """
        place = Path(folder)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = time.time_ns()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9))
        name = f"runware_ws-flight-{stamp}.{now % 10**9:09}-{os.getpid()}.jsonl"
        self.dump(place / name)
        found = sorted(place.glob("runware_ws-flight-*.jsonl"))
        for old in found[:-MOST_FILES]:
            old.unlink(missing_ok=True)
        return place / name

    def lines(self) -> Iterator[dict[str, Any]]:
        """What there is, as JSON objects: first what it is about, then one for each entry."""
        held = self._ring.held()
        # Asked afterwards: what goes meanwhile makes it no whole any more.
        dropped = self._ring.dropped
        mask = self._mask()
        yield {
            "kind": "recording",
            "format": FORMAT,
            "version": __version__,
            "whole": not dropped,
            "dropped": dropped,
            "content": mask.content,
            "options": _options(self._config),
            **self._facts,
        }
        yield from lines_of(held, mask)

    def _mask(self) -> Mask:
        return Mask(self._secret, self._redact, content=self._config.flight_content)


def _nothing() -> None:
    pass


def _options(config: Config) -> dict[str, Any]:
    told = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in _UNTOLD
    }
    return {
        **told,
        "close_codes": _verdicts(config.close_codes),
        "http_statuses": _verdicts(config.http_statuses),
    }


def _verdicts(table: Mapping[int, Any]) -> dict[str, str]:
    return {str(code): verdict.value for code, verdict in table.items()}


def dump_on_signal(
    client: Dumping, path: str | os.PathLike[str], number: int | None = None
) -> None:
    """From now on write what ``client`` recorded to ``path`` whenever this signal comes.

    Call it in the main thread. It takes the place of an earlier handler. The recording is written
    in a thread of its own, so the event loop goes on. The log tells where it is, as a warning, or
    that it cannot be written.

    Args:
        path: a file, which is replaced each time; or a folder that exists, which gets a new file
            each time and keeps the last eight.
        number: the signal; ``None``: ``SIGUSR2``.

    Raises:
        ValueError: called in another thread, or there is no such signal.
    """
    wanted: int = getattr(signal, "SIGUSR2", 0) if number is None else number

    def write() -> None:
        try:
            written = client.dump(path)
        except OSError as exc:
            _LOG.error("the recording cannot be written: %s", type(exc).__name__)
        else:
            _LOG.warning("the recording that a signal asked for is in %s", written)

    def handle(_number: int, _frame: object) -> None:
        threading.Thread(target=write, name="runware_ws recording", daemon=False).start()

    signal.signal(wanted, handle)
