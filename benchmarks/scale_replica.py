"""A process of the scale benchmark: loads a bundle like a retrieval replica, then does what it is told.

Each line of standard input is a JSON object, and so is each answer:
`{"do": "time", "k": 200, "repeats": 40}`, `{"do": "recall", "k": 200}` or `{"do": "memory"}`.
Imports only what a retrieval replica needs, except Ray.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

# One thread, as replicas have; to be said before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from recserve_deployments.replica.spec import ReplicaSpec
from recserve_mf.retriever import MfRetriever

from recserve import ExactIndex, Histories, Queries, Ragged
from recserve.plugin.resolved import ReplicaRole
from recserve.serving.loader import Loader
from recserve.serving.stages.retrieval import RetrievalStage

CONFIG: dict[str, Any] = {"encoder": None, "scenarios": {"home": {"retrievers": [{"use": "mf"}]}}}
QUERIES = "queries.npz"
BATCHES = (1, 16)


def load(home: Path, bundle_id: str) -> RetrievalStage:
    """What a retrieval replica does when it starts."""
    opened = ReplicaSpec(ReplicaRole.RETRIEVAL, str(home), CONFIG, frozenset({"mf"})).open()
    return Loader(opened.repository.open(bundle_id), opened.resolved).retrieval()


def queries(home: Path) -> Queries:
    """The people to ask for; what they have seen is left out."""
    with np.load(home / QUERIES) as file:
        offsets, items = file["offsets"], file["items"]
    count = len(items)
    histories = Histories(
        offsets, items, np.zeros(count, np.int16), np.ones(count, np.float32), np.zeros(count, np.int64)
    )
    return Queries.of(histories, np.zeros(len(histories), dtype=np.int64), excluded=Ragged(offsets, items))


class Exactly:
    """While it is entered, retrieval scores every item."""

    def __init__(self, stage: RetrievalStage) -> None:
        retriever = stage._scenarios["home"].retrievers["mf"]
        assert isinstance(retriever, MfRetriever)
        self._retriever, self._model = retriever, retriever.model
        items = retriever.model.items
        self._exact = replace(
            retriever.model, product=ExactIndex(items), cosine=ExactIndex(items, cosine=True)
        )

    def __enter__(self) -> None:
        self._retriever._use(self._exact)

    def __exit__(self, *details: object) -> None:
        self._retriever._use(self._model)


def time_batches(stage: RetrievalStage, asked: Queries, size: int, k: int, repeats: int) -> float:
    """Median milliseconds of a batch."""
    taken = []
    for number in range(repeats):
        start = number * size % (len(asked) - size + 1)
        part = asked.part(start, start + size)
        began = time.perf_counter()
        stage.retrieve("home", part, k)
        taken.append(time.perf_counter() - began)
    return 1000 * median(taken)


def recall(stage: RetrievalStage, asked: Queries, k: int, people: int = 200) -> float:
    """Share of the exact answer that is found."""
    shares = []
    for number in range(0, min(people, len(asked) - 16), 16):
        part = asked.part(number, number + 16)
        found = stage.retrieve_parts("home", part, k)[1]["mf"].items
        with Exactly(stage):
            best = stage.retrieve_parts("home", part, k)[1]["mf"].items
        for one, other in zip(found.tolist(), best.tolist(), strict=True):
            wanted = {item for item in other[:k] if item >= 0}
            shares.append(len(wanted & set(one[:k])) / max(len(wanted), 1))
    return float(np.mean(shares))


def memory(home: Path, process: int | str = "self") -> dict[str, Any]:
    """Megabytes that a process holds, by what they are; ``torch`` is of this one."""
    mapped = share = 0
    inside = False
    for line in Path(f"/proc/{process}/smaps").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if "-" in name.split(" ")[0]:
            inside = str(home) in line
        elif inside and name in ("Rss", "Pss"):
            kilobytes = int(value.split()[0])
            mapped += kilobytes if name == "Rss" else 0
            share += kilobytes if name == "Pss" else 0
    rollup = {}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text("utf-8").splitlines()[1:]:
        name, _, value = line.partition(":")
        rollup[name] = int(value.split()[0])
    return {
        "private_mb": (rollup["Private_Clean"] + rollup["Private_Dirty"]) * 1024 / 1e6,
        "beside_mb": (rollup["Rss"] - mapped) * 1024 / 1e6,
        "mapped_mb": mapped * 1024 / 1e6,
        "mapped_share_mb": share * 1024 / 1e6,
        "torch": "torch" in sys.modules,
    }


def main() -> None:
    """Load, then serve questions until there are no more."""
    home = Path(sys.argv[1]).resolve()
    began = time.perf_counter()
    stage = load(home, sys.argv[2])
    answers: dict[str, Any] = {"load_s": time.perf_counter() - began}
    asked = queries(home)
    print(json.dumps(answers), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if question["do"] == "time":
            k, repeats = question["k"], question["repeats"]
            ours = {str(size): time_batches(stage, asked, size, k, repeats) for size in BATCHES}
            with Exactly(stage):
                exact = {
                    str(size): time_batches(stage, asked, size, k, max(repeats // 4, 1)) for size in BATCHES
                }
            answers = {"ms": ours, "exact_ms": exact}
        elif question["do"] == "recall":
            answers = {"recall": recall(stage, asked, question["k"])}
        else:
            answers = memory(home)
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
