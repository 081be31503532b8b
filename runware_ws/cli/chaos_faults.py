"""The faults of the chaos run, and the choices that the server may make meanwhile."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from runware_ws.emulator import EmulatorOptions

__all__ = ["CHOICES", "FAULTS", "Fault", "choice_rows", "choose", "differing", "find_faults"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    ``orders`` are given before the first task. The first of ``steps`` follows after one pause, and
    the next ones every so many seconds (``None``: after a pause each), ``times`` in all, ``None``
    for ever; ``{half}`` in them stands for half a pause. ``proof`` names
    counters, of the emulator or of the client, that are above 0 once it struck. ``client`` are
    options of the client, and ``server`` choices of the emulator, that it needs. ``longer``: so
    many times longer than usual may a task take. ``ends_client``: every task without an answer must
    end with ``AuthenticationError``.
    """

    name: str
    does: str
    expect: str
    orders: tuple[str, ...] = ()
    steps: tuple[tuple[str, ...], ...] = ()
    every: float | None = None
    times: int | None = None
    proof: tuple[str, ...] = ()
    client: Mapping[str, Any] = field(default_factory=dict[str, Any])
    server: Mapping[str, Any] = field(default_factory=dict[str, Any])
    longer: int = 1
    ends_client: bool = False


_WHOLE = "each task answered once, by its own answer; run once"

FAULTS: tuple[Fault, ...] = (
    Fault("calm", "nothing", _WHOLE),
    Fault(
        "abort",
        "TCP ends without a close frame, in mid-frame, or with a reset",
        _WHOLE,
        steps=(("cut",), ("cut=mid-frame",), ("cut=reset",)),
        proof=("cuts", "resumes"),
    ),
    Fault(
        "close-1001",
        "the server goes away with close code 1001",
        _WHOLE,
        steps=(("cut=1001",),),
        proof=("cuts", "resumes"),
    ),
    Fault(
        "blackhole",
        "TCP stays open, and nothing comes or goes but pings or single bytes",
        f"the dead peer is found; {_WHOLE}",
        steps=(
            ("blackhole=drop,pings",),
            ("heal",),
            ("blackhole=hold",),
            ("heal",),
            ("blackhole=drop,bytes",),
            ("heal",),
            # Never two in a row that break what is dialled in them: a third dial waits for long.
            ("blackhole=hold",),
            ("heal",),
        ),
        # Longer than it takes to find the dead peer: two pings' times, and half a second.
        every=2.0,
        proof=("resumes", "client_pings"),
        client={"ping_after": 0.3, "ping_timeout": 0.3, "open_timeout": 5.0},
    ),
    Fault(
        "results-lost",
        "a dying socket swallows results for good: they are in the archive alone",
        _WHOLE,
        orders=("lose-results",),
        steps=(("cut",),),
        proof=("cuts", "lost_results", "archive_questions"),
    ),
    Fault(
        "requests-lost",
        "a dying socket swallows requests: the server never had them",
        _WHOLE,
        orders=("lose-requests",),
        steps=(("cut",),),
        proof=("cuts", "lost_requests", "resends"),
        # Were results lost as well, no task would end while the socket dies, and none be sent.
        server={"dying_results": "buffered"},
    ),
    Fault(
        "doubled",
        "every result comes twice, live and replayed, and the wire is cut",
        _WHOLE,
        orders=("duplicate-results", "duplicate-replay"),
        steps=(("cut",),),
        proof=("cuts", "duplicates"),
    ),
    Fault(
        "forgotten",
        "the server forgets its sessions and what they kept, and cuts the wire",
        f"SessionLost; {_WHOLE}",
        steps=(("forget-sessions", "cut"),),
        proof=("cuts", "resumes_refused", "sessions_lost"),
    ),
    Fault(
        "handed-over",
        "somebody else gets what a session kept while the wire was cut",
        _WHOLE,
        steps=(("hand-over-sessions", "cut"),),
        proof=("cuts", "handed_over", "archive_questions"),
        # Where results come again, or die, there may be nothing to keep.
        server={"dying_results": "buffered"},
    ),
    Fault(
        "stalled",
        "nothing is read for a while, and the wire is cut meanwhile",
        _WHOLE,
        steps=(("stall=150ms",), ("cut",), (), (), (), ()),
        every=0.1,
        proof=("cuts", "resumes"),
        # A lost request is sent again after 20 s, and the copy may be lost as well; and where every
        # other dial is cut, too, the backoff may take as long once or twice.
        longer=2,
    ),
    Fault(
        "questions-fail",
        "a dying socket swallows results, and questions fail for a while",
        _WHOLE,
        orders=("lose-results",),
        steps=(
            ("cut", "fail-questions=providerUnavailable,untyped,{half}"),
            ("cut", "fail-questions=invalidRequest,getResponse,{half}", "deny-archive={half}"),
        ),
        proof=("cuts", "lost_results", "failed_questions"),
    ),
    Fault(
        "key-revoked",
        "the key is revoked, and the wire is cut",
        "AuthenticationError for all that is open; no dial loop; nothing hangs or runs twice",
        steps=(("revoke-keys", "cut"),),
        times=1,
        proof=("cuts", "refused"),
        ends_client=True,
    ),
)


