"""A process of :mod:`benchmarks.indexes`: builds an index, or loads and asks it; answers with a line of JSON.

python -m benchmarks.indexes_run {build,ask} FOLDER INDEX [LIMIT]
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from benchmarks.indexes_peers import KINDS, Deadline, TooSlowError, recall
from benchmarks.scale_replica import memory
from recserve import BoolArray, FloatArray, VectorIndex

K = 100
SHARES = (1.0, 0.1, 0.01)
ASKED = 100
"""Queries that are asked; those behind them are what indexes are tuned with."""
BATCH = 16


def mask_of(share: float, rows: int) -> BoolArray | None:
    """Which items a filter keeps."""
    return None if share == 1 else np.random.default_rng(5).random(rows) < share


def build(folder: Path, name: str, vectors: FloatArray, queries: FloatArray, limit: float) -> dict[str, Any]:
    """Build and save, with as many threads as the environment allows."""
    began, spent = time.perf_counter(), time.process_time()
    try:
        index = KINDS[name].build(vectors, queries[ASKED:], Deadline(limit))
    except TooSlowError as error:
        return {"too_slow": str(error)}
    taken = {"build_s": time.perf_counter() - began, "build_cpu_s": time.process_time() - spent}
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).mkdir()
    index.save(folder / name)
    files = sum(file.stat().st_size for file in (folder / name).iterdir())
    return {**taken, "disk_mb": files / 1e6, "facts": index.facts()}


def ask(folder: Path, name: str, vectors: FloatArray, queries: FloatArray) -> dict[str, Any]:
    """Load and measure, one thread."""
    began = time.perf_counter()
    index = KINDS[name].load(folder / name, vectors)
    found: dict[str, Any] = {"load_s": time.perf_counter() - began}
    for share in SHARES:
        mask = mask_of(share, len(vectors))
        truth = np.load(folder / f"best-{share}.npy")
        rows = index.search(queries[:ASKED], K, (mask,) * ASKED)[0]
        wanted = truth >= 0
        found[f"{share}"] = {
            "recall": recall(rows, truth),
            "filled": float((rows >= 0).sum() / max(wanted.sum(), 1)),
            "ms": _milliseconds(index, queries, mask, 1),
            "ms_16": _milliseconds(index, queries, mask, BATCH),
        }
    return found | {"memory": memory(folder)}


def _milliseconds(index: VectorIndex, queries: FloatArray, mask: BoolArray | None, size: int) -> float:
    """Median CPU time of a query in batches of a size: what else the machine does hardly counts."""
    taken: list[float] = []
    until = time.perf_counter() + 5
    for start in range(0, ASKED - size + 1, size):
        began = time.thread_time()
        index.search(queries[start : start + size], K, (mask,) * size)
        taken.append(1000 * (time.thread_time() - began) / size)
        if time.perf_counter() > until:
            break
    return median(taken)


def best_of(folder: Path, vectors: FloatArray, queries: FloatArray) -> dict[str, Any]:
    """Keep the truth, for every share of allowed items."""
    exact = KINDS["exact"].load(folder, vectors)
    for share in SHARES:
        mask = mask_of(share, len(vectors))
        rows, _ = exact.search(queries[:ASKED], K, (mask,) * ASKED)
        np.save(folder / f"best-{share}.npy", rows)
    return {}


def main() -> None:
    """Do one thing."""
    task, folder, name = sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3]
    vectors = np.load(folder / "vectors.npy", mmap_mode="r").view(np.ndarray)
    queries = np.load(folder / "queries.npy")
    tasks: dict[str, Callable[[], dict[str, Any]]] = {
        "build": lambda: build(folder, name, vectors, queries, float(sys.argv[4])),
        "ask": lambda: ask(folder, name, vectors, queries),
        "best": lambda: best_of(folder, vectors, queries),
    }
    with threadpool_limits(limits=2 if task == "build" else 1):
        print(json.dumps(tasks[task]()))


if __name__ == "__main__":
    main()
