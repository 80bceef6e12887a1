"""Pairs as a BERT reads them, made of token ids that the bundle keeps."""

from __future__ import annotations

import numpy as np
import pytest
from recserve_cross_encoder.pairs import PairTexts

from recserve import BundleError

TEXTS = ["ab", "cd", "", "efgh"]


@pytest.fixture(scope="module")
def tokenizer(tiny):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(tiny))


def rows(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def made(tokenizer, limit: int = 64, history_tokens: int = 8, item_tokens: int = 8) -> PairTexts:
    return PairTexts.tokenised(TEXTS, tokenizer, limit, history_tokens, item_tokens)


def test_a_pair_is_what_the_tokenizer_makes_of_two_texts(tokenizer):
    texts = made(tokenizer)
    (pair,) = texts.pairs(rows(3, 0), rows(1))
    expected = tokenizer("efgh ; ab", "cd")
    assert pair is not None
    assert pair.tokens == expected["input_ids"]
    feed = texts.feed([pair])
    assert feed["token_type_ids"].tolist() == [expected["token_type_ids"]]
    assert feed["attention_mask"].tolist() == [expected["attention_mask"]]


def test_shorter_pairs_are_padded_and_padding_is_of_no_text(tokenizer):
    texts = made(tokenizer)
    long, short = texts.pairs(rows(3), rows(3, 1))
    assert long is not None
    assert short is not None
    feed = texts.feed([long, short])
    pads = feed["attention_mask"] == 0
    assert pads.sum() == len(long.tokens) - len(short.tokens)
    assert (feed["input_ids"][pads] == tokenizer.pad_token_id).all()
    assert (feed["token_type_ids"][pads] == 0).all()


def test_each_text_is_cut_to_its_tokens(tokenizer):
    texts = made(tokenizer, history_tokens=2, item_tokens=3)
    (pair,) = texts.pairs(rows(3), rows(3))
    assert pair is not None
    ids = tokenizer("efgh", add_special_tokens=False)["input_ids"]
    assert pair.tokens[1:3] == ids[:2]
    assert pair.tokens[4:7] == ids[:3]


def test_the_oldest_are_left_out_where_not_all_fit_the_model(tokenizer):
    texts = made(tokenizer, limit=18)
    (pair,) = texts.pairs(rows(3, 0, 1), rows(1))
    assert pair is not None
    assert pair.tokens == tokenizer("efgh ; ab", "cd")["input_ids"]
    assert len(pair.tokens) <= 18


@pytest.mark.parametrize(
    ("history", "candidate"),
    [((), 1), ((-1, -1), 1), ((2,), 1), ((0,), 2), ((0,), -1), ((0,), 4), ((9,), 1)],
)
def test_nothing_is_said_where_a_text_is_missing(tokenizer, history, candidate):
    """Pads, items without a text, and items that came after training."""
    assert made(tokenizer).pairs(rows(*history), rows(candidate)) == [None]


def test_what_is_kept_makes_the_same_pairs(tokenizer, tmp_path):
    texts = made(tokenizer)
    texts.save(tmp_path)
    again = PairTexts.load(tmp_path, len(TEXTS))
    assert again.template == texts.template
    assert again.pairs(rows(3, 0), rows(0, 1, 2)) == texts.pairs(rows(3, 0), rows(0, 1, 2))


def test_files_of_another_catalogue_or_damaged_ones_are_refused(tokenizer, tmp_path):
    made(tokenizer).save(tmp_path)
    with pytest.raises(BundleError, match="the catalogue asks for"):
        PairTexts.load(tmp_path, len(TEXTS) + 1)
    np.save(tmp_path / "item_tokens.npy", np.zeros(3, dtype=np.int32))
    with pytest.raises(BundleError, match="does not fit"):
        PairTexts.load(tmp_path, len(TEXTS))
    made(tokenizer).save(tmp_path)
    (tmp_path / "pairs.json").write_text("{}")
    with pytest.raises(BundleError, match="cannot be read"):
        PairTexts.load(tmp_path, len(TEXTS))
