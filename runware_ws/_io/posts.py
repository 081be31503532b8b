"""Runs POSTs: fetches the key, passes events to the core, reports each end. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
from pydantic import SecretStr

from runware_ws._core import wire
from runware_ws._core.core import SessionCore
from runware_ws._core.effects import Drop, Ending, Post, PostEnding
from runware_ws._io.http import http_carrier, http_url_of, sse_available
from runware_ws._io.keys import KeySource
from runware_ws._io.supervisor import Supervisor
from runware_ws._io.transport.base import HttpPost
from runware_ws._io.wakeups import caller_from_threads
from runware_ws.classify import Loss, LossKind
from runware_ws.config import Config

if TYPE_CHECKING:
    from runware_ws._io.http_carrier import HttpCarrier

__all__ = ["PostRunner", "carrier_of"]


def carrier_of(url: str, config: Config, *, own_dial: bool) -> HttpCarrier | None:
    """The HTTP carrier for a client of the socket ``url``; ``None`` if it has no HTTP side.

    ``own_dial``: the user opens the sockets, and must say with ``http_url`` where to post.
    """
    if not sse_available() or (own_dial and config.http_url is None):
        return None
    return http_carrier(config.http_url or http_url_of(url), config)


class PostRunner:
    """The POSTs of one driver. ``apply`` performs what the core wants done after an input.

    ``fetch_timeout``: seconds that fetching the key may take. ``verify``: returns once it is
    certain that the tasks are still ours to send.
    """

    def __init__(
        self,
        post: HttpPost,
        keys: KeySource,
        core: SessionCore,
        now: Callable[[], float],
        apply: Callable[[], object],
        *,
        fetch_timeout: float,
        verify: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._post = post
        self._keys = keys
        self._core = core
        self._now = now
        self._apply = apply
        self._fetch_timeout = fetch_timeout
        self._verify = verify
        self._soon = caller_from_threads()
        # ``None``: it was not begun yet.
        self._scopes: dict[int, anyio.CancelScope | None] = {}

    def start(self, wanted: Post, tasks: Supervisor) -> None:
        """Run a POST in ``tasks``."""
        # Its scope is made where it is entered: this may run in a plain callback of the loop.
        self._scopes[wanted.number] = None
        payload = wire.join((wanted.record.payload,))
        tasks.start_soon(
            self._run,
            wanted.record.uuid,
            wanted.number,
            payload,
            tasks,
            name="runware_ws post",
        )

    def drop(self, dropped: Drop) -> None:
        """Give a POST up."""
        scope = self._scopes.pop(dropped.number, None)
        if scope is not None:
            # A scope is cancelled by a loop that runs, and this may be between two runs of it.
            self._soon(scope.cancel)

    async def _run(
        self,
        uuid: str,
        number: int,
        payload: bytes,
        tasks: Supervisor,
    ) -> None:
        if number not in self._scopes:
            # Given up before it was begun.
            return
        core, now, apply = self._core, self._now, self._apply

        def sending() -> bool:
            wanted = core.posting(uuid, number, now())
            apply()
            return wanted

        def take(data: bytes) -> None:
            core.posted(uuid, number, data, now())
            apply()

        with anyio.CancelScope() as scope:
            self._scopes[number] = scope
            fetched = await self._fetched()
            if self._verify is not None:
                await self._verify()
            if number not in self._scopes:
                # Given up when what was awaited had come already.
                return
            if isinstance(fetched, PostEnding):
                ending = fetched
            else:
                try:
                    ending = await self._ending(payload, fetched, sending, take)
                except asyncio.CancelledError:
                    if scope.cancel_called or tasks.cancelled:
                        raise
                    # The caller's own ``post`` may end like this, and it would end the client.
                    ending = _broken("a cancellation of its own")
            # One that was given up is not told of: the core has forgotten it.
            if self._scopes.pop(number, None) is not None:
                core.post_ended(uuid, number, ending, now())
                apply()

    async def _fetched(self) -> SecretStr | PostEnding:
        try:
            with anyio.move_on_after(self._fetch_timeout):
                return await self._keys.fetch()
            detail = f"api_key() took longer than {self._fetch_timeout:g} s"
        except Exception as exc:
            # Its text could contain the key, so only its type is shown.
            detail = f"api_key() raised {type(exc).__name__}"
        return PostEnding(Ending.UNREACHED, Loss(LossKind.KEY_UNAVAILABLE, detail=detail))

    async def _ending(
        self,
        payload: bytes,
        key: SecretStr,
        sending: Callable[[], bool],
        take: Callable[[bytes], None],
    ) -> PostEnding:
        try:
            ending = await self._post(payload, key, sending, take)
            loss = ending.loss
        except Exception as exc:
            # Unforeseen; and what it says could hold the key.
            return _broken(type(exc).__name__)
        if loss is None:
            return ending
        clean = self._keys.redact_text(loss.detail)
        if clean == loss.detail:
            return ending
        told = Loss(loss.kind, loss.code, loss.status, loss.retry_after, clean)
        return PostEnding(ending.how, told, ending.body)


def _broken(what: str) -> PostEnding:
    return PostEnding(Ending.CUT, Loss(LossKind.CLOSED, detail=f"the POST ended with {what}"))
