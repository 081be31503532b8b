"""Processes that share a journal and are killed at any effect and at any commit.

One to three processes run the real client, with the real keeper of the journal, against the model
server of the simulation, in virtual time. The store keeps what was committed and nothing else
(``MemoryJournal``); the thread that writes is a model that commits at drawn times. A process is
killed as it sends a frame, as it commits (before or after), or at any time: its sockets end, its
transaction is undone, none of its code does anything any more. Another life follows. At last one
life is let run until everything is done. Half of what is asked for can be read as a stream: some
run it all the same, and some die, or leave, amid its pieces. Half of the processes post their
streams. The server has any of the traits of the other simulation; of what it cannot tell, the last
life is told that nobody knows.

    python -m tests.simulation --lives                 many seeds
    python -m tests.simulation --lives --seed 17 --story

What must hold: nothing is written to a wire whose entry was not committed; no result is told that
was not committed; a key is executed once, unless a verdict ended the attempt; every key that is
asked for until it is answered gets its own answer; what the server executed without a key is told
to somebody; what was told never to have been sent is never sent.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch
from uuid import UUID

import anyio

from runware_ws.errors import (
    Fenced,
    JournalError,
    KeyConflict,
    RunwareError,
    Submitted,
    TaskCancelled,
    TaskError,
)
from runware_ws.journal import binding, keeper
from runware_ws.journal.outcomes import items_in
from runware_ws.journal.store import EntryState
from runware_ws.testing.stores import MemoryJournal
from tests.simulation.http import CODES, Http
from tests.simulation.life import KEY, URL, Life
from tests.simulation.loop import BusyLoop, Deadlock, VirtualLoop, run
from tests.simulation.server import Server
from tests.simulation.story import START, Story, short
from tests.simulation.streams import draw_stream
from tests.simulation.traits import Plan, draw_traits
from tests.simulation.weather import Weather
from tests.simulation.wire import Socket, Wire

__all__ = ["Lives", "play_lives"]

CALM = 20.0
"""Until then processes die, in seconds; the last life comes behind it."""

ENOUGH = 3_000.0
"""The last life is over by then."""

AWAY = JournalError("model: away", temporary=True)
BROKEN = JournalError("model: broken")


class _Plans(dict[str, Plan]):
    """What becomes of a task is drawn when it comes, for nobody knows its taskUUID before."""

    def __init__(self, lives: Lives) -> None:
        super().__init__()
        self._lives = lives

    def __missing__(self, uuid: str) -> Plan:
        rng = Random(f"{self._lives.seed} {len(self)}")
        plan = Plan(
            uuid,
            register=rng.choice((0.0, 0.0, 0.3)),
            takes=(rng.choice((0.0, 0.5, 3.0, 20.0)) * rng.random(),),
            ends=rng.choice(("ok",) * 6 + ("error",)),
            code=rng.choice(("rateLimitExceeded", "inferenceError")),
            loses=rng.random() < 0.1,
            doubles=rng.random() < 0.1,
        )
        if self._lives.streams(self._lives.name_of(uuid)):
            rng = Random(f"{self._lives.seed} {len(self)} stream")
            plan = replace(plan, stream=draw_stream(rng, uuid, rng.choice((3.0, 20.0))))
        self[uuid] = plan
        return plan


class Lives:
    """One run of a seed. ``problems`` is empty where all invariants held."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = Random(f"lives {seed}")
        self.loop = loop = VirtualLoop(START)
        self.story = Story(loop.time)
        self.weather = Weather()
        self.journal = MemoryJournal()
        self.problems: list[str] = []
        self.trouble: JournalError | None = None
        self.names = [f"key {number}" for number in range(rng.randint(1, 6))]
        self._latency = rng.choice((0.001, 0.02, 0.1))
        # The key that a server may echo is the business of the other simulation.
        self.traits = traits = replace(draw_traits(rng, seed), echoes_key=False)
        wire = self.wire()
        self._plans = _Plans(self)
        self.server = Server(
            loop, rng, wire, self.weather, traits, self.story, self._plans, lambda key: key == KEY
        )
        self._alive: list[Life] = []
        # The name of each taskUUID, as it was sent; what was recorded; and what was told of it.
        self._names: dict[str, str] = {}
        self._recorded: set[str] = set()
        self._told: dict[str, set[str]] = defaultdict(set)
        self._told_uuids: set[str] = set()
        self._never: dict[str, str] = {}
        self._unknown: set[str] = set()
        self._cut_off: set[str] = set()
        # With which HTTP statuses posts were refused.
        self._refused: dict[str, set[int]] = {}

    def name_of(self, uuid: str) -> str:
        """What a taskUUID that was sent is asked for as."""
        return self._names[uuid]

    @property
    def tells_all(self) -> bool:
        """Whether the server can say of every task in the end what became of it."""
        # A stream without an end is never whole where its pieces are listed alone.
        return self.traits.reliable and self.traits.archive_pieces in ("", "behind", "before")

    def tellable(self, uuid: str) -> bool:
        """Whether it can say so of this one."""
        work, traits = self.server.works.get(uuid), self.traits
        if self.tells_all or work is None:
            return self.tells_all
        if traits.reliable and not (work.streamed and _is_endless(work.plan)):
            return True
        # An error that may be the question's ends nothing.
        clear = work.error is None or traits.failed_in == "data"
        return work.delivery == "async" and clear and traits.tells("getResponse")

    def streams(self, name: str) -> bool:
        """Whether the answer is a stream for those who want one."""
        return Random(f"{self.seed} streams {name}").random() < 0.5

    def uuid(self) -> str:
        """A taskUUID."""
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def wire(self) -> Wire:
        """The wire of one process."""
        wire = Wire(self.loop, self.rng, self.weather, Story(self.loop.time), latency=self._latency)
        wire.story = self.story
        wire.peer = cast(
            "Any", SimpleNamespace(opened=self._opened, heard=self._heard, ended=self._gone)
        )
        return wire

    def http(self, rng: Random) -> Http:
        """Where one process posts."""
        http = Http(
            self.loop, rng, self.weather, self.story, self.server, latency=lambda: self._latency
        )
        http.refused = self._refused
        return http

    def _opened(self, socket: Socket) -> None:
        self.server.opened(socket)

    def _heard(self, socket: Socket, data: bytes) -> None:
        self.server.heard(socket, data)

    def _gone(self, socket: Socket) -> None:
        self.server.ended(socket)

    def fail(self, words: str) -> None:
        """An invariant is broken."""
        self.story.tell("BROKEN", words)
        self.problems.append(words)

    # What the processes do

    def sending(self, life: Life, data: bytes) -> None:
        """A process is about to send a frame."""
        for task in json.loads(data):
            if task["taskType"] != "textInference":
                continue
            uuid = task["taskUUID"]
            self._names[uuid] = task["name"]
            entry = self.journal.rows.get((URL, uuid))
            if entry is None:
                self.fail(f"{short(uuid)} is sent by {life.name}, and is not in the journal")
            elif not life.fenced and entry.owner != life.store.owner:
                self.fail(f"{short(uuid)} is sent by {life.name}, and is owned by {entry.owner}")
            if uuid in self._never:
                self.fail(f"{short(uuid)} is sent, and was told never to be: {self._never[uuid]}")

    def look(self) -> None:
        """Something was committed."""
        for (_, uuid), entry in self.journal.rows.items():
            if entry.state is not EntryState.OPEN:
                self._recorded.add(uuid)

    def cut_off(self, uuids: set[str]) -> None:
        """A process is killed that has heard pieces of these streams."""
        for uuid in uuids:
            if self.server.works[uuid].finished_at is None:
                self.story.count("killed amid a stream")
                self._cut_off.add(uuid)

    def _is_right(self, uuid: str, items: list[dict[str, Any]]) -> bool:
        """Whether this is the answer of the server."""
        stream = self._plans[uuid].stream
        if stream is not None:
            return len(items) == 1 and stream.is_whole(items[0])
        return [item["text"] for item in items] == [f"{uuid}#0"]

    def told(
        self, life: Life, key: str | None, uuid: str, items: list[dict[str, Any]], way: str
    ) -> None:
        """A caller was told a result, by ``run``, by ``stream`` or as one that was recovered."""
        self.story.tell("told", f"{life.name} {key or 'once'}: {short(uuid)}")
        self.story.count("told a result")
        name = self._names.get(uuid, "")
        if uuid not in self._recorded:
            self.fail(f"{short(uuid)} was told, and was not recorded")
        if uuid in self._cut_off and uuid not in self._told_uuids:
            self.story.count(f"a stream that a death cut is told by {way}")
        if not self._is_right(uuid, items):
            self.fail(f"{short(uuid)} was told {items}")
        if key is not None and name != key:
            self.fail(f"{key} was told the answer to {name!r}")
        self._told[name].add(uuid)
        self._told_uuids.add(uuid)

    def told_error(self, life: Life, key: str | None, error: RunwareError) -> None:
        """A caller was told an error."""
        self.story.tell("told", f"{life.name} {key or 'once'}: {error!r} {error.submitted}")
        self.story.count(f"told {type(error).__name__}")
        uuid = error.task_uuid
        if isinstance(error, KeyConflict) or uuid is None:
            self.fail(f"{key}: {error!r}")
            return
        if isinstance(error, TaskError):
            self._told_uuids.add(uuid)
            plan = self._plans[uuid]
            codes = {CODES[status] for status in self._refused.get(uuid, ())}
            if plan.ends == "error":
                codes.add(plan.code)
            if error.code not in codes:
                self.fail(f"{short(uuid)} failed with {error!r}, and nobody said so")
        elif error.submitted is Submitted.NO and not isinstance(error, Fenced):
            self._never[uuid] = repr(error)
            if uuid in self.server.received:
                self.fail(f"{short(uuid)} was told never to be sent, and it was: {error!r}")
        else:
            self._unknown.add(uuid)
        if isinstance(error, TaskCancelled):
            self.story.count("cancelled")

    def ended(self, life: Life) -> None:
        """A process is no more."""
        if life in self._alive:
            self._alive.remove(life)

    # The run

    async def main(self) -> None:
        """Deaths and faults, then one last life."""
        loop, rng = self.loop, self.rng
        for _ in range(rng.randint(0, 6)):
            loop.call_later(rng.random() * CALM, self._cut)
        for _ in range(rng.choice((0, 0, 1, 2))):
            loop.call_later(rng.random() * CALM, self._trouble, rng.choice((AWAY, AWAY, BROKEN)))
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            loop.call_later(rng.random() * CALM, self._fence)
        self._draw_faults_of_posts(Random(f"{self.seed} posts"))
        async with anyio.create_task_group() as group:
            for slot in range(rng.randint(1, 3)):
                group.start_soon(self._slot, slot)
        self.trouble = None
        self.weather.status = None
        with anyio.move_on_after(ENOUGH) as scope:
            await self._one(9, 0, last=True)
        if scope.cancelled_caught:
            self.fail("the last life does not come to its end")
        self._judge()

    def _draw_faults_of_posts(self, rng: Random) -> None:
        for _ in range(rng.choice((0, 1, 2, 4))):
            self.loop.call_later(rng.random() * CALM, self._cut_posts)
        for _ in range(rng.choice((0, 1, 2, 3))):
            what = rng.choice(("unreachable", "silent", *(429, 500, 501, 503)))
            self.loop.call_later(rng.random() * CALM, self._trouble_posts, what, 9 * rng.random())

    def _cut_posts(self) -> None:
        for life in self._alive:
            if life.http is not None:
                life.http.cut(0)

    def _trouble_posts(self, what: str | int, lasts: float) -> None:
        if isinstance(what, int):
            self.weather.status = what
            self.loop.call_later(lasts, setattr, self.weather, "status", None)
        else:
            setattr(self.weather, what, 1)
            self.loop.call_later(lasts, setattr, self.weather, what, 0)

    async def _slot(self, slot: int) -> None:
        number = 0
        while self.loop.now < START + CALM:
            await self._one(slot, number, last=False)
            await anyio.sleep(self.rng.choice((0.0, 0.1, 5.0)) * self.rng.random())
            number += 1

    async def _one(self, slot: int, number: int, *, last: bool) -> None:
        life = Life(self, slot, number, last=last)
        self._alive.append(life)
        await life.live()

    def _cut(self) -> None:
        for life in self._alive:
            socket = life.wire.current
            if socket is not None:
                socket.cut(self.rng.random() * 0.3, self.rng.random())

    def _trouble(self, trouble: JournalError) -> None:
        self.trouble = trouble
        self.story.tell("fault", str(trouble))
        self.story.count(f"journal: {trouble}")
        self.loop.call_later(self.rng.random() * 10, setattr, self, "trouble", None)

    def _fence(self) -> None:
        for life in self._alive:
            owner = life.store.owner
            if owner in self.journal.owners and not life.last:
                store = self.journal.store()
                store.open("another target", 0.0)
                store.fence(owner)
                store.close()
                life.fenced = True
                self.story.tell("fault", f"{life.name} is fenced")
                self.story.count("fenced")
                return

    def _judge(self) -> None:
        works: dict[str, list[str]] = defaultdict(list)
        for uuid in self.server.works:
            works[self._names[uuid]].append(uuid)
        for name, uuids in works.items():
            if name.startswith("key"):
                ended = [uuid for uuid in uuids if self._is_over(uuid)]
                if len(uuids) - len(ended) > 1:
                    self.fail(f"{name} was executed as {[short(uuid) for uuid in uuids]}")
                if len(self._told[name]) > 1:
                    self.fail(f"{name} was told as {self._told[name]}")
            else:
                for uuid in uuids:
                    told = self._told_uuids
                    if not self.tellable(uuid):
                        told = told | self._unknown
                    if uuid not in told and not self._is_over(uuid):
                        self.fail(f"{name} was executed as {short(uuid)}, and never told")
        for (_, uuid), entry in self.journal.rows.items():
            if entry.state is EntryState.DONE and not self._is_right(uuid, items_in(entry)):
                self.fail(f"{short(uuid)} was recorded as {items_in(entry)}")
        # What nobody could tell is asked about again in the next life.
        open_still = [
            short(entry.uuid)
            for entry in self.journal.rows.values()
            if entry.key is None and (self.tellable(entry.uuid) or entry.uuid not in self._unknown)
        ]
        if open_still:
            self.fail(f"left in the journal: {open_still}")

    def _is_over(self, uuid: str) -> bool:
        """Whether the verdict was that nothing ran."""
        plan = self.server.works[uuid].plan
        return plan.ends == "error" and plan.code == "rateLimitExceeded"


def _is_endless(plan: Plan) -> bool:
    return plan.stream is not None and plan.stream.last == "unmarked"


@contextmanager
def _virtual_clock(lives: Lives) -> Any:
    clock = SimpleNamespace(time=lives.loop.time)
    with (
        patch.object(keeper, "time", clock),
        patch.object(binding, "time", clock),
        patch.object(keeper, "uuid4", lives.uuid),
        patch.object(binding, "uuid4", lives.uuid),
    ):
        yield


def play_lives(seed: int) -> Lives:
    """Run one seed."""
    lives = Lives(seed)

    def crashed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        lives.problems.append(f"crash: {context['message']}: {context.get('exception')!r}")

    lives.loop.set_exception_handler(crashed)
    try:
        with _virtual_clock(lives):
            run(lives.main(), lives.loop)
    except (Deadlock, BusyLoop) as exc:
        lives.problems.append(f"{type(exc).__name__}: {exc}")
    lives.problems = [*lives.problems, *lives.server.problems]
    return lives
