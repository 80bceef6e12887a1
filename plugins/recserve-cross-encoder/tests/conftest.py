from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recserve import Catalogue, Dataset, FitContext, Item, Vocabulary


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A small BERT with a character vocabulary, saved as save_pretrained leaves it."""
    from transformers import BertConfig, BertModel

    return _saved(tmp_path_factory.mktemp("tiny-bert"), BertModel, BertConfig(**SIZES))


@pytest.fixture(scope="session")
def classifier(tmp_path_factory) -> Callable[[int], Path]:
    """Makes sequence classifiers of random weights with a number of outputs."""
    from transformers import BertConfig, BertForSequenceClassification

    def build(outputs: int) -> Path:
        directory = tmp_path_factory.mktemp(f"outputs-{outputs}")
        return _saved(directory, BertForSequenceClassification, BertConfig(**SIZES, num_labels=outputs))

    return build


SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.15,
}


def _saved(directory: Path, kind, config) -> Path:
    """A model of random weights with its tokenizer."""
    import torch
    from transformers import BertTokenizerFast

    vocabulary = "abcdefghijklmnopqrstuvwxyz0123456789.,;"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *vocabulary, *(f"##{one}" for one in vocabulary)]
    (directory / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizerFast(vocab=str(directory / "vocab.txt")).save_pretrained(str(directory))
    config.vocab_size = len(words)
    torch.manual_seed(0)
    kind(config).save_pretrained(str(directory))
    return directory


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Texts of 40 items, of which the first letter names the item's group."""
    return [f"{'abcd'[row % 4]} {row:02d}" for row in range(40)]


@pytest.fixture(scope="session")
def behaviour(texts) -> Dataset:
    """Users who stay within one group of items."""
    random = np.random.default_rng(5)
    n_users, length = 60, 8
    users = np.tile(np.arange(n_users, dtype=np.int32), length)
    items = (random.integers(0, 10, len(users)) * 4 + users % 4).astype(np.int32)
    return Dataset(
        Catalogue.of([Item(f"i{row:02d}", {"title": text}) for row, text in enumerate(texts)]),
        Vocabulary(f"user-{row}" for row in range(n_users)),
        users,
        items,
        np.zeros(len(users), dtype=np.int16),
        np.ones(len(users), dtype=np.float32),
        1_600_000_000_000 + np.arange(len(users), dtype=np.int64) * 1000,
        ("view",),
    )


@pytest.fixture(scope="session")
def context(texts) -> Callable[..., FitContext]:
    """Makes contexts of a fit on this behaviour."""

    def make(**changes) -> FitContext:
        given = {"seed": 1, "threads": 1, "device": "cpu", "item_texts": lambda: texts}
        return FitContext(**{**given, **changes})

    return make
