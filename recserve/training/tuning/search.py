"""Runs the trials of a study with Ray Tune: Optuna proposes, successive halving ends what falls behind.

The only module of the library that imports Ray at its top; import it only inside a Ray session.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from recserve.data.system.cpus import step_back
from recserve.errors import RecserveError, RuntimeEnvironmentError
from recserve.training.tuning.cluster import Place
from recserve.training.tuning.log import StudyFolder, TrialRecord, TrialState
from recserve.training.tuning.trial import METRIC, Outcome, Work, run_trial

_STEP, _VALIDATION, _ERROR = "step", "validation", "error"
_PER_USER = "per_user"
_MAX_STEPS = 10_000
MOST_REPEATS = 2
"""How often a trial is begun anew whose process or host was lost."""
IDLE_SECONDS = 600.0
"""How long a cluster may have no room for any trial before the search ends."""

Observer = Callable[[TrialRecord], None]


def run_search(
    work: Work,
    folder: StudyFolder,
    place: Place,
    *,
    trials: int,
    seconds: float | None,
    grace: int,
    reduction: float,
    observer: Observer,
) -> None:
    """Run trials until there are enough or time is up; every one that ends is in the folder by then.

    Trials that an earlier run began are repeated first, with the same values. Trial 0 has the configured
    values and is never stopped early. Data reach trials, and results reach this process, through Ray's object
    store: the hosts of trials need neither a disk in common nor a way to the study's folder.

    Args:
        work: What trials share.
        folder: The study.
        place: Where trials run.
        trials: Trials wanted, those of earlier runs included.
        seconds: Time budget, None for none.
        grace: Validations a fit may do before it can be stopped.
        reduction: Factor of successive halving.
        observer: Told of every trial that starts, validates itself or ends.

    Raises:
        RecserveError: The configured values themselves cannot be fitted, or the folder cannot be written.
    """
    records = [_again(record) for record in folder.trials()]
    left = trials - sum(record.state is not TrialState.RUNNING for record in records)
    if left <= 0:
        return
    # Optuna says what it does on stderr, trial by trial, and Ray prints a traceback for each lost process.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    scheduler = _Halving(grace, reduction)
    scheduler.remember(records)
    follower = _Follower(folder, scheduler, observer)
    # Ray's own notes of the search, which the study's folder makes needless, stay on this machine.
    with tempfile.TemporaryDirectory(prefix="recserve-tune-", ignore_cleanup_errors=True) as scratch:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_trainable, work=work),
                tune.PlacementGroupFactory([place.resources]),
            ),
            tune_config=tune.TuneConfig(
                search_alg=_Search(work, records),
                scheduler=scheduler,
                num_samples=left,
                max_concurrent_trials=place.concurrent,
                time_budget_s=seconds,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=scratch,
                failure_config=tune.FailureConfig(max_failures=MOST_REPEATS),
                verbose=0,
                callbacks=[follower],
                stop=_WhenBroken(follower),
            ),
        ).fit()
    if follower.broken is not None:
        raise follower.broken


def run_elsewhere(work: Work, place: Place, chosen: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """Fit and score a few sets of values on the cluster, outside any search."""
    resources = dict(place.resources)
    remote = ray.remote(_one).options(
        num_cpus=resources.pop("CPU"),
        num_gpus=resources.pop("GPU", 0),
        resources=resources,
        max_retries=MOST_REPEATS,
    )
    shared = ray.put(work)
    try:
        return list(ray.get([remote.remote(shared, values) for values in chosen]))
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, RecserveError):
            raise cause from None
        raise RecserveError(f"the best values cannot be fitted on all training data: {cause}") from None
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RecserveError(f"the comparison on the test window died: {reason[0]}") from None


def _again(record: TrialRecord) -> TrialRecord:
    """Trial 0 is repeated if it failed: without it there is nothing to compare with."""
    if record.number == 0 and record.state is TrialState.FAILED:
        return record.model_copy(update={"state": TrialState.RUNNING, "error": None})
    return record


def _one(work: Work, values: Mapping[str, Any]) -> Outcome:
    step_back()
    return run_trial(work, values)


def _trainable(config: Mapping[str, Any], work: Work) -> None:
    """What runs in a trial's process."""
    step_back()

    def validated(step: int, score: float) -> None:
        tune.report({_STEP: step, _VALIDATION: score})

    try:
        outcome = run_trial(work, config["values"], validated)
    except RecserveError as error:
        tune.report({_ERROR: error.message})
    except Exception as error:
        # It would happen again: only what is lost with its process is repeated.
        tune.report({_ERROR: " ".join(f"{type(error).__name__}: {error}".split())[:300]})
    else:
        tune.report(
            {
                METRIC: outcome.score,
                "low": outcome.low,
                "high": outcome.high,
                "fit_seconds": outcome.fit_seconds,
                "evaluate_seconds": outcome.evaluate_seconds,
                _PER_USER: outcome.per_user,
            }
        )


