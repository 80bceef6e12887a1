"""Quality of a factorisation on held-out events: nDCG by counting who scores higher."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from recserve import Float64Array, FloatArray, Histories, usable_threads
from recserve_mf.model import Model
from recserve_mf.solver.conjugate_gradient import solve_rows
from recserve_mf.solver.fold_in import FoldIn

CUTOFF = 20
_SCORED_AT_A_TIME = 2_000_000
_STEPS = 10
# Scores between two looks at whether a target is beyond the cut-off already.
_LOOK_EVERY = 512


def ndcg(model: Model, histories: Histories, targets: Histories, threads: int) -> float:
    """Mean nDCG@20 of each user's targets, full ranking without the items of the history.

    Args:
        model: What ranks.
        histories: What each of U users is known to have done.
        targets: What each of them is to be recommended.
        threads: Threads; 0 takes as many as this process may use.
    """
    vectors = _folded_in(model, histories)
    untrained = np.flatnonzero(~model.trained)
    block = max(1, _SCORED_AT_A_TIME // max(len(model.items), 1))

    def gains(start: int) -> Float64Array:
        users = np.arange(start, min(start + block, len(vectors)))
        seen, wanted = histories.select(users), targets.select(users)
        scores = vectors[users] @ model.items.T
        scores[:, untrained] = -np.inf
        scores[seen.owners(), seen.items] = -np.inf
        found = np.zeros(len(users))
        _gains(scores, wanted.offsets, wanted.items, found)
        return found

    with ThreadPoolExecutor(threads or usable_threads()) as pool:
        parts = list(pool.map(gains, range(0, len(vectors), block)))
    return float(np.concatenate(parts).mean())


def _folded_in(model: Model, histories: Histories) -> FloatArray:
    """User vectors, float32 (U, d), by the solver of training: as good as exact, and faster for many."""
    liked = FoldIn(model).liked(histories)
    vectors = np.zeros((len(histories), model.items.shape[1]), dtype=np.float32)
    owners = np.repeat(np.arange(len(histories)), liked.lengths)
    sums = np.bincount(owners, liked.confidences, minlength=len(histories)).astype(np.float32)
    gramian = np.einsum("nd,nd->d", model.items, model.items, dtype=np.float64)
    solve_rows(
        np.ascontiguousarray(model.items),
        liked.offsets,
        liked.items,
        liked.confidences.astype(np.float32),
        (model.objective.unobserved_weight * gramian).astype(np.float32),
        model.objective.scaled_regularization(sums, int(model.trained.sum())),
        vectors,
        0,
        len(vectors),
        _STEPS,
    )
    return vectors


@numba.njit("void(f4[:,::1], i8[::1], i4[::1], f8[::1])", nogil=True, cache=True)
def _gains(scores, offsets, wanted, found):  # type: ignore[no-untyped-def]  # numba compiles it
    """nDCG@20 of each row; a target that is masked or listed before is not one."""
    for row in range(len(scores)):
        line = scores[row]
        relevant = 0
        gained = 0.0
        for place in range(offsets[row], offsets[row + 1]):
            item = wanted[place]
            own = line[item]
            repeated = False
            for earlier in range(offsets[row], place):
                repeated |= wanted[earlier] == item
            if own == -np.inf or repeated:
                continue
            relevant += 1
            rank = 0
            for start in range(0, len(line), _LOOK_EVERY):
                for other in range(start, min(start + _LOOK_EVERY, len(line))):
                    rank += line[other] >= own
                if rank > CUTOFF:
                    break
            if rank <= CUTOFF:
                gained += 1.0 / np.log2(rank + 1.0)
        best = 0.0
        for rank in range(1, min(relevant, CUTOFF) + 1):
            best += 1.0 / np.log2(rank + 1.0)
        if best > 0:
            found[row] = gained / best
