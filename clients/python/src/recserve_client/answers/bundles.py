"""Answers about bundles.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95% interval; null where it does not exist.

    Attributes:
        mean: `mean`.
        ci95: Low and high, over users.
    """

    mean: float | None
    ci95: list[float] | None


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of the current bundle.

    Attributes:
        bundle_id: The bundle that became current.
        at: Milliseconds since the epoch, UTC.
        action: `train`, `promote`, `retrain` or `rollback`.
        actor: Who did it.
        reason: `reason`.
        evidence: Figures it was decided by, by their source.
    """

    bundle_id: str
    at: int
    action: str | None
    actor: str | None
    reason: str | None
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bundle:
    """One trained bundle.

    Attributes:
        bundle_id: `bundle_id`.
        created: Milliseconds since the epoch, UTC.
        current: It is the one to serve.
        present: Its files are there.
        report: There is a page of its offline report.
        events: Events it was trained on.
        metrics: What training measured on a window of events that it had not learnt from.
        promotions: When it became current, newest first.
        postponed: Components that a quick training left to the next one.
    """

    bundle_id: str
    created: int
    current: bool
    present: bool
    report: bool
    events: int | None
    metrics: dict[str, Figure]
    promotions: list[Promotion]
    postponed: list[str]


@dataclass(frozen=True, slots=True)
class Retraining:
    """The last run of `recserve retrain` on this machine.

    Attributes:
        state: `state`.
        started: Milliseconds since the epoch, UTC.
        updated: When it last said something.
        step: What it is, or was, busy with.
        done: How much of the step is done.
        total: How much there is to do of it.
        detail: How it ended.
        bundle_id: The bundle that it trained.
        before: The bundle that was current until then.
    """

    state: Literal["running", "promoted", "refused", "nothing to do", "failed", "stopped"]
    started: int
    updated: int
    step: str
    done: int
    total: int
    detail: str
    bundle_id: str | None
    before: str | None


@dataclass(frozen=True, slots=True)
class Bundles:
    """The newest bundles and promotions, newest first.

    Attributes:
        current: The bundle to serve.
        serving: The bundle that the process which answered serves; it follows `current` within
            seconds.
        known: How many bundles there are.
        bundles: `bundles`.
        promotions: `promotions`.
        retraining: Null where nothing was retrained here.
    """

    current: str | None
    serving: str | None
    known: int
    bundles: list[Bundle]
    promotions: list[Promotion]
    retraining: Retraining | None


@dataclass(frozen=True, slots=True)
class DifferenceBounds:
    """A difference with its 95% interval, paired over users.

    Attributes:
        value: `value`.
        low: `low`.
        high: `high`.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Difference of two bundles on the same test users.

    Attributes:
        metric: `metric`.
        first: Of `a`.
        second: Of `b`.
        difference: `b` minus `a`.
        users: `users`.
        how: `how`.
    """

    metric: str
    first: float
    second: float
    difference: DifferenceBounds
    users: int
    how: str


@dataclass(frozen=True, slots=True)
class MetricPair:
    """A metric of two bundles, each as its own training measured it.

    Attributes:
        metric: `metric`.
        a: `a`.
        b: `b`.
    """

    metric: str
    a: Figure
    b: Figure


@dataclass(frozen=True, slots=True)
class Differing:
    """A value that differs between what made two bundles; null where there is none.

    Attributes:
        key: `key`.
        a: `a`.
        b: `b`.
    """

    key: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class ComparisonOfBundles:
    """Two bundles side by side.

    Attributes:
        a: `a`.
        b: `b`.
        same_data: They were trained on the same data.
        measured: Null where they were not measured on the same data; the figures of `metrics` are
            of different users and tell little.
        metrics: `metrics`.
        differs: What made them: parameters, versions, data.
    """

    a: str
    b: str
    same_data: bool
    measured: Measured | None
    metrics: list[MetricPair]
    differs: list[Differing]


@dataclass(frozen=True, slots=True)
class Finding:
    """Evidence for or against a bundle.

    Attributes:
        source: `offline`, `off-policy` or `experiment NAME`.
        summary: `summary`.
        objection: `objection`.
        favours: It shows that the bundle is better.
    """

    source: str
    summary: str
    objection: str | None
    favours: bool


@dataclass(frozen=True, slots=True)
class Promoted:
    """The bundle is current; servers follow within seconds.

    Attributes:
        bundle_id: `bundle_id`.
        before: The bundle that was current until now.
        changed: False where it was current already.
        findings: What it was decided by; nothing where forced.
    """

    bundle_id: str
    before: str | None
    changed: bool
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class ComponentFacts:
    """A trained component of a bundle.

    Attributes:
        plugin: `plugin`.
        distribution: `distribution`.
        version: `version`.
        params: Its parameters, without secrets.
        facts: What its fit reported.
    """

    plugin: str
    distribution: str
    version: str
    params: dict[str, Any]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BundleDetails:
    """A bundle with what made it; the fields below are null where its files are gone.

    Attributes:
        bundle_id: `bundle_id`.
        created: Milliseconds since the epoch, UTC.
        current: It is the one to serve.
        present: Its files are there.
        report: There is a page of its offline report.
        events: Events it was trained on.
        metrics: What training measured on a window of events that it had not learnt from.
        promotions: When it became current, newest first.
        postponed: Components that a quick training left to the next one.
        recserve_version: `recserve_version`.
        seed: `seed`.
        config: What it was trained with, without secrets.
        data: Fingerprint, users, items and events of the training data, and the time of the newest
            event, milliseconds since the epoch.
        components: `components`.
        orders: Order of candidates that training chose, by scenario.
        left_out: Configured components that were not trained, and why.
        bytes: Size of its files.
    """

    bundle_id: str
    created: int
    current: bool
    present: bool
    report: bool
    events: int | None
    metrics: dict[str, Figure]
    promotions: list[Promotion]
    postponed: list[str]
    recserve_version: str | None
    seed: int | None
    config: dict[str, Any] | None
    data: dict[str, Any] | None
    components: dict[str, ComponentFacts] | None
    orders: dict[str, Any] | None
    left_out: dict[str, str] | None
    bytes: int | None
