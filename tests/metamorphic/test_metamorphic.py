"""However a message is written, the tasks end the same; and a client that minds is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from runware_ws._core import answers, task_errors
from runware_ws._core.inbound import archive, meaning, router
from runware_ws._core.states import TaskState
from runware_ws._core.tasks import items
from runware_ws.models import wire_errors
from tests.metamorphic import conversations
from tests.metamorphic.check import differences, plain
from tests.metamorphic.conversations import CONVERSATIONS, Talk

DONE = TaskState.DONE.name


@pytest.mark.parametrize("talk", CONVERSATIONS, ids=lambda talk: talk.__name__)
def test_however_it_is_written_it_ends_the_same(talk: Talk) -> None:
    count, wrong = differences(talk)
    assert not wrong, wrong[:5]
    assert count > 50


@pytest.mark.slow
@pytest.mark.parametrize("talk", CONVERSATIONS, ids=lambda talk: talk.__name__)
def test_changed_twice_it_ends_the_same_too(talk: Talk) -> None:
    count, wrong = differences(talk, deep=7)
    assert not wrong, wrong[:5]
    assert count > 300


def test_the_conversations_end_as_they_are_meant_to() -> None:
    for talk in CONVERSATIONS:
        ends = [end[0] for end in plain(talk).outcome()[:-1]]
        failed = {"results_and_an_error": 1, "refused": 1, "refused_key": 1}
        assert ends.count("FAILED") == failed.get(talk.__name__, 0), talk.__name__
        assert ends.count(DONE) == len(ends) - ends.count("FAILED"), talk.__name__


Patch = Callable[[pytest.MonkeyPatch], Talk]


def _names_are_taken_as_written(patch: pytest.MonkeyPatch) -> Talk:
    def wrong(entry: dict[str, Any]) -> str | None:
        return cast("str | None", entry.get("taskUUID"))

    patch.setattr(archive, "owner_of", wrong)
    return conversations.out_of_the_archive


def _the_archive_is_the_askers(patch: pytest.MonkeyPatch) -> Talk:
    def wrong(_entry: dict[str, Any]) -> None:
        return None

    patch.setattr(archive, "owner_of", wrong)
    return conversations.two_out_of_the_archive


def _any_field_makes_a_result(patch: pytest.MonkeyPatch) -> Talk:
    patch.setattr(meaning, "ACKNOWLEDGING", items.ENVELOPE)

    def wrong(_item: dict[str, Any]) -> bool:
        return True

    patch.setattr(meaning, "has_output", wrong)
    return conversations.polled


def _an_empty_error_field_is_an_error(patch: pytest.MonkeyPatch) -> Talk:
    def wrong(_errors: Any) -> bool:
        return True

    patch.setattr(meaning, "_tells", wrong)
    return conversations.two_tasks


def _errors_have_one_spelling(patch: pytest.MonkeyPatch) -> Talk:
    def wrong(frame: Any) -> list[Any]:
        return list(frame.get("errors") or [])

    patch.setattr(wire_errors, "_values", wrong)
    return conversations.refused


def _a_copy_is_another_result(patch: pytest.MonkeyPatch) -> Talk:
    def wrong(_record: Any, items: list[Any], *, listing: bool) -> list[Any]:
        return items

    patch.setattr(answers, "fresh_items", wrong)
    return conversations.three_results


def _an_error_without_an_address_is_the_first_tasks(patch: pytest.MonkeyPatch) -> Talk:
    def wrong(self: Any, _error: Any) -> Any:
        return next(iter(self._table.tasks.values()), None)

    patch.setattr(task_errors.TaskErrors, "_only_suspect", wrong)
    return conversations.two_tasks


def _a_frame_holds_one_item(patch: pytest.MonkeyPatch) -> Talk:
    right = router.Router._items  # pyright: ignore

    def wrong(self: Any, items: list[Any], data: bytes, said: list[Any]) -> None:
        right(self, items[:1], data, said)

    patch.setattr(router.Router, "_items", wrong)
    return conversations.two_tasks


@pytest.mark.parametrize(
    "plant",
    [
        _names_are_taken_as_written,
        _the_archive_is_the_askers,
        _any_field_makes_a_result,
        _an_empty_error_field_is_an_error,
        _errors_have_one_spelling,
        _a_copy_is_another_result,
        _an_error_without_an_address_is_the_first_tasks,
        _a_frame_holds_one_item,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_client_that_minds_is_found(plant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    assert differences(plant(monkeypatch))[1]
