"""What the model server answers when it is asked about a task: truth, nothing, or trouble.

One kind of server answers an error about an id that it does not know, another answers
``{"data": []}``, which names nobody. A question can fail itself: such an error says nothing of
the task, though it carries the task's UUID.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from runware_ws.models.results import RecoveredBy
from tests.simulation.loop import VirtualLoop
from tests.simulation.story import Story, short
from tests.simulation.traits import Traits
from tests.simulation.weather import Weather
from tests.simulation.works import Work, error_frame

__all__ = ["QUESTIONS", "Questions", "listed"]

QUESTIONS = ("getResponse", "getTaskDetails")

Item = dict[str, Any]


def listed(response: Any) -> list[Item]:
    """The items in an archive's ``response``."""
    if isinstance(response, list):
        frames = cast("list[Item]", response)
        return [item for frame in frames for item in frame.get("data", [frame])]
    held: Item = response or {}
    items: list[Item] = held.get("data", [held] if "cost" in held else [])
    return items


@dataclass(slots=True)
class _Answer:
    uuid: str
    items: list[Item] = field(default_factory=list[Item])
    errors: list[Item] = field(default_factory=list[Item])

    @property
    def empty(self) -> bool:
        return not self.items and not self.errors


class Questions:
    """``works``: the server's tasks, by taskUUID."""

    def __init__(
        self,
        loop: VirtualLoop,
        weather: Weather,
        traits: Traits,
        story: Story,
        works: Mapping[str, Work],
    ) -> None:
        self._loop = loop
        self._weather = weather
        self._traits = traits
        self._story = story
        self._works = works

    def frames(self, questions: Collection[Item]) -> list[Item]:
        """The frames that answer the questions of one message."""
        mute = self._traits.question_mute
        told = [each for each in questions if each["taskType"] != mute]
        answers = [self._answer(each["taskType"], each["taskUUID"]) for each in told]
        if len(told) < len(questions):
            self._story.count("question never answered")
        if not answers:
            return []
        if any(answer.empty for answer in answers):
            self._story.count("empty answer")
        if not self._traits.answers_joined:
            return [frame for answer in answers for frame in self._alone(answer)]
        items = [item for answer in answers for item in answer.items]
        errors = [error for answer in answers for error in answer.errors]
        if not errors:
            return [{"data": items}]
        frame = error_frame(errors, self._traits.error_key)
        return [{"data": items, **frame} if items else frame]

    def _alone(self, answer: _Answer) -> list[Item]:
        frames: list[Item] = []
        if answer.items or answer.empty:
            frames.append({"data": answer.items})
        if not answer.errors:
            return frames
        return [*frames, error_frame(answer.errors, self._traits.error_key)]

    def _answer(self, asked: str, uuid: str) -> _Answer:
        work = self._works.get(uuid)
        if work is not None and self._loop.now < work.registered_at:
            work = None
        code = self._trouble(asked)
        if code is not None:
            self._story.tell("server", f"fails {asked} of {short(uuid)}: {code}")
            codes = (code, "unknownParameter")[: self._traits.question_errors]
            return _Answer(uuid, errors=[self._failed(asked, uuid, each) for each in codes])
        if asked == "getResponse":
            return self._response(work, uuid)
        return self._details(work, uuid)

    # Trouble

    def _trouble(self, asked: str) -> str | None:
        traits, weather = self._traits, self._weather
        if traits.question_fails == asked:
            self._story.count("question always fails")
            return traits.question_code
        code = weather.questions_fail.get(asked)
        if code is not None:
            self._story.count(f"question fails: {code}")
        return code

    def _failed(self, asked: str, uuid: str, code: str) -> Item:
        error: Item = {"code": code, "message": "this question failed", "taskUUID": uuid}
        if self._traits.question_typed:
            error["taskType"] = asked
        return error

    def _unknown(self, asked: str, uuid: str) -> _Answer:
        traits = self._traits
        empty = traits.response_unknown if asked == "getResponse" else traits.details_unknown
        if empty == "empty":
            return _Answer(uuid)
        error: Item = {
            "code": "taskFailedOrNotFound" if asked == "getResponse" else "taskNotFound",
            "message": "there is no such task",
            "taskUUID": uuid,
        }
        if traits.answers_typed == "question":
            error["taskType"] = asked
        elif traits.answers_typed == "task" and not traits.denials_nameless:
            error["taskType"] = "textInference"
        if traits.denials_nameless:
            self._story.count("a denial names nobody")
            del error["taskUUID"]
        return _Answer(uuid, errors=[error])

    # getResponse

    def _response(self, work: Work | None, uuid: str) -> _Answer:
        traits = self._traits
        if work is None or (work.delivery != "async" and not traits.response_sync):
            return self._unknown("getResponse", uuid)
        if work.delivery != "async":
            self._story.count("getResponse tells a sync task")
        work.ways.add(RecoveredBy.POLL)
        answer = _Answer(uuid, [{**item, "status": "success"} for item in work.items])
        about: Item = {"taskType": work.task_type, "taskUUID": uuid}
        failure: Item = {"code": work.plan.code, "message": f"it failed: {uuid}"}
        if work.error is not None and traits.failed_in == "data":
            answer.items.append({**about, "status": "error", "error": failure})
        elif work.error is not None:
            self._story.count(f"a failed task stands in errors, typed {traits.failed_typed}")
            answer.errors.append({**failure, "taskUUID": uuid})
            if traits.failed_typed != "none":
                asked = traits.failed_typed == "question"
                answer.errors[0]["taskType"] = "getResponse" if asked else work.task_type
        elif len(work.items) < work.plan.number:
            if traits.response_running == "processing":
                progress = 100 * len(work.items) // work.plan.number
                answer.items.append({**about, "status": "processing", "progress": progress})
            elif not answer.items and traits.response_running == "unknown":
                self._story.count("a running task looks unknown")
                return self._unknown("getResponse", uuid)
        return answer

    # getTaskDetails

    def _details(self, work: Work | None, uuid: str) -> _Answer:
        traits, now = self._traits, self._loop.now
        if work is None or not traits.archive:
            return self._unknown("getTaskDetails", uuid)
        if self._weather.archive_denies:
            self._story.count("archive denies what it has")
            return self._unknown("getTaskDetails", uuid)
        about: Item = {"taskType": "getTaskDetails", "taskUUID": uuid}
        if traits.details_typed != "question":
            self._story.count("an entry of the archive has another type")
            about["taskType"] = work.task_type if traits.details_typed == "task" else None
        about["request"] = [{"taskType": work.task_type, "taskUUID": uuid}]
        running = work.finished_at is None or now < work.finished_at + traits.archive_delay
        if work.finished_at is not None and now > work.finished_at + 10 and running:
            self._story.count("archive lags far behind")
        if work.refused and (
            traits.archive_keeps == "for-good"
            or (traits.archive_keeps == "while-running" and running)
        ):
            self._story.count("archive keeps a refusal")
            kept = {"code": "conflictTaskUUID", "message": "used before", "taskUUID": uuid}
            return _Answer(uuid, [{**about, "response": {"errors": [kept]}}])
        if running:
            if traits.details_running == "not-found":
                return self._unknown("getTaskDetails", uuid)
            if traits.details_bare:
                del about["request"]
                return _Answer(uuid, [{**about, "status": "processing"}])
            if work.finished_at is None and work.made and self._in_pieces(work):
                self._story.count("archive lists pieces of a running stream")
                return _Answer(uuid, [{**about, "response": self._listing([work])}])
            status = {"status": "processing", "taskUUID": uuid}
            return _Answer(uuid, [{**about, "response": status}])
        if traits.archive_array and len(work.array) > 1:
            self._story.count("archive lists an array")
            others = [each for each in work.array if each is not work]
            about["request"] += [
                {"taskType": each.task_type, "taskUUID": each.plan.uuid} for each in others
            ]
            listed = [each for each in (*others, work) if each.finished_at is not None]
            return _Answer(uuid, [{**about, "response": self._listing(listed)}])
        if work.error is None and len(work.items) == 1 and not self._in_pieces(work):
            return _Answer(uuid, [{**about, "response": self._kept(work)[0]}])
        return _Answer(uuid, [{**about, "response": self._listing([work])}])

    def _listing(self, works: Collection[Work]) -> Item | list[Item]:
        items = [item for work in works for item in self._kept(work)]
        errors = [work.failure(anonymous=False) for work in works if work.error is not None]
        form = self._traits.archive_pieces
        if form in ("items", "frames") and any(map(self._in_pieces, works)):
            listed = items if form == "items" else [{"data": [item]} for item in items]
            return [*listed, {"errors": errors}] if errors else listed
        if not errors:
            return {"data": items}
        return {"errors": errors, "data": items} if items else {"errors": errors}

    def _kept(self, work: Work) -> list[Item]:
        """The items as the archive has them: with one field more than the live ones, or not."""
        work.ways.add(RecoveredBy.ARCHIVE)
        items = self._pieces(work) if self._in_pieces(work) else work.items
        if not self._traits.archive_field:
            return items
        if work.plan.number > 1 and not work.plan.indexed:
            self._story.count("archive has a field more")
        return [{**item, self._traits.archive_field: f"{work.received_at}"} for item in items]

    def _in_pieces(self, work: Work) -> bool:
        return bool(self._traits.archive_pieces) and work.streamed

    def _pieces(self, work: Work) -> list[Item]:
        """What was streamed, as it was sent; a whole stands beside it in some archives."""
        form = self._traits.archive_pieces
        self._story.count(f"archive lists pieces: {form}")
        pieces = work.pieces(upper=self._traits.upper)
        if form == "before":
            return [*work.items, *pieces]
        return [*pieces, *work.items] if form == "behind" else pieces
