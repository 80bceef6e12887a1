"""The GPU benchmark: its data are what its fits expect, and without a GPU it says so."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_data import Data


def test_made_up_events_are_the_same_in_memory_and_in_files(tmp_path: Path) -> None:
    data = Data(gpu.SMALL)
    vectors = np.ones((gpu.SMALL.items, 2), dtype=np.float32)
    whole = data.dataset(vectors, 50)
    data.write(tmp_path, 50)
    written = pq.read_table(tmp_path / "events.parquet")
    assert written.num_rows == len(whole) == 50 * gpu.SMALL.events // gpu.SMALL.users
    assert (np.diff(whole.timestamps) > 0).all()
    mine = written.filter(np.array(written["user_id"]) == "user-7").sort_by("timestamp")
    assert mine["item_id"].to_pylist() == [str(item) for item in whole.items[whole.users == 7]]
    # Users stay with a topic.
    assert len({item % gpu.SMALL.topics for item in whole.items[whole.users == 7]}) == 1


def test_overlap_is_the_mean_share_that_both_have() -> None:
    assert gpu.overlap([[1, 2], [3, 4]], [[2, 1], [4, 5]]) == 0.75
    assert gpu.overlap([[]], [[1]]) == 0.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_without_a_gpu_it_is_a_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert gpu.main() == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("no GPU is here")
