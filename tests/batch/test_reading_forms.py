"""Files as people have them: forms, compressions, encodings, and what is wrong with them."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import os
import signal
import sys
import threading
import tracemalloc
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws.batch.reading import INPUT_FORMATS, InputError, Line, Source
from runware_ws.batch.reading.documents import Documents

from .support import read_all

parquet: Any = importlib.import_module("pyarrow.parquet")
arrow: Any = importlib.import_module("pyarrow")
zstandard: Any = importlib.import_module("zstandard")

ASKED = [{"role": "user", "content": "a"}]
PARAMS: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": ASKED}
BATCH: dict[str, Any] = {"custom_id": "x", "params": PARAMS}
TWO = [{"id": 1, "prompt": "a"}, {"id": 2, "prompt": "b"}]
JSONL = b"".join(json.dumps(each).encode() + b"\n" for each in TWO)
CSV = b"id,prompt,note\n1,a,\n2,b,mine\n"


def prompts(lines: list[Line]) -> list[str | None]:
    return [line.task["messages"][0]["content"] if line.task else line.problem for line in lines]


def numbers(lines: list[Line]) -> list[int]:
    return [line.number for line in lines]


def table(rows: list[dict[str, Any]], **options: Any) -> bytes:
    out = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(rows), out, **options)
    return out.getvalue()


# JSON


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (JSONL, [1, 2]),
        (b"\n\n" + JSONL.replace(b"\n", b"\r\n\r\n"), [3, 5]),
        (JSONL.rstrip(), [1, 2]),
        (JSONL.replace(b"\n", b"\r"), [1, 1]),  # one line, to a machine that knows only \n
        (json.dumps(TWO).encode(), [0, 1]),
        (b" \n" + json.dumps(TWO, indent=2).encode() + b"\n\n", [0, 1]),
        (json.dumps({"requests": TWO}).encode(), [0, 1]),
        (json.dumps({"requests": TWO}, indent=4).encode(), [0, 1]),
        (b"\n".join(json.dumps(each, indent=1).encode() for each in TWO), [1, 5]),
        (b"".join(json.dumps(each, indent=1).encode() for each in TWO), [1, 4]),
    ],
)
@pytest.mark.parametrize("name", ["in", "in.json", "in.jsonl", "in.ndjson", "in.txt", "in.csv"])
def test_forms_of_json(content: bytes, found: list[int], name: str) -> None:
    lines = read_all(content, name)
    assert prompts(lines) == ["a", "b"]
    assert numbers(lines) == found


def test_a_file_of_anthropic_requests() -> None:
    lines = read_all(json.dumps({"requests": [BATCH, BATCH]}).encode(), "in.json")
    assert prompts(lines) == ["a", "a"]
    assert [line.id for line in lines] == [("custom_id", "x")] * 2
    assert lines[0].key != lines[1].key


def test_one_object_is_one_line() -> None:
    assert prompts(read_all(b'{"prompt": "a"}')) == ["a"]
    assert prompts(read_all(json.dumps(BATCH, indent=2).encode())) == ["a"]
    lines = read_all(b'{"model": 1, "requests": []}')
    assert "requests: must be the first field" in (lines[0].problem or "")


def test_a_long_array_is_read_bit_by_bit() -> None:
    rows: list[dict[str, Any]] = [
        {"id": number, "prompt": "é" * (number % 7000)} for number in range(200)
    ]
    rows[7]["prompt"] = "long " * 60_000
    rows[9] = {"id": 9, "prompt": "x", "deep": [[[{}]]], "big": 12345678901234567890123}
    for ascii_only in (True, False):
        content = json.dumps(rows, ensure_ascii=ascii_only).encode()
        lines = read_all(content)
        assert [line.id for line in lines] == [("id", number) for number in range(200)]
        assert prompts(lines)[7] == rows[7]["prompt"]
        assert lines[9].extra["big"] == 12345678901234567890123


class OneByte(io.BytesIO):
    """A file of which each read gives one byte."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 1))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


@given(st.lists(JSON), st.sampled_from([None, 1]), st.booleans(), st.booleans())
def test_an_array_cut_anywhere_is_the_same(
    values: list[Any], indent: int | None, ascii_only: bool, wrapped: bool
) -> None:
    whole = {"requests": values} if wrapped else values
    text = json.dumps(whole, indent=indent, ensure_ascii=ascii_only).encode(
        "utf-8", "surrogatepass"
    )
    # The beginning is told from the first bytes; what follows may be cut anywhere.
    file = io.BytesIO(text) if wrapped else OneByte(text)
    entries = list(Documents(file, "in"))
    assert [number for number, _ in entries] == list(range(len(values)))
    assert [json.loads(each) for _, each in entries] == values
    assert not any("\n" in each for _, each in entries)


