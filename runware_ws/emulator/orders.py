"""Fault orders as text, for command lines: ``cut-every=1s``, ``lose-results``, …"""

from __future__ import annotations

import random
from collections.abc import Callable

from .faults import Faults
from .keys import KeyRing
from .latency import parse_duration
from .sessions import SessionStore
from .stats import Stats
from .timers import Timer, Timers
from .trouble import Asked

__all__ = ["KNOWN_ORDERS", "apply_fault_order", "check_fault_order"]


def _number(text: str, least: int = 1) -> int:
    number = int(text)
    if number < least:
        raise ValueError(f"must be at least {least}")
    return number


def _times(text: str) -> int | None:
    """A count. An empty text or ``always`` means every time."""
    return None if text in ("", "always") else _number(text)


def _switch(text: str) -> bool:
    if text in ("", "on", "yes"):
        return True
    if text in ("off", "no"):
        return False
    raise ValueError("write on or off")


def _window(text: str) -> float | None:
    return parse_duration(text) if text else None


def _cut_every(faults: Faults, text: str) -> None:
    pause, _, jitter = text.partition(",")
    faults.cut_every(parse_duration(pause), jitter=float(jitter or "0"))


def _cut(faults: Faults, text: str) -> None:
    if text in ("", "abort"):
        faults.cut()
    elif text in ("reset", "mid-frame"):
        faults.cut(reset=text == "reset", mid_frame=text == "mid-frame")
    else:
        code = _number(text)
        if code > 0xFFFF:
            raise ValueError("a close code has 16 bits")
        faults.cut(code)


def _cut_after(what: str) -> Callable[[Faults, str], None]:
    def order(faults: Faults, text: str) -> None:
        number, _, times = text.partition(",")
        if what == "frames":
            faults.cut_after(frames=_number(number), times=_times(times or "1"))
        elif what == "deltas":
            faults.cut_after(deltas=_number(number), times=_times(times or "1"))
        else:
            faults.cut_after(results=_number(number), times=_times(times or "1"))

    return order


def _blackhole(faults: Faults, text: str) -> None:
    mode, _, what = text.partition(",")
    if mode not in ("", "hold", "drop") or what not in ("", "pings", "bytes"):
        raise ValueError("write hold or drop, and pings or bytes")
    faults.blackhole("drop" if mode == "drop" else "hold")
    if what:
        faults.trickle("pings" if what == "pings" else "bytes")


def _fail_questions(faults: Faults, text: str) -> None:
    code, *rest = text.split(",")
    seconds: float | None = None
    kind: Asked | None = None
    for each in rest:
        if each == "getResponse":
            kind = "getResponse"
        elif each == "getTaskDetails":
            kind = "getTaskDetails"
        elif each not in ("", "untyped"):
            seconds = parse_duration(each)
    faults.fail_questions(
        code or "internalServerError", kind, typed="untyped" not in rest, seconds=seconds
    )


def _poison(faults: Faults, text: str) -> None:
    code, _, marker = text.partition(",")
    if not 0 <= int(code) <= 0xFFFF:
        raise ValueError("a close code has 16 bits")
    if marker.isdigit():
        faults.poison(int(code), nth=_number(marker))
    else:
        faults.poison(int(code), marker=marker)


def _hand_over(faults: Faults, _: str) -> None:
    faults.hand_over_sessions()


def _forget_sessions(faults: Faults, _: str) -> None:
    faults.forget_sessions()


def _inject(faults: Faults, text: str) -> None:
    code, *rest = text.split(",")
    if not code:
        raise ValueError("an error code is needed")
    probability = float(rest[0]) if rest else 1.0
    if not 0 < probability <= 1:
        raise ValueError("the probability must be above 0 and at most 1")
    faults.inject_error(code, times=None, probability=probability)


def _refusal(text: str) -> tuple[int, float | None, int | None]:
    status, *rest = text.split(",")
    times = _times(rest[0]) if rest else 1
    return int(status), parse_duration(rest[1]) if len(rest) > 1 else None, times


def _reject(faults: Faults, text: str) -> None:
    faults.reject_upgrades(*_refusal(text))


def _reject_posts(faults: Faults, text: str) -> None:
    faults.reject_posts(*_refusal(text))


def _giant(faults: Faults, text: str) -> None:
    size, _, times = text.partition(",")
    faults.giant_result(_number(size), _times(times or "1"))


def _merge(faults: Faults, text: str) -> None:
    limit, _, window = text.partition(",")
    faults.merge(_number(limit or "1000"), parse_duration(window) if window else 0.0)


