"""Pages before and after the model: nDCG@10 with its paired interval, and what a page costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import psutil
from recserve_llm.parameters import LlmRerankParams
from recserve_llm.ranking.reranker import LlmReranker
from rich.console import Console
from rich.table import Table

from benchmarks.common import quantile
from benchmarks.llm_parts.sample import LISTED, Sample
from recserve import Candidates, Int32Array, Reranked
from recserve.data.batches import Queries
from recserve.evaluation.comparison import differences
from recserve.evaluation.runner import evaluate

METRIC = "ndcg@10"


class _Reordered:
    """The pipeline's pages in the order of a reranker, one query after the other."""

    def __init__(self, sample: Sample, reranker: LlmReranker | None) -> None:
        self._sample = sample
        self._reranker = reranker
        self.seconds: list[float] = []
        self.changed = 0

    def recommend(self, queries: Queries, k: int) -> Int32Array:
        """See :class:`recserve.evaluation.runner.Recommender`."""
        ranked = self._sample.ranked(queries, max(LISTED, k))
        if self._reranker is None:
            return ranked.items[:, :k]
        pages = [self._page(queries.part(row, row + 1), ranked, row) for row in range(len(queries))]
        return np.concatenate(pages)[:, :k]

    def _page(self, query: Queries, ranked: Candidates, row: int) -> Int32Array:
        assert self._reranker is not None
        own = Candidates(
            ranked.items[row : row + 1],
            ranked.scores[row : row + 1],
            ranked.sources,
            ranked.source_scores[row : row + 1],
            ranked.evidence[row : row + 1],
        )
        began = time.perf_counter()
        found = self._reranker.rerank(query, own, LISTED)
        self.seconds.append(time.perf_counter() - began)
        if isinstance(found, Reranked):
            raise SystemExit(f"the model failed: {found.lost}; see its log")
        self.changed += not np.array_equal(found[0], np.arange(found.shape[1]))
        return own.take(found).items


def measure_pages(
    sample: Sample, connection: Mapping[str, Any], pid: int | None, answers: Sequence[str], console: Console
) -> list[dict[str, Any]]:
    """Measure each form of answer.

    Args:
        sample: Users and pipeline.
        connection: Parameters of the connection.
        pid: Process of the model, for its CPU seconds.
        answers: Forms of answers, with the number of passes behind a colon.
        console: Where the table goes.
    """
    split = sample.split
    before = evaluate(_Reordered(sample, None), split, (10,), name="before")
    table = Table("answer", "nDCG@10 before", "after", "difference", "changed", "ms median", "p99", "CPU s")
    rows = []
    for form in answers:
        name, _, passes = form.partition(":")
        params = LlmRerankParams.model_validate(
            {**connection, "answer": name, "passes": int(passes or 1), "deadline_ms": 600_000}
        )
        model = _Reordered(sample, LlmReranker(params, sample.catalogue))
        spent = _cpu(pid)
        after = evaluate(model, split, (10,), name="after")
        spent = (_cpu(pid) - spent) / len(split)
        (difference,) = differences([after, before], METRIC)
        interval = difference.interval
        ms = [seconds * 1000 for seconds in model.seconds]
        row = {
            "answer": form,
            "users": split.n_users,
            "before": before.metrics[METRIC].mean,
            "after": after.metrics[METRIC].mean,
            "difference": asdict(interval),
            "changed": model.changed,
            "ms_median": quantile(ms, 0.5),
            "ms_p99": quantile(ms, 0.99),
            "cpu_seconds": spent,
        }
        rows.append(row)
        table.add_row(
            form,
            f"{row['before']:.4f}",
            f"{row['after']:.4f}",
            f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]",
            f"{model.changed} of {len(split)}",
            f"{row['ms_median']:.0f}",
            f"{row['ms_p99']:.0f}",
            f"{spent:.2f}",
        )
    console.print(table)
    return rows


def _cpu(pid: int | None) -> float:
    if pid is None:
        return float("nan")
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
