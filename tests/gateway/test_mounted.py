"""A gateway within another application, behind middleware of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from tests import virtual
from tests.client.support import ample, until
from tests.gateway.support import Place, executions, place, request

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


class HandingOn(BaseHTTPMiddleware):
    """What ``@app.middleware("http")`` makes: it has tasks of its own between client and route."""

    async def dispatch(self, request: Any, call_next: Any) -> Any:
        return await call_next(request)


class Reading(BaseHTTPMiddleware):
    """One that reads the body first."""

    async def dispatch(self, request: Any, call_next: Any) -> Any:
        await request.body()
        return await call_next(request)


def twice(application: Any) -> Any:
    return HandingOn(HandingOn(application))


def mounted(application: Any) -> Any:
    return Starlette(routes=[Mount("/", application)])


AROUND: list[Callable[[Any], Any]] = [HandingOn, twice, Reading, GZipMiddleware, mounted]


async def leave(here: Place, body: dict[str, Any]) -> None:
    """Ask for the first time, and go away once the task runs."""
    before = here.client.stats().submitted
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: here.post(body, retry=0))
        await until(lambda: here.client.stats().submitted > before)
        group.cancel_scope.cancel()
    await anyio.sleep(0.1)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("around", AROUND)
@ample
async def test_a_retry_joins_behind_middleware(around: Callable[[Any], Any], stream: bool) -> None:
    async with place(around=around, emulator={"latency": "5s"}) as here:
        body = request(stream=stream)
        await leave(here, body)
        answer = await here.post(body, retry=1)
        assert answer.status_code == 200
        assert executions(here) == 1
        # One whose task has ended meanwhile, too.
        await leave(here, body)
        await anyio.sleep(10)
        assert (await here.post(body, retry=1)).status_code == 200
        assert executions(here) == 2


@ample
async def test_a_client_that_went_away_is_no_failure_of_the_application() -> None:
    failures: list[Exception] = []

    def around(application: Any) -> Any:
        inner = HandingOn(application)

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            try:
                await inner(scope, receive, send)
            except Exception as exc:
                failures.append(exc)
                raise

        return watched

    async with place(around=around, emulator={"latency": "1s"}) as here:
        await leave(here, request())
        here.emulator.faults.inject_error("inferenceError", "It went wrong.")
        await leave(here, request("Else?"))
        await anyio.sleep(5)
        assert failures == []
