"""The OpenAPI document: request bodies that routes parse themselves, and the dialect that tools read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from recserve.api.middleware.security import is_public
from recserve.api.schemas import bundles, configuration, experiments
from recserve.api.schemas import recommend_request as models
from recserve.api.schemas import write_request as writes
from recserve.api.schemas.responses import ErrorAnswer
from recserve.api.settings import ApiSettings

# The dialect of the bundled Swagger UI and of most client generators; pydantic writes that of 3.1.
VERSION = "3.0.3"

_REF = "#/components/schemas/{model}"

_MISTAKES: Mapping[int, tuple[str, str, str, str | None]] = {
    400: ("The body is not JSON.", "malformed_json", "the body is not valid JSON: EOF at line 1", None),
    401: (
        "The server has API keys and the call came without a good one.",
        "unauthorized",
        "this call needs an API key: send `Authorization: Bearer KEY`",
        None,
    ),
    403: ("The key may not do this.", "forbidden", "this key lacks the scope 'write'", None),
    404: (
        "There is no such item, scenario, experiment or bundle.",
        "not_found",
        "unknown item '0'",
        "item_id",
    ),
    409: (
        "It contradicts what is there: an `event_id` of another event or of one that was removed, a user who "
        "was deleted since, an experiment that cannot go beside another one, a bundle that the evidence "
        "speaks against.",
        "event_id_conflict",
        "event_id: this id stands for an event with other content; give each event its own id",
        "event_id",
    ),
    413: ("The body is too long.", "body_too_large", "the body is longer than 2,000,000 bytes", None),
    415: (
        "The body is not declared as JSON.",
        "unsupported_media_type",
        "the body needs Content-Type: application/json (got 'text/plain')",
        None,
    ),
    422: (
        "The content is wrong; `field` says where.",
        "invalid_request",
        "unknown field 'usr_id'; did you mean 'user_id'? (known: item_id, user_id)",
        "usr_id",
    ),
    429: (
        "The key is used more often than it may be; come back after `Retry-After` seconds.",
        "rate_limited",
        "this key may make 10 requests a second",
        None,
    ),
    500: ("A fault of the server.", "internal", "internal error; see the server's log", None),
    503: (
        "Not now; come back after `Retry-After` seconds. Nothing was stored, unless the code is "
        "`outcome_unknown` or `timeout`: then nobody knows, so send it again.",
        "overloaded",
        "too many requests are waiting",
        None,
    ),
}
_BODY_MISTAKES = (400, 413, 415, 422)

BODIES: tuple[type[BaseModel], ...] = (
    models.RecommendBody,
    models.SimilarBody,
    models.RankBody,
    models.AudienceBody,
    writes.EventBody,
    writes.EventBatchBody,
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
_REFUSALS = (401, 403, 429)

_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def responses(
    answer: type, description: str, *also: int, body: bool = False, public: bool = False
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route.

    Args:
        answer: Model of the 200 answer.
        description: What a 200 means.
        also: Statuses that the route may give besides 500 and 503.
        body: The route reads a body: adds the statuses of a wrong one.
        public: The route needs no API key.
    """
    statuses = {*also, 500, 503, *(_BODY_MISTAKES if body else ()), *(() if public else _REFUSALS)}
    mistakes: dict[int | str, dict[str, Any]] = {status: _mistake(status) for status in sorted(statuses)}
    return {200: {"model": answer, "description": description}, **mistakes}


def text_responses(
    description: str, *also: int, media_type: str = "text/plain"
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that answers text; see :func:`responses`."""
    mistakes: dict[int | str, dict[str, Any]] = {
        status: _mistake(status) for status in sorted({*also, 500, 503, *_REFUSALS})
    }
    content = {media_type: {"schema": {"type": "string"}}}
    return {200: {"description": description, "content": content}, **mistakes}


def _mistake(status: int) -> dict[str, Any]:
    description, code, message, field = _MISTAKES[status]
    example = {"error": {"code": code, "message": message, "field": field}}
    documented: dict[str, Any] = {
        "model": ErrorAnswer,
        "description": description,
        "content": {"application/json": {"example": example}},
    }
    if status in (429, 503):
        documented["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        }
    if status == 401:
        documented["headers"] = {
            "WWW-Authenticate": {"description": "`Bearer`", "schema": {"type": "string"}}
        }
    return documented


def request_body(*bodies: type[BaseModel], examples: Mapping[str, Any]) -> dict[str, Any]:
    """The ``openapi_extra`` of a route that parses its body itself.

    Args:
        bodies: Model of the body, or several alternatives.
        examples: Name -> example body.
    """
    references = [{"$ref": _REF.format(model=body.__name__)} for body in bodies]
    schema = references[0] if len(references) == 1 else {"oneOf": references}
    shown = {name: {"summary": name, "value": value} for name, value in examples.items()}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": shown}},
        }
    }


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
    )
    built["info"].pop("summary", None)  # a field of 3.1
    built["components"]["securitySchemes"] = _SECURITY
    built["security"] = [{name: []} for name in _SECURITY]
    for path, operations in built["paths"].items():
        for operation in operations.values():
            if is_public(path):
                operation["security"] = []
            content = operation["responses"].get("200", {}).get("content", {})
            if any(media.startswith("text/") for media in content):
                del content["application/json"]  # FastAPI takes every route for one that answers JSON
    schemas = built["components"]["schemas"]
    schemas.update(_body_schemas())
    for name in ("EventBody", "SessionStep"):
        schemas[name]["properties"]["event"]["enum"] = list(settings.event_types)
    return {key: _downgrade(value) for key, value in built.items()}


def _body_schemas() -> dict[str, Any]:
    _, schema = models_json_schema([(body, "validation") for body in BODIES], ref_template=_REF)
    defined: dict[str, Any] = schema["$defs"]
    return defined


def _downgrade(node: Any) -> Any:
    """JSON Schema as OpenAPI 3.1 has it -> the dialect of 3.0."""
    if isinstance(node, list):
        return [_downgrade(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            out[key] = {name: _downgrade(inner) for name, inner in value.items()}
        elif key in ("example", "default", "enum", "value"):
            out[key] = value
        elif key == "examples" and isinstance(value, list):
            out["example"] = value[0]
        elif key == "const":
            out["enum"] = [value]
        elif key in ("exclusiveMinimum", "exclusiveMaximum"):
            out[key.replace("exclusiveM", "m")] = value
            out[key] = True
        else:
            out[key] = _downgrade(value)
    alternatives = out.get("anyOf")
    if alternatives is not None and {"type": "null"} in alternatives:
        _make_nullable(out, [alternative for alternative in alternatives if alternative != {"type": "null"}])
    return out


def _make_nullable(schema: dict[str, Any], alternatives: list[dict[str, Any]]) -> None:
    """Replace an alternative of null, in place."""
    schema["nullable"] = True
    if len(alternatives) > 1:
        schema["anyOf"] = alternatives
        return
    del schema["anyOf"]
    only = alternatives[0]
    if "$ref" in only:
        schema["allOf"] = [only]
    else:
        schema.update({key: value for key, value in only.items() if key not in schema})
