from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve import PluginError
from recserve.bundles.embedding_cache import TextVectorCache, VectorCache, encode_all, text_keys

DIMENSION = 6


class HashEncoder:
    """Unit vectors derived from a hash: cheap, deterministic, and it remembers what it was asked."""

    dimension = DIMENSION
    fingerprint = "hash-1"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts, progress=None):
        self.calls.append(list(texts))
        if progress is not None:
            progress(len(texts))
        return np.stack([self.vector(text) for text in texts])

    @staticmethod
    def vector(text: str) -> np.ndarray:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        raw = np.frombuffer(digest[: 4 * DIMENSION], dtype="<u4").astype(np.float64) + 1
        return (raw / np.linalg.norm(raw)).astype(np.float32)

    @property
    def seen(self) -> list[str]:
        return [text for call in self.calls for text in call]


def cache_in(directory: Path, fingerprint: str = "hash-1") -> VectorCache:
    return VectorCache(directory, fingerprint, DIMENSION)


@given(texts=st.lists(st.text(max_size=5), max_size=40))
@settings(max_examples=50, deadline=None)
def test_every_text_gets_its_own_vector_and_each_distinct_one_is_encoded_once(texts):
    encoder = HashEncoder()
    vectors, encoded = encode_all(encoder, texts)
    assert vectors.shape == (len(texts), DIMENSION)
    assert vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(vector, HashEncoder.vector(text))
    assert encoded == len(set(texts))
    assert encoder.seen == list(dict.fromkeys(texts))


def test_only_what_changed_is_encoded_again(tmp_path):
    first = HashEncoder()
    before, count = encode_all(first, ["a", "b", "a", "c"], cache_in(tmp_path))
    assert count == 3
    second = HashEncoder()
    progress = []
    after, count = encode_all(
        second, ["c", "new", "a", "b"], cache_in(tmp_path), lambda *step: progress.append(step)
    )
    assert count == 1
    assert second.seen == ["new"]
    assert progress == [(1, 1)]
    assert np.array_equal(after[[2, 3, 0]], before[[0, 1, 3]])
    assert len(cache_in(tmp_path)) == 4


def test_another_fingerprint_or_dimension_shares_nothing(tmp_path):
    encode_all(HashEncoder(), ["a"], cache_in(tmp_path))
    assert len(cache_in(tmp_path, "hash-2")) == 0
    assert len(VectorCache(tmp_path, "hash-1", DIMENSION + 1)) == 0


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "garbage"])
def test_a_damaged_file_is_dropped_and_rebuilt(tmp_path, damage):
    texts = [f"text {index}" for index in range(20)]
    expected, _ = encode_all(HashEncoder(), texts, cache_in(tmp_path))
    path = cache_in(tmp_path).path
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        content = content[:4096]
    elif damage == "flip":
        content[-3] ^= 1
    elif damage == "empty":
        content = bytearray()
    else:
        content = bytearray(b"\x80\x04 this is a pickle, or not")
    path.write_bytes(bytes(content))
    again, count = encode_all(HashEncoder(), texts, cache_in(tmp_path))
    assert count == 20
    assert np.array_equal(again, expected)
    assert encode_all(HashEncoder(), texts, cache_in(tmp_path))[1] == 0


def test_many_small_additions_are_all_found(tmp_path):
    cache = cache_in(tmp_path)
    for index in range(60):
        encode_all(HashEncoder(), [f"text {index}"], cache)
    vectors, count = encode_all(HashEncoder(), [f"text {index}" for index in range(61)], cache)
    assert count == 1
    assert np.array_equal(vectors[17], HashEncoder.vector("text 17"))
    assert len(cache) == 61


def test_a_cache_of_an_earlier_version_is_replaced(tmp_path):
    cache = cache_in(tmp_path)
    earlier = cache.path.with_suffix("")
    earlier.mkdir()
    (earlier / "0123.npy").write_bytes(b"segment")
    assert encode_all(HashEncoder(), ["a"], cache_in(tmp_path))[1] == 1
    assert [path.name for path in tmp_path.iterdir()] == [cache.path.name]


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_embedding_cache import HashEncoder, cache_in
from recserve.bundles.embedding_cache import encode_all
cache = cache_in(Path(sys.argv[2]))
offset = int(sys.argv[3])
for index in range(25):
    encode_all(HashEncoder(), [f"text {offset + index}", f"shared {index}"], cache)
