"""Answers as the OpenAPI document describes them, and the fast way to write them.

The models are documentation and what tests check answers against; a request never passes through them,
because pydantic would cost more than the rest of the edge.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from recserve.api.backends.protocol import HistoryEntry
from recserve.data.entities import Item, User
from recserve.data.events.context import context_of
from recserve.serving.requests.request import Recommendation
from recserve.store import DeletionReceipt


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Answer):
    """What is wrong."""

    code: str = Field(description="Stable, for programs.", examples=["invalid_request"])
    message: str = Field(
        description="One line, for people.", examples=["n must be less than or equal to 1000"]
    )
    field: str | None = Field(description="The field at fault, where there is one.", examples=["n"])


class ErrorAnswer(Answer):
    """Every answer that is not a success looks like this."""

    error: ErrorDetail


class ProposalAnswer(Answer):
    """What one retriever said of an item."""

    retriever: str = Field(examples=["mf"])
    place: int = Field(description="Among the candidates, by this retriever alone; 1 is best.", examples=[3])
    score: float | None = Field(
        description="The retriever's own; comparable only within one answer and one retriever.",
        examples=[0.82],
    )


class DetailsAnswer(Answer):
    """What stands behind an item."""

    proposals: list[ProposalAnswer] = Field(description="Of each retriever, strongest first.")
    evidence: str | None = Field(description="The item that led to it, if one did.", examples=["260"])
    evidence_title: str | None = Field(description="That item's title.", examples=["Star Wars"])
    evidence_event: str | None = Field(
        description="What the user did with it, or what `evidence_text` was.", examples=["like"]
    )
    evidence_text: str | None = Field(
        description="What the user wrote that led to it.", examples=["space opera"]
    )


class RecommendedItemAnswer(Answer):
    """One recommended item."""

    item_id: str = Field(examples=["1196"])
    score: float | None = Field(
        description="The last stage's score; comparable only within one answer.", examples=[3.21]
    )
    rank: int = Field(description="1 is best.", examples=[1])
    sources: list[str] = Field(
        description="Retrievers that proposed it, strongest first.", examples=[["mf", "content"]]
    )
    explanation: str | None = Field(
        description="Why, in words; null unless asked for.", examples=["Because you liked Star Wars"]
    )
    attributes: dict[str, Any] = Field(
        description="What is known of the item, as it was written.",
        examples=[{"title": "The Empire Strikes Back", "year": 1980}],
    )
    details: DetailsAnswer | None = Field(
        None, description="What stands behind it; there only if `details` were asked for."
    )


class RecommendationAnswer(Answer):
    """Recommendations, best first."""

    recommendation_id: str = Field(examples=["0d8e1c6be7a24c4f8a6c2a4b7c0f9d11"])
    scenario: str = Field(description="The pipeline that answered.", examples=["home"])
    items: list[RecommendedItemAnswer]
    bundle: str = Field(description="The trained bundle that every stage used.", examples=["4f1a09c2d7"])
    degraded: list[str] = Field(
        description="What was lost on the way, such as `ranking` or `retriever:mf`; normally empty.",
        examples=[[]],
    )
    timings: dict[str, float] = Field(
        description="Milliseconds each stage took, and `total`.",
        examples=[{"history": 0.8, "retrieval": 3.1, "ranking": 4.0, "total": 8.9}],
    )
    experiment: str | None = Field(
        description="The experiment that the answer belongs to, if any.", examples=["fewer-neighbours"]
    )
    arm: str | None = Field(
        description="The experiment's arm that answered; `holdout` for who is kept out of all experiments, "
        "null for a page with items of two arms.",
        examples=["control"],
    )


class PageAnswer(RecommendationAnswer):
    """One page of a recommendation."""

    cursor: str | None = Field(
        description="Send it with the same request for the next page, which repeats no item; null: no more.",
        examples=["AVh6kQJbInIiLCI5ZiIsWyIxMTk2Il1d"],
    )


class RankAnswer(RecommendationAnswer):
    """The caller's items in order, best first."""

    left_out: list[str] = Field(
        description="Ids that were not ranked: unknown, hidden, expired or filtered out.", examples=[["7"]]
    )


