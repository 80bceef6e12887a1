"""Examples of answers, put together from those of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any], place: str) -> Any:
    """An example of a schema.

    Args:
        schema: JSON schema, as OpenAPI 3.1 has it.
        schemas: What its references lead to, by name.
        place: What the schema is of, for the error.

    Raises:
        ValueError: A text or a number without an example of its own.
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return example_of(schemas[name], schemas, name)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if "const" in schema:
        return schema["const"]
    if "default" in schema:
        return schema["default"]
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], schemas, place)
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: example_of(field, schemas, f"{place}.{name}") for name, field in properties.items()}
        case "array":
            return [example_of(schema["items"], schemas, place)]
        case "boolean":
            return True
    raise ValueError(f"{place} has no example: give its field `examples`")
