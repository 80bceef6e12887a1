"""The transformer against the LSTM on the same budget: the same data, steps, negatives and item vectors.

    python -m benchmarks.transformer [--data DIR ...] [--split temporal|leave-one-out] [--budgets 1 4]
                                     [--seeds N] [--users N] [--out DIR]

Both are measured alone, as retrievers. A budget of 1 is the number of epochs that both choose for the
data, over which the learning rate falls to nothing; one of 4 is four times that. Settings of both are
chosen on a split of the training part by time (or by last events), with the first budget and the first seed;
the test part is then asked once for each budget and seed. Figures are nDCG@10 averaged over seeds for each
user, with 95% intervals over users and the paired difference; CPU seconds of a fit; CPU milliseconds of an
answer, alone and in batches of 64. Fits are kept below --out and not made again. Without --data the sample.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recserve_movielens.sources import SUGGESTED, MovieLensSmall

from benchmarks import datasets
from benchmarks.common import SAMPLE, cpu_seconds, machine, write_json
from benchmarks.features import METRIC
from recserve import Dataset, Tables, item_table
from recserve.bundles.catalogue_vectors import encode_catalogue
from recserve.config import ComponentConfig, parse_config
from recserve.evaluation import Interval, Split, evaluate, leave_one_out, paired_difference, temporal
from recserve.evaluation.bootstrap import mean_intervals
from recserve.evaluation.runner import RetrieverRecommender
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from recserve.training.fitting import catalogue_of, fit_component, fit_context

LSTM, TRANSFORMER = "bert_lstm", "transformer"
Params = Mapping[str, Any]
GRID: Mapping[str, Sequence[Params]] = {
    LSTM: ({}, {"dropout": 0.4}),
    TRANSFORMER: ({}, {"dropout": 0.3}, {"blocks": 2}, {"blocks": 2, "dropout": 0.3}),
}
"""Settings of each that are tried on the validation split, the defaults first."""


@dataclass(frozen=True)
class Fit:
    """One fit of one model, measured.

    Attributes:
        values: nDCG@10 of each user.
        fit_seconds: CPU seconds of the fit.
        alone_ms: CPU milliseconds of the k best items of one user.
        batch_ms: The same of one user in a batch of 64.
        epochs: That were kept, and over which the learning rate fell.
    """

    values: Sequence[float]
    fit_seconds: float
    alone_ms: float
    batch_ms: float
    epochs: tuple[int, int]


class Bench:
    """Fits models on the parts of one split, or reads what an earlier run found.

    Args:
        tables: The data.
        settings: Configuration of the texts of items.
        split: How to split, ``temporal`` or ``leave-one-out``.
        home: Cache of vectors and of fits.
    """

    def __init__(self, tables: Tables, settings: Mapping[str, Any], split: str, home: Path) -> None:
        self._registry, self._home = Registry.discover(), home
        resolved = self._registry.resolve(parse_config(dict(settings), "benchmark"))
        catalogue, _ = encode_catalogue(
            resolved, catalogue_of(tables), home, lambda label, done, total: None, None
        )
        self._config = resolved.config
        data = Dataset.from_tables(catalogue, tables.events, resolved.config.event_types)
        self._name = f"{split}-{len(data)}"
        self.parts = {"test": _split(data, split)}
        self.parts["validation"] = _split(self.parts["test"].training, split)

    def fit(self, model: str, params: Params, part: str, seed: int) -> Fit:
        """Fit on the training part of a split and measure on what it holds out.

        Args:
            model: Name of a retriever.
            params: Its parameters.
            part: ``validation`` or ``test``.
            seed: Of everything random.
        """
        chosen = self._registry.choose(
            Stage.RETRIEVER, ComponentConfig(use=model, params=dict(params)), "benchmark"
        )
        whole = chosen.params.model_dump(mode="json")
        written = json.dumps([self._name, model, whole, part, seed], sort_keys=True)
        kept = self._home / f"{model}-{part}-{hashlib.sha256(written.encode()).hexdigest()[:12]}.json"
        if kept.exists():
            found = json.loads(kept.read_text(encoding="utf-8"))
            return Fit(**{**found, "epochs": tuple(found["epochs"])})
        split = self.parts[part]
        config = self._config.model_copy(
            update={"train": self._config.train.model_copy(update={"seed": seed})}
        )
        started = cpu_seconds()
        built, facts = fit_component(chosen, split.training, fit_context(config))
        seconds = cpu_seconds() - started
        report = evaluate(RetrieverRecommender(built), split, name=model)
        fit = Fit(
            [float(value) for value in report.per_user[METRIC]],
            seconds,
            _answer_ms(built, split, 1),
            _answer_ms(built, split, 64),
            (facts["epochs"], facts["schedule"]),
        )
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, {"asked": json.loads(written), **vars(fit)})
        said = f"{model} {dict(params)} {part} {seed}: {np.mean(fit.values):.4f}, {seconds:.0f} CPU s"
        print(said, file=sys.stderr, flush=True)
        return fit


def _split(data: Dataset, how: str) -> Split:
    return temporal(data, 0.1) if how == datasets.TEMPORAL else leave_one_out(data)


def _answer_ms(retriever: Any, split: Split, together: int) -> float:
    """CPU milliseconds of retrieval for one user of a batch, mean over about 256 users."""
    queries = next(batch for _, batch, _ in split.batches(min(256, len(split))))
    parts = [queries.part(begin, begin + together) for begin in range(0, len(queries), together)]
    retriever.retrieve(parts[0], 10)
    started = cpu_seconds()
    for part in parts:
        retriever.retrieve(part, 10)
    return (cpu_seconds() - started) / len(queries) * 1e3


@dataclass(frozen=True)
class Row:
    """One model with one budget, over all seeds.

    Attributes:
        model: Its name.
        budget: As a multiple of the first.
        params: Chosen on the validation split.
        figure: nDCG@10.
        gain: Over the LSTM with the same budget; None for that one.
        fits: One a seed.
    """

    model: str
    budget: int
    params: Params
    figure: Interval
    gain: Interval | None
    fits: Sequence[Fit]


def chosen_params(bench: Bench, model: str) -> Params:
    """The settings of a model that are best on the validation split."""
    figures = [np.mean(bench.fit(model, params, "validation", 0).values) for params in GRID[model]]
    return GRID[model][int(np.argmax(figures))]


def measured(bench: Bench, budgets: Sequence[int], seeds: int) -> Iterator[Row]:
    """Choose settings on the validation split, then test once for each budget and seed."""
    params = {model: chosen_params(bench, model) for model in (LSTM, TRANSFORMER)}
    epochs = bench.fit(LSTM, params[LSTM], "test", 0).epochs[1]
    for budget in budgets:
        base: np.ndarray | None = None
        for model in (LSTM, TRANSFORMER):
            # Both choose the same number of epochs for the same data.
            asked = dict(params[model]) if budget == 1 else {**params[model], "epochs": budget * epochs}
            fits = [bench.fit(model, asked, "test", seed) for seed in range(seeds)]
            values = np.mean([fit.values for fit in fits], axis=0)
            gain = None if base is None else paired_difference(values, base)
            base = values if base is None else base
            yield Row(model, budget, params[model], mean_intervals(values[:, None])[0], gain, fits)


def markdown(data: str, rows: Sequence[Row]) -> str:
    """A table of one data set."""
    lines = [
        f"## {data}\n",
        "| model | budget | settings | nDCG@10 | over bert_lstm | epochs | fit CPU s | ms alone | ms in 64 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gain = (
            "-" if row.gain is None else f"{row.gain.mean:+.4f} ({row.gain.low:+.4f} to {row.gain.high:+.4f})"
        )
        settings = ", ".join(f"{name} {value}" for name, value in row.params.items()) or "defaults"
        kept = ", ".join(str(fit.epochs[0]) for fit in row.fits)
        means = [
            np.mean([getattr(fit, name) for fit in row.fits])
            for name in ("fit_seconds", "alone_ms", "batch_ms")
        ]
        figure = f"{row.figure.mean:.4f} ({row.figure.low:.4f} to {row.figure.high:.4f})"
        lines.append(
            f"| {row.model} | {row.budget}x | {settings} | {figure} | {gain} | {kept} of "
            f"{row.fits[0].epochs[1]} | {means[0]:.0f} | {means[1]:.2f} | {means[2]:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _data(options: argparse.Namespace) -> Iterator[tuple[str, Tables, dict[str, Any]]]:
    """Name, tables and configuration of each data set."""
    if not options.data:
        yield SAMPLE, MovieLensSmall().read(), {"item_text": SUGGESTED["item_text"]}
    for data in (found for folder in options.data for found in datasets.find(folder)):
        data = data if options.users is None else data.sample(options.users)
        items = data.items
        if items is None:
            items = item_table((name, {}) for name in sorted(set(data.events["item_id"].to_pylist())))
        yield data.name, Tables(items, data.events), {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="*", type=Path, default=())
    parser.add_argument(
        "--split", choices=(datasets.TEMPORAL, datasets.LEAVE_ONE_OUT), default=datasets.TEMPORAL
    )
    parser.add_argument("--budgets", nargs="+", type=int, default=(1, 4))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--users", type=int)
    parser.add_argument("--out", type=Path, default=Path(".recserve/transformer"))
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {"machine": machine()}
    for name, tables, settings in _data(options):
        rows = list(
            measured(
                Bench(tables, settings, options.split, options.out / name), options.budgets, options.seeds
            )
        )
        print(markdown(name, rows), flush=True)
        results[name] = [
            {
                "model": row.model,
                "budget": row.budget,
                "params": dict(row.params),
                METRIC: vars(row.figure),
                "gain": None if row.gain is None else vars(row.gain),
                "fit_cpu_seconds": [fit.fit_seconds for fit in row.fits],
            }
            for row in rows
        ]
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "transformer.json", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
