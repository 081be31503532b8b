"""Families of the server's error codes.

Runware's catalogue of codes is unstable, so a program should look at the family of a code and
keep the raw code for people. One table holds all patterns; change the behaviour there.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

__all__ = ["FAMILY_PATTERNS", "RETRYABLE", "ErrorFamily", "family", "retryable"]


class ErrorFamily(StrEnum):
    """The kind of trouble that an error code stands for."""

    AUTH = "auth"
    QUOTA = "quota"
    RATE = "rate"
    SAFETY = "safety"
    TIMEOUT = "timeout"
    NOT_FOUND = "not_found"
    PROVIDER = "provider"
    SERVER = "server"
    VALIDATION = "validation"
    CONFLICT = "conflict"
    UNKNOWN = "unknown"


# The first row that matches the *whole* code wins; case does not matter. The order matters:
#
# * CONFLICT comes first and is narrow. The client reads it as "this task had already arrived", so
#   it must not match any other ``conflict…`` code: those are VALIDATION.
# * AUTH, QUOTA and RATE come before VALIDATION: ``invalidApiKey`` is about the key, and so is
#   ``invalidToken``.
# * VALIDATION's prefixes come before the words that may name a parameter: ``invalidTimeout`` is a
#   wrong field, and must not be retried like a TIMEOUT.
# * TIMEOUT and NOT_FOUND come before PROVIDER: ``providerTimeout``, ``taskFailedOrNotFound``.
#
# Sources: the names are documented or observed; the bare numbers are the HTTP statuses that the
# API description lists, for servers that put the status in the code. ``legacyError19`` is our own
# spelling of the old frame ``{"error": true, "errorId": 19}``, documented for a bad key.
FAMILY_PATTERNS: tuple[tuple[ErrorFamily, str], ...] = (
    (ErrorFamily.CONFLICT, r"conflict.*task.?uuid.*"),
    (ErrorFamily.AUTH, r"unauthori[sz]ed.*|.*api.?key.*|(invalid|missing|expired)?tokens?"),
    (ErrorFamily.AUTH, r"token.*|invalid.*token|authentication.*|forbidden|401|403|legacyerror19"),
    (ErrorFamily.QUOTA, r".*credits?.*|.*quota.*|.*balance(?!r).*|paymentrequired|402"),
    (ErrorFamily.RATE, r".*rate.?limit.*|toomanyrequests|429"),
    (
        ErrorFamily.VALIDATION,
        r"(invalid|missing|unsupported|conflict).*|unknownparameter.*|400|422",
    ),
    (ErrorFamily.SAFETY, r".*content.?policy.*|.*nsfw.*|promptblocked"),
    (ErrorFamily.TIMEOUT, r".*time.?out.*|.*timedout|408|504"),
    (ErrorFamily.NOT_FOUND, r".*notfound|.*expired|404"),
    (ErrorFamily.PROVIDER, r"provider.*|inferenceerror|noavailableserver|taskfailed|502"),
    (ErrorFamily.SERVER, r"(internal)?servererror|serviceunavailable|connection.*|500|503"),
)

RETRYABLE: frozenset[ErrorFamily] = frozenset(
    {ErrorFamily.PROVIDER, ErrorFamily.TIMEOUT, ErrorFamily.RATE, ErrorFamily.SERVER}
)
"""Families worth a retry: the same request can succeed later. With all others it cannot."""

_COMPILED = tuple((fam, re.compile(p, re.IGNORECASE | re.DOTALL)) for fam, p in FAMILY_PATTERNS)


@lru_cache(maxsize=512)
def _lookup(code: str) -> ErrorFamily:
    for fam, pattern in _COMPILED:
        if pattern.fullmatch(code):
            return fam
    return ErrorFamily.UNKNOWN


def family(code: str) -> ErrorFamily:
    """Return the family of ``code``; ``UNKNOWN`` if no row matches. Never raises."""
    # A hostile or broken server could send megabytes as a code: look only at the beginning.
    return _lookup(code.strip()[:200])


def retryable(fam: ErrorFamily) -> bool:
    """Whether the same request is worth a retry after an error of this family."""
    return fam in RETRYABLE
