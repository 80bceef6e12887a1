"""Keys on a real server that listens on every interface, and what its log files hold afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from recserve_deployments.local_server import ports
from recserve_deployments.local_server.environment import run_directory, server_environment

from recserve.config import ServerConfig

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

CONFIG = {
    "encoder": None,
    "scenarios": {"home": {"retrievers": [{"use": "popular"}]}},
    "server": {"topology": "fused", "gorse": {"enabled": True}},
}
EVENT = {"user_id": "u", "item_id": "item-1", "event": "view"}


def fused(server: Any) -> Any:
    """Everything in the ingress, and no model: the quickest server there is."""
    (server.home / "recserve.yaml").write_text(yaml.safe_dump(CONFIG))
    return server


def make_key(server: Any, *scopes: str) -> str:
    options = [word for scope in scopes for word in ("--scope", scope)]
    key: str = server.run("keys", "create", f"for {scopes}", *options).stdout.strip()
    return key


def ask(url: str, method: str, path: str, key: str | None = None, body: Any = None) -> httpx.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.request(method, url + path, json=body, headers=headers, timeout=30, trust_env=False)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def guarded(new_server: Callable[[], Any]) -> Any:
    """A server on 0.0.0.0, and the keys it was started with: ``read``, ``write``, ``admin``."""
    server = fused(new_server())
    server.keys = {scope: make_key(server, scope) for scope in ("read", "write", "admin")}
    server.run("serve", "--detach", "--host", "0.0.0.0", "--port", str(server.port))
    return server


def test_only_the_public_port_leaves_the_loopback(guarded: Any) -> None:
    # An address that only a socket on every interface answers at.
    elsewhere = f"http://127.0.0.2:{guarded.port}"
    assert ask(elsewhere, "GET", "/v1/health/ready").status_code == 200
    assert ask(elsewhere, "GET", "/v1/about").status_code == 401
    assert ask(elsewhere, "GET", "/v1/about", guarded.keys["read"]).status_code == 200
    listening = ports.listeners(guarded.state.processes())
    open_ports = {one.port for one in listening if not one.loopback}
    assert guarded.port in open_ports
    window = ports.ServePorts(guarded.state.ports)
    inner = [one for one in listening if window.is_api(one.port) or window.is_page(one.port)]
    assert len(inner) >= 4
    assert all(one.loopback for one in inner)
    # The replicas behind the proxy are guarded as well.
    replicas = [one for one in inner if "ServeReplica" in one.process]
    assert replicas
    for one in replicas:
        assert ask(f"http://127.0.0.1:{one.port}", "GET", "/v1/about").status_code == 401
        assert (
            ask(f"http://127.0.0.1:{one.port}", "GET", "/v1/about", guarded.keys["read"]).status_code == 200
        )


def test_status_tells_what_guards_each_socket(guarded: Any) -> None:
    shown = guarded.run("status", "--ports").stdout
    (line,) = [line for line in shown.splitlines() if f" {guarded.port} " in line and "│" in line]
    assert "every interface" in line
    assert "API key" in line
    assert shown.count("nothing (read only)") == 2
    assert "Ray's token" in shown
    assert guarded.url in shown


def test_gorses_client_speaks_to_the_server(guarded: Any) -> None:
    gorse = pytest.importorskip("gorse", reason="the Python package PyGorse is missing")
    client = gorse.Gorse(guarded.url, guarded.keys["admin"])
    assert client.insert_user({"UserId": "reader", "Labels": ["a"]}) == {"RowAffected": 1}
    assert client.insert_item({"ItemId": "new", "Categories": ["x"]}) == {"RowAffected": 1}
    shown = [one.id for one in client.get_recommend("reader", n=5, write_back_type="read")]
    assert len(shown) == 5
    assert sorted(one["ItemId"] for one in client.list_feedbacks("read", "reader")) == sorted(shown)
    assert not set(shown) & {one.id for one in client.get_recommend("reader", n=5)}
    assert client.insert_feedback("star", "reader", "new", "2024-05-01T12:00:00Z") == {"RowAffected": 1}
    assert len(client.session_recommend([{"FeedbackType": "star", "ItemId": shown[0]}], n=3)) == 3
    feedback, cursor = client.get_feedbacks(4)
    assert (len(feedback), bool(cursor)) == (4, True)
    assert client.delete_user("reader") == {"RowAffected": 1}
    for key, status in (("", 401), (guarded.keys["read"], 403)):
        with pytest.raises(gorse.GorseException) as caught:
            gorse.Gorse(guarded.url, key).insert_feedback("star", "reader", "new", "")
        assert caught.value.status_code == status


def test_scopes_hold_behind_the_proxy(guarded: Any) -> None:
    read, write, admin = (guarded.keys[scope] for scope in ("read", "write", "admin"))
    url = guarded.url
    assert ask(url, "POST", "/v1/recommend", read, {"n": 3}).status_code == 200
    refused = ask(url, "POST", "/v1/events", read, EVENT)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "forbidden"
    assert ask(url, "POST", "/v1/events", write, EVENT).status_code == 200
    assert ask(url, "POST", "/v1/recommend", write, {"n": 3}).status_code == 403
    assert ask(url, "DELETE", "/v1/users/u", write).status_code == 403
    assert ask(url, "DELETE", "/v1/users/u", admin).status_code == 200
    answer = ask(url, "GET", "/v1/metrics", read)
    assert "recserve_requests_total{" in answer.text
    assert 'stage="ingress"' in answer.text
    assert 'status="403"' in answer.text
    assert "recserve_events_stored_total" in answer.text
    shown = guarded.run("audit").stdout
    assert f"key:{admin.split('_')[1]}" in shown
    assert "user.delete" in shown


def test_new_and_revoked_keys_count_while_it_runs(guarded: Any) -> None:
    key = make_key(guarded, "read")
    assert ask(guarded.url, "GET", "/v1/about", key).status_code == 200
    guarded.run("keys", "revoke", key.split("_")[1])
    wait_for(lambda: ask(guarded.url, "GET", "/v1/about", key).status_code == 401)
    assert ask(guarded.url, "GET", "/v1/about", guarded.keys["read"]).status_code == 200


def test_no_log_file_holds_a_key(guarded: Any) -> None:
    key = guarded.keys["admin"]
    # Where keys end up by mistake: paths, queries, bodies, headers.
    for path in (f"/v1/items/{key}", f"/v1/nothing/{key}", f"/v1/about?key={key}"):
        ask(guarded.url, "GET", path, key)
    ask(guarded.url, "POST", "/v1/recommend", key, {"user_id": key, key: key})
    httpx.post(f"{guarded.url}/v1/recommend", content=key, headers={"X-API-Key": key}, trust_env=False)
    shown = [
        guarded.run(*command).stdout for command in (("keys", "list"), ("audit",), ("status", "--ports"))
    ]
    secrets = [one.rpartition("_")[2] for one in guarded.keys.values()]
    assert not any(secret in text for secret in secrets for text in shown)
    folders = [guarded.home, Path(guarded.state.ray_logs), Path(guarded.state.run_directory)]
    read = 0
    for folder in folders:
        for file in folder.rglob("*"):
            if not file.is_file():
                continue
            content = file.read_bytes()
            read += 1
            assert not any(secret.encode() in content for secret in secrets), file
    assert read > 10
    assert any((Path(guarded.state.ray_logs) / "serve").glob("replica_recserve_*.log"))


CLUSTER = """
import sys, ray
from ray import serve
context = ray.init(address="local", num_cpus=2, include_dashboard=False, _temp_dir=sys.argv[1],
                   object_store_memory=100 * 2**20, log_to_driver=False, _node_ip_address="127.0.0.1")
