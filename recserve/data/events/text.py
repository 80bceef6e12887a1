"""Texts that people write, as the store keeps them: on one line, of bounded length."""

from __future__ import annotations

import re

from recserve.data.entities import MAX_TEXT

ENCODED_CHARACTERS = 4_000
"""Characters of a text that are encoded: far more than any text encoder reads (256 to 512 tokens), little
enough that tokenising them is cheap."""

_BLANKS = re.compile(r"[\x00-\x1f\x7f\s]+")


def one_line(text: str) -> str:
    """The text with every run of blanks and control characters as one blank, and none around it."""
    return _BLANKS.sub(" ", text).strip()


def event_text(text: str) -> str:
    """The text of an event as it is stored.

    Raises:
        ValueError: It is empty, too long, or no text that every store can hold.
    """
    if "\x00" in text:
        raise ValueError("must not hold a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is not valid Unicode") from None
    line = one_line(text)
    if not line:
        raise ValueError("must not be empty; leave the field out where nothing was written")
    if len(line) > MAX_TEXT:
        raise ValueError(f"must not be longer than {MAX_TEXT:,} characters (it has {len(line):,})")
    return line