class EventsAnswer(Answer):
    """The events are durable and count in the next recommendation."""

    accepted: int = Field(description="Events in the request.", examples=[1])
    stored: int = Field(description="Events stored; fewer where an `event_id` was known.", examples=[1])
    duplicates: int = Field(description="Events whose `event_id` was known already.", examples=[0])


class HookAnswer(Answer):
    """What became of the entries of a body; the events are durable and count in the next recommendation."""

    accepted: int = Field(
        description="Events of the body, those that were stored already included.", examples=[2]
    )
    stored: int = Field(description="Events stored; fewer where the sender repeats itself.", examples=[2])
    duplicates: int = Field(description="Events whose id was known already.", examples=[0])
    refused: int = Field(
        description="Events that contradict the store and were left out: an id that stands for another event "
        "or for one that was taken back, a user who was deleted afterwards.",
        examples=[0],
    )
    skipped: int = Field(
        description="Entries that the hook's settings do not want: of other names, or incomplete.",
        examples=[1],
    )


class ItemAnswer(Answer):
    """One item of the catalogue."""

    item_id: str = Field(examples=["260"])
    title: str = Field(description="Attribute `title` or `name`, else the id.", examples=["Star Wars"])
    attributes: dict[str, Any] = Field(examples=[{"title": "Star Wars", "year": 1977}])
    hidden: bool = Field(description="Kept, but never returned.", examples=[False])
    expires_at: int | None = Field(
        description="From this moment on never returned; milliseconds since the epoch, UTC.",
        examples=[1896091200000],
    )


class AudienceUserAnswer(Answer):
    """One user of an audience."""

    user_id: str = Field(examples=["42"])
    score: float | None = Field(
        description="How much the user wants the item; comparable only within one answer.", examples=[2.4]
    )
    rank: int = Field(description="1 is best.", examples=[1])


class AudienceAnswer(Answer):
    """The users who want an item most, best first."""

    item_id: str = Field(examples=["t-1"])
    scenario: str = Field(description="Whose ranker compared the users.", examples=["home"])
    users: list[AudienceUserAnswer]
    considered: int = Field(
        description="Users who were compared: those of the newest events who have not had the item.",
        examples=[1934],
    )
    bundle: str = Field(description="The trained bundle that compared them.", examples=["4f1a09c2d7"])


_NEXT = Field(
    description="Asks for the next page; null on the last one.", examples=["AR2c0fRbIml0ZW1zIiwiMSJd"]
)


class ItemsStoredAnswer(Answer):
    """The items are durable. Encoded ones can be found by content now, the others within seconds."""

    accepted: int = Field(description="Distinct items in the request.", examples=[2])
    encoded: int = Field(description="How many of them have a text vector already.", examples=[2])


class ChangedAnswer(Answer):
    """The changes are durable."""

    changed: int = Field(description="Distinct entries that were there.", examples=[1])
    unknown: list[str] = Field(description="Ids that are not there.", examples=[["7"]])


class DeletedAnswer(Answer):
    """The items are gone: no answer returns them any more."""

    deleted: int = Field(description="Items that were there.", examples=[1])


class EventsDeletedAnswer(Answer):
    """The events count no more, from the next recommendation on."""

    deleted: int = Field(description="Events that were there.", examples=[1])


class UserAnswer(Answer):
    """What is known of a person beside events."""

    user_id: str = Field(examples=["42"])
    attributes: dict[str, Any] = Field(examples=[{"interests": "space opera, robots"}])


class UsersStoredAnswer(Answer):
    """The profiles are durable and count in the next recommendation."""

    accepted: int = Field(description="Distinct users in the request.", examples=[1])


class MergedAnswer(Answer):
    """The session's behaviour is the user's now."""

    moved: int = Field(description="Events that changed hands.", examples=[5])


class DeletedRowsAnswer(Answer):
    """What was deleted."""

    events: int = Field(examples=[120])
    exposures: int = Field(examples=[14])
    profiles: int = Field(examples=[1])
    impressions: int = Field(description="Items whose impressions were counted.", examples=[85])


