"""For the scripts: nothing may leave this machine."""

from __future__ import annotations

import json
import sys
from typing import Any

_OUTSIDE: list[str] = []
_LOCAL = {"127.0.0.1", "::1", "localhost", None, b"127.0.0.1", b"localhost", ""}


def _watch(event: str, args: Any) -> None:
    host: Any = None
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if host not in _LOCAL:
        _OUTSIDE.append(f"{event} {host}")
        raise OSError("these tests use loopback only")


def watch() -> None:
    """Refuse and note every connection and name lookup that is not loopback."""
    sys.addaudithook(_watch)


def report(**found: Any) -> None:
    """Print the outcome for the test, as the last line."""
    print(json.dumps({**found, "outside": _OUTSIDE}), flush=True)
