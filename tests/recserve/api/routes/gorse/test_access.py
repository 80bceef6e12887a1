"""Keys for Gorse's paths, in the header that Gorse's clients send, and the paths themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from recserve.api import create_app
from recserve.api.routes.gorse.access import GorseAccess
from recserve.auth.keyring import Keyring
from recserve.auth.keys import create_key
from recserve.config import GorseConfig, parse_config
from recserve.errors import ConfigError
from recserve.store import Scope
from tests.recserve.api.conftest import build, listening
from tests.recserve.api.routes.gorse.conftest import SPEAKS_GORSE

LIKE = [{"FeedbackType": "like", "UserId": "ada", "ItemId": "260"}]
PREFIX = "/shop/api"
SHOP = replace(SPEAKS_GORSE, gorse=GorseConfig(enabled=True, prefix=PREFIX))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Callable[[Scope], str]]]:
    """A server with keys and a prefix of its own, and what makes a key."""
    made = build(tmp_path_factory.mktemp("shop"), where=True)
    with made.store:
        keyring = Keyring(made.store)
        app = create_app(made.app.state.backend, SHOP, keyring)

        def key(scope: Scope) -> str:
            secret, stored = create_key("test", [scope], 1)
            made.store.add_key(stored)
            keyring.refresh()
            return secret

        with listening(app) as url, httpx.Client(base_url=url) as client:
            yield client, key
        keyring.close()


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/health/live", None),
        ("GET", "/recommend/ada/", "recommend"),
        ("POST", "/session/recommend", "recommend"),
        ("GET", "/popular", "recommend"),
        ("GET", "/latest/x", "recommend"),
        ("GET", "/non-personalized/trending", "recommend"),
        ("GET", "/item/260/neighbors/", "recommend"),
        ("GET", "/item-to-item/neighbors/260", "recommend"),
        ("GET", "/item/260", "read"),
        ("GET", "/items", "read"),
        ("GET", "/users", "read"),
        ("GET", "/user/ada/feedback", "read"),
        ("GET", "/feedback", "read"),
        ("GET", "/measurements/NDCG", "read"),
        ("POST", "/user", "write"),
        ("PATCH", "/item/260", "write"),
        ("PUT", "/feedback", "write"),
        ("DELETE", "/feedback/ada/260", "write"),
        ("DELETE", "/item/260", "write"),
        ("DELETE", "/popular", "write"),
        ("DELETE", "/user/ada", "admin"),
    ],
)
def test_what_a_key_must_be_good_for(method: str, path: str, needed: Scope | None) -> None:
    assert GorseAccess(PREFIX).scope(method, f"{PREFIX}{path}") == needed


def test_keys(shop: Any) -> None:
    client, key = shop

    def call(method: str, path: str, secret: str = "", body: Any = None) -> httpx.Response:
        headers = {"X-API-Key": secret} if secret else {}
        return client.request(method, f"{PREFIX}{path}", headers=headers, json=body)

    secrets = {scope: key(scope) for scope in ("recommend", "read", "write", "admin")}
    refused = call("GET", "/recommend/ada")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.headers["content-type"] == "text/plain; charset=utf-8"
    assert refused.text.startswith("this call needs an API key")
    assert call("GET", "/health/ready").status_code == 200
    assert call("GET", "/recommend/ada", secrets["recommend"]).status_code == 200
    assert call("GET", "/user/ada", secrets["recommend"]).status_code == 403
    assert call("POST", "/feedback", secrets["read"], LIKE).status_code == 403
    assert call("POST", "/feedback", secrets["write"], LIKE).status_code == 200
    assert call("GET", "/user/ada", secrets["read"]).status_code == 200
    back = call("GET", "/recommend/ada?write-back-type=read", secrets["recommend"])
    assert (back.status_code, back.text) == (403, "write-back-type needs a key with the scope 'write'")
    assert call("GET", "/recommend/ada?write-back-type=read", secrets["admin"]).status_code == 200
    assert call("DELETE", "/user/ada", secrets["write"]).status_code == 403
    assert call("DELETE", "/user/ada", secrets["admin"]).status_code == 200


def test_the_routes_are_there_where_they_are_wanted(tmp_path: Path, shop: Any) -> None:
    client, _ = shop
    assert client.get("/api/health/live").status_code == 401  # no path of ours: like any other
    made = build(tmp_path)
    with made.store:
        for path in ("/api/health/live", "/api/recommend/ada"):
            answer = made.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        document = made.get("/openapi.json").json()
    assert not [path for path in document["paths"] if path.startswith("/api")]
    assert client.get("/openapi.json").json()["paths"].keys() == document["paths"].keys()


def test_metrics_know_routes_by_their_paths(shop: Any) -> None:
    client, key = shop
    headers = {"X-API-Key": key("read")}
    client.get(f"{PREFIX}/item/260", headers=headers)
    told = client.get("/v1/metrics", headers=headers).text
    assert f'route="{PREFIX}/item/{{item_id}}"' in told
    assert f'route="{PREFIX}/item/260"' not in told


@pytest.mark.parametrize(
    ("gorse", "message"),
    [
        ({"prefix": "api"}, "write a path such as /api"),
        ({"prefix": "/api/"}, "write a path such as /api"),
        ({"prefix": "/v1"}, "/v1 is taken"),
        ({"feedback_types": {"star": "stars"}}, "server.gorse.feedback_types: unknown event type 'stars'"),
        ({"enable": True}, "unknown key"),
    ],
)
def test_wrong_settings(gorse: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"server": {"gorse": gorse}})
