"""What the reports of several nodes say is wrong, without nodes."""

from __future__ import annotations

from pathlib import Path

from recserve_deployments.local_server.environment import SERVE_FLAGS
from recserve_deployments.preflight import NodeReport, problems, version_problems

from recserve.config import parse_config

CONFIG = parse_config({"store": {"url": "postgresql://db/shop"}, "bundles": "s3://shop/recserve"})


def node(number: int, proxy: str) -> NodeReport:
    """A node where all is well, beside what it runs as HAProxy."""
    return NodeReport(f"10.0.0.{number}", flags=dict(SERVE_FLAGS), proxy=proxy, free_memory=2**32)


def test_several_nodes_need_recserves_haproxy_on_each() -> None:
    good = [node(1, "/opt/venv/bin/recserve-haproxy"), node(2, "/usr/local/bin/recserve-haproxy")]
    assert problems(good, CONFIG, "0.0.0.0", Path("/srv")) == []
    (line,) = problems([good[0], node(2, "")], CONFIG, "0.0.0.0", Path("/srv"))
    assert line.startswith("node 10.0.0.2: HAProxy does not repeat")
    assert "RAY_SERVE_HAPROXY_BINARY_PATH=$(command -v recserve-haproxy)" in line
    assert problems([node(1, "")], CONFIG, "0.0.0.0", Path("/srv")) == [], "a single node may do without"


def test_a_node_with_other_versions_than_here_is_a_line_for_each() -> None:
    here = {"recserve": "0.2.0", "recserve-mf": "0.2.0", "recserve-ease": "0.1.0"}
    assert version_problems("10.0.0.2", here, here) == []
    there = {"recserve": "0.2.0", "recserve-mf": "0.1.0", "recserve-house": "1.0"}
    ease, house, mf = version_problems("10.0.0.2", here, there)
    assert ease.startswith("recserve-ease differs: 0.1.0 on this machine, not installed on 10.0.0.2;")
    assert house.startswith("recserve-house differs: not installed on this machine, 1.0 on 10.0.0.2;")
    assert mf == (
        "recserve-mf differs: 0.2.0 on this machine, 0.1.0 on 10.0.0.2; install the same on every node"
    )
