"""Evidence of experiments: what users did with a bundle's answers, beside those of the bundle in service.

Intervals of their reports hold at every look, so a gate may go by an experiment that still runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from recserve.config import Config
from recserve.experiments.lifecycle import Experiment
from recserve.experiments.report.figures import ExperimentReport, Verdict
from recserve.experiments.report.report import read_report
from recserve.outcomes.intervals import Interval
from recserve.store import Store
from recserve.store.lake import LakeFolder
from recserve.training.promotion.gate import Finding

METRIC = "click_through_rate"


def experiment_findings(
    store: Store, config: Config, bundle_id: str, current: str, lake: LakeFolder | None = None
) -> Iterator[Finding]:
    """What experiments say of a bundle, the oldest first.

    Args:
        store: Holds experiments, exposures and events.
        config: What counts as a click.
        bundle_id: The bundle.
        current: The one in service.
        lake: The store's lake.
    """
    for record in store.experiments():
        experiment = Experiment.of(record)
        control, *others = experiment.definition.shown
        # One that compares it with a third bundle, or other scenarios, says nothing of the current one.
        if experiment.status.started is None or control.bundle not in (None, current):
            continue
        arms = [arm.name for arm in others if arm.bundle == bundle_id and arm.scenario == control.scenario]
        if arms:
            yield from findings_of(read_report(store, config, experiment.definition.name, lake), arms)


def findings_of(report: ExperimentReport, arms: Sequence[str]) -> Iterator[Finding]:
    """What a report says of some arms beside its control."""
    if (drafted := report.interleaving) is not None:
        arm, preferred = drafted.arms[1], drafted.preference
        told = f"preference for arm {arm} {_told(preferred)}, {drafted.users} users"
        figures: dict[str, Any] = {"arm": arm, "preference": _plain(preferred), "users": drafted.users}
        yield _finding(report, told, figures, drafted.verdict, None)
        return
    users = {arm.name: arm.users for arm in report.arms}
    stopped = {arm.name: arm.stopped for arm in report.arms}
    for found in report.comparisons:
        if found.arm not in arms or found.metric != METRIC:
            continue
        control = report.arms[0]
        told = (
            f"{_rate(report, found.arm)} clicks an impression against {_rate(report, control.name)} of arm "
            f"{control.name}, a difference of {_told(found.difference)}, "
            f"{users[found.arm] + users[control.name]} users"
        )
        figures = {
            "arm": found.arm,
            "difference": _plain(found.difference),
            "p_value": round(found.p_value, 6),
            "users": [users[control.name], users[found.arm]],
        }
        yield _finding(report, told, figures, found.verdict, stopped[found.arm])


def _finding(
    report: ExperimentReport, told: str, figures: dict[str, Any], verdict: Verdict, stopped: str | None
) -> Finding:
    source = f"experiment {report.experiment}"
    sizes = report.sample_ratio
    objection = None
    if stopped is not None:
        objection = f"but the arm was stopped: {stopped}"
    elif sizes is not None and sizes.mismatch:
        got = ", ".join(f"{name}: {users}" for name, users in zip(sizes.arms, sizes.users, strict=True))
        objection = f"but the arms did not get the users that were planned ({got})"
    elif verdict == "worse":
        objection = "which is less"
    favours = objection is None and verdict == "better"
    return Finding(source, f"{source}: {told}", {**figures, "state": report.state}, objection, favours)


def _rate(report: ExperimentReport, name: str) -> str:
    (arm,) = (arm for arm in report.arms if arm.name == name)
    rate = arm.metrics[METRIC].value
    return f"{rate:.4f}" if math.isfinite(rate) else "no"


def _told(interval: Interval) -> str:
    if not math.isfinite(interval.low):
        return "nobody can tell yet"
    return f"{interval.value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f} at every look)"


def _plain(interval: Interval) -> list[float] | None:
    return [round(part, 6) for part in interval] if math.isfinite(interval.low) else None
