"""Offline evidence: two bundles' configurations, compared on one test window.

A bundle's components are fitted on all data, so they cannot be measured on any of it. What is compared is
what they would have been: each bundle's configuration, fitted on everything before a test window and measured
on that window. Training does so anyway; where both bundles were trained on the same data, its figures are
compared and nothing is fitted again. Where only the new one was trained on today's data, the current one
alone is fitted again, and measured as training measured the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from recserve.bundles.bundle import Bundle
from recserve.bundles.catalogue_vectors import Progress, encode_catalogue, read_written
from recserve.bundles.manifest import Manifest
from recserve.config import Config, parse_config
from recserve.config.strict import Strict
from recserve.data.dataset import Dataset, Tables
from recserve.errors import ConfigError
from recserve.evaluation import Interval, Split, evaluate, paired_difference
from recserve.plugin.executor import Executor
from recserve.plugin.protocols import FitContext, Stage
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.training.fitting import catalogue_of, fit_context, fit_pipeline, fit_windows, silent
from recserve.training.promotion.files import measurement_file
from recserve.training.promotion.gate import Finding
from recserve.training.selection.validation import QUERIES_PER_USER, home_split
from recserve.training.trainer import EVALUATED_AT, TrainingResult

METRIC = "ndcg@10"
_CUT_OFF = 10
_EQUAL = "the same configuration, so equal on equal data"


class Measurement(Strict):
    """Measurement on the test window, user by user, in an order that names nobody.

    Attributes:
        data: Fingerprint of all data of the run.
        test_window: Share of the newest events that were tested on.
        history: Newest events of a user that counted.
        queries_per_user: Bound of queries of a user.
        values: nDCG@10 of each test user.
    """

    data: str
    test_window: float
    history: int
    queries_per_user: int
    values: list[float]

    def comparable(self, other: Measurement) -> bool:
        """Whether the two are of the same users and the same events."""
        mine, theirs = (measurement.model_dump(exclude={"values"}) for measurement in (self, other))
        return mine == theirs and len(self.values) == len(other.values)


@dataclass(frozen=True)
class Verdict:
    """Comparison of a bundle with the current one.

    Attributes:
        current: nDCG@10 of the current bundle's configuration.
        candidate: nDCG@10 of the other's.
        difference: Candidate minus current, with its paired bootstrap interval over users.
        users: Users that it is taken over.
        how: Where the figures come from, for people.
    """

    current: float
    candidate: float
    difference: Interval
    users: int
    how: str

    def finding(self, margin: float) -> Finding:
        """The comparison as evidence, against a bundle that is worse by more than a margin."""
        difference = self.difference
        figures = {
            "metric": METRIC,
            "difference": round(difference.mean, 6),
            "ci95": [round(difference.low, 6), round(difference.high, 6)],
            "users": self.users,
            "margin": margin,
        }
        worse = difference.mean < -margin
        objection = f"which is more than the margin of {margin:g}" if worse else None
        return Finding("offline", str(self), figures, objection)

    def __str__(self) -> str:
        difference = self.difference
        return (
            f"nDCG@10 {self.candidate:.4f} against {self.current:.4f} of the current bundle, a difference of "
            f"{difference.mean:+.4f} "
            f"({difference.low:+.4f} to {difference.high:+.4f}, {self.users} users, {self.how})"
        )


def keep_measurement(home: Path, config: Config, result: TrainingResult) -> None:
    """Keep what a training run measured, for later promotions; nothing is kept if it measured nothing."""
    if result.report is None:
        return
    values = [round(float(value), 6) for value in result.report.per_user[METRIC]]
    measured = _measurement(config, result.bundle.manifest.data.fingerprint, values)
    path = measurement_file(home, result.bundle.id)
    path.parent.mkdir(exist_ok=True)
    path.write_text(measured.model_dump_json() + "\n", encoding="utf-8")


def _measurement(config: Config, data: str, values: list[float]) -> Measurement:
    return Measurement(
        data=data,
        test_window=config.train.test_window,
        history=config.server.history,
        queries_per_user=QUERIES_PER_USER,
        values=values,
    )


def read_measurement(home: Path, bundle_id: str) -> Measurement | None:
    """What the training run of a bundle measured, None if that is not known here."""
    try:
        return Measurement.model_validate_json(measurement_file(home, bundle_id).read_bytes())
    except (OSError, ValidationError):
        return None


def compare(
    home: Path,
    config: Config,
    registry: Registry,
    current: Bundle,
    candidate: Bundle,
    snapshot: Callable[[], Tables],
    progress: Progress = silent,
    executor: Executor | None = None,
) -> Verdict:
    """Compare two bundles on one test window, in the cheapest way that is honest.

    Args:
        home: The home folder.
        config: Its configuration: the test window, and how long histories are.
        registry: All components.
        current: The current bundle.
        candidate: The one that is to replace it.
        snapshot: Reads the store's data; called only if something has to be fitted.
        progress: Called with (description, done, total).
        executor: Computes parts of fits and of the evaluation; None for this process.

    Raises:
        ConfigError: A bundle's configuration does not work here any more, or they count other events.
        DataError: There is too little data to measure on.
    """
    measured = compare_measured(home, current, candidate)
    if measured is not None:
        return measured
    if _recipe(current.manifest) == _recipe(candidate.manifest):
        values = _measure(home, config, registry, candidate, snapshot(), progress, executor)[1]
        return _verdict(values, values, _EQUAL)
    tables = snapshot()
    beside = _compare_beside(home, config, registry, current, candidate, tables, progress, executor)
    if beside is not None:
        return beside
    first, before = _measure(home, config, registry, current, tables, progress, executor)
    second, after = _measure(home, config, registry, candidate, tables, progress, executor)
    if not _same_queries(first, second):
        raise ConfigError(
            f"bundles {current.id} and {candidate.id} were trained with different event types, so they "
            "cannot be measured on the same test events; promote with --force --reason TEXT if that is "
            "intended"
        )
    return _verdict(before, after, "both fitted again on today's data before its test window")


def compare_measured(home: Path, current: Bundle, candidate: Bundle) -> Verdict | None:
    """Compare two bundles by what training measured; fits nothing.

    Args:
        home: The home folder.
        current: The current bundle.
        candidate: The other one.

    Returns:
        None where the two were not measured on the same data.
    """
    known = [read_measurement(home, bundle.id) for bundle in (current, candidate)]
    if known[0] is not None and known[1] is not None and known[0].comparable(known[1]):
        how = "both measured in training on the same data"
        return _verdict(np.array(known[0].values), np.array(known[1].values), how)
    if known[1] is not None and _recipe(current.manifest) == _recipe(candidate.manifest):
        # Equal fits of equal data: it only remains to say how good they are.
        values = np.array(known[1].values)
        return _verdict(values, values, _EQUAL)
    return None


def _verdict(current: NDArray[np.float64], candidate: NDArray[np.float64], how: str) -> Verdict:
    difference = paired_difference(candidate, current)
    return Verdict(float(current.mean()), float(candidate.mean()), difference, len(current), how)


def _recipe(manifest: Manifest) -> str:
    """Everything but the data that decides a bundle, as text."""
    # What behaviour trained follows from the data, too.
    trained = any(key.startswith(f"{Stage.ENCODER}.") for key in manifest.components)
    recipe: Mapping[str, Any] = {
        "config": manifest.config_hash,
        "seed": manifest.seed,
        "encoder": None if trained else manifest.encoder_fingerprint,
        "components": {
            key: (component.distribution, component.version, component.params)
            for key, component in manifest.components.items()
        },
    }
    return json.dumps(recipe, sort_keys=True)


def _compare_beside(
    home: Path,
    config: Config,
    registry: Registry,
    current: Bundle,
    candidate: Bundle,
    tables: Tables,
    progress: Progress,
    executor: Executor | None,
) -> Verdict | None:
    """Compare with what training measured of the candidate; None where that was on other data than this."""
    known = read_measurement(home, candidate.id)
    if known is None or candidate.manifest.seed != config.train.seed:
        return None
    own = _configuration(current, config)
    resolved, data = _data(home, own, registry, current, tables, progress, executor)
    split = home_split(data, config)
    expected = _measurement(config, data.fingerprint(), [0.0] * len(known.values))
    if not known.comparable(expected):
        return None
    context = _context(own, config, progress, executor)
    model = fit_windows(resolved, split.training, context).recommender(own.default_scenario)
    report = evaluate(
        model,
        split,
        EVALUATED_AT,
        name=current.id,
        seed=own.train.seed,
        progress=progress,
        executor=executor,
    )
    before = report.per_user[METRIC]
    if len(before) != len(known.values):
        return None
    how = "the current one fitted again on the data that the other was measured on"
    return _verdict(before, np.array(known.values), how)


def _measure(
    home: Path,
    config: Config,
    registry: Registry,
    bundle: Bundle,
    tables: Tables,
    progress: Progress,
    executor: Executor | None,
) -> tuple[Split, NDArray[np.float64]]:
    """Fit a bundle's configuration before the home's test window; nDCG@10 of each user on it."""
    own = _configuration(bundle, config)
    resolved, data = _data(home, own, registry, bundle, tables, progress, executor)
    split = home_split(data, config)
    context = _context(own, config, progress, executor)
    model = fit_pipeline(resolved, split.training, context).recommender(own.default_scenario)
    report = evaluate(model, split, (_CUT_OFF,), name=bundle.id, progress=progress, executor=executor)
    return split, report.per_user[METRIC]


def _configuration(bundle: Bundle, config: Config) -> Config:
    """The configuration of a bundle, with the home's settings of the server."""
    own = parse_config(bundle.manifest.config, f"configuration of bundle {bundle.id}")
    return own.model_copy(update={"server": config.server})


def _data(
    home: Path,
    own: Config,
    registry: Registry,
    bundle: Bundle,
    tables: Tables,
    progress: Progress,
    executor: Executor | None,
) -> tuple[ResolvedConfig, Dataset]:
    """What a bundle was trained with, without what it was trained without, and the data as it reads them."""
    resolved = registry.resolve(own).without(bundle.manifest.postponed)
    catalogue, _ = encode_catalogue(resolved, catalogue_of(tables), home, progress, executor)
    data = Dataset.from_tables(catalogue, tables.events, own.event_types)
    return resolved, read_written(resolved, data, tables.texts, progress, executor)


def _context(own: Config, config: Config, progress: Progress, executor: Executor | None) -> FitContext:
    """What decides the result is the bundle's, what it is computed with is the home's."""
    return replace(
        fit_context(config, progress, executor), seed=own.train.seed, event_types=tuple(own.event_types)
    )


def _same_queries(first: Split, second: Split) -> bool:
    return np.array_equal(first.times, second.times) and np.array_equal(
        first.relevant.values, second.relevant.values
    )
