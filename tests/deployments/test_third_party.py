"""A separate distribution, built as a wheel and installed, serves without a line changed in the project."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

SOURCE = Path(__file__).parents[2] / "examples" / "recserve-decades"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin installed from its wheel, as on a node that has it."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(SOURCE)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    return target


def test_retriever_and_filter_of_an_installed_wheel_are_served(
    site: Path, new_server: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])))
    server = new_server()
    path = server.home / "recserve.yaml"
    config = yaml.safe_load(path.read_text())
    home = config["scenarios"]["home"]
    home["retrievers"].append({"use": "newest", "weight": 30.0})
    home["filters"] = [{"use": "decade"}]
    path.write_text(yaml.safe_dump(config))
    server.start()

    plugins = {plugin["name"]: plugin for plugin in server.get("/v1/plugins")["plugins"]}
    assert (plugins["decades"]["distribution"], plugins["decades"]["version"]) == (
        "recserve-decades",
        "0.3.0",
    )

    # The example catalogue has the years 1960 to 2019.
    answer = server.post("/v1/recommend", {"user_id": "user-3", "n": 10})
    assert any("newest" in item["sources"] for item in answer["items"])
    nineties = server.post("/v1/recommend", {"user_id": "user-3", "n": 10, "filter": {"decade": 1990}})
    assert nineties["items"]
    assert all(1990 <= item["attributes"]["year"] < 2000 for item in nineties["items"])
    assert nineties["degraded"] == []
    wrong = httpx.post(
        server.url + "/v1/recommend",
        json={"user_id": "user-3", "filter": {"decade": 1995}},
        timeout=30,
        trust_env=False,
    )
    assert wrong.status_code == 422
    assert wrong.json()["error"]["field"] == "filter.decade"
    assert "try 1990" in wrong.json()["error"]["message"]
    server.run("stop")


def test_without_the_wheel_the_message_names_the_retriever(new_server: Callable[[], Any]) -> None:
    server = new_server()
    path = server.home / "recserve.yaml"
    config = yaml.safe_load(path.read_text())
    config["scenarios"]["home"]["retrievers"].append({"use": "newest"})
    path.write_text(yaml.safe_dump(config))
    done = server.run("serve", "--detach", "--port", str(server.port), check=False)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert "scenarios.home.retrievers[3].use: unknown retriever 'newest'" in lines[0]
