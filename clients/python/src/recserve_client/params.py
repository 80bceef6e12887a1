"""What calls send, as typed dictionaries.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

ErrorCode = Literal[
    "body_too_large",
    "bundle_error",
    "conflict",
    "environment",
    "event_id_conflict",
    "event_removed",
    "experiment_conflict",
    "forbidden",
    "http_error",
    "internal",
    "invalid_config",
    "invalid_data",
    "invalid_request",
    "invalid_signature",
    "malformed_json",
    "method_not_allowed",
    "no_earlier_bundle",
    "not_found",
    "not_measured",
    "not_ready",
    "outcome_unknown",
    "overloaded",
    "plugin_error",
    "rate_limited",
    "stage_failed",
    "store_unavailable",
    "timeout",
    "unauthorized",
    "unsupported_media_type",
    "user_deleted",
    "worse_bundle",
]
"""What went wrong, for programs. Codes are added, never changed."""


class SessionStepParam(TypedDict):
    """One thing that an anonymous visitor did just now.

    Attributes:
        item_id: Item id; need not be in the catalogue.
        event: A configured event type.
        timestamp: ISO 8601, epoch seconds or milliseconds; default: now.
        value: Rating, count or amount.
    """

    item_id: str
    event: NotRequired[str]
    timestamp: NotRequired[datetime | str | float | None]
    value: NotRequired[float | None]


class EventParam(TypedDict):
    """One thing that a user did: with an item, in words, or both.

    Attributes:
        user_id: Who; need not be known yet.
        item_id: With what; need not be in the catalogue. Optional where there is a `text`.
        event: A configured event type.
        timestamp: ISO 8601, epoch seconds or milliseconds; default: now. At most a day in the
            future.
        value: Rating, count or amount.
        text: What the user wrote: a search, a review, a comment; at most 10,000 characters, after
            runs of blanks and line breaks have become one blank each. It counts as an interest,
            never as another interaction with the item.
        context: What was the case, such as device and place: strings, numbers and booleans by key,
            at most 32 keys and 2,000 bytes. Rankers learn from it what they then read of a
            request's `context`. Without any, training takes that of the request whose
            recommendation is named.
        event_id: Idempotency key: sending the same event again stores nothing, so retries do no
            harm. An id that stands for an event with other content is refused.
        recommendation_id: The recommendation that led to it: joins what was shown and what came of
            it.
    """

    user_id: str
    item_id: NotRequired[str | None]
    event: str
    timestamp: NotRequired[datetime | str | float | None]
    value: NotRequired[float | None]
    text: NotRequired[str | None]
    context: NotRequired[Mapping[str, str | float | bool]]
    event_id: NotRequired[str | None]
    recommendation_id: NotRequired[str | None]


class ItemParam(TypedDict):
    """One item.

    Attributes:
        item_id: Its id.
        attributes: Anything that is known of it; text attributes make it retrievable by content.
        hidden: Kept, but never returned.
        expires_at: From this moment on never returned; ISO 8601, epoch seconds or milliseconds,
            past or future. Default: never.
    """

    item_id: str
    attributes: NotRequired[Mapping[str, Any]]
    hidden: NotRequired[bool]
    expires_at: NotRequired[datetime | str | float | None]


class ItemPatchParam(TypedDict):
    """What changes of one item; what is left out stays.

    Attributes:
        item_id: Its id.
        attributes: Attributes to set; null removes one.
        hidden: Hide it, or show it again.
        expires_at: From this moment on never returned; ISO 8601, epoch seconds or milliseconds,
            past or future. null: never.
    """

    item_id: str
    attributes: NotRequired[Mapping[str, Any]]
    hidden: NotRequired[bool | None]
    expires_at: NotRequired[datetime | str | float | None]


class UserParam(TypedDict):
    """What is known of one person beside events.

    Attributes:
        user_id: Who.
        attributes: The profile; stated interests, as free text, count while the user has done
            little.
    """

    user_id: str
    attributes: NotRequired[Mapping[str, Any]]


class UserPatchParam(TypedDict):
    """What changes of one profile; what is left out stays.

    Attributes:
        user_id: Who.
        attributes: Attributes to set; null removes one.
    """

    user_id: str
    attributes: NotRequired[Mapping[str, Any]]


class RetrieverChangeParam(TypedDict):
    """What an arm changes of a retriever.

    Attributes:
        weight: Weight in fusion; 0 leaves the retriever out.
        candidates: Items asked of it.
    """

    weight: NotRequired[float | None]
    candidates: NotRequired[int | None]


class ExploreConfigParam(TypedDict):
    """How much of a page is spent on finding out whether new items are any good.

    Attributes:
        share: Share of a page's places.
        clicks: Prior of an item's click rate: imagined clicks before anything is known.
        views: Prior of an item's click rate: imagined views.
        first_place: The best places of a page, up to this one, are spared.
    """

    share: NotRequired[float]
    clicks: NotRequired[float]
    views: NotRequired[float]
    first_place: NotRequired[int]


class ParametersParam(TypedDict):
    """Parameters of a scenario that an arm changes; what is not named stays as configured.

    Attributes:
        retrievers: Name of a retriever of the scenario -> what changes of it.
        budget: Candidates kept for the ranker.
        ranker: false does without the ranker: items stay in the order of retrieval.
        rules: Name of a reranker -> parameters, or false; `rules` of a request come before.
        seen: As in the scenario.
        seen_half_life_days: As in the scenario.
        explore: As in the scenario; false gives new items no places.
    """

    retrievers: NotRequired[Mapping[str, RetrieverChangeParam]]
    budget: NotRequired[int | None]
    ranker: NotRequired[Literal[False] | None]
    rules: NotRequired[Mapping[str, Any]]
    seen: NotRequired[Literal["exclude", "decay", "allow"] | None]
    seen_half_life_days: NotRequired[float | None]
    explore: NotRequired[ExploreConfigParam | Literal[False] | None]


class ArmParam(TypedDict):
    """One of the alternatives that an experiment compares.

    With neither a scenario nor parameters nor a bundle it is the scenario as it is configured.

    Attributes:
        name: In answers, exposures and reports.
        share: Share of those in the experiment; without any the arms have equal ones. Of a shadow
            arm: for whom of them it is computed as well, default all.
        scenario: Another scenario answers.
        parameters: The scenario answers with other parameters.
        bundle: The scenario answers with another bundle's models.
        shadow: Computed after the answer and logged, shown to nobody.
    """

    name: str
    share: NotRequired[float | None]
    scenario: NotRequired[str | None]
    parameters: NotRequired[ParametersParam | None]
    bundle: NotRequired[str | None]
    shadow: NotRequired[bool]


class GuardrailsParam(TypedDict):
    """Bounds beyond which an arm is stopped by itself.

    Each is by how much the share of an arm's bad answers may exceed that of the first arm's, among
    the last ``answers`` of each; null does without it.

    Attributes:
        answers: Answers of an arm that are looked at.
        degraded: Share of answers that lost something.
        slow: Share of answers that took over `slow_ms`.
        slow_ms: Milliseconds, from the request to the answer.
        dislikes: Negative events that name an answer, for each answer.
    """

    answers: NotRequired[int]
    degraded: NotRequired[float | None]
    slow: NotRequired[float | None]
    slow_ms: NotRequired[float]
    dislikes: NotRequired[float | None]
