"""Preflight of a Ray cluster: every node is examined, and what would fail silently later is one line now.

A deployment on several nodes has traps that no single node can see: an SQLite file of one machine, a home
that others do not share, an API on each node's own loopback, other versions of a plugin, another clock.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from recserve.bundles.repository import BundleRepository
from recserve.config import Config, from_environment, parse_config
from recserve.data.system.addresses import is_loopback
from recserve.errors import RecserveError, RuntimeEnvironmentError
from recserve.plugin.registry import Registry
from recserve.store import open_store, parse_url
from recserve_deployments.local_server.environment import PROXY_FLAG, PROXY_NAME, SERVE_FLAGS

EXAMINATION_SECONDS = 120.0
CLOCK_TOLERANCE_MS = 500.0
_CLOCK_READINGS = 3
_FREE_MEMORY_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Examination:
    """What every node is asked to look at; plain, because it travels.

    Attributes:
        home: The home folder, absolute.
        config: The whole configuration as plain data.
        probe: A file in the home that the examining node has just written.
    """

    home: str
    config: dict[str, Any]
    probe: str


@dataclass(frozen=True)
class NodeReport:
    """What one node found.

    Attributes:
        address: The node's address in the cluster.
        python: Its Python version.
        versions: Versions of recserve and of the installed plugins, by distribution.
        flags: Serve's flags as Ray's workers there see them.
        proxy: What Serve runs there as HAProxy, empty for Ray's own.
        sees_home: Whether the home folder of the examining node is there too.
        store_ms: How long the store took to answer, None where it was not asked or did not.
        store_problem: Why it did not, empty if it did.
        bundles_problem: Why bundles cannot be read and written, empty if they can.
        skew_ms: How far its clock is ahead of the examining node's.
        skew_error_ms: How far that can be wrong.
        free_memory: Bytes.
        free_shm: Bytes of ``/dev/shm``.
        gpus: GPUs that Ray gives out there.
        problem: Why the node could not be examined, empty if it was.
    """

    address: str
    python: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    proxy: str = ""
    sees_home: bool = False
    store_ms: float | None = None
    store_problem: str = ""
    bundles_problem: str = ""
    skew_ms: float = 0.0
    skew_error_ms: float = 0.0
    free_memory: int = 0
    free_shm: int = 0
    gpus: float = 0.0
    problem: str = ""


def examine(asked: Examination) -> NodeReport:
    """Look at the machine that this runs on."""
    config = parse_config(dict(asked.config))
    home = Path(asked.home)
    store_ms, store_problem = _ask_store(config, home)
    return NodeReport(
        address="",
        python=platform.python_version(),
        versions=_versions(),
        flags={name: os.environ.get(name, "") for name in SERVE_FLAGS},
        proxy=os.environ.get(PROXY_FLAG, ""),
        sees_home=Path(asked.probe).exists(),
        store_ms=store_ms,
        store_problem=store_problem,
        bundles_problem=_try_bundles(config, home),
        free_memory=psutil.virtual_memory().available,
        free_shm=shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else 0,
    )


def _versions() -> dict[str, str]:
    found = {plugin.distribution: plugin.version for plugin in Registry.discover().plugins}
    return {"recserve": importlib.metadata.version("recserve"), **found}


def _ask_store(config: Config, home: Path) -> tuple[float | None, str]:
    file = _store_file(config, home)
    if file is not None and not file.exists():
        # To open it would make an empty one.
        return None, f"{file} does not exist"
    try:
        with open_store(config.store.url, home) as store:
            store.ping()
            began = time.perf_counter()
            store.ping()
            return (time.perf_counter() - began) * 1000, ""
    except RecserveError as error:
        return None, error.message


def _store_file(config: Config, home: Path) -> Path | None:
    """The file of a store that is one; None for a database that other machines reach."""
    url = parse_url(config.store.url, home)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def _try_bundles(config: Config, home: Path) -> str:
    """Write, list and remove a file where bundles live."""
    try:
        repository = BundleRepository(home, config.bundles)
        repository.check()
    except (RecserveError, OSError) as error:
        return str(error)
    return ""


def check_cluster(home: Path, config: Config, report: Callable[[str], None]) -> list[NodeReport]:
    """Examine every living node of the cluster that this process is connected to.

    Raises:
        RuntimeEnvironmentError: The home cannot be written to.
    """
    import ray

    nodes = {node["NodeManagerAddress"]: node for node in ray.nodes() if node["Alive"]}
    report(f"examining {len(nodes)} node{'s' if len(nodes) > 1 else ''}")
    with _probe(home) as probe:
        asked = Examination(str(home), config.model_dump(mode="json"), str(probe))
        examiner = ray.remote(num_cpus=0)(_Examiner)
        actors = {
            address: examiner.options(scheduling_strategy=_only_on(node)).remote()
            for address, node in nodes.items()
        }
        began = {address: actor.examine.remote(asked) for address, actor in actors.items()}
        end = time.monotonic() + EXAMINATION_SECONDS
        return [
            replace(
                _collect(actors[address], reference, end),
                address=address,
                gpus=nodes[address]["Resources"].get("GPU", 0.0),
            )
            for address, reference in began.items()
        ]


def other_versions() -> list[str]:
    """What living nodes have installed otherwise than this process, a line each.

    Raises:
        RuntimeEnvironmentError: A node does not answer.
    """
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    look = ray.remote(num_cpus=0)(_versions)
    asked = [look.options(scheduling_strategy=_only_on(node)).remote() for node in nodes]
    end = time.monotonic() + EXAMINATION_SECONDS
    here = _versions()
    found = []
    for node, reference in zip(nodes, asked, strict=True):
        address = node["NodeManagerAddress"]
        try:
            there: dict[str, str] = ray.get(reference, timeout=max(end - time.monotonic(), 0.1))
        except ray.exceptions.RayTaskError as error:
            found.append(f"node {address}: {_reason(error)}; install what is installed here")
            continue
        except ray.exceptions.RayError as error:
            raise RuntimeEnvironmentError(f"node {address} does not answer: {_reason(error)}") from None
        found += version_problems(address, here, there)
    return found


def version_problems(address: str, here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """What a node has in another version than this machine, a line each.

    Args:
        address: The node's address.
        here: Versions by distribution on this machine.
        there: The same on the node.
    """
    absent = "not installed"
    found = []
    for name in sorted(here.keys() | there.keys()):
        found += _different(
            name, [("this machine", here.get(name, absent)), (address, there.get(name, absent))]
        )
    return found


def _reason(error: Exception) -> str:
    """The last line of what went wrong on a node."""
    lines = str(getattr(error, "cause", None) or error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _probe(folder: Path) -> Iterator[Path]:
    """A file that is in a folder for a while."""
    probe = folder / f".preflight-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise RuntimeEnvironmentError(f"{folder} cannot be written to: {error.strerror}") from None
    try:
        yield probe
    finally:
        probe.unlink(missing_ok=True)


def _only_on(node: Mapping[str, Any]) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)


class _Examiner:
    """An actor on one node."""

    def examine(self, asked: Examination) -> NodeReport:
        """See :func:`examine`."""
        return examine(asked)

    def now(self) -> float:
        """The node's clock, seconds since the epoch."""
        return time.time()


