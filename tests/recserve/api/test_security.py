"""Keys, scopes, limits, headers and cross-origin calls, over real HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from recserve.api import ApiSettings, create_app
from recserve.api.backends.protocol import Readiness
from recserve.api.middleware.security import is_public, presented_key, scope_needed
from recserve.auth.keyring import Keyring
from recserve.auth.keys import create_key
from recserve.auth.masking import mask_keys
from recserve.auth.user_tokens import make_user_token
from recserve.config import parse_config
from recserve.errors import ConfigError
from recserve.store import Scope, Store, key_of

ORIGIN = "https://shop.example"
VIEW = {"user_id": "ada", "item_id": "1", "event": "view"}

# Every route, what it takes, and a call of it that fits. The test below compares it with the document.
CALLS: dict[tuple[str, str], tuple[Scope | None, Any]] = {
    ("POST", "/v1/recommend"): ("recommend", {"user_id": "ada"}),
    ("GET", "/v1/recommend/{user_id}"): ("recommend", None),
    ("POST", "/v1/similar"): ("recommend", {"item_id": "1"}),
    ("POST", "/v1/rank"): ("recommend", {"user_id": "ada", "items": ["1", "2"]}),
    ("GET", "/v1/items"): ("read", None),
    ("GET", "/v1/items/{item_id}"): ("read", None),
    ("GET", "/v1/vectors/map"): ("read", None),
    ("GET", "/v1/users"): ("read", None),
    ("GET", "/v1/users/{user_id}"): ("read", None),
    ("GET", "/v1/users/{user_id}/history"): ("read", None),
    ("GET", "/v1/plugins"): ("read", None),
    ("GET", "/v1/about"): ("recommend", None),
    ("GET", "/v1/live"): ("read", None),
    ("GET", "/v1/metrics"): ("read", None),
    ("POST", "/v1/events"): ("write", VIEW),
    ("DELETE", "/v1/events"): ("write", None),
    ("DELETE", "/v1/events/{event_id}"): ("write", None),
    ("POST", "/v1/items"): ("write", {"items": [{"item_id": "new", "attributes": {"title": "New"}}]}),
    ("PATCH", "/v1/items"): ("write", {"items": [{"item_id": "1", "hidden": False}]}),
    ("DELETE", "/v1/items"): ("write", {"item_ids": ["new"]}),
    ("DELETE", "/v1/items/{item_id}"): ("write", None),
    ("POST", "/v1/items/{item_id}/audience"): ("read", {}),
    ("POST", "/v1/users"): ("write", {"users": [{"user_id": "ada", "attributes": {"city": "London"}}]}),
    ("PATCH", "/v1/users"): ("write", {"users": [{"user_id": "ada", "attributes": {"city": "Paris"}}]}),
    ("POST", "/v1/users/{user_id}/merge"): ("admin", {"from": "session-1"}),
    ("DELETE", "/v1/users/{user_id}"): ("admin", None),
    ("GET", "/v1/experiments"): ("read", None),
    ("POST", "/v1/experiments"): (
        "admin",
        {"name": "trial", "scenario": "home", "arms": [{"name": "control"}, {"name": "other"}]},
    ),
    ("GET", "/v1/experiments/{name}"): ("read", None),
    ("POST", "/v1/experiments/{name}/start"): ("admin", {}),
    ("POST", "/v1/experiments/{name}/stop"): ("admin", {}),
    # One that ran: before there is nothing to report.
    ("GET", "/v1/experiments/{name}/report"): ("read", None),
    ("GET", "/v1/reports/outcomes"): ("read", None),
    ("GET", "/v1/bundles"): ("read", None),
    # None of these bundles is known here.
    ("GET", "/v1/bundles/compare"): ("read", None),
    ("POST", "/v1/bundles/rollback"): ("admin", {}),
    ("GET", "/v1/bundles/{bundle_id}"): ("read", None),
    ("GET", "/v1/bundles/{bundle_id}/report"): ("read", None),
    ("POST", "/v1/bundles/{bundle_id}/promote"): ("admin", {}),
    ("GET", "/v1/config"): ("admin", None),
    ("POST", "/v1/config/validate"): ("admin", {"text": "train: {seed: 1}"}),
    ("GET", "/v1/health/live"): (None, None),
    ("GET", "/v1/health/ready"): (None, None),
}


@pytest.fixture
def keyring(served: Any) -> Iterator[Keyring]:
    made = Keyring(served.store)
    made.start()
    yield made
    made.close()


@pytest.fixture
def served_with_keys(served: Any, keyring: Keyring) -> Any:
    settings = ApiSettings(cors_origins=(ORIGIN,))
    served.app = create_app(served.app.state.backend, settings, keyring)
    return served


@pytest.fixture
def client(served_with_keys: Any, address: str) -> Iterator[httpx.Client]:
    """Speaks to the server that has the keyring, through a socket."""
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as opened:
        yield opened


def add(store: Store, keyring: Keyring, *scopes: Scope, rate: float | None = None) -> dict[str, str]:
    """Headers of a new key."""
    key, stored = create_key("test", scopes, 1, rate)
    store.add_key(stored)
    keyring.refresh()
    return {"Authorization": f"Bearer {key}"}


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"code", "message", "field"}
    return error


HOOK = ("POST", "/v1/hooks/{name}")
"""Takes signatures, not keys."""


def call(client: httpx.Client, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
    path = path.replace("{user_id}", "ada").replace("{item_id}", "2").replace("{event_id}", "1")
    path = path.replace("{name}", "trial").replace("{bundle_id}", "20260101-000000000000")
    query = {
        ("DELETE", "/v1/events"): {"user_id": "ada", "item_id": "1"},
        ("GET", "/v1/bundles/compare"): {"a": "20260101-000000000000", "b": "20260102-000000000000"},
    }.get((method, path))
    return client.request(method, path, json=body, headers=headers, params=query)


def test_every_route_takes_its_scope_and_no_less(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring
) -> None:
    document = client.get("/openapi.json").json()
    routes = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert routes == {*CALLS, HOOK}
    store = served_with_keys.store
    scopes: list[Scope] = ["recommend", "read", "write", "admin"]
    headers = {scope: add(store, keyring, scope) for scope in scopes}
    for (method, path), (needed, body) in CALLS.items():
        operation = document["paths"][path][method.lower()]
        if needed is None:
            assert operation["security"] == []
            assert call(client, method, path, body, {}).status_code == 200
            continue
        assert {"401", "403", "429"} <= set(operation["responses"])
        refused = call(client, method, path, body, {})
        assert error_of(refused, 401)["code"] == "unauthorized", path
        assert refused.headers["www-authenticate"] == "Bearer"
        for scope in scopes:
            answer = call(client, method, path, body, headers[scope])
            if scope in (needed, "admin") or (scope, needed) == ("read", "recommend"):
                # A call may find nothing to do, or nothing left, but it is let in.
                assert answer.status_code in (200, 404, 409), (method, path, scope, answer.text)
            else:
                error = error_of(answer, 403)
                assert error["code"] == "forbidden"
                assert repr(needed) in error["message"]


def test_without_any_key_a_server_is_open_until_there_is_one(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring
) -> None:
    assert client.post("/v1/events", json=VIEW).status_code == 200
    headers = add(served_with_keys.store, keyring, "read")
    assert error_of(client.post("/v1/recommend", json={}), 401)
    assert client.post("/v1/recommend", json={}, headers=headers).status_code == 200


def test_a_key_that_is_newer_than_the_last_look_works_at_once(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring
) -> None:
    add(served_with_keys.store, keyring, "read")
    keyring.close()  # nothing comes by itself any more
    key, stored = create_key("fresh", ["read"], 1)
    served_with_keys.store.add_key(stored)
    assert client.get("/v1/about", headers={"X-API-Key": key}).status_code == 200
    served_with_keys.store.revoke_key(stored.key_id, 2)
    keyring.refresh()
    assert error_of(client.get("/v1/about", headers={"X-API-Key": key}), 401)


def test_what_browsers_open_needs_no_key(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring
) -> None:
    add(served_with_keys.store, keyring, "read")
    for path in ("/", "/docs", "/openapi.json", "/static/console/main.js", "/docs/static/swagger-ui.css"):
        assert client.get(path).status_code == 200, path
    for path in ("/v1/nothing", "/nothing", "/docs/nothing", "/v1/healthy", "/static", "/v1/health"):
        assert client.get(path).status_code == 401, path


def test_paths_that_look_public_lead_nowhere_else(
    served_with_keys: Any, keyring: Keyring, address: str
) -> None:
    add(served_with_keys.store, keyring, "read")
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    for path in (
        "/static/../v1/about",
        "/static/%2e%2e/v1/about",
        "/v1/health/../about",
        "/docs/static/..%2f..%2fv1/about",
        "/v1/health/live/../../about",
    ):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status in (401, 404), path
        assert b"scenarios" not in body
    connection.close()


def test_a_refusal_reaches_a_client_that_sends_a_long_body(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring
) -> None:
    headers = add(served_with_keys.store, keyring, "read")
    body = {"events": [dict(VIEW, event_id=f"e{number}") for number in range(10_000)]}
    for _ in range(3):
        assert error_of(client.post("/v1/events", json=body), 401)
        assert error_of(client.post("/v1/events", json=body, headers=headers), 403)
    assert served_with_keys.store.counts().events == 0


def test_too_many_calls_are_429_and_are_let_in_again(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring
) -> None:
    headers = add(served_with_keys.store, keyring, "read", rate=0.5)
    assert client.get("/v1/about", headers=headers).status_code == 200
    refused = client.get("/v1/about", headers=headers)
    assert error_of(refused, 429)["code"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    other = add(served_with_keys.store, keyring, "read")
    assert all(client.get("/v1/about", headers=other).status_code == 200 for _ in range(20))


def test_wrong_keys_of_every_kind_are_one_and_the_same_401(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring
) -> None:
    good = add(served_with_keys.store, keyring, "read")["Authorization"].removeprefix("Bearer ")
    wrong = [good[:-1] + ("0" if good[-1] != "0" else "1"), "x", "rs_" + "a" * 12 + "_" + "0" * 64, "é" * 50]
    answers = set()
    for key in wrong:
        for headers in ({"Authorization": b"Bearer " + key.encode()}, {"X-API-Key": key.encode()}):
            answer = client.get("/v1/about", headers=headers)
            assert error_of(answer, 401)
            answers.add(answer.text)
    assert len(answers) == 1
    # Another kind of credentials, for a proxy in front, is none of ours; the other header then counts.
    basic = {"Authorization": "Basic YTpi"}
    assert client.get("/v1/about", headers=basic).status_code == 401
    assert client.get("/v1/about", headers={**basic, "X-API-Key": good}).status_code == 200
    assert client.get("/v1/about", headers={"Authorization": f"bearer   {good}"}).status_code == 200
    # Where it would end up in logs and histories it does not count.
    assert client.get(f"/v1/about?key={good}&access_token={good}").status_code == 401


def test_every_answer_has_the_headers_that_browsers_obey(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring
) -> None:
    headers = add(served_with_keys.store, keyring, "read")
    refused = client.get("/v1/about")
    good = client.get("/v1/about", headers=headers)
    unknown = client.get("/v1/nothing", headers=headers)
    wrong = client.post("/v1/recommend", content=b"{", headers=headers)
    page, docs, script = client.get("/"), client.get("/docs"), client.get("/static/console/main.js")
    for answer in (refused, good, unknown, wrong, page, docs, script):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
    for answer in (refused, good, unknown, wrong):
        assert answer.headers["cache-control"] == "no-store"
    for answer in (page, docs):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-cache"
    assert "sha256-" in docs.headers["content-security-policy"]


def test_a_configured_origin_may_call_and_no_other(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring
) -> None:
    headers = add(served_with_keys.store, keyring, "read")
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    # A browser asks without the key, whatever it is going to send.
    preflight = client.options("/v1/recommend", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in preflight.headers["access-control-allow-methods"]
    answer = client.post("/v1/recommend", json={}, headers={**headers, "Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    # Its script must be able to read why it is refused.
    refused = client.post("/v1/recommend", json={}, headers={"Origin": ORIGIN})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)
    foreign = client.options("/v1/recommend", headers={**asked, "Origin": "https://evil.example"})
    assert foreign.status_code == 400
    assert "access-control-allow-origin" not in foreign.headers
    answer = client.post("/v1/recommend", json={}, headers={**headers, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_cors_is_off_unless_configured(served: Any) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = served.call("OPTIONS", "/v1/recommend", headers=asked)
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers
    answer = served.post("/v1/recommend", {}, headers={"Origin": ORIGIN})
    assert answer.status_code == 200
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    "origin", ["*", "https://*.example", "shop.example", "https://shop.example/", "null", "https://u@h"]
)
def test_origins_that_browsers_do_not_send_are_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match="cors_origins"):
        parse_config({"server": {"cors_origins": [origin]}})
    parse_config({"server": {"cors_origins": ["https://shop.example", "http://127.0.0.1:3000"]}})


def test_the_audit_log_names_the_key(client: httpx.Client, served_with_keys: Any, keyring: Keyring) -> None:
    assert client.delete("/v1/items/2").status_code == 200
    headers = add(served_with_keys.store, keyring, "admin")
    key_id = headers["Authorization"].split("_")[1]
    assert client.delete("/v1/items/47", headers=headers).status_code == 200
    # A name that no random hexadecimal receipt can contain.
    assert client.delete("/v1/users/nobody", headers=headers).status_code == 200
    entries = served_with_keys.store.audit(10)
    assert [(one.actor, one.action) for one in entries] == [
        (f"key:{key_id}", "user.delete"),
        (f"key:{key_id}", "item.delete"),
        ("anonymous", "item.delete"),
    ]
    assert "nobody" not in json.dumps([[one.target, dict(one.detail)] for one in entries])


def test_a_route_that_nobody_thought_of_takes_a_key_that_may_write() -> None:
    assert scope_needed("POST", "/v1/new") == "write"
    assert scope_needed("PUT", "/v1/recommend") == "write"
    assert scope_needed("DELETE", "/v1/users/a/b") == "admin"
    assert not is_public("/v1/new")
    assert not is_public("/staticx")


def test_the_bearer_wins_over_the_other_header() -> None:
    headers = [(b"x-api-key", b"other"), (b"authorization", b"Bearer one")]
    assert presented_key(headers) == presented_key(reversed(headers)) == "one"
    assert presented_key([]) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "[2001:db8::1]:80", "127.0.0.1.evil.example"]
)
def test_without_keys_names_of_other_machines_are_refused(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring, host: str
) -> None:
    refused = error_of(client.get("/v1/about", headers={"Host": host}), 403)
    assert refused["code"] == "forbidden"
    assert "localhost only" in refused["message"]
    for fine in ("localhost:9", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
        assert client.get("/v1/about", headers={"Host": fine}).status_code == 200
    key = add(served_with_keys.store, keyring, "read")
    assert client.get("/v1/about", headers={"Host": host, **key}).status_code == 200


def test_about_names_users_only_to_those_who_may_look_them_up(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring
) -> None:
    store = served_with_keys.store
    scopes: list[Scope] = ["recommend", "read", "admin"]
    shown = {
        scope: client.get("/v1/about", headers=add(store, keyring, scope)).json()["sample_users"]
        for scope in scopes
    }
    assert shown == {"recommend": [], "read": ["ada", "grace"], "admin": ["ada", "grace"]}


class Down:
    """A server whose store cannot be reached, and says where that is."""

    WHERE = "the store (postgresql at db.internal:5432/shop) failed: psycopg: no route to host"

    def __init__(self, ready: bool) -> None:
        self._ready = ready

    async def ready(self) -> Readiness:
        details = {"store": self.WHERE}
        if not self._ready:
            details["bundle"] = "none at s3://secret"
        return Readiness(self._ready, "b" if self._ready else None, False, {}, details)


@pytest.mark.parametrize("ready", [True, False])
def test_readiness_tells_places_only_to_those_with_a_key(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring, ready: bool
) -> None:
    reader = add(served_with_keys.store, keyring, "read")
    served_with_keys.app.state.backend = Down(ready)
    for headers in ({}, {"X-API-Key": "wrong"}, add(served_with_keys.store, keyring, "recommend")):
        answer = client.get("/v1/health/ready", headers=headers)
        assert answer.status_code == (200 if ready else 503)
        assert "store" in answer.text
        for word in ("postgresql", "db.internal", "5432", "shop", "psycopg", "s3", "route"):
            assert word not in answer.text, word
    assert "db.internal" in client.get("/v1/health/ready", headers=reader).text


def test_merging_is_audited_without_anybodys_id(
    client: httpx.Client, served_with_keys: Any, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    store = served_with_keys.store
    admin, writer = add(store, keyring, "admin"), add(store, keyring, "write")
    client.post("/v1/events", json={**VIEW, "user_id": "session-1"}, headers=writer)
    with caplog.at_level("INFO", "recserve"):
        answer = client.post("/v1/users/grace-hopper/merge", json={"from": "session-1"}, headers=admin)
    assert answer.json() == {"moved": 1}
    (entry,) = store.audit(9)
    _, key_id, secret = admin["Authorization"].split("_")
    assert (entry.actor, entry.action) == (f"key:{key_id}", "user.merge")
    assert entry.target == key_of("grace-hopper").hex()
    assert entry.detail == {"from": key_of("session-1").hex(), "moved": 1}
    assert f"user.merge of {entry.target} by key:{key_id}" in caplog.text
    lines = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("recserve"))
    for word in ("grace", "session-1", secret):
        assert word not in lines
    # Whatever the path looks like, nobody merges with less.
    for path in ("/v1/users/ada/merge", "/v1/users/x%2Fmerge", "/v1/users/a/b/merge"):
        error_of(client.post(path, json={"from": "b"}, headers=writer), 403)


class TestUserTokens:
    def token(self, headers: dict[str, str], user: str = "ada", seconds: float = 60) -> str:
        key = headers["Authorization"].removeprefix("Bearer ")
        return make_user_token(key, user, int(time.time() + seconds))

    def test_it_is_good_for_answers_to_one_user(
        self, client: httpx.Client, served_with_keys: Any, keyring: Keyring
    ) -> None:
        scopes: list[Scope] = ["recommend", "read", "admin"]
        for scope in scopes:
            token = self.token(add(served_with_keys.store, keyring, scope), "ådå / 1")
            client.headers["Authorization"] = f"Bearer {token}"
            for body in ({"user_id": "ådå / 1"}, {"session": ["1"]}, {}):
                assert client.post("/v1/recommend", json=body).status_code == 200
            assert client.get("/v1/recommend/%C3%A5d%C3%A5%20%2F%201").status_code == 200
            assert client.post("/v1/similar", json={"item_id": "1"}).status_code == 200
            assert client.post("/v1/rank", json={"user_id": "ådå / 1", "items": ["1"]}).status_code == 200
            for method, path, sent in (
                ("POST", "/v1/recommend", {"user_id": "ada"}),
                ("POST", "/v1/rank", {"user_id": "ada", "items": ["1"]}),
                ("GET", "/v1/recommend/ada", None),
            ):
                refused = error_of(client.request(method, path, json=sent), 403)
                assert (refused["code"], refused["field"]) == ("forbidden", "user_id")
            for path in ("/v1/users/ada/history", "/v1/items", "/v1/metrics"):
                error_of(client.get(path), 403)
            error_of(client.delete("/v1/users/ada"), 403)
            assert client.get("/v1/about").json()["sample_users"] == []

    def test_what_is_not_good_is_refused(
        self, client: httpx.Client, served_with_keys: Any, keyring: Keyring
    ) -> None:
        store = served_with_keys.store
        key, other = add(store, keyring, "recommend"), add(store, keyring, "recommend")
        good = self.token(key)
        start, signature = good.rsplit("_", 1)
        _, key_id, claims = start.split("_", 2)
        forged = (
            base64.urlsafe_b64encode(b'{"user_id": "grace", "expires": 9999999999}').rstrip(b"=").decode()
        )
        wrong = [
            f"rt_{key_id}_{forged}_{signature}",
            f"rt_{other['Authorization'].split('_')[1]}_{claims}_{signature}",
            f"rt_{'a' * 12}_{claims}_{signature}",
            f"rt_{key_id}_{claims}_{'0' * 64}",
            good[:-1],
            self.token(key, seconds=-1),
        ]
        for one in wrong:
            refused = client.post("/v1/recommend", json={}, headers={"Authorization": f"Bearer {one}"})
            assert error_of(refused, 401)["code"] == "unauthorized"
        writer = self.token(add(store, keyring, "write"))
        error_of(client.post("/v1/recommend", json={}, headers={"X-API-Key": writer}), 403)
        assert client.post("/v1/recommend", json={}, headers={"X-API-Key": good}).status_code == 200
        store.revoke_key(key_id, 2)
        keyring.refresh()
        error_of(client.post("/v1/recommend", json={}, headers={"X-API-Key": good}), 401)

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
    def test_any_language_can_make_it(self, served_with_keys: Any, keyring: Keyring) -> None:
        headers = add(served_with_keys.store, keyring, "recommend")
        _, key_id, secret = headers["Authorization"].split("_")
        script = """
          claims=$(printf '{"user_id":"42","expires":9999999999}' | openssl base64 -A)
          claims=$(printf '%s' "$claims" | tr '+/' '-_' | tr -d '=')
          signing=$(printf '%s' "$2" | openssl dgst -sha256 -r | cut -d' ' -f1)
          signed="rt_$1_$claims"
          printf '%s_' "$signed"
          printf '%s' "$signed" | openssl dgst -sha256 -hmac "$signing" -r | cut -d' ' -f1
        """
        command = ["sh", "-c", script, "sh", key_id, secret]
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        caller = keyring.admit(made.stdout.strip(), "recommend")
        assert (caller.actor, caller.user_id) == (f"key:{key_id}", "42")
        assert set(caller.scopes) == {"recommend"}

    def test_logs_never_show_it(self, served_with_keys: Any, keyring: Keyring) -> None:
        token = self.token(add(served_with_keys.store, keyring, "recommend"))
        masked = mask_keys(f"GET /v1/x?key={token} HTTP/1.1")
        assert masked == f"GET /v1/x?key=rt_{token.split('_')[1]}_*** HTTP/1.1"
