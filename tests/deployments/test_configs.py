"""The YAML files that are shipped: every key is one that Ray knows, and every name one that exists."""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray.autoscaler
import yaml
from pydantic import BaseModel
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeDeploySchema
from recserve_deployments.app import AppArgs
from recserve_deployments.ingress import Ingress
from recserve_deployments.local_server.environment import PROXY_FLAG, PROXY_NAME, SERVE_FLAGS
from recserve_deployments.stages import Encoding, Ranking, Retrieval

from recserve.config import parse_config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "deployments" / "configs").glob("*.yaml"))


def unknown_keys(given: Any, model: type[BaseModel], place: str = "") -> Iterator[str]:
    """Keys that the model, or any model within it, would silently drop."""
    known = {info.alias or name: info.annotation for name, info in model.model_fields.items()}
    for key, value in given.items():
        if key not in known:
            yield f"{place}{key}"
            continue
        for inner in models_within(known[key]):
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    yield from unknown_keys(one, inner, f"{place}{key}.")


def models_within(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in models_within(part)]


def test_the_two_documented_files_are_there() -> None:
    assert {path.name for path in CONFIGS} >= {"local.yaml", "gpu.yaml"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_serve_config_is_strictly_valid(path: Path) -> None:
    raw = yaml.safe_load(path.read_text())
    assert list(unknown_keys(raw, ServeDeploySchema)) == []
    schema = ServeDeploySchema.model_validate(raw)
    # Serve's own default is every interface; a file says what it means. Other nodes need every interface.
    several_nodes = path.name == "gpu.yaml"
    assert raw["http_options"]["host"] == ("0.0.0.0" if several_nodes else "127.0.0.1")
    existing = {one.name for one in (Ingress, Retrieval, Encoding, Ranking)}
    for app in schema.applications:
        module, _, name = app.import_path.partition(":")
        source = ROOT / "deployments" / Path(*module.split(".")).with_suffix(".py")
        functions = [node.name for node in ast.parse(source.read_text()).body if hasattr(node, "args")]
        assert name in functions
        assert {one.name for one in app.deployments} <= existing
        args = AppArgs.model_validate(app.args)
        assert Path(args.home).is_absolute()
        if args.config is not None:
            parse_config(args.config)


def test_strictness_finds_a_misspelt_key_at_every_level() -> None:
    raw = yaml.safe_load((ROOT / "deployments" / "configs" / "gpu.yaml").read_text())
    raw["http_optoins"] = {}
    raw["http_options"]["prot"] = 1
    raw["applications"][0]["deployments"][0]["num_replica"] = 2
    assert set(unknown_keys(raw, ServeDeploySchema)) == {
        "http_optoins",
        "http_options.prot",
        "applications.deployments.num_replica",
    }


@pytest.fixture
def cluster() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "cluster.yaml").read_text()))


def test_cluster_passes_rays_own_validation(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(cluster))
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    assert set(cluster) <= set(schema["properties"])
    node_keys = set(schema["properties"]["available_node_types"]["patternProperties"][".*"]["properties"])
    for kind in cluster["available_node_types"].values():
        assert set(kind) <= node_keys


def test_cluster_has_a_cpu_head_cpu_workers_and_gpu_workers(cluster: dict[str, Any]) -> None:
    kinds = cluster["available_node_types"]
    head = kinds[cluster["head_node_type"]]
    workers = [kind for name, kind in kinds.items() if name != cluster["head_node_type"]]
    assert "GPU" not in head["resources"]
    assert sorted("GPU" in kind["resources"] for kind in workers) == [False, True]
    assert sum(kind["max_workers"] for kind in workers) <= cluster["max_workers"]


def every_command(cluster: dict[str, Any]) -> list[str]:
    return [command for key, value in cluster.items() if key.endswith("_commands") for command in value]


def test_what_ray_makes_on_a_cluster_is_its_owners(cluster: dict[str, Any]) -> None:
    for kind in ("head", "worker"):
        starts = [one for one in cluster[f"{kind}_start_ray_commands"] if "ray start" in one]
        assert starts
        assert all("umask 077; ray start" in one for one in starts)


def test_cluster_commands_are_shell_and_the_mounts_exist(cluster: dict[str, Any]) -> None:
    for command in every_command(cluster):
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        assert checked.returncode == 0, (command, checked.stderr)
    for source in cluster["file_mounts"].values():
        # dist/ and the token are made by the commands at the top of the file.
        assert source in ("dist", "~/.ray/auth_token", "~/.recserve/cluster.env") or (ROOT / source).exists()


def test_nodes_get_the_wheels_and_the_same_flags_as_a_local_server(
    cluster: dict[str, Any], tmp_path: Path
) -> None:
    setup = cluster["setup_commands"]
    assert any("pip install" in command and "recserve/dist" in command for command in setup)
    (writes,) = [command for command in setup if "environment.sh" in command]
    (tmp_path / "recserve").mkdir()
    (tmp_path / ".bashrc").write_text("# a line that was there\n")
    script = f"{writes} && {writes} && cat ~/.bashrc && . ~/.bashrc && env"
    done = subprocess.run(
        ["bash", "-c", script],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    # Run twice, sourced once.
    assert done.stdout.count("recserve/environment.sh") == 1
    lines = done.stdout.splitlines()
    assert "RAY_AUTH_MODE=token" in lines
    for name, value in SERVE_FLAGS.items():
        assert f"{name}={value}" in lines
    assert f"{PROXY_FLAG}={tmp_path}/recserve/venv/bin/{PROXY_NAME}" in lines
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert all(command.startswith(". ~/recserve/environment.sh;") for command in cluster[key])


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("STORE_URL=postgresql://app:pw@db/shop\nBUNDLES=s3://shop/recserve\n", None),
        ("STORE_URL=postgresql://USER:PASSWORD@HOST/recserve\nBUNDLES=s3://shop/recserve\n", "STORE_URL"),
        ("STORE_URL=postgresql://app:pw@db/shop\nBUNDLES=s3://BUCKET/recserve\n", "BUNDLES"),
        ("STORE_URL=postgresql://app:pw@db/shop\n", "BUNDLES"),
    ],
)
def test_placeholders_stop_the_launch(
    cluster: dict[str, Any], tmp_path: Path, text: str, missing: str | None
) -> None:
    (tmp_path / "recserve").mkdir()
    (tmp_path / "recserve" / "cluster.env").write_text(text)
    done = subprocess.run(
        ["bash", "-c", cluster["setup_commands"][0]],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (missing is not None)
    assert done.stderr == (
        "" if missing is None else f"set {missing} in ~/.recserve/cluster.env, see the top of cluster.yaml\n"
    )