def find_faults(names: str) -> tuple[Fault, ...]:
    """The faults of ``"all"`` or of ``"name,name"``, in the order of :data:`FAULTS`.

    Raises:
        ValueError: a name is unknown.
    """
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    known = {fault.name for fault in FAULTS}
    if not wanted or wanted - known - {"all"}:
        raise ValueError(f"must be all, or some of {','.join(fault.name for fault in FAULTS)}")
    return tuple(fault for fault in FAULTS if "all" in wanted or fault.name in wanted)


CHOICES: dict[str, tuple[Any, ...]] = {
    "unknown_session": ("new", "error"),
    "resumed_session": ("same", "new", "none"),
    "replay": ("after-auth", "before-auth"),
    "replay_framing": ("single", "batched"),
    "buffer_acks": (True, False),
    "buffer_answers": (False, True),
    "dying_results": ("buffered", "lost"),
    "dying_requests": ("received", "lost", "late"),
    "bad_key": ("errors", "error", "error-list", "legacy"),
    "close_after_refusal": (True, False),
    "refusal_close_code": (1008, None),
    "registration_delay": (0.0, 0.1),
    "unregistered_copies": ("conflict", "run"),
    "repeated_uuid": ("conflict", "result"),
    "busy_copies": (None, "rateLimitExceeded"),
    "before_auth": (None, "insufficientCredits"),
    "ack_fields": ("bare", "status", "all"),
    "ack_copies": (1, 2),
    "sync_notes": (False, True),
    "answer_type": ("question", "task", "none"),
    "poll_sync_tasks": (True, False),
    "poll_unknown": ("error", "empty"),
    "poll_running": ("processing", "unknown", "empty"),
    "poll_errors": ("data", "errors"),
    "details_unknown": ("error", "empty"),
    "details_type": ("question", "task", "none"),
    "details_while_running": ("not-found", "processing", "status"),
    "failing_question": (None, "getResponse", "getTaskDetails"),
    "question_error": ("internalServerError", "insufficientCredits", "invalidRequest"),
    "question_error_typed": (True, False),
    "question_errors": (1, 2),
    "archive_lag": (0.0, 0.2),
    "archive_array": (False, True),
    "archive_keeps": ("nothing", "while-running", "for-good"),
    "archive_field": (None, "createdAt"),
    "results_framing": ("separate", "together"),
    "result_index": ("many", "always", "never"),
    "shuffle": (False, True),
    "merge_limit": (1, 50),
    "error_spelling": ("errors", "error", "error-list"),
    "upper_uuids": (False, True),
    "null_fields": (False, True),
}
"""What nobody outside can know about the server: each thing, and all it may do.

Not ``answers_joined``: an empty answer to many questions says of each only what two quiet seconds
behind it confirm, and no socket lives that long here. Nor ``nameless_denials``: where items are
merged, many of them in one frame say as little. Nor ``mute_question``: the client gives up a
way that is silent only after as many seconds. Nor ``archive_pieces``: nothing is streamed here.
"""


def choice_rows(seed: int = 1) -> list[dict[str, Any]]:
    """Rows of choices such that any two values of two choices occur together in some row.

    The first row has the documented, or the most likely, behaviour.
    """
    rng = random.Random(seed)
    pairs = {
        ((a, one), (b, other))
        for a, b in combinations(CHOICES, 2)
        for one in range(len(CHOICES[a]))
        for other in range(len(CHOICES[b]))
    }
    rows: list[dict[str, int]] = []
    row = dict.fromkeys(CHOICES, 0)
    while pairs:
        pairs -= _pairs_of(row)
        rows.append(row)
        drawn = [_drawn(rng, pairs) for _ in range(40)] if pairs else []
        row = max(drawn, key=lambda each: len(_pairs_of(each) & pairs), default=row)
    return [{name: CHOICES[name][value] for name, value in row.items()} for row in rows]


_Pair = tuple[tuple[str, int], tuple[str, int]]


def _pairs_of(row: Mapping[str, int]) -> set[_Pair]:
    return set(combinations(((name, row[name]) for name in CHOICES), 2))


def _drawn(rng: random.Random, pairs: set[_Pair]) -> dict[str, int]:
    """A row that has at least one of the pairs: begun with it, then filled choice by choice."""
    row = dict(rng.choice(sorted(pairs)))
    names = [name for name in CHOICES if name not in row]
    rng.shuffle(names)
    for name in names:
        values = list(range(len(CHOICES[name])))
        rng.shuffle(values)
        row[name] = max(values, key=lambda value: _gain(row, name, value, pairs))
    return row


def _gain(row: Mapping[str, int], name: str, value: int, pairs: set[_Pair]) -> int:
    mine = (name, value)
    return sum(((other, mine) in pairs) or ((mine, other) in pairs) for other in row.items())


def choose(row: Mapping[str, Any]) -> EmulatorOptions:
    """The emulator's options for a row of choices."""
    return replace(EmulatorOptions(), **row)


def differing(row: Mapping[str, Any]) -> str:
    """How a row differs from the first one, for people."""
    usual = {name: values[0] for name, values in CHOICES.items()}
    return " ".join(f"{name}={value}" for name, value in row.items() if value != usual[name])
