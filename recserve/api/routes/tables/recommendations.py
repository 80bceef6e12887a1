"""Routes that recommend, and those that take events."""

from __future__ import annotations

from recserve.api import openapi
from recserve.api.routes.hooks.handlers import HookRoutes
from recserve.api.routes.recommendations import Routes
from recserve.api.routes.tables.adder import Adder
from recserve.api.schemas import recommend_request as models
from recserve.api.schemas import responses as answers
from recserve.api.schemas import write_request as writes


def add_recommendations(add: Adder, routes: Routes) -> None:
    """Add what asks for items."""
    add(
        "POST",
        "/v1/recommend",
        routes.recommend,
        "Recommend items",
        "For a user, a session, an item, free text, or any combination; with none of them, what is popular. "
        "If a part of the server is down the answer is less personal and `degraded` says so. `cursor` of the "
        "answer, sent with the same body, asks for the next page; pages repeat no item.",
        openapi.responses(answers.PageAnswer, "Recommendations, best first.", 404, body=True),
        models.RecommendBody,
        A_user={"user_id": "42", "n": 10},
        An_anonymous_session={"session": ["260", {"item_id": "1196", "event": "like"}]},
        Free_text={"query": "space opera with robots", "n": 5},
        Everything={
            "user_id": "42",
            "query": "funny",
            "exclude": ["1"],
            "seen": "allow",
            "explain": False,
        },
    )
    add(
        "GET",
        "/v1/recommend/{user_id:anyid}",
        routes.recommend_to_user,
        "Recommend items to a user",
        "The same by URL alone, for browsers and links. `cursor` is null where it would be too long for one.",
        openapi.responses(answers.PageAnswer, "Recommendations, best first.", 404, 422),
    )
    add(
        "POST",
        "/v1/similar",
        routes.similar,
        "Similar items",
        "Served by the scenario called `similar` if there is one, else by the default one.",
        openapi.responses(answers.PageAnswer, "Similar items, best first.", 404, body=True),
        models.SimilarBody,
        Ten_similar_items={"item_id": "260", "n": 10},
    )
    add(
        "POST",
        "/v1/rank",
        routes.rank,
        "Rank items",
        "Puts the caller's own list in order for a user, a session or free text, with the scenario's ranker, "
        "filters and rerankers. What may not be returned is in `left_out`.",
        openapi.responses(answers.RankAnswer, "The items, best first.", 404, body=True),
        models.RankBody,
        Search_results={"user_id": "42", "items": ["1", "260", "1196", "2571"]},
        The_best_two={"session": ["260"], "items": ["1", "1196", "2571"], "n": 2, "explain": False},
    )


def add_events(add: Adder, routes: Routes) -> None:
    """Add what tells what users do."""
    add(
        "POST",
        "/v1/events",
        routes.events,
        "Record events",
        "One event, or up to 10,000 in `events`: all are stored, or none. They are durable when this answers "
        "and count in the very next recommendation.",
        openapi.responses(answers.EventsAnswer, "Stored.", 409, body=True),
        writes.EventBody,
        writes.EventBatchBody,
        One_event={"user_id": "42", "item_id": "260", "event": "rating", "value": 5},
        A_search={"user_id": "42", "event": "search", "text": "space opera with robots"},
        What_a_recommendation_led_to={
            "user_id": "42",
            "item_id": "1196",
            "event": "click",
            "recommendation_id": "0d8e1c6be7a24c4f8a6c2a4b7c0f9d11",
        },
        A_batch={
            "events": [
                {"user_id": "42", "item_id": "260", "event": "view", "event_id": "a1"},
                {"user_id": "7", "item_id": "1196", "event": "like", "event_id": "a2"},
            ]
        },
    )
    add(
        "DELETE",
        "/v1/events",
        routes.delete_events,
        "Take back what a user did with an item",
        "All events of the user with the item. They do not count in the very next recommendation, and a late "
        "retry does not bring them back.",
        openapi.responses(answers.EventsDeletedAnswer, "Taken back.", 422),
    )
    add(
        "DELETE",
        "/v1/events/{event_id:anyid}",
        routes.delete_event,
        "Take an event back",
        "It does not count in the very next recommendation. Its `event_id` cannot be used again.",
        openapi.responses(answers.EventsDeletedAnswer, "Taken back.", 422),
    )


def add_hooks(add: Adder, routes: HookRoutes) -> None:
    """Add what other programs post to."""
    add(
        "POST",
        "/v1/hooks/{name}",
        routes.hook,
        "Take what another program posts",
        "A body of any form, which the hook's settings (`streams.hooks`) map to events: all are stored, but "
        "those that contradict the store, or none. Instead of a key it is signed with the hook's secret: by "
        "Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`), or by the HMAC-SHA256 "
        "of the body in a header. A body that is posted again is stored once.",
        openapi.responses(answers.HookAnswer, "Stored.", 401, 404, body=True, public=True),
        writes.HookBody,
        An_order_of_a_shop={
            "id": 450789469,
            "created_at": "2025-01-31T12:00:00Z",
            "customer": {"id": 207119551},
            "line_items": [{"id": 669751112, "product_id": 260, "quantity": 1}],
        },
        A_list=[{"user": "42", "film": "260", "what": "seen"}],
    )
