"""Starts, finds and stops the server of a home folder. Imports Ray only where it must talk to a cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from recserve.config import Config
from recserve.data.entities import now_ms
from recserve.data.system.addresses import is_loopback
from recserve.data.system.files import make_private_folder
from recserve.errors import RuntimeEnvironmentError
from recserve.store import open_store
from recserve_deployments.local_server import environment, ports
from recserve_deployments.local_server.state_file import (
    MARKER,
    Order,
    ServerState,
    read_state,
    remove_state,
    write_state,
)

if TYPE_CHECKING:
    from recserve_deployments.local_server.deploy import DeploymentReport
    from recserve_deployments.preflight import NodeReport

STOP_SECONDS = 40.0

Report = Callable[[str], None]


def start(home: Path, config: Config, *, follow: bool) -> ServerState:
    """Start a server with a Ray cluster of its own and return at once; see :func:`wait`.

    Args:
        home: The home folder.
        config: The configuration; ``server.host`` and ``server.port`` say where to listen.
        follow: Whether the server ends when this process does.

    Raises:
        RuntimeEnvironmentError: The home has a server already, the port is taken, or other machines could
            reach a server that has no API key.
    """
    home = home.resolve()
    make_private_folder(home)
    host = ports.check_host(config.server.host)
    _refuse_second_server(home)
    _need_key(home, config, host)
    ports.check_port(host, config.server.port)

    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    directory = environment.run_directory(home)
    # The logs of the last server are kept, those before it are not.
    shutil.rmtree(directory / "ray", ignore_errors=True)
    server_id = uuid.uuid4().hex
    chosen, held = ports.reserve_ports(str(home))
    variables = environment.server_environment(home, directory, chosen, host, config.server)
    log = logs / "server.log"
    state = ServerState(
        server_id=server_id,
        owned=True,
        host=host,
        port=config.server.port,
        started_at=now_ms(),
        log=str(log),
        run_directory=str(directory),
        ports=chosen.base,
    )
    order = directory / "start.json"
    order.write_text(Order(state=state, config=config).model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", "recserve_deployments.local_server.supervisor", "--home", str(home)]
    command += ["--order", str(order)]
    if follow:
        command += ["--parent", str(os.getpid())]
    with held, log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(held.fileno(),),
            env={**os.environ, **variables, MARKER: server_id},
        )
    created = psutil.Process(process.pid).create_time()
    return state.model_copy(update={"pid": process.pid, "created": created})


def _refuse_second_server(home: Path, upgraded: str | None = None) -> None:
    """Refuse to serve a home twice.

    Args:
        home: The home folder.
        upgraded: Address of a joined cluster on which the home may be served already.
    """
    state = read_state(home)
    if state is None:
        return
    if not state.owned:
        if state.address == upgraded:
            return
        raise RuntimeEnvironmentError(
            f"this home is deployed on the cluster at {state.address} ({state.url}); "
            "take it off with `recserve stop` first"
        )
    if state.supervisor() is not None:
        raise RuntimeEnvironmentError(
            f"a server of this home is running already at {state.url} (process {state.pid}); "
            "stop it with `recserve stop`"
        )
    _clear(home, state)


def _need_key(home: Path, config: Config, host: str) -> None:
    """Refuse to let other machines reach an API without a key. The replicas refuse their calls as well."""
    if is_loopback(host):
        return
    with open_store(config.store.url, home) as store:
        keys = store.keys()
    if any(key.revoked_at is None for key in keys):
        return
    raise RuntimeEnvironmentError(
        f"host {host}: other machines could call the HTTP API, and it has no API key; "
        "make one with `recserve keys create NAME --scope read`, or serve on 127.0.0.1",
        field="server.host",
    )


def _clear(home: Path, state: ServerState) -> None:
    """Remove what is left of a server whose supervisor is gone: stray processes and the state file."""
    _kill(state.processes())
    remove_state(home, state.server_id)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(processes, timeout=5)


def wait(home: Path, state: ServerState, report: Report) -> ServerState:
    """Wait until a started server is ready.

    Args:
        home: The home folder.
        state: What :func:`start` returned.
        report: Told in one line what the server is busy with, whenever that changes.

    Returns:
        The state with everything known.

    Raises:
        RuntimeEnvironmentError: It could not start; says why in one line.
    """
    home = home.resolve()
    said = ""
    while True:
        alive = state.supervisor() is not None
        found = read_state(home)
        if found is not None and found.server_id == state.server_id:
            state = found
        if state.phase == "ready":
            return state
        if state.phase == "failed":
            # It takes Ray down before it goes.
            _wait_gone(state, STOP_SECONDS)
            _clear(home, state)
            raise RuntimeEnvironmentError(state.detail)
        if not alive:
            _clear(home, state)
            raise RuntimeEnvironmentError(f"the server stopped while starting; see {state.log}")
        if state.detail and state.detail != said:
            said = state.detail
            report(said)
        time.sleep(0.1)


def follow(state: ServerState) -> None:
    """Block for as long as an owned server lives."""
    process = state.supervisor()
    if process is not None:
        psutil.wait_procs([process])


def _wait_gone(state: ServerState, seconds: float) -> None:
    process = state.supervisor()
    if process is None:
        return
    # Reaps it where it is our own child.
    psutil.wait_procs([process], timeout=seconds)


def stop(home: Path) -> ServerState | None:
    """Stop the home's server: all of an owned one, only our application on a joined cluster.

    Returns:
        The server that was stopped, None if there was none.

    Raises:
        RuntimeEnvironmentError: The joined cluster cannot be reached.
    """
    home = home.resolve()
    state = read_state(home)
    if state is None:
        return None
    if not state.owned:
        with connected(home, state):
            from recserve_deployments.local_server.deploy import undeploy

            undeploy()
        remove_state(home, state.server_id)
        return state
    process = state.supervisor()
    if process is not None:
        process.terminate()
        _wait_gone(state, STOP_SECONDS)
    _clear(home, state)
    return state


def join(home: Path, config: Config, address: str, report: Report) -> ServerState:
    """Deploy on a Ray cluster that is running already.

    A home that is served there is upgraded in place: Serve replaces its replicas a few at a time.

    Args:
        home: The home folder; every node must see it under the same path.
        config: The configuration.
        address: ``host:port`` of the cluster's head.
        report: Told in one line what is going on.

    Raises:
        RuntimeEnvironmentError: The cluster cannot be reached, a replica cannot start, or other machines
            could reach a server that has no API key.
    """
    home = home.resolve()
    make_private_folder(home)
    host = ports.check_host(config.server.host)
    _refuse_second_server(home, upgraded=address)
    _need_key(home, config, host)
    state = ServerState(
        server_id=uuid.uuid4().hex,
        owned=False,
        address=address,
        host=host,
        port=config.server.port,
        started_at=now_ms(),
    )
    report(f"connecting to {address}")
    with connected(home, state):
        from recserve_deployments.app import AppArgs
        from recserve_deployments.local_server.deploy import deploy, start_serve, wait_until_ready
        from recserve_deployments.preflight import check_cluster, problems

        nodes = check_cluster(home, config, report)
        if found := problems(nodes, config, host, home):
            raise RuntimeEnvironmentError("\n".join(found))
        host, port = start_serve(host, config.server.port, every_node=len(nodes) > 1)
        _need_key(home, config, host)
        state = state.model_copy(update={"host": host, "port": port})
        deploy(AppArgs(home=str(home), config=config.model_dump(mode="json")), report)
        wait_until_ready(state.url, 180.0, report)
    state = state.model_copy(update={"phase": "ready"})
    write_state(home, state)
    return state


def check(
    home: Path, config: Config, address: str | None, report: Report
) -> tuple[list[NodeReport], list[str]]:
    """Examine the nodes of a cluster; see :mod:`recserve_deployments.preflight`.

    Args:
        home: The home folder.
        config: The configuration; ``server.host`` says where to listen.
        address: ``host:port`` of the cluster's head; None for the cluster of the home's server.
        report: Told in one line what is going on.

    Returns:
        What each node found, and every problem in one line.

    Raises:
        RuntimeEnvironmentError: There is no such cluster.
    """
    home = home.resolve()
    state = read_state(home)
    if address is not None:
        state = ServerState(
            server_id="", owned=False, address=address, host=config.server.host, port=0, started_at=0
        )
    if state is None:
        raise RuntimeEnvironmentError(f"no server of {home} is running; name a cluster with --address")
    with connected(home, state):
        from recserve_deployments.preflight import check_cluster, problems

        nodes = check_cluster(home, config, report)
        return nodes, problems(nodes, config, config.server.host, home)


@contextmanager
def connected(home: Path, state: ServerState) -> Iterator[None]:
    """Connect this process to the server's Ray cluster for a while.

    Raises:
        RuntimeEnvironmentError: It cannot be reached.
    """
    address = state.address or ""
    # Ray itself would try for minutes.
    if not ports.accepts(address):
        raise RuntimeEnvironmentError(f"no Ray cluster answers at {address or 'an unknown address'}")
    if state.owned:
        os.environ.update(environment.client_environment(home))
    else:
        head = address.rpartition(":")[0]
        os.environ.update(environment.SERVE_FLAGS | environment.without_web_proxy(os.environ, head))
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RuntimeEnvironmentError(f"cannot join the Ray cluster at {address}: {reason[0]}") from None
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class Status:
    """What there is to know of a home's server.

    Attributes:
        state: Its state file.
        alive: Whether the supervisor lives (always true of a joined cluster).
        health: Body of ``/v1/health/ready``, None without an answer.
        deployments: As Serve sees them, empty if Ray cannot be reached.
        problem: Why Ray cannot be reached, empty if it can.
        guarded: Whether the API refuses calls without a key, None without an answer.
    """

    state: ServerState
    alive: bool
    health: dict[str, Any] | None
    deployments: list[DeploymentReport]
    problem: str
    guarded: bool | None = None

    @property
    def topology(self) -> str | None:
        """``fused`` or ``staged``, as deployed; None while that is not known."""
        names = {deployment.name for deployment in self.deployments}
        return None if "Ingress" not in names else "staged" if "Retrieval" in names else "fused"

    @property
    def listeners(self) -> list[ports.Listener]:
        """Listening sockets of an owned server."""
        return ports.listeners(self.state.processes()) if self.state.owned else []

    def guard_of(self, listener: ports.Listener) -> str:
        """What a caller of a listening socket needs."""
        window = ports.ServePorts(self.state.ports or 0)
        if listener.port == self.state.port or window.is_api(listener.port):
            return {True: "API key", False: "nothing: no key exists", None: "unknown"}[self.guarded]
        return "nothing (read only)" if window.is_page(listener.port) else "Ray's token"


def status(home: Path) -> Status | None:
    """Look at the home's server; None if there is none."""
    home = home.resolve()
    state = read_state(home)
    if state is None:
        return None
    alive = not state.owned or state.supervisor() is not None
    if not alive:
        return Status(state, False, None, [], "the server died")
    health, guarded = _health(state.url), _guarded(state.url)
    try:
        with connected(home, state):
            from recserve_deployments.local_server.deploy import deployments

            return Status(state, True, health, deployments(), "", guarded)
    except RuntimeEnvironmentError as error:
        return Status(state, True, health, [], error.message, guarded)


def _guarded(url: str) -> bool | None:
    """Whether a call without a key is refused: asked, not guessed."""
    import httpx

    try:
        return httpx.get(f"{url}/v1/about", timeout=5, trust_env=False).status_code == 401
    except httpx.HTTPError:
        return None


def _health(url: str) -> dict[str, Any] | None:
    import httpx

    try:
        body = httpx.get(f"{url}/v1/health/ready", timeout=5, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return None
    return body if isinstance(body, dict) else None
