"""Words of texts in many scripts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recserve_lexical.words import LONGEST, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Toy Story (1995)", ["toy", "story", "1995"]),
        ("苹果手机", ["苹果", "手机"]),
        ("机器人太空歌剧", ["机器", "机器人", "太空", "歌剧"]),
        # The word and the words in it, so that either finds the other.
        ("床上用品", ["床上", "用品", "床上用品"]),
        # Full-width letters and digits equal plain ones.
        ("ＨＵＡＷＥＩ Ｐ６０", ["huawei", "p60", "p", "60"]),
        ("iPhone15手机壳", ["iphone15", "iphone", "15", "手机", "壳"]),
        ("Straße", ["strasse"]),
        ("<b>Tea</b> &lt;cup", ["tea", "lt", "cup"]),
        ("كتاب جديد", ["كتاب", "جديد"]),
        ("ラーメン", ["ラー", "ーメ", "メン"]),
        ("ラ", ["ラ"]),
        ("🚀🚀", []),
        ("\ud800 ship", ["ship"]),
        ("snake_case", ["snake", "case"]),
        ("", []),
    ],
)
def test_known_texts(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text(alphabet=st.characters(codec=None), max_size=300))
def test_any_text_has_words_without_spaces(text: str) -> None:
    assert all(word and word == word.strip() for word in words(text))


def test_a_text_is_read_up_to_a_limit() -> None:
    assert len(words("tea " * LONGEST)) == LONGEST // 4
