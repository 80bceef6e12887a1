"""One factorisation, by recserve or a peer, and what its factors are worth (see :mod:`benchmarks.ials`)."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recserve_mf.solver.cpu import CpuSolver
from recserve_mf.solver.ials import Objective, Problem, initial_items
from scipy.sparse import csr_array

from benchmarks.datasets import Data
from recserve.data.arrays import FloatArray, Int64Array
from recserve.data.batches import Ragged
from recserve.evaluation.metrics.accuracy import accuracy
from recserve.plugin.toolkit.topk import top_k

OURS = "recserve"
PEERS = ("implicit", "irspack")
CUTOFFS = (10, 20)
PEER_SCRIPT = Path(__file__).with_name("ials_peer.py")
PEER_ADVICE = "PEER/bin/pip install implicit irspack threadpoolctl"

# Scores held at a time while ranking: 64 MB.
_SCORES = 16_000_000


@dataclass(frozen=True)
class Pairs:
    """Who had what, and the newest item of each user, which is held out.

    Attributes:
        name: Of the data set.
        problem: The training pairs, all of confidence 1.
        targets: int64, one a row of ``problem.by_user``: the held-out item as a row of
            ``problem.by_item``; -1 where nothing is held out; -2 where training never saw the item.
    """

    name: str
    problem: Problem
    targets: Int64Array

    @classmethod
    def of(cls, data: Data, seed: int = 0) -> Pairs:
        """Cut a data set; every event counts as "had it", the first of a user with an item."""
        _, users = np.unique(_column(data, "user_id"), return_inverse=True)
        ids, items = np.unique(_column(data, "item_id"), return_inverse=True)
        moments = data.events["timestamp"].to_numpy()
        # Without moments, chance decides what was last.
        order = np.lexsort((np.random.default_rng(seed).permutation(len(users)), moments, users))
        users, items = users[order], items[order]
        _, first = np.unique(users * len(ids) + items, return_index=True)
        first.sort()
        users, items = users[first], items[first]
        last = np.append(users[1:] != users[:-1], True)
        held = last & (np.bincount(users)[users] > 1)
        matrix = csr_array(
            (np.ones((~held).sum(), dtype=np.float32), (users[~held], items[~held])),
            shape=(int(users.max()) + 1, len(ids)),
        )
        problem = Problem.of_matrix(matrix, confidence_power=0.0)
        assert problem is not None, "every user keeps an event"
        rows = np.full(len(ids), -2)
        rows[problem.items] = np.arange(len(problem.items))
        targets = np.full(matrix.shape[0], -1)
        targets[users[held]] = rows[items[held]]
        return cls(data.name, problem, targets)

    @property
    def n_asked(self) -> int:
        """Users with a held-out item."""
        return int((self.targets != -1).sum())

    def ndcg(self, users: FloatArray, items: FloatArray) -> dict[str, NDArray[np.float64]]:
        """``{"ndcg@10": ...}`` of each user with a held-out item, all items ranked but the user's own."""
        side = self.problem.by_user
        asked = np.flatnonzero(self.targets != -1)
        step = max(1, _SCORES // len(items))
        lists = []
        for block in np.array_split(asked, -(-len(asked) // step)):
            scores = users[block] @ items.T
            for place, row in enumerate(block):
                scores[place, side.columns[side.offsets[row] : side.offsets[row + 1]]] = -np.inf
            lists.append(top_k(scores, max(CUTOFFS))[0])
        # A row beyond the items is in no list: what training never saw can only be missed.
        wanted = np.where(self.targets[asked] < 0, len(items), self.targets[asked]).astype(np.int32)
        relevant = Ragged(np.arange(len(asked) + 1, dtype=np.int64), wanted)
        values = accuracy(np.concatenate(lists), relevant, CUTOFFS)
        return {f"ndcg@{k}": values[f"ndcg@{k}"] for k in CUTOFFS}


@dataclass(frozen=True)
class Job:
    """One factorisation by one library, in the terms of that library.

    Attributes:
        library: ``recserve``, ``implicit`` or ``irspack``.
        dimension: Length of a factor.
        threads: Threads.
        iterations: Sweeps over users and items.
        steps: Conjugate gradient steps a row and half sweep.
        seed: Of the random item factors that all start from.
        keep: Iterations after which factors are looked at.
        scale: Their factors are ours times this.
        confidence: Weight of an observed pair.
        unobserved_weight: Weight of every pair, or of an unobserved one, as the library has it.
        regularization: As the library has it.
    """

    library: str
    dimension: int
    threads: int
    iterations: int
    steps: int
    seed: int
    keep: tuple[int, ...]
    scale: float
    confidence: float
    unobserved_weight: float
    regularization: float

    @classmethod
    def of(
        cls,
        library: str,
        objective: Objective,
        dimension: int,
        threads: int,
        iterations: int,
        steps: int,
        seed: int = 0,
        keep: Sequence[int] = (),
    ) -> Job:
        """Translate our objective.

        ``irspack`` has it as it is. ``implicit`` gives an observed pair the weight ``c`` *instead of* the
        weight 1 that all others have, ``c (1 - s)^2`` instead of ``s^2``. Up to a constant that is
        ``s^2 + (c - 1)(t - s)^2`` with ``t = c / (c - 1)``: ours with the scores in units of ``t``. With
        ``c = 1 + 1 / a0``, a regularisation of ``c lambda`` and factors larger by the root of ``t`` it is
        ours times ``t^2 (c - 1)``, plus a constant.
        """
        given = (library, dimension, threads, iterations, steps, seed, tuple(keep))
        weight, shrinkage = objective.unobserved_weight, objective.regularization
        if library != "implicit":
            return cls(*given, 1.0, 1.0, weight, shrinkage)
        confidence = 1.0 + 1.0 / weight
        return cls(*given, (confidence / (confidence - 1.0)) ** 0.5, confidence, 1.0, confidence * shrinkage)


@dataclass(frozen=True)
class Done:
    """What came of a job.

    Attributes:
        seconds: Of each iteration, by the clock.
        cpu: Seconds of each iteration on all CPUs together.
        factors: Users and items after the iterations that were asked for, in our scale.
    """

    seconds: list[float]
    cpu: list[float]
    factors: dict[int, tuple[FloatArray, FloatArray]]


def ours(job: Job, problem: Problem, objective: Objective) -> Done:
    """Factorise here."""
    start = _start(job, problem)
    seconds, cpu, factors = [], [], {}
    with CpuSolver(problem, objective, start, job.steps, job.threads) as solver:
        for iteration in range(1, job.iterations + 1):
            started, busy = time.perf_counter(), time.process_time()
            solver.sweep()
            seconds.append(time.perf_counter() - started)
            cpu.append(time.process_time() - busy)
            if iteration in job.keep:
                factors[iteration] = (solver.users.copy(), solver.items.copy())
    return Done(seconds, cpu, factors)


def theirs(job: Job, problem: Problem, python: Path) -> Done:
    """Factorise in the peers' environment."""
    with tempfile.TemporaryDirectory(prefix="recserve-bench-") as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(asdict(job)), encoding="utf-8")
        items = _start(job, problem) * np.float32(job.scale)
        np.save(folder / "offsets.npy", problem.by_user.offsets)
        np.save(folder / "columns.npy", problem.by_user.columns)
        np.save(folder / "items.npy", items)
        np.save(folder / "users.npy", np.zeros((len(problem.by_user), job.dimension), dtype=np.float32))
        # One thread of BLAS: the libraries' own threads work on rows, as implicit advises.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": str(job.threads)}
        command = [str(python), "-I", str(PEER_SCRIPT), str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        except OSError as error:
            raise SystemExit(f"{python} cannot be run: {error.strerror}") from None
        if done.returncode:
            reason = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
            raise SystemExit(f"{job.library} in {python} failed: {reason}\nIt comes with: {PEER_ADVICE}")
        factors = {}
        for iteration in job.keep:
            sides = [np.load(folder / f"{side}-{iteration}.npy") for side in ("users", "items")]
            factors[iteration] = (sides[0] / np.float32(job.scale), sides[1] / np.float32(job.scale))
        return Done(np.load(folder / "seconds.npy").tolist(), np.load(folder / "cpu.npy").tolist(), factors)


def objective_value(problem: Problem, objective: Objective, users: FloatArray, items: FloatArray) -> float:
    """The objective of anybody's factors as its formula says, in float64."""
    side = problem.by_user
    owners = np.repeat(np.arange(len(side)), np.diff(side.offsets))
    observed = 0.0
    for start in range(0, len(owners), 100_000):
        part = slice(start, start + 100_000)
        scores = np.einsum("ed,ed->e", users[owners[part]], items[side.columns[part]], dtype=np.float64)
        observed += float((side.weights[part] * np.square(1.0 - scores)).sum())
    gramians, shrinkage = [], 0.0
    for rows, of in ((users, problem.by_user), (items, problem.by_item)):
        wide = rows.astype(np.float64)
        gramians.append(wide.T @ wide)
        scaled = objective.scaled_regularization(of.confidence(), of.n_columns)
        shrinkage += float(scaled.astype(np.float64) @ np.square(wide).sum(axis=1))
    return observed + objective.unobserved_weight * float(np.vdot(*gramians)) + shrinkage


def _column(data: Data, name: str) -> NDArray[Any]:
    return np.array(data.events[name].to_pylist(), dtype=object)


def _start(job: Job, problem: Problem) -> FloatArray:
    return initial_items(len(problem.items), job.dimension, 0.1, job.seed)
