"""Every route: its path, its handler and what the OpenAPI document says of it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.convertors import CONVERTOR_TYPES, StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from recserve.api import openapi
from recserve.api.middleware.metrics import metrics
from recserve.api.routes.experiments import ExperimentRoutes
from recserve.api.routes.items import ItemRoutes
from recserve.api.routes.parts import AUDIENCE, HISTORY, MERGE, refuse_other_methods
from recserve.api.routes.plain import refuse_others
from recserve.api.routes.recommendations import Routes
from recserve.api.routes.reports import ReportRoutes
from recserve.api.routes.users import UserRoutes
from recserve.api.schemas import about, experiments, reports
from recserve.api.schemas import recommend_request as models
from recserve.api.schemas import responses as answers
from recserve.api.schemas import write_request as writes
from recserve.api.settings import ApiSettings

TAGS = [
    {"name": "recommendations", "description": "Ask for items."},
    {"name": "events", "description": "Tell what users do."},
    {"name": "items", "description": "Keep the catalogue up to date. Changes count at once."},
    {"name": "users", "description": "Profiles, histories, logging in and being forgotten."},
    {"name": "reports", "description": "What became of what was recommended."},
    {"name": "experiments", "description": "Compare alternatives on live requests."},
    {"name": "server", "description": "Health and what is installed."},
]


_ITEM_PARTS = refuse_other_methods("item_id", {AUDIENCE: "POST"})
_USER_PARTS = refuse_other_methods("user_id", {HISTORY: "GET", MERGE: "POST"})


class _AnyIdConvertor(StringConvertor):
    """Ids in paths: unlike ``path``, line breaks are part of an id and an id is never empty."""

    regex = r"[\s\S]+"


def _only(known: Collection[str]) -> Any:
    """:func:`recserve.api.routes.plain.refuse_others` as a dependency of FastAPI's."""

    def check(request: Request) -> None:
        refuse_others(request, known)

    return Depends(check)


class _Adder:
    """Adds routes under one tag.

    Args:
        app: Serves and documents them.
        plain: Gets those whose handlers take the request alone.
        tag: Name of the tag.
        first: Looks at a request before its parameters are read.
    """

    def __init__(
        self,
        app: FastAPI,
        plain: list[APIRoute],
        tag: str,
        first: Callable[[Request], None] | None = None,
    ) -> None:
        self._first = [] if first is None else [Depends(first)]
        self._app = app
        self._plain = plain
        self._tag = tag

    def __call__(
        self,
        method: str,
        path: str,
        handler: Callable[..., Awaitable[Response]],
        summary: str,
        description: str,
        documented: dict[int | str, dict[str, Any]],
        *bodies: type[BaseModel],
        **examples: Any,
    ) -> None:
        """Add one route.

        Args:
            method: HTTP method.
            path: Path template.
            handler: Reads its body itself and writes its answer itself; see
                :mod:`recserve.api.schemas.responses`.
            summary: A few words.
            description: What a caller must know.
            documented: From :func:`recserve.api.openapi.responses`.
            bodies: Model of the body, or several alternatives.
            examples: Example bodies by name, ``_`` for a space.
        """
        names = set(inspect.signature(handler).parameters) - {"request"}
        in_path = {name for name in names if f"{{{name}" in path}
        route = APIRoute(
            path,
            handler,
            methods=[method],
            tags=[self._tag],
            summary=summary,
            description=description,
            operation_id=handler.__name__,
            response_model=None,
            responses=documented,
            dependencies=[*self._first, _only(names - in_path)],
            openapi_extra=openapi.request_body(*bodies, examples=_named(examples)) if bodies else None,
        )
        self._app.router.routes.append(route)
        if not names:
            self._plain.append(route)


