"""Readers of ``client.events()``: eager, slow, standing still, gone early."""

from __future__ import annotations

import anyio

from runware_ws.errors import RunwareError
from runware_ws.events import SlowConsumer
from tests.simulation.program import Program
from tests.simulation.scenario import Action

__all__ = ["Listeners"]


class Listeners:
    """The action ``events``: reads ``number`` events, and stands still behind the first."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def events(self, action: Action) -> None:
        """Each event comes once and in order, or is counted as dropped; the rest is bounded."""
        program, watch = self._program, self._program.watch
        try:
            stream = program.client.events()
        except RunwareError:
            return
        before, came, dropped, at = watch.told, 0, 0, 0.0
        with anyio.move_on_after(action.timeout):
            async for event in stream:
                if isinstance(event, SlowConsumer):
                    program.story.count("events dropped")
                    dropped += event.dropped
                    continue
                came += 1
                if event.at < at:
                    watch.fail("I15: an event came behind a later one")
                at = event.at
                if came == 1 and action.cancel_after is not None:
                    await anyio.sleep(action.cancel_after)
                if came == action.number:
                    program.story.count("events left")
                    break
        most = program.scenario.options["event_buffer"]
        waiting = watch.told - before - came - dropped
        # What the next read would tell as dropped is not known yet.
        if waiting < 0:
            watch.fail(f"I15: {-waiting} events more than were told")
        # Time may pass in a jump: then a reader ends in the moment in which the last were told.
        had_time = watch.told_at < anyio.current_time()
        if action.what == "eager" and waiting > most and had_time:
            watch.fail(f"I15: {waiting} events are missing")
