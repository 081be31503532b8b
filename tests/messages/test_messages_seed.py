"""``to_task`` against the second seed's request schema: where the two differ is told here."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runware_ws import InvalidTask, TextInference
from runware_ws.messages import to_task
from runware_ws.models.jsonable import is_array, is_object

from .support import TEXT, validator

Json = st.SearchStrategy[Any]

SEED = validator("request")
URL = "https://example.com/a.png"

_JUNK: Json = st.sampled_from([None, True, 0, -1, 0.5, 7, "x", "", [], {}, [[]], "user"])
_SEED_BLOCK: Json = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "audio"]) | _JUNK},
    optional={
        "text": TEXT | _JUNK,
        "source": st.just({"type": "url", "url": URL}) | _JUNK,
        "other": _JUNK,
    },
)
_SEED_MESSAGE: Json = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant"]) | _JUNK,
        "content": TEXT | st.lists(_SEED_BLOCK | _JUNK, max_size=3) | _JUNK,
        "other": _JUNK,
    },
)
_SEED_REQUEST: Json = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(_SEED_MESSAGE | _JUNK, max_size=3) | _JUNK,
        "max_tokens": st.integers(1, 70_000) | _JUNK,
        "system": TEXT | _JUNK,
        "stream": _JUNK,
        "metadata": _JUNK,
        "temperature": _JUNK,
        "top_p": _JUNK,
        "top_k": _JUNK,
        "other": _JUNK,
    },
)
# The shape's rules are wider than Runware's here; docs/messages.md tells each.
_NARROWER = (
    "at least",
    "at most",
    "must be an integer",
    "is not supported",
    "are not supported",
    "must be a string",  # the seed lets a text block go without text
    "must be an object",  # ... and an image without a source
    "must be 'base64' or 'url'",
)


def _given(value: Any) -> Any:
    """Without the fields that are null, which count as not given."""
    if is_object(value):
        return {key: _given(each) for key, each in value.items() if each is not None}
    return [_given(each) for each in value] if is_array(value) else value


@given(_SEED_REQUEST)
def test_verdicts_against_the_seed(fields: dict[str, Any]) -> None:
    good = SEED.is_valid(_given(fields))
    task: TextInference | None = None
    problems: tuple[str, ...] = ()
    try:
        task = to_task(fields)
    except InvalidTask as error:
        problems = error.problems
    if task is None:
        assert not good or all(any(word in each for word in _NARROWER) for each in problems)
    else:
        # An empty list says nothing: that ``system`` may be a list of text blocks is ours.
        assert good or fields.get("system") == []
        assert [m.role for m in task.messages] == [m["role"] for m in fields["messages"]]
