"""The cross-encoder stage: what it gains on the sample data and what it costs.

    python -m benchmarks.cross_encoder [--home DIR] [--set NAME=VALUE ...] [--queries-per-user N]
                                       [--json FILE]

The pipeline of the films' configuration is fitted once with the reranker `cross_encoder`, whose weight is
chosen on held-out queries of the training window, and evaluated on the newest window with the reranker and
without it: nDCG of the page and the paired difference. Then requests one at a time, without its cache:
milliseconds of CPU and by the clock for each depth, in full precision, with 8 bits in ONNX Runtime and with
torch's own dynamic quantisation, and how many of them are later than each deadline. Vectors are kept below
--home.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from recserve_cross_encoder.checkpoints import find
from recserve_cross_encoder.engines import PairEngine, TorchPairs, score_pairs
from recserve_cross_encoder.learnt import LearntPairs
from recserve_cross_encoder.parameters import CrossEncoderParams
from recserve_cross_encoder.reranker import CrossEncoderReranker
from recserve_movielens.sources import SUGGESTED, MovieLensSmall

from benchmarks.common import machine, quantile, write_json
from recserve.bundles.catalogue_vectors import encode_catalogue
from recserve.config import ServerConfig, parse_config
from recserve.data.batches import Candidates, Queries
from recserve.data.dataset import Dataset
from recserve.errors import StageError, StageLateError
from recserve.evaluation.report import Report
from recserve.evaluation.runner import evaluate
from recserve.evaluation.splits import Split, temporal
from recserve.plugin.registry import Registry
from recserve.serving.guard.calls import GuardedCalls, PluginCall
from recserve.serving.stages.ranking import rerank
from recserve.training.fitted_pipeline import FittedPipeline
from recserve.training.fitting import Fitted, catalogue_of, fit_all, fit_context, fit_windows

NAME = "cross_encoder"
KEY = f"reranker.{NAME}"
DEPTHS = (10, 20, 50)
DEADLINES_MS = (100, 300, 1000)
_REQUESTS = 40
_WEIGHT = 0.3
"""Of the requests whose time is taken, whatever was chosen."""


@dataclass(frozen=True)
class Cost:
    """What one request costs.

    Attributes:
        engine: What runs the model.
        depth: Candidates that are read.
        cpu_ms: Median milliseconds of CPU.
        clock_ms: Median milliseconds by the clock.
        p95_ms: 95th percentile by the clock.
        late: Share of the requests that is later than each deadline in milliseconds.
    """

    engine: str
    depth: int
    cpu_ms: float
    clock_ms: float
    p95_ms: float
    late: dict[int, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    options = _parse(arguments)
    params = {name: value for change in options.set for name, value in change.items()}
    split, fitted, seconds = prepared(options.home, params, options.queries_per_user)
    reranker: CrossEncoderReranker = fitted.objects[KEY]
    facts = fitted.facts[KEY]
    print(f"{machine()}\nfit: {seconds:.0f} s by the clock for the reranker, twice; {facts}", flush=True)
    with_it = fitted.recommender("home")
    reports = [measured(with_it, split, "with")]
    reports.append(reports[0] if reranker.weight == 0 else measured(without(fitted), split, "without"))
    gains = {metric: reports[0].difference(reports[1], metric) for metric in ("ndcg@10", "ndcg@20")}
    for metric, gain in gains.items():
        figures = " ".join(f"{report.metrics[metric].mean:.4f}" for report in reports)
        print(f"{metric} with and without: {figures}; {gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})")
    learnt = reranker.learnt or learnt_of(split, params, fitted)
    queries, ranked = requests(with_it, split)
    costs = [
        cost(engine, depth, run, queries, ranked, fitted, params, learnt)
        for engine, run in engines(learnt, params).items()
        for depth in DEPTHS
    ]
    print(table(costs))
    agreement = agreements(learnt, params)
    print(
        "correlation with full precision: "
        + ", ".join(f"{key} {value:.4f}" for key, value in agreement.items())
    )
    if options.json is not None:
        found = {metric: {"mean": gain.mean, "ci95": [gain.low, gain.high]} for metric, gain in gains.items()}
        measurements = {
            "machine": machine(),
            "params": params,
            "fit_seconds": seconds,
            "facts": facts,
            "metrics": {report.model: _means(report) for report in reports},
            "gains": found,
            "costs": [vars(one) for one in costs],
            "correlation": agreement,
        }
        write_json(options.json, measurements)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".recserve/cross_encoder"))
    parser.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="NAME=VALUE", help="of the reranker"
    )
    parser.add_argument("--queries-per-user", type=int, default=50, help="at most (default: 50)")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def _setting(text: str) -> dict[str, Any]:
    name, given, value = text.partition("=")
    if not given:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return {name: yaml.safe_load(value)}


def prepared(home: Path, params: dict[str, Any], queries_per_user: int) -> tuple[Split, Fitted, float]:
    """The split, everything fitted on its training part, and seconds of the reranker's two fits."""
    scenario = {**SUGGESTED["scenarios"]["home"], "rerankers": [{"use": NAME, "params": params}]}
    config = parse_config({"item_text": SUGGESTED["item_text"], "scenarios": {"home": scenario}})
    resolved = Registry.discover().resolve(config)
    tables = MovieLensSmall().read()
    home.mkdir(parents=True, exist_ok=True)
    catalogue, _ = encode_catalogue(resolved, catalogue_of(tables), home)
    data = Dataset.from_tables(catalogue, tables.events, config.event_types)
    split = temporal(data, config.train.test_window, queries_per_user=queries_per_user)
    context = fit_context(config)
    windows = fit_windows(resolved, split.training, context)
    fitted = fit_all(resolved, split.training, context, windows)
    fitted.facts[KEY] = {**windows.facts[KEY], **fitted.facts[KEY]}
    return split, fitted, windows.seconds[KEY] + fitted.seconds[KEY]


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def without(fitted: Fitted) -> FittedPipeline:
    """The same pipeline without rerankers."""
    pipeline = fitted.resolved.scenarios["home"]
    scenario = replace(fitted.scenario("home"), rerankers=())
    return FittedPipeline(scenario, fitted.objects[pipeline.fallback.key], fitted.catalogue)


