"""Routes of the catalogue."""

from __future__ import annotations

from recserve.api import openapi
from recserve.api.routes.items import ItemRoutes
from recserve.api.routes.tables.adder import Adder
from recserve.api.schemas import browsing
from recserve.api.schemas import recommend_request as models
from recserve.api.schemas import responses as answers
from recserve.api.schemas import write_request as writes


def add_items(add: Adder, routes: ItemRoutes) -> None:
    """Add what keeps the catalogue up to date."""
    add(
        "GET",
        "/v1/items",
        routes.list_items,
        "List items",
        "The whole catalogue, part by part: `cursor` of each answer asks for the next part. The order is "
        "fixed and means nothing. An item is never listed twice, even while others write. With `q`, "
        "`attribute` or `state` only what matches: a call looks at no more than 20,000 items, so it may find "
        "few or none and still have a `cursor`.",
        openapi.responses(browsing.ItemsAnswer, "Items.", 422),
    )
    add(
        "POST",
        "/v1/items",
        routes.upsert_items,
        "Add or replace items",
        "Up to 10,000 items, all or none. They are durable when this answers, and can be found by content "
        "within seconds, without training.",
        openapi.responses(answers.ItemsStoredAnswer, "Stored.", body=True),
        writes.ItemsBody,
        A_new_item={"items": [{"item_id": "t-1", "attributes": {"title": "Dune", "genres": ["Sci-Fi"]}}]},
        For_a_while={
            "items": [
                {
                    "item_id": "t-2",
                    "attributes": {"title": "Summer special"},
                    "expires_at": "2030-09-01T00:00:00Z",
                }
            ]
        },
    )
    add(
        "PATCH",
        "/v1/items",
        routes.patch_items,
        "Change items",
        "Sets some attributes (null removes one), hides items or lets them expire; what is left out stays. A "
        "hidden or expired item is not in any answer from now on.",
        openapi.responses(answers.ChangedAnswer, "Changed.", body=True),
        writes.ItemPatchesBody,
        Hide={"items": [{"item_id": "260", "hidden": True}]},
        Correct={"items": [{"item_id": "260", "attributes": {"year": 1977, "draft": None}}]},
        Never_expire={"items": [{"item_id": "260", "expires_at": None}]},
    )
    add(
        "DELETE",
        "/v1/items",
        routes.delete_items,
        "Delete items",
        "Up to 10,000 items, all or none. No answer has them from now on. Deleting again does no harm.",
        openapi.responses(answers.DeletedAnswer, "Deleted.", body=True),
        writes.ItemIdsBody,
        Two_items={"item_ids": ["t-1", "t-2"]},
    )
    add(
        "GET",
        "/v1/vectors/map",
        routes.vector_map,
        "Map of items",
        "Up to 2,000 items of the bundle in service on a plane: the two principal components of their text "
        "vectors. Near one another are items whose texts are alike. Hidden items are left out; without a "
        "text encoder there are no points.",
        openapi.responses(browsing.VectorMapAnswer, "The map.", 422),
    )
    # Before the item itself, whose path would swallow it.
    add(
        "POST",
        "/v1/items/{item_id:anyid}/audience",
        routes.audience,
        "Who would like an item",
        "The users who want it most, in order, with scores. Considered are up to 2,000 users, those of the "
        "newest events, who have not had the item; `considered` says how many they were. Works for an item "
        "that was written a moment ago: it is judged by its text. The scenario's ranker must be able to "
        "compare users.",
        openapi.responses(answers.AudienceAnswer, "Users, best first.", 404, body=True),
        models.AudienceBody,
        The_best_hundred={"limit": 100},
    )
    add(
        "GET",
        "/v1/items/{item_id:anyid}",
        routes.item,
        "One item",
        "Its id, title, attributes and state.",
        openapi.responses(answers.ItemAnswer, "The item.", 404, 422),
    )
    add(
        "DELETE",
        "/v1/items/{item_id:anyid}",
        routes.delete_item,
        "Delete an item",
        "No answer has it from now on. Deleting again does no harm.",
        openapi.responses(answers.DeletedAnswer, "Deleted.", 422),
    )
