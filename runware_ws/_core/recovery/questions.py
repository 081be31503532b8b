"""The questions that are due, those that are open, and whom an answer without a name is about."""

from __future__ import annotations

from collections import Counter, OrderedDict
from itertools import islice
from typing import Any

from runware_ws._core import wire
from runware_ws._core.states import FOREVER
from runware_ws._core.tasks.ladder import QuestionType
from runware_ws._core.tasks.record import LAST_CALL, TaskRecord
from runware_ws._core.tasks.schedule import TURN

__all__ = ["OpenQuestions"]

ROUND_TRIPS = 3
"""So many before a deadline there is time for both kinds of question, one by one."""

MUTE = 2
"""A kind of question that was given up so often, and never answered, is taken to be mute."""


class OpenQuestions:
    """At most one question about each task is due or open. ``window``: so many may be open."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.due: OrderedDict[str, TaskRecord] = OrderedDict()
        # In the order in which they were asked; and how many of each kind.
        self.open: dict[str, TaskRecord] = {}
        self._of_kind: Counter[QuestionType] = Counter()
        # Frames of questions are numbered; how many empty answers those of the open ones got (0:
        # others), and how many of their questions were closed whose answer may still come, and be
        # such a one.
        self._frames = 0
        self._emptied: dict[int, int] = {}
        self._unanswered: dict[int, int] = {}
        # When a frame was last answered by name, where such answers may leave some of it out: they
        # may come in parts.
        self._part_at: dict[int, float] = {}
        # How often each kind was given up on this socket, and when; which kinds it answers.
        self._given_up: Counter[QuestionType] = Counter()
        self._given_up_at: dict[QuestionType, float] = {}
        self._rests_until: dict[QuestionType, float] = {}
        self._heard: set[QuestionType] = set()
        # Whether this server gives answers that name nobody; and such to several questions, where
        # what it does not know may be left out.
        self._nameless = self._joined = False
        # The frame that was answered last by name, and the message that did so.
        self._told_last = (0, 0)
        # How long an answer takes; that to the authentication is a first guess.
        self.round_trip = 0.0

    def add(self, record: TaskRecord, now: float) -> None:
        """A question about this task is due; if its deadline is near, before all others.

        Not if one is open: it may be asked about before there is room for it, and then is adopted.
        """
        if record.ladder.question is not None:
            return
        self.due[record.uuid] = record
        if record.is_last_call(now):
            self.due.move_to_end(record.uuid, last=False)

    def ask(self, most: int, now: float) -> list[tuple[TaskRecord, QuestionType, bytes]]:
        """The questions of the next frame, ``most`` at the most: they are open from here on.

        Those about tasks whose deadline is near do not wait for the answers to others, but for a
        second window at the most.
        """
        asked: list[tuple[TaskRecord, QuestionType, bytes]] = []
        self._frames += 1
        for record in list(islice(self.due.values(), TURN if self._nameless else most)):
            last_call = record.is_last_call(now)
            room = self.window * (1 + last_call)
            if len(self.open) >= room or len(asked) >= min(most, self.window):
                break
            kind = self.next_kind(record, now)
            if not last_call and self._would_confuse(kind):
                if asked:
                    continue
                # The first of all is not passed by: what is open is answered, and then it is asked.
                break
            del self.due[record.uuid]
            self._of_kind[kind] += 1
            record.asked(kind, self._frames, now)
            self.open[record.uuid] = record
            asked.append((record, kind, wire.question(kind.value, record.uuid)))
        return asked

    def next_kind(self, record: TaskRecord, now: float) -> QuestionType:
        """The way in which a task would be asked about now."""
        kind = _way_to_ask(record, now)
        if self._nameless and not self._heard:
            # One after the other is tried, until it is known which are answered.
            return min(kind, kind.other, key=self._given_up.__getitem__)
        return kind if self._may_ask(kind, now) else kind.other

    def _would_confuse(self, kind: QuestionType) -> bool:
        """Whether nobody could tell an empty answer to this from one to the questions now open.

        Where such answers come, both kinds are open together only if one of them is known to get
        no answer.
        """
        return (
            self._nameless
            and self._of_kind[kind.other] > 0
            and not (self.silent(kind) or self.silent(kind.other))
        )

    def _may_ask(self, kind: QuestionType, now: float) -> bool:
        """Whether one more of this kind may be open now; otherwise the other way is asked.

        A kind that was given up on this socket has half of the window; of a window of one, half of
        the time. Or the questions that a server does not answer, each of which is waited for, would
        hold up those that it answers.
        """
        if not self._given_up[kind]:
            return True
        if self.window == 1:
            return now >= self._rests_until[kind]
        return self._of_kind[kind] < self.window // 2

    def close(self, record: TaskRecord, *, answered: bool = False) -> bool:
        """The question about a task is no longer open; False if none was.

        Not ``answered``: the task ended otherwise, or something was pushed.
        """
        kind = record.closed()
        if kind is None:
            return False
        del self.open[record.uuid]
        self._of_kind[kind] -= 1
        frame = record.ladder.asked_in
        if not answered:
            self._unanswered[frame] = self._unanswered.get(frame, 0) + 1
        notes: tuple[dict[int, Any], ...] = (self._emptied, self._unanswered, self._part_at)
        for noted in notes:
            if len(noted) > 2 * len(self.open):
                frames = {each.ladder.asked_in for each in self.open.values()}
                for number in noted.keys() - frames:
                    del noted[number]
        return True

    def took(self, seconds: float) -> None:
        """An answer took so long. The measure goes up at once, and down slowly."""
        self.round_trip = max(seconds, (3 * self.round_trip + seconds) / 4)

    def in_time(self, record: TaskRecord) -> float:
        """From when on it is asked about without a pause, so that answers come in time."""
        return record.deadline - max(LAST_CALL, ROUND_TRIPS * self.round_trip)

    def give_up(self, record: TaskRecord, question: QuestionType, now: float) -> None:
        """The open question about a task was not answered in time.

        What was asked in the same silence, about other tasks too, counts once.
        """
        self.close(record)
        if record.ladder.asked_at >= self._given_up_at.get(question, 0.0):
            self._given_up[question] += 1
            self._given_up_at[question] = now
        self._rests_until[question] = 2 * now - record.ladder.asked_at

    def heard(self, question: QuestionType) -> None:
        """The server answered a question of this kind."""
        self._heard.add(question)

    def silent(self, question: QuestionType) -> int:
        """How often this kind was given up on a socket that answers the other only.

        Its server reads and is not slow, so this kind may be one that it never answers.
        """
        mute = question not in self._heard and question.other in self._heard
        return self._given_up[question] if mute else 0

    @property
    def mute(self) -> int:
        """The set of the kinds that this socket answers for no task: none or one."""
        return sum(kind.bit for kind in QuestionType if self.silent(kind) >= MUTE)

    def forget(self, record: TaskRecord) -> None:
        """A task ends: no question about it is due any more."""
        self.due.pop(record.uuid, None)

    def clear(self) -> None:
        """The socket is gone: every question is void."""
        for record in self.open.values():
            record.closed()
        self.open.clear()
        self._of_kind.clear()
        self.due.clear()
        self._emptied.clear()
        self._unanswered.clear()
        self._part_at.clear()
        self._given_up.clear()
        self._given_up_at.clear()
        self._heard.clear()

    def sole(self) -> TaskRecord | None:
        """The one task asked about during the search for a culprit; otherwise ``None``."""
        if self.window == 1 and len(self.open) == 1:
            return next(iter(self.open.values()))
        return None

    def emptied(self, kind: QuestionType | None) -> tuple[list[TaskRecord], bool]:
        """An empty answer came: the open questions of its frame, and whether it is about them all.

        ``kind``: it is about questions of this kind. It names nobody, and is no answer of a kind
        that gets none. There may be one such answer for each question, in any order, or one for all
        that a frame asked. So it is first taken as the answer to the oldest frame that had none,
        else to the oldest frame. It is about all that are still open there if each has had one;
        otherwise about those that are not answered by name soon.
        """
        self._nameless = True
        if kind is not None:
            self._heard.add(kind)
        records = [each for each in self._answerable() if kind in (None, each.ladder.question)]
        frames = dict.fromkeys(record.ladder.asked_in for record in records)
        frame = next(
            (each for each in frames if not self._emptied.get(each)), next(iter(frames), 0)
        )
        if not frame:
            return [], False
        kinds = {each for record in records if (each := record.ladder.question) is not None}
        if len(kinds) == 1:
            self._heard |= kinds
        self._emptied[frame] = self._emptied.get(frame, 0) + 1
        mates = [record for record in records if record.ladder.asked_in == frame]
        return mates, self._is_about_all(frame, len(mates))

    def answered(self, record: TaskRecord, message: int, now: float) -> list[TaskRecord]:
        """A question was answered by message number ``message``: those of its frame that are open,
        and that this server may have left out. They are told once."""
        frame, told = record.ladder.asked_in, self._told_last
        self._told_last = (frame, message)
        self._joined = self._joined or told == self._told_last
        if not (self._nameless or self._joined):
            return []
        self._part_at[frame] = now
        if frame in self._emptied:
            return []
        mates = self._open_in(frame)
        if mates:
            self._emptied[frame] = 0
        return mates

    def emptied_since(self, record: TaskRecord) -> list[TaskRecord]:
        """A question was closed: those of its frame that are left, if by now each of them has had
        an empty answer; otherwise none."""
        frame = record.ladder.asked_in
        if not self._emptied.get(frame):
            return []
        mates = self._open_in(frame)
        if not self._is_about_all(frame, len(mates)):
            return []
        self._part_at[frame] = -FOREVER  # no more is to come
        return mates

    def _is_about_all(self, frame: int, mates: int) -> bool:
        """Whether so many open questions of a frame had an empty answer each, whichever others may
        be about those that were closed without one."""
        return self._emptied.get(frame, 0) >= mates + self._unanswered.get(frame, 0)

    def _answerable(self) -> list[TaskRecord]:
        """The open questions, in order, but for those of a kind that gets no answer."""
        open_kinds = [kind for kind in QuestionType if self._of_kind[kind]]
        kinds = [kind for kind in open_kinds if not self.silent(kind)] or open_kinds
        return [record for record in self.open.values() if record.ladder.question in kinds]

    def _open_in(self, frame: int) -> list[TaskRecord]:
        """The questions of this frame that are open, but for a kind that gets no answer."""
        return [record for record in self._answerable() if record.ladder.asked_in == frame]

    def left_out_at(self, record: TaskRecord) -> float | None:
        """When the frame in which a task was asked about was last answered by name, if such answers
        may leave it out. ``-FOREVER``: there was none, but an empty one."""
        frame = record.ladder.asked_in
        return self._part_at.get(frame, -FOREVER) if frame in self._emptied else None


def _way_to_ask(record: TaskRecord, now: float) -> QuestionType:
    """The kind of the next question: the usual one for the task, or the other by turns."""
    ladder, usual = record.ladder, QuestionType.ARCHIVE
    # Not in the same order on each socket: what fails soon after each cut would hit one kind only.
    other = (ladder.misses + ladder.sockets // 2) % 2 == 1 and ladder.misses > 0
    if record.delivery == "async":
        usual = QuestionType.POLL
        if ladder.confirmed:
            # Of a task that the server has shown to have, a poll knows more.
            # But if it is not answered, the other may be.
            other = ladder.silences % 2 == 1 or ladder.misses % 3 == 2
            # Where a refusal of a copy may be its end, what a poll says may be about the question.
            other = other or (ladder.barred is not None and ladder.last_question is usual)
    if record.is_last_call(now):
        if ladder.found:
            # A poll has told of the task, so it will tell its end; the archive may have none.
            usual = QuestionType.POLL
        # By the usual way first; there is time for the other, too, whatever the one has told.
        other = record.is_last_call(ladder.asked_at) and ladder.last_question is usual
    return usual.other if other else usual
