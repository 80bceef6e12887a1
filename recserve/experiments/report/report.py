"""Report of an experiment: what each arm did, what may be concluded, and whether the comparison is sound.

Users are the independent units of all figures; answers to nobody in particular (anonymous sessions) are
units of their own. Differences and preferences have always-valid intervals, so that a report may be read
every day and an experiment be stopped on any of them. With several treatments, each difference to the
control has so much more confidence that all of them hold together (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.config import Config
from recserve.data.arrays import BoolArray, Float64Array
from recserve.data.entities import now_ms
from recserve.errors import ExperimentConflictError
from recserve.experiments.administration import ExperimentAdmin
from recserve.experiments.interleaving import preference
from recserve.experiments.lifecycle import Experiment
from recserve.experiments.report.figures import (
    EXPECTED_CHANGE,
    ArmFigures,
    ArmSizes,
    Comparison,
    ExperimentReport,
    Interleaved,
    Verdict,
)
from recserve.experiments.statistics.cuped import adjusted_difference
from recserve.experiments.statistics.sample_ratio import sample_ratio
from recserve.experiments.statistics.sequential import (
    always_valid_interval,
    always_valid_p_value,
    detectable_change,
    difference,
    units_needed,
)
from recserve.experiments.statistics.units import EarlierSums, Units, UnitSums
from recserve.outcomes.intervals import CONFIDENCE, Interval, RatioSample, plain_interval
from recserve.outcomes.join import impression_chunks
from recserve.store import Store
from recserve.store.lake import LakeFolder

BEFORE_MS = 14 * 86_400_000
"""How long before an experiment what users did explains what they do in it."""

METRICS = ("click_through_rate", "conversion_rate", "value_per_user")


def read_report(store: Store, config: Config, name: str, lake: LakeFolder | None = None) -> ExperimentReport:
    """Report of an experiment from what a store holds.

    Args:
        store: The store.
        config: Its configuration.
        name: Name of the experiment.
        lake: The store's lake, where exposures and events may be that have expired.

    Raises:
        NotFoundError: There is no such experiment.
        ExperimentConflictError: It was never started.
    """
    experiment = ExperimentAdmin(store, "").experiment(name)
    started = check_started(experiment)
    until = experiment.status.stopped or now_ms()
    shown = impression_chunks(store, config, started, until, lake=lake, experiment=name)
    before = impression_chunks(store, config, started - BEFORE_MS, started, lake=lake)
    return experiment_report(experiment, shown, before, until)


def check_started(experiment: Experiment) -> int:
    """When an experiment was started, milliseconds since the epoch.

    Raises:
        ExperimentConflictError: It never was.
    """
    if experiment.status.started is None:
        raise ExperimentConflictError(
            f"experiment {experiment.definition.name!r} was never started: there is nothing to report",
            field="experiment",
        )
    return experiment.status.started


def experiment_report(
    experiment: Experiment, shown: Iterable[pa.Table], before: Iterable[pa.Table], until: int
) -> ExperimentReport:
    """Report of an experiment from impressions, see :func:`recserve.outcomes.join.impression_chunks`.

    Args:
        experiment: The experiment.
        shown: Its impressions; all of an answer are in one table.
        before: Impressions of the time before it.
        until: The end of what was counted, milliseconds since the epoch.
    """
    definition, status = experiment.definition, experiment.status
    report = ExperimentReport(
        definition.name, definition.kind, status.state, status.reason, status.started, until
    )
    if definition.kind == "interleaving":
        return replace(report, interleaving=_interleaved(experiment, shown))
    names = [arm.name for arm in definition.shown]
    units = _units(shown, names)
    facts = _facts_before(units, before)
    sides = [units.arms == arm for arm in range(len(names))]
    samples = [_samples(units, side) for side in sides]
    confidence = 1.0 - (1.0 - CONFIDENCE) / max(len(names) - 1, 1)
    comparisons = [
        _compared(
            name,
            metric,
            (samples[arm][metric], samples[0][metric]),
            (facts[sides[arm]], facts[sides[0]]),
            confidence,
        )
        for arm, name in enumerate(names)
        if arm > 0
        for metric in METRICS
    ]
    return replace(
        report,
        arms=tuple(
            _figures(name, units, side, found, status.stopped_arms.get(name))
            for name, side, found in zip(names, sides, samples, strict=True)
        ),
        comparisons=tuple(comparisons),
        sample_ratio=_sizes(experiment, units),
        crossed=units.crossed,
    )


def _units(shown: Iterable[pa.Table], names: Sequence[str]) -> Units:
    """Sums of each unit: answers, then what :func:`_outcomes` has."""
    sums = UnitSums(5)
    for table in shown:
        found = pc.index_in(table["arm"].cast(pa.string()), value_set=pa.array(names, pa.string()))
        rows = table.filter(pc.is_valid(found))
        answers = rows["position"].to_numpy() == 0
        sums.add(
            rows, found.drop_null().to_numpy().astype(np.int64), np.column_stack([answers, _outcomes(rows)])
        )
    return sums.units()


def _facts_before(units: Units, before: Iterable[pa.Table]) -> Float64Array:
    facts = EarlierSums(units, 4)
    for table in before:
        facts.add(table, _outcomes(table))
    return facts.sums


def _outcomes(shown: pa.Table) -> Float64Array:
    """Of each row one impression, clicks, conversions and value: float64, shape (R, 4)."""
    facts = [shown[name].cast(pa.float64()).to_numpy() for name in ("clicked", "converted", "value")]
    return np.column_stack([np.ones(len(shown)), *facts])


def _samples(units: Units, side: BoolArray) -> dict[str, RatioSample]:
    _, shown, clicks, conversions, value = units.sums[side].T
    return {
        "click_through_rate": RatioSample(clicks, shown),
        "conversion_rate": RatioSample(conversions, shown),
        "value_per_user": RatioSample(value, np.ones(len(value))),
    }


def _figures(
    name: str, units: Units, side: BoolArray, samples: Mapping[str, RatioSample], stopped: str | None
) -> ArmFigures:
    answers, shown = units.sums[side, :2].sum(axis=0)
    return ArmFigures(
        name,
        users=int((side & units.known).sum()),
        anonymous=int((side & ~units.known).sum()),
        answers=int(answers),
        impressions=int(shown),
        metrics={metric: plain_interval(sample.estimate()) for metric, sample in samples.items()},
        stopped=stopped,
    )


def _compared(
    arm: str,
    metric: str,
    samples: tuple[RatioSample, RatioSample],
    before: tuple[Float64Array, Float64Array],
    confidence: float,
) -> Comparison:
    """Compare an arm with the control; samples and facts from before are of these two."""
    treatment, control = samples
    estimate, variance_ratio = difference(treatment, control), 1.0
    # Decided by what was there before the experiment, never by what came out.
    adjusted = any(facts.any() for facts in before)
    if adjusted:
        estimate, variance_ratio = adjusted_difference(treatment, control, *before)
    scale = EXPECTED_CHANGE * abs(control.ratio)
    interval, p_value = Interval(estimate.value, -math.inf, math.inf), 1.0
    detectable, needed = math.nan, None
    if scale > 0.0 and estimate.variance > 0.0:
        interval = always_valid_interval(estimate, scale, confidence)
        p_value = always_valid_p_value(estimate, scale) * (1.0 - CONFIDENCE) / (1.0 - confidence)
    if math.isfinite(interval.low):
        detectable = detectable_change(estimate.variance, scale, confidence)
        share = treatment.units / (treatment.units + control.units)
        of_one_unit = estimate.variance / (1.0 / treatment.units + 1.0 / control.units)
        needed = units_needed(of_one_unit, scale, (share, 1.0 - share), confidence)
    return Comparison(
        arm,
        metric,
        difference=interval,
        relative=estimate.value / abs(control.ratio) if scale > 0.0 else math.nan,
        p_value=min(p_value, 1.0),
        adjusted=adjusted,
        variance_ratio=variance_ratio,
        detectable=detectable,
        users_needed=needed,
        verdict=_verdict(interval),
    )


def _sizes(experiment: Experiment, units: Units) -> ArmSizes | None:
    """Test the sizes of arms that got users for as long as the control did.

    An arm that was stopped alone is left out. Of two arms both end at once, whichever was stopped.
    """
    shown, served = experiment.definition.shown, experiment.served
    places = [place for place, arm in enumerate(shown) if arm in served or len(shown) == 2]
    if len(places) < 2:
        return None
    counts = np.bincount(units.arms[units.known], minlength=len(shown))[places]
    shares = np.array([experiment.definition.share_of(shown[place]) for place in places])
    found = sample_ratio(counts, shares)
    names = tuple(shown[place].name for place in places)
    expected = tuple(found.expected.tolist())
    return ArmSizes(names, tuple(counts.tolist()), expected, found.p_value, found.mismatch)


def _interleaved(experiment: Experiment, shown: Iterable[pa.Table]) -> Interleaved:
    first, second = (arm.name for arm in experiment.definition.shown)
    sums = UnitSums(5)
    for table in shown:
        team = table["item_arm"].cast(pa.string())
        clicked = table["clicked"].to_numpy()
        by_arm = [clicked & pc.fill_null(pc.equal(team, arm), False).to_numpy() for arm in (first, second)]
        answers = table["position"].to_numpy() == 0
        columns = np.column_stack([answers, np.ones(len(table)), clicked, *by_arm])
        sums.add(table, np.zeros(len(table), np.int64), columns)
    units = sums.units()
    answers, impressions, clicks, of_first, of_second = units.sums.sum(axis=0).astype(int).tolist()
    estimate = preference(units.sums[:, 3], units.sums[:, 4]).estimate()
    interval = always_valid_interval(estimate, EXPECTED_CHANGE)
    return Interleaved(
        (first, second),
        users=int(units.known.sum()),
        answers=answers,
        impressions=impressions,
        clicks=(of_first, of_second),
        shared=clicks - of_first - of_second,
        preference=interval,
        p_value=always_valid_p_value(estimate, EXPECTED_CHANGE),
        verdict=_verdict(interval),
    )


def _verdict(interval: Interval) -> Verdict:
    if interval.low > 0.0:
        return "better"
    return "worse" if interval.high < 0.0 else "undecided"
