"""What one TCP connection has written, which decides when an order to cut it is due."""

from __future__ import annotations

from collections.abc import Sequence

from .faults import CutOrder
from .state import ServerState
from .units import Kind, Unit

__all__ = ["Written"]


class Written:
    """Counts results, frames and deltas, from zero or from :meth:`restart` on."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._results = 0
        self._frames = 0
        self._deltas = 0

    def count(self, units: Sequence[Unit], *, replay: bool) -> None:
        """Count what one frame carries, or one event of a stream over HTTP."""
        stats = self._state.stats
        stats.frames_out += 1
        self._frames += 1
        for unit in units:
            kind = unit.kind
            if kind is Kind.RESULT:
                self._results += 1
            if kind is Kind.CONTROL or kind is Kind.ANSWER:
                continue
            if kind is Kind.DELTA:
                self._deltas += 1
                stats.deltas_sent += 1
            elif replay:
                stats.replayed += 1
            elif kind is Kind.RESULT:
                stats.results_sent += 1
            elif kind is Kind.ERROR:
                stats.errors_sent += 1
            else:
                stats.acks_sent += 1

    def cut_due(self) -> CutOrder | None:
        """The order that ends this connection now, for what it has written."""
        return self._state.faults.cut_due(self._results, self._frames, self._deltas)

    def restart(self) -> None:
        """Count from zero again."""
        self._results = self._frames = self._deltas = 0
