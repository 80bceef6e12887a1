"""What the reports of several nodes say is wrong, without nodes."""

from __future__ import annotations

from pathlib import Path

from recserve_deployments.local_server.environment import SERVE_FLAGS
from recserve_deployments.preflight import NodeReport, problems

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
