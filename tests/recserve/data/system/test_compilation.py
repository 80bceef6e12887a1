"""Compiled kernels beside what they stand for, and when a process has them."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recserve import Catalogue, Histories, Queries, Ragged, Retrieved, compiled, top_k_of_products
from recserve.data.arrays import FloatArray
from recserve.data.entities import Item
from recserve.data.system import compilation
from recserve.data.system.compilation import KERNELS, compile_kernels
from recserve.serving.stages.fusion import merge

pytest.importorskip("numba")

T = TypeVar("T")

EXAMPLES = settings(max_examples=25, deadline=None)


def both(call: Callable[[], T]) -> tuple[T, T]:
    """What NumPy and what a kernel say."""
    compile_kernels(False)
    plain = call()
    compile_kernels()
    assert compiled(KERNELS) is not None
    return plain, call()


@st.composite
def sparse_products(draw: st.DrawFn) -> tuple[csr_array, csr_array, Queries, int]:
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    batch, items = draw(st.integers(1, 4)), draw(st.integers(1, 40))
    # Few different values: sums tie.
    values = draw(st.sampled_from([(0.0, 1.0), (0.0, 0.0, 0.5, 1.0), (0.0, 0.1, 0.3, 0.7)]))
    left = csr_array(random.choice(values, (batch, items)).astype(np.float32))
    right = csr_array(random.choice(values, (items, items)).astype(np.float32))
    masks = [None, random.random(items) < 0.5, np.zeros(items, dtype=np.bool_)]
    queries = Queries.of(
        Histories.empty(batch),
        np.zeros(batch, dtype=np.int64),
        excluded=Ragged.of(
            [random.integers(-2, items + 3, random.integers(0, 5)) for _ in range(batch)]
            if draw(st.booleans())
            else [np.arange(items)] * batch
        ),
    ).with_allowed(tuple(masks[draw(st.integers(0, 2))] for _ in range(batch)))
    return left, right, queries, draw(st.integers(1, items + 3))


@given(sparse_products())
@EXAMPLES
def test_the_best_of_a_sparse_product_are_those_of_all_its_entries(
    case: tuple[csr_array, csr_array, Queries, int],
) -> None:
    plain, fast = both(lambda: top_k_of_products(*case))
    np.testing.assert_array_equal(fast[0], plain[0])
    np.testing.assert_array_equal(fast[1], plain[1])
    assert [array.dtype for array in fast] == [array.dtype for array in plain] == [np.int32, np.float32]


def test_many_more_items_than_are_kept_at_a_time_are_selected_from() -> None:
    random = np.random.default_rng(1)
    right = csr_array(random.integers(0, 400, (3, 5000)).astype(np.float32))
    left = csr_array(np.array([[1, 0, 0], [0, 0, 0], [0.5, 1, 2]], dtype=np.float32))
    queries = Queries.of(Histories.empty(3), np.zeros(3, dtype=np.int64))
    for k in (1, 7, 300):
        plain, fast = both(partial(top_k_of_products, left, right, queries, k))
        np.testing.assert_array_equal(fast[0], plain[0])
        np.testing.assert_array_equal(fast[1], plain[1])
        assert (fast[0][1] == -1).all()


@st.composite
def findings(draw: st.DrawFn) -> tuple[dict[str, Retrieved], dict[str, float | FloatArray], int]:
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    batch, items = draw(st.integers(1, 3)), draw(st.sampled_from([4, 30, 2_000_000_000]))
    found: dict[str, Retrieved] = {}
    weights: dict[str, float | FloatArray] = {}
    for number in range(draw(st.integers(1, 4))):
        width = draw(st.integers(0, 12))
        rows = np.full((batch, width), -1, dtype=np.int32)
        for query in range(batch):
            pool = np.unique(random.integers(0, items, 3 * width))
            some = random.permutation(pool)[: random.integers(0, width + 1)]
            rows[query, : len(some)] = some
        scores = np.where(rows >= 0, random.random(rows.shape), -np.inf).astype(np.float32)
        evidence = random.integers(-3, 6, rows.shape).astype(np.int32)
        found[f"r{number}"] = Retrieved(rows, scores, evidence)
        # Equal weights make ties; none is 1.
        if draw(st.booleans()):
            weights[f"r{number}"] = draw(st.sampled_from([0.3, 1.0, 2.0]))
        elif draw(st.booleans()):
            weights[f"r{number}"] = random.choice([0.0, 0.5, 1.0], batch).astype(np.float32)
    return found, weights, draw(st.integers(1, 30))


@given(findings())
@EXAMPLES
def test_fusion_is_the_same_compiled(
    case: tuple[dict[str, Retrieved], dict[str, float | FloatArray], int],
) -> None:
    plain, fast = both(lambda: merge(*case))
    assert fast.sources == plain.sources
    for name in ("items", "scores", "source_scores", "evidence"):
        left, right = getattr(fast, name), getattr(plain, name)
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)


@given(st.integers(0, 10_000), st.integers(0, 3), st.integers(0, 30), st.integers(0, 3))
@EXAMPLES
def test_products_with_gathered_rows_are_the_same(seed: int, batch: int, width: int, new: int) -> None:
    random = np.random.default_rng(seed)
    vectors, extra = (random.standard_normal((n, 7)).astype(np.float32) for n in (5, new))
    catalogue = Catalogue.of([Item(str(row)) for row in range(5)], vectors)
    rows = random.integers(-2, 5 + new + 2, (batch, width)).astype(np.int32)
    directions = random.standard_normal((batch, 7)).astype(np.float32)
    given_extra = extra if new else None
    plain, fast = both(lambda: catalogue.products(rows, directions, given_extra))
    assert fast.shape == plain.shape
    assert fast.dtype == np.float32
    np.testing.assert_allclose(fast, plain, atol=1e-5)


def test_only_a_process_that_wants_kernels_imports_numba() -> None:
    code = (
        "import sys, recserve\n"
        "from recserve.data.system.compilation import KERNELS, compile_kernels\n"
        "assert recserve.compiled(KERNELS) is None and 'numba' not in sys.modules\n"
        "compile_kernels()\n"
        "assert recserve.compiled(KERNELS).fuse and 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_numba_it_is_computed_with_numpy(caplog: pytest.LogCaptureFixture) -> None:
    compile_kernels()
    assert compiled("recserve.no_such_kernels") is None
    assert compiled("recserve.no_such_kernels") is None
    assert len(caplog.records) == 1
    assert "computing with NumPy" in caplog.text


@pytest.mark.parametrize("released", [True, False], ids=["it ends", "it hangs"])
def test_of_processes_that_compile_the_same_one_goes_first(
    released: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"kernels_{'released' if released else 'held'}"
    source = tmp_path / f"{name}.py"
    source.write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    compile_kernels()
    monkeypatch.setattr(compilation, "_PATIENCE", 60.0 if released else 0.2)
    # A lock belongs to an open file: this one stands for another process's.
    with source.open("rb") as other, ThreadPoolExecutor(1) as pool:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = pool.submit(compiled, name)
        if released:
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
            assert name not in sys.modules
            fcntl.flock(other, fcntl.LOCK_UN)
        found = waiting.result(30)
        assert found is not None
        assert found.answer == 42
