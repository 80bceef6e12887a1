"""Reads the OpenAPI document: operations, their parameters and what schemas they use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recserve.api import create_app

Schema = Mapping[str, Any]

_REPEATABLE_TAGS = frozenset({"recommendations", "events", "items", "users"})
"""Calls whose repetition does no harm, as the API promises; of other tags only those that read are."""

_READING = frozenset({"get", "head"})
_HOOKS = "/v1/hooks/"
_ANSWERS = frozenset({"application/json", "text/plain", "text/html"})


@dataclass(frozen=True)
class Parameter:
    """What a call is given: a part of the path, of the query or of the body.

    Attributes:
        name: Name in the API.
        schema: JSON schema.
        required: It cannot be left out.
    """

    name: str
    schema: Schema
    required: bool

    @property
    def description(self) -> str:
        """One line for people."""
        return str(self.schema.get("description", "")) or f"`{self.name}`."


@dataclass(frozen=True)
class Operation:
    """One call.

    Attributes:
        name: The operation's id.
        method: HTTP method, upper case.
        path: Path template.
        tag: Its group.
        summary: A few words.
        description: What a caller must know.
        in_path: Parameters of the path.
        query: Parameters of the query.
        body: Fields of the body; None without one.
        alternatives: Names of the schemas of the body, where there are several.
        answer: Name of the schema of the answer; None where it is text.
        repeatable: Sending it again does no harm, whatever became of the first time.
    """

    name: str
    method: str
    path: str
    tag: str
    summary: str
    description: str
    in_path: tuple[Parameter, ...]
    query: tuple[Parameter, ...]
    body: tuple[Parameter, ...] | None
    alternatives: tuple[str, ...]
    answer: str | None
    repeatable: bool

    @property
    def cursor(self) -> str | None:
        """Where its cursor goes, ``query`` or ``body``; None if it has none."""
        if any(one.name == "cursor" for one in self.query):
            return "query"
        return "body" if any(one.name == "cursor" for one in self.body or ()) else None


def document() -> dict[str, Any]:
    """The document of a server as it comes, but that event types may have any names: those are configured."""
    built = create_app().openapi()
    for name in ("EventBody", "SessionStep"):
        del built["components"]["schemas"][name]["properties"]["event"]["enum"]
    return built


def schemas_of(built: Schema) -> dict[str, Schema]:
    """The schemas of a document, by name."""
    schemas: dict[str, Schema] = built["components"]["schemas"]
    return schemas


def operations(built: Schema) -> list[Operation]:
    """The operations that clients have methods of, by tag and in the order of the document.

    :func:`left_out` names the others.
    """
    order = [tag["name"] for tag in built["tags"]]
    found = [
        _operation(built, path, method, raw)
        for path, method, raw in _raw(built)
        if not _is_left_out(path, raw)
    ]
    return sorted(found, key=lambda one: order.index(one.tag))


def left_out(built: Schema) -> list[str]:
    """Ids of the operations that no client has a method of.

    Those that answer neither JSON nor text: a stream has no place in a client whose calls return. And hooks,
    which programs call that know nothing of this API.
    """
    return [raw["operationId"] for path, _, raw in _raw(built) if _is_left_out(path, raw)]


def _raw(built: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, methods in built["paths"].items():
        for method, raw in methods.items():
            yield path, method, raw


def _is_left_out(path: str, raw: Schema) -> bool:
    return path.startswith(_HOOKS) or not _ANSWERS & set(raw["responses"]["200"]["content"])


def _operation(built: Schema, path: str, method: str, raw: Schema) -> Operation:
    parameters = raw.get("parameters", ())
    content = raw.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    alternatives = tuple(_name(one) for one in content.get("oneOf", ()))
    body = None
    if "$ref" in content:
        body = tuple(fields(schemas_of(built)[_name(content)]))
    answer = raw["responses"]["200"]["content"].get("application/json")
    tag = raw["tags"][0]
    return Operation(
        name=raw["operationId"],
        method=method.upper(),
        path=path,
        tag=tag,
        summary=raw["summary"],
        description=raw["description"],
        in_path=tuple(_parameter(one) for one in parameters if one["in"] == "path"),
        query=tuple(_parameter(one) for one in parameters if one["in"] == "query"),
        body=body,
        alternatives=alternatives,
        answer=None if answer is None else _name(answer["schema"]),
        repeatable=method in _READING or tag in _REPEATABLE_TAGS,
    )


def _parameter(raw: Schema) -> Parameter:
    described = raw.get("description", "")
    if raw["in"] == "path" and described.startswith("Percent-encode"):
        described = "As it is; the client encodes it."
    schema = {**raw["schema"], "description": described}
    return Parameter(raw["name"], schema, raw.get("required", False))


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def fields(schema: Schema) -> Iterator[Parameter]:
    """The properties of an object."""
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        yield Parameter(name, inner, name in required)


def references(node: Any) -> Iterator[str]:
    """Names of the schemas that a part of the document refers to."""
    if isinstance(node, Mapping):
        if str(node.get("$ref", "")).startswith("#/components/schemas/"):
            yield _name(node)
        for key, value in node.items():
            if key not in ("example", "examples"):
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def closure(names: Iterable[str], schemas: Mapping[str, Schema]) -> list[str]:
    """Schemas and all that they refer to; what is referred to comes first."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        if name not in found:
            for inner in dict.fromkeys(references(schemas[name])):
                add(inner)
            found[name] = None

    for name in names:
        add(name)
    return list(found)
