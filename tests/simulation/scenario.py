"""A run, drawn from its seed: options, a kind of server, actions of the client, faults.

Every random choice about a task or a fault is made here and kept in its
action, so that a run can be made smaller by leaving actions out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tests.simulation.small import draw_small
from tests.simulation.streams import draw_stream
from tests.simulation.traits import STRAYS, TROUBLE, Plan, Traits, draw_traits

__all__ = ["CALM", "RETRIES", "Action", "Fault", "Scenario", "draw"]

CALM = 75.0
"""Seconds after the start: no fault is at work any more."""

LONGEST = 40.0


@dataclass(frozen=True, slots=True)
class Action:
    """What the program around the client does ``at`` seconds after the start.

    ``what``: the carrier of a stream, the source of a map.
    """

    at: float
    kind: str
    plans: tuple[Plan, ...] = ()
    timeout: float | None = None
    cancel_after: float | None = None
    number: int = 0
    what: str = ""

    def __str__(self) -> str:
        parts = [self.kind, self.what, *(plan.uuid[:8] for plan in self.plans)]
        if self.plans:
            parts.append(f"timeout={self.timeout}")
        if self.cancel_after is not None:
            parts.append(f"cancelled after {self.cancel_after:.3f}")
        if self.number:
            parts.append(f"number={self.number}")
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong ``at`` seconds after the start, for ``lasts`` seconds."""

    at: float
    kind: str
    lasts: float = 0.0
    value: float = 0.0
    what: str = ""

    def __str__(self) -> str:
        parts = [self.kind, self.what, f"value={self.value:.6g}" if self.value else ""]
        parts.append(f"for {self.lasts:.3f} s" if self.lasts else "")
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Scenario:
    """One run."""

    seed: int
    options: dict[str, Any]
    traits: Traits
    actions: tuple[Action, ...]
    faults: tuple[Fault, ...]
    key: str = "fixed"
    quick_backoff: bool = False
    latency: float = 0.02
    plans: dict[str, Plan] = field(default_factory=dict[str, Plan])
    small: dict[str, int] = field(default_factory=dict[str, int])
    """Constants of the client that are small in this run."""

    @property
    def suspends(self) -> bool:
        """Whether the clock jumps while nobody runs."""
        return any(fault.kind == "suspend" for fault in self.faults) or any(
            action.what == "blocks" for action in self.actions
        )


class _Uuids:
    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def __call__(self) -> str:
        text = f"{self._rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


CODES = (
    "inferenceError",
    "contentPolicyViolation",
    "invalidSeed",
    "providerTimeout",
    "rateLimitExceeded",
    "insufficientCredits",
    "internalServerError",
)


SCALES = (0.0, 0.1, 1.0, 3.0, 10.0, LONGEST)
SYNC = ("list", "generator", "raises", "blocks", "endless")
ASYNC = ("async", "async-sleeps", "async-raises", "async-cancels", "async-hangs", "async-endless")
SOURCES = (*SYNC, *ASYNC)
READERS = ("stream", "stream", "stream-result", "stream-left", "stream-slow", "stream-cancelled")
CARRIERS = ("socket", "sse", "auto")


def _plan(rng: Random, uuid: str, *, big: bool) -> Plan:
    number = rng.choice((1, 1, 1, 1, 2, 3, 4))
    scale = rng.choice(SCALES)
    indexed = rng.random() < 0.7
    return Plan(
        uuid=uuid,
        number=number,
        delivery="async" if rng.random() < 0.25 else "sync",
        register=rng.choice((0.0, 0.2 * rng.random(), rng.random(), 1.0)),
        takes=tuple(scale * rng.random() for _ in range(number)),
        ends=rng.choice(("ok",) * 8 + ("error", "partial")),
        code=rng.choice(CODES),
        loses=rng.random() < 0.03,
        doubles=rng.random() < 0.05,
        indexed=indexed,
        joined=rng.random() < 0.4,
        twins=not indexed and number > 1 and rng.random() < 0.3,
        anonymous=rng.random() < 0.1,
        padding=rng.choice((0, 0, 0, 5000)) if big else 0,
        size=rng.choice((0, 0, 200, 3000, 7000)) if big else 0,
    )


