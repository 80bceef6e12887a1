from __future__ import annotations

import pytest

from recserve.data.events.text import event_text, one_line


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("  space\topera\r\nwith  robots ", "space opera with robots"),
        ("机器人　太空歌剧", "机器人 太空歌剧"),
        ("<b>great</b> 🎬🎬 مرحبا בָּרוּךְ", "<b>great</b> 🎬🎬 مرحبا בָּרוּךְ"),
        ("x" * 10_000, "x" * 10_000),
        ("x" + " " * 20_000 + "y", "x y"),
    ],
)
def test_a_text_is_kept_on_one_line(written: str, kept: str) -> None:
    assert event_text(written) == kept
    assert event_text(kept) == kept


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "must not be empty"),
        (" \n\t ", "must not be empty"),
        ("字" * 10_001, r"must not be longer than 10,000 characters \(it has 10,001\)"),
        ("a\x00b", "must not hold a NUL character"),
        ("a\ud83c", "holds half of a surrogate pair"),
    ],
)
def test_what_is_no_text_is_refused(written: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        event_text(written)


def test_control_characters_are_blanks() -> None:
    assert one_line("\x00a\x1fb\x7f") == "a b"
