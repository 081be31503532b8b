"""When a replay is over. The server does not say, so silence decides."""

from __future__ import annotations

from runware_ws._core.context import Context
from runware_ws._core.states import FOREVER
from runware_ws.events import SessionResumed

__all__ = ["Replay"]

LONGEST = 5.0
"""A replay that still goes on after this many seconds no longer holds back questions."""


class Replay:
    """Counts what a resumed session brings back, until it has been quiet for ``replay_grace``."""

    def __init__(self, out: Context) -> None:
        self._out = out
        self._grace = out.options.replay_grace
        self._session_uuid = ""
        self._awaited = 0
        self._replayed = 0
        self._latest = FOREVER
        self.ends = FOREVER

    @property
    def flowing(self) -> bool:
        """Whether more may come by itself, so that questions should wait."""
        return self.ends != FOREVER

    def may_bring(self, at: float) -> bool:
        """Whether old answers may have come joined with those to a question of this time."""
        return at < self._latest

    def socket(self, now: float) -> None:
        """A socket is ready. A server that gives its session another name may replay, too."""
        self._latest = now + max(LONGEST, self._grace)

    def begin(self, session_uuid: str, awaited: int, now: float) -> None:
        """A session was resumed; ``awaited`` tasks may be answered by its replay."""
        self._session_uuid = session_uuid
        self._awaited = awaited
        self.ends = now + self._grace
        if not awaited:
            self.end(now)

    def early(self) -> None:
        """A task was answered before the reply to our authentication came."""
        self._replayed += 1

    def settled(self, now: float, *, answered: bool) -> None:
        """A task from before the cut ended during the replay."""
        self._replayed += answered
        self._awaited -= 1
        if self._awaited <= 0:
            self.end(now)
        else:
            self.ends = max(self.ends, min(now + self._grace, self._latest))

    def end(self, now: float) -> None:
        """It is over: report it."""
        self.ends = FOREVER
        self._out.rearm = True
        self._out.emit(
            SessionResumed(at=now, session_uuid=self._session_uuid, replayed=self._replayed)
        )

    def stop(self, now: float) -> None:
        """The socket is gone."""
        if self.flowing:
            self.end(now)
        self._replayed = 0