"""


def test_two_processes_may_write_at_once(tmp_path):
    here = str(Path(__file__).parent)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, here, str(tmp_path), str(offset)], env=environment)
        for offset in (0, 1000)
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    texts = [f"text {offset + index}" for offset in (0, 1000) for index in range(25)]
    texts += [f"shared {index}" for index in range(25)]
    vectors, count = encode_all(HashEncoder(), texts, cache_in(tmp_path))
    assert count == 0
    assert np.array_equal(vectors[30], HashEncoder.vector("text 1005"))


def test_a_folder_that_cannot_be_written_costs_time_not_the_run(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    vectors, count = encode_all(HashEncoder(), ["a", "b"], cache_in(blocked))
    assert count == 2
    assert np.array_equal(vectors[1], HashEncoder.vector("b"))
    assert "cannot be kept" in caplog.text


def test_no_texts_and_lone_surrogates(tmp_path):
    vectors, count = encode_all(HashEncoder(), [], cache_in(tmp_path))
    assert (vectors.shape, count) == ((0, DIMENSION), 0)
    assert encode_all(HashEncoder(), ["a\ud800", ""], cache_in(tmp_path))[1] == 2


def test_keys_tell_texts_apart():
    keys = text_keys(["a", "b", "a", ""])
    assert keys.shape == (4, 2)
    assert (keys[0] == keys[2]).all()
    assert len({tuple(key) for key in keys.tolist()}) == 3


class BadEncoder(HashEncoder):
    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__()
        self._vectors = vectors

    def encode(self, texts, progress=None):
        return self._vectors


@pytest.mark.parametrize(
    "vectors",
    [
        np.ones((1, DIMENSION), np.float32),
        np.zeros((1, DIMENSION), np.float32),
        np.full((1, DIMENSION), np.nan, np.float32),
        np.eye(DIMENSION, dtype=np.float32)[:2],
    ],
)
def test_an_encoder_that_breaks_its_promise_is_caught(vectors, tmp_path):
    with pytest.raises(PluginError, match="the encoder returned"):
        encode_all(BadEncoder(vectors), ["a"], cache_in(tmp_path))
    with pytest.raises(PluginError, match="the encoder returned"):
        TextVectorCache(BadEncoder(vectors)).encode(["a"])


def test_hits_do_not_touch_the_encoder_and_the_least_recent_goes_first():
    encoder = HashEncoder()
    cache = TextVectorCache(encoder, capacity=2)
    assert np.array_equal(cache.encode(["a", "b", "a"])[2], HashEncoder.vector("a"))
    assert encoder.calls == [["a", "b"]]
    cache.encode(["a"])
    assert encoder.calls == [["a", "b"]]
    cache.encode(["c"])  # drops b, the least recently used
    cache.encode(["a"])
    assert len(encoder.calls) == 2
    cache.encode(["b"])
    assert encoder.calls[-1] == ["b"]
    assert len(cache) == 2
    assert (cache.hits, cache.misses) == (2, 4)


def test_a_batch_larger_than_the_memory_cache_is_answered_in_full():
    cache = TextVectorCache(HashEncoder(), capacity=3)
    texts = [str(index) for index in range(10)]
    vectors = cache.encode(texts)
    assert all(
        np.array_equal(vector, HashEncoder.vector(text)) for text, vector in zip(texts, vectors, strict=True)
    )
    assert len(cache) == 3
    assert cache.encode([]).shape == (0, DIMENSION)


def test_changing_an_answer_does_not_change_the_memory():
    cache = TextVectorCache(HashEncoder())
    cache.encode(["a"])[:] = 0
    cache.encode(["a"])[:] = 0
    assert np.array_equal(cache.encode(["a"])[0], HashEncoder.vector("a"))


def test_threads_share_the_memory_cache():
    cache = TextVectorCache(HashEncoder(), capacity=50)
    wrong = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(200):
            texts = [str(number) for number in random.integers(0, 100, 5)]
            for text, vector in zip(texts, cache.encode(texts), strict=True):
                if not np.array_equal(vector, HashEncoder.vector(text)):
                    wrong.append(text)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(cache) == 50


def test_capacity_must_be_positive():
    with pytest.raises(ValueError, match="capacity"):
        TextVectorCache(HashEncoder(), capacity=0)
