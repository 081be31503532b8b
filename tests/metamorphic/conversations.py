"""Small lives of a client: what the server says in them, and how its tasks end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import TaskError
from tests.core.bench import Bench, error, item, uuid_of
from tests.metamorphic.grammar import Message

__all__ = ["CONVERSATIONS", "Life", "Outcome", "Talk", "play"]

Outcome = list[tuple[Any, ...]]
Rewrite = Callable[[int, str, Message], list[Message]]
SESSION, OTHER_SESSION = uuid_of(0x5E551), uuid_of(0x5E552)
POLL, ARCHIVE = "getResponse", "getTaskDetails"


class Life:
    """One client, and a server whose messages may be written another way."""

    def __init__(self, rewrite: Rewrite) -> None:
        self.bench = Bench(usual_duration=4)
        self.bench.numbers = 0xABCD  # with letters, or upper case would change nothing
        self.records: list[TaskRecord] = []
        self.said: list[tuple[str, Message]] = []
        self.moments: list[tuple[float, int]] = []
        self._rewrite = rewrite

    def say(self, kind: str, message: Message) -> None:
        """The server says it, its own way."""
        number = len(self.said)
        self.said.append((kind, message))
        self.moments.append((self.bench.now, self.bench.core.counters.frames_out))
        for written in self._rewrite(number, kind, message):
            self.bench.say(written)

    def authenticate(self, session: str = SESSION) -> None:
        """The socket is open, and the server takes the key."""
        self.bench.open()
        told = {"taskType": "authentication", "connectionSessionUUID": session}
        self.say("authentication", {"data": [told]})
        self.bench.step(0)

    def begin(self, **options: Any) -> TaskRecord:
        """A task is written."""
        self.bench.start()
        self.authenticate()
        return self.write(**options)

    def write(self, **options: Any) -> TaskRecord:
        """Another task is written."""
        record = self.bench.written_task(**options)
        self.records.append(record)
        return record

    def cut(self, session: str) -> None:
        """The socket dies, and the next one is there."""
        self.bench.cut()
        self.bench.step(0.25)
        self.authenticate(session)

    def until(self, *kinds: str) -> Message:
        """What the client asks or sends next of these kinds; other questions are denied."""
        for _ in range(400):
            self.bench.step(0)
            for task in self.bench.written():
                if task["taskType"] in kinds:
                    return task
                if task["taskType"] == "ping":
                    self.bench.say({"data": [{"taskType": "ping", "pong": True}]})
                else:
                    self.say("denial", denial(task))
            self.bench.step(0.25)
        raise AssertionError(f"nothing of {kinds} came")

    def outcome(self) -> Outcome:
        """How it ended for the callers."""
        ends: Outcome = []
        for record in self.records:
            texts = sorted(entry.get("text", "") for entry in record.items)
            streamed = record.deltas.text() if record.deltas is not None else None
            code = record.error.code if isinstance(record.error, TaskError) else None
            kind = type(record.error).__name__
            submitted = record.submitted.name if record.error is not None else None
            ends.append((record.state.name, texts, streamed, kind, code, submitted))
        core = self.bench.core
        return [*ends, (core.state.name, type(core.failure).__name__, core.counters.resends)]


Talk = Callable[[Life], None]


def denial(question: Message) -> Message:
    """There is no such task."""
    about = {"taskType": question["taskType"], "taskUUID": question["taskUUID"]}
    return {"errors": [{"code": "taskNotFound", "message": "?", **about}]}


def archived(record: TaskRecord, *texts: str) -> Message:
    """The archive has it."""
    asked = {"taskType": record.task_type, "taskUUID": record.uuid}
    answer = {"taskType": ARCHIVE, "taskUUID": record.uuid, "request": [asked]}
    return {"data": [{**answer, "response": {"data": [item(record, text) for text in texts]}}]}


def two_tasks(life: Life) -> None:
    first, second = life.begin(), life.write()
    life.say("result", {"data": [item(second, "two")]})
    life.say("result", {"data": [item(first, "one")]})


def one_frame_for_two(life: Life) -> None:
    first, second = life.begin(), life.write()
    life.say("result", {"data": [item(first, "one"), item(second, "two")]})


def results_and_an_error(life: Life) -> None:
    first, second = life.begin(), life.write()
    refused = error(second, "inferenceError", taskType=second.task_type)
    life.say("mixed", {"data": [item(first, "one")], "errors": [refused]})


def three_results(life: Life) -> None:
    record = life.begin(expected=3)
    life.say("result", {"data": [item(record, "one")]})
    life.say("result", {"data": [item(record, "two"), item(record, "three")]})


def refused(life: Life) -> None:
    record, other = life.begin(), life.write()
    life.say("refusal", {"errors": [error(record, "invalidPrompt", taskType=record.task_type)]})
    life.say("result", {"data": [item(other, "two")]})


def refused_key(life: Life) -> None:
    life.records.append(life.bench.task())
    life.bench.start()
    life.bench.open()
    told = {"code": "invalidApiKey", "message": "no", "taskType": "authentication"}
    life.say("refused key", {"errors": [told]})


def polled(life: Life) -> None:
    record = life.begin(delivery="async")
    about = {"taskType": record.task_type, "taskUUID": record.uuid}
    life.say("receipt", {"data": [about]})
    life.until(POLL)
    life.say("running", {"data": [{**about, "status": "processing"}]})
    life.until(POLL)
    life.say("poll", {"data": [item(record, "done", status="success")]})


def polled_in_parts(life: Life) -> None:
    record = life.begin(delivery="async", expected=2)
    about = {"taskType": record.task_type, "taskUUID": record.uuid}
    life.say("receipt", {"data": [about]})
    life.until(POLL)
    done = item(record, "one", status="success")
    life.say("running", {"data": [done, {**about, "status": "processing"}]})
    life.until(POLL)
    life.say("poll", {"data": [done, item(record, "two", status="success")]})


def out_of_the_archive(life: Life) -> None:
    record = life.begin()
    life.cut(OTHER_SESSION)
    life.until(ARCHIVE)
    life.say("archive", archived(record, "kept"))


def two_out_of_the_archive(life: Life) -> None:
    record = life.begin(expected=2)
    life.say("result", {"data": [item(record, "one")]})
    life.cut(OTHER_SESSION)
    life.until(ARCHIVE)
    life.say("archive", archived(record, "one", "two"))


def replayed(life: Life) -> None:
    first, second = life.begin(), life.write(expected=2)
    life.say("result", {"data": [item(second, "one")]})
    life.cut(SESSION)
    life.say("result", {"data": [item(first, "first"), item(second, "one")]})
    life.say("result", {"data": [item(second, "two")]})


def replayed_before_the_reply(life: Life) -> None:
    record = life.begin()
    life.bench.cut()
    life.bench.step(0.25)
    life.bench.open()
    life.say("result", {"data": [item(record, "early")]})
    told = {"taskType": "authentication", "connectionSessionUUID": SESSION}
    life.say("authentication", {"data": [told]})


def sent_again(life: Life) -> None:
    record = life.begin()
    life.cut(OTHER_SESSION)
    assert life.until(record.task_type)["taskUUID"] == record.uuid
    life.say("result", {"data": [item(record, "again")]})


def sent_again_and_had_arrived(life: Life) -> None:
    record = life.begin()
    life.cut(OTHER_SESSION)
    life.until(record.task_type)
    life.say("conflict", {"errors": [error(record, "conflictTaskUUID")]})
    life.until(ARCHIVE)
    life.say("archive", archived(record, "kept"))


def streamed(life: Life) -> None:
    record = life.begin(delivery="stream", deltas=Deltas())
    about = {"taskUUID": record.uuid}
    life.say("delta", {"data": [{**about, "delta": {"text": "one "}}]})
    life.say("delta", {"data": [{**about, "delta": {"text": "two"}}]})
    life.say("last delta", {"data": [{**about, "delta": {"text": "."}, "finishReason": "stop"}]})


def streamed_and_cut(life: Life) -> None:
    record = life.begin(delivery="stream", deltas=Deltas())
    life.say("delta", {"data": [{"taskUUID": record.uuid, "delta": {"text": "one "}}]})
    life.cut(OTHER_SESSION)
    life.until(ARCHIVE)
    life.say("archive", archived(record, "one two."))


CONVERSATIONS: tuple[Talk, ...] = (
    two_tasks,
    one_frame_for_two,
    results_and_an_error,
    three_results,
    refused,
    refused_key,
    polled,
    polled_in_parts,
    out_of_the_archive,
    two_out_of_the_archive,
    replayed,
    replayed_before_the_reply,
    sent_again,
    sent_again_and_had_arrived,
    streamed,
    streamed_and_cut,
)


def play(talk: Talk, rewrite: Rewrite) -> Life:
    """One conversation, with the server's messages rewritten."""
    life = Life(rewrite)
    talk(life)
    return life
