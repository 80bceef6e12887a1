"""Searches settings of ``implicit`` or ``irspack`` for :mod:`benchmarks.choice`, in their environment.

    PEER_PYTHON -I benchmarks/choice_peer.py FOLDER

FOLDER holds ``job.json`` (library, seconds, dimension, threads, seed), the training pairs as CSR
(``whole.npz``), and a validation split of them (``kept.npz``, ``held.npz``). Settings are drawn log-uniformly
until the time is up. Written into it: ``users.npy`` and ``items.npy`` of the final fit, and ``facts.json``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

TESTED, CUTOFF, ITERATIONS = 2000, 20, 10


def fit(job: dict[str, Any], pairs: Any, settings: dict[str, float]) -> tuple[Any, Any]:
    """Factors of users and items."""
    if job["library"] == "implicit":
        from implicit.cpu.als import AlternatingLeastSquares  # type: ignore[import-not-found]  # not in ours

        model = AlternatingLeastSquares(
            factors=job["dimension"],
            regularization=settings["regularization"],
            alpha=settings["confidence"],
            iterations=ITERATIONS,
            num_threads=job["threads"],
            random_state=job["seed"],
        )
        model.fit(pairs, show_progress=False)
        return model.user_factors, model.item_factors
    from irspack import IALSRecommender  # type: ignore[import-not-found]  # not in ours

    model = IALSRecommender(
        pairs,
        n_components=job["dimension"],
        alpha0=settings["unobserved"],
        reg=settings["regularization"],
        train_epochs=ITERATIONS,
        n_threads=job["threads"],
        random_seed=job["seed"],
    )
    model.learn()
    return model.get_user_embedding(), model.get_item_embedding()


def draw(job: dict[str, Any], generator: np.random.Generator) -> dict[str, float]:
    """Settings within the ranges that the libraries' authors search."""

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(generator.uniform(np.log(low), np.log(high))))

    if job["library"] == "implicit":
        return {"confidence": log_uniform(1, 500), "regularization": log_uniform(0.01, 100)}
    return {"unobserved": log_uniform(3e-3, 1), "regularization": log_uniform(1e-4, 1e-1)}


def ndcg(users: Any, items: Any, kept: Any, held: Any) -> float:
    """Mean nDCG@20 of the held-out items of some users."""
    rows = np.flatnonzero(np.diff(held.indptr))[:TESTED]
    discounts = 1.0 / np.log2(np.arange(2, CUTOFF + 2))
    found = []
    for block in np.array_split(rows, max(1, len(rows) // 200)):
        scores = users[block] @ items.T
        for place, row in enumerate(block):
            scores[place, kept.indices[kept.indptr[row] : kept.indptr[row + 1]]] = -np.inf
        best = np.argpartition(-scores, CUTOFF, axis=1)[:, :CUTOFF]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        best = np.take_along_axis(best, order, axis=1)
        for place, row in enumerate(block):
            wanted = held.indices[held.indptr[row] : held.indptr[row + 1]]
            gain = discounts[np.isin(best[place], wanted)].sum()
            found.append(gain / discounts[: len(wanted)].sum())
    return float(np.mean(found))


def main() -> None:
    """Do the job of the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    whole, kept, held = (sp.load_npz(folder / f"{name}.npz").tocsr() for name in ("whole", "kept", "held"))
    generator = np.random.default_rng(job["seed"])
    fit(job, sp.csr_matrix(kept[:20]), draw(job, generator))  # imports and compiles outside the time
    started = time.perf_counter()
    best: tuple[float, dict[str, float]] | None = None
    fits = 0
    while best is None or time.perf_counter() - started < job["seconds"]:
        settings = draw(job, generator)
        score = ndcg(*fit(job, sp.csr_matrix(kept), settings), kept, held)
        fits += 1
        if best is None or score > best[0]:
            best = score, settings
    searched = time.perf_counter() - started
    users, items = fit(job, sp.csr_matrix(whole), best[1])
    fitted = time.perf_counter() - started - searched
    np.save(folder / "users.npy", users)
    np.save(folder / "items.npy", items)
    facts = {"fits": fits, "search_s": searched, "fit_s": fitted, "settings": best[1]}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
