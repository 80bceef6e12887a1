"""What `mf` chooses for itself, beside peers that search their settings for as long.

    python -m benchmarks.choice [--data DIR] [--peer-python PYTHON] [--check-ins N] [--share S]

A fifth of each user's items is held out: the newest where the data set has an order, else by chance. `mf`
is fitted with its defaults; `implicit` and `irspack` get the seconds that it searched, to draw settings at
random and to judge them on the same validation split, and as wide factors. All learn from pairs of weight 1.
Printed: Recall@20, nDCG@10, and recserve's nDCG@10 minus the peer's with its paired 95% interval over users.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recserve_mf.parameters import MfParams
from recserve_mf.solver.fold_in import FoldIn
from recserve_mf.training import fit_model
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_matrix, save_npz

from benchmarks import datasets
from benchmarks.common import machine
from benchmarks.datasets import Data
from benchmarks.places import check_ins
from recserve import Catalogue, Dataset, FitContext, Validation, Vocabulary, ndcg, top_k
from recserve.evaluation import paired_difference

PEERS = ("implicit", "irspack")
PEER_SCRIPT = Path(__file__).with_name("choice_peer.py")
TESTED_USERS = 10_000


@dataclass(frozen=True)
class Task:
    """A data set cut in two.

    Attributes:
        name: Of the data set.
        training: What is learnt from.
        test: bool, CSR of the same shape: what is to be found.
    """

    name: str
    training: Dataset
    test: csr_matrix

    @classmethod
    def of(cls, data: Data, seed: int = 0) -> Task:
        """Hold out a fifth of each user's distinct items, the newest or, where times are equal, any."""
        names, users = np.unique(data.events["user_id"].to_numpy(zero_copy_only=False), return_inverse=True)
        ids, items = np.unique(data.events["item_id"].to_numpy(zero_copy_only=False), return_inverse=True)
        moments = data.events["timestamp"].to_numpy()
        order = np.lexsort((np.random.default_rng(seed).permutation(len(users)), moments, users))
        users, items, moments = users[order], items[order], moments[order]
        _, first = np.unique(users * len(ids) + items, return_index=True)
        first.sort()
        users, items, moments = users[first], items[first], moments[first]
        counts = np.bincount(users)
        place = np.arange(len(users)) - (np.cumsum(counts) - counts)[users]
        tested = place >= counts[users] - counts[users] // 5
        kept = np.flatnonzero(~tested)
        kept = kept[np.argsort(moments[kept], kind="stable")]
        training = Dataset(
            Catalogue(ids.tolist()),
            Vocabulary(names.tolist()),
            users[kept].astype(np.int32),
            items[kept].astype(np.int32),
            np.zeros(len(kept), np.int16),
            np.ones(len(kept), np.float32),
            moments[kept],
            ("like",),
        )
        shape = (len(names), len(ids))
        found = csr_matrix((np.ones(tested.sum(), np.float32), (users[tested], items[tested])), shape)
        return cls(data.name, training, found)

    def worth(self, users: NDArray[np.float32], items: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """``recall@20`` and ``ndcg@10`` of each tested user, all items ranked but his own."""
        rows = np.flatnonzero(np.diff(self.test.indptr))
        if len(rows) > TESTED_USERS:
            rows = np.sort(np.random.default_rng(0).choice(rows, TESTED_USERS, replace=False))
        own = csr_matrix(self.training.matrix())
        recall, gain = np.zeros(len(rows)), np.zeros(len(rows))
        for start in range(0, len(rows), 200):
            block = rows[start : start + 200]
            scores = np.asarray(users[block] @ items.T, dtype=np.float32)
            scores[own[block].nonzero()] = -np.inf
            best, _ = top_k(scores, 20)
            relevant = self.test[block].toarray() > 0
            hits = np.take_along_axis(relevant, np.maximum(best, 0), axis=1) & (best >= 0)
            many = relevant.sum(axis=1)
            recall[start : start + 200] = hits.sum(axis=1) / many
            gain[start : start + 200] = ndcg(hits, many, 10)
        return {"recall@20": recall, "ndcg@10": gain}


@dataclass(frozen=True)
class Outcome:
    """What a library found on a task."""

    library: str
    search_s: float
    fit_s: float
    fits: int
    worth: dict[str, NDArray[np.float64]]
    settings: dict[str, Any]


def ours(task: Task, share: float, threads: int) -> Outcome:
    """`mf` with its defaults."""
    sweeps: list[float] = []

    def progress(label: str, done: int, total: int) -> None:
        if label == "factorising":
            sweeps.append(time.perf_counter())

    context = FitContext(threads=threads, device="cpu", progress=progress)
    warm = task.training.where(np.arange(len(task.training)) < 1000)
    fit_model(warm, MfParams(regularization=0.01, half_life_events=0.0, dimension=8), context)
    sweeps.clear()
    started = time.perf_counter()
    model, facts = fit_model(task.training, MfParams(search_share=share), context)
    took = time.perf_counter() - started
    fitted = (sweeps[-1] - sweeps[0]) * len(sweeps) / (len(sweeps) - 1)
    fold_in = FoldIn(model)
    users, _ = fold_in.solve(fold_in.liked(task.training.histories))
    names = ("dimension", "unobserved_ratio", "regularization", "half_life_events")
    tried = facts.get("validation", {})
    chosen = {name: facts[name] for name in names} | {"split": tried.get("split")}
    fits = len(tried.get("fits", []))
    return Outcome("recserve", took - fitted, fitted, fits, task.worth(users, model.items), chosen)


def theirs(task: Task, library: str, python: Path, mine: Outcome, threads: int) -> Outcome:
    """A peer that searches for as many seconds."""
    validation = Validation.of(task.training, 0)
    assert validation is not None, "too few users"
    kept = csr_matrix(validation.training.matrix())
    whole = csr_matrix(task.training.matrix())
    job = {
        "library": library,
        "seconds": mine.search_s,
        "dimension": mine.settings["dimension"],
        "threads": threads,
        "seed": 0,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        held = csr_matrix(whole - kept)
        held.eliminate_zeros()
        for part, matrix in (("whole", whole), ("kept", kept), ("held", held)):
            save_npz(folder / f"{part}.npz", matrix)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        subprocess.run([python, "-I", PEER_SCRIPT, folder], check=True)
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        worth = task.worth(np.load(folder / "users.npy"), np.load(folder / "items.npy"))
    return Outcome(library, facts["search_s"], facts["fit_s"], facts["fits"], worth, facts["settings"])


def main() -> None:
    """Measure and print."""
    options = _options()
    console = Console(width=200)
    table = Table(
        "data", "library", "Recall@20", "nDCG@10", "recserve minus it (95%)", "search s", "fit s", "fits"
    )
    worse = False
    for data in _data(options):
        task = Task.of(data)
        mine = ours(task, options.share, options.threads)
        found = [mine]
        if options.peer_python is not None:
            found += [theirs(task, peer, options.peer_python, mine, options.threads) for peer in PEERS]
        for outcome in found:
            difference = ""
            if outcome is not mine:
                gain = paired_difference(mine.worth["ndcg@10"], outcome.worth["ndcg@10"])
                difference = f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
                worse |= gain.high < 0
            means = [f"{outcome.worth[name].mean():.4f}" for name in ("recall@20", "ndcg@10")]
            seconds = [f"{outcome.search_s:.1f}", f"{outcome.fit_s:.1f}"]
            table.add_row(task.name, outcome.library, *means, difference, *seconds, str(outcome.fits))
            print(f"{task.name}, {outcome.library}: {outcome.settings}", file=sys.stderr, flush=True)
    console.print(f"{machine()}, {options.threads} threads", highlight=False)
    console.print(table)
    sys.exit(1 if worse else 0)


def _data(options: argparse.Namespace) -> Iterator[Data]:
    if options.data is not None:
        yield from datasets.find(options.data)
    if options.check_ins:
        yield check_ins(options.check_ins, options.check_ins * 41 // 30)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="Folder of data sets, each in a folder of its own.")
    parser.add_argument("--peer-python", type=Path, help="Interpreter that has the peers; none: no peers.")
    parser.add_argument("--check-ins", type=int, default=30_000, help="Users of the made-up set; 0: none.")
    parser.add_argument("--share", type=float, default=1.0, help="search_share of mf.")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
