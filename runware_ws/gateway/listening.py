"""Where a gateway listens: a port of TCP, or a socket in the file system."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from runware_ws._urls import bracketed
from runware_ws.errors import ConfigurationError

__all__ = ["Listening", "listen", "listen_unix"]


@dataclass(slots=True)
class Listening:
    """``sock``: it is bound. ``address``: as it is told. For a socket in the file system ``path``
    is the name that it is to have, and ``made`` the one under which it was made, with its number
    there."""

    sock: socket.socket
    address: str
    path: Path | None = None
    made: tuple[Path, int] | None = None

    def publish(self) -> None:
        """It takes requests: a socket in the file system gets its name, perhaps that of an earlier
        one, whose process goes on with the connections that it has."""
        if self.path is not None and self.made is not None:
            os.replace(self.made[0], self.path)

    def close(self) -> None:
        """Close it, and remove its name, unless that is another's by now."""
        if self.path is not None and self.made is not None:
            made, number = self.made
            for name in (made, self.path):
                with contextlib.suppress(OSError):
                    if name.lstat().st_ino == number:
                        name.unlink()
        self.sock.close()


def listen(host: str, port: int, *, reuse_port: bool = False, patience: float = 60.0) -> Listening:
    """A port of TCP. ``port`` 0: any free one. ``reuse_port``: another
    process may listen on the same port, so that one can take over from the other.

    Raises:
        ConfigurationError: it cannot be had. The message says why.
    """
    place = f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        # With the protocol: asyncio sends small answers at once only on such sockets.
        sock = socket.socket(family, kind, socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is no name of a host"
        raise ConfigurationError(f"cannot listen on {place}: {why}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if reuse_port:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise ConfigurationError("--reuse-port: this system does not have it")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sys.platform == "linux":
            # Handed down to connections: the kernel ends one whose peer takes nothing more.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1_000))
        sock.bind(address)
    except OSError as exc:
        sock.close()
        cure = "--port, or 0 for a free one" if exc.errno != errno.EADDRNOTAVAIL else "--host"
        raise ConfigurationError(
            f"cannot listen on {place}: {exc.strerror}: choose another {cure}"
        ) from None
    except ConfigurationError:
        sock.close()
        raise
    return Listening(sock, f"http://{bracketed(host)}:{sock.getsockname()[1]}")


def listen_unix(path: Path, *, take_over: bool = False) -> Listening:
    """A socket in the file system, for the user of this process alone. One that a dead process has
    left is replaced, and with ``take_over`` that of a living one, too.

    Raises:
        ConfigurationError: it cannot be had. The message says why.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigurationError("--uds: this system does not have it")
    _check_place(path, take_over)
    made = path.with_name(f"{path.name}.{secrets.token_hex(2)}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # So that there is no moment in which others may connect.
    mask = os.umask(0o177)
    try:
        sock.bind(str(made))
        return Listening(sock, f"unix:{path}", path, (made, made.lstat().st_ino))
    except OSError as exc:
        sock.close()
        raise ConfigurationError(f"--uds {path}: {exc.strerror or exc}") from None
    finally:
        os.umask(mask)


def _check_place(path: Path, take_over: bool) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigurationError(f"--uds {path}: is no socket: choose another path")
    except OSError:
        return  # Nothing is there, or what is wrong shows when it is made.
    if take_over:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.connect(str(path))
        raise ConfigurationError(
            f"--uds {path}: another process listens there: end it, choose another path, or take "
            "over from it with --reuse-port"
        )