def measured(model: FittedPipeline, split: Split, name: str) -> Report:
    """Figures on the test window."""
    return evaluate(model, split, (10, 20), name=name)


def _means(report: Report) -> dict[str, float]:
    return {metric: report.metrics[metric].mean for metric in ("ndcg@10", "ndcg@20", "hr@10")}


def learnt_of(split: Split, params: dict[str, Any], fitted: Fitted) -> LearntPairs:
    """A model whose cost is measured although its weight is 0, after the shortest of trainings."""
    from recserve.bundles.catalogue_vectors import item_texts

    quick = CrossEncoderParams(**{**params, "weight": _WEIGHT, "examples": 40, "epochs": 1})
    reranker = CrossEncoderReranker(quick, fitted.catalogue)
    context = fit_context(fitted.resolved.config)
    texts = item_texts(fitted.resolved, fitted.catalogue)
    reranker.fit(split.training, replace(context, item_texts=lambda: texts))
    assert reranker.learnt is not None, "the sample has texts"
    return reranker.learnt


def engines(learnt: LearntPairs, params: dict[str, Any]) -> dict[str, PairEngine]:
    """What can run the model."""
    settings = CrossEncoderParams(**params)
    checkpoint = find(settings)
    found: dict[str, PairEngine] = {"torch fp32": replace(learnt, graph=None).engine(settings)}
    if learnt.graph is not None:
        found["onnx int8"] = learnt.engine(settings)
    _, model = checkpoint.open(checkpoint.source.trained(learnt.state))
    quantise: Any = torch.ao.quantization.quantize_dynamic
    rounded = quantise(model.eval(), {torch.nn.Linear}, dtype=torch.qint8)
    found["torch int8"] = TorchPairs(rounded, "cpu")
    return found


