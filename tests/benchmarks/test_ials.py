"""What the factorisation benchmark computes itself; the peers live in an environment of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from recserve_mf.solver.cpu import CpuSolver
from recserve_mf.solver.ials import Objective, Problem, initial_items
from scipy.sparse import csr_array, random_array

from benchmarks.datasets import Data
from benchmarks.factorisation import Job, Pairs, objective_value, ours, theirs
from benchmarks.ials import objective_for

OBJECTIVE = Objective(unobserved_weight=0.15, regularization=0.4, nu=0.0)


def some_problem() -> Problem:
    matrix = random_array((30, 20), density=0.2, rng=np.random.default_rng(5)).tocsr()
    problem = Problem.of_matrix(csr_array(matrix), confidence_power=0.0)
    assert problem is not None
    return problem


def had(rows: list[tuple[str, str, int]]) -> Data:
    users, items, times = zip(*rows, strict=True)
    columns = {"user_id": users, "item_id": items, "timestamp": times}
    return Data("made up", pa.table({name: list(column) for name, column in columns.items()}))


def loss_of_implicit(job: Job, problem: Problem, users: np.ndarray, items: np.ndarray) -> float:
    """As implicit's documentation and code have it: weight c where observed, 1 elsewhere."""
    side = problem.by_user
    observed = csr_array((side.weights, side.columns, side.offsets), shape=(len(users), len(items)))
    liked = observed.toarray() > 0
    scores = users.astype(np.float64) @ items.astype(np.float64).T
    misses = np.where(liked, job.confidence * (1.0 - scores) ** 2, scores**2)
    shrinkage = sum(np.square(rows.astype(np.float64)).sum() for rows in (users, items))
    return float(misses.sum() + job.regularization * shrinkage)


def test_implicit_is_given_the_same_function_up_to_a_factor_and_a_constant() -> None:
    problem = some_problem()
    job = Job.of("implicit", OBJECTIVE, 6, threads=1, iterations=1, steps=3)
    generator = np.random.default_rng(1)
    mine, other = [], []
    for scale in (0.1, 0.5, 1.0, 2.0):
        users = (scale * generator.standard_normal((len(problem.by_user), 6))).astype(np.float32)
        items = (scale * generator.standard_normal((len(problem.by_item), 6))).astype(np.float32)
        mine.append(objective_value(problem, OBJECTIVE, users, items))
        other.append(loss_of_implicit(job, problem, users * job.scale, items * job.scale))
    factor = job.scale**4 * (job.confidence - 1.0)
    np.testing.assert_allclose(np.diff(other), factor * np.diff(mine), rtol=1e-5)


def test_irspack_has_the_objective_as_it_is() -> None:
    job = Job.of("irspack", OBJECTIVE, 6, threads=1, iterations=1, steps=3)
    assert (job.scale, job.unobserved_weight, job.regularization) == (1.0, 0.15, 0.4)


@pytest.mark.parametrize("nu", [0.0, 1.0])
def test_the_objective_is_the_one_that_the_solver_minimises(nu: float) -> None:
    problem, objective = some_problem(), Objective(0.15, 0.02, nu)
    with CpuSolver(problem, objective, initial_items(len(problem.items), 5, 1.0, 0), 3, 1) as solver:
        solver.sweep()
        value = objective_value(problem, objective, solver.users, solver.items)
        assert value == pytest.approx(solver.loss(), rel=1e-5)


def test_our_job_keeps_the_factors_that_were_asked_for() -> None:
    problem = some_problem()
    done = ours(Job.of("recserve", OBJECTIVE, 5, 1, 4, 3, keep=[1, 4]), problem, OBJECTIVE)
    assert (len(done.seconds), len(done.cpu), sorted(done.factors)) == (4, 4, [1, 4])
    first, last = (objective_value(problem, OBJECTIVE, *done.factors[one]) for one in (1, 4))
    assert last < first


def test_the_newest_new_item_of_each_user_is_held_out() -> None:
    pairs = Pairs.of(
        had(
            [
                ("b", "x", 3),
                ("b", "y", 1),
                ("b", "z", 2),
                ("b", "y", 9),  # had before: not what is asked for
                ("a", "y", 5),
                ("a", "only-a", 6),
                ("c", "z", 1),  # all that c has
            ]
        )
    )
    side = pairs.problem.by_user
    assert np.diff(side.offsets).tolist() == [1, 2, 1]
    assert pairs.problem.items.tolist() == [2, 3]  # y and z, of only-a, x, y, z
    assert side.columns.tolist() == [0, 0, 1, 1]
    assert side.weights.tolist() == [1.0] * 4
    assert pairs.targets.tolist() == [-2, -2, -1]


def test_a_held_out_item_counts_by_its_rank_without_what_the_user_has() -> None:
    rows = [(user, item, n) for user in "pq" for n, item in enumerate("abcd")]
    pairs = Pairs.of(had([*rows, ("r", "a", 0), ("r", "e", 1), ("s", "e", 0), ("s", "f", 1), ("s", "d", 2)]))
    assert pairs.problem.items.tolist() == [0, 1, 2, 4, 5]  # d is nobody's any more
    assert pairs.targets.tolist() == [-2, -2, 3, -2]
    # Of r's other items b scores best and e second.
    items = np.array([[9.0], [4.0], [1.0], [3.0], [2.0]], dtype=np.float32)
    values = pairs.ndcg(np.ones((4, 1), dtype=np.float32), items)
    np.testing.assert_allclose(values["ndcg@10"], [0.0, 0.0, 1 / np.log2(3), 0.0])


def test_the_default_objective_follows_the_data() -> None:
    problem = some_problem()
    objective = objective_for(problem, 8.0, None)
    assert objective.unobserved_weight == pytest.approx(8.0 * problem.density)
    # Every observed pair weighs 1, so the pull of all pairs is eight times that of the observed ones.
    n_pairs = len(problem.by_user.columns)
    users, items = len(problem.by_user), len(problem.by_item)
    assert objective.regularization == pytest.approx(0.01 * 9 * n_pairs / (users * items) ** 0.5)
    assert objective_for(problem, 8.0, 2.5).regularization == 2.5


def test_a_peer_that_fails_says_which_and_why(tmp_path: Path) -> None:
    job = Job.of("nothing", OBJECTIVE, 4, 1, 1, 3)
    with pytest.raises(SystemExit, match=r"nothing in .* failed: KeyError: 'nothing'"):
        theirs(job, some_problem(), Path(sys.executable))
    with pytest.raises(SystemExit, match="cannot be run: No such file"):
        theirs(job, some_problem(), tmp_path / "python")
