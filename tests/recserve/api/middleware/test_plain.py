"""Routes that are looked up before FastAPI's router answer as they do behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from recserve.api.middleware.plain import PlainRoutes


@pytest.fixture
def plain(shared: Any) -> Mapping[tuple[str, str], APIRoute]:
    """The routes without parameters."""
    return {
        (method, route.path): route
        for route in shared.app.routes
        if isinstance(route, APIRoute) and not route.dependant.path_params + route.dependant.query_params
        for method in route.methods
    }


def at_prefix(app: FastAPI, method: str, path: str, **sent: Any) -> httpx.Response:
    """Call an application behind a proxy that was given a prefix for it."""

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path="/shop")
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, f"/shop{path}", **sent)

    return asyncio.run(call())


def test_all_routes_without_parameters_take_the_short_way(
    shared: Any, plain: Mapping[tuple[str, str], APIRoute]
) -> None:
    found = next(one for one in shared.app.user_middleware if one.cls is PlainRoutes)
    assert {route.path for route in found.kwargs["routes"]} == {path for _, path in plain}
    assert ("POST", "/v1/recommend") in plain
    assert ("GET", "/v1/health/live") in plain


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/recommend", {"user_id": "ada", "n": 3, "explain": False}),
        ("POST", "/v1/recommend", {"usr_id": "ada"}),
        ("POST", "/v1/recommend?n=3", {}),
        ("POST", "/v1/similar", {"item_id": "no such item"}),
        ("GET", "/v1/health/live", None),
        ("PUT", "/v1/recommend", {}),
    ],
)
def test_a_prefix_changes_no_answer(shared: Any, method: str, path: str, body: Any) -> None:
    short = shared.call(method, path, json=body)
    long = at_prefix(shared.app, method, path, json=body)
    assert short.status_code == long.status_code
    differing = ("recommendation_id", "timings")
    answers = [
        {key: value for key, value in response.json().items() if key not in differing}
        for response in (short, long)
    ]
    if method == "PUT":  # its message names the path
        assert answers[1]["error"].pop("message").replace("/shop", "") == answers[0]["error"].pop("message")
    assert answers[0] == answers[1]
