"""The seam between the driver and a socket: five methods, and a way to open one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol, cast

from runware_ws._io.supervisor import is_cancelled
from runware_ws.classify import Loss, LossKind
from runware_ws.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from runware_ws._core.effects import PostEnding
    from runware_ws.config import Config

__all__ = [
    "Dial",
    "HttpPost",
    "NotSent",
    "Transport",
    "TransportLost",
    "unforeseen",
    "words_of",
]


class TransportLost(Exception):
    """The socket ended, or could not be opened. ``loss`` says how."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(str(loss))
        self.loss = loss


class NotSent(TransportLost):
    """The socket had ended before the first byte of the message was handed over."""


class Transport(Protocol):
    """One open socket. One task receives, one task sends."""

    async def send(self, data: bytes) -> None:
        """Send one text message; waits while the socket takes no more.

        Raises:
            NotSent: not one byte was handed over.
            TransportLost: some bytes may have been sent.
        """
        ...

    async def receive(self) -> bytes | str:
        """The next message. Cancel-safe: a cancelled call loses nothing.

        Raises:
            TransportLost: the socket ended, and all earlier messages were returned.
        """
        ...

    def take_ready(self) -> Iterable[bytes | str]:
        """More messages that came with the last one; may be empty. Does not wait."""
        ...

    async def aclose(self) -> None:
        """Close with a closing handshake. May wait for a dead peer: the caller sets the limit."""
        ...

    def activity(self) -> int:
        """A count of bytes that only grows; its growth proves that the peer is there.

        It counts the bytes of messages that came, whole or not, without control frames, which
        a gateway may send by itself; and what the peer took of a large backlog of ours.
        """
        ...


class Dial(Protocol):
    """Opens a socket: ``async with dial(url, config) as transport``.

    The context drops the socket when it is left. Entering raises
    :class:`TransportLost` if the socket cannot be opened. It needs no
    deadline of its own: the driver cancels it.
    """

    def __call__(self, url: str, config: Config) -> AbstractAsyncContextManager[Transport]: ...


class HttpPost(Protocol):
    """Posts one message over HTTP and reads the answer as it is generated.

    ``payload`` is a JSON array of task objects. ``sending`` is called before the first byte of
    the request goes out, and not where none does; where it says ``False``, the task was given up
    meanwhile, and nothing is to be sent. ``take`` is called with the JSON text of each
    event of the answer (or with all of it, where it is no stream), as the bytes came; the mark
    that ends a stream is not handed on. Returns how it ended, and raises nothing but the
    cancellation, which gives the connection up.
    """

    async def __call__(
        self,
        payload: bytes,
        key: SecretStr,
        sending: Callable[[], bool],
        take: Callable[[bytes], None],
    ) -> PostEnding: ...


def unforeseen(exc: BaseException, kind: LossKind) -> Loss:
    """What an exception means that a dial or a socket should not have raised.

    It is the end of that socket, of the given ``kind``, and not of the client. Where the
    library or an option is at fault, no other dial will do better. Our own cancellation is
    raised again.
    """
    if isinstance(exc, asyncio.CancelledError) and is_cancelled():
        raise exc
    while isinstance(exc, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", exc).exceptions
        if len(inner) != 1:
            break
        (exc,) = inner
    if isinstance(exc, TransportLost):
        return exc.loss
    if isinstance(exc, ImportError | ConfigurationError):
        kind = LossKind.CANNOT_DIAL
    return Loss(kind, detail=words_of(cast("BaseException", exc)))


def words_of(exc: BaseException) -> str:
    """The type of an exception and what it says. May quote secrets: redact before it is told."""
    try:
        text = str(exc)
    except Exception:
        text = ""
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
