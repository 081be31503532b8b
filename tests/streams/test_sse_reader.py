"""The reader of server-sent events, without I/O."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws._io.sse import EventReader, EventTooBig

PIECES = [b"data:", b"data: ", b"data", b"x", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"id: 1"]
LETTERS = ["é".encode(), "🜁".encode(), b"\xef\xbb\xbf", b"\x00", "\u2028".encode()]


def by_the_standard(body: bytes) -> list[bytes]:
    """The data of each event, as the standard has it, read slowly from the whole."""
    body = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found: list[bytes] = []
    data = b""
    for line in body.split(b"\n")[:-1]:
        if not line:
            if data.removesuffix(b"\n"):
                found.append(data.removesuffix(b"\n"))
            data = b""
        name, _, value = line.partition(b":")
        if name == b"data":
            data += value.removeprefix(b" ") + b"\n"
    return found


def read(*chunks: bytes, largest: int = 1_000_000) -> list[bytes]:
    reader = EventReader(largest)
    return [data for chunk in chunks for data in reader.feed(chunk)]


@given(st.lists(st.sampled_from(PIECES + LETTERS), max_size=40), st.data())
def test_as_the_standard_has_it_however_it_is_cut(pieces: list[bytes], data: st.DataObject) -> None:
    body = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    ends = [0, *cuts, len(body)]
    chunks = [body[start:end] for start, end in pairwise(ends)]
    assert read(*chunks) == by_the_standard(body)


def test_what_is_skipped() -> None:
    body = b': hello\n\nid: 1\nevent: delta\nretry: 5\ndata: {"a":1}\n\n\ndatum: x\ndata:[DONE]\n\n'
    assert read(body) == [b'{"a":1}', b"[DONE]"]


def test_lines_are_joined_and_ends_may_differ() -> None:
    assert read(b"data: a\rdata: b\r\ndata\ndata:  c\n\r\n") == [b"a\nb\n\n c"]
    assert read(b"\xef\xbb", b"\xbfdata: a\n", b"\n") == [b"a"]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_the_limit_is_met_to_the_byte(end: bytes) -> None:
    fits = b"data: " + b"x" * 100 + end
    assert read(fits, fits, largest=100) == [b"x" * 100] * 2
    with pytest.raises(EventTooBig):
        read(b"data: " + b"x" * 101 + end, largest=100)
    with pytest.raises(EventTooBig):
        read(b"data: " + b"x" * 50 + b"\ndata: " + b"x" * 50 + end, largest=100)


def test_what_came_before_a_giant_is_given() -> None:
    events = EventReader(10).feed(b"data: a\n\ndata: " + b"x" * 50)
    assert next(events) == b"a"
    with pytest.raises(EventTooBig):
        next(events)


@pytest.mark.parametrize("piece", [b"x", b": ", b"data:\n"])
def test_nothing_without_end_is_kept(piece: bytes) -> None:
    with pytest.raises(EventTooBig):
        read(*[piece] * 2_000, largest=1_000)


def test_an_event_of_many_short_lines_takes_no_more_than_a_few_times_its_size() -> None:
    limit = 1 << 20
    reader = EventReader(limit)
    tracemalloc.start()
    try:
        with pytest.raises(EventTooBig):
            [list(reader.feed(b"data:ab\n" * 1_000)) for _ in range(limit)]
        assert tracemalloc.get_traced_memory()[1] < 3 * limit
    finally:
        tracemalloc.stop()
