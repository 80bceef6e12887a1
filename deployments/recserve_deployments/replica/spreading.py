"""Moves a replica to another node where all replicas of its deployment stand on one.

Serve starts replicas in turn on different nodes, but where the successor of a replica that died goes is left
to chance, and after a node was lost everything stands on those that are left. Serve has no rule that would
mend this: ``max_replicas_per_node`` is a limit, which leaves replicas out while a node is missing and an
upgrade without room. So the replica that started last gives up its place, once another node can take it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray import serve
from ray._private.state import available_resources_per_node
from ray.serve.schema import DeploymentDetails, DeploymentStatus, ReplicaState, ServeInstanceDetails

logger = logging.getLogger(__name__)

# The replica that makes a node hold all of its deployment is one that has just started, so it looks soon; a
# node that comes back finds replicas that have been running for long.
_FIRST_SECONDS = 5.0
_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class Place:
    """Where a replica stands.

    Attributes:
        replica: Its id.
        node: Id of its node.
        started: When it started, in seconds since 1970.
        running: Whether Serve sends it calls.
    """

    replica: str
    node: str
    started: float
    running: bool


def steps_aside(
    replica: str,
    places: Sequence[Place],
    wanted: Mapping[str, float],
    free: Callable[[], Mapping[str, Mapping[str, float]]],
) -> bool:
    """Whether a replica should give up its place for one on another node.

    That is the one which started last, where all run, all of them on one node, and another has room.

    Args:
        replica: Its id.
        places: Of all replicas of its deployment.
        wanted: Resources that it takes.
        free: Asks for the resources that are free, by node; only where all stand on one.
    """
    nodes = {place.node for place in places}
    if len(places) < 2 or len(nodes) > 1 or not all(place.running for place in places):
        return False
    if max(places, key=lambda place: (place.started, place.replica)).replica != replica:
        return False
    return any(_fits(wanted, room) for node, room in free().items() if node not in nodes)


def _fits(wanted: Mapping[str, float], room: Mapping[str, float]) -> bool:
    return all(room.get(name, 0.0) >= amount for name, amount in wanted.items())


def _places(deployment: DeploymentDetails) -> list[Place]:
    return [
        Place(one.replica_id, one.node_id or "", one.start_time_s, one.state == ReplicaState.RUNNING)
        for one in deployment.replicas
    ]


class Spreading:
    """Looks now and then whether this replica had better stand on another node.

    Made in the constructor of a replica, in its event loop.

    Attributes:
        aside: Whether the replica should be replaced by one on another node.
    """

    def __init__(self) -> None:
        self.aside = False
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def check(self) -> None:
        """For ``check_health``: Serve stops a replica that is not well after it has answered its calls.

        Raises:
            RuntimeError: The replica should stand on another node.
        """
        if self.aside:
            raise RuntimeError("all replicas stand on one node and another one has room: moving one there")

    async def _watch(self) -> None:
        seconds = _FIRST_SECONDS
        while not self.aside:
            # Replicas of several deployments do not all leave at once.
            await asyncio.sleep(seconds * random.uniform(0.5, 1.5))
            seconds = _EVERY_SECONDS
            try:
                self.aside = await asyncio.to_thread(_look)
            except Exception as error:  # the head may be away; the replica serves on
                logger.info("cannot tell where replicas stand: %s", error)
        logger.warning("all replicas of this deployment stand on one node; moving one to another node")


def _look() -> bool:
    """Whether this process's replica should step aside; blocks."""
    own = serve.get_replica_context()
    if own.world_size < 2:
        return False
    # Serve has no public way to ask on which nodes replicas stand, but for the dashboard, which may be off.
    from ray.serve.context import _get_global_client

    details = ServeInstanceDetails(**_get_global_client().get_serve_details())
    deployments = details.applications[own.app_name].deployments
    if any(one.status != DeploymentStatus.HEALTHY for one in deployments.values()):
        return False  # an upgrade is under way, or another replica moves
    wanted = ray.get_runtime_context().get_assigned_resources()
    places = _places(deployments[own.deployment])
    return steps_aside(own.replica_tag, places, wanted, available_resources_per_node)
