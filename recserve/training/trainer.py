"""Fits a configuration on data and turns it into a bundle.

The order of windows keeps every stage honest: retrievers learn from an earlier window, the ranker learns to
combine them on the next window's positives among what they propose, the whole is evaluated on the newest
window, and only then is everything fitted once more on all data, with the decisions that needed validation
(epochs, blend weights, the order of candidates) taken over. Where times say nothing of the order of events,
items held out of each user stand in for the later windows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import recserve
from recserve.bundles.bundle import Bundle
from recserve.bundles.catalogue_vectors import (
    Progress,
    encode_catalogue,
    item_fingerprints,
    read_written,
)
from recserve.bundles.manifest import ComponentEntry, DataEntry
from recserve.bundles.repository import BundleRepository
from recserve.bundles.text_language import settle_encoder, warn_of_unread_texts
from recserve.data.dataset import Dataset, Tables
from recserve.data.events.coverage import Coverage, coverage
from recserve.errors import ConfigError, DataError
from recserve.evaluation.metrics.pareto import ParetoTable
from recserve.evaluation.report import Report
from recserve.evaluation.runner import evaluate
from recserve.plugin.executor import Executor
from recserve.plugin.protocols import FitContext, Trainable
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import Resolved, ResolvedConfig
from recserve.training.automatic import AutomaticPipeline, choose_pipeline
from recserve.training.fitting import (
    Fitted,
    catalogue_of,
    fit_all,
    fit_context,
    fit_windows,
    silent,
)
from recserve.training.selection.summary import SummaryRow, choice_table, summary
from recserve.training.selection.unsuited import slow_parts
from recserve.training.selection.validation import home_split

logger = logging.getLogger(__name__)

EVALUATED_AT = (10, 20)


@dataclass(frozen=True)
class TrainingResult:
    """A finished training run.

    Attributes:
        bundle: The bundle, already current.
        seconds: What each step took.
        metrics: Mean and interval by metric name; empty where the data allow no evaluation.
        coverage: What was learnt from, and what was not.
        report: What was measured, None without an evaluation.
        summaries: What was chosen and why, by scenario.
        chosen: The pipeline, where it was chosen automatically.
    """

    bundle: Bundle
    seconds: Mapping[str, float]
    metrics: Mapping[str, Any]
    coverage: Coverage
    report: Report | None = None
    summaries: Mapping[str, Sequence[SummaryRow]] = field(default_factory=dict)
    chosen: AutomaticPipeline | None = None

    @property
    def choices(self) -> dict[str, ParetoTable]:
        """Trade-offs between what was chosen from, by scenario; without those that had no choice."""
        tables = {name: choice_table(rows) for name, rows in self.summaries.items()}
        return {name: table for name, table in tables.items() if len(table.rows) > 1}


class Trainer:
    """One training run: snapshot -> windows -> evaluation -> final fit -> bundle.

    Args:
        home: The home folder (cache of vectors).
        resolved: The configuration.
        registry: Where versions of plugins are looked up.
        repository: Where the bundle goes.
        progress: Called with (description, done, total).
        automatic: Choose the scenario's parts from all installed; see :mod:`recserve.training.automatic`.
        executor: Computes what fits, encoding and evaluation split into parts; None for this process.
        quick: Leave parts whose fit takes minutes to the next training; see
            :func:`recserve.training.selection.unsuited.slow_parts`.
    """

    def __init__(
        self,
        home: Path,
        resolved: ResolvedConfig,
        registry: Registry,
        repository: BundleRepository,
        progress: Progress = silent,
        *,
        automatic: bool = False,
        executor: Executor | None = None,
        quick: bool = False,
    ) -> None:
        self._home = home
        self._configured = resolved.scenarios
        self._postponed = slow_parts(resolved) if quick else {}
        self._resolved = resolved.without(self._postponed)
        self._asked = resolved.config.encoder
        self._registry = registry
        self._repository = repository
        self._progress = progress
        self._automatic = automatic
        self._executor = executor
        self._chosen: AutomaticPipeline | None = None
        self._seconds: dict[str, float] = {}

    def run(self, tables: Tables, *, evaluated: bool = True) -> TrainingResult:
        """Train on a snapshot.

        Args:
            tables: The snapshot.
            evaluated: Evaluate on the newest window before the final fit.

        Raises:
            ConfigError: A component must not be in a bundle.
            DataError: There is nothing to learn from.
        """
        config = self._resolved.config
        _refuse_what_bundles_must_not_hold(self._resolved)
        context = fit_context(config, self._progress, self._executor)
        if not tables.items.num_rows or not tables.events.num_rows:
            bare = (
                "; `recserve import --create-items` makes bare items of those that the events are about"
                if tables.events.num_rows
                else ""
            )
            raise DataError(
                f"the store holds {tables.items.num_rows} items and {tables.events.num_rows} events; "
                f"bring some of both with `recserve import`{bare}"
            )
        covered = coverage(tables, config.event_types)
        if not covered.learnt:
            raise DataError(f"no event to learn from: {' '.join(str(covered).splitlines())}")
        catalogue = catalogue_of(tables)
        data = Dataset.from_tables(catalogue, tables.events, config.event_types)
        with self._timed("encode"):
            warn_of_unread_texts(self._resolved, catalogue)
            self._resolved = settle_encoder(self._resolved, catalogue)
            catalogue, fingerprint = encode_catalogue(
                self._resolved, catalogue, self._home, self._progress, self._executor
            )
            data = data.with_catalogue(catalogue)
            data = read_written(self._resolved, data, tables.texts, self._progress, self._executor)
        windows, report = self._evaluate(data, context) if evaluated else (None, None)
        with self._timed("fit"):
            if windows is None and self._needs_windows():
                windows = self._fit_windows(data, context)
            fitted = fit_all(self._resolved, data, context, windows)
        metrics = {} if report is None else report.to_json()["metrics"]
        previous = {} if windows is None else windows.facts
        with self._timed("write"):
            bundle = self._write(fitted, data, fingerprint, previous, metrics)
        return TrainingResult(
            bundle, dict(self._seconds), metrics, covered, report, self._summaries(windows), self._chosen
        )

    def _summaries(self, windows: Fitted | None) -> Mapping[str, Sequence[SummaryRow]]:
        if windows is None:
            return {}
        if self._chosen is not None:
            return {self._resolved.config.default_scenario: self._chosen.rows}
        return {
            name: summary(
                pipeline,
                windows.orders.get(name),
                windows.seconds,
                {**windows.left_out, **self._postponed},
                windows.trade_offs.get(name),
                windows.sizes(name) if name in windows.orders else None,
            )
            for name, pipeline in self._configured.items()
        }

    def _needs_windows(self) -> bool:
        """Rankers and rerankers learn on a later window than retrievers; without any, one fit is enough."""
        return self._automatic or any(
            one.ranker or any(not reranker.component.stateless for reranker in one.rerankers)
            for one in self._resolved.scenarios.values()
        )

    def _fit_windows(self, data: Dataset, context: FitContext) -> Fitted:
        """Fit on windows of the data what is configured, or what turns out to be best."""
        if not self._automatic:
            return fit_windows(self._resolved, data, context)
        self._chosen = choose_pipeline(self._registry, self._resolved.config, data, context)
        self._resolved = self._chosen.resolved
        return self._chosen.windows

    def _evaluate(self, data: Dataset, context: FitContext) -> tuple[Fitted | None, Report | None]:
        """Fit on what is older than the newest window and measure on it, or hold out events of each user."""
        config = self._resolved.config
        try:
            split = home_split(data, config)
        except DataError as error:
            logger.warning("too little data to evaluate on: %s", error)
            return None, None
        with self._timed("fit on windows"):
            fitted = self._fit_windows(split.training, context)
        with self._timed("evaluate"):
            scenario = self._resolved.config.default_scenario
            report = evaluate(
                fitted.recommender(scenario),
                split,
                EVALUATED_AT,
                name="pipeline",
                seed=config.train.seed,
                progress=self._progress,
                executor=self._executor,
            )
        return fitted, report

    def _write(
        self,
        fitted: Fitted,
        data: Dataset,
        fingerprint: str | None,
        previous: Mapping[str, Mapping[str, Any]],
        metrics: Mapping[str, Any],
    ) -> Bundle:
        self._progress("Writing the bundle", 0, 1)
        plugins = {plugin.name: plugin for plugin in self._registry.plugins}
        config = self._resolved.config
        with self._repository.writer() as writer:
            writer.write_catalogue(fitted.catalogue)
            entries: dict[str, ComponentEntry] = {}
            for key, component in _written(fitted).items():
                built = fitted.objects.get(key)
                saved = isinstance(built, Trainable)
                if isinstance(built, Trainable):
                    built.save(writer.component_directory(key))
                plugin = plugins[component.plugin]
                entries[key] = ComponentEntry(
                    plugin=plugin.name,
                    distribution=plugin.distribution,
                    version=plugin.version,
                    params=component.params.model_dump(mode="json"),
                    facts={**previous.get(key, {}), **fitted.facts.get(key, {})},
                    saved=saved,
                )
            bundle = writer.finish(
                recserve_version=recserve.__version__,
                config=config.trained(),
                # Of what was asked for: a model chosen by the texts is no change of the configuration.
                config_hash=config.model_copy(update={"encoder": self._asked}).training_hash(),
                seed=config.train.seed,
                data=DataEntry(
                    fingerprint=data.fingerprint(),
                    users=len(np.unique(data.users)),
                    items=data.n_items,
                    events=len(data),
                    until=int(data.timestamps[-1]),
                ),
                encoder_fingerprint=fitted.fingerprint or fingerprint,
                components=entries,
                metrics=dict(metrics),
                orders=fitted.orders,
                left_out={**fitted.left_out, **self._postponed},
                postponed=sorted(self._postponed),
                spaces=item_fingerprints(self._resolved),
            )
        self._repository.publish(bundle)
        return bundle

    def _timed(self, step: str) -> _Timed:
        return _Timed(self._seconds, step)


def _written(fitted: Fitted) -> dict[str, Resolved]:
    """Components of the bundle by key: the encoder among them only if it was trained."""
    components, encoder = fitted.resolved.components(), fitted.resolved.encoder
    if encoder is not None and encoder.key in fitted.objects:
        components[encoder.key] = encoder
    return components


def _refuse_what_bundles_must_not_hold(resolved: ResolvedConfig) -> None:
    for component in resolved.components().values():
        why = component.component.not_in_bundles
        refused = None if why is None else why(component.params)
        if refused is not None:
            raise ConfigError(f"{component.where}: {refused}", field=component.where)


class _Timed:
    """Adds the seconds spent inside to ``seconds[step]``."""

    def __init__(self, seconds: dict[str, float], step: str) -> None:
        self._seconds = seconds
        self._step = step

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *details: object) -> None:
        self._seconds[self._step] = round(time.perf_counter() - self._start, 2)
