"""The typed app builder: from a configuration to the graph of deployments.

No ``from __future__ import annotations`` here: it would hide the builder's argument type from Serve, which
then passes a plain dict.
"""

import math
from pathlib import Path
from typing import Any, Literal

import ray
from pydantic import BaseModel, ConfigDict, Field
from ray.serve import Application, Deployment

from recserve.config import Config, ServerConfig, StageConfig, from_environment, load_config, parse_config
from recserve.data.system.cpus import thread_variables
from recserve.errors import ConfigError
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ReplicaRole
from recserve.store import parse_url
from recserve_deployments.ingress import Ingress
from recserve_deployments.local_server.environment import ANY_ADDRESS
from recserve_deployments.preflight import traps
from recserve_deployments.replica.access import serve_address
from recserve_deployments.replica.observers import observing_plugins
from recserve_deployments.replica.spec import ReplicaSpec
from recserve_deployments.stages import Encoding, Ranking, Retrieval

CONFIG_NAME = "recserve.yaml"

# Replicas that an upgrade starts before old ones stop; rounded up, so at least one.
_SURGE_PERCENT = 20


class AppArgs(BaseModel):
    """Arguments of the application, as in ``args`` of a Serve config file."""

    model_config = ConfigDict(extra="forbid")

    home: str = Field(description="The home folder, absolute; every node must see it under this path.")
    config: dict[str, Any] | None = Field(None, description="The configuration itself.")
    config_file: str | None = Field(
        None, description="Its file; default: recserve.yaml in the home, if there is one."
    )

    def load(self) -> Config:
        """The configuration.

        Raises:
            ConfigError: It is wrong, or given twice.
        """
        if self.config is not None:
            if self.config_file is not None:
                raise ConfigError("give either 'config' or 'config_file'", field="config")
            return parse_config(self.config)
        if self.config_file is not None:
            return load_config(Path(self.config_file))
        default = Path(self.home) / CONFIG_NAME
        return load_config(default if default.exists() else None)


def build(args: AppArgs) -> Application:
    """Build the graph; the import path of Serve config files is ``recserve_deployments.app:build``.

    Raises:
        ConfigError: The configuration cannot work with the installed plugins.
    """
    config = args.load()
    if not Path(args.home).is_absolute():
        raise ConfigError(f"home {args.home!r} must be an absolute path", field="home")
    registry = Registry.discover()
    resolved = registry.resolve(config)
    _refuse_traps(config, Path(args.home))
    observing = observing_plugins(registry)
    plain = config.model_dump(mode="json")
    server = config.server

    def spec(role: ReplicaRole) -> ReplicaSpec:
        plugins = resolved.plugins(role)
        if role in (ReplicaRole.WHOLE, ReplicaRole.INGRESS):
            plugins |= observing
        return ReplicaSpec(role, args.home, plain, plugins)

    queues = 1 + 4 * len(config.scenarios)  # see recserve_deployments.batching
    ingress = _sized(Ingress, server, server.ingress, _ingress_calls(server, queues), server.max_batch)
    if topology_of(server, _nodes()) == "fused":
        return ingress.bind(spec(ReplicaRole.WHOLE))
    calls = _stage_calls(server, queues)
    batches = server.batches_in_flight
    encoding = None
    if resolved.encoder is not None:
        encoding = _sized(Encoding, server, server.encoding, calls, batches).bind(spec(ReplicaRole.ENCODING))
    return ingress.bind(
        spec(ReplicaRole.INGRESS),
        _sized(Retrieval, server, server.retrieval, calls, batches).bind(spec(ReplicaRole.RETRIEVAL)),
        encoding,
        _sized(Ranking, server, server.ranking, calls, batches).bind(spec(ReplicaRole.RANKING)),
    )


def _refuse_traps(config: Config, home: Path) -> None:
    """Refuse what would work on one node and silently not on the several that the cluster has.

    `recserve serve` has examined the nodes already; `serve deploy` comes here first.

    Raises:
        ConfigError: Names all of it, or a setting whose environment variable is not set.
    """
    parse_url(config.store.url, home)
    if config.bundles is not None:
        from_environment(config.bundles, "bundles")
    nodes = _nodes()
    if nodes < 2:
        return
    # A home that exists may be shared; the nodes themselves are asked by `recserve cluster check`.
    found = traps(config, serve_address()[0], home, nodes, shared=home.is_dir())
    if found:
        raise ConfigError("; ".join(found))


