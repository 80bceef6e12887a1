"""Every route, tag by tag, in the order in which the router tries them."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.convertors import CONVERTOR_TYPES, StringConvertor, register_url_convertor

from recserve.api.middleware.parts import AUDIENCE, HISTORY, MERGE, refuse_other_methods
from recserve.api.routes.console.bundles import BundleRoutes
from recserve.api.routes.console.configuration import ConfigurationRoutes
from recserve.api.routes.console.live import LiveRoutes
from recserve.api.routes.experiments import ExperimentRoutes
from recserve.api.routes.hooks.handlers import HookRoutes
from recserve.api.routes.items import ItemRoutes
from recserve.api.routes.recommendations import Routes
from recserve.api.routes.reports import ReportRoutes
from recserve.api.routes.tables.adder import Adder
from recserve.api.routes.tables.console import add_bundles, add_configuration, add_live
from recserve.api.routes.tables.experiments import add_experiments
from recserve.api.routes.tables.items import add_items
from recserve.api.routes.tables.recommendations import (
    add_events,
    add_hooks,
    add_recommendations,
)
from recserve.api.routes.tables.reports import add_reports
from recserve.api.routes.tables.server import add_server
from recserve.api.routes.tables.users import add_users
from recserve.api.routes.users import UserRoutes
from recserve.api.settings import ApiSettings

TAGS = [
    {"name": "recommendations", "description": "Ask for items."},
    {"name": "events", "description": "Tell what users do."},
    {"name": "items", "description": "Keep the catalogue up to date. Changes count at once."},
    {"name": "users", "description": "Profiles, histories, logging in and being forgotten."},
    {"name": "reports", "description": "What became of what was recommended."},
    {"name": "experiments", "description": "Compare alternatives on live requests."},
    {"name": "bundles", "description": "What was trained, how good it is, and which of it is served."},
    {"name": "server", "description": "Health and what is installed."},
]

_ITEM_PARTS = refuse_other_methods("item_id", {AUDIENCE: "POST"})
_USER_PARTS = refuse_other_methods("user_id", {HISTORY: "GET", MERGE: "POST"})


class _AnyIdConvertor(StringConvertor):
    """Ids in paths: unlike ``path``, line breaks are part of an id and an id is never empty."""

    regex = r"[\s\S]+"


def add_routes(app: FastAPI, settings: ApiSettings) -> list[APIRoute]:
    """Add all routes; returns those whose handlers take the request alone."""
    if "anyid" not in CONVERTOR_TYPES:
        register_url_convertor("anyid", _AnyIdConvertor())
    routes = Routes(settings)
    plain: list[APIRoute] = []
    add_recommendations(Adder(app, plain, "recommendations"), routes)
    add_events(Adder(app, plain, "events"), routes)
    add_hooks(Adder(app, plain, "events"), HookRoutes(settings))
    add_items(Adder(app, plain, "items", _ITEM_PARTS), ItemRoutes(settings))
    add_users(Adder(app, plain, "users", _USER_PARTS), UserRoutes(settings))
    add_reports(Adder(app, plain, "reports"), ReportRoutes())
    add_experiments(Adder(app, plain, "experiments"), ExperimentRoutes(settings))
    add_bundles(Adder(app, plain, "bundles"), BundleRoutes(settings))
    add_configuration(Adder(app, plain, "server"), ConfigurationRoutes(settings))
    add_server(Adder(app, plain, "server"), routes)
    add_live(Adder(app, plain, "server"), LiveRoutes())
    return plain