def _streamed(rng: Random, uuid: str) -> Plan:
    """A task whose answer is read as it is made."""
    scale = rng.choice(SCALES)
    return Plan(
        uuid=uuid,
        delivery="stream",
        register=rng.choice((0.0, 0.2 * rng.random(), rng.random(), 1.0)),
        ends=rng.choice(("ok",) * 9 + ("error",)),
        code=rng.choice(CODES),
        loses=rng.random() < 0.03,
        doubles=rng.random() < 0.05,
        joined=rng.random() < 0.3,
        anonymous=rng.random() < 0.1,
        stream=draw_stream(rng, uuid, scale),
    )


def _timeout(rng: Random, plan: Plan, *, certain: bool) -> float | None:
    endless = plan.stream is not None and plan.stream.last == "unmarked"
    certain = certain and not (plan.loses or plan.anonymous or plan.twins or endless)
    if certain and rng.random() < 0.2:
        return None
    return round(rng.choice((0.5, 3.0, 10.0, 30.0, 60.0, 120.0)) * (0.5 + rng.random()), 3)


def _streams(rng: Random, uuids: _Uuids, span: float, *, certain: bool) -> list[Action]:
    actions: list[Action] = []
    for _ in range(rng.choice((0, 0, 1, 3, 8))):
        plan, kind = _streamed(rng, uuids()), rng.choice(READERS)
        cancel = None
        if kind == "stream" and rng.random() < 0.15:
            cancel = rng.choice((0.0, 0.05, 1.0, 20.0)) * rng.random()
        at, number = span * rng.random(), rng.choice((0, 1, 2, 3, 5, 7))
        timeout = _timeout(rng, plan, certain=certain)
        actions.append(Action(at, kind, (plan,), timeout, cancel, number, rng.choice(CARRIERS)))
    return actions


def _map(rng: Random, uuids: _Uuids, span: float, *, big: bool) -> Action:
    plans = tuple(_plan(rng, uuids(), big=big) for _ in range(rng.randint(2, 12)))
    what = rng.choice(SOURCES)
    leave = rng.randint(1, len(plans)) if rng.random() < 0.5 else 0
    if what.endswith("endless"):
        leave = len(plans) + rng.randint(1, 10)
    timeout = rng.choice((5.0, 40.0, 90.0))
    at, concurrency = span * rng.random(), rng.randint(1, 8)
    return Action(at, "map", plans, timeout, float(leave) or None, concurrency, what)


def _actions(rng: Random, *, certain: bool, big: bool) -> list[Action]:
    uuids = _Uuids(rng)
    actions: list[Action] = []
    span = rng.choice((1.0, 20.0, 60.0))
    for _ in range(rng.choice((1, 2, 6, 12, 20))):
        at = span * rng.random()
        plan = _plan(rng, uuids(), big=big)
        kind = rng.choice(("run", "run", "submit", "iterate"))
        cancel = None
        if rng.random() < 0.12:
            cancel = rng.choice((0.0, 0.05, 1.0, 20.0)) * rng.random()
        actions.append(Action(at, kind, (plan,), _timeout(rng, plan, certain=certain), cancel))
    actions += _streams(rng, uuids, span, certain=certain)
    if rng.random() < 0.35:
        actions.append(_map(rng, uuids, span, big=big))
    if rng.random() < 0.3:
        streamed = rng.random() < 0.5
        plan = _streamed(rng, uuids()) if streamed else _plan(rng, uuids(), big=big)
        soon = rng.choice((0.3, 1.0, 5.0))
        at, number = span * rng.random(), rng.randint(0, 9)
        carrier = rng.choice(CARRIERS) if streamed else ""
        actions.append(Action(at, "retry", (plan,), soon, None, number, carrier))
    for kind, chance in (("reuse", 0.3), ("claim", 0.3), ("ghost", 0.6), ("ghost", 0.6)):
        if rng.random() < chance:
            actions.append(Action(CALM * rng.random(), kind, number=rng.randint(0, 9)))
    if rng.random() < 0.2:
        limit = rng.choice((None, 0.0, 5.0, 40.0))
        for _ in range(rng.choice((1, 1, 2))):
            at = CALM * rng.random()
            actions.append(Action(at, "drain", timeout=limit))
    if rng.random() < 0.12:
        for _ in range(rng.choice((1, 1, 2))):
            at = CALM * rng.random()
            actions.append(Action(at, "close"))
    return actions


