"""Deploying on a Ray cluster that somebody else started, and taking only our application off it again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from recserve_deployments.local_server.state_file import read_state

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]


def test_it_deploys_on_a_running_cluster_and_leaves_it_running(
    ray_cluster: str, new_server: Callable[[], Any]
) -> None:
    joined = new_server()
    config = {
        "encoder": None,
        "scenarios": {"home": {"retrievers": [{"use": "popular"}]}},
        "server": {"topology": "fused"},
    }
    (joined.home / "recserve.yaml").write_text(yaml.safe_dump(config))
    served = joined.run("serve", "--address", ray_cluster, "--port", str(joined.port))
    assert joined.url in served.stdout
    state = joined.state
    assert (state.owned, state.address) == (False, ray_cluster)
    assert len(joined.post("/v1/recommend", {"n": 3})["items"]) == 3
    shown = joined.run("status").stdout
    assert "joined cluster" in shown
    assert "Ingress" in shown
    elsewhere = joined.run("serve", "--address", "127.0.0.1:1", check=False)
    assert elsewhere.returncode == 2
    assert "recserve stop" in elsewhere.stderr

    assert joined.url in joined.run("stop").stdout
    assert read_state(joined.home) is None
    # The cluster itself is somebody else's: it still takes work.
    code = (
        f"import ray; ray.init('{ray_cluster}', log_to_driver=False); "
        "assert ray.get(ray.remote(lambda: 2 + 2).remote()) == 4; "
        "from ray import serve; assert 'recserve' not in serve.status().applications"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ), timeout=120)
