"""Which replica moves to another node, and when."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recserve_deployments.local_server.environment import run_directory
from recserve_deployments.replica.spreading import Place, steps_aside

OLD = Place("old", "a", 1.0, True)
NEW = Place("new", "a", 2.0, True)
TAKES = {"CPU": 0.1}
ROOM: Mapping[str, Mapping[str, float]] = {"a": {"CPU": 4.0}, "b": {"CPU": 4.0}}


def test_the_replica_that_started_last_moves() -> None:
    assert steps_aside("new", [OLD, NEW], TAKES, lambda: ROOM)
    assert not steps_aside("old", [OLD, NEW], TAKES, lambda: ROOM)


@pytest.mark.parametrize(
    ("places", "wanted", "free"),
    [
        pytest.param([NEW], TAKES, ROOM, id="the only replica"),
        pytest.param([replace(OLD, node="b"), NEW], TAKES, ROOM, id="on two nodes already"),
        pytest.param([replace(OLD, running=False), NEW], TAKES, ROOM, id="another one starts or stops"),
        pytest.param([OLD, NEW], TAKES, {"a": {"CPU": 4.0}}, id="no other node"),
        pytest.param([OLD, NEW], TAKES, {**ROOM, "b": {"CPU": 0.05}}, id="no room"),
        pytest.param([OLD, NEW], {"CPU": 0.1, "GPU": 0.5}, ROOM, id="no GPU"),
    ],
)
def test_nobody_moves(
    places: list[Place], wanted: Mapping[str, float], free: Mapping[str, Mapping[str, float]]
) -> None:
    assert not steps_aside("new", places, wanted, lambda: free)


PLACES = st.lists(
    st.builds(
        Place,
        st.uuids().map(str),
        st.sampled_from("abc"),
        st.floats(0, 10, allow_nan=False),
        st.booleans(),
    ),
    max_size=6,
)


@given(places=PLACES, free=st.dictionaries(st.sampled_from("abcd"), st.just({"CPU": 1.0})))
def test_at_most_one_moves_so_that_the_rest_serves_on(
    places: list[Place], free: Mapping[str, Mapping[str, float]]
) -> None:
    moving = [place for place in places if steps_aside(place.replica, places, TAKES, lambda: free)]
    assert len(moving) <= 1
    assert not moving or {place.node for place in places} == {moving[0].node}


_TWO_NODES = """
import json, time
from ray import serve
from ray.cluster_utils import Cluster
from recserve_deployments.local_server.environment import run_directory
from recserve_deployments.replica.spreading import Spreading

@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.1}, health_check_period_s=0.5)
class Stage:
    async def __init__(self):
        self.spreading = Spreading()
    def check_health(self):
        self.spreading.check()
    def __call__(self):
        import ray
        return ray.get_runtime_context().get_node_id()

small = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 0, **small})
cluster.add_node(num_cpus=1, **small)
serve.start(proxy_location="Disabled")
stage = serve.run(Stage.bind(), route_prefix=None)

def nodes():
    return {stage.remote().result(timeout_s=20) for _ in range(20)}

before = len(nodes())
cluster.add_node(num_cpus=1, **small)
end = time.monotonic() + 90
while (after := len(nodes())) < 2 and time.monotonic() < end:
    time.sleep(0.5)
print(json.dumps([before, after]))
"""


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_replica_moves_to_a_node_that_joins_and_no_call_fails(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TWO_NODES],
        env={**os.environ, "RAY_TMPDIR": str(run_directory(tmp_path))},
        capture_output=True,
        text=True,
        timeout=240,
    )
    shutil.rmtree(run_directory(tmp_path), ignore_errors=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [1, 2]
