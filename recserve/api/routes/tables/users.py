"""Routes of users."""

from __future__ import annotations

from recserve.api import openapi
from recserve.api.routes.tables.adder import Adder
from recserve.api.routes.users import UserRoutes
from recserve.api.schemas import browsing
from recserve.api.schemas import responses as answers
from recserve.api.schemas import write_request as writes


def add_users(add: Adder, routes: UserRoutes) -> None:
    """Add profiles, histories, logging in and being forgotten."""
    add(
        "GET",
        "/v1/users",
        routes.list_users,
        "List users",
        "All users with a profile, with events, or with any of them, part by part, as for items; or what is "
        "known of one.",
        openapi.responses(browsing.UsersAnswer, "Users.", 422),
    )
    add(
        "POST",
        "/v1/users",
        routes.upsert_users,
        "Add or replace profiles",
        "Up to 10,000 users, all or none. A user needs no profile; stated interests help while there are few "
        "events.",
        openapi.responses(answers.UsersStoredAnswer, "Stored.", body=True),
        writes.UsersBody,
        Interests={"users": [{"user_id": "42", "attributes": {"interests": "space opera, robots"}}]},
    )
    add(
        "PATCH",
        "/v1/users",
        routes.patch_users,
        "Change profiles",
        "Sets some attributes; null removes one; what is left out stays.",
        openapi.responses(answers.ChangedAnswer, "Changed.", body=True),
        writes.UserPatchesBody,
        Move={"users": [{"user_id": "42", "attributes": {"country": "SE", "newsletter": None}}]},
    )
    # Before the profile, whose path would swallow it.
    add(
        "GET",
        "/v1/users/{user_id:anyid}/history",
        routes.history,
        "A user's history",
        "Newest first, part by part: `cursor` of each answer asks for the next, older part. What happens "
        "meanwhile repeats and skips nothing.",
        openapi.responses(answers.HistoryAnswer, "The events; none for an unknown user.", 422),
    )
    add(
        "POST",
        "/v1/users/{user_id:anyid}/merge",
        routes.merge_user,
        "Log a session in",
        "Events that were sent under the id of an anonymous session become this user's; attributes are added "
        "where the user has none of that name. Merging again does no harm.",
        openapi.responses(answers.MergedAnswer, "Merged.", body=True),
        writes.MergeBody,
        A_session={"from": "session-123"},
    )
    add(
        "GET",
        "/v1/users/{user_id:anyid}",
        routes.user,
        "A user's profile",
        "Its attributes.",
        openapi.responses(answers.UserAnswer, "The profile.", 404, 422),
    )
    add(
        "DELETE",
        "/v1/users/{user_id:anyid}",
        routes.delete_user,
        "Forget a user",
        "Removes events, profile and logged recommendations from the store and from all caches; no bundle "
        "that is trained from now on knows the person. The receipt does not name the person.",
        openapi.responses(answers.ReceiptAnswer, "Deleted; also for a user who was not known.", 422),
    )
