"""A tuning study from beginning to end: data, windows, trials, and what came out of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import yaml

from recserve.bundles.catalogue_vectors import Progress, encode_catalogue
from recserve.config import Config, plain_config
from recserve.data.dataset import Dataset, Tables
from recserve.errors import ConfigError, DataError, RecserveError
from recserve.evaluation import Interval, Split, paired_difference, temporal
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.training.fitting import catalogue_of, silent
from recserve.training.tuning.cluster import Needs, Place, ray_session
from recserve.training.tuning.log import StudyFolder, StudyRecord, TrialRecord, TrialState
from recserve.training.tuning.results import Comparison, Result
from recserve.training.tuning.targets import Target
from recserve.training.tuning.trial import Work

BEST = "best.yaml"
REPORT = "report.html"
RESULT = "result.json"


@dataclass(frozen=True)
class Windows:
    """The data of a study, split.

    Attributes:
        validation: What trials are fitted and scored on: a window before the test window.
        test: The window that ``recserve evaluate`` uses.
    """

    validation: Split
    test: Split


class Study:
    """One study in one folder.

    Args:
        folder: Where it is kept.
        target: What is tuned.
        resolved: The configuration to begin with.
        home: The home folder.
    """

    def __init__(self, folder: StudyFolder, target: Target, resolved: ResolvedConfig, home: Path) -> None:
        self._folder = folder
        self._target = target
        self._resolved = resolved
        self._home = home

    def prepare(
        self, tables: Tables, *, trials: int | None, resume: bool, progress: Progress = silent
    ) -> None:
        """Encode, split, and begin the study or find the interrupted one.

        Args:
            tables: The store's data.
            trials: Trials wanted; None takes the study's own number, or the configured one.
            resume: Go on with the study in the folder, if there is one.
            progress: Called with (description, done, total).

        Raises:
            ConfigError: The folder holds a study already, or another one than the one to go on with; or a
                component refuses a value that is configured or that the search may choose.
            DataError: There are too few events.
        """
        config = self._resolved.config
        known = self._folder.read_study()
        if known is not None and not resume:
            raise ConfigError(
                f"{self._folder.shown()} holds a study of {known.target!r} with "
                f"{len(self._folder.trials())} trials: go on with it by --resume, or choose another --storage"
            )
        data = self._data(tables, None if known is None else known.until, progress)
        self._target.check(Registry.discover(), config, data.catalogue)
        study = StudyRecord(
            target=self._target.name,
            scenario=self._target.scenario,
            parameters=[dimension.name for dimension in self._target.space.dimensions],
            seed=config.train.seed,
            trials=trials or (config.tune.trials if known is None else known.trials),
            data=data.fingerprint(),
            until=int(data.timestamps[-1]),
            config_hash=config.training_hash(),
        )
        if known is not None:
            _check_same(known, study, self._folder.shown())
        self._windows = _split(data, config)
        self._folder.write_study(study)
        self._study = study

    @property
    def windows(self) -> Windows:
        """The data, split; known once prepared."""
        return self._windows

    @property
    def trials(self) -> int:
        """Trials wanted."""
        return self._study.trials

    def run(
        self,
        needs: Needs,
        *,
        address: str | None,
        seconds: float | None,
        confirm: bool,
        placed: Callable[[Place], None],
        observer: Callable[[TrialRecord], None],
    ) -> Result:
        """Run the trials that are missing and compare the best with the configured values.

        Args:
            needs: What a trial takes.
            address: See :func:`recserve.training.tuning.cluster.ray_session`.
            seconds: Time budget of the trials, None for none.
            confirm: Also compare on the test window.
            placed: Told where trials run.
            observer: Told of every trial that starts, validates itself or ends.

        Raises:
            RecserveError: No trial could be completed.
        """
        config = self._resolved.config
        with self._folder.locked(), ray_session(self._home, address, needs) as place:
            from recserve.training.tuning.search import run_elsewhere, run_search

            placed(place)
            run_search(
                self.work(self._windows.validation, needs),
                self._folder,
                place,
                trials=self._study.trials,
                seconds=seconds,
                grace=config.tune.grace,
                reduction=config.tune.reduction,
                observer=observer,
            )
            trials = self._folder.trials()
            best, challenger, default = _best(trials)
            test = None
            if confirm and best.number != 0:
                tested = self.work(self._windows.test, needs)
                first, second = run_elsewhere(tested, place, [best.values, default.values])
                test = Comparison(
                    first.score,
                    second.score,
                    _difference(first.per_user, second.per_user),
                    self._windows.test.n_users,
                )
        validation = Comparison(
            challenger.score or 0.0,
            default.score or 0.0,
            _difference(*(self._folder.per_user(trial.number) for trial in (challenger, default))),
            self._windows.validation.n_users,
        )
        return Result(self._study, trials, best, challenger, validation, test)

    def work(self, split: Split, needs: Needs) -> Work:
        """What trials on a split share."""
        config = self._resolved.config
        device = config.train.device if needs.gpus else "cpu"
        return Work(self._target, config, split, max(1, int(needs.cpus)), device)

    def write(self, result: Result) -> None:
        """Write ``best.yaml``, ``trials.json``, ``trials.csv``, ``result.json`` and ``report.html``."""
        from recserve.training.tuning.report import render

        self._folder.write_tables(result.trials)
        config = self._resolved.config
        tuned = config if result.default_is_best else self._target.configure(config, result.best.values)
        text = yaml.safe_dump(plain_config(tuned), sort_keys=False, allow_unicode=True)
        found = f"trial {result.best.number}, nDCG@10 {result.best.score:.4f} on the validation window"
        heading = f"# recserve tune {self._target.name}: {found}\n"
        self._folder.write(BEST, (heading + text).encode())
        self._folder.write(RESULT, (json.dumps(_facts(result), indent=1) + "\n").encode())
        self._folder.write(REPORT, render(result, self._target).encode())

    def _data(self, tables: Tables, until: int | None, progress: Progress) -> Dataset:
        if not tables.items.num_rows or not tables.events.num_rows:
            raise DataError("the store holds no events or no items: run `recserve import` first")
        events = tables.events
        if until is not None:
            # A live server goes on writing events; the study goes on with those it began with.
            events = events.filter(pc.less_equal(events["timestamp"], until))
        data = Dataset.from_tables(catalogue_of(tables), events, self._resolved.config.event_types)
        if not self._target.needs_vectors:
            return data
        # Once, here: trials get the vectors with the data.
        catalogue, _ = encode_catalogue(self._resolved, data.catalogue, self._home, progress)
        return data.with_catalogue(catalogue)


def _split(data: Dataset, config: Config) -> Windows:
    history, limit = config.server.history, config.tune.queries_per_user
    test = temporal(data, config.train.test_window, history=history, queries_per_user=limit)
    validation = temporal(
        test.training, config.tune.validation_window, history=history, queries_per_user=limit
    )
    return Windows(validation, test)


def _check_same(known: StudyRecord, wanted: StudyRecord, shown: str) -> None:
    """A resumed study must ask the same question, or its scores cannot be comparison.

    Raises:
        ConfigError: Names what changed.
    """
    named = {
        "target": "it tunes another target",
        "scenario": "it tunes another scenario",
        "parameters": "it searches other parameters",
        "seed": "it has another seed",
        "config_hash": "the configuration changed since",
        "data": "the events or items of its time changed since, for example because a user was deleted",
    }
    for key, reason in named.items():
        if getattr(known, key) != getattr(wanted, key):
            raise ConfigError(
                f"cannot go on with the study in {shown}: {reason}; begin a new one with another --storage"
            )


def _best(trials: Sequence[TrialRecord]) -> tuple[TrialRecord, TrialRecord, TrialRecord]:
    """The best complete trial, the best one beside trial 0, and trial 0.

    Raises:
        RecserveError: Trial 0 is not complete.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if not complete or complete[0].number != 0:
        raise RecserveError("time was up before the configured values were scored; go on with --resume")
    ranked = sorted(complete, key=lambda trial: (-(trial.score or 0.0), trial.number))
    others = [trial for trial in ranked if trial.number != 0]
    return ranked[0], (others or ranked)[0], complete[0]


def _difference(first: Any, second: Any) -> Interval:
    return paired_difference(np.asarray(first, np.float64), np.asarray(second, np.float64))


def _facts(result: Result) -> dict[str, Any]:
    def plain(comparison: Comparison | None) -> dict[str, Any] | None:
        if comparison is None:
            return None
        difference = comparison.difference
        return {
            "challenger": comparison.best,
            "default": comparison.default,
            "difference": {"mean": difference.mean, "ci95": [difference.low, difference.high]},
            "users": comparison.users,
        }

    return {
        "target": result.study.target,
        "metric": "ndcg@10",
        "best_trial": result.best.number,
        "values": result.best.values,
        "challenger": result.challenger.number,
        "validation": plain(result.validation),
        "test": plain(result.test),
    }
