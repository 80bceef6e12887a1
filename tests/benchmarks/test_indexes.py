"""The benchmark of indexes: its vectors, every index behind the protocol, and a small run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.indexes import main, resample
from benchmarks.indexes_peers import KINDS, Deadline, TooSlowError, recall
from recserve import ExactIndex, FloatArray, Ragged


def vectors(count: int, seed: int) -> FloatArray:
    generator = np.random.default_rng(seed)
    found = generator.standard_normal((count, 16), dtype=np.float32)
    found[::9] = 0
    return found


@pytest.mark.parametrize("name", KINDS)
def test_every_index_keeps_the_protocol_and_comes_back_from_its_files(name: str, tmp_path: Path) -> None:
    items, queries = vectors(3000, 1), vectors(60, 2)[1:]
    index = KINDS[name].build(items, queries[20:], Deadline(60))
    index.save(tmp_path)
    excluded = Ragged.of([np.arange(row, 3000, 100) for row in range(8)])
    mask = np.arange(3000) % 2 == 0
    truth, _ = ExactIndex(items).search(queries[:8], 30, (mask,) * 8, excluded)
    for one in (index, KINDS[name].load(tmp_path, items)):
        rows, scores = one.search(queries[:8], 30, (mask,) * 8, excluded)
        assert recall(rows, truth) > 0.8
        for number in range(8):
            found = rows[number][rows[number] >= 0]
            assert len(np.unique(found)) == len(found)
            assert mask[found].all()
            assert items[found].any(axis=1).all()
            assert not np.isin(found, excluded[number]).any()
            np.testing.assert_allclose(
                scores[number, : len(found)], items[found] @ queries[number], rtol=1e-4, atol=1e-5
            )


def test_a_build_that_cannot_end_in_time_is_given_up() -> None:
    deadline = Deadline(0.0)
    with pytest.raises(TooSlowError, match="all would take"):
        deadline.check(10, 100)
    Deadline(60).check(10, 100)


def test_resampled_vectors_are_like_those_they_come_from(tmp_path: Path) -> None:
    factors = vectors(500, 3)
    resample(factors, tmp_path / "v.npy", 1700)
    out = np.load(tmp_path / "v.npy")
    np.testing.assert_array_equal(out[:500], factors)
    copies, originals = out[500:1500], np.tile(factors, (2, 1))
    assert (copies.any(axis=1) == originals.any(axis=1)).all()
    real = originals.any(axis=1)
    lengths = np.linalg.norm(copies[real], axis=1), np.linalg.norm(originals[real], axis=1)
    cosines = (copies[real] * originals[real]).sum(axis=1) / lengths[0] / lengths[1]
    assert 0.85 < cosines.mean() < 0.95
    assert 0.9 < np.median(lengths[0] / lengths[1]) < 1.3


@pytest.mark.slow
def test_a_small_run_prints_a_row_for_each_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--items", "4000", "--dimension", "8", "--json", str(tmp_path / "figures.json")]
    main([*arguments, "--indexes", "exact", "recserve", "--keep", str(tmp_path)])
    figures = json.loads((tmp_path / "figures.json").read_text("utf-8"))["figures"]["4000"]
    assert figures["exact"]["1.0"]["recall"] == 1.0
    for share in ("1.0", "0.1", "0.01"):
        assert figures["recserve"][share]["recall"] > 0.95
        assert figures["recserve"][share]["filled"] == 1.0
    assert figures["recserve"]["disk_mb"] > 0
    assert "recall@100" in capsys.readouterr().out
