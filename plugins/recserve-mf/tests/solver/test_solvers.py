from __future__ import annotations

import itertools

import numpy as np
import pytest
from recserve_mf.model import Model
from recserve_mf.solver.conjugate_gradient import solve_rows
from recserve_mf.solver.cpu import CpuSolver
from recserve_mf.solver.fold_in import FoldIn
from recserve_mf.solver.gpu import TorchSolver
from recserve_mf.solver.ials import Objective, Problem, Side, in_principal_axes, initial_items
from scipy.sparse import csr_array, random_array

from recserve import Histories

OBJECTIVE = Objective(unobserved_weight=0.2, regularization=0.03, nu=0.7)


def problem(n_users: int = 60, n_items: int = 40, seed: int = 0, power: float = 1.0) -> Problem:
    generator = np.random.default_rng(seed)
    matrix = random_array(
        (n_users, n_items),
        density=0.15,
        rng=generator,
        data_sampler=lambda size: generator.uniform(0.2, 3.0, size),
    ).tocsr()
    built = Problem.of_matrix(csr_array(matrix), power)
    assert built is not None
    return built


def dense_rows(side: Side, fixed: np.ndarray, objective: Objective) -> np.ndarray:
    """Every row of a side by its dense normal equations in float64."""
    wide = fixed.astype(np.float64)
    gramian = objective.unobserved_weight * wide.T @ wide
    regularization = objective.scaled_regularization(side.confidence(), side.n_columns)
    solved = np.empty((len(side), fixed.shape[1]))
    for row in range(len(side)):
        events = slice(side.offsets[row], side.offsets[row + 1])
        vectors = wide[side.columns[events]]
        weights = side.weights[events].astype(np.float64)
        system = gramian + vectors.T @ (weights[:, None] * vectors)
        system += regularization[row] * np.eye(fixed.shape[1])
        solved[row] = np.linalg.solve(system, vectors.T @ weights)
    return solved


def dense_loss(one: Problem, users: np.ndarray, items: np.ndarray, objective: Objective) -> float:
    """The objective as its formula says, over the full matrix."""
    scores = users.astype(np.float64) @ items.astype(np.float64).T
    loss = objective.unobserved_weight * np.square(scores).sum()
    side = one.by_user
    for row in range(len(side)):
        events = slice(side.offsets[row], side.offsets[row + 1])
        misses = 1.0 - scores[row, side.columns[events]]
        loss += float((side.weights[events] * np.square(misses)).sum())
    for rows, of in ((users, one.by_user), (items, one.by_item)):
        frequency = of.confidence().astype(np.float64) + objective.unobserved_weight * of.n_columns
        scaled = objective.regularization * frequency**objective.nu
        loss += float((scaled * np.square(rows.astype(np.float64)).sum(axis=1)).sum())
    return float(loss)


def test_the_problem_drops_empty_rows_and_normalises_confidence() -> None:
    matrix = csr_array(
        (np.array([4.0, 1.0, 1.0], np.float32), (np.array([0, 2, 2]), np.array([1, 1, 4]))),
        shape=(4, 6),
    )
    one = Problem.of_matrix(matrix, confidence_power=0.5)
    assert one is not None
    assert one.items.tolist() == [1, 4]
    assert (len(one.by_user), len(one.by_item)) == (2, 2)
    assert one.confidence_unit == pytest.approx(4 / 3)
    np.testing.assert_allclose(one.by_user.weights, [1.5, 0.75, 0.75])
    np.testing.assert_allclose(one.by_item.confidence(), [2.25, 0.75])
    assert one.density == pytest.approx(3 / 4)
    assert Problem.of_matrix(csr_array((2, 2), dtype=np.float32), 1.0) is None


@pytest.mark.parametrize("dimension", [1, 5, 16, 64])
def test_conjugate_gradient_reaches_the_dense_solution(dimension: int) -> None:
    one = problem()
    items = in_principal_axes(initial_items(len(one.items), dimension, 1.0, seed=1))
    diagonal = OBJECTIVE.unobserved_weight * np.square(items.astype(np.float64)).sum(axis=0)
    side = one.by_user
    solved = np.zeros((len(side), dimension), dtype=np.float32)
    solve_rows(
        items,
        side.offsets,
        side.columns,
        side.weights,
        diagonal.astype(np.float32),
        OBJECTIVE.scaled_regularization(side.confidence(), side.n_columns),
        solved,
        0,
        len(side),
        200,
    )
    exact = dense_rows(side, items, OBJECTIVE)
    np.testing.assert_allclose(solved, exact, atol=2e-4 * np.abs(exact).max())


