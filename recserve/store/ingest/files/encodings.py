"""Text encodings: which one a file is in, and any of them as UTF-8."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO, cast

from recserve.errors import DataError

UTF8 = "utf-8"

_CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_BOM = codecs.BOM_UTF8
_UNDEFINED_1252 = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")

# A lone surrogate becomes a byte that UTF-8 never has, so that only its own row is refused.
_INVALID = "recserve.invalid"
codecs.register_error(_INVALID, lambda error: ("\udcff", getattr(error, "end", 0)))


def check_encoding(name: str) -> str:
    """The encoding's usual name.

    Raises:
        DataError: There is no such text encoding.
    """
    try:
        "a".encode(name)
        codecs.getincrementaldecoder(name)(_INVALID).decode(b"", final=True)
    except (LookupError, ValueError):  # idna and a few others are no encodings of files
        raise DataError(
            f"unknown encoding {name!r}; use a name such as utf-8, windows-1252, gb18030, big5 or shift_jis"
        ) from None
    return codecs.lookup(name).name


def detect_encoding(file: BinaryIO, limit: int) -> str:
    """The encoding of a text by its first ``limit`` bytes: their non-ASCII lines decide.

    UTF-8 and UTF-16 have forms that other texts do not take. Of GB18030 and Big5 the one is chosen in
    which more characters are common ones, as long as they are most of the text. What is left is
    Windows-1252, or Latin-1 where it holds bytes that Windows-1252 lacks.
    """
    start = file.read(_CHUNK_BYTES)
    wide = _wide(start)
    if wide:
        return wide
    lines = list(_foreign_lines(start + file.readline(), file, limit))
    valid, invalid = 0, []
    for line in lines:
        try:
            line.decode(UTF8)
            valid += _foreign_bytes(line)
        except UnicodeDecodeError:
            invalid.append(line)
    if valid >= sum(map(_foreign_bytes, invalid)):
        return UTF8
    text = b"\n".join(invalid)
    share, name = max((_common_gb(text), "gb18030"), (_common_big5(text), "big5hkscs"))
    if share >= 0.5:
        return name
    return "latin-1" if any(byte in text for byte in _UNDEFINED_1252) else "windows-1252"


def as_utf8(file: io.BufferedReader, encoding: str) -> io.BufferedReader:
    """The text of a file in UTF-8, without a byte order mark.

    Bytes that the encoding does not have become bytes that are not UTF-8 either.
    """
    if encoding != UTF8:
        return io.BufferedReader(cast(io.RawIOBase, _Recoded(file, encoding)), _CHUNK_BYTES)
    if file.peek(len(_BOM)).startswith(_BOM):
        file.read(len(_BOM))
    return file


class _Recoded(io.RawIOBase):
    """Stream that decodes one encoding and encodes UTF-8."""

    def __init__(self, file: io.BufferedReader, encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)(_INVALID)
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        while not self._waiting:
            chunk = self._file.read(_CHUNK_BYTES)
            text = self._decoder.decode(chunk, final=not chunk)
            self._waiting = text.encode(UTF8, "surrogateescape")
            if not chunk:
                break
        part, self._waiting = self._waiting[: len(buffer)], self._waiting[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def _wide(start: bytes) -> str | None:
    """UTF-32 or UTF-16, by a byte order mark or by where the zeros are."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = start[:4096]
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(head) >= 8 and head.count(0) == zeros.count(0) > len(head) * 0.3:
            return name
    return None


def _foreign_lines(chunk: bytes, file: BinaryIO, limit: int) -> Iterator[bytes]:
    """Lines that are not ASCII, until there are enough of them."""
    left, size = limit, 0
    while chunk and left > 0 and size < _SAMPLE_BYTES:
        left -= len(chunk)
        if not chunk.isascii():
            for line in chunk.splitlines():
                if not line.isascii() and size < _SAMPLE_BYTES:
                    size += len(line)
                    yield line
        chunk = file.read(_CHUNK_BYTES) + file.readline()


def _foreign_bytes(line: bytes) -> int:
    return len(line) - len(line.decode("ascii", "ignore"))


def _common_gb(text: bytes) -> float:
    """Share of the non-ASCII characters that are punctuation or level 1 of GB 2312, read as GB18030."""
    pairs = _pairs(text, "gb18030")
    common = sum(trail >= 0xA1 and (0xA1 <= lead <= 0xA3 or 0xB0 <= lead <= 0xD7) for lead, trail in pairs)
    return common / max(len(pairs), 1)


def _common_big5(text: bytes) -> float:
    """Share of the non-ASCII characters that are punctuation or level 1 of Big5, read as Big5."""
    pairs = _pairs(text, "big5hkscs")
    common = [trail for lead, trail in pairs if 0xA1 <= lead <= 0xC6]
    # In Latin-1 a capital before a small letter looks like a pair, but seldom do two high bytes meet.
    if sum(trail >= 0xA1 for trail in common) < len(common) / 4:
        return 0.0
    return len(common) / max(len(pairs), 1)


def _pairs(text: bytes, encoding: str) -> list[tuple[int, int]]:
    """First two bytes of each non-ASCII character, zeros for what the encoding does not have."""
    decoded = (char for char in text.decode(encoding, "replace") if char > "\x7f")
    encoded = (char.encode(encoding, "replace") if char != "\ufffd" else b"" for char in decoded)
    return [(character[0], character[1]) if len(character) >= 2 else (0, 0) for character in encoded]
