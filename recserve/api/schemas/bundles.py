"""Bodies and answers of bundles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from recserve.api.backends.desks.bundles import BundleList, BundleState
from recserve.api.schemas.recommend_request import Body
from recserve.api.schemas.responses import Answer, filled
from recserve.auth.masking import mask_settings
from recserve.bundles.manifest import Manifest
from recserve.store import Promotion
from recserve.training.promotion.gate import Finding
from recserve.training.retraining.status import RunState

BUNDLE_ID = "20260131-4f1a09c2d7ab"
OTHER_ID = "20260201-9c2d7ab4f1a0"


class PromoteBody(Body):
    """Why a bundle is to be served."""

    reason: str | None = Field(
        None,
        max_length=1_000,
        description="Why; kept in the history of promotions.",
        examples=["won its trial"],
    )
    force: bool = Field(
        False, description="Promote whatever the evidence says; needs a `reason`.", examples=[False]
    )

    @model_validator(mode="after")
    def _forced_with_reason(self) -> PromoteBody:
        if self.force and not (self.reason or "").strip():
            raise ValueError("`force` needs a `reason`: the history of promotions keeps why")
        return self


class RollbackBody(Body):
    """Why the bundle of before is to be served again."""

    reason: str | None = Field(
        None, max_length=1_000, description="Why; kept in the history of promotions.", examples=["CTR fell"]
    )


class FigureAnswer(Answer):
    """A figure with its 95% interval; null where it does not exist."""

    mean: float | None = Field(examples=[0.0912])
    ci95: list[float] | None = Field(description="Low and high, over users.", examples=[[0.085, 0.0971]])


class PromotionAnswer(Answer):
    """One change of the current bundle."""

    bundle_id: str = Field(description="The bundle that became current.", examples=[BUNDLE_ID])
    at: int = Field(description="Milliseconds since the epoch, UTC.", examples=[1738324800000])
    action: str | None = Field(
        description="`train`, `promote`, `retrain` or `rollback`.", examples=["promote"]
    )
    actor: str | None = Field(description="Who did it.", examples=["key:4f1a09c2"])
    reason: str | None = Field(examples=["won its trial"])
    evidence: dict[str, Any] = Field(description="Figures it was decided by, by their source.", examples=[{}])


class BundleAnswer(Answer):
    """One trained bundle."""

    bundle_id: str = Field(examples=[BUNDLE_ID])
    created: int = Field(description="Milliseconds since the epoch, UTC.", examples=[1738324800000])
    current: bool = Field(description="It is the one to serve.", examples=[True])
    present: bool = Field(description="Its files are there.", examples=[True])
    report: bool = Field(description="There is a page of its offline report.", examples=[True])
    events: int | None = Field(description="Events it was trained on.", examples=[836478])
    metrics: dict[str, FigureAnswer] = Field(
        description="What training measured on a window of events that it had not learnt from."
    )
    promotions: list[PromotionAnswer] = Field(description="When it became current, newest first.")
    postponed: list[str] = Field(
        description="Components that a quick training left to the next one.", examples=[["ranker.bert_lstm"]]
    )


class RetrainingAnswer(Answer):
    """The last run of `recserve retrain` on this machine."""

    state: RunState = Field(examples=["running"])
    started: int = Field(description="Milliseconds since the epoch, UTC.", examples=[1738324800000])
    updated: int = Field(description="When it last said something.", examples=[1738324860000])
    step: str = Field(description="What it is, or was, busy with.", examples=["Fitting bert_lstm: epochs"])
    done: int = Field(description="How much of the step is done.", examples=[4])
    total: int = Field(description="How much there is to do of it.", examples=[40])
    detail: str = Field(description="How it ended.", examples=[""])
    bundle_id: str | None = Field(description="The bundle that it trained.", examples=[None])
    before: str | None = Field(description="The bundle that was current until then.", examples=[None])


class BundlesAnswer(Answer):
    """The newest bundles and promotions, newest first."""

    current: str | None = Field(description="The bundle to serve.", examples=[BUNDLE_ID])
    serving: str | None = Field(
        description="The bundle that the process which answered serves; it follows `current` within seconds.",
        examples=[BUNDLE_ID],
    )
    known: int = Field(description="How many bundles there are.", examples=[12])
    bundles: list[BundleAnswer]
    promotions: list[PromotionAnswer]
    retraining: RetrainingAnswer | None = Field(description="Null where nothing was retrained here.")


class ComponentFactsAnswer(Answer):
    """A trained component of a bundle."""

    plugin: str = Field(examples=["mf"])
    distribution: str = Field(examples=["recserve-mf"])
    version: str = Field(examples=["0.1.0"])
    params: dict[str, Any] = Field(description="Its parameters, without secrets.")
    facts: dict[str, Any] = Field(description="What its fit reported.")


class BundleDetailsAnswer(BundleAnswer):
    """A bundle with what made it; the fields below are null where its files are gone."""

    recserve_version: str | None = Field(examples=["0.1.0"])
    seed: int | None = Field(examples=[0])
    config: dict[str, Any] | None = Field(description="What it was trained with, without secrets.")
    data: dict[str, Any] | None = Field(
        description="Fingerprint, users, items and events of the training data, and the time of the newest "
        "event, milliseconds since the epoch.",
        examples=[
            {"fingerprint": "a1b2", "users": 610, "items": 9066, "events": 100836, "until": 1537799250000}
        ],
    )
    components: dict[str, ComponentFactsAnswer] | None
    orders: dict[str, Any] | None = Field(description="Order of candidates that training chose, by scenario.")
    left_out: dict[str, str] | None = Field(
        description="Configured components that were not trained, and why.", examples=[{}]
    )
    bytes: int | None = Field(description="Size of its files.", examples=[12345678])


class DifferenceBounds(Answer):
    """A difference with its 95% interval, paired over users."""

    value: float = Field(examples=[0.0041])
    low: float = Field(examples=[0.0007])
    high: float = Field(examples=[0.0075])


class MeasuredAnswer(Answer):
    """Difference of two bundles on the same test users."""

    metric: str = Field(examples=["ndcg@10"])
    first: float = Field(description="Of `a`.", examples=[0.0871])
    second: float = Field(description="Of `b`.", examples=[0.0912])
    difference: DifferenceBounds = Field(description="`b` minus `a`.")
    users: int = Field(examples=[610])
    how: str = Field(examples=["both measured in training on the same data"])


class MetricPairAnswer(Answer):
    """A metric of two bundles, each as its own training measured it."""

    metric: str = Field(examples=["ndcg@10"])
    a: FigureAnswer
    b: FigureAnswer


class DifferingAnswer(Answer):
    """A value that differs between what made two bundles; null where there is none."""

    key: str = Field(examples=["components.retriever.mf.params.factors"])
    a: Any = Field(examples=[64])
    b: Any = Field(examples=[128])


class ComparisonOfBundlesAnswer(Answer):
    """Two bundles side by side."""

    a: str = Field(examples=[BUNDLE_ID])
    b: str = Field(examples=[OTHER_ID])
    same_data: bool = Field(description="They were trained on the same data.", examples=[True])
    measured: MeasuredAnswer | None = Field(
        description="Null where they were not measured on the same data; the figures of `metrics` are of "
        "different users and tell little."
    )
    metrics: list[MetricPairAnswer]
    differs: list[DifferingAnswer] = Field(description="What made them: parameters, versions, data.")


class FindingAnswer(Answer):
    """Evidence for or against a bundle."""

    source: str = Field(description="`offline`, `off-policy` or `experiment NAME`.", examples=["offline"])
    summary: str = Field(examples=["nDCG@10 0.0912 against 0.0871 of the current bundle"])
    objection: str | None = Field(examples=[None])
    favours: bool = Field(description="It shows that the bundle is better.", examples=[False])


class PromotedAnswer(Answer):
    """The bundle is current; servers follow within seconds."""

    bundle_id: str = Field(examples=[BUNDLE_ID])
    before: str | None = Field(description="The bundle that was current until now.", examples=[BUNDLE_ID])
    changed: bool = Field(description="False where it was current already.", examples=[True])
    findings: list[FindingAnswer] = Field(description="What it was decided by; nothing where forced.")


def bundles_answer(found: BundleList, serving: str | None) -> dict[str, Any]:
    """See :class:`BundlesAnswer`."""
    return {
        "current": found.current,
        "serving": serving,
        "known": found.known,
        "bundles": [_bundle(state, found.current) for state in found.bundles],
        "promotions": [_promotion(promotion) for promotion in found.promotions],
        "retraining": None if found.retraining is None else filled(RetrainingAnswer, found.retraining),
    }


def bundle_answer(state: BundleState, manifest: Manifest | None, current: str | None) -> dict[str, Any]:
    """See :class:`BundleDetailsAnswer`."""
    answer = _bundle(state, current)
    if manifest is None:
        return answer | dict.fromkeys(set(BundleDetailsAnswer.model_fields) - set(BundleAnswer.model_fields))
    plain = manifest.model_dump(mode="json")
    return answer | {
        "events": manifest.data.events,
        "metrics": plain["metrics"],
        "recserve_version": manifest.recserve_version,
        "seed": manifest.seed,
        "config": mask_settings(plain["config"]),
        "data": plain["data"],
        "components": {
            key: {name: mask_settings(entry[name]) for name in ComponentFactsAnswer.model_fields}
            for key, entry in plain["components"].items()
        },
        "orders": plain["orders"],
        "left_out": plain["left_out"],
        "bytes": sum(entry.size for entry in manifest.files.values()),
    }


def comparison_answer(
    ids: tuple[str, str], manifests: tuple[Manifest, Manifest], measured: dict[str, Any] | None
) -> dict[str, Any]:
    """See :class:`ComparisonOfBundlesAnswer`."""
    first, second = manifests
    nothing = {"mean": None, "ci95": None}
    metrics = [
        {"metric": name, "a": first.metrics.get(name, nothing), "b": second.metrics.get(name, nothing)}
        for name in dict.fromkeys([*first.metrics, *second.metrics])
    ]
    made = [_made_of(manifest) for manifest in manifests]
    return {
        "a": ids[0],
        "b": ids[1],
        "same_data": first.data.fingerprint == second.data.fingerprint,
        "measured": measured,
        "metrics": metrics,
        "differs": [
            {"key": key, "a": made[0].get(key), "b": made[1].get(key)}
            for key in dict.fromkeys([*made[0], *made[1]])
            if made[0].get(key) != made[1].get(key)
        ],
    }


def promoted_answer(bundle_id: str, before: str | None, findings: Sequence[Finding]) -> dict[str, Any]:
    """See :class:`PromotedAnswer`."""
    return {
        "bundle_id": bundle_id,
        "before": before,
        "changed": bundle_id != before,
        "findings": [
            {name: getattr(finding, name) for name in FindingAnswer.model_fields} for finding in findings
        ],
    }


def _bundle(state: BundleState, current: str | None) -> dict[str, Any]:
    record = state.record
    return {
        "bundle_id": record.bundle_id,
        "created": record.created_ms,
        "current": record.bundle_id == current,
        "present": state.present,
        "report": state.report,
        "events": record.summary.get("events"),
        "metrics": record.summary.get("metrics", {}),
        "promotions": [_promotion(promotion) for promotion in state.promotions],
        "postponed": record.summary.get("postponed", []),
    }


def _promotion(promotion: Promotion) -> dict[str, Any]:
    grounds = promotion.grounds
    return {
        "bundle_id": promotion.bundle_id,
        "at": promotion.promoted_ms,
        "action": grounds.action,
        "actor": grounds.actor,
        "reason": grounds.reason,
        "evidence": dict(grounds.evidence),
    }


def _made_of(manifest: Manifest) -> dict[str, Any]:
    """What made a bundle, as single values by key; without secrets."""
    plain = manifest.model_dump(mode="json", include={"recserve_version", "seed", "data", "config", "orders"})
    for order in plain["orders"].values():
        del order["facts"]  # figures that it rests on, not what it is
    components = {
        key: {"version": entry.version, "params": entry.params} for key, entry in manifest.components.items()
    }
    return dict(
        _leaves(mask_settings({**plain, "components": components, "left_out": manifest.left_out}), "")
    )


def _leaves(plain: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(plain, Mapping) and plain:
        for name, value in plain.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(plain, list) and plain and all(isinstance(one, dict) for one in plain):
        for place, value in enumerate(plain):
            yield from _leaves(value, f"{key}[{place}]")
    else:
        yield key, plain
