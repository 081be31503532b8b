"""The checks of options and arguments: one function for each kind of value.

A check takes an option's name and value, and returns what to keep: the value itself, or its
normal form. A value that cannot work raises ``ConfigurationError``, with the option, the value
and the cure. No message quotes a password, or what may be a key.
"""

from __future__ import annotations

import inspect
import math
import re
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast
from uuid import UUID

from runware_ws.classify import Verdict
from runware_ws.errors import ConfigurationError

__all__ = [
    "Check",
    "choice",
    "count",
    "flag",
    "folder",
    "header_value",
    "refusal",
    "seconds",
    "shown",
    "tls_context",
    "uuid_text",
    "verdicts",
    "wait_strategy",
]

Check = Callable[[str, Any], Any]
"""Takes an option's name and value; returns the value to keep, or raises."""


# Messages

_LONGEST = 80
# One long word: it may be a key that was put in the wrong place.
_LIKE_A_KEY = re.compile(r"[\w.+/=~-]{16,}")


def shown(value: object) -> str:
    """``value`` as messages quote it: shortened, without passwords or anything like a key.

    In a URL, everything before the last ``@`` is redacted, and so is the query.
    """
    if isinstance(value, str):
        return _shown_text(value)
    if value is None or isinstance(value, bool | int | float):
        try:
            return _shortened(repr(value))
        except ValueError:  # Python writes no number of more than 4,300 digits
            pass
    return f"a value of type {type(value).__name__}"


def _shown_text(text: str) -> str:
    if _LIKE_A_KEY.fullmatch(text):
        return f"a word of {len(text)} characters"
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        scheme, rest = "", text
    _, at, place = rest.rpartition("@")
    place, mark, _ = place.partition("?")
    secret = "[redacted]@" if at else ""
    return _shortened(repr(f"{scheme}{slashes}{secret}{place}{mark and '?[redacted]'}"))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def refusal(option: str, rule: str, value: object) -> ConfigurationError:
    """The error that says what ``option`` must be, and quotes ``value`` safely."""
    return ConfigurationError(f"{option} must {rule}, not {shown(value)}")


# Numbers and words


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def seconds(
    option: str, value: float | None, *, zero: bool = False, none: str | None = None
) -> float | None:
    """A finite duration above 0, or 0 too if ``zero``; ``None`` if ``none`` says what it means.

    Raises:
        ConfigurationError: it is anything else.
    """
    if value is None:
        good = none is not None
    else:
        good = _is_finite(value) and (value > 0 or (zero and value == 0))
    if good:
        return value
    rule = f"be a finite number of seconds, {'0 or more' if zero else 'more than 0'}"
    raise refusal(option, f"{rule}, or None for {none}" if none is not None else rule, value)


def count(option: str, value: Any, *, none: str | None = None) -> int | None:
    """A whole number, 1 or more; or ``None`` if ``none`` says what it means.

    Raises:
        ConfigurationError: it is anything else.
    """
    if value is None and none is not None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= sys.maxsize:
        return value
    rule = "be a whole number, 1 or more"
    raise refusal(option, f"{rule}, or None for {none}" if none is not None else rule, value)


def flag(option: str, value: Any) -> bool:
    """``True`` or ``False``, not merely a truthy or falsy value.

    Raises:
        ConfigurationError: it is anything else.
    """
    if isinstance(value, bool):
        return value
    raise refusal(option, "be True or False", value)


def choice(option: str, value: Any, *, of: tuple[str, ...]) -> str:
    """One of a few words.

    Raises:
        ConfigurationError: it is anything else.
    """
    if isinstance(value, str) and value in of:
        return value
    *some, last = map(repr, of)
    raise refusal(option, f"be {', '.join(some)} or {last}", value)


# Objects


def wait_strategy(option: str, value: Any) -> Any:
    """A function that takes tenacity's state and returns seconds.

    Raises:
        ConfigurationError: it is anything else, such as a class or an async function.
    """
    if callable(value) and not isinstance(value, type) and not _is_async(value) and _takes_1(value):
        return value
    raise refusal(
        option,
        "be a tenacity wait strategy, such as tenacity.wait_random(0, 30)",
        value,
    )


def _is_async(function: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # an object whose call is async
    )


def _takes_1(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # written in C, without a signature
        pass
    return True


def tls_context(option: str, value: Any) -> ssl.SSLContext | None:
    """TLS settings, or ``None`` for the default.

    Raises:
        ConfigurationError: it is anything else.
    """
    if value is None or isinstance(value, ssl.SSLContext):
        return value
    raise refusal(
        option, "be an ssl.SSLContext (ssl.create_default_context() makes one) or None", value
    )


def header_value(option: str, value: Any) -> str | None:
    """The value of an HTTP header, or ``None`` for the default.

    Raises:
        ConfigurationError: it is anything else. A line end would start another header.
    """
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isprintable() and value.strip():
        return value.strip()
    raise refusal(option, "be printable ASCII on one line, or None", value)


def folder(option: str, value: Any) -> str | None:
    """The path of a folder, which need not exist; or ``None``.

    Raises:
        ConfigurationError: it is anything else.
    """
    if value is None or (isinstance(value, str) and value.strip() and "\0" not in value):
        return value
    raise refusal(option, "be the path of a folder, as text, or None", value)


_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def uuid_text(option: str, value: Any) -> str | None:
    """A UUID as text, from a ``uuid.UUID`` or any spelling that it accepts; or ``None``.

    Text in the usual form is kept unchanged, so the server gets back what it sent.

    Raises:
        ConfigurationError: it is anything else.
    """
    if value is None or (isinstance(value, str) and _CANONICAL.fullmatch(value)):
        return value
    try:
        return str(value if isinstance(value, UUID) else UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise refusal(option, "be a UUID, as text or uuid.UUID, or None", value) from None


def verdicts(option: str, value: Any, *, codes: range) -> dict[int, Verdict]:
    """A table of verdicts by code; a verdict may be given as a word.

    Raises:
        ConfigurationError: it is not a table, or a key or a verdict in it is bad.
    """
    words = ", ".join(repr(verdict.value) for verdict in Verdict)
    if not isinstance(value, Mapping):
        raise refusal(option, f"be a dict such as {{{codes[-1]}: 'terminal'}}", value)
    table: dict[int, Verdict] = {}
    for code, verdict in cast("Mapping[object, object]", value).items():
        if not isinstance(code, int) or isinstance(code, bool) or code not in codes:
            raise refusal(f"a key of {option}", f"be a number in {codes[0]}-{codes[-1]}", code)
        try:
            table[int(code)] = Verdict(cast("str", verdict))
        except ValueError:
            raise refusal(f"{option}[{int(code)}]", f"be a Verdict: {words}", verdict) from None
    return table
