"""The model of HTTP, on its own: every ending, and one archive for both carriers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from runware_ws._core.effects import Ending, PostEnding
from tests.simulation.http import Http
from tests.simulation.keys import Keys
from tests.simulation.loop import VirtualLoop, run
from tests.simulation.server import Server
from tests.simulation.story import Story
from tests.simulation.streams import StreamPlan
from tests.simulation.traits import Plan, Traits
from tests.simulation.weather import Weather
from tests.simulation.wire import Wire

UUID = "00000000-0000-4000-8000-000000000001"
STREAM = StreamPlan(
    text="one two",
    deltas=({"text": "one"}, {"text": " two"}),
    at=(1.0, 2.0),
)


class Model:
    """A server that is posted to."""

    def __init__(self, plan: Plan, seed: int = 0) -> None:
        self.loop = VirtualLoop()
        self.weather = Weather()
        self.story = Story(self.loop.time)
        self.keys = Keys(self.weather, self.story)
        rng = Random(seed)
        wire = Wire(self.loop, rng, self.weather, self.story, latency=0.02)
        self.server = Server(
            self.loop,
            rng,
            wire,
            self.weather,
            Traits(),
            self.story,
            {plan.uuid: plan},
            self.keys.valid,
        )
        self.http = Http(
            self.loop, rng, self.weather, self.story, self.server, latency=wire.latency
        )
        self.http.posts = self
        self.left = False
        self.taken: list[dict[str, Any]] = []

    def begins(self, uuid: str) -> None:
        pass

    def leaves(self, uuid: str) -> None:
        self.left = True

    def ends(self, uuid: str, ending: PostEnding) -> None:
        pass

    def over(self, uuid: str) -> None:
        pass

    async def post(self, key: str | None = None) -> PostEnding:
        task = {"taskType": "textInference", "taskUUID": UUID, "deliveryMethod": "stream"}
        return await self.http.post(
            json.dumps([task]).encode(),
            SecretStr(self.keys.current if key is None else key),
            lambda: True,
            lambda text: self.taken.append(json.loads(text)),
        )

    def text(self) -> str:
        return "".join(event["delta"]["text"] for event in self.taken)


def play(model: Model, main: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await main()
        assert model.http.open == []

    run(whole(), model.loop)


def plan(**changes: Any) -> Plan:
    return Plan(UUID, delivery="stream", stream=replace(STREAM, **changes))


def test_a_stream_comes_whole_and_stands_in_the_archive() -> None:
    model = Model(plan())

    async def main() -> None:
        assert await model.post() == PostEnding(Ending.DONE)
        assert model.text() == "one two"
        assert model.taken[-1]["finishReason"] == "stop"
        (frame,) = model.server.questions.frames([{"taskType": "getTaskDetails", "taskUUID": UUID}])
        assert frame["data"][0]["response"]["text"] == "one two"
        again = await model.post()
        assert again.how is Ending.REFUSED, "the taskUUID is used"
        assert json.loads(again.body)["errors"][0]["code"] == "conflictTaskUUID"

    play(model, main)


@pytest.mark.parametrize("status", [401, 429, 500, 501, 503])
def test_a_status_refuses(status: int) -> None:
    model = Model(plan())
    if status != 401:
        model.weather.status = status

    async def main() -> None:
        ending = await model.post("another" if status == 401 else None)
        assert ending.how is Ending.REFUSED
        assert ending.loss is not None
        assert ending.loss.status == status
        assert model.http.refused == {UUID: {status}}

    play(model, main)


def test_what_is_not_reached_was_not_sent() -> None:
    model = Model(plan())
    model.weather.unreachable = 1

    async def main() -> None:
        assert (await model.post()).how is Ending.UNREACHED
        assert not model.left
        assert model.server.received == {}

    play(model, main)


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_lets_a_beginning_through_and_the_task_goes_on(seed: int) -> None:
    model = Model(plan(), seed)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            model.loop.call_later(0.05 + 0.1 * seed, model.http.cut, 0)
            tasks.start_soon(model.post)
        assert "one two".startswith(model.text())
        await anyio.sleep(5)
        work = model.server.works.get(UUID)
        assert work is None or work.finished_at is not None

    play(model, main)


def test_a_post_that_is_given_up_runs_on_at_the_server() -> None:
    model = Model(plan())

    async def main() -> None:
        with anyio.move_on_after(1.5):
            await model.post()
        assert model.text() == "one"
        await anyio.sleep(1)
        assert model.server.works[UUID].items[0]["text"] == "one two"

    play(model, main)


def test_a_silent_server_speaks_again() -> None:
    model = Model(plan())
    model.weather.silent = 1

    async def main() -> None:
        model.loop.call_later(10, setattr, model.weather, "silent", 0)
        assert (await model.post()).how is Ending.DONE
        assert model.loop.now >= 1010
        assert model.text() == "one two"

    play(model, main)


def test_without_an_end_mark_it_is_a_cut() -> None:
    model = Model(plan(ends_open=True))

    async def main() -> None:
        assert (await model.post()).how is Ending.CUT
        assert model.text() == "one two"

    play(model, main)


def test_events_of_another_task_and_of_none_come_between() -> None:
    model = Model(plan(mixed=True, nameless=True))

    async def main() -> None:
        assert (await model.post()).how is Ending.DONE
        mine = [event for event in model.taken if event["taskUUID"] == ""]
        assert [event["delta"]["text"] for event in mine] == ["one", " two"]
        assert len(model.taken) == 4

    play(model, main)