# Tables


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (CSV, "in.csv"),
        (CSV, "in"),
        (CSV.replace(b",", b"\t"), "in.tsv"),
        (CSV.replace(b",", b"\t"), "in"),
        (CSV.replace(b",", b";"), "in.CSV"),
        (CSV.replace(b"\n", b"\r\n"), "in.csv"),
        (CSV.replace(b"\n", b"\r"), "in.csv"),
        (b"\xef\xbb\xbf" + CSV, "in.csv"),
        (CSV, "in.tab.csv"),
    ],
)
def test_forms_of_csv(content: bytes, name: str) -> None:
    lines = read_all(content, name)
    assert prompts(lines) == ["a", "b"]
    assert numbers(lines) == [2, 3]
    assert [line.id for line in lines] == [("id", "1"), ("id", "2")]
    assert [line.extra for line in lines] == [{}, {"note": "mine"}]


def test_a_header_behind_blank_lines() -> None:
    for blank in (b"\n\n", b" \r\n\t\r\n"):
        lines = read_all(blank + CSV.replace(b",", b";"), "in.csv")
        assert prompts(lines) == ["a", "b"]
        assert numbers(lines) == [4, 5]


def test_cells_are_kept_as_they_are() -> None:
    long = "x" * 200_000
    content = f'prompt,system\n"a\n""b"", c",be\n\n lead ,\n{long},\n,\n'.encode()
    lines = read_all(content, "in.csv")
    assert prompts(lines) == ['a\n"b", c', " lead ", long]
    assert numbers(lines) == [2, 4, 5]
    assert lines[0].extra == {"system": "be"}  # a column of the table, and not a parameter
    assert "settings" not in (lines[0].task or {})


def test_rows_that_do_not_fit_their_header() -> None:
    lines = read_all(b"id,prompt\n1,a,b,c\n2\n,x\n3,a,,\n", "in.csv")
    assert [line.problem for line in lines] == [
        "has 4 cells, and the header 2",
        "prompt: is missing",
        None,
        None,  # Cells that are empty say nothing.
    ]
    assert [line.id for line in lines] == [None, ("id", "2"), None, ("id", "3")]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tables_behind_each_other_ask_no_header(mark: str) -> None:
    """``cat a.csv b.csv``: the names of the columns are no prompt to pay for."""
    table = f"{mark}id, prompt\n{{}},a\n"
    lines = read_all((table.format(1) + table.format(2)).encode(), "in.csv")
    assert [line.problem for line in lines] == [None, "is the header once more", None]
    assert [line.id for line in lines if line.task] == [("id", "1"), ("id", "2")]
    # A table of one column may have this prompt.
    assert all(line.task for line in read_all(b"prompt\nprompt\n", "in.csv"))


def test_a_column_of_another_name() -> None:
    lines = read_all(b"q;id\na;1\nb;2\n", "in.csv", prompt_column="q")
    assert prompts(lines) == ["a", "b"]
    assert prompts(read_all(b"q\tn\na\t1", prompt_column="q")) == ["a"]
    assert prompts(read_all(b'{"q": "a"}\n{"q": "b"}', prompt_column="q")) == ["a", "b"]


def test_parquet() -> None:
    big = 2**63 - 1
    rows: list[dict[str, Any]] = [
        {
            "id": big,
            "prompt": "a",
            "when": date(2026, 1, 2),
            "nan": 1.5,
            "raw": b"\xff",
            "d": Decimal("1.10"),
        },
        {"id": big - 1, "prompt": None, "when": None, "nan": float("nan"), "raw": None, "d": None},
        {"id": None, "prompt": "\u2028b", "when": None, "nan": 0.0, "raw": None, "d": None},
    ]
    for content, name in ((table(rows), "in.parquet"), (gzip.compress(table(rows)), "in")):
        lines = read_all(content, name)
        assert prompts(lines) == ["a", "prompt: is missing", "\u2028b"]
        assert numbers(lines) == [1, 2, 3]
        assert [line.id for line in lines] == [("id", big), ("id", big - 1), None]
        assert lines[0].extra == {"when": "2026-01-02", "nan": 1.5, "raw": "/w==", "d": "1.10"}
        assert lines[1].extra == {}
    many = [{"q": str(number)} for number in range(1000)]
    assert prompts(read_all(table(many, row_group_size=7), prompt_column="q")) == [
        each["q"] for each in many
    ]