def _nodes() -> int:
    """Nodes of the cluster that this process is connected to; without one, the node that it runs on."""
    return sum(node["Alive"] for node in ray.nodes()) if ray.is_initialized() else 1


def topology_of(server: ServerConfig, nodes: int = 1) -> Literal["staged", "fused"]:
    """Whether stages get replicas of their own.

    ``auto`` joins them where they would stand on one node anyway and nothing is wanted of a stage alone: then
    no request waits for hops between processes, and no CPU time goes into them.

    Args:
        server: The configuration.
        nodes: Nodes of the cluster.
    """
    if server.topology != "auto":
        return server.topology
    stages = (server.retrieval, server.encoding, server.ranking)
    wanted = any(
        stage.gpus > 0 or max(stage.replicas, stage.max_replicas or 1, stage.threads) > 1 for stage in stages
    )
    return "staged" if wanted or nodes > 1 else "fused"


def reserved_cpus(args: AppArgs) -> int:
    """CPUs that all replicas reserve together when they are scaled up, rounded up."""
    server = args.load().server
    stages = [server.ingress]
    if topology_of(server) == "staged":
        stages += [server.retrieval, server.encoding, server.ranking]
    return math.ceil(sum(one.cpus * max(one.replicas, one.max_replicas or 1) for one in stages))


def _ingress_calls(server: ServerConfig, queues: int) -> int:
    """Requests an ingress replica may hold: beyond queues and batches there is room for events and health."""
    return queues * (server.max_queue + server.max_batch * server.batches_in_flight) + 256


def _stage_calls(server: ServerConfig, queues: int) -> int:
    """Calls a stage replica may hold: every batch of every ingress replica, with room for retries."""
    ingresses = max(server.ingress.replicas, server.ingress.max_replicas or 1)
    return max(32, 2 * ingresses * server.batches_in_flight * queues)


def _sized(
    deployment: Deployment, server: ServerConfig, size: StageConfig, ongoing: int, target: int
) -> Deployment:
    """A deployment of the configured size.

    Args:
        deployment: The deployment.
        server: What all deployments have in common.
        size: Its configuration.
        ongoing: Calls a replica may hold.
        target: Calls a replica should hold, for autoscaling, where the configuration says nothing.
    """
    options: dict[str, Any] = {
        "max_ongoing_requests": ongoing,
        # How long a dead replica may go unnoticed; its requests are sent elsewhere, but it is missed.
        "health_check_period_s": 0.5,
        "health_check_timeout_s": 30.0,
        "graceful_shutdown_wait_loop_s": 0.2,
        "graceful_shutdown_timeout_s": 10.0,
        "max_surge_percent": _SURGE_PERCENT if server.surge else 0,
        "ray_actor_options": {
            "num_cpus": size.cpus,
            "num_gpus": size.gpus,
            "runtime_env": {"env_vars": _variables(size)},
        },
    }
    if size.max_replicas is not None and size.max_replicas > size.replicas:
        options["autoscaling_config"] = {
            "min_replicas": size.replicas,
            "max_replicas": size.max_replicas,
            "target_ongoing_requests": size.target_calls or target,
            "upscale_delay_s": size.upscale_seconds,
            "downscale_delay_s": size.downscale_seconds,
        }
    else:
        options["num_replicas"] = size.replicas
    return deployment.options(**options)


def _variables(size: StageConfig) -> dict[str, str]:
    """What libraries read when they are imported, before the replica's code is: threads, proxies, GPUs."""
    variables = thread_variables(size.threads)
    # Stages are called by address, which no web proxy of a node's environment must come between.
    variables |= {"TOKENIZERS_PARALLELISM": "false", "no_grpc_proxy": f"localhost,{ANY_ADDRESS}"}
    # Ray leaves all GPUs visible to a worker that asks for none; a replica takes none unasked.
    return variables if size.gpus else {**variables, "CUDA_VISIBLE_DEVICES": ""}
