"""Errors as the document shows them: a response a status, an example a code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

REF = "#/components/responses/{name}"
ERROR = {"$ref": "#/components/schemas/ErrorAnswer"}

OTHER_CODES: Mapping[str, str] = {
    "bundle_error": "a bundle that an experiment needs is missing or damaged",
    "environment": "the surroundings of the server do not allow it",
    "http_error": "the request is not HTTP that the server understands",
    "invalid_config": "the server's configuration cannot answer this",
    "invalid_data": "data cannot be read as what they claim to be",
    "method_not_allowed": "the path is called by another method; see the `Allow` header",
    "plugin_error": "a plugin of the server is missing or broken",
}
"""Codes that no response of the document has an example of: rare ones, and those of paths that it lacks."""


@dataclass(frozen=True)
class Mistake:
    """One code of a status.

    Attributes:
        code: Stable, for programs.
        message: An example of the line for people.
        at: An example of the field at fault, if one can be.
    """

    code: str
    message: str
    at: str | None = None

    def example(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"code": self.code, "message": self.message, "field": self.at}}


@dataclass(frozen=True)
class Failure:
    """A status that is not a success.

    Attributes:
        status: HTTP status.
        description: What it means to the caller.
        mistakes: Its codes.
        headers: Name of a header -> description and type.
    """

    status: int
    description: str
    mistakes: tuple[Mistake, ...]
    headers: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def response(self) -> dict[str, Any]:
        """The response object of the document."""
        examples = {
            mistake.code: {"summary": mistake.code, "value": mistake.example()} for mistake in self.mistakes
        }
        made: dict[str, Any] = {
            "description": self.description,
            "content": {"application/json": {"schema": ERROR, "examples": examples}},
        }
        if self.headers:
            made["headers"] = {
                name: {"description": text, "schema": {"type": kind}}
                for name, (text, kind) in self.headers.items()
            }
        return made


_RETRY_AFTER = {"Retry-After": ("Seconds to wait.", "integer")}

FAILURES: Mapping[str, Failure] = {
    "MalformedBody": Failure(
        400,
        "The body is not JSON.",
        (Mistake("malformed_json", "the body is not valid JSON: EOF while parsing a value at line 1"),),
    ),
    "Unauthorized": Failure(
        401,
        "The server has API keys and the call came without a good one, or the body of a hook without a good "
        "signature.",
        (
            Mistake("unauthorized", "this call needs an API key: send `Authorization: Bearer KEY`"),
            Mistake(
                "invalid_signature",
                "the signature is not what the secret of this hook makes of this body",
            ),
        ),
        {"WWW-Authenticate": ("`Bearer`, or `Signature` of a hook", "string")},
    ),
    "Forbidden": Failure(
        403, "The key may not do this.", (Mistake("forbidden", "this key lacks the scope 'write'"),)
    ),
    "NotFound": Failure(
        404,
        "What the call names does not exist.",
        (Mistake("not_found", "unknown item '0'", "item_id"),),
    ),
    "EventConflict": Failure(
        409,
        "An event contradicts what is stored. Nothing was stored; sending it again does not help.",
        (
            Mistake(
                "event_id_conflict",
                "event_id: this id stands for an event with other content; give each event its own id",
                "event_id",
            ),
            Mistake("event_removed", "event_id: this event was taken back", "event_id"),
            Mistake("user_deleted", "user_id: this user was deleted after the event happened", "user_id"),
        ),
    ),
    "ExperimentConflict": Failure(
        409,
        "The experiment cannot go beside another one, or its state does not allow it.",
        (Mistake("experiment_conflict", "experiment 'fewer-neighbours' is stopped for good"),),
    ),
    "BundleConflict": Failure(
        409,
        "The evidence, or the lack of it, speaks against the bundle; it was not promoted.",
        (
            Mistake("worse_bundle", 'refused: ndcg@10 is worse; promote it anyway with "force": true'),
            Mistake("not_measured", "bundles b1 and b2 were not measured on the same data", "bundle_id"),
            Mistake("no_earlier_bundle", "there is no earlier bundle to go back to"),
            Mistake("conflict", "another bundle became current meanwhile; compare with that one"),
        ),
    ),
    "BodyTooLarge": Failure(
        413,
        "The body is too long.",
        (Mistake("body_too_large", "the body is longer than the 2,000,000 bytes this server accepts"),),
    ),
    "UnsupportedMediaType": Failure(
        415,
        "The body is not declared as JSON.",
        (
            Mistake(
                "unsupported_media_type",
                "the body needs Content-Type: application/json (got 'text/plain')",
            ),
        ),
    ),
    "InvalidRequest": Failure(
        422,
        "The content is wrong; `field` says where.",
        (
            Mistake(
                "invalid_request",
                "unknown field 'usr_id'; did you mean 'user_id'? (known: item_id, user_id)",
                "usr_id",
            ),
        ),
    ),
    "RateLimited": Failure(
        429,
        "The key is used more often than it may be; come back after `Retry-After` seconds.",
        (Mistake("rate_limited", "this key may make 10 requests a second"),),
        _RETRY_AFTER,
    ),
    "Internal": Failure(
        500, "A fault of the server.", (Mistake("internal", "internal error; see the server's log"),)
    ),
    "Unavailable": Failure(
        503,
        "Not now; come back after `Retry-After` seconds. Nothing was stored, unless the code is "
        "`outcome_unknown` or `timeout`: then nobody knows, so send it again.",
        (
            Mistake("overloaded", "too many requests are waiting"),
            Mistake("not_ready", "the server is starting"),
            Mistake(
                "store_unavailable",
                "the store cannot be used now; nothing was stored, come back in a moment",
            ),
            Mistake("stage_failed", "the ranking stage is late"),
            Mistake(
                "outcome_unknown", "the store stopped answering; whether a write was stored is not known"
            ),
            Mistake("timeout", "not done after 28 s; send it again"),
        ),
        _RETRY_AFTER,
    ),
}
"""By name in the document."""

_CONFLICTS = {"experiments": "ExperimentConflict", "events": "EventConflict", "bundles": "BundleConflict"}


def name_of(status: int, tag: str) -> str:
    """Name of the response that a route of a tag gives by a status."""
    if status == 409:
        return _CONFLICTS[tag]
    return next(name for name, failure in FAILURES.items() if failure.status == status)


def codes() -> Iterator[str]:
    """All codes, in alphabetical order."""
    shown = {mistake.code for failure in FAILURES.values() for mistake in failure.mistakes}
    yield from sorted({*shown, *OTHER_CODES})
