"""Where trials and parts of fits run: a Ray of their own, a cluster, or the one that serves, behind a fence.

Imports Ray only when a session begins, since it is slow to import and most commands do without.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recserve.data.system.cpus import usable_cpus
from recserve.errors import ConfigError, RuntimeEnvironmentError

FENCE = "recserve_tuning"
"""Custom resource of a node: the CPUs that tuning may take of it. A server of ours offers it, and a joined
cluster may."""
LOCAL = "local"
_DEPLOYMENTS = "recserve_deployments.local_server"


@dataclass(frozen=True)
class Needs:
    """What one trial, or one worker, takes.

    Attributes:
        cpus: CPUs.
        gpus: GPUs, possibly a fraction of one.
        max_concurrent: How many at a time at most, None for no bound of its own.
        what: What it is, in messages.
        object_store: Bytes of shared memory of a Ray of our own; None for Ray's share of the machine's.

    Raises:
        ConfigError: More than one GPU, and not a whole number.
    """

    cpus: float
    gpus: float
    max_concurrent: int | None
    what: str = "a trial"
    object_store: int | None = 512 * 2**20

    def __post_init__(self) -> None:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ConfigError(
                f"{self.what} takes a share of one GPU, such as 0.5, or whole GPUs, not {self.gpus:g}",
                field="--gpus",
            )


@dataclass(frozen=True)
class Place:
    """A Ray that this process is connected to.

    Attributes:
        description: For people.
        concurrent: Trials that may run at a time.
        resources: Ray resources of one trial.
    """

    description: str
    concurrent: int
    resources: dict[str, float] = field(default_factory=dict)


@contextmanager
def ray_session(home: Path, address: str | None, needs: Needs) -> Iterator[Place]:
    """Connect to where trials or parts run, and leave it again.

    Args:
        home: The home folder. Its running server's cluster is taken if there is one.
        address: ``host:port`` of another cluster, or ``local`` for a Ray of our own.
        needs: What one of them takes.

    Raises:
        RuntimeEnvironmentError: Ray cannot be reached or started, has no room, or has a node with other
            versions of what is installed here.
    """
    runtime = importlib.import_module(f"{_DEPLOYMENTS}.control")
    state = None if address == LOCAL else _server(runtime, home, address)
    # Intermediate results of a trial are its own validations and lack the final score.
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    # Results are kept in the study's folder, and Ctrl-C is the command's to handle.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    if state is None:
        with _own_ray(home, needs) as place:
            yield place
        return
    with runtime.connected(home.resolve(), state):
        if not state.owned:
            _refuse_other_versions()
        yield _room(state.address, needs)


def _refuse_other_versions() -> None:
    """Refuse nodes on which a trial would be another program than here."""
    found = importlib.import_module("recserve_deployments.preflight").other_versions()
    if found:
        raise RuntimeEnvironmentError("\n".join(found))


def _server(runtime: Any, home: Path, address: str | None) -> Any:
    """State of the cluster to join: the home's running server, or whatever is at an address."""
    state = runtime.read_state(home.resolve())
    if state is not None and (not state.address or state.phase != "ready"):
        state = None
    if state is not None and state.owned and state.supervisor() is None:
        state = None
    if address is None or (state is not None and state.address == address):
        return state
    return runtime.ServerState(
        server_id="", owned=False, address=address, host="", port=0, started_at=0, phase="ready"
    )


@contextmanager
def _own_ray(home: Path, needs: Needs) -> Iterator[Place]:
    environment = importlib.import_module(f"{_DEPLOYMENTS}.environment")
    # The same token, loopback addresses and short paths as a server of this home.
    directory = environment.run_directory(home) / f"t{os.getpid()}"
    os.environ.update(environment.client_environment(home))
    import ray

    cpus = usable_cpus()
    if needs.cpus > cpus:
        raise RuntimeEnvironmentError(f"{needs.what} wants {needs.cpus:g} CPUs, but this machine has {cpus}")
    try:
        _start(directory, cpus, needs.object_store)
        gpus = float(ray.cluster_resources().get("GPU", 0.0))
        if needs.gpus > gpus:
            raise RuntimeEnvironmentError(
                f"{needs.what} wants {needs.gpus:g} GPUs, but this machine has {gpus:g}"
            )
        concurrent = _bounded(needs, slots(needs, {"CPU": cpus, "GPU": gpus}))
        yield Place("a Ray of its own", concurrent, _resources(needs))
    finally:
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)


def _start(directory: Path, cpus: int, object_store: int | None) -> None:
    import ray

    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=object_store,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=str(directory),
            _node_ip_address="127.0.0.1",
        )
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RuntimeEnvironmentError(f"Ray cannot start: {reason[0][:300]}") from None


def _room(address: str, needs: Needs) -> Place:
    """How many trials the cluster we are connected to takes beside what it serves."""
    nodes = _free_by_node()
    total = _total("CPU")
    fenced = _total(FENCE) > 0
    if fenced:
        nodes = [{**free, "CPU": min(free["CPU"], free.get(FENCE, 0.0))} for free in nodes]
        spare, fence = _total(FENCE), f"behind its resource {FENCE}, {_total(FENCE):g} of {total:g} CPUs"
    else:
        # One core is left to whatever else the cluster does.
        spare = total - 1.0
        fence = f"which offers no resource {FENCE}: one of its {total:g} CPUs is left free"
    room = min(sum(slots(needs, free) for free in nodes), int(spare / needs.cpus + 1e-9))
    if room < 1:
        most = max(nodes, key=lambda free: (free.get("GPU", 0.0) >= needs.gpus, free["CPU"]))
        raise RuntimeEnvironmentError(
            f"the cluster at {address} can spare at most {max(min(most['CPU'], spare), 0):g} CPUs and "
            f"{most.get('GPU', 0.0):g} GPUs of a node beside what it serves, but {needs.what} wants "
            f"{needs.cpus:g} and {needs.gpus:g}; ask for less, or --address {LOCAL} for a Ray beside it"
        )
    resources = _resources(needs)
    if fenced:
        resources[FENCE] = needs.cpus
    return Place(f"the cluster at {address}, {fence}", _bounded(needs, room), resources)


def _free_by_node() -> list[dict[str, float]]:
    """What is free on each living node."""
    # The one public list of nodes, ray.nodes(), knows only what they have, not what is free.
    from ray._private.state import available_resources_per_node

    return [{"CPU": 0.0, **free} for free in available_resources_per_node().values()]


def _total(resource: str) -> float:
    import ray

    return float(ray.cluster_resources().get(resource, 0.0))


def _resources(needs: Needs) -> dict[str, float]:
    return {"CPU": needs.cpus, **({"GPU": needs.gpus} if needs.gpus else {})}


def slots(needs: Needs, free: Mapping[str, float]) -> int:
    """Trials that fit on a node at a time. A fraction of a GPU is of one GPU, not a bit of each of two."""
    room = int(free["CPU"] / needs.cpus + 1e-9)
    if not needs.gpus:
        return room
    gpus = free.get("GPU", 0.0)
    if needs.gpus >= 1:
        return min(room, int(gpus / needs.gpus + 1e-9))
    each = int(1 / needs.gpus + 1e-9)
    return min(room, int(gpus) * each + int(gpus % 1 / needs.gpus + 1e-9))


def _bounded(needs: Needs, room: int) -> int:
    return room if needs.max_concurrent is None else min(room, needs.max_concurrent)