def _collect(actor: Any, reference: Any, end: float) -> NodeReport:
    import ray

    try:
        found: NodeReport = ray.get(reference, timeout=max(end - time.monotonic(), 0.1))
        skew, error = _skew(actor)
    except ray.exceptions.GetTimeoutError:
        return NodeReport("", problem=f"did not answer within {EXAMINATION_SECONDS:.0f} s")
    except ray.exceptions.RayError as failure:
        return NodeReport("", problem=_reason(failure))
    return replace(found, skew_ms=skew, skew_error_ms=error)


def _skew(actor: Any) -> tuple[float, float]:
    """The clock's distance from ours and its bound of error, milliseconds; the quickest of some readings."""
    import ray

    readings = []
    for _ in range(_CLOCK_READINGS):
        before = time.time()
        there = ray.get(actor.now.remote(), timeout=10)
        after = time.time()
        readings.append(((after - before) / 2, there - (before + after) / 2))
    error, skew = min(readings)
    return skew * 1000, error * 1000


def problems(nodes: Sequence[NodeReport], config: Config, host: str, home: Path) -> list[str]:
    """Everything that keeps the configuration from working on these nodes, a line each.

    Args:
        nodes: What every node found.
        config: The configuration.
        host: Where Serve listens.
        home: The home folder.
    """
    found = [f"node {node.address}: {node.problem}" for node in nodes if node.problem]
    fine = [node for node in nodes if not node.problem]
    shared = all(node.sees_home for node in fine)
    if len(nodes) > 1:
        found += traps(config, host, home, len(nodes), shared=shared)
    reachable = len(nodes) == 1 or _store_file(config, home) is None
    for node in fine:
        if node.store_problem and reachable:
            found.append(f"node {node.address}: the store does not answer: {node.store_problem}")
        if node.bundles_problem:
            found.append(f"node {node.address}: bundles cannot be used: {node.bundles_problem}")
        if abs(node.skew_ms) - node.skew_error_ms > CLOCK_TOLERANCE_MS:
            found.append(
                f"node {node.address}: its clock is {node.skew_ms / 1000:+.1f} s off; "
                "run a time service (NTP)"
            )
        if node.free_memory < _FREE_MEMORY_BYTES:
            found.append(f"node {node.address}: only {node.free_memory / 2**20:.0f} MB of memory are free")
        wrong = [f"{name}={value}" for name, value in SERVE_FLAGS.items() if node.flags.get(name) != value]
        if wrong and len(nodes) > 1:
            found.append(f"node {node.address}: start Ray there with {' '.join(wrong)} in its environment")
        if Path(node.proxy).name != PROXY_NAME and len(nodes) > 1:
            found.append(
                f"node {node.address}: HAProxy does not repeat what a lost host leaves unanswered, and "
                "shows its pages to anyone; start Ray there with "
                f"{PROXY_FLAG}=$(command -v {PROXY_NAME}) in its environment"
            )
    found += _different("Python", [(node.address, node.python) for node in fine])
    for name in sorted({name for node in fine for name in node.versions}):
        found += _different(name, [(node.address, node.versions.get(name, "not installed")) for node in fine])
    wanted = config.server.encoding.gpus + config.server.ranking.gpus + config.server.retrieval.gpus
    available = sum(node.gpus for node in nodes)
    if wanted and not available:
        found.append(f"server asks for {wanted:g} GPUs, and no node has one; set gpus: 0, or add a GPU node")
    return found


