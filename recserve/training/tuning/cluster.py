"""Where trials and parts of fits run: a Ray of their own, a cluster, or the one that serves, behind a fence.

Imports Ray only when a session begins, since it is slow to import and most commands do without.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recserve.data.system.cpus import usable_cpus
from recserve.errors import RuntimeEnvironmentError

FENCE = "recserve_tuning"
"""Custom resource that a server of ours offers: the CPUs that it can spare. Each trial takes some."""
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
    """

    cpus: float
    gpus: float
    max_concurrent: int | None
    what: str = "a trial"
    object_store: int | None = 512 * 2**20


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
def ray_session(home: Path, address: str | None, needs: Needs, folder: Path | None = None) -> Iterator[Place]:
    """Connect to where trials or parts run, and leave it again.

    Args:
        home: The home folder. Its running server's cluster is taken if there is one.
        address: ``host:port`` of another cluster, or ``local`` for a Ray of our own.
        needs: What one of them takes.
        folder: A folder that all write to wherever they run; None for none.

    Raises:
        RuntimeEnvironmentError: Ray cannot be reached or started, has no room, or has a node that
            does not see the study's folder.
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
        if not state.owned and folder is not None:
            _refuse_unshared(folder.resolve())
        yield _room(state.address, needs)


def _refuse_unshared(folder: Path) -> None:
    """Refuse a study whose trials would write to disks of their own."""
    blind = importlib.import_module("recserve_deployments.preflight").blind_nodes(folder)
    if blind:
        raise RuntimeEnvironmentError(
            f"{folder} is not shared with {', '.join(blind)}, where trials may run; set --storage to a "
            f"folder that all nodes share, or --address {LOCAL} for a Ray of this machine"
        )


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
        yield Place("a Ray of its own", _fit(needs, cpus, gpus), _resources(needs))
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
    import ray

    total, free = ray.cluster_resources(), ray.available_resources()
    fenced = FENCE in total
    # A cluster without our fence: one core is left to whatever else it does.
    spare = min(free.get(FENCE, 0.0) if fenced else total.get("CPU", 0.0) - 1.0, free.get("CPU", 0.0))
    if needs.cpus > spare or needs.gpus > free.get("GPU", 0.0):
        raise RuntimeEnvironmentError(
            f"the cluster at {address} can spare {max(spare, 0):g} CPUs and {free.get('GPU', 0.0):g} GPUs "
            f"beside what it serves, but {needs.what} wants {needs.cpus:g} and {needs.gpus:g}; "
            f"ask for less, or --address {LOCAL} for a Ray beside it"
        )
    resources = _resources(needs)
    if fenced:
        resources[FENCE] = needs.cpus
    return Place(f"the cluster at {address}", _fit(needs, spare, free.get("GPU", 0.0)), resources)


def _resources(needs: Needs) -> dict[str, float]:
    return {"CPU": needs.cpus, **({"GPU": needs.gpus} if needs.gpus else {})}


def _fit(needs: Needs, cpus: float, gpus: float) -> int:
    """Trials that fit at a time, at least one."""
    room = int(cpus / needs.cpus + 1e-9)
    if needs.gpus:
        room = min(room, int(gpus / needs.gpus + 1e-9))
    return max(1, room if needs.max_concurrent is None else min(room, needs.max_concurrent))
