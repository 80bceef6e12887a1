"""Deploying on a Ray cluster that somebody else started, and taking only our application off it again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from recserve_deployments.local_server.environment import run_directory, server_environment
from recserve_deployments.local_server.ports import reserve_ports
from recserve_deployments.local_server.state_file import read_state

from recserve.config import ServerConfig

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

CLUSTER = """
import sys, ray
context = ray.init(address="local", num_cpus=2, include_dashboard=False, _temp_dir=sys.argv[1],
                   object_store_memory=100 * 2**20, log_to_driver=False, _node_ip_address="127.0.0.1")
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster of its own; what is needed to reach it is in this process's environment."""
    directory = run_directory(tmp_path)
    window, held = reserve_ports(str(tmp_path))
    held.close()
    variables = server_environment(tmp_path, directory, window, "127.0.0.1", ServerConfig())
    del variables["RAY_SERVE_HAPROXY_BINARY_PATH"]  # somebody else's cluster has HAProxy as Serve sets it up
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(directory / "ray")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate(timeout=60)
    shutil.rmtree(directory)


def test_it_deploys_on_a_running_cluster_and_leaves_it_running(
    cluster: str, new_server: Callable[[], Any]
) -> None:
    joined = new_server()
    config = {
        "encoder": None,
        "scenarios": {"home": {"retrievers": [{"use": "popular"}]}},
        "server": {"topology": "fused"},
    }
    (joined.home / "recserve.yaml").write_text(yaml.safe_dump(config))
    served = joined.run("serve", "--address", cluster, "--port", str(joined.port))
    assert joined.url in served.stdout
    state = joined.state
    assert (state.owned, state.address) == (False, cluster)
    assert len(joined.post("/v1/recommend", {"n": 3})["items"]) == 3
    shown = joined.run("status").stdout
    assert "joined cluster" in shown
    assert "Ingress" in shown
    again = joined.run("serve", "--address", cluster, check=False)
    assert again.returncode == 2
    assert "recserve stop" in again.stderr

    assert joined.url in joined.run("stop").stdout
    assert read_state(joined.home) is None
    # The cluster itself is somebody else's: it still takes work.
    code = (
        f"import ray; ray.init('{cluster}', log_to_driver=False); "
        "assert ray.get(ray.remote(lambda: 2 + 2).remote()) == 4; "
        "from ray import serve; assert 'recserve' not in serve.status().applications"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ), timeout=120)
