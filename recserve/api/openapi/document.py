"""Builds the document from the routes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from recserve.api.middleware.security import is_public
from recserve.api.openapi import mistakes
from recserve.api.openapi.examples import example_of
from recserve.api.openapi.operations import SCHEMA
from recserve.api.schemas import bundles, configuration, experiments
from recserve.api.schemas import recommend_request as models
from recserve.api.schemas import write_request as writes
from recserve.api.schemas.responses import ErrorAnswer
from recserve.api.settings import ApiSettings

VERSION = "3.1.0"

BODIES: tuple[type[BaseModel], ...] = (
    models.RecommendBody,
    models.SimilarBody,
    models.RankBody,
    models.AudienceBody,
    writes.EventBody,
    writes.EventBatchBody,
    writes.HookBody,
    writes.ItemsBody,
    writes.ItemPatchesBody,
    writes.ItemIdsBody,
    writes.UsersBody,
    writes.UserPatchesBody,
    writes.MergeBody,
    experiments.ExperimentBody,
    experiments.StartBody,
    experiments.StopBody,
    bundles.PromoteBody,
    bundles.RollbackBody,
    configuration.ConfigurationTextBody,
)

_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
    "header": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "For what cannot send the other one.",
    },
}
_CODE = {"$ref": SCHEMA.format(model="ErrorCode"), "description": "Stable, for programs."}


def document(app: FastAPI, settings: ApiSettings) -> dict[str, Any]:
    """Build the whole document."""
    built = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version=VERSION,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        license_info=app.license_info,
        servers=[{"url": "/", "description": "This server."}],
    )
    components = built["components"]
    components["securitySchemes"] = _SECURITY
    components["responses"] = {name: failure.response() for name, failure in mistakes.FAILURES.items()}
    built["security"] = [{name: []} for name in _SECURITY]
    schemas = components["schemas"]
    schemas.update(_schemas())
    for name in ("EventBody", "SessionStep"):
        schemas[name]["properties"]["event"]["enum"] = list(settings.event_types)
    components["schemas"] = schemas = {name: _tidy(schemas[name]) for name in sorted(schemas)}
    for path, method, route in _routes(app):
        operation = built["paths"][path][method]
        _complete(operation, route, schemas)
        if is_public(path):
            operation["security"] = []
    return built


def _routes(app: FastAPI) -> Iterator[tuple[str, str, APIRoute]]:
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                yield route.path_format, method.lower(), route


def _complete(operation: dict[str, Any], route: APIRoute, schemas: dict[str, Any]) -> None:
    """Put in what FastAPI leaves out or changes: errors, and examples, which it would strip of nulls."""
    if route.openapi_extra is not None:
        operation.update(route.openapi_extra)
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(_tidy(parameter["schema"]))
        if parameter["schema"].get("type") == "array":
            parameter |= {"style": "form", "explode": True}  # once for each value
    documented = operation["responses"]
    for status in documented:
        if status != "200":
            documented[status] = {
                "$ref": mistakes.REF.format(name=mistakes.name_of(int(status), operation["tags"][0]))
            }
    content = documented["200"].get("content", {})
    if set(content) > {"application/json"}:
        del content["application/json"]  # FastAPI takes every route for one that answers JSON
    answer = content.get("application/json")
    if answer is not None:
        answer["example"] = example_of(answer["schema"], schemas, str(route.operation_id))


def _schemas() -> dict[str, Any]:
    """Schemas of bodies, which routes parse themselves, and of errors."""
    given = [(model, "validation") for model in (*BODIES, ErrorAnswer)]
    _, schema = models_json_schema(given, ref_template=SCHEMA)  # type: ignore[arg-type] # a literal
    defined: dict[str, Any] = schema["$defs"]
    defined["ErrorCode"] = {
        "type": "string",
        "enum": list(mistakes.codes()),
        "examples": ["invalid_request"],
        "description": "What went wrong, for programs. Codes are added, never changed.",
    }
    defined["ErrorDetail"]["properties"]["code"] = _CODE
    return defined


def _tidy(node: Any) -> Any:
    """A schema without what says nothing: titles that repeat the name, and null as a default.

    What is left out is not always the same as null: in a patch null removes something.
    """
    if isinstance(node, list):
        return [_tidy(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    tidied: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            tidied[key] = {name: _tidy(field) for name, field in value.items()}
        elif key in ("examples", "enum", "const"):
            tidied[key] = value
        elif key != "title" and not (key == "default" and value is None):
            tidied[key] = _tidy(value)
    return tidied


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter of a URL: it can be left out, but there is no null."""
    alternatives = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(alternatives) != 1:
        return schema
    return {**alternatives[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
