"""What a line is known by: its content, and how many equal ones came before it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from runware_ws.batch.reading import Line
from runware_ws.batch.reading.identity import DigestCounts, TaskUUIDs

from .support import read_all, read_one

UUID = "7f3d7a52-3a0f-4d59-9f0e-0d6a3f1b2c4d"
ASKED = [{"role": "user", "content": "hi"}]

_PROMPTS = st.fixed_dictionaries(
    {"prompt": st.sampled_from("abc")},
    optional={"id": st.sampled_from([1, 2, "1", 10**22, 10**22 + 1]), "max_tokens": st.just(5)},
)
_OTHERS: list[Any] = [
    {"messages": ASKED, "settings": {"maxTokens": 3, "stopSequences": ["x"]}},
    {"custom_id": "p", "params": {"model": "claude-haiku-4-5", "max_tokens": 3, "messages": ASKED}},
    {"custom_id": "o", "body": {"messages": ASKED, "max_tokens": 3}},
    {"prompt": "no", "maxTokens": 5},
    {"nothing": 1},
    5,
    [1],
    "\ud800",
    {"prompt": "\ud800", "id": 4},
]
LINES: st.SearchStrategy[list[Any]] = st.lists(_PROMPTS | st.sampled_from(_OTHERS), min_size=2)


def written(value: Any, style: dict[str, Any] | None = None) -> bytes:
    return json.dumps(value, **(style or {})).encode("utf-8", "surrogatepass")


def keys(values: list[Any]) -> list[int]:
    return [line.key for line in read_all(b"\n".join(map(written, values)))]


def kinds(lines: list[Line]) -> dict[int, Any]:
    return {line.key: (line.id, line.task, line.problem) for line in lines}


@given(LINES, st.randoms(use_true_random=False))
def test_another_order_costs_nothing(values: list[Any], random: Any) -> None:
    before = read_all(b"\n".join(map(written, values)))
    random.shuffle(values)
    after = read_all(b"\n".join(map(written, values)))
    assert len(kinds(before)) == len(values)
    assert kinds(before) == kinds(after)


@given(LINES, LINES)
def test_insertions_and_deletions_cost_nothing(values: list[Any], more: list[Any]) -> None:
    before = Counter(keys(values))
    after = Counter(keys([*more, *values]))
    assert before <= after
    assert max(after.values()) == 1


@given(LINES, st.lists(st.sampled_from([b"", b"  ", b"\r", b"\t\t"]), min_size=1))
def test_blank_lines_cost_nothing(values: list[Any], blanks: list[bytes]) -> None:
    texts: list[bytes] = []
    for number, value in enumerate(values):
        texts += [written(value), blanks[number % len(blanks)]]
    lines = read_all(b"\n".join([*blanks, *texts]))
    assert [line.key for line in lines] == keys(values)
    assert len({line.number for line in lines}) == len(values)


STYLES = st.fixed_dictionaries(
    {},
    optional={
        "sort_keys": st.just(True),
        "separators": st.sampled_from([(",", ":"), (" , ", "  :\t")]),
    },
)


@given(LINES, STYLES)
def test_other_white_space_and_another_order_of_fields_cost_nothing(
    values: list[Any], style: dict[str, Any]
) -> None:
    texts = [b" " + written(value, style) + b" \r" for value in values]
    assert [line.key for line in read_all(b"\n".join(texts))] == keys(values)


@given(LINES)
def test_an_array_has_the_lines_of_its_entries(values: list[Any]) -> None:
    whole = read_all(json.dumps(values, indent=1).encode(), "in.json")
    assert [line.key for line in whole] == keys(values)
    assert [line.number for line in whole] == list(range(len(values)))


@given(st.lists(st.sampled_from('ab"\n,;\u2028\x0bé'), min_size=1).map("".join))
def test_a_form_does_not_matter(prompt: str) -> None:
    row = '"' + prompt.replace('"', '""') + '"'
    tables = [
        f"id,prompt\nx,{row}\n".encode(),
        f"prompt\tid\n{row}\tx".encode("utf-16"),
        f"\ufeffnote;prompt;id\r\nn;{row};x\r\n".encode(),
    ]
    wanted = [read_one(written({"id": "x", "prompt": prompt}))]
    for table in tables:
        assert kinds(read_all(table, "in.csv" if b"," in table[:9] else "in")) == kinds(wanted)


def test_what_changes_the_key() -> None:
    one = {"id": 1, "prompt": "a"}
    key = keys([one])[0]
    assert keys([{"custom_id": 1, "prompt": "a", "note": "mine"}]) == [key]
    assert keys([{**one, "taskUUID": UUID}]) == [key]
    for other in ({**one, "id": "1"}, {**one, "id": 2}, {"prompt": "a"}, {**one, "prompt": "b"}):
        assert keys([other]) != [key]
    assert keys([{**one, "max_tokens": 5}]) != [key]


def test_a_tasks_own_uuid_is_no_content_but_that_of_another_is() -> None:
    own = {"taskUUID": UUID, "messages": ASKED}
    assert keys([own]) == keys([{"messages": ASKED}])
    questions = [
        {"taskType": "getTaskDetails", "taskUUID": UUID},
        {"taskType": "getTaskDetails", "taskUUID": UUID.replace("7", "8")},
    ]
    assert sorted(keys(questions)) == sorted(keys(questions[::-1]))
    assert keys(questions[:1]) != keys(questions[1:])
    assert all(key % 2**32 == 0 for key in keys(questions))


def test_equal_lines_are_counted() -> None:
    found = keys([{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}, {"prompt": "a"}])
    assert [key % 2**32 for key in found] == [0, 0, 1, 2]
    assert found[0] >> 32 == found[2] >> 32 == found[3] >> 32 != found[1] >> 32
    assert max(found) < 2**128


@given(st.lists(st.integers(0, 2**96 - 1) | st.integers(0, 5)))
def test_digests_are_counted(digests: list[int]) -> None:
    counts, seen = DigestCounts(), Counter[int]()
    for digest in digests:
        # 0 and 1 share a place in the table, which real digests do once in 10**19.
        digest = digest or 1
        assert counts.add(digest) == seen[digest]
        seen[digest] += 1
    assert set(counts.repeated) == {digest for digest, times in seen.items() if times > 1}


def test_the_table_of_digests_grows() -> None:
    counts = DigestCounts()
    for number in range(5000):
        assert counts.add(number * 0x9E3779B97F4A7C15 + 1) == 0
    for number in range(5000):
        assert counts.add(number * 0x9E3779B97F4A7C15 + 1) == 1


def test_a_set_of_task_uuids_knows_them_in_any_case() -> None:
    uuids = TaskUUIDs()
    mine, others = ([str(uuid4()) for _ in range(5000)] for _ in range(2))
    for uuid in mine:
        uuids.add(uuid)
    assert all(uuid in uuids and uuid.upper() in uuids for uuid in mine)
    assert not any(uuid in uuids for uuid in others)
    assert 7 not in uuids
