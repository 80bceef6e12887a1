"""Words of texts in any script, as they are indexed and searched for.

Words between spaces are taken as they are, in lower case and with compatible forms joined (NFKC), so that
full-width letters equal plain ones. Chinese is segmented by jieba's dictionary, long words together with the
shorter ones in them. Other scripts that are written without spaces are cut into pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import rjieba

LONGEST = 20_000
"""Characters of a text that are read."""

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
# Thai, Lao, Myanmar and Khmer; kana.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff"
_RUNS = re.compile(f"([{_HAN}]+)|([{_UNSPACED}]+)|([^\\W_{_HAN}{_UNSPACED}]+)")
_PARTS = re.compile(r"\d+|[^\W\d_]+")
_MARKUP = re.compile(r"<[^<>]{1,200}>")


def words(text: str) -> list[str]:
    """The words of a text in their order, repeated ones as often as they occur.

    Args:
        text: Anything; markup is not read.
    """
    short = text[:LONGEST].encode("utf-8", "replace").decode("utf-8")
    return list(_words(unicodedata.normalize("NFKC", _MARKUP.sub(" ", short)).casefold()))


def _words(text: str) -> Iterator[str]:
    for run in _RUNS.finditer(text):
        han, unspaced, word = run.groups()
        if han:
            yield from rjieba.cut_for_search(han)
        elif unspaced:
            yield from (unspaced[at : at + 2] for at in range(max(1, len(unspaced) - 1)))
        else:
            yield word
            # People write `iphone15` and `iPhone 15`, `256GB` and `256 GB`.
            parts = _PARTS.findall(word)
            if len(parts) > 1:
                yield from parts
