"""The encoding of a text is told by its own lines, and any of them is read as UTF-8."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from recserve.errors import DataError
from recserve.store.ingest.files.encodings import as_utf8, check_encoding, detect_encoding

CHINESE = "我们在北京的中国图书馆看书，喜欢科学和历史。\n" * 20
TAIWANESE = "我們在臺北的圖書館看書，喜歡科學和歷史。\n" * 20
GERMAN = "Müller kaufte für 3 € größere Äpfel im Café\n" * 20


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        ("plain ascii\n", "ascii", "utf-8"),
        (GERMAN, "utf-8", "utf-8"),
        (CHINESE, "utf-8", "utf-8"),
        (GERMAN, "windows-1252", "windows-1252"),
        (CHINESE, "gb18030", "gb18030"),
        (TAIWANESE, "big5", "big5hkscs"),
        ("id,title\n1,Film\n" * 20, "utf-16-le", "utf-16-le"),
        (GERMAN, "utf-16", "utf-16"),
    ],
)
def test_detection(text: str, encoding: str, found: str) -> None:
    assert detect_encoding(io.BytesIO(text.encode(encoding)), 1 << 20) == found


def test_a_few_foreign_bytes_do_not_outvote_the_rest() -> None:
    content = CHINESE.encode() + b"caf\xe9\n"
    assert detect_encoding(io.BytesIO(content), 1 << 20) == "utf-8"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1252", "utf-16"])
def test_files_are_read_as_utf8_without_a_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(GERMAN.encode(encoding))
    with path.open("rb") as file:
        assert as_utf8(file, "utf-8" if encoding.startswith("utf-8") else encoding).read() == GERMAN.encode()


def test_bytes_that_an_encoding_lacks_spoil_their_own_line_only(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes("甲\n".encode("gb18030") + b"\xff\n" + "乙\n".encode("gb18030"))
    with path.open("rb") as file:
        first, second, third = as_utf8(file, "gb18030").read().splitlines()
    assert (first.decode(), third.decode()) == ("甲", "乙")
    with pytest.raises(UnicodeDecodeError):
        second.decode()


def test_an_unknown_encoding_is_refused_by_name() -> None:
    assert check_encoding("latin1") == "iso8859-1"
    with pytest.raises(DataError, match="unknown encoding 'klingon'; use a name such as utf-8"):
        check_encoding("klingon")