def test_parquet_prompts_without_the_mark_of_text() -> None:
    # Some tools write texts as bare bytes. As anything else they would be paid for in vain.
    lines = read_all(table([{"id": b"x", "prompt": "é".encode()}, {"id": b"y", "prompt": b"\xff"}]))
    assert prompts(lines) == ["é", "prompt: bytes that are not UTF-8: write it as text"]
    assert lines[0].id == ("id", "x")
    turn = {"role": b"user", "content": b"a"}
    assert prompts(read_all(table([{"messages": [turn]}]))) == ["a"]
    (line,) = read_all(table([{"messages": [{**turn, "content": b"\xff"}]}]))
    assert line.problem == "messages: bytes that are not UTF-8: write it as text"


def test_parquet_columns_of_ones_own_harm_no_line() -> None:
    nan, inf = float("nan"), float("inf")
    finest, far = arrow.scalar(1, arrow.timestamp("ns")), arrow.scalar(2**50, arrow.timestamp("ms"))
    columns = {
        "prompt": ["a", "b"],
        "score": [inf, -inf],
        "vector": [{"of": [nan, 1.5, inf]}, None],
        "at": arrow.array([1, None], arrow.timestamp("ns")),
        "took": arrow.array([1, None], arrow.duration("ns")),
        "far": arrow.array([2**50, 0], arrow.timestamp("ms")),
        "seen": arrow.array([[{"at": finest}], None]),
        "spans": arrow.array([[("x", far)], None], arrow.map_(arrow.string(), far.type)),
    }
    out = io.BytesIO()
    parquet.write_table(arrow.table(columns), out)
    first, second = read_all(out.getvalue())
    assert prompts([first, second]) == ["a", "b"]
    assert second.extra == {"score": "-inf", "far": "1970-01-01T00:00:00"}
    assert first.extra["score"] == "inf"
    assert first.extra["vector"] == {"of": [None, 1.5, "inf"]}
    assert first.extra["at"] == "1970-01-01 00:00:00.000000001"
    assert first.extra["seen"] == [{"at": "1970-01-01 00:00:00.000000001"}]
    assert {"took", "far", "spans"} <= first.extra.keys()


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_a_text_of_parquet_that_is_not_utf_8_is_its_lines_error(kind: str) -> None:
    """Spark, Hive and Impala write whatever bytes they get, and call them text."""
    words = arrow.array([b"a", b"caf\xe9", None], arrow.binary()).view(arrow.string())
    nested = arrow.StructArray.from_arrays([words], ["x"])
    texts = words
    if kind == "large_string":
        texts = arrow.array([b"a", b"caf\xe9", None], arrow.large_binary()).view(kind)
    elif kind == "dictionary":
        indices = arrow.array([0, 1, None], arrow.int32())
        texts = arrow.DictionaryArray.from_arrays(indices, words.slice(0, 2))
    out = io.BytesIO()
    parquet.write_table(arrow.table({"prompt": texts, "of": nested}), out)
    lines = read_all(out.getvalue())
    assert prompts(lines) == [
        "a",
        "prompt: bytes that are not UTF-8: write it as text",
        "prompt: is missing",
    ]
    out = io.BytesIO()
    parquet.write_table(arrow.table({"prompt": ["a", "b", "c"], "own": texts, "of": nested}), out)
    lines = read_all(out.getvalue())
    assert prompts(lines) == ["a", "b", "c"]
    assert lines[1].extra == {"own": "Y2Fm6Q==", "of": {"x": "Y2Fm6Q=="}}


def test_parquet_of_requests() -> None:
    # A column has one type, so what one row lacks is null in it.
    with_system = {**PARAMS, "system": "be"}
    lines = read_all(table([BATCH, {"custom_id": "y", "params": with_system}]))
    assert prompts(lines) == ["a", "a"]
    assert [line.id for line in lines] == [("custom_id", "x"), ("custom_id", "y")]
    assert lines[0].key == read_all(json.dumps(BATCH).encode())[0].key
    own: list[dict[str, Any]] = [
        {"messages": ASKED, "settings": {"maxTokens": 3}},
        {"messages": ASKED, "settings": None},
    ]
    assert prompts(read_all(table(own))) == ["a", "a"]


