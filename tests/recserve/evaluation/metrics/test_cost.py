"""What a model costs: bytes of its files, and CPU time of an answer."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recserve.data.arrays import Int32Array
from recserve.data.batches import Queries
from recserve.data.dataset import Dataset
from recserve.evaluation import evaluate, temporal
from recserve.evaluation.metrics.cost import Cost, stored_bytes
from recserve.plugin.protocols import FitContext
from recserve.testing import example_dataset


class Kept:
    """A component that keeps two files, one of them in a folder."""

    def __init__(self, size: int = 100, error: Exception | None = None) -> None:
        self.size, self.error = size, error
        self.folders: list[Path] = []

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        return {}

    def save(self, directory: Path) -> None:
        self.folders.append(directory)
        if self.error is not None:
            raise self.error
        (directory / "below").mkdir()
        (directory / "below" / "weights.npy").write_bytes(b"x" * self.size)
        (directory / "facts.json").write_bytes(b"{}")

    def load(self, directory: Path) -> None:
        raise AssertionError("nothing is loaded")


def test_every_file_counts_once_and_none_is_left_behind() -> None:
    kept = Kept()
    assert stored_bytes([kept, object(), kept]) == 102
    assert stored_bytes([kept, Kept(size=8)]) == 112
    assert stored_bytes([]) == stored_bytes([object()]) == 0, "what learns nothing keeps nothing"
    assert not any(folder.exists() for folder in kept.folders)


@pytest.mark.parametrize("error", [OSError("no space left"), NotImplementedError("not here")])
def test_what_cannot_be_saved_has_no_size_and_says_so(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert math.isnan(stored_bytes([Kept(), Kept(error=error)]))
    assert f"the size of Kept on disk is not measured: {error}" in caplog.text


def test_costs_are_null_where_nothing_was_measured() -> None:
    assert Cost().to_json() == {"answer_cpu_ms": None, "stored_bytes": None}
    cost = Cost(0.25, 2_500_000.0)
    assert cost.megabytes == 2.5
    assert cost.to_json() == {"answer_cpu_ms": 0.25, "stored_bytes": 2_500_000}


class Slow:
    """Ranks by row, after some CPU time in its first call alone or in every one."""

    def __init__(self, seconds: float, *, always: bool) -> None:
        self._seconds, self._always, self.calls = seconds, always, 0

    def recommend(self, queries: Queries, k: int) -> Int32Array:
        self.calls += 1
        until = time.process_time() + self._seconds
        while (self._always or self.calls == 1) and time.process_time() < until:
            pass
        rows = np.full((len(queries), k), -1, dtype=np.int32)
        for query, (start, stop) in enumerate(
            zip(queries.excluded.offsets, queries.excluded.offsets[1:], strict=False)
        ):
            allowed = np.setdiff1d(np.arange(60, dtype=np.int32), queries.excluded.values[start:stop])[:k]
            rows[query, : len(allowed)] = allowed
        return rows


def test_an_answer_costs_the_cpu_time_of_its_batch_and_a_slow_first_batch_decides_nothing() -> None:
    split = temporal(example_dataset())
    assert split.n_items == 60
    always = evaluate(Slow(0.02, always=True), split, [5], name="slow", batch=32, stored_bytes=7.0)
    once = evaluate(Slow(0.2, always=False), split, [5], name="once", batch=32)
    assert always.cost.answer_ms >= 1000 * 0.02 / 32
    assert always.cost.stored_bytes == 7.0
    assert 0 < once.cost.answer_ms < 1000 * 0.2 / 32
    assert math.isnan(once.cost.stored_bytes)
    assert always.metrics == once.metrics, "costs are no metrics"
