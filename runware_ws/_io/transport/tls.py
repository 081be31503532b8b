"""TLS settings that all connections share.

The system's trust store takes about 20 ms to read, which would hold up the event loop at every
dial. So it is read once per process, in a thread.
"""

from __future__ import annotations

import ssl
from threading import Lock

from anyio import to_thread

__all__ = ["default_context"]

_LOCK = Lock()
_made: list[ssl.SSLContext] = []


async def default_context() -> ssl.SSLContext:
    """The default settings: the system's trust store, verification on."""
    return _made[0] if _made else await to_thread.run_sync(_make)


def _make() -> ssl.SSLContext:
    with _LOCK:
        if not _made:
            _made.append(ssl.create_default_context())
        return _made[0]
