"""Factorises what :mod:`benchmarks.ials` prepared, with ``implicit`` or ``irspack``, in their environment.

    PEER_PYTHON -I benchmarks/ials_peer.py FOLDER

FOLDER holds ``job.json`` (a :class:`benchmarks.factorisation.Job`), the training pairs as CSR
(``offsets.npy``, ``columns.npy``) and where to start from (``users.npy``, ``items.npy``). Written into it:
``seconds.npy`` and ``cpu.npy``, the time of each iteration on the clock and on all CPUs together, and
``users-N.npy``, ``items-N.npy``, the factors after N iterations, for each N that the job asks for.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

Array = np.ndarray[Any, np.dtype[np.float32]]
Keep = Callable[[int, Array, Array], None]
Times = list[tuple[float, float]]


def with_implicit(job: dict[str, Any], pairs: Any, users: Array, items: Array, keep: Keep) -> Times:
    """``implicit``: conjugate gradient, its default solver."""
    from implicit.cpu.als import AlternatingLeastSquares  # type: ignore[import-not-found]  # not in ours

    model = AlternatingLeastSquares(
        factors=users.shape[1],
        alpha=job["confidence"],
        regularization=job["regularization"],
        iterations=job["iterations"],
        num_threads=job["threads"],
        use_cg=True,
    )
    model.cg_steps = job["steps"]
    model.user_factors, model.item_factors = users, items
    times: Times = []
    busy = time.process_time()

    def done(iteration: int, seconds: float, loss: float | None) -> None:
        nonlocal busy
        times.append((seconds, time.process_time() - busy))
        keep(iteration + 1, model.user_factors, model.item_factors)
        busy = time.process_time()

    model.fit(pairs, show_progress=False, callback=done)
    return times


def with_irspack(job: dict[str, Any], pairs: Any, users: Array, items: Array, keep: Keep) -> Times:
    """``irspack``: conjugate gradient, its default solver."""
    from irspack.recommenders.ials import (  # type: ignore[import-not-found]  # not in ours
        IALSTrainer,
        LossType,
        SolverType,
    )

    trainer = IALSTrainer(
        pairs,
        n_components=users.shape[1],
        alpha0=job["unobserved_weight"],
        reg=job["regularization"],
        nu=0.0,
        init_std=0.1,
        solver_type=SolverType.CG,
        max_cg_steps=job["steps"],
        ialspp_subspace_dimension=64,
        loss_type=LossType.IALSPP,
        random_seed=0,
        n_threads=job["threads"],
        prediction_time_max_cg_steps=5,
        prediction_time_ialspp_iteration=7,
    )
    core = trainer.core_trainer
    core.user, core.item = users, items
    times: Times = []
    for iteration in range(job["iterations"]):
        started, busy = time.perf_counter(), time.process_time()
        trainer.run_epoch()
        times.append((time.perf_counter() - started, time.process_time() - busy))
        keep(iteration + 1, core.user, core.item)
    return times


LIBRARIES = {"implicit": with_implicit, "irspack": with_irspack}


def main() -> None:
    """Do the job of the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    offsets, columns = np.load(folder / "offsets.npy"), np.load(folder / "columns.npy")
    users, items = np.load(folder / "users.npy"), np.load(folder / "items.npy")
    ones = np.ones(len(columns), dtype=np.float32)
    pairs = csr_matrix((ones, columns, offsets), shape=(len(users), len(items)))

    def keep(iteration: int, users: Array, items: Array) -> None:
        if iteration in job["keep"]:
            np.save(folder / f"users-{iteration}.npy", users)
            np.save(folder / f"items-{iteration}.npy", items)

    times = LIBRARIES[job["library"]](job, pairs, users, items, keep)
    np.save(folder / "seconds.npy", np.array([clock for clock, _ in times]))
    np.save(folder / "cpu.npy", np.array([busy for _, busy in times]))


if __name__ == "__main__":
    main()