class ReceiptAnswer(Answer):
    """Proof of a deletion. It does not name the person; keep it."""

    receipt_id: str = Field(description="Random.", examples=["5d2f0c3e9a7b4c1d8e6f0a1b2c3d4e5f"])
    deleted_at: int = Field(description="Milliseconds since the epoch, UTC.", examples=[1738324800000])
    deleted: DeletedRowsAnswer
    verify: str = Field(
        description="How to check it, at any later time.",
        examples=["Run: recserve deletions verify 5d2f0c3e9a7b4c1d8e6f0a1b2c3d4e5f"],
    )


class HistoryEvent(Answer):
    """One event of a user."""

    item_id: str | None = Field(description="null for what was done in words alone.", examples=["260"])
    title: str | None = Field(
        description="Of the item; its id where that is not known, null without an item.",
        examples=["Star Wars"],
    )
    event: str = Field(examples=["rating"])
    timestamp: int = Field(description="Milliseconds since the epoch, UTC.", examples=[1738324800000])
    value: float | None = Field(examples=[4.5])
    text: str | None = Field(description="What the user wrote, if anything.", examples=["space opera"])
    context: dict[str, str | float | bool] | None = Field(
        description="What was the case, if anything was said.", examples=[{"device": "phone"}]
    )
    event_id: str = Field(examples=["3f9c1a"])


class HistoryAnswer(Answer):
    """A part of a user's events, newest first; empty for a user who is not known."""

    user_id: str = Field(examples=["42"])
    events: list[HistoryEvent]
    cursor: str | None = _NEXT


def json_response(content: Any, status: int = 200) -> Response:
    """An answer written in one go."""
    return Response(dumps(content), status, media_type="application/json")


def dumps(content: Any) -> bytes:
    """JSON of plain values and dataclasses; numbers that are not finite become null."""
    try:
        return orjson.dumps(content)
    except TypeError:
        # Integers beyond 64 bits and half surrogates, which attributes of an import may hold.
        return json.dumps(_plain(content), allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def filled(answer: type[Answer], source: object, **others: Any) -> dict[str, Any]:
    """The fields of an answer: attributes of ``source`` with the same name, but for ``others``."""
    return {name: others[name] if name in others else getattr(source, name) for name in answer.model_fields}


def page_answer(answer: Recommendation, cursor: str | None) -> dict[str, Any]:
    """See :class:`PageAnswer`; spelt out, because nearly all answers are one."""
    return {
        "recommendation_id": answer.recommendation_id,
        "scenario": answer.scenario,
        "items": answer.items,
        "bundle": answer.bundle,
        "degraded": answer.degraded,
        "timings": answer.timings,
        "experiment": answer.experiment,
        "arm": answer.arm,
        "cursor": cursor,
    }


def rank_answer(answer: Recommendation) -> dict[str, Any]:
    """See :class:`RankAnswer`."""
    return filled(RankAnswer, answer)


def item_answer(item: Item) -> dict[str, Any]:
    """See :class:`ItemAnswer`."""
    return filled(ItemAnswer, item)


def changed_answer(ids: set[str], unknown: Sequence[str]) -> dict[str, Any]:
    """See :class:`ChangedAnswer`."""
    missing = list(dict.fromkeys(unknown))
    return {"changed": len(ids) - len(missing), "unknown": missing}


def user_answer(user: User) -> dict[str, Any]:
    """See :class:`UserAnswer`."""
    return filled(UserAnswer, user)


def receipt_answer(receipt: DeletionReceipt) -> dict[str, Any]:
    """See :class:`ReceiptAnswer`."""
    verify = f"Run: recserve deletions verify {receipt.receipt_id}"
    return filled(ReceiptAnswer, receipt, deleted=filled(DeletedRowsAnswer, receipt), verify=verify)


def history_answer(user_id: str, newest_first: Sequence[HistoryEntry], cursor: str | None) -> dict[str, Any]:
    """See :class:`HistoryAnswer`."""
    events = [
        filled(
            HistoryEvent,
            entry.event,
            item_id=entry.event.item_id or None,
            title=entry.title,
            context=context_of(entry.event.context) or None,
        )
        for entry in newest_first
    ]
    return {"user_id": user_id, "events": events, "cursor": cursor}
