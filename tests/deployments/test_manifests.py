"""The Kubernetes manifests and the compose file: strictly valid, and true to the code they start."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema
from recserve_deployments.app import AppArgs
from recserve_deployments.local_server.environment import PROXY_FLAG, PROXY_NAME, SERVE_FLAGS

from recserve.config import parse_config
from tests.deployments.test_configs import unknown_keys

ROOT = Path(__file__).resolve().parents[2] / "deployments"
BASE = ROOT / "kubernetes" / "base"
CRDS = os.environ.get("RECSERVE_KUBERAY_SCHEMAS")


def documents(folder: Path) -> list[dict[str, Any]]:
    """All objects of a folder, its kustomization aside."""
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [one for name in names for one in yaml.safe_load_all((folder / name).read_text())]


def ray_service(overlay: str) -> dict[str, Any]:
    """The RayService as an overlay makes it."""
    (service,) = [one for one in documents(BASE) if one["kind"] == "RayService"]
    folder = ROOT / "kubernetes" / "overlays" / overlay
    for patch in yaml.safe_load((folder / "kustomization.yaml").read_text()).get("patches", []):
        for step in yaml.safe_load((folder / patch["path"]).read_text()):
            *parents, last = step["path"].strip("/").split("/")
            place: Any = service
            for key in parents:
                place = place[int(key)] if isinstance(place, list) else place[key]
            if last == "-":
                place.append(step["value"])
            else:
                assert last in place, step["path"]
                place[last] = step["value"]
    return service


def pods(service: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template of a Ray cluster by the name of its group."""
    cluster = service["spec"]["rayClusterConfig"]
    yield "head", cluster["headGroupSpec"]["template"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group["template"]


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_the_graph_of_a_ray_service_is_a_valid_configuration(overlay: str) -> None:
    raw = yaml.safe_load(ray_service(overlay)["spec"]["serveConfigV2"])
    assert list(unknown_keys(raw, ServeDeploySchema)) == []
    schema = ServeDeploySchema.model_validate(raw)
    # A proxy on every node, so that no node is the only way in, and replicas that the others reach.
    assert raw["proxy_location"] == "EveryNode"
    assert raw["http_options"]["host"] == "0.0.0.0"
    (app,) = schema.applications
    config = parse_config(AppArgs.model_validate(app.args).config)
    assert config.store.url == "${STORE_URL}"
    assert config.bundles == "${BUNDLES}"
    assert (config.server.ranking.gpus > 0) == (overlay == "gpu")


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_every_pod_has_the_secrets_and_no_root(overlay: str) -> None:
    for name, template in pods(ray_service(overlay)):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        (container,) = spec["containers"]
        variables = {one["name"]: one for one in container["env"]}
        secrets = {"STORE_URL", "BUNDLES", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"}
        assert set(variables) == secrets, name
        mounted = {one["name"] for one in container["volumeMounts"]}
        assert mounted == {one["name"] for one in spec["volumes"]}, name
        assert container["resources"]["limits"]["memory"]


def test_secrets_are_named_alike_everywhere_and_explained() -> None:
    used = set(
        re.findall(
            r"name: recserve, key: ([\w-]+)", "".join(path.read_text() for path in BASE.glob("*.yaml"))
        )
    )
    explained = set(re.findall(r"--from-literal=([\w-]+)=", (BASE / "rayservice.yaml").read_text()))
    assert used == explained == {"store-url", "bundles", "redis-password", "ray-token"}


def test_the_budget_covers_the_workers_and_redis_is_the_service_that_ray_is_told() -> None:
    service = ray_service("cpu")
    (budget,) = [one for one in documents(BASE) if one["kind"] == "PodDisruptionBudget"]
    wanted = dict(budget["spec"]["selector"]["matchLabels"])
    assert wanted.pop("ray.io/node-type") == "worker"
    assert all(wanted.items() <= template["metadata"]["labels"].items() for _, template in pods(service))
    (redis,) = [one for one in documents(BASE) if one["kind"] == "Service"]
    address = service["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]["redisAddress"]
    assert address == f"redis://{redis['metadata']['name']}:{redis['spec']['ports'][0]['port']}"


@pytest.mark.skipif(CRDS is None, reason="RECSERVE_KUBERAY_SCHEMAS names no folder of KubeRay's schemas")
@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_kuberay_knows_every_field(overlay: str) -> None:
    schema = json.loads((Path(str(CRDS)) / "rayservice.json").read_text())
    jsonschema.validate(ray_service(overlay), closed(schema))


def closed(schema: Any) -> Any:
    """A schema that takes no unknown fields, as `kubectl --validate=strict` does."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items() if not key.startswith("x-")}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        made["additionalProperties"] = False
    return made


def test_the_image_has_the_flags_of_a_local_server_and_does_not_run_as_root() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text()
    for name, value in SERVE_FLAGS.items():
        assert f"{name}={value}" in text
    assert f"{PROXY_FLAG}=/usr/local/bin/{PROXY_NAME}" in text
    assert "USER recserve" in text
    assert text.index("USER recserve") > text.index("useradd --uid 1000")


def test_compose_waits_for_what_it_needs_and_keeps_secrets_out_of_the_configuration() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    assert set(services) == {"database", "storage", "setup", "server"}
    assert services["server"]["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}
    for name in ("database", "storage"):
        assert services["setup"]["depends_on"][name] == {"condition": "service_healthy"}
        assert "healthcheck" in services[name]
    assert set(services["setup"]["environment"]) == {"STORE_URL", "BUNDLES"}
    (script,) = services["setup"]["command"]
    assert 'url: "$${STORE_URL}"' in script
