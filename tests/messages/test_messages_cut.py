"""The events of a stream that was cut: what came and the rest make the message of the whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws import Result
from runware_ws._core.tasks.deltas import Deltas
from runware_ws.messages import EventBuilder, to_message
from runware_ws.models.delta import Delta
from tests.core.streamed import EXAMPLES, Answer, arguments_in, streams

from .support import UUID, accumulated, plain


def gathered(message: dict[str, Any]) -> dict[str, Any]:
    """A message with what its blocks say, each kind for itself.

    Text behind a call is a block of its own in a stream; a whole result has all text in one place.
    """
    blocks = message.pop("content")
    texts = {
        name: "".join(block[name] for block in blocks if block["type"] == name)
        for name in ("text", "thinking")
    }
    calls = [block for block in blocks if block["type"] == "tool_use"]
    return {**message, **texts, "calls": sorted(calls, key=lambda block: str(block["id"]))}


@pytest.mark.slow
@EXAMPLES
@given(streams(), st.data())
def test_what_came_and_the_rest_make_the_message_of_the_whole(
    case: tuple[Answer, list[dict[str, Any]]], data: st.DataObject
) -> None:
    answer, items = case
    deltas = Deltas()
    for item in items[: data.draw(st.integers(0, len(items)))]:
        deltas.add(item, 1.0)
    deltas.suspended = True
    kinds = [data.draw(st.sampled_from(["same", "object", "spaced"])) for _ in answer.calls]
    given_ = map(st.composite(arguments_in), answer.calls, kinds)
    whole = answer.whole([data.draw(each) for each in given_])
    assert deltas.complete(whole, 2.0)
    builder = EventBuilder(UUID)
    events = [event for item in deltas.pending for event in builder.feed(Delta.of(item))]
    assert not any(event.type in ("message_delta", "message_stop") for event in events)
    events += builder.finish()
    expected = gathered(plain(to_message(Result(UUID, [whole]))))
    assert gathered(plain(builder.message())) == expected
    if all(call.value is not None for call in answer.calls):
        # The accumulator guesses what broken arguments might say.
        assert gathered(plain(accumulated(events))) == expected
