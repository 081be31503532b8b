"""A pace at which a run under a fault takes a second or two."""

from __future__ import annotations

import tenacity

from runware_ws.cli.chaos_run import ChaosPace

QUICK = ChaosPace(
    latency="20ms-120ms",
    pause=0.2,
    timeout=16.0,
    client={
        "replay_grace": 0.1,
        "resend_after": 0.3,
        "poll_first": 0.05,
        "backoff": tenacity.wait_random(0, 0.1),
        "proxy": None,
    },
)
"""Everything about five times faster than the defaults; the proportions are theirs."""
