"""What every request of a client carries."""

from __future__ import annotations

import httpx
from recserve_client import Client
from recserve_client.core.connection import headers


def test_the_key_and_the_version() -> None:
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, json={"status": "live"})

    with Client(api_key="secret", transport=httpx.MockTransport(answer)) as client:
        client.live()
    assert seen[0]["Authorization"] == "Bearer secret"
    assert seen[0]["User-Agent"].startswith("recserve-client/")
    assert "Authorization" not in headers(None)