CLOSE_CODES = (1000, 1001, 1005, 1006, 1008, 1011, 1012, 1013, 1002, 4000)
REFUSALS = ("oserror", "oserror", "429", "503", "500")
FATAL = ("401", "403", "tls", "407")
GARBAGE = (
    "not json",
    "array",
    "deep",
    "binary",
    "giant",
    "foreign",
    "stray error",
    "echo",
    "nothing",
    "odd items",
    "late pong",
)
HTTP_WINDOWED = ("unreachable", "unreachable", "status", "status", "silent")
WINDOWED = ("refuse", "refuse", "hang", "stall", "lag-up", "lag-down", "mute-pong", "mute-auth")


def _fault(rng: Random) -> Fault:
    at = CALM * 0.85 * rng.random()
    kind = rng.choice(
        ("cut",) * 8
        + ("close",) * 2
        + ("freeze",) * 2
        + ("trap",) * 3
        + ("garbage",) * 3
        + WINDOWED
        + (
            "forget",
            "suspend",
            "refuse-key",
            "lag-resend",
            "busy-auth",
            "rotate",
            "break-key",
            "cut-burst",
        )
        + ("cut-post",) * 6
        + ("cut-posts",)
        + HTTP_WINDOWED
    )
    lasts = min(rng.choice((0.3, 3.0, 12.0, 30.0)) * rng.random(), CALM - at)
    value, what = rng.random(), ""
    if kind == "close":
        value = float(rng.choice(CLOSE_CODES))
        if value in (1008, 1002) and rng.random() < 0.6:
            value = 1006.0
    elif kind == "freeze":
        what = rng.choice(("both", "down", "up"))
    elif kind == "trap":
        what = rng.choice(("replay", "auth", "send", "question"))
    elif kind == "garbage":
        what = rng.choice(GARBAGE)
    elif kind == "refuse":
        what = rng.choice(REFUSALS if rng.random() < 0.6 else FATAL)
    elif kind == "status":
        what = rng.choice(("429", "500", "501", "503", "503") if value < 0.9 else ("401",))
    elif kind in ("lag-up", "lag-down"):
        value = rng.choice((0.5, 2.0, 8.0, 12.0)) * rng.random()
    elif kind == "suspend":
        value = rng.choice((0.4, 5.0, 25.0, 150.0)) * rng.random()
    elif kind == "refuse-key":
        value = float(rng.choice((1, 1, 1, 2, 5)))
    return Fault(at, kind, lasts, value, what)


def _options(rng: Random, *, big: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "batch_tasks": rng.choice((1, 3, 64)),
        "batch_bytes": rng.choice((300, 64 * 1024)),
        "max_in_flight": rng.choice((1, 3, 10_000, 10_000)),
        "resubmit": rng.choice(("same-uuid", "same-uuid", "never")),
        "question_window": rng.choice((1, 2, 256, 256)),
        "question_timeout": rng.choice((4.0, 10.0)),
        "question_backoff_cap": rng.choice((4.0, 30.0)),
        "open_timeout": rng.choice((4.0, 15.0)),
        "close_timeout": rng.choice((0.5, 5.0)),
        "ping_after": rng.choice((3.0, 10.0)),
        "ping_timeout": rng.choice((3.0, 9.0)),
        "keepalive": rng.choice((15.0, 60.0)),
        "retry_after_cap": rng.choice((10.0, 300.0)),
        "replay_grace": rng.choice((0.0, 0.5, 0.5)),
        "claim_limit": rng.choice((1, 1000)),
        "event_buffer": rng.choice((2, 1024)),
    }
    if big and rng.random() < 0.5:
        options["max_frame_bytes"] = 4000
    return options


@dataclass(frozen=True, slots=True)
class _Odds:
    """How likely a kind of fault is in a run, how long it may last, and what it may be."""

    chance: float
    lasts: tuple[float, ...] = (0.0,)
    whats: tuple[str, ...] = ("",)


MORE_FAULTS: dict[str, _Odds] = {
    "unread": _Odds(0.3, (0.4, 2.0, 4.0, 4.0), ("", "request", "request", "request")),
    "fail-questions": _Odds(0.25, (3.0, 12.0, 30.0), TROUBLE),
    "stray": _Odds(0.25, whats=("notice", "long", *STRAYS)),
    "undead": _Odds(0.15, whats=("pings", "bytes")),
    "usurp": _Odds(0.15),
    "cancel-key": _Odds(0.08, (0.3, 3.0, 12.0)),
    "hang-key": _Odds(0.08, (0.3, 3.0, 12.0)),
    "archive-denies": _Odds(0.2, (3.0, 12.0, 60.0)),
}
"""Faults that are drawn from streams of their own."""


