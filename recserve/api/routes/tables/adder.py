"""Adds routes to an application: path, handler and what the OpenAPI document says of them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from recserve.api import openapi
from recserve.api.middleware.plain import refuse_others


class Adder:
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


def _only(known: Collection[str]) -> Any:
    """:func:`recserve.api.middleware.plain.refuse_others` as a dependency of FastAPI's."""

    def check(request: Request) -> None:
        refuse_others(request, known)

    return Depends(check)
