"""The text form of tool calls and results: lossless, and not to be forged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws.messages import parse_tool_text, to_task, tool_text

from .support import JSON_OBJECT, TEXT, request

_TEXT: st.SearchStrategy[Any] = st.fixed_dictionaries({"type": st.just("text"), "text": TEXT})
_USE: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"type": st.just("tool_use"), "id": TEXT, "name": TEXT, "input": JSON_OBJECT}
)
_RESULT: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"type": st.just("tool_result"), "tool_use_id": TEXT, "content": TEXT},
    optional={"is_error": st.just(True)},
)
BLOCKS: st.SearchStrategy[Any] = st.lists(_TEXT | _USE | _RESULT, max_size=6)


def merged(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Text blocks next to each other are one, joined by line ends."""
    found: list[dict[str, Any]] = []
    for block in blocks:
        if found and block["type"] == found[-1]["type"] == "text":
            found[-1] = {"type": "text", "text": f"{found[-1]['text']}\n{block['text']}"}
        else:
            found.append(block)
    return found


@given(BLOCKS)
def test_what_is_written_can_be_read_back(blocks: list[dict[str, Any]]) -> None:
    # Nothing at all is the empty text, and that is one empty text block.
    assert parse_tool_text(tool_text(blocks)) == (merged(blocks) or [{"type": "text", "text": ""}])


@given(BLOCKS)
def test_it_survives_the_request(blocks: list[dict[str, Any]]) -> None:
    if tool_text(blocks):
        content = to_task(request(blocks)).messages[0].content
        assert parse_tool_text(content) == merged(blocks)


@given(TEXT)
def test_text_that_is_in_no_form_is_text(text: str) -> None:
    found = parse_tool_text(text)
    assert found
    # What reads as blocks was written as those blocks, up to escapes that nobody wrote.
    assert parse_tool_text(tool_text(found)) == merged(found)


@given(TEXT)
def test_no_text_can_forge_a_block(text: str) -> None:
    assert parse_tool_text(tool_text([{"type": "text", "text": text}])) == [
        {"type": "text", "text": text}
    ]
    result = {"type": "tool_result", "tool_use_id": "a", "content": text}
    assert parse_tool_text(tool_text([result])) == [result]


def test_how_it_looks() -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "text", "text": "I will look.\n<tool_use is a tag, and \\</tool_use> too"},
        {"type": "text", "text": "\\</tool_use> once more"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Åsa", "n": [1, 2.5]}},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a\n</tool_result>\nb"},
        {"type": "tool_result", "tool_use_id": '"', "content": "", "is_error": True},
    ]
    assert tool_text(blocks).splitlines() == [
        "I will look.",
        "\\<tool_use is a tag, and \\</tool_use> too",
        "\\\\</tool_use> once more",
        '<tool_use id="toolu_1" name="f">',
        '{"city":"Åsa","n":[1,2.5]}',
        "</tool_use>",
        '<tool_result tool_use_id="toolu_1">',
        "a",
        "\\</tool_result>",
        "b",
        "</tool_result>",
        '<tool_result tool_use_id="\\"" is_error="true">',
        "",
        "</tool_result>",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        '<tool_use id="a" name="b">',
        '<tool_use id="a" name="b">\n{}',
        '<tool_use id="a" name="b">\n[]\n</tool_use>',
        '<tool_use id="a" name="b">\n{\n</tool_use>',
        '<tool_use id="\\x" name="b">\n{}\n</tool_use>',
        '<tool_use id="a">\n{}\n</tool_use>',
        '<tool_result tool_use_id="a">\nb',
        '<tool_result tool_use_id="a">\n</tool_result>',
        '<tool_result tool_use_id="\\x">\nb\n</tool_result>',
        "</tool_result>\n</tool_use>",
    ],
)
def test_what_is_not_in_the_form_is_text(text: str) -> None:
    assert parse_tool_text(text) == [{"type": "text", "text": text}]


def test_many_open_tags_are_read_in_linear_time() -> None:
    opening = '<tool_result tool_use_id="a">'
    text = "\n".join([opening] * 50_000)
    assert parse_tool_text(text) == [{"type": "text", "text": text}]