def _named(examples: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", " "): value for name, value in examples.items()}


def add_routes(app: FastAPI, settings: ApiSettings) -> list[APIRoute]:
    """Add all routes; returns those whose handlers take the request alone."""
    if "anyid" not in CONVERTOR_TYPES:
        register_url_convertor("anyid", _AnyIdConvertor())
    routes = Routes(settings)
    plain: list[APIRoute] = []
    _add_recommendations(_Adder(app, plain, "recommendations"), routes)
    _add_events(_Adder(app, plain, "events"), routes)
    _add_items(_Adder(app, plain, "items", _ITEM_PARTS), ItemRoutes(settings))
    _add_users(_Adder(app, plain, "users", _USER_PARTS), UserRoutes(settings))
    _add_reports(_Adder(app, plain, "reports"), ReportRoutes())
    _add_experiments(_Adder(app, plain, "experiments"), ExperimentRoutes(settings))
    _add_server(_Adder(app, plain, "server"), routes)
    return plain


def _add_recommendations(add: _Adder, routes: Routes) -> None:
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


def _add_events(add: _Adder, routes: Routes) -> None:
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


def _add_items(add: _Adder, routes: ItemRoutes) -> None:
    add(
        "GET",
        "/v1/items",
        routes.list_items,
        "List items",
        "The whole catalogue, part by part: `cursor` of each answer asks for the next part. The order is "
        "fixed and means nothing. An item is never listed twice, even while others write.",
        openapi.responses(answers.ItemsAnswer, "Items.", 422),
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


def _add_users(add: _Adder, routes: UserRoutes) -> None:
    add(
        "GET",
        "/v1/users",
        routes.list_users,
        "List users",
        "All users with a profile, part by part, as for items.",
        openapi.responses(answers.UsersAnswer, "Users.", 422),
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


def _add_reports(add: _Adder, routes: ReportRoutes) -> None:
    add(
        "GET",
        "/v1/reports/outcomes",
        routes.report_outcomes,
        "Report what became of recommendations",
        "Impressions, clicks, conversions and value of a span of days, by what showed them, with intervals "
        "over users. One report is made at a time; the first one after many new days counts them and takes "
        "longer.",
        openapi.responses(reports.OutcomesAnswer, "The report.", 422),
    )


def _add_experiments(add: _Adder, routes: ExperimentRoutes) -> None:
    add(
        "GET",
        "/v1/experiments",
        routes.list_experiments,
        "List experiments",
        "All of them, oldest first.",
        openapi.responses(experiments.ExperimentsAnswer, "The experiments."),
    )
    add(
        "POST",
        "/v1/experiments",
        routes.create_experiment,
        "Create an experiment",
        "It does not run before it is started, and its definition never changes. Needs the scope `admin`, as "
        "starting and stopping do.",
        openapi.responses(experiments.ExperimentAnswer, "Created.", 409, body=True),
        experiments.ExperimentBody,
        Fewer_candidates={
            "name": "fewer-neighbours",
            "scenario": "home",
            "share": 0.2,
            "arms": [{"name": "control"}, {"name": "fewer", "parameters": {"budget": 100}}],
        },
        In_the_shadow={
            "name": "without-ranker",
            "scenario": "home",
            "share": 0.2,
            "arms": [
                {"name": "control"},
                {"name": "retrieval", "share": 0.1, "parameters": {"ranker": False}, "shadow": True},
            ],
        },
    )
    add(
        "GET",
        "/v1/experiments/{name}",
        routes.experiment,
        "One experiment",
        "Its definition, and what has become of it.",
        openapi.responses(experiments.ExperimentAnswer, "The experiment.", 404, 422),
    )
    add(
        "GET",
        "/v1/experiments/{name}/report",
        routes.report_experiment,
        "Report an experiment",
        "What each arm did, differences with intervals that hold at every look at once, so that it may be "
        "read and stopped on any day, and whether the arms got their shares of users.",
        openapi.responses(experiments.ExperimentReportAnswer, "The report.", 404, 409, 422),
    )
    add(
        "POST",
        "/v1/experiments/{name}/start",
        routes.start_experiment,
        "Start an experiment",
        "Every server of the store follows within about a second. One that runs can be started again with a "
        "larger share: who is in it stays in the same arm.",
        openapi.responses(experiments.ExperimentAnswer, "It runs.", 404, 409, body=True),
        experiments.StartBody,
        As_it_is_defined={},
        For_more={"share": 0.5},
    )
    add(
        "POST",
        "/v1/experiments/{name}/stop",
        routes.stop_experiment,
        "Stop an experiment",
        "For good, or one of its arms: whom that had are served as if there were no experiment.",
        openapi.responses(experiments.ExperimentAnswer, "Stopped.", 404, 409, body=True),
        experiments.StopBody,
        Decided={"reason": "fewer candidates lose nothing"},
        One_arm={"arm": "retrieval", "reason": "too slow"},
    )


def _add_server(add: _Adder, routes: Routes) -> None:
    add(
        "GET",
        "/v1/plugins",
        routes.plugins,
        "Installed plugins",
        "Where each comes from, what it contributes, and the JSON schema of every component's parameters.",
        openapi.responses(about.PluginsAnswer, "The plugins."),
    )
    add(
        "GET",
        "/v1/about",
        routes.about,
        "What this server can be asked",
        "Scenarios, event types with their scales, and a few users to try.",
        openapi.responses(about.AboutAnswer, "What there is."),
    )
    add(
        "GET",
        "/v1/metrics",
        metrics,
        "Metrics",
        "For Prometheus, in its text format: every replica of every stage, by `stage`, `replica` and `node`.",
        openapi.text_responses(
            "The metrics.", 'recserve_requests_total{route="/v1/recommend",status="200"} 12\n'
        ),
    )
    add(
        "GET",
        "/v1/health/live",
        routes.live,
        "Liveness",
        "Whether the process works; if not, restart it.",
        openapi.responses(about.LiveAnswer, "It works.", public=True),
    )
    add(
        "GET",
        "/v1/health/ready",
        routes.ready,
        "Readiness",
        "Whether requests should be sent here.",
        openapi.responses(about.ReadyAnswer, "It is ready.", public=True),
    )
