"""The retriever ``lexical``: words of items against words of queries, of new items too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recserve_lexical.index import Bm25Index
from recserve_lexical.parameters import LexicalParams
from recserve_lexical.retriever import LexicalRetriever
from recserve_lexical.words import words

from recserve import BundleError, Catalogue, FitContext, Histories, Item, Queries, Ragged
from recserve.testing import check_retriever, dataset_of

TITLES = (
    "苹果手机 iPhone 15 Pro 256GB",
    "华为手机 Mate 60",
    "烟台红富士苹果 新鲜水果 5斤",
    "手机壳 适用华为",
    "Robot space opera",
    "",
)


def catalogue(titles: Sequence[str] = TITLES) -> Catalogue:
    return Catalogue.of(
        Item(f"i{row}", {"title": title} if title else {}) for row, title in enumerate(titles)
    )


def fitted(titles: Sequence[str] = TITLES, **params: object) -> LexicalRetriever:
    items = catalogue(titles)
    made = LexicalRetriever(LexicalParams(**params), items)
    made.fit(dataset_of([(0, 0, 1.0)], len(items)).with_catalogue(items), FitContext())
    return made


def asked(*texts: str | None) -> Queries:
    plain = Queries.of(Histories.empty(len(texts)), np.zeros(len(texts), dtype=np.int64))
    return replace(plain, texts=texts)


def found(retriever: LexicalRetriever, text: str) -> list[int]:
    items = retriever.retrieve(asked(text), 10).items[0]
    return items[items >= 0].tolist()


def test_contract() -> None:
    check_retriever("lexical")
    check_retriever("lexical", fields=["topic"], k1=2.0, b=0.0)


def test_two_makers_are_told_apart() -> None:
    retriever = fitted()
    assert found(retriever, "苹果手机")[0] == 0
    assert found(retriever, "华为手机")[0] == 1
    assert found(retriever, "IPHONE15") == [0]
    assert found(retriever, "space robot") == [4]


def test_what_shares_no_word_is_not_found() -> None:
    retriever = fitted()
    for text in ("冰箱", "🚀", " ", "\ud800"):
        assert found(retriever, text) == []
    assert not (retriever.retrieve(asked(None, ""), 10).items >= 0).any()


def test_scores_are_those_of_bm25() -> None:
    index = Bm25Index.build([["tea", "cup"], ["tea", "tea"], ["pot"]], k1=1.2, b=0.75)
    rows, scores = index.search(["tea"])
    rarity = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    norm = 1.2 * (0.25 + 0.75 * 2 / (5 / 3))
    assert rows.tolist() == [0, 1]
    np.testing.assert_allclose(scores, [rarity / (1 + norm), rarity * 2 / (2 + norm)], rtol=1e-5)


def test_what_was_written_later_scores_as_if_it_had_been_there() -> None:
    index = Bm25Index.build([words(title) for title in TITLES], k1=1.2, b=0.75)
    for row, title in enumerate(TITLES):
        for word, worth in index.weigh(words(title)).items():
            rows, scores = index.search([word])
            assert scores[rows == row] == pytest.approx(worth, rel=1e-4)


def test_new_and_changed_items_are_found_as_they_are_now() -> None:
    retriever = fitted()
    rows = np.array([1, 6, 7], dtype=np.int32)

    def match(titles: Sequence[str], text: str) -> list[int]:
        items = retriever.match_words(asked(text), rows, catalogue(titles), 10).items[0]
        return items[items >= 0].tolist()

    now = [*TITLES, "智能扫地机器人", "荣耀手机"]
    assert match(now, "扫地机器人") == [6]
    assert sorted(match(now, "手机")) == [1, 7]
    now[1], now[7] = "华为平板", "荣耀手表"
    assert match(now, "手机") == []
    assert match(now, "华为") == [1]
    # A word that no item had when the index was built.
    assert match(now, "荣耀") == [7]


def test_masks_and_exclusions_are_honoured() -> None:
    retriever = fitted()
    queries = replace(
        asked("手机", "手机"),
        allowed=(np.array([True, False, True, True, True, True]), None),
        excluded=Ragged.of([[], [0]]),
        anchors=np.array([-1, 3], dtype=np.int32),
    )
    items = retriever.retrieve(queries, 10).items
    assert [sorted(row[row >= 0].tolist()) for row in items] == [[0, 3], [1]]


def test_a_catalogue_without_texts_is_an_empty_index(tmp_path: Path) -> None:
    retriever = fitted(["", ""])
    retriever.save(tmp_path)
    again = LexicalRetriever(LexicalParams(), catalogue(["", ""]))
    again.load(tmp_path)
    assert found(again, "tea") == []
    rows = np.array([2], dtype=np.int32)
    assert again.match_words(asked("tea"), rows, catalogue(["", "", "Tea"]), 5).items.tolist() == [[2]]


@pytest.mark.parametrize("damage", ["words", "facts", "rows", "offsets", "other catalogue"])
def test_a_damaged_index_is_named(tmp_path: Path, damage: str) -> None:
    retriever = fitted()
    retriever.save(tmp_path)
    titles: Sequence[str] = TITLES
    if damage == "words":
        (tmp_path / "words.json").write_text("[")
    elif damage == "facts":
        facts = json.loads((tmp_path / "lexical.json").read_text())
        (tmp_path / "lexical.json").write_text(json.dumps({**facts, "items": None}))
    elif damage == "rows":
        rows = np.load(tmp_path / "rows.npy")
        np.save(tmp_path / "rows.npy", rows + np.int32(len(TITLES)))
    elif damage == "offsets":
        (tmp_path / "offsets.npy").write_bytes(b"not an array")
    else:
        titles = TITLES[:3]
    with pytest.raises(BundleError, match=r"lexical|offsets"):
        LexicalRetriever(LexicalParams(), catalogue(titles)).load(tmp_path)