def _more_faults(seed: int, without: Collection[str]) -> list[Fault]:
    faults: list[Fault] = []
    for kind, odds in MORE_FAULTS.items():
        rng = Random(f"{seed} {kind}")
        while rng.random() < odds.chance and kind not in without:
            at = CALM * 0.85 * rng.random()
            lasts = min(rng.choice(odds.lasts) * (0.1 + 0.9 * rng.random()), CALM - at)
            faults.append(Fault(at, kind, lasts, rng.random(), rng.choice(odds.whats)))
    return faults


RETRIES = ("socket, run", "socket, poll") * 2 + (
    "sse, run",
    "run, socket",
    "poll, socket",
    "socket, socket",
    "sse, auto",
)
"""By which ways a stream is tried twice."""


def _second_tries(seed: int) -> list[Action]:
    rng = Random(f"{seed} second tries")
    uuids, actions = _Uuids(rng), list[Action]()
    while rng.random() < 0.4:
        plan = _streamed(rng, uuids())
        plan = replace(plan, stream=draw_stream(rng, plan.uuid, rng.choice((1.0, 10.0, LONGEST))))
        soon, number = rng.choice((0.3, 1.0, 5.0, 20.0)), rng.randint(0, 3)
        at, what = CALM * 0.8 * rng.random(), rng.choice(RETRIES)
        actions.append(Action(at, "retry-stream", (plan,), soon, None, number, what))
    return actions


LISTENERS = {"eager": None, "slow": 2.0, "still": 40.0}
"""Readers of events, and how long they stand still, in seconds."""


def _listeners(seed: int) -> list[Action]:
    rng = Random(f"{seed} events")
    actions: list[Action] = []
    while rng.random() < 0.25:
        what = rng.choice(tuple(LISTENERS))
        number, timeout = rng.choice((1, 5, 1000)), 60.0 * rng.random()
        at = CALM * 0.6 * rng.random()
        actions.append(Action(at, "events", (), timeout, LISTENERS[what], number, what))
    return actions


def _bounds(seed: int) -> dict[str, Any]:
    """Limits in bytes that a few tasks reach."""
    rng = Random(f"{seed} bounds")
    return {
        "claim_bytes": rng.choice((400, 3_000, *(1 << 24,) * 4)),
        "max_in_flight_bytes": rng.choice((600, 1 << 28, 1 << 28)),
        "max_posts": rng.choice((1, 2, 1_000, 1_000)),
    }


POISONED = 0.05


def _poisoned(seed: int, actions: list[Action]) -> list[Action]:
    """In a few runs the server chokes on one of the requests."""
    rng = Random(f"{seed} poison")
    tasks = [each for each in actions if each.kind in ("run", "submit") and each.timeout]
    if rng.random() >= POISONED or not tasks:
        return actions
    chosen, code = rng.choice(tasks), rng.choice((1007, 1008))
    plans = tuple(replace(plan, poison=code) for plan in chosen.plans)
    return [replace(each, plans=plans) if each is chosen else each for each in actions]


def draw(seed: int, *, without: Collection[str] = ()) -> Scenario:
    """The run of this seed. ``without``: names of traits and kinds of faults that stay out."""
    rng = Random(seed)
    traits = draw_traits(rng, seed, without=without)
    big = traits.limit_in is not None or traits.limit_out is not None or rng.random() < 0.06
    options = _options(rng, big=big)
    if "bounds" not in without:
        options.update(_bounds(seed))
    certain = (
        traits.reliable
        and not traits.anonymous_conflicts
        and options["resubmit"] == "same-uuid"
        and "max_frame_bytes" not in options
    )
    actions = sorted(_actions(rng, certain=certain, big=big), key=lambda action: action.at)
    if "second tries" not in without:
        actions = sorted(actions + _second_tries(seed), key=lambda action: action.at)
    if "events" not in without:
        actions = sorted(actions + _listeners(seed), key=lambda action: action.at)
    if "poison" not in without:
        actions = _poisoned(seed, actions)
    faults = [_fault(rng) for _ in range(rng.choice((0, 1, 2, 4, 8, 14)))]
    faults += _more_faults(seed, without)
    return Scenario(
        seed=seed,
        options=options,
        traits=traits,
        actions=tuple(actions),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        key=rng.choice(("fixed", "fetched", "fetched-async")),
        quick_backoff=rng.random() < 0.5,
        latency=rng.choice((0.0, 0.01, 0.05, 0.2)),
        plans={plan.uuid: plan for action in actions for plan in action.plans},
        small=draw_small(seed, without=without),
    )
