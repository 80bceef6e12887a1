"""Vector indexes side by side: recserve's own, faiss IVF and HNSW, usearch, and scoring every item.

    python -m benchmarks.indexes [--items 100000 1000000 10000000] [--build-limit 600] [--json FILE]

Vectors are item factors that `mf` learns (64 numbers, iALS) from the made-up people of `benchmarks.scale`,
and queries are people folded in. Of more than a million items the factors of a million are taken repeatedly,
each time turned by noise (cosine about .9 to the original) and made longer or shorter (log-normal, .3). A
fifth of the items have no event, hence a zero vector, which must not be found.

Each index is built, saved, and then loaded by a process of its own with the file mapped. The table has:

- recall@100 against scoring every item, and where a mask keeps a tenth and a hundredth of the items; *short*
  where answers are missing although allowed items exist;
- milliseconds of CPU time a query, alone and in a batch of 16, one thread;
- memory of the process that is its own, of the mapped files, and the index's files;
- seconds to build, two threads. An index that would take longer than the limit is left out, with the reason.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from recserve_mf.parameters import MfParams
from recserve_mf.retriever import MfRetriever
from recserve_mf.solver.fold_in import FoldIn
from rich.console import Console
from rich.table import Table

from benchmarks.common import machine, write_json
from benchmarks.indexes_peers import KINDS
from benchmarks.indexes_run import ASKED, SHARES
from benchmarks.scale import some_data
from recserve import FitContext, FloatArray

ITEMS = (100_000, 1_000_000, 10_000_000)
LEARNT = 1_000_000
TUNED_WITH = 400
NOISE = 0.48  # of the length, in a random direction: a cosine of .9
CHUNK = 100_000


def some_vectors(folder: Path, n_items: int, dimension: int) -> None:
    """Write ``vectors.npy`` and ``queries.npy``."""
    learnt = min(n_items, LEARNT)
    data = some_data(learnt, max(learnt // 4, 2000))
    never = 10**9
    params = MfParams(
        dimension=dimension, iterations=4, regularization=0.004, half_life_events=0.0, approximate_above=never
    )
    retriever = MfRetriever(params, data.catalogue)
    retriever.fit(data, FitContext(device="cpu", threads=2))
    fold_in, histories = FoldIn(retriever.model), data.histories
    people = np.random.default_rng(1).choice(len(histories), ASKED + TUNED_WITH, replace=False)
    queries, _ = fold_in.solve(fold_in.liked(histories.select(people).last(200)))
    np.save(folder / "queries.npy", queries)
    resample(retriever.model.items, folder / "vectors.npy", n_items)


def resample(factors: FloatArray, path: Path, n_items: int) -> None:
    """Write as many vectors: the factors themselves, then noisy copies of them."""
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_items, factors.shape[1]))
    out[: len(factors)] = factors[:n_items]
    generator = np.random.default_rng(2)
    for start in range(len(factors), n_items, CHUNK):
        rows = np.arange(start, min(start + CHUNK, n_items)) % len(factors)
        vectors = factors[rows]
        noise = generator.standard_normal(vectors.shape, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        noise *= NOISE * lengths / np.linalg.norm(noise, axis=1, keepdims=True)
        out[start : start + len(rows)] = (vectors + noise) * generator.lognormal(0, 0.3, (len(rows), 1))
    out.flush()


def run(task: str, folder: Path, name: str, limit: float) -> dict[str, Any]:
    """Have a process do it; a build has twice its limit, for tuning."""
    command = [sys.executable, "-m", "benchmarks.indexes_run", task, str(folder), name, str(limit)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * limit)
    except subprocess.TimeoutExpired:
        return {"too_slow": f"not finished after {2 * limit:.0f} s"}
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout}{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(folder: Path, names: Sequence[str], limit: float) -> dict[str, dict[str, Any]]:
    """Figures of each index over the vectors of a folder."""
    run("best", folder, "exact", 3600)
    found = {}
    for name in names:
        built = run("build", folder, name, limit)
        found[name] = built if "too_slow" in built else built | run("ask", folder, name, 3600)
        print(f"  {name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    return found


def show(figures: Mapping[int, Mapping[str, Mapping[str, Any]]], console: Console) -> None:
    """The table, and reasons for what is missing."""
    titles = ("items", "index", "recall@100", "10% kept", "1% kept", "ms", "ms of 16", "ms 10%", "ms 1%")
    table = Table(*titles, "own MB", "mapped MB", "disk MB", "build s")
    reasons = []
    for items, indexes in figures.items():
        for name, one in indexes.items():
            if "too_slow" in one:
                reasons.append(f"{items:,} items, {name}: left out, {one['too_slow']}")
                continue
            every, tenth, hundredth = (one[str(share)] for share in SHARES)
            table.add_row(
                f"{items:,}",
                name,
                *(_recall(each) for each in (every, tenth, hundredth)),
                f"{every['ms']:.2f}",
                f"{every['ms_16']:.2f}",
                f"{tenth['ms']:.2f}",
                f"{hundredth['ms']:.2f}",
                f"{one['memory']['beside_mb']:,.0f}",
                f"{one['memory']['mapped_mb']:,.0f}",
                f"{one['disk_mb']:,.0f}",
                f"{one['build_s']:,.1f}",
            )
    console.print(table)
    for reason in reasons:
        console.print(reason, highlight=False)


def _recall(figures: Mapping[str, float]) -> str:
    short = f", {figures['filled']:.0%} filled" if figures["filled"] < 0.995 else ""
    return f"{figures['recall']:.3f}{short}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=ITEMS, help="Sizes, the smallest first.")
    parser.add_argument("--indexes", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--build-limit", type=float, default=600, help="Seconds for a build.")
    parser.add_argument("--keep", type=Path, help="Keep vectors and indexes here, and use vectors of before.")
    parser.add_argument("--json", type=Path, help="Write all figures here.")
    options = parser.parse_args(arguments)
    console = Console(width=160)
    console.print(machine(), highlight=False)
    figures = {}
    with tempfile.TemporaryDirectory(prefix="recserve-indexes-") as scratch:
        for items in options.items:
            folder = (options.keep or Path(scratch)) / f"{items}-{options.dimension}"
            if not (folder / "queries.npy").exists():
                folder.mkdir(parents=True, exist_ok=True)
                some_vectors(folder, items, options.dimension)
            print(f"{items:,} items", file=sys.stderr, flush=True)
            figures[items] = measure(folder, options.indexes, options.build_limit)
            show({items: figures[items]}, console)
    write_json(options.json, {"machine": machine(), "figures": figures})


if __name__ == "__main__":
    main()
