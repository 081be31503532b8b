"""Starts happen on time whatever hangs, and what is measured is what happened."""

from __future__ import annotations

import pickle
from typing import Any

import anyio
import pytest

from runware_ws import Client, TaskError, TextInference
from runware_ws.emulator import Emulator, ReplyError, Request, expected_text
from runware_ws.load import (
    Answer,
    Arrivals,
    Caller,
    ClientTarget,
    ClosedModel,
    Recorder,
    Slo,
    check_echo,
    drawn_tasks,
    listed_tasks,
    parse_length,
    parse_rate,
    run_load,
)
from runware_ws.load.generator import Share, run_share
from runware_ws.load.report import RunFacts, make_report
from runware_ws.load.work import find_agent
from tests import virtual
from tests.client.support import KEY, ample

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend

WORDS = drawn_tasks(parse_length("3"))
TASK = {"taskType": "textInference", "model": "anthropic:claude@haiku-4.5",
        "messages": [{"role": "user", "content": "Why?"}]}  # fmt: skip


def client_of(emulator: Emulator, **options: Any) -> Client:
    dial: Any = getattr(emulator, "dial")  # noqa: B009 (only what serves in memory has one)
    return Client(emulator.url, api_key=KEY, dial=dial, **options)


class Still:
    """A target that answers after ``seconds``, and notes when it was asked."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked: list[float] = []

    async def __aenter__(self) -> Still:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def ask(self, task: dict[str, Any], timeout: float) -> Answer:
        self.asked.append(anyio.current_time())
        await anyio.sleep(self.seconds)
        return Answer(("x",), "live", tokens=10)

    async def watch(self, on_reconnect: object) -> None:
        await anyio.sleep_forever()


@ample
async def test_starts_wait_for_nobody() -> None:
    target = Still(1_000.0)
    began = anyio.current_time()
    report = await run_load(target, WORDS, Arrivals(parse_rate("50", 4)))
    assert [at - began for at in target.asked] == pytest.approx([n / 50 for n in range(200)])
    assert report["latency_intended_ms"]["p50"] == pytest.approx(1e6, rel=0.001)
    assert report["own_lag_ms"]["max"] == pytest.approx(0, abs=0.001)
    assert report["own_lag_ok"]
    assert report["series"]["intended"][:3] == [5, 5, 5]


async def test_a_late_start_is_told_and_judged() -> None:
    recorder = Recorder(1.0)
    for number in range(100):
        recorder.start(number / 100, 0.02 if number > 90 else 0.0)
    model = Arrivals(parse_rate("100", 1))
    await run_share(Still(0.1), WORDS, model, recorder)
    report = make_report(recorder, model, RunFacts("still"))
    # 20 ms of 100 ms is more than a twentieth.
    assert report["own_lag_ms"]["p99"] == pytest.approx(20, rel=0.001)
    assert not report["own_lag_ok"]


async def test_both_latencies_are_told() -> None:
    """The generator begins late, so each task is sent later than intended."""
    recorder = Recorder(1.0)
    begin = anyio.current_time() - 0.5
    await run_share(Still(0.1), WORDS, Arrivals(parse_rate("10", 0.4)), recorder, begin=begin)
    report = make_report(recorder, Arrivals(parse_rate("10", 0.4)), RunFacts("still"))
    assert report["latency_sent_ms"]["max"] == pytest.approx(100)
    assert report["latency_intended_ms"]["max"] == pytest.approx(600)
    assert report["own_lag_ms"]["max"] == pytest.approx(500)
    assert not report["own_lag_ok"]


@ample
async def test_the_tally_of_a_cut_wire() -> None:
    async with virtual.serving(KEY, latency="50ms-200ms") as emulator:
        emulator.faults.cut_every(1.0)
        client = client_of(emulator)
        model = Arrivals(parse_rate("50", 10), process="poisson")
        report = await run_load(
            ClientTarget(client), WORDS, model, check=check_echo, slo=Slo(0.9, 0.3), seed=3
        )
        assert emulator.stats.executed_twice == []
    assert report["answered"] == report["attempted"] == report["answers_checked"] > 400
    assert (report["wrong"], report["unknown"], report["lost"], report["failed"]) == (0, 0, 0, 0)
    assert report["recovered_by"].keys() >= {"live", "replay"}
    assert sum(report["recovered_by"].values()) == report["answered"]
    assert report["reconnects"] >= 5
    assert len(report["losses_s"]) >= report["reconnects"]
    assert report["cost"] > 0
    assert report["tokens_per_s"] > 0
    assert 0 < report["good"] < report["answered"]
    assert sum(report["series"]["done"]) == report["answered"]
    assert sum(report["series"]["good"]) == report["good"]


@ample
async def test_wrong_answers_and_errors_are_told_apart() -> None:
    async with virtual.serving(KEY) as emulator:

        @emulator.reply("textInference")
        def reply(request: Request) -> str:
            kind = int(request.prompt.partition(":")[0]) % 4
            if kind == 1:
                raise ReplyError("providerRateLimitExceeded")
            if kind == 2:
                return "something else"
            return expected_text(request.prompt, request.task_uuid, request.index)

        report = await run_load(
            ClientTarget(client_of(emulator)), WORDS, Arrivals(parse_rate("40", 1)),
            check=check_echo,
        )  # fmt: skip
    assert (report["answered"], report["wrong"], report["lost"]) == (20, 10, 0)
    assert report["errors"] == {
        "rate: providerRateLimitExceeded": 10, "wrong answer": 10
    }  # fmt: skip
    assert report["error_rate"] == 0.5
    assert report["run_twice"] is None


@ample
async def test_what_runs_out_of_time_is_lost() -> None:
    async with virtual.serving(KEY, latency="60s") as emulator:
        report = await run_load(
            ClientTarget(client_of(emulator)), WORDS, Arrivals(parse_rate("10", 1)), timeout=5.0
        )
    assert (report["answered"], report["lost"]) == (0, 10)
    assert report["errors"] == {"TaskTimeout": 10}
    assert report["latency_intended_ms"]["p99"] is None


@ample
async def test_streams_tell_their_first_delta() -> None:
    async with virtual.serving(KEY) as emulator:

        @emulator.reply("textInference")
        async def reply(request: Request) -> Any:
            await anyio.sleep(0.2)
            for _ in range(10):
                yield "word"
                await anyio.sleep(0.1)

        target = ClientTarget(client_of(emulator), "socket")
        report = await run_load(target, WORDS, Arrivals(parse_rate("5", 2)))
    assert report["answered"] == 10
    assert report["first_delta_ms"]["p50"] == pytest.approx(200, rel=0.01)
    assert report["latency_sent_ms"]["p50"] == pytest.approx(1200, rel=0.01)
    # 40 characters are 10 tokens; nine of them come after the first.
    assert report["time_per_token_ms"]["p50"] == pytest.approx(1000 / 9, rel=0.01)


@ample
async def test_an_agent_of_several_turns() -> None:
    async with virtual.serving(KEY, latency="100ms") as emulator:

        async def agent(caller: Caller) -> None:
            first = await caller.ask(TextInference.prompt("one"), name="first")
            await caller.think(0.5)
            await caller.ask(TextInference.prompt(first.texts[0]), name="second")

        report = await run_load(ClientTarget(client_of(emulator)), agent,
                                Arrivals(parse_rate("10", 2)))  # fmt: skip
    assert (report["started"], report["attempted"], report["answered"]) == (20, 40, 40)
    told = report["by_name_ms"]
    assert {name: figures["count"] for name, figures in told.items()} == {"first": 20, "second": 20}
    # The pause is nobody's latency.
    assert told["second"]["max"] == pytest.approx(100, rel=0.02)


@ample
async def test_an_agent_may_catch_what_a_task_ends_with() -> None:
    async with virtual.serving(KEY) as emulator:
        emulator.faults.inject_error("providerTimeout", times=None)

        async def agent(caller: Caller) -> None:
            try:
                await caller.ask({**TASK})
            except TaskError:
                if caller.number % 2:
                    raise
                raise LookupError from None

        report = await run_load(ClientTarget(client_of(emulator)), agent,
                                Arrivals(parse_rate("10", 1)))  # fmt: skip
    assert report["errors"] == {"timeout: providerTimeout": 10}
    assert report["agent_errors"] == {"LookupError": 5}


@ample
async def test_a_closed_model_waits() -> None:
    target = Still(0.3)
    report = await run_load(target, listed_tasks([TASK]), ClosedModel(4, 10.0, think=0.2))
    assert report["attempted"] == 4 * 20
    assert report["latency_intended_ms"]["max"] == pytest.approx(300, rel=0.001)


async def test_listed_tasks_go_around_under_new_uuids() -> None:
    seen: list[dict[str, Any]] = []

    class Noting(Still):
        async def ask(self, task: dict[str, Any], timeout: float) -> Answer:
            seen.append(task)
            return await super().ask(task, timeout)

    tasks = [{**TASK, "taskUUID": "the same", "place": place} for place in range(3)]
    await run_load(Noting(), listed_tasks(tasks), Arrivals(parse_rate("7", 1)))
    assert [task["place"] for task in seen] == [0, 1, 2, 0, 1, 2, 0]
    assert len({task["taskUUID"] for task in seen}) == 7
    assert tasks[0]["taskUUID"] == "the same"


async def test_shares_are_the_whole() -> None:
    model = Arrivals(parse_rate("97", 2), process="poisson")

    async def run(share: Share) -> Recorder:
        recorder = Recorder(1.0)
        await run_share(Still(0.05), WORDS, model, recorder, seed=5, share=share)
        return recorder

    whole = await run(Share())
    merged = Recorder(1.0)
    for index in range(8):
        merged.merge(pickle.loads(pickle.dumps(await run(Share(index, 8)))))
    facts = RunFacts("still")
    first, second = (make_report(each, model, facts) for each in (whole, merged))
    for report in (first, second):
        del report["made_at"]
    assert first.keys() == second.keys()
    assert first["series"] == second["series"]
    for name in ("started", "attempted", "answered", "tokens", "recovered_by", "errors"):
        assert first[name] == second[name]
    # How long each took depends on the clock alone, which moves between the shares.
    assert second["latency_sent_ms"]["count"] == first["latency_sent_ms"]["count"] > 100


@ample
async def test_stop_starts_nothing_more() -> None:
    target, stop, recorder = Still(2.0), anyio.Event(), Recorder(1.0)

    async def later() -> None:
        await anyio.sleep(1.05)
        stop.set()

    async with anyio.create_task_group() as group:
        group.start_soon(later)
        await run_share(target, WORDS, Arrivals(parse_rate("10", 60)), recorder, stop=stop)
    assert recorder.started == recorder.answered == 11


@ample
async def test_what_is_cancelled_is_counted() -> None:
    recorder = Recorder(1.0)
    with anyio.move_on_after(1.05):
        await run_share(Still(5.0), WORDS, Arrivals(parse_rate("10", 60)), recorder)
    assert recorder.attempted == 11
    assert recorder.errors == {"given up": 11}
    assert recorder.left == 11


def test_agents_are_found(tmp_path: Any) -> None:
    file = tmp_path / "mine.py"
    file.write_text("async def agent(caller): pass\nnothing = 3\n")
    assert getattr(find_agent(f"{file}:agent"), "__name__", "") == "agent"
    assert find_agent("runware_ws.load:drawn_tasks") is drawn_tasks
    for bad in ("agent", f"{file}:nothing", f"{file}:missing", f"{tmp_path}/no.py:a", "nowhere:a"):
        with pytest.raises(ValueError, match=r"write it|no function|no such file|No module"):
            find_agent(bad)


@pytest.mark.parametrize(
    "text", ["", "x", "-5", "9-5", "exp:", "exp:1,2", "lognormal:1,2,3", "g:1"]
)
def test_a_bad_length_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"length|latency"):
        parse_length(text)
