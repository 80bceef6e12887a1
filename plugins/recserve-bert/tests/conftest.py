from __future__ import annotations

from pathlib import Path

import pytest

CHINESE = "我你他喜欢看电影书猫狗天下雨晴的是在有人"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A small BERT with a character vocabulary, saved as save_pretrained leaves it."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    directory = tmp_path_factory.mktemp("tiny-bert")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,"
    pieces = [*letters, *(f"##{letter}" for letter in letters), *CHINESE]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    (directory / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(directory / "vocab.txt"))
    tokenizer.save_pretrained(str(directory))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(str(directory))
    return directory