_Order = Callable[[Faults, str], None]
_ORDERS: dict[str, tuple[str, _Order]] = {
    "cut": ("cut, cut=1001 (close code), cut=reset or cut=mid-frame: once, now", _cut),
    "cut-every": ("cut-every=1s or cut-every=1s,0.5 (jitter)", _cut_every),
    "cut-after-results": ("cut-after-results=100 or =100,always", _cut_after("results")),
    "cut-after-frames": ("cut-after-frames=100 or =100,always", _cut_after("frames")),
    "cut-after-deltas": ("cut-after-deltas=3 or =3,always", _cut_after("deltas")),
    "lose-results": (
        "lose-results or lose-results=50ms (window)",
        lambda f, t: f.lose_results_on_cut(True, _window(t)),
    ),
    "lose-requests": (
        "lose-requests or lose-requests=50ms (window)",
        lambda f, t: f.lose_requests_on_cut(True, _window(t)),
    ),
    "blackhole": (
        "blackhole, blackhole=hold or blackhole=drop,pings (or ,bytes: what comes all the same)",
        _blackhole,
    ),
    "stall": ("stall=2s: nothing is read meanwhile", lambda f, t: f.stall(parse_duration(t))),
    "fail-questions": (
        "fail-questions=CODE or =CODE,getResponse,untyped,5s (each may be missing)",
        _fail_questions,
    ),
    "deny-archive": ("deny-archive or deny-archive=5s", lambda f, t: f.deny_archive(_window(t))),
    "poison": ("poison=1008,TEXT (in the prompt) or poison=1007,5 (the fifth task)", _poison),
    "hand-over-sessions": ("hand-over-sessions: somebody else gets what they keep", _hand_over),
    "heal": ("heal: end every fault that goes on, now", lambda f, _: f.heal()),
    "revoke-keys": ("revoke-keys: refuse every key from now on", lambda f, _: f.revoke_all_keys()),
    "forget-sessions": (
        "forget-sessions: all that are known now",
        _forget_sessions,
    ),
    "refuse-sessions": ("refuse-sessions", lambda f, t: f.refuse_sessions(_switch(t))),
    "duplicate-replay": ("duplicate-replay", lambda f, t: f.duplicate_replay(_switch(t))),
    "duplicate-results": ("duplicate-results", lambda f, t: f.duplicate_results(_switch(t))),
    "shuffle": ("shuffle", lambda f, t: f.shuffle(_switch(t))),
    "split": ("split", lambda f, _: f.split()),
    "merge": ("merge, merge=100 or merge=100,5ms (window)", _merge),
    "inject-error": ("inject-error=CODE or inject-error=CODE,0.1 (probability)", _inject),
    "reject-upgrades": ("reject-upgrades=503,3,2s (status, times, Retry-After)", _reject),
    "reject-posts": ("reject-posts=429,3,2s (status, times, Retry-After)", _reject_posts),
    "ignore-auth": ("ignore-auth or ignore-auth=2", lambda f, t: f.ignore_auth(_times(t))),
    "delay-auth": ("delay-auth=2s", lambda f, t: f.delay_auth(parse_duration(t))),
    "close-before-auth-reply": (
        "close-before-auth-reply or =2",
        lambda f, t: f.close_before_auth_reply(_times(t)),
    ),
    "die-during-replay": (
        "die-during-replay=3 (items)",
        lambda f, t: f.die_during_replay(_number(t or "1", 0), None),
    ),
    "drop-requests": ("drop-requests or drop-requests=5", lambda f, t: f.drop_requests(_times(t))),
    "giant-result": ("giant-result=1000000 or =1000000,always", _giant),
    "break-uniqueness": ("break-uniqueness", lambda f, t: f.break_uniqueness(_switch(t))),
}

KNOWN_ORDERS: dict[str, str] = {name: usage for name, (usage, _) in _ORDERS.items()}
"""Each order's name, and how to write it."""


def apply_fault_order(faults: Faults, text: str) -> None:
    """Give one order in text form, such as ``"cut-every=1s"``. See :data:`KNOWN_ORDERS`.

    Raises:
        ValueError: the order is unknown, or its value makes no sense.
    """
    name, _, value = text.strip().partition("=")
    known = _ORDERS.get(name.strip())
    if known is None:
        names = ", ".join(sorted(_ORDERS))
        raise ValueError(f"unknown fault {text!r}; known are: {names}")
    usage, order = known
    try:
        order(faults, value.strip())
    except ValueError as exc:
        raise ValueError(f"bad fault {text!r} ({exc}); write it like {usage}") from exc


class _NoTime(Timers):
    """Appointments that nobody keeps, for orders that are only looked at."""

    def now(self) -> float:
        return 0.0

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        return Timer(action)


def check_fault_order(text: str) -> None:
    """Look at one order without giving it. No event loop is needed.

    Raises:
        ValueError: as :func:`apply_fault_order`.
    """
    nowhere = Faults(
        random.Random(0),
        sockets=(),
        sessions=SessionStore(),
        keys=KeyRing(None),
        timers=_NoTime(),
        stats=Stats(),
    )
    apply_fault_order(nowhere, text)
