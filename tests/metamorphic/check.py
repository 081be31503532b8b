"""Plays every conversation in every way, and tells which end otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from tests.metamorphic.conversations import Life, Talk, play
from tests.metamorphic.grammar import Message, merged, more_ways, ways

__all__ = ["Rewritten", "differences", "rewritten"]

Rewritten = tuple[str, dict[int, list[Message]]]
"""What is changed, and the messages that stand in the place of others, by their number."""


def plain(talk: Talk) -> Life:
    """The conversation as it is."""
    return play(talk, lambda _number, _kind, message: [message])


def rewritten(life: Life, *, deep: int = 0) -> Iterator[Rewritten]:
    """Every other way to write what was said. ``deep``: and every n-th way to change that again."""
    count = 0
    for number, (kind, message) in enumerate(life.said):
        for name, written in ways(kind, message):
            told = f"message {number} ({kind}): {name}"
            yield told, {number: written}
            if not deep:
                continue
            for at, part in enumerate(written):
                for again, more in more_ways(part):
                    count += 1
                    if count % deep == 0:
                        whole = [*written[:at], *more, *written[at + 1 :]]
                        yield f"{told}, and {again}", {number: whole}
    yield from _merged(life)


def _merged(life: Life) -> Iterator[Rewritten]:
    """Neighbours that the client hears at one moment, in one frame."""
    for number in range(1, len(life.said)):
        first, second = life.said[number - 1][1], life.said[number][1]
        if life.moments[number - 1] == life.moments[number]:
            both = {number - 1: list[Message](), number: [merged(first, second)]}
            yield f"messages {number - 1} and {number} in one frame", both


def differences(talk: Talk, *, deep: int = 0) -> tuple[int, list[str]]:
    """In how many ways a conversation was written, and those that end otherwise."""
    life = plain(talk)
    expected = life.outcome()
    count, wrong = 0, list[str]()
    for name, changes in rewritten(life, deep=deep):
        count += 1

        def rewrite(
            number: int, _kind: str, message: Message, new: dict[int, list[Message]] = changes
        ) -> list[Message]:
            return new.get(number, [message])

        try:
            found = play(talk, rewrite).outcome()
        except Exception as exc:  # the core never raises, whatever comes
            wrong.append(f"{name}: {exc!r}; written {changes}")
            continue
        if found != expected:
            wrong.append(f"{name}: {found} and not {expected}; written {changes}")
    return count, wrong