def agreements(learnt: LearntPairs, params: dict[str, Any]) -> dict[str, float]:
    """Correlation of each engine's scores with those of full precision, over pairs of the catalogue."""
    rows = np.random.default_rng(0).permutation(len(learnt.texts.items)).astype(np.int32)
    pairs = [
        pair
        for start in range(0, 200, 10)
        for pair in learnt.texts.pairs(rows[start : start + 5], rows[start + 5 : start + 10])
        if pair is not None
    ]
    scores = {
        name: score_pairs(engine, learnt.texts, pairs, 1024)
        for name, engine in engines(learnt, params).items()
    }
    full = scores.pop("torch fp32")
    return {name: float(np.corrcoef(full, values)[0, 1]) for name, values in scores.items()}


def requests(pipeline: FittedPipeline, split: Split) -> tuple[Queries, Candidates]:
    """Queries of different users with a history, and their ranked lists."""
    _, first = np.unique(split.groups, return_index=True)
    chosen = np.array([row for row in np.sort(first) if split.ends[row] > split.starts[row]][:_REQUESTS])
    queries = next(batch for _, batch, _ in split.take(chosen).batches(len(chosen)))
    ranked, _ = pipeline.rank(queries)
    return queries, ranked


def cost(
    engine: str,
    depth: int,
    run: PairEngine,
    queries: Queries,
    ranked: Candidates,
    fitted: Fitted,
    params: dict[str, Any],
    learnt: LearntPairs,
) -> Cost:
    """What requests cost, one at a time, each for the first time."""
    settings = CrossEncoderParams(**{**params, "depth": depth, "cached_scores": 0})
    reranker = CrossEncoderReranker.of(settings, fitted.catalogue, learnt, _WEIGHT, run)
    cpu, clock = [], []
    for row in range(len(queries)):
        one, own = queries.part(row, row + 1), ranked.of_queries(slice(row, row + 1))
        begun, started = _cpu(), time.perf_counter()
        reranker.rerank(one, own, 10)
        clock.append((time.perf_counter() - started) * 1000)
        cpu.append((_cpu() - begun) * 1000)
    late = {deadline: lateness(reranker, queries, ranked, deadline) for deadline in DEADLINES_MS}
    return Cost(engine, depth, quantile(cpu, 0.5), quantile(clock, 0.5), quantile(clock, 0.95), late)


def lateness(reranker: CrossEncoderReranker, queries: Queries, ranked: Candidates, deadline: int) -> float:
    """Share of requests that keep their order because the reranker is later than a server waits.

    Requests come one at a time through the guard that a server calls its rerankers by. One that is late still
    computes on a thread of its own; after three in a row calls are refused at once, which counts as well.
    """

    asked, ended = min(len(queries), 10), threading.Semaphore(0)

    def call(*arguments: Any) -> object:
        try:
            return rerank(*arguments)
        finally:
            ended.release()

    async def run() -> tuple[int, int]:
        calls = GuardedCalls(ServerConfig(reranking_deadline_ms=deadline))
        lost = begun = 0
        for row in range(asked):
            arguments = (
                call,
                reranker,
                queries.part(row, row + 1),
                ranked.of_queries(slice(row, row + 1)),
                10,
            )
            try:
                await calls.run(PluginCall.RERANKER, NAME, *arguments)
                begun += 1
            except StageLateError:
                lost, begun = lost + 1, begun + 1
            except StageError:
                lost += 1
        return lost, begun

    lost, begun = asyncio.run(run())
    # What is late still computes, and would take time from what is measured next.
    for _ in range(begun):
        ended.acquire(timeout=60)
    return lost / asked


def table(costs: Sequence[Cost]) -> str:
    """A row for each engine and depth."""
    late = " | ".join(f"late at {deadline} ms" for deadline in DEADLINES_MS)
    lines = [
        f"| engine | depth | CPU ms | clock ms | p95 ms | {late} |",
        "|---" * (5 + len(DEADLINES_MS)) + "|",
    ]
    for one in costs:
        shares = " | ".join(f"{share:.0%}" for share in one.late.values())
        figures = " | ".join(f"{value:.0f}" for value in (one.cpu_ms, one.clock_ms, one.p95_ms))
        lines.append(f"| {one.engine} | {one.depth} | {figures} | {shares} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