def test_a_few_steps_come_close_already() -> None:
    one = problem()
    start = initial_items(len(one.items), 16, 1.0, seed=1)
    losses = []
    for steps in (3, 200):
        with CpuSolver(one, OBJECTIVE, start, steps, threads=1) as solver:
            for _ in range(10):
                solver.sweep()
            losses.append(solver.loss())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_objective_falls_with_every_sweep(steps: int) -> None:
    one = problem(seed=4)
    with CpuSolver(one, OBJECTIVE, initial_items(40, 12, 0.5, seed=2), steps, threads=1) as solver:
        losses = []
        for _ in range(12):
            solver.sweep()
            losses.append(dense_loss(one, solver.users, solver.items, OBJECTIVE))
            assert solver.loss() == pytest.approx(losses[-1], rel=1e-5)
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("numbers", [64_000_000, 900])
def test_torch_solves_a_half_sweep_exactly_in_any_batching(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recserve_mf.solver.gpu.BATCH_NUMBERS", numbers)
    one = problem(seed=7)
    start = initial_items(len(one.items), 12, 1.0, seed=3)
    solver = TorchSolver(one, OBJECTIVE, start, "cpu")
    solver.sweep()
    users = dense_rows(one.by_user, start, OBJECTIVE)
    np.testing.assert_allclose(solver.users, users, atol=1e-4 * np.abs(users).max())
    items = dense_rows(one.by_item, solver.users, OBJECTIVE)
    np.testing.assert_allclose(solver.items, items, atol=1e-4 * np.abs(items).max())


def test_torch_and_numba_agree_on_every_score() -> None:
    one = problem(seed=9)
    start = initial_items(len(one.items), 10, 1.0, seed=3)
    with (
        CpuSolver(one, OBJECTIVE, start, 200, threads=2) as first,
        TorchSolver(one, OBJECTIVE, start, "cpu") as second,
    ):
        for _ in range(3):
            first.sweep()
            second.sweep()
        scores = first.users @ first.items.T
        np.testing.assert_allclose(scores, second.users @ second.items.T, atol=2e-4)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    one = problem(n_users=9000, n_items=300, seed=11)
    found = []
    for threads in (1, 2, 5):
        with CpuSolver(one, OBJECTIVE, initial_items(300, 24, 0.1, 0), 3, threads) as solver:
            solver.sweep()
            solver.sweep()
            found.append((solver.users.tobytes(), solver.items.tobytes(), solver.loss()))
    assert found[0] == found[1] == found[2]


def test_principal_axes_keep_inner_products_and_diagonalise_the_gramian() -> None:
    items = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    turned = in_principal_axes(items)
    np.testing.assert_allclose(turned @ turned.T, items @ items.T, atol=1e-4)
    gramian = turned.T @ turned
    np.testing.assert_allclose(gramian, np.diag(np.diag(gramian)), atol=1e-4)
    assert (np.diff(np.diag(gramian)) <= 0).all()


def ragged(one: Problem, weights_unit: float) -> Histories:
    """The training matrix as histories, each pair split into two events."""
    side = one.by_user
    repeat = np.repeat(np.arange(len(side.columns)), 2)
    half = (side.weights[repeat] * weights_unit / 2).astype(np.float32)
    return Histories(
        side.offsets * 2,
        one.items[side.columns[repeat]].astype(np.int32),
        np.zeros(len(repeat), np.int16),
        half,
        np.arange(len(repeat), dtype=np.int64),
    )


@pytest.mark.parametrize("dimension", [3, 9, 64])
def test_fold_in_is_the_user_solve_of_training(dimension: int) -> None:
    one = problem(seed=13)
    with CpuSolver(one, OBJECTIVE, initial_items(len(one.items), dimension, 0.3, 0), 5, 1) as solver:
        for _ in range(4):
            solver.sweep()
        model = Model.of(one, solver.items, 45, OBJECTIVE, 1.0)
    fold_in = FoldIn(model)
    vectors, groups = fold_in.solve(fold_in.liked(ragged(one, one.confidence_unit)))
    exact = dense_rows(one.by_user, model.items[one.items], OBJECTIVE)
    np.testing.assert_allclose(vectors, exact, atol=1e-5 * np.abs(exact).max())
    alone, none = fold_in.solve(fold_in.liked(ragged(one, one.confidence_unit)), influence=False)
    np.testing.assert_allclose(alone, vectors, atol=1e-6 * np.abs(exact).max())
    assert none == []
    lengths = {int(group.real.sum(axis=1).max()) for group in groups}
    if dimension == 9:
        # Histories on both sides of d: the primal and the dual system were both used.
        assert min(lengths) <= dimension < max(lengths)


@pytest.mark.parametrize("dimension", [4, 32])
def test_contributions_are_those_of_hu_koren_and_volinsky(dimension: int) -> None:
    one = problem(seed=17)
    model = Model.of(one, initial_items(len(one.items), dimension, 1.0, 0), 40, OBJECTIVE, 1.0)
    fold_in = FoldIn(model)
    liked = fold_in.liked(ragged(one, one.confidence_unit))
    vectors, groups = fold_in.solve(liked)
    asked = np.tile(np.arange(40, dtype=np.int32), (len(vectors), 1))
    seeds = fold_in.evidence(groups, asked)
    items = model.items.astype(np.float64)
    regularization = OBJECTIVE.scaled_regularization(one.by_user.confidence(), len(one.items))
    for user in range(0, len(vectors), 7):
        own = slice(liked.offsets[user], liked.offsets[user + 1])
        rows, confidence = liked.items[own], liked.confidences[own]
        system = OBJECTIVE.unobserved_weight * items.T @ items
        system += items[rows].T @ (confidence[:, None] * items[rows])
        system += regularization[user] * np.eye(dimension)
        contributions = items @ np.linalg.inv(system) @ (items[rows] * confidence[:, None]).T
        np.testing.assert_allclose(contributions.sum(axis=1), items @ vectors[user], atol=1e-4)
        best = contributions.max(axis=1)
        expected = np.where(best > 0, rows[contributions.argmax(axis=1)], -1)
        clear = np.abs(best) > 1e-5
        np.testing.assert_array_equal(seeds[user][clear], expected[clear])
