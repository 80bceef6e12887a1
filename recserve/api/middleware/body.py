"""Reads a JSON body: bounded while it streams in, parsed once, validated once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from recserve.api.middleware.errors import (
    BodyTooLargeError,
    MalformedJsonError,
    UnsupportedMediaTypeError,
    invalid,
)
from recserve.api.schemas.recommend_request import Body
from recserve.config import keys_at
from recserve.errors import InvalidRequestError

BodyT = TypeVar("BodyT", bound=Body)
T = TypeVar("T")

# Longer bodies are parsed in a thread, so that a batch of 10,000 events holds nobody else up.
_PARSED_ON_LOOP = 32_768

_DRAINED = 8
"""Reading stops for good at this many times the limit."""


async def read(request: Request, limit: int, parse: Callable[[Any], T]) -> T:
    """Read and parse the body of a request that is declared as JSON.

    Args:
        request: The request, its body not yet read.
        limit: Longest accepted body in bytes.
        parse: Makes something of the parsed JSON; called in a thread for a long body.

    Raises:
        RecserveError: The body is not what it should be.
    """
    raw = await read_body(request, limit)
    return await in_thread_if_long(raw, lambda: parse(parse_json(raw)))


async def in_thread_if_long(body: bytes, work: Callable[[], T]) -> T:
    """What is to be made of a body, made in a thread where that takes a while."""
    return await asyncio.to_thread(work) if len(body) > _PARSED_ON_LOOP else work()


async def read_body(request: Request, limit: int) -> bytes:
    """Read the body of a request that is declared as JSON.

    Args:
        request: The request, its body not yet read.
        limit: Longest accepted body in bytes, chunked or not; no more than that is ever held in memory.

    Raises:
        UnsupportedMediaTypeError: Not declared as JSON, or compressed.
        BodyTooLargeError: Longer than ``limit``.
    """
    raw = dict(request.scope["headers"])
    # What nearly every body is, so that nothing else need be looked up.
    if raw.get(b"content-type") != b"application/json" or b"content-encoding" in raw:
        _check_headers(request.headers)
    if b"expect" in raw and _declared_length(request.headers) > limit:
        raise _too_large(limit)  # the client waits for our word before it sends anything
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        # As request.stream() does, which takes as long as all else here.
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > _DRAINED * limit:
            break
        else:
            # Read on without keeping it: a client that is cut off while it writes never sees the answer.
            chunks.clear()
    if size > limit:
        raise _too_large(limit)
    return b"".join(chunks)


def _declared_length(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() and len(length) < 19 else 0


def _check_headers(headers: Mapping[str, str]) -> None:
    # A body must be declared: browsers send undeclared or text/plain bodies across origins without asking.
    declared = headers.get("content-type", "")
    kind, *parameters = (part.strip().lower() for part in declared.split(";"))
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        was = repr(declared[:80]) if declared else "none"
        raise UnsupportedMediaTypeError(f"the body needs Content-Type: application/json (got {was})")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise UnsupportedMediaTypeError(f"JSON must be UTF-8, not {value[:40]}")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaTypeError(
            f"compressed bodies are not accepted (Content-Encoding: {encoding[:40]})"
        )


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is longer than the {limit:,} bytes this server accepts")


def parse_json(body: bytes) -> Any:
    """Parse strictly: no NaN, no trailing commas, nesting bounded.

    Raises:
        MalformedJsonError: Not JSON.
        InvalidRequestError: JSON whose strings hold half a surrogate pair.
    """
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        _explain(body, error)


def _explain(body: bytes, error: ValueError) -> NoReturn:
    if not body.strip():
        raise MalformedJsonError("the body is empty; send a JSON object") from None
    reason = str(error)
    # The parser reports "\ud800" as bad syntax. It is valid JSON, only not valid Unicode.
    if "hex escape" in reason and _parses(body):
        raise InvalidRequestError(
            "a string holds half of a surrogate pair, which is not valid Unicode"
        ) from None
    raise MalformedJsonError(f"the body is not valid JSON: {reason}") from None


def _parses(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def validate(model: type[BodyT], data: Any) -> BodyT:
    """Validate a parsed body.

    Raises:
        InvalidRequestError: Names the field and what is wrong with it.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise invalid(found, keys_at(model, found[0]["loc"][:-1])) from None
