"""Answers about recommendations.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one retriever said of an item.

    Attributes:
        retriever: `retriever`.
        place: Among the candidates, by this retriever alone; 1 is best.
        score: The retriever's own; comparable only within one answer and one retriever.
    """

    retriever: str
    place: int
    score: float | None


@dataclass(frozen=True, slots=True)
class Details:
    """What stands behind an item.

    Attributes:
        proposals: Of each retriever, strongest first.
        evidence: The item that led to it, if one did.
        evidence_title: That item's title.
        evidence_event: What the user did with it, or what `evidence_text` was.
        evidence_text: What the user wrote that led to it.
    """

    proposals: list[Proposal]
    evidence: str | None
    evidence_title: str | None
    evidence_event: str | None
    evidence_text: str | None


@dataclass(frozen=True, slots=True)
class RecommendedItem:
    """One recommended item.

    Attributes:
        item_id: `item_id`.
        score: The last stage's score; comparable only within one answer.
        rank: 1 is best.
        sources: Retrievers that proposed it, strongest first.
        explanation: Why, in words; null unless asked for.
        attributes: What is known of the item, as it was written.
        details: What stands behind it; there only if `details` were asked for.
    """

    item_id: str
    score: float | None
    rank: int
    sources: list[str]
    explanation: str | None
    attributes: dict[str, Any]
    details: Details | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a recommendation.

    Attributes:
        recommendation_id: `recommendation_id`.
        scenario: The pipeline that answered.
        items: `items`.
        bundle: The trained bundle that every stage used.
        degraded: What was lost on the way, such as `ranking` or `retriever:mf`; normally empty.
        timings: Milliseconds each stage took, and `total`.
        experiment: The experiment that the answer belongs to, if any.
        arm: The experiment's arm that answered; `holdout` for who is kept out of all experiments,
            null for a page with items of two arms.
        cursor: Send it with the same request for the next page, which repeats no item; null: no
            more.
    """

    recommendation_id: str
    scenario: str
    items: list[RecommendedItem]
    bundle: str
    degraded: list[str]
    timings: dict[str, float]
    experiment: str | None
    arm: str | None
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Rank:
    """The caller's items in order, best first.

    Attributes:
        recommendation_id: `recommendation_id`.
        scenario: The pipeline that answered.
        items: `items`.
        bundle: The trained bundle that every stage used.
        degraded: What was lost on the way, such as `ranking` or `retriever:mf`; normally empty.
        timings: Milliseconds each stage took, and `total`.
        experiment: The experiment that the answer belongs to, if any.
        arm: The experiment's arm that answered; `holdout` for who is kept out of all experiments,
            null for a page with items of two arms.
        left_out: Ids that were not ranked: unknown, hidden, expired or filtered out.
    """

    recommendation_id: str
    scenario: str
    items: list[RecommendedItem]
    bundle: str
    degraded: list[str]
    timings: dict[str, float]
    experiment: str | None
    arm: str | None
    left_out: list[str]
