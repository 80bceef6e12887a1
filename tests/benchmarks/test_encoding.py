"""What the encoding benchmark computes itself; the peer lives in an environment of its own."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.encoding import PEER, Comparison, Figures, Work, item_texts, long_texts, overlap, show


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_overlap_is_the_shared_part_of_the_nearest() -> None:
    random = np.random.default_rng(0)
    vectors = unit(random.standard_normal((60, 8)))
    assert overlap(vectors, vectors) == 1.0
    turned = vectors @ np.linalg.qr(random.standard_normal((8, 8)))[0].astype(np.float32)
    assert overlap(turned, vectors) == 1.0  # neighbours are what counts, not coordinates
    assert overlap(unit(random.standard_normal((60, 8))), vectors) == pytest.approx(10 / 59, abs=0.08)


def test_overlap_of_known_neighbours() -> None:
    """Of two pairs one is torn apart: its two points find other neighbours, the other two do not."""
    angles = np.array([0.0, 0.1, 1.0, 1.1])
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    torn = circle.copy()
    torn[0] = [np.cos(1.4), np.sin(1.4)]
    assert overlap(torn, circle, k=1) == 0.5


def test_texts_are_real_distinct_and_the_same_every_time() -> None:
    items, long = item_texts(50), long_texts(40)
    assert len(set(items)) == 50
    assert len(set(long)) == 40
    assert (items, long) == (item_texts(50), long_texts(40))
    assert min(map(len, long)) > 300 > max(map(len, items))


@pytest.mark.long
def test_torch_and_its_peer_make_the_same_vectors(tmp_path) -> None:
    if find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers is not installed")
    texts = item_texts(40)
    work = [Work("all", texts, None), Work("few", texts[:11], 4)]
    found = Comparison(work, "bundled:minilm", Path(sys.executable), tmp_path).measure(["torch"], 1, 1)
    assert [(one.library, one.work) for one in found] == [
        (library, name) for library in (PEER, "torch") for name in ("all", "few")
    ]
    ours = found[2:]
    assert min(one.cosine_min for one in ours) > 0.9999
    assert ours[0].overlap > 0.98
    assert all(len(one.speed) == len(one.cpu_speed) == 1 for one in found)


def test_the_table_compares_medians_with_the_peer(capsys) -> None:
    rows = [
        Figures("all", 1, PEER, [100.0, 90.0, 300.0], [100.0] * 3),
        Figures("all", 1, "onnx", [400.0, 250.0, 500.0], [200.0] * 3, 0.991, 0.9987, 0.951),
    ]
    show(rows, Console(width=200))
    shown = capsys.readouterr().out
    for cell in ("100 (90-300)", "400 (250-500)", "4.00", "0.9987 (0.9910)", "0.951"):
        assert cell in shown


@pytest.mark.long
def test_a_run_that_fails_says_why(tmp_path) -> None:
    comparison = Comparison([Work("all", ["a"], None)], "bundled:minilm", Path(sys.executable), tmp_path)
    (tmp_path / "texts-0.json").unlink()
    with pytest.raises(SystemExit, match="torch failed") as error:
        comparison._run("torch", 1)
    assert "texts-0.json" in str(error.value)
