"""Every error reaches its class in the published client, which tries again only if it is safe."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import anthropic
import pytest
from starlette.types import Receive, Scope, Send

from runware_ws import errors
from runware_ws.errors import RunwareError, Submitted, TaskError
from runware_ws.gateway.error_table import ERRORS, FAMILIES, ErrorReply, GatewayRefusal, reply_to
from runware_ws.gateway.exchange import Exchange
from runware_ws.models.error_codes import ErrorFamily
from tests import virtual
from tests.client.support import ample
from tests.gateway.support import MODEL, executions, in_process, place, published

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend

CLASSES = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    402: anthropic.PaymentRequiredError,
    404: anthropic.NotFoundError,
    409: anthropic.ConflictError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    502: anthropic.InternalServerError,
    503: anthropic.ServiceUnavailableError,
    504: anthropic.GatewayTimeoutError,
    529: anthropic.OverloadedError,
}
KINDS = [getattr(errors, name) for name in errors.__all__ if name != "Submitted"]


def made(kind: type[RunwareError], **more: Any) -> RunwareError:
    error = kind("it went wrong")
    for name, value in more.items():
        setattr(error, name, value)
    return error


def test_every_error_has_a_row() -> None:
    assert set(KINDS) == {*ERRORS, TaskError}
    assert set(FAMILIES) == set(ErrorFamily)


async def raised_by(reply: ErrorReply) -> tuple[anthropic.APIStatusError, int]:
    """What the published client raises for a reply, and how often it asked."""
    asked = 0

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal asked
        asked += 1
        await Exchange(scope, receive, send).send_error(reply)

    async with in_process(application) as http:
        client = published(http, api_key="any", max_retries=1)
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(
                model=MODEL, max_tokens=64, messages=[{"role": "user", "content": "Why?"}]
            )
    return caught.value, asked


CASES = [
    *(pytest.param(made(kind), id=kind.__name__) for kind in KINDS if kind is not TaskError),
    *(
        pytest.param(
            TaskError("it went wrong", code=family.value, family=family, retryable=True,
                      submitted=Submitted.NO, safe_to_resend=True),
            id=family.value,
        )
        for family in ErrorFamily
    ),
]  # fmt: skip


@pytest.mark.parametrize("error", CASES)
@ample
async def test_the_published_client_raises_the_right_class(error: RunwareError) -> None:
    reply = reply_to(error, joins=True)
    raised, asked = await raised_by(reply)
    assert type(raised) is CLASSES[reply.status]
    assert raised.type == reply.kind
    assert "it went wrong" in str(raised.api_message)
    assert asked == (2 if reply.should_retry else 1)
    assert raised.request_id


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("joins", [False, True])
def test_what_was_paid_for_is_never_tried_anew(kind: type[RunwareError], joins: bool) -> None:
    error = made(kind, submitted=Submitted.YES, safe_to_resend=False)
    if isinstance(error, TaskError):
        error.retryable = True
        for family in ErrorFamily:
            error.family = family
            assert not reply_to(error, joins=joins).should_retry
    elif not joins and not issubclass(kind, errors.InvalidTask):
        assert not reply_to(error, joins=joins).should_retry


def test_words_of_a_foreign_exception_are_not_told() -> None:
    reply = reply_to(ValueError("secret"), joins=True)
    assert "secret" not in reply.message
    assert (reply.status, reply.should_retry) == (500, False)


def test_a_refusal_of_the_gateway_itself() -> None:
    reply = reply_to(
        GatewayRefusal(429, "rate_limit_error", "slow down", retry_after=1.5), joins=True
    )
    assert reply.headers() == {"x-should-retry": "false", "retry-after": "1.5"}
    # What a rate of almost nothing comes to.
    assert replace(reply, retry_after=math.inf).headers()["retry-after"] == "86400"


@ample
async def test_verdicts_of_the_server() -> None:
    async with place() as here:
        ask = here.anthropic(max_retries=2).messages
        cases = [
            ("insufficientCredits", "accept", anthropic.PaymentRequiredError),
            ("contentPolicyViolation", "accept", anthropic.BadRequestError),
            ("invalidPositivePrompt", "accept", anthropic.BadRequestError),
            ("inferenceError", "execute", anthropic.OverloadedError),
        ]
        for code, stage, kind in cases:
            for stream in (False, True):
                here.emulator.faults.inject_error(code, "It went wrong.", stage=stage)  # type: ignore[arg-type]
                before = here.emulator.stats.tasks_accepted + here.emulator.stats.errors_sent
                with pytest.raises(kind) as caught:
                    await ask.create(
                        model=MODEL,
                        max_tokens=64,
                        messages=[{"role": "user", "content": "Why?"}],
                        stream=stream,
                    )
                assert "It went wrong" in str(caught.value)
                # Neither the gateway nor the client tried again: the next request is answered.
                assert here.emulator.stats.errors_sent <= before + 1
        message = await ask.create(
            model=MODEL, max_tokens=64, messages=[{"role": "user", "content": "Why?"}]
        )
        assert message.content
        assert executions(here) == 3


@ample
async def test_what_did_not_run_is_tried_again_by_the_published_client() -> None:
    async with place() as here:
        here.emulator.faults.inject_error("rateLimitExceeded", "Slow down.", times=2)
        message = await here.anthropic(max_retries=2).messages.create(
            model=MODEL, max_tokens=64, messages=[{"role": "user", "content": "Why?"}]
        )
        assert message.content
        assert executions(here) == 1
        assert len(here.gateway.attempts) == 1
