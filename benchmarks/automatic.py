"""What `recserve train --auto` chooses, and whether its pipeline is as good as its best single part.

    python -m benchmarks.automatic [--data DIR] [--users 10000] [--check-ins 10000] [--crowd 3000]
                                   [--models mf item_knn ...] [--threads 1] [--json FILE]

Each data set of the folder is measured, and two that are made up: check-ins without times and texts, and a
crowd of whom most follow what is popular. A tenth is held out before anything is chosen: the newest events
where times order all of them, else items of each user. Then, on the rest alone, the pipeline is chosen and
fitted, today's default pipeline is fitted, and every retriever is fitted by itself. All are asked the same
queries, and rank all items.

Printed for each: what was chosen and why, nDCG@10 and Recall@20, the chosen pipeline minus each other model
with its paired 95% interval over users, and seconds. Exit status 1: it is significantly below its best part.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import datasets
from benchmarks.common import machine, write_json
from benchmarks.datasets import Data
from benchmarks.places import check_ins, crowd
from benchmarks.quality import suited_config
from recserve.bundles.catalogue_vectors import encode_catalogue
from recserve.config import DEFAULT_SCENARIO, parse_config
from recserve.data.dataset import Dataset, Tables
from recserve.data.events.coverage import unknown_items
from recserve.errors import DataError
from recserve.evaluation import Report, RetrieverRecommender, Split, evaluate
from recserve.evaluation.report import as_json
from recserve.plugin.protocols import FitContext, Stage
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.store.ingest import with_bare_items
from recserve.store.ingest.items import ITEM_SCHEMA
from recserve.training.automatic import choose_pipeline
from recserve.training.fitting import (
    catalogue_of,
    fit_all,
    fit_component,
    fit_context,
    fit_pipeline,
)
from recserve.training.selection.summary import SummaryRow
from recserve.training.selection.unsuited import unsuited_parts
from recserve.training.selection.validation import validation_split

HELD_OUT = 0.1
QUERIES_PER_USER = 50
METRICS = ("ndcg@10", "recall@20")
CHOSEN, DEFAULT = "chosen", "default"


class Measurement:
    """One data set, cut in two, and what was found on it.

    Args:
        data: The data set.
        threads: Of the fits.
    """

    def __init__(self, data: Data, threads: int) -> None:
        self.name = data.name
        plain = {**suited_config(data), "train": {"threads": threads}}
        self._registry = Registry.discover()
        self._default = self._registry.resolve(parse_config(plain))
        self._context: FitContext = fit_context(self._default.config)
        self._split = _split(data, self._default)
        self.reports: dict[str, Report] = {}
        self.seconds: dict[str, float] = {}
        self.rows: list[SummaryRow] = []

    def run(self, models: list[str] | None) -> None:
        """Choose, fit and measure everything."""
        training = self._split.training
        started = time.perf_counter()
        chosen = choose_pipeline(self._registry, self._default.config, training, self._context)
        fitted = fit_all(chosen.resolved, training, self._context, chosen.windows)
        self.rows = list(chosen.rows)
        self._put(CHOSEN, fitted.recommender(DEFAULT_SCENARIO), started)
        started = time.perf_counter()
        default = fit_pipeline(self._default, training, self._context)
        self._put(DEFAULT, default.recommender(self._default.config.default_scenario), started)
        names = models or [row.part for row in self.rows if row.part in self._registry.names(Stage.RETRIEVER)]
        single = {"scenarios": {DEFAULT_SCENARIO: {"retrievers": [{"use": name} for name in names]}}}
        parts = self._registry.resolve(parse_config({**single, "train": {"threads": self._context.threads}}))
        unsuited = unsuited_parts(parts, training)
        for part in parts.scenarios[DEFAULT_SCENARIO].retrievers:
            if part.key in unsuited:
                continue
            started = time.perf_counter()
            try:
                built, _ = fit_component(part, training, self._context)
            except DataError as error:
                print(f"{self.name}, {part.name}: {error}", file=sys.stderr, flush=True)
                continue
            self._put(part.name, RetrieverRecommender(built), started)

    @property
    def parts(self) -> dict[str, Report]:
        """The reports of single models."""
        return {name: report for name, report in self.reports.items() if name not in (CHOSEN, DEFAULT)}

    def best_part(self) -> str:
        """The single model with the highest nDCG@10."""
        parts = self.parts
        return max(parts, key=lambda name: parts[name].metrics["ndcg@10"].mean)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        chosen = self.reports[CHOSEN]
        return {
            "data": self.name,
            "split": self._split.name,
            "users": self._split.n_users,
            "seconds": self.seconds,
            "chosen": [[row.part, row.figure, row.outcome] for row in self.rows],
            "best_part": self.best_part(),
            "models": {
                name: {
                    metric: {
                        **as_json(report.metrics[metric]),
                        "chosen_minus_it": as_json(chosen.difference(report, metric)),
                    }
                    for metric in METRICS
                }
                for name, report in self.reports.items()
            },
        }

    def show(self, console: Console) -> None:
        """Print the table."""
        table = Table("model", "nDCG@10", "Recall@20", "chosen minus it, nDCG@10", "Recall@20", "s")
        chosen = self.reports[CHOSEN]
        for name, report in self.reports.items():
            means = [f"{report.metrics[metric].mean:.4f}" for metric in METRICS]
            gains = [""] * len(METRICS) if name == CHOSEN else [_gain(chosen, report, m) for m in METRICS]
            table.add_row(name, *means, *gains, f"{self.seconds[name]:.0f}")
        console.print(
            f"{self.name}: {self._split.n_users:,} users, split {self._split.name}", highlight=False
        )
        for row in self.rows:
            console.print(f"  {row.part:<24} {row.figure:<28} {row.outcome}", highlight=False)
        console.print(table)

    def falls_short(self) -> bool:
        """Whether the chosen pipeline is significantly below its best part."""
        return self.reports[CHOSEN].difference(self.parts[self.best_part()], "ndcg@10").high < 0

    def _put(self, name: str, model: Any, started: float) -> None:
        self.seconds[name] = time.perf_counter() - started
        self.reports[name] = evaluate(model, self._split, (10, 20), name=name)
        print(f"{self.name}, {name}: {self.seconds[name]:.0f} s", file=sys.stderr, flush=True)


def _split(data: Data, resolved: ResolvedConfig) -> Split:
    items = ITEM_SCHEMA.empty_table() if data.items is None else data.items.cast(ITEM_SCHEMA)
    known = set(items["item_id"].to_pylist())
    tables = Tables(items, data.events)
    tables = with_bare_items(tables, unknown_items(data.events, known.intersection).item_ids)
    with tempfile.TemporaryDirectory() as home:
        catalogue, _ = encode_catalogue(resolved, catalogue_of(tables), Path(home))
    whole = Dataset.from_tables(catalogue, tables.events, resolved.config.event_types)
    return validation_split(whole, HELD_OUT, queries_per_user=QUERIES_PER_USER)


def _gain(chosen: Report, other: Report, metric: str) -> str:
    gain = chosen.difference(other, metric)
    return f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"


def _data(options: argparse.Namespace) -> Iterator[Data]:
    if options.data is not None:
        for data in datasets.find(options.data):
            yield data.sample(options.users)
    if options.check_ins:
        yield check_ins(options.check_ins, options.check_ins * 41 // 30)
    if options.crowd:
        yield crowd(options.crowd)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="Folder of data sets, each in a folder of its own.")
    parser.add_argument("--users", type=int, default=10_000, help="At most this many of each data set.")
    parser.add_argument(
        "--check-ins", type=int, default=10_000, help="Users of the set without times; 0: none."
    )
    parser.add_argument("--crowd", type=int, default=3_000, help="Users who follow what is popular; 0: none.")
    parser.add_argument("--models", nargs="+", help="Single parts; default: all that were tried.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="Write the figures here.")
    options = parser.parse_args()
    console = Console(width=150)
    found = []
    for data in _data(options):
        measurement = Measurement(data, options.threads)
        measurement.run(options.models)
        measurement.show(console)
        found.append(measurement)
    console.print(f"{machine()}, {options.threads} threads", highlight=False)
    write_json(options.json, {"machine": machine(), "sets": [one.to_json() for one in found]})
    sys.exit(1 if any(one.falls_short() for one in found) else 0)


if __name__ == "__main__":
    main()
