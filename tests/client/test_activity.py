"""What a socket counts as a sign that its peer is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from runware_ws._io.transport.common import LARGE, WebSocketTransport


class Outgoing(WebSocketTransport):
    """A transport whose peer takes what a test says."""

    sent = backlog = 0

    def __init__(self) -> None:
        protocol = SimpleNamespace(reader=SimpleNamespace(buffer=b""))
        super().__init__(
            cast(Any, SimpleNamespace(inbox=SimpleNamespace(arrived=0), protocol=protocol))
        )

    def outgoing(self) -> tuple[int, int]:
        return self.sent, self.backlog

    def goes(self, size: int) -> int:
        """So many bytes are taken; return how much activity that is."""
        before = self.activity()
        self.sent += size
        self.backlog -= size
        return self.activity() - before


def test_what_the_peer_takes_of_a_large_message_counts_to_its_end() -> None:
    transport = Outgoing()
    transport.backlog = LARGE + 5_000
    while transport.backlog > 4_000:
        assert transport.goes(4_000) == 4_000
    assert transport.goes(transport.backlog) > 0
    # Of a small message the peer's host takes everything, though the peer is dead.
    transport.backlog = LARGE - 1
    assert transport.goes(LARGE - 1) == 0