def traps(config: Config, host: str, home: Path, nodes: int, *, shared: bool) -> list[str]:
    """What works on one node and silently does not on several.

    Args:
        config: The configuration.
        host: Where Serve listens.
        home: The home folder.
        nodes: How many nodes there are.
        shared: Whether all of them see one home folder.

    Raises:
        ConfigError: The store's URL is none, or a setting names an environment variable that is not set.
    """
    found = []
    if _store_file(config, home) is not None:
        found.append(
            f"store.url: SQLite is a file of one machine, and the cluster has {nodes} nodes; "
            "set store.url to a PostgreSQL database, postgresql://user@host/database"
        )
    place = from_environment(config.bundles, "bundles") if config.bundles else f"{home}/bundles"
    if ("://" not in place or place.startswith("file:")) and not shared:
        found.append(
            f"bundles: {place} is a folder of one machine, and the cluster has {nodes} nodes; "
            "set bundles to object storage, such as s3://bucket/recserve, or share the home folder"
        )
    if is_loopback(host):
        found.append(
            f"server.host: {host} is each node's own loopback, and the cluster has {nodes} nodes, whose "
            "replicas the proxy could not reach; set server.host to 0.0.0.0 and make an API key"
        )
    return found


def _different(what: str, values: Sequence[tuple[str, str]]) -> list[str]:
    """One line if the values of some places, (place, value), are not all equal."""
    if len({value for _, value in values}) < 2:
        return []
    listed = ", ".join(f"{value} on {where}" for where, value in values)
    return [f"{what} differs: {listed}; install the same on every node"]
