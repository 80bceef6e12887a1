"""Rows by threads, by blocks and by processes: the same bits, and what travels how often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_mf.parameters import MfParams
from recserve_mf.retriever import MfRetriever
from recserve_mf.solver.cpu import CpuSolver
from recserve_mf.solver.ials import Objective, Problem, Side, initial_items
from recserve_mf.solver.rows import PIECES_EACH, BlockRows, Fixed, ThreadRows, solve_block
from scipy.sparse import csr_array, random_array

from recserve import FitContext, InProcess, Shared
from recserve.testing import ProcessExecutor, check_executor, example_dataset

OBJECTIVE = Objective(unobserved_weight=0.2, regularization=0.03, nu=0.7)


def problem(n_users: int, n_items: int, seed: int = 0) -> Problem:
    generator = np.random.default_rng(seed)
    matrix = random_array((n_users, n_items), density=0.1, rng=generator).tocsr()
    built = Problem.of_matrix(csr_array(matrix), 1.0)
    assert built is not None
    return built


def fixed(side: Side, dimension: int) -> tuple[Fixed, np.ndarray]:
    """Another side to solve for, and regularization of the rows."""
    rows = initial_items(side.n_columns, dimension, 1.0, seed=1)
    diagonal = 0.2 * np.square(rows).sum(axis=0)
    return Fixed(rows, diagonal, 3), OBJECTIVE.scaled_regularization(side.confidence(), side.n_columns)


class Accounts:
    """In-process executor that claims to be several, and knows what is shared at present and was ever."""

    workers = 3

    def __init__(self) -> None:
        self.shared = 0
        self.held: set[int] = set()

    def share(self, value: Any) -> Shared:
        self.shared += 1
        self.held.add(self.shared)
        return Held(value, self.shared, self.held)

    def map(self, function: Callable[..., Any], parts: Iterable[Any], *shared: Any) -> Iterator[Any]:
        for part in parts:
            entries = (entry.value if isinstance(entry, Held) else entry for entry in part)
            yield function(tuple(entries), *(handle.value for handle in shared))

    def torch(self, function: Callable[..., Any], *shared: Any) -> Any:
        raise NotImplementedError


class Held:
    def __init__(self, value: Any, number: int, held: set[int]) -> None:
        self.value, self._number, self._held = value, number, held

    def release(self) -> None:
        self._held.remove(self._number)


@settings(max_examples=40, deadline=None)
@given(blocks=st.integers(1, 200), threads=st.integers(1, 5), seed=st.integers(0, 5))
def test_any_partition_gives_the_same_bits(blocks: int, threads: int, seed: int) -> None:
    side = problem(90, 30, seed).by_user
    other, regularization = fixed(side, 7)
    found = [np.full((len(side), 7), 0.01, dtype=np.float32) for _ in range(2)]
    with ThreadPoolExecutor(threads) as pool:
        ThreadRows(side, regularization, pool, threads).solve(other, found[0])
    BlockRows(side, regularization, InProcess(), blocks).solve(other, found[1])
    assert found[0].tobytes() == found[1].tobytes()
    assert np.abs(found[0] - 0.01).min(axis=1).max() > 0


def test_what_is_shared_may_be_read_only() -> None:
    side = problem(50, 20).by_item
    other, regularization = fixed(side, 4)
    before = np.zeros((len(side), 4), dtype=np.float32)
    for array in (side.offsets, side.columns, side.weights, other.rows, other.diagonal, before):
        array.setflags(write=False)
    assert np.abs(solve_block((side, regularization, before), other)).sum(axis=1).all()
    assert not before.any()


def test_pairs_travel_once_and_nothing_stays_shared() -> None:
    data, executor = problem(80, 40), Accounts()
    with CpuSolver(data, OBJECTIVE, initial_items(40, 6, 0.3, 0), 3, 1, executor) as solver:
        blocks = executor.shared
        assert blocks == 2 * 3 * PIECES_EACH
        for _ in range(4):
            solver.sweep()
        assert executor.shared == blocks + 2 * 4
        assert len(executor.held) == blocks
    assert not executor.held


def test_a_solver_with_processes_finds_the_same_bits() -> None:
    data = problem(9000, 300, seed=11)
    found = []
    with ProcessExecutor(2) as processes:
        for executor in (InProcess(), processes):
            with CpuSolver(data, OBJECTIVE, initial_items(300, 24, 0.1, 0), 3, 2, executor) as solver:
                for _ in range(3):
                    solver.sweep()
                found.append((solver.users.tobytes(), solver.items.tobytes(), solver.loss()))
    assert processes.parts == 3 * 2 * 2 * PIECES_EACH
    assert found[0] == found[1]


def test_a_whole_fit_with_processes_saves_the_same_bytes(tmp_path: Path) -> None:
    """The choice of settings included."""
    data = example_dataset()
    with ProcessExecutor(2) as processes:
        for executor, name in ((InProcess(), "alone"), (processes, "together")):
            retriever = MfRetriever(MfParams(dimension=8), data.catalogue)
            retriever.fit(data, FitContext(device="cpu", threads=1, executor=executor))
            (tmp_path / name).mkdir()
            retriever.save(tmp_path / name)
    assert processes.parts
    for file in (tmp_path / "alone").iterdir():
        assert file.read_bytes() == (tmp_path / "together" / file.name).read_bytes()


def test_executor_contract() -> None:
    check_executor("mf", dimension=8, iterations=3, regularization=0.01)
