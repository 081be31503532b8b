"""A recording of any run, played through a new core, comes to the same by the same effects.

The simulation's runs are the hardest that there are, so they show whether a recording has all that
the core decides by although its words are masked.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

from runware_ws import Client
from tests.simulation import life, lives
from tests.simulation import play as stage
from tests.simulation.__main__ import again
from tests.simulation.play import play
from tests.simulation.replay import Replay, Unplayable, replay
from tests.simulation.scenario import Scenario, draw
from tests.simulation.small import patched
from tests.simulation.streams import StreamPlan, draw_stream
from tests.simulation.traits import Traits, draw_traits

SEEDS = range(80)


def recorded(scenario: Scenario, path: Path, **options: Any) -> None:
    """Play a scenario with a client that is recorded."""
    clients: list[Client] = []

    def made(*args: Any, **given: Any) -> Client:
        wanted: dict[str, Any] = {**given, "flight_bytes": 1 << 26, **options}
        clients.append(Client(*args, **wanted))
        return clients[0]

    with patch.object(stage, "Client", made):
        play(scenario)
    clients[0].dump(path)


def tamed(scenario: Scenario) -> Scenario:
    """Without what a recording cannot tell."""
    return replace(
        scenario,
        # A "ghost" asks the core for its next deadline at a time when no driver does.
        actions=tuple(action for action in scenario.actions if action.kind != "ghost"),
        # How many late results fit in depends on their words, which are masked.
        options={**scenario.options, "claim_bytes": 1 << 24},
        # Pieces that the archive lists again are masked as if the stream went on.
        traits=replace(scenario.traits, archive_pieces=""),
    )


def whole_traits(rng: Random, seed: int) -> Traits:
    """A server that is tamed likewise."""
    return draw_traits(rng, seed, without=("archive_pieces",))


def spelled_alike(rng: Random, uuid: str, scale: float) -> StreamPlan:
    """A stream whose calls are whole as they came: how a masked object is spelled nobody knows."""
    return replace(draw_stream(rng, uuid, scale), objects=False)


@pytest.mark.slow
def test_runs_of_the_simulation_come_to_the_same_again(tmp_path: Path) -> None:
    states: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    inputs: Counter[str] = Counter()
    for seed in SEEDS:
        scenario = tamed(draw(seed))
        path = tmp_path / f"{seed}.jsonl"
        recorded(scenario, path)
        with patched(scenario.small):
            found = replay(path)
        assert found.same, f"seed {seed}: {found.text()}"
        states.update(end[0] for end in found.ends.values())
        sources.update(end[1] for end in found.ends.values())
        inputs.update(json.loads(line)["kind"] for line in path.read_text().splitlines())
    # Not only the easy ones.
    assert {"DONE", "FAILED", "TIMED_OUT", "CANCELLED", "UNKNOWN"} <= states.keys()
    assert {"live", "replay", "poll", "archive", "resubmit"} <= sources.keys()
    assert {"lost", "posted", "post_ended", "claim", "cancel", "drain"} <= inputs.keys()


def test_so_do_processes_with_a_journal_that_die(tmp_path: Path) -> None:
    clients: list[Client] = []
    inputs: Counter[str] = Counter()

    def made(*args: Any, **given: Any) -> Client:
        clients.append(Client(*args, **given, flight_bytes=1 << 26))
        return clients[-1]

    logging.disable(logging.CRITICAL)
    try:
        with (
            patch.object(life, "Client", made),
            patch.object(lives, "draw_traits", whole_traits),
            patch.object(lives, "draw_stream", spelled_alike),
        ):
            # In the last two a commit comes too late for a caller, which is rare.
            for seed in (*range(10), 28, 29):
                lives.play_lives(seed)
    finally:
        logging.disable(logging.NOTSET)
    path = tmp_path / "life.jsonl"
    for number, client in enumerate(clients):
        client.dump(path)
        found = replay(path)
        assert found.same, f"client {number}: {found.text()}"
        inputs.update(json.loads(line)["kind"] for line in path.read_text().splitlines())
    journals = {"entered", "recorded", "elsewhere", "refuse", "rebind", "unrecorded", "fail"}
    assert journals <= inputs.keys()


# A changed recording


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A recording in which results came, of a run with cuts."""
    path = tmp_path_factory.mktemp("recordings") / "good.jsonl"
    recorded(tamed(draw(3)), path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def played(lines: list[dict[str, Any]], path: Path) -> Replay:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return replay(path)


def test_a_recording_without_one_of_its_results_comes_to_something_else(
    lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "changed.jsonl"
    assert played(lines, path).same
    dropped = 0
    for place, line in enumerate(lines):
        behind = lines[place + 1].get("effects", ()) if place + 1 < len(lines) else ()
        ends = [effect for effect in behind if effect[0] == "Resolve"]
        if line["kind"] == "receive" and ends:
            found = played(lines[:place] + lines[place + 1 :], path)
            assert not found.same
            assert "DIFFERENT" in found.text()
            dropped += 1
    assert dropped


def changed(line: dict[str, Any]) -> dict[str, Any] | None:
    """The same line, changed in one place that matters; ``None`` where nothing does."""
    if line["kind"] in ("take", "next") and line.get("deadline", line.get("frame")):
        return None
    if line["kind"] == "take" and line["effects"]:
        return {**line, "effects": line["effects"][:-1]}
    if line["kind"] == "draw":
        return {**line, "delay": line["delay"] + 0.25}
    if line["kind"] == "submit" and not line["outcome"]:
        return {**line, "deadline": line["now"] + 0.001}
    return None


def test_every_change_that_matters_is_noticed(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    tried: Counter[str] = Counter()
    for place, line in enumerate(lines):
        other = changed(line)
        if other is not None and tried[line["kind"]] < 8:
            tried[line["kind"]] += 1
            found = played([*lines[:place], other, *lines[place + 1 :]], tmp_path / "a.jsonl")
            assert not found.same, line
    assert {"take", "draw", "submit"} <= tried.keys()


# What cannot be played


def test_the_command_says_what_it_found(
    lines: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    played(lines, path)
    assert again(str(path)) == 0
    assert "the same again" in capsys.readouterr().out
    played([lines[0], *lines[5:]], path)
    assert again(str(path)) == 1
    assert "NOT the same" in capsys.readouterr().out
    assert again(str(tmp_path / "none.jsonl")) == 2


def test_a_recording_that_begins_in_the_middle_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "middle.jsonl"
    recorded(tamed(draw(3)), path, flight_bytes=6_000)
    head = json.loads(path.read_text().splitlines()[0])
    assert not head["whole"]
    assert head["dropped"]
    with pytest.raises(Unplayable, match="begins in the middle"):
        replay(path)
    assert again(str(path)) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense\n", b"{}\n", b'{"kind":"recording","format":99}\n', b"[1]\n", b"\xae\n"],
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_bytes(content)
    with pytest.raises(Unplayable):
        replay(path)
    assert again(str(path)) == 2


def test_a_message_that_was_too_large_ends_the_judgement(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    recorded(tamed(draw(3)), path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    place = next(n for n, line in enumerate(lines) if line["kind"] == "receive")
    lines[place] = {**lines[place], "message": "~9:0123456789abcdef~", "kept": False}
    found = played(lines, path)
    assert not found.same
    assert "too large to be kept" in found.text()
