"""``recserve demo`` for each domain: one command imports, trains, serves, asks, tells and asks again."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.slow]


def recserve(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "recserve", *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("domain", ["music", "social", "video", "shop"])
def test_one_command_shows_a_domain(domain: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = str(tmp_path / "home")
    try:
        said = recserve("demo", "--domain", domain, "--home", home, "--port", str(port))
        assert "Recommended after that event" in said
        assert f"http://127.0.0.1:{port}/" in said
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/recommend", json={"user_id": "u001", "n": 5}).json()
        assert len(answer["items"]) == 5
        assert answer["degraded"] == []
    finally:
        recserve("stop", "--home", home)