# Compressions and encodings


def zstd(data: bytes) -> bytes:
    packed: bytes = zstandard.ZstdCompressor().compress(data)
    return packed


def pzstd(data: bytes) -> bytes:
    """A frame that tells the size of the one behind it stands before each."""
    packed = zstd(data)
    return b"\x50\x2a\x4d\x18\x04\0\0\0" + len(packed).to_bytes(4, "little") + packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "gzip": gzip.compress,
    "gzip in parts": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]) + bytes(512),
    "zstd": zstd,
    "zstd in parts": lambda data: zstd(data[:9]) + zstd(data[9:]),
    "zstd as pzstd writes it": lambda data: pzstd(data[:9]) + pzstd(data[9:]),
    "both": lambda data: gzip.compress(zstd(data)),
}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS.keys())
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_compressed_and_encoded(pack: Callable[[bytes], bytes], encoding: str) -> None:
    words = ["é€😀", "\u2028\x85"]
    values = [{"id": number, "prompt": word} for number, word in enumerate(words)]
    texts = {
        "in.jsonl": "\n".join(json.dumps(value, ensure_ascii=False) for value in values),
        "in.json": json.dumps(values, ensure_ascii=False, indent=1),
        "in.csv": "id,prompt\n" + "\n".join(f"{n},{word}" for n, word in enumerate(words)),
    }
    for name, text in texts.items():
        suffix = "" if pack is bytes else ".gz"  # the content tells, whatever the name says
        assert prompts(read_all(pack(text.encode(encoding)), name + suffix)) == words


def test_half_of_a_pair_is_the_lines_own_error_in_each_encoding() -> None:
    for text in ('{"prompt":"a"}\n{"prompt":"\ud800"}\n{"prompt":"b"}', "prompt\na\n\ud800\nb"):
        for encoding in ("utf-8", "utf-16", "utf-32"):
            found = prompts(read_all(text.encode(encoding, "surrogatepass")))
            assert found[::2] == ["a", "b"]
            assert "prompt: must be valid Unicode" in (found[1] or "")


# What is wrong with a file


