"""The app builder and what each part of the graph is told to load."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ray.serve import Application
from recserve_deployments.app import AppArgs, build, reserved_cpus, topology_of
from recserve_deployments.replica.spec import ReplicaSpec

from recserve.config import Config, ServerConfig, StageConfig
from recserve.data.catalogue import Catalogue
from recserve.errors import ConfigError, PluginError
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ReplicaRole


def test_arguments_are_typed_and_strict() -> None:
    # Serve passes a dict instead of this model when annotations are text.
    assert build.__annotations__["args"] is AppArgs
    with pytest.raises(ValidationError):
        AppArgs.model_validate({"home": "/srv", "hoem": "/srv"})


def test_configuration_comes_from_one_place(tmp_path: Path) -> None:
    assert AppArgs(home=str(tmp_path)).load() == Config()
    (tmp_path / "recserve.yaml").write_text("server: {port: 1234}")
    assert AppArgs(home=str(tmp_path)).load().server.port == 1234
    (tmp_path / "other.yaml").write_text("server: {port: 1235}")
    assert AppArgs(home=str(tmp_path), config_file=str(tmp_path / "other.yaml")).load().server.port == 1235
    assert AppArgs(home=str(tmp_path), config={}).load().server.port == 8000
    with pytest.raises(ConfigError, match="either"):
        AppArgs(home=str(tmp_path), config={}, config_file="x").load()


def test_a_relative_home_and_an_unknown_component_are_refused() -> None:
    with pytest.raises(ConfigError, match="absolute"):
        build(AppArgs(home="here"))
    scenario = {"home": {"retrievers": [{"use": "nothing"}]}}
    with pytest.raises(ConfigError, match=r"scenarios\.home\.retrievers"):
        build(AppArgs(home="/srv", config={"scenarios": scenario}))


@pytest.mark.parametrize("topology", ["staged", "fused"])
def test_cpus_of_all_replicas_are_counted(topology: str) -> None:
    server: dict[str, Any] = {
        "topology": topology,
        "ingress": {"cpus": 0.5, "replicas": 2},
        "retrieval": {"cpus": 1, "replicas": 1, "max_replicas": 3},
    }
    expected = 1 + 3 + 2 * StageConfig().cpus if topology == "staged" else 1
    counted = reserved_cpus(AppArgs(home="/srv", config={"server": server}))
    assert expected <= counted < expected + 1


def test_stages_are_joined_where_nothing_is_wanted_of_one_alone() -> None:
    auto: dict[str, Any] = {"topology": "auto"}
    assert topology_of(ServerConfig()) == "staged"
    assert topology_of(ServerConfig(topology="auto")) == "fused"
    assert topology_of(ServerConfig(topology="auto"), nodes=2) == "staged"
    assert topology_of(ServerConfig(topology="fused"), nodes=2) == "fused"
    for stage in ("retrieval", "encoding", "ranking"):
        for wish in ({"gpus": 0.5}, {"replicas": 2}, {"max_replicas": 3}, {"threads": 2}):
            assert topology_of(ServerConfig.model_validate({**auto, stage: wish})) == "staged", (stage, wish)
        assert topology_of(ServerConfig.model_validate({**auto, stage: {"max_replicas": 1}})) == "fused"
    assert (
        topology_of(ServerConfig.model_validate({**auto, "ingress": {"replicas": 2, "threads": 2}}))
        == "fused"
    )
    assert set(options(auto)) == {"Ingress"}


def options(server: dict[str, Any]) -> dict[str, Any]:
    """Options of the deployments by name, as Serve is given them."""
    app = build(AppArgs(home="/srv", config={"server": server}))
    stages = [stage for stage in app._bound_deployment.init_args if isinstance(stage, Application)]
    return {made.name: made for made in (part._bound_deployment for part in (app, *stages))}


def test_what_asks_for_no_gpu_sees_none_and_what_asks_is_not_blinded() -> None:
    made = options({"ranking": {"gpus": 0.5}})
    assert set(made) == {"Ingress", "Retrieval", "Encoding", "Ranking"}
    for name, deployment in made.items():
        asked = deployment.ray_actor_options
        assert asked["num_gpus"] == (0.5 if name == "Ranking" else 0)
        blinded = asked["runtime_env"]["env_vars"].get("CUDA_VISIBLE_DEVICES") == ""
        assert blinded == (name != "Ranking")


@pytest.mark.parametrize("surge", [True, False])
def test_an_upgrade_starts_new_replicas_first_unless_there_is_no_room(surge: bool) -> None:
    for deployment in options({"surge": surge, "topology": "staged"}).values():
        assert (deployment._deployment_config.max_surge_percent > 0) == surge


def test_autoscaling_goes_by_the_configuration() -> None:
    ranking = {"max_replicas": 3, "target_calls": 0.5, "upscale_seconds": 1, "downscale_seconds": 2}
    made = options({"ranking": ranking, "retrieval": {"max_replicas": 2}, "batches_in_flight": 4})
    scaled = made["Ranking"]._deployment_config.autoscaling_config
    assert (scaled.min_replicas, scaled.max_replicas, scaled.target_ongoing_requests) == (1, 3, 0.5)
    assert (scaled.upscale_delay_s, scaled.downscale_delay_s) == (1, 2)
    assert made["Retrieval"]._deployment_config.autoscaling_config.target_ongoing_requests == 4
    assert made["Encoding"]._deployment_config.autoscaling_config is None


def parts() -> dict[ReplicaRole, frozenset[str]]:
    resolved = Registry.discover().resolve(Config())
    return {role: resolved.plugins(role) for role in ReplicaRole}


@pytest.mark.parametrize(
    "part", [ReplicaRole.INGRESS, ReplicaRole.RETRIEVAL, ReplicaRole.ENCODING, ReplicaRole.RANKING]
)
def test_each_part_resolves_with_its_own_plugins_alone(part: ReplicaRole) -> None:
    registry = Registry.discover(only=parts()[part])
    resolved = registry.resolve(Config(), part)
    pipeline = resolved.scenarios["home"]
    assert [one.name for one in pipeline.retrievers] == (
        ["mf", "item_knn", "content", "popular"] if part is ReplicaRole.RETRIEVAL else []
    )
    assert (pipeline.ranker is not None) == (part is ReplicaRole.RANKING)
    loaded = {name for stage in Stage for name in registry.names(stage)}
    assert ("bert_lstm" in loaded) == (part is ReplicaRole.RANKING)
    assert resolved.encoder is not None
    if part is not ReplicaRole.ENCODING:
        with pytest.raises(PluginError, match="not loaded in a replica of this role"):
            resolved.encoder.build(Catalogue())
    if part is ReplicaRole.INGRESS:
        assert pipeline.fallback.name == "popular"
        pipeline.explainer.build(Catalogue())


def test_the_whole_resolves_everything() -> None:
    registry = Registry.discover()
    whole = registry.resolve(Config(), ReplicaRole.WHOLE)
    assert whole.scenarios["home"].ranker is not None
    assert whole.components().keys() == registry.resolve(Config()).components().keys()


def test_a_replica_opens_what_its_spec_names(trained_home: Path) -> None:
    spec = ReplicaSpec(
        ReplicaRole.RANKING, str(trained_home), Config().model_dump(mode="json"), parts()[ReplicaRole.RANKING]
    )
    opened = spec.open()
    with opened.store:
        assert [plugin.name for plugin in opened.registry.plugins] == ["bert_lstm"]
        assert opened.store.bundle_history() == opened.repository.ids()
    with pytest.raises(PluginError, match="bert_lstn"):
        ReplicaSpec(ReplicaRole.RANKING, str(trained_home), {}, frozenset({"bert_lstn"})).open()


def test_importing_the_runtime_does_not_import_ray() -> None:
    import subprocess

    code = (
        "import recserve_deployments.local_server.control, recserve.cli, sys; assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