serve.start(http_options={"host": "0.0.0.0", "port": int(sys.argv[2])})
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""

# What a file of `serve deploy` does: nobody asks for keys on the way.
DEPLOY = """
import json, sys, ray
ray.init(sys.argv[1], log_to_driver=False)
from ray import serve
from recserve_deployments.app import AppArgs, build
serve.run(build(AppArgs(home=sys.argv[2], config=json.loads(sys.argv[3]))), name="recserve", route_prefix="/")
"""


@pytest.fixture
def open_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Address of a cluster whose Serve listens on every interface already, and the port it listens on."""
    directory = run_directory(tmp_path)
    window, held = ports.reserve_ports(str(tmp_path))
    held.close()
    variables = server_environment(tmp_path, directory, window, "127.0.0.1", ServerConfig())
    del variables["RAY_SERVE_HAPROXY_BINARY_PATH"]  # somebody else's cluster has HAProxy as Serve sets it up
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    port = window.base + 63
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(directory / "ray"), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip(), port
    process.communicate(timeout=60)
    shutil.rmtree(directory)


def test_a_serve_that_is_open_already_is_found_out(
    open_cluster: tuple[str, int], new_server: Callable[[], Any]
) -> None:
    address, port = open_cluster
    server = fused(new_server())
    # The command asks for loopback, Serve ignores it, and the command notices.
    refused = server.run("serve", "--address", address, "--port", str(server.port), check=False)
    assert refused.returncode == 2
    assert "host 0.0.0.0" in refused.stderr
    assert "no API key" in refused.stderr

    # Past the command, the replicas themselves let nobody in.
    code = [sys.executable, "-c", DEPLOY, address, str(server.home), json.dumps(CONFIG)]
    subprocess.run(code, check=True, timeout=240, capture_output=True)
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: ask(url, "GET", "/v1/health/ready").status_code == 200)
    for path in ("/v1/about", "/v1/metrics", "/v1/items"):
        answer = ask(url, "GET", path)
        assert answer.status_code == 401
        assert "other machines can reach this server" in answer.json()["error"]["message"]
    key = make_key(server, "read")
    assert ask(url, "GET", "/v1/about", key).status_code == 200
    # With a key the command deploys, and tells the address that is really listened on.
    served = server.run("serve", "--address", address, "--port", str(server.port))
    assert url in served.stdout
    assert (server.state.host, server.state.port) == ("0.0.0.0", port)
    server.run("stop")