ZSTD = PACKERS["zstd"](JSONL)
GZIP = gzip.compress(JSONL, mtime=0)  # whose bytes no clock changes
NO_ROWS = io.BytesIO()
parquet.write_table(arrow.table({"prompt": arrow.array([], arrow.string())}), NO_ROWS)


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "in", "in: is empty: give one JSON object"),
        (b" \n\t\n", "in", "in: is empty"),
        (b"\xef\xbb\xbf", "in", "in: is empty"),
        ("\ufeff".encode("utf-16"), "in", "in: is empty"),
        (b"[]", "in", "in: is empty: put a task into its array"),
        (b'{"requests": []}', "in", "in: is empty: put a task into its array"),
        (b"id,prompt\n", "in.csv", "in.csv: is empty: it has no row of values"),
        (NO_ROWS.getvalue(), "in", "in: is empty: it has no row of values"),
        (b"", "in.csv", "in.csv: is empty"),
        (gzip.compress(b"", mtime=0), "in.gz", "in.gz: is empty"),
        (b"hello\n", "in", "in:1: not JSON (Expecting value, at column 1); nothing was run: mend"),
        (JSONL + b'{"a":}\n', "in", "in:3: not JSON (Expecting value, at column 6)"),
        (b'{"a":}\n' + JSONL, "in", "in:1: not JSON (Expecting value, at column 6)"),
        (JSONL[:-9], "in", "in:2: not JSON"),
        (b'[{"prompt":"a"},\n {"prompt" "b"}]', "in", "in:2: not JSON (Expecting ':' delim"),
        (b'[{"prompt":"a"},\n', "in", "in:2: not JSON (the array does not end"),
        (b'[\n{"prompt":"a"}\n', "in", "in:3: not JSON (the array does not end"),
        (b'[\n{"prompt":"a"}\n] x', "in", "in:3: not JSON (more text behind the end, at column 3)"),
        (b'[\n{"prompt":"a"} 5]', "in", "in:2: not JSON (Expecting ',' delimiter, at column 16)"),
        (b'{"requests":[\n5],"more":1}', "in", "in:2: not JSON (the object of requests has more"),
        (b'{\n"prompt": "a\n"}', "in", "in:2: not JSON (Invalid control character"),
        (b'{"prompt":"caf\xe9"}\n', "in", "column 15); nothing was run: save the file as UTF-8"),
        (JSONL + b'{"prompt":"caf\xe9"}\n', "in", "in:3: not JSON (not UTF-8, at column"),
        (JSONL + b'"caf\xe9"\n', "in", "save the file as UTF-8"),
        (b"prompt\nb\ncaf\xe9\n", "in.csv", "in.csv: not UTF-8; nothing was run: save the file as"),
        (b"PK\x03\x04\x14\0\6\0", "in.xlsx", "in.xlsx: is not text: give JSON lines, a JSON array"),
        (b"\x8fPNG" + bytes(50), "in.bin", "in.bin: is not text"),
        ("[1".encode("utf-16") + b"\0", "in", "in: is not UTF-16"),
        (GZIP[:-9], "in.gz", "the gzip data is cut off or damaged"),
        (GZIP[:20] + bytes(30), "in.gz", "the gzip data is cut off or damaged"),
        (GZIP + b"junk", "in.gz", "the gzip data is cut off or damaged"),
        (ZSTD[:-3], "in", "in: the zstd data is cut off or damaged"),
        (ZSTD[:6] + b"\xff" * 20, "in", "in: the zstd data is cut off or damaged"),
        (ZSTD + b"junk", "in", "in: the zstd data is cut off or damaged"),
        (table([{"prompt": "a"}])[:-9], "in", "in: cannot be read as Parquet: "),
        (b"PAR1", "in", "in: cannot be read as Parquet: "),
        (table([{"a": 1, "b": 2}]), "in", "in: has no column 'prompt', only a, b: name the one"),
        (b"a,b\n1,2\n", "in.csv", "in.csv: has no column 'prompt', only a, b: name the one that"),
        (b"Why?,1\n", "in.csv", "with --prompt-column; the first row names the columns"),
        (b"prompt,prompt\n1,2\n", "in.csv", "in.csv: has 2 columns 'prompt': rename them"),
        (b'prompt,b\n1,2\n"x,3\n', "in.csv", "in.csv: row 3: not CSV (unexpected end of data)"),
    ],
)  # fmt: skip
def test_one_error_tells_the_place_and_the_cure(content: bytes, name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_all(content, name)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for name, why in ((tmp_path / "nope", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=f"cannot be read: {why}"):
            Source(name)
    with pytest.raises(InputError, match=r"cannot be read: .*null"):
        Source("a\0b")


@pytest.mark.skipif(sys.platform == "win32", reason="its limits are other ones")
def test_no_room_for_a_copy_is_not_an_unreadable_input(tmp_path: Path) -> None:
    resource: Any = importlib.import_module("resource")
    long = [{"prompt": "x" * 100_000}] * 3
    text = "\n".join(map(json.dumps, long)).encode()
    files = {
        "in.gz": gzip.compress(text),
        "in.utf16": text.decode().encode("utf-16"),
        "in.json": json.dumps(long).encode(),
        "in.csv": b"prompt\n" + b"x" * 300_000,
        "in.parquet": table(long),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        for name in files:
            with pytest.raises(InputError, match=r"copy of it cannot be written: .*TMPDIR"):
                Source(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_format_may_be_forced() -> None:
    assert INPUT_FORMATS == ("jsonl", "json", "csv", "tsv", "parquet")
    assert prompts(read_all(b"[prompt],prompt\nx,a", "in.txt", input_format="csv")) == ["a"]
    assert prompts(read_all(b"prompt,x\ty\na,\tb", input_format="tsv", prompt_column="y")) == ["b"]
    assert prompts(read_all(JSONL, "in.csv", input_format="json")) == ["a", "b"]
    assert "must be a JSON object" in (read_all(b"[1]", input_format="jsonl")[0].problem or "")
    for content, wrong in ((CSV, "jsonl"), (CSV, "json"), (JSONL, "parquet"), (JSONL, "csv")):
        with pytest.raises(InputError):
            read_all(content, input_format=wrong)
    with pytest.raises(InputError, match="'yaml' is no format of input: use jsonl, json, csv"):
        read_all(JSONL, input_format="yaml")


@pytest.mark.parametrize(
    ("module", "content", "said"),
    [
        ("pyarrow", table([{"prompt": "a"}]), "Parquet needs pyarrow: pip install 'runware-ws"),
        ("zstandard", ZSTD, "is compressed with zstd: pip install 'runware-ws"),
    ],
)
def test_a_missing_extra(
    module: str, content: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if module == "zstandard" and sys.version_info >= (3, 14):
        pytest.skip("Python has it")
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=said):
        read_all(content)


# Passes


def test_standard_input_is_read_as_often_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (JSONL, CSV, gzip.compress(JSONL, mtime=0), table(TWO)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        with Source("-") as source:
            assert source.name == "standard input"
            facts = source.check()
            assert prompts(list(source.lines(facts))) == ["a", "b"]
            assert prompts(list(source.lines(facts))) == ["a", "b"]
        sys.stdin.close()
    for closed in (None, sys.stdin):
        monkeypatch.setattr(sys, "stdin", closed)
        with pytest.raises(InputError, match="standard input: is closed"):
            Source("-")


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes of this kind")
def test_a_pipe_is_read_as_often_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(JSONL,))
    writer.start()
    with Source(path) as source:
        facts = source.check()
        assert [prompts(list(source.lines(facts))) for _ in range(2)] == [["a", "b"]] * 2
    writer.join()


def test_facts_and_places(tmp_path: Path) -> None:
    values = [{"prompt": "a", "temperature": 1}, {"prompt": 5}, {"prompt": "a", "top_p": 1}]
    content = {
        "in.jsonl": b"\n".join(json.dumps(each).encode() for each in values),
        "in.json": json.dumps(values).encode(),
        "r.json": json.dumps({"requests": values}).encode(),
        "in.csv": b"prompt,n\na,\n,1\na,2\n",
    }
    places = {
        "in.jsonl": "{}:2",
        "in.json": "{}: [1]",
        "r.json": "{}: requests[1]",
        "in.csv": "{}: row 3",
    }
    for name, data in content.items():
        path = tmp_path / name
        path.write_bytes(data)
        with Source(path, unsupported="drop") as source:
            facts = source.check()
            assert (facts.count, facts.problems, len(facts.repeated)) == (3, 1, 1)
            if name != "in.csv":
                assert facts.dropped == {"temperature": 1, "top_p": 1}
            bad = [line for line in source.lines(facts) if line.problem is not None]
            assert [source.place(line.number) for line in bad] == [places[name].format(path)]
            assert source.is_file(path)
            assert not source.is_file(tmp_path / "nope")
            assert not source.is_file(tmp_path / "in.json") or name == "in.json"
        source.close()


def test_indexes_are_counted_together() -> None:
    turns = [{"role": "user", "content": "a", "name": "n"}] * 3
    line = json.dumps({"custom_id": "x", "body": {"messages": turns}}).encode()
    (read,) = read_all(line, unsupported="drop")
    assert len(read.dropped) == 3


def test_a_file_that_changes_under_our_hands(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(JSONL)
    with Source(path) as source:
        facts = source.check()
        path.write_bytes(JSONL[:-3] + b"xx\n" + JSONL)
        lines = list(source.lines(facts))
    assert numbers(lines) == [1, 2]
    assert "not JSON any more" in (lines[1].problem or "")
    assert len({line.key for line in lines}) == 2


@pytest.mark.parametrize(
    "now",
    [b"aaaa", b"dcba", b"acd", b"a\nbcd", b"abed"],
    ids=["equal", "turned round", "deleted", "inserted", "written anew"],
)
def test_a_line_that_was_changed_is_another_one(now: bytes, tmp_path: Path) -> None:
    def content(letters: bytes) -> bytes:
        return b"".join(b"\n" if each == 10 else b'{"prompt": "%c"}\n' % each for each in letters)

    path = tmp_path / "in"
    path.write_bytes(content(b"abcd"))
    with Source(path) as source:
        facts = source.check()
        first = list(source.lines(facts))
        path.write_bytes(content(now))
        second = list(source.lines(facts))
    assert len({line.key for line in second}) == len(second) <= 4
    kept = [line for line in second if line.problem is None]
    assert all(line.key in {each.key for each in first} for line in kept)
    for line in second:
        if line not in kept:
            assert line.task is None
            assert "was changed" in (line.problem or "")
    assert len(kept) < 4


def test_no_more_is_held_than_a_line(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "x" * 10_000}).encode()
    path = tmp_path / "in.json"
    path.write_bytes(b"[" + b",\n".join([row] * 2000) + b"]")
    tracemalloc.start()
    try:
        with Source(path) as source:
            facts = source.check()
            assert sum(1 for _ in source.lines(facts)) == 2000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000  # of 20 MB
    finally:
        tracemalloc.stop()
