"""What a route says of its answers and of the body that it parses itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

SCHEMA = "#/components/schemas/{model}"

_BODY_MISTAKES = (400, 413, 415, 422)
_REFUSALS = (401, 403, 429)


def responses(
    answer: type, description: str, *also: int, body: bool = False, public: bool = False
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route.

    Args:
        answer: Model of the 200 answer.
        description: What a 200 means.
        also: Statuses that the route may give besides 422, 500 and 503.
        body: The route reads a body: adds the statuses of a wrong one.
        public: The route needs no API key.
    """
    refusals = () if public else _REFUSALS
    return {
        200: {"model": answer, "description": description},
        **_failures(*also, *refusals, *(_BODY_MISTAKES if body else ())),
    }


def text_responses(
    description: str, example: str, *also: int, media_type: str = "text/plain"
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that answers text; see :func:`responses`."""
    content = {media_type: {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": description, "content": content}, **_failures(*also, *_REFUSALS)}


def _failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Statuses that are no success; the document puts what they mean in their place.

    Every route refuses query parameters that it does not have by 422.
    """
    return {status: {"description": ""} for status in sorted({*statuses, 422, 500, 503})}


def request_body(*bodies: type[BaseModel], examples: Mapping[str, Any]) -> dict[str, Any]:
    """The ``openapi_extra`` of a route that parses its body itself.

    Args:
        bodies: Model of the body, or several alternatives.
        examples: Name -> example body.
    """
    references = [{"$ref": SCHEMA.format(model=body.__name__)} for body in bodies]
    schema = references[0] if len(references) == 1 else {"oneOf": references}
    shown = {name: {"summary": name, "value": value} for name, value in examples.items()}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": shown}},
        }
    }
