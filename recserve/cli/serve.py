"""``recserve serve``, ``stop`` and ``status``: the HTTP server on a Ray Serve graph."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.table import Table

from recserve.cli.common import (
    DEFAULT_HOME,
    ConfigOption,
    HomeOption,
    State,
    err,
    out,
    require_home,
    server_control,
)
from recserve.errors import RuntimeEnvironmentError

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="host:port of a running Ray cluster to deploy on; default: start one for this server.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("serve")(serve_command)
    app.command("stop")(stop_command)
    app.command("status")(status_command)


def serve_command(
    host: Annotated[str | None, typer.Option("--host", help="Instead of server.host.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Instead of server.port.")
    ] = None,
    address: AddressOption = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when ready and go on serving.")] = False,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Serve recommendations over HTTP until Ctrl-C.

    Starts a Ray cluster of its own, or deploys on the one at --address. Done again there, it upgrades to the
    configuration and the code of the moment, and requests are answered all the while.
    """
    from recserve.auth.signing import verifier

    state = State(home, config)
    chosen = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    server = state.config.server.model_copy(update=chosen)
    wanted = state.config.model_copy(update={"server": server})
    # Whatever can be wrong with plugins, secrets or bundles is found before anything starts.
    state.registry.resolve(wanted)
    for name, hook in wanted.streams.hooks.items():
        verifier(name, hook)
    bundle = state.current_bundle()
    state.store.close()
    runtime = server_control()
    started = time.perf_counter()
    if address is not None:
        with _progress() as report:
            server_state = runtime.join(home, wanted, address, report)
        _announce(server_state, bundle.id, started)
        out.print("take it off the cluster with `recserve stop`")
        return
    server_state = runtime.start(home, wanted, follow=not detach)
    try:
        with _progress() as report:
            server_state = runtime.wait(home, server_state, report)
        _announce(server_state, bundle.id, started)
        if detach:
            return
        out.print("Ctrl-C stops it")
        runtime.follow(server_state)
        raise RuntimeEnvironmentError(f"the server ended; see {server_state.log}")
    except KeyboardInterrupt:
        err.print("stopping ...")
        runtime.stop(home)
        out.print("stopped")


def _announce(state: Any, bundle: str, started: float) -> None:
    seconds = time.perf_counter() - started
    out.print(
        f"serving bundle [bold]{bundle}[/] at [bold]{state.url}[/] (API: {state.url}/docs), "
        f"ready after {seconds:.0f} s",
        soft_wrap=True,
    )
    if state.host not in state.url:
        out.print(f"other machines reach it at port {state.port} of this machine, with an API key")


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Shows what the server is busy with: one changing line on a terminal, a line each elsewhere."""
    if not err.is_terminal:
        yield lambda line: err.print(line, soft_wrap=True)
        return
    with err.status("starting") as display:
        yield display.update


def stop_command(home: HomeOption = DEFAULT_HOME) -> None:
    """Stop this home's server: its own Ray cluster, or only its application on a joined one."""
    require_home(home)
    stopped = server_control().stop(home)
    if stopped is None:
        out.print(f"no server of {home} is running")
    else:
        out.print(f"stopped the server at {stopped.url}")


def status_command(
    ports: Annotated[bool, typer.Option("--ports", help="Also show what listens where.")] = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Show this home's server: health, bundle, deployments and replicas."""
    require_home(home)
    found = server_control().status(home)
    if found is None:
        out.print(f"no server of {home} is running")
        raise typer.Exit(1)
    state = found.state
    if not found.alive:
        out.print(f"the server at {state.url} died; see {state.log}", soft_wrap=True)
        raise typer.Exit(1)
    _print_summary(found)
    table = Table("deployment", "status", "running", "other replicas", "message")
    for deployment in found.deployments:
        other = ", ".join(f"{count} {name.lower()}" for name, count in deployment.other.items())
        table.add_row(
            deployment.name, deployment.status.lower(), str(deployment.running), other, deployment.message
        )
    out.print(table)
    if ports:
        listening = Table("address", "port", "process", "pid", "reached from", "guarded by")
        for listener in found.listeners:
            everywhere = listener.address in ("0.0.0.0", "::")
            reach = (
                "this machine" if listener.loopback else "every interface" if everywhere else "its network"
            )
            guard = found.guard_of(listener)
            listening.add_row(
                listener.address, str(listener.port), listener.process, str(listener.pid), reach, guard
            )
        out.print(listening)


_TOPOLOGIES = {
    "fused": "fused, all stages in each replica of Ingress",
    "staged": "staged, each stage in replicas of its own",
}


def _print_summary(found: Any) -> None:
    state, health = found.state, found.health
    lines = [f"{state.phase} at {state.url}" + (f": {state.detail}" if state.detail else "")]
    if health is None:
        lines.append("the HTTP API does not answer")
    elif "error" in health:
        lines.append(f"not ready: {health['error']['message']}")
    else:
        parts = {"store": health["store"], **health["stages"]}
        works = ", ".join(f"{name} {'ok' if fine else 'down'}" for name, fine in parts.items())
        lines.append(f"bundle {health['bundle']}; {works}")
    if found.topology is not None:
        lines.append(f"graph: {_TOPOLOGIES[found.topology]}")
    if found.problem:
        lines.append(found.problem)
    owner = f"own cluster, process {state.pid}" if state.owned else "joined cluster"
    lines.append(f"Ray at {state.address} ({owner}); logs: {state.ray_logs or state.log or os.devnull}")
    for line in lines:
        out.print(line, soft_wrap=True)
