"""The server's errors: all spellings, tolerant; and the table of code families."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runware_ws.models import (
    ErrorFamily,
    WireError,
    family,
    parse_errors,
    parse_item_error,
    retryable,
)
from runware_ws.models.error_codes import FAMILY_PATTERNS

UUID = "0b0f6ee2-1ed6-4d6c-9a46-6a1c8a0f7a11"
ERROR = {
    "code": "invalidModel",
    "message": "No such model",
    "parameter": "model",
    "taskType": "textInference",
    "taskUUID": UUID.upper(),
    "documentation": "https://example.com",
    "extra": 1,
}


@pytest.mark.parametrize(
    "frame",
    [
        {"errors": [ERROR]},
        {"errors": ERROR},
        {"error": ERROR},
        {"error": [ERROR]},
        {"errors": [ERROR], "error": ERROR},
        {"errors": [ERROR, None], "data": [{"taskUUID": "other"}]},
    ],
)
def test_all_spellings_give_the_same_error(frame: dict[str, Any]) -> None:
    (error,) = parse_errors(frame)
    assert error == WireError(
        code="invalidModel",
        message="No such model",
        parameter="model",
        task_type="textInference",
        task_uuid=UUID,
        documentation="https://example.com",
        raw=ERROR,
    )
    assert error.family is ErrorFamily.VALIDATION
    assert error.retryable is False
    assert pickle.loads(pickle.dumps(error)) == error
    assert isinstance(hash(error), int)


def test_old_style() -> None:
    frame = {
        "error": True,
        "errorId": 19,
        "errorMessageContentId": 1212,
        "errorMessage": "Invalid API key",
    }
    (error,) = parse_errors(frame)
    assert (error.code, error.message) == ("legacyError19", "Invalid API key")
    assert error.family is ErrorFamily.AUTH
    assert error.task_uuid is None
    assert error.raw == frame


def test_frames_without_errors() -> None:
    frames: list[dict[str, Any]] = [{}, {"data": []}, {"error": False}, {"error": None}]
    frames.append({"errors": []})
    for frame in frames:
        assert parse_errors(frame) == []


def test_parameter_can_be_a_list_of_names() -> None:
    (error,) = parse_errors({"errors": [{"code": "x", "message": "", "parameter": ["a", 5, "b"]}]})
    assert error.parameter == ("a", "b")


def test_several_errors_keep_their_order() -> None:
    errors = parse_errors({"errors": [{"code": "a"}, {"code": "b"}], "error": {"code": "c"}})
    assert [error.code for error in errors] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        ("just words", "unknown", "just words"),
        ({}, "unknown", ""),
        ({"code": 429, "message": ["x"]}, "429", ""),
        (17, "unknown", ""),
    ],
)
def test_odd_errors_are_still_errors(value: Any, code: str, message: str) -> None:
    (error,) = parse_errors({"errors": [value]})
    assert (error.code, error.message) == (code, message)


def test_errors_of_items() -> None:
    assert parse_item_error({"taskUUID": UUID, "status": "processing"}) is None
    assert parse_item_error({"taskUUID": UUID, "text": "x"}) is None
    bare = parse_item_error({"taskUUID": UUID, "status": "error", "message": "no"})
    assert bare is not None
    assert (bare.code, bare.message, bare.task_uuid) == ("unknown", "no", UUID)
    nested = parse_item_error(
        {"taskUUID": UUID, "taskType": "t", "status": "error", "error": {"code": "providerError"}}
    )
    assert nested is not None
    assert (nested.code, nested.task_uuid, nested.task_type) == ("providerError", UUID, "t")
    assert nested.retryable


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*ERROR, "errors", "error", "errorId"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.dictionaries(st.sampled_from(["errors", "error", "data", "errorId", "status"]), anything))
def test_nothing_raises(frame: dict[str, Any]) -> None:
    for error in parse_errors(frame):
        assert error.family in ErrorFamily
        assert isinstance(error.message, str)
        assert error.code
    parse_item_error(frame)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("invalidApiKey", ErrorFamily.AUTH),
        ("missingApiKey", ErrorFamily.AUTH),
        ("apiKeyExpired", ErrorFamily.AUTH),
        ("UNAUTHORIZED", ErrorFamily.AUTH),
        ("tokenExpired", ErrorFamily.AUTH),
        ("invalidToken", ErrorFamily.AUTH),
        ("401", ErrorFamily.AUTH),
        ("insufficientCredits", ErrorFamily.QUOTA),
        ("quotaExceeded", ErrorFamily.QUOTA),
        ("insufficientBalance", ErrorFamily.QUOTA),
        ("paymentRequired", ErrorFamily.QUOTA),
        ("loadBalancerError", ErrorFamily.UNKNOWN),
        ("rateLimitExceeded", ErrorFamily.RATE),
        ("providerRateLimit", ErrorFamily.RATE),
        ("429", ErrorFamily.RATE),
        ("providerContentPolicyViolation", ErrorFamily.SAFETY),
        ("nsfwContent", ErrorFamily.SAFETY),
        ("promptBlocked", ErrorFamily.SAFETY),
        ("timeoutProvider", ErrorFamily.TIMEOUT),
        ("providerTimeout", ErrorFamily.TIMEOUT),
        ("invalidTimeout", ErrorFamily.VALIDATION),
        ("taskNotFound", ErrorFamily.NOT_FOUND),
        ("taskFailedOrNotFound", ErrorFamily.NOT_FOUND),
        ("resultExpired", ErrorFamily.NOT_FOUND),
        ("providerError", ErrorFamily.PROVIDER),
        ("inferenceError", ErrorFamily.PROVIDER),
        ("noAvailableServer", ErrorFamily.PROVIDER),
        ("taskFailed", ErrorFamily.PROVIDER),
        ("internalServerError", ErrorFamily.SERVER),
        ("serviceUnavailable", ErrorFamily.SERVER),
        ("503", ErrorFamily.SERVER),
        ("connectionLost", ErrorFamily.SERVER),
        ("invalidMaxTokens", ErrorFamily.VALIDATION),
        ("missingParameter", ErrorFamily.VALIDATION),
        ("unsupportedModel", ErrorFamily.VALIDATION),
        ("unknownParameter", ErrorFamily.VALIDATION),
        ("conflictTaskUUID", ErrorFamily.CONFLICT),
        ("conflictingParameters", ErrorFamily.VALIDATION),
        ("legacyError19", ErrorFamily.AUTH),
        ("", ErrorFamily.UNKNOWN),
        ("somethingNew", ErrorFamily.UNKNOWN),
        ("x" * 100_000, ErrorFamily.UNKNOWN),
    ],
)
def test_families(code: str, expected: ErrorFamily) -> None:
    assert family(code) is expected
    assert family(f" {code.upper()} ") is expected


def test_what_is_worth_another_try() -> None:
    worth = {fam for fam in ErrorFamily if retryable(fam)}
    assert worth == {
        ErrorFamily.PROVIDER,
        ErrorFamily.TIMEOUT,
        ErrorFamily.RATE,
        ErrorFamily.SERVER,
    }


def test_the_table_knows_every_family() -> None:
    assert {fam for fam, _ in FAMILY_PATTERNS} == set(ErrorFamily) - {ErrorFamily.UNKNOWN}


def test_what_stands_beside_many_errors_is_kept_once() -> None:
    beside = {f"field {number}": number for number in range(100)}
    errors = parse_errors({"errors": [f"trouble {number}" for number in range(100)], **beside})
    assert [error.message for error in errors] == [f"trouble {number}" for number in range(100)]
    assert {id(error.raw) for error in errors} == {id(errors[0].raw)}
    assert errors[0].raw == beside
