"""Files as data URIs."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from runware_ws.errors import InvalidTask
from runware_ws.models import Inputs, data_uri

HEADS = {
    "image/png": b"\x89PNG\r\n\x1a\n....",
    "image/jpeg": b"\xff\xd8\xff\xe0....",
    "image/gif": b"GIF89a....",
    "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "application/pdf": b"%PDF-1.7\n",
}


@pytest.mark.parametrize("mime", HEADS)
def test_type_by_first_bytes(tmp_path: Path, mime: str) -> None:
    file = tmp_path / "upload"
    file.write_bytes(HEADS[mime])
    uri = data_uri(file)
    head, _, body = uri.partition(";base64,")
    assert head == f"data:{mime}"
    assert base64.b64decode(body) == HEADS[mime]
    inputs = Inputs(documents=[uri]) if mime == "application/pdf" else Inputs(images=[uri])
    assert uri in inputs.to_json().decode()


def test_suffix_wins_over_content(tmp_path: Path) -> None:
    file = tmp_path / "a.JPG"
    file.write_bytes(HEADS["image/png"])
    assert data_uri(str(file)).startswith("data:image/jpeg;base64,")


def test_limit_is_in_bytes_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"x" * 10)
    assert data_uri(file, limit=10)
    with pytest.raises(InvalidTask, match="larger than the limit of 9 bytes"):
        data_uri(file, limit=9)


def test_errors_name_the_path(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.touch()
    unknown = tmp_path / "noise"
    unknown.write_bytes(b"noise")
    folder = tmp_path / "folder.png"
    folder.mkdir()
    cases = {
        empty: "is empty",
        unknown: "unknown type of file",
        folder: "is a directory",
        tmp_path / "missing.png": "no such file",
    }
    for path, rule in cases.items():
        with pytest.raises(InvalidTask, match=rule) as caught:
            data_uri(path)
        assert str(path) in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read anything")
def test_unreadable_file(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"x")
    file.chmod(0)
    with pytest.raises(InvalidTask, match="Permission denied"):
        data_uri(file)


def test_a_null_byte_in_the_path_is_an_invalid_task() -> None:
    with pytest.raises(InvalidTask):
        data_uri("a\0b.png")