class _Search(OptunaSearch):  # type: ignore[misc]  # Ray ships no types
    """Optuna's sampler, told of the trials of earlier runs.

    Args:
        work: What trials share.
        records: Trials of earlier runs.
    """

    def __init__(self, work: Work, records: Sequence[TrialRecord]) -> None:
        self._target_space = work.target.space
        ended = [record for record in records if record.state is not TrialState.RUNNING]
        begun = [record for record in records if record.state is TrialState.RUNNING]
        self._numbers = [record.number for record in begun]
        self._next_number = max((record.number for record in records), default=-1) + 1
        points = [record.point for record in begun]
        if not records:
            points = [self._target_space.point(self._target_space.defaults)]
        storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(storage=storage, study_name="recserve", direction="maximize")
        study.add_trials([_frozen(self._target_space, record) for record in ended])
        super().__init__(
            space=self._target_space.suggest,
            metric=METRIC,
            mode="max",
            points_to_evaluate=points,
            study_name="recserve",
            storage=storage,
            # The first trials are random: those of a resumed run must not repeat the ones before.
            sampler=optuna.samplers.TPESampler(seed=work.config.train.seed + len(ended), multivariate=False),
        )

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial: its number, parameter values and what Optuna chose for them."""
        point = super().suggest(trial_id)
        if point is None:
            return None
        if self._numbers:
            number = self._numbers.pop(0)
        else:
            number, self._next_number = self._next_number, self._next_number + 1
        return {"number": number, "values": self._target_space.values(point), "point": dict(point)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hand intermediate scores on; without a score of either kind there is nothing to hand on."""
        if _VALIDATION in result:
            self._ot_trials[trial_id].report(result[_VALIDATION], int(result[_STEP]))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial without a final score was stopped early, or failed."""
        failed = error or (result is not None and _ERROR in result)
        super().on_trial_complete(trial_id, result, failed)


def _frozen(space: Any, record: TrialRecord) -> optuna.trial.FrozenTrial:
    """A trial of an earlier run as Optuna knows it."""
    chosen = optuna.trial.FixedTrial(dict(record.point))
    space.suggest(chosen)
    state = {
        TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
        TrialState.STOPPED: optuna.trial.TrialState.PRUNED,
        TrialState.FAILED: optuna.trial.TrialState.FAIL,
    }[record.state]
    return optuna.trial.create_trial(
        state=state,
        value=record.score,
        params=chosen.params,
        distributions=chosen.distributions,
        intermediate_values=dict(record.validations),
    )


class _Halving(ASHAScheduler):  # type: ignore[misc]  # Ray ships no types
    """Successive halving by the fits' own validations; remembers whom it stopped and spares trial 0."""

    def __init__(self, grace: int, reduction: float) -> None:
        super().__init__(
            time_attr=_STEP,
            metric=_VALIDATION,
            mode="max",
            max_t=max(_MAX_STEPS, grace),
            grace_period=grace,
            reduction_factor=reduction,
        )
        self.stopped: set[str] = set()

    def remember(self, records: Sequence[TrialRecord]) -> None:
        """Take in the validations of an earlier run, so that new trials are compared with them too."""
        for record in records:
            if record.state is TrialState.RUNNING:
                continue
            trial = SimpleNamespace(trial_id=f"earlier-{record.number}")
            self.on_trial_add(None, trial)
            for step, score in record.validations:
                super().on_trial_result(None, trial, {_STEP: step, _VALIDATION: score})

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on."""
        action = str(super().on_trial_result(tune_controller, trial, result))
        if action == self.STOP and trial.config["number"] == 0:
            return str(self.CONTINUE)
        if action == self.STOP:
            self.stopped.add(trial.trial_id)
        return action


class _Follower(tune.Callback):  # type: ignore[misc]  # Ray ships no types
    """Writes every trial into the study's folder as it goes on."""

    def __init__(self, folder: StudyFolder, scheduler: _Halving, observer: Observer) -> None:
        self._folder = folder
        self._scheduler = scheduler
        self._observer = observer
        self._records: dict[str, TrialRecord] = {}
        self._busy_at = time.monotonic()
        self.broken: RecserveError | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray saves callbacks to restore experiments, which the study's folder does for us."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End a search that waits for hosts which do not come."""
        if any(trial.status == "RUNNING" for trial in trials):
            self._busy_at = time.monotonic()
        elif trials and time.monotonic() - self._busy_at > IDLE_SECONDS:
            self.broken = self.broken or RuntimeEnvironmentError(
                f"the cluster had no room for a trial for {IDLE_SECONDS / 60:.0f} minutes; "
                "go on with --resume once it has"
            )

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial begins, or begins anew."""
        config = trial.config
        known = self._records.get(trial.trial_id)
        record = TrialRecord(
            number=config["number"],
            state=TrialState.RUNNING,
            values=config["values"],
            point=config["point"],
            repeats=0 if known is None else known.repeats,
        )
        self._note(trial, record)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial validated itself, failed in an expected way, or has its final score."""
        record = self._records[trial.trial_id].model_copy(update={"node": result.get("node_ip")})
        if _VALIDATION in result:
            step = (int(result[_STEP]), round(float(result[_VALIDATION]), 6))
            record = record.model_copy(update={"validations": [*record.validations, step]})
            if trial.trial_id in self._scheduler.stopped:
                record = record.model_copy(update={"state": TrialState.STOPPED})
        elif _ERROR in result:
            record = self._failed(record, str(result[_ERROR]))
        elif METRIC in result:
            # Taken out: Ray would keep the figures of all users with what it notes of the search.
            per_user = result.pop(_PER_USER)
            with self._breaking():
                self._folder.write_per_user(record.number, per_user)
            keys = ("low", "high", "fit_seconds", "evaluate_seconds")
            found = {key: result[key] for key in keys} | {"score": result[METRIC]}
            record = record.model_copy(update={**found, "state": TrialState.COMPLETE})
        self._note(trial, record)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Learn that a trial was stopped early, if that is why it ended."""
        record = self._records.get(trial.trial_id)
        stopped = trial.trial_id in self._scheduler.stopped
        if record is not None and record.state is TrialState.RUNNING and stopped:
            self._note(trial, record.model_copy(update={"state": TrialState.STOPPED}))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process or host was lost, and it will begin anew."""
        record = self._records.get(trial.trial_id)
        if record is not None:
            again = {"repeats": record.repeats + 1, "validations": [], "node": None}
            self._note(trial, record.model_copy(update=again))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process or host was lost too often."""
        record = self._records.get(trial.trial_id)
        if record is not None:
            lost = f"lost {record.repeats + 1} times, at last by: {_reason(trial)}"
            self._note(trial, self._failed(record, lost))

    def _failed(self, record: TrialRecord, error: str) -> TrialRecord:
        if record.number == 0:
            self.broken = RecserveError(f"the configured values themselves cannot be fitted: {error}")
        return record.model_copy(update={"state": TrialState.FAILED, "error": error})

    def _note(self, trial: Any, record: TrialRecord) -> None:
        self._records[trial.trial_id] = record
        with self._breaking():
            self._folder.write_trial(record)
        self._observer(record)

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        """End the search where the study's folder cannot be written, or is another run's by now."""
        try:
            yield
        except RecserveError as error:
            self.broken = self.broken or error


class _WhenBroken(tune.Stopper):  # type: ignore[misc]  # Ray ships no types
    """Ends the search when there is nothing to compare trials with."""

    def __init__(self, follower: _Follower) -> None:
        self._follower = follower

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never ends a single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether to end everything."""
        return self._follower.broken is not None


def _reason(trial: Any) -> str:
    """The last line of what a trial died of."""
    try:
        lines = [line.strip() for line in Path(trial.error_file).read_text().splitlines() if line.strip()]
    except (OSError, TypeError):
        lines = []
    return lines[-1][:300] if lines else "its process died"
