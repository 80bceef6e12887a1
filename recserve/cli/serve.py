"""``recserve serve``, ``stop`` and ``status``: the HTTP server on a Ray Serve graph."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from recserve.cli.common import (
    DEFAULT_HOME,
    ConfigOption,
    HomeOption,
    ProgressLines,
    State,
    err,
    out,
    require_home,
    server_control,
    warn,
)
from recserve.data.entities import now_ms
from recserve.errors import ConfigError, RuntimeEnvironmentError

if TYPE_CHECKING:
    from recserve.bundles.bundle import Bundle
    from recserve.training.retraining.status import RetrainingStatus

_BEGIN_SECONDS = 60.0
_LOOK_SECONDS = 0.5

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
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain",
            help="Once ready, run `recserve retrain` in the background at low priority, as retrain.at_start "
            "does; what passes the gate is swapped in.",
        ),
    ] = False,
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
    if retrain:
        if address is not None:
            raise ConfigError(
                "--retrain is for a server of this machine; on a cluster run `recserve retrain`"
            )
        wanted = wanted.model_copy(update={"retrain": wanted.retrain.model_copy(update={"at_start": True})})
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
        if bundle.manifest.postponed:
            out.print(_quick(bundle, trained=wanted.retrain.at_start), soft_wrap=True)
        if detach:
            return
        out.print("Ctrl-C stops it")
        if wanted.retrain.at_start:
            report_retraining(follow_retraining(home, server_state.started_at, server_state.supervisor))
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


def _quick(bundle: Bundle, *, trained: bool) -> str:
    """What a bundle of a quick training is worth and lacks, and what becomes of it."""
    later = (
        "a better one is being trained in the background; `recserve status` tells how far it is"
        if trained
        else "`recserve retrain` trains a better one, which is then swapped in"
    )
    measured = bundle.manifest.metrics.get("ndcg@10")
    worth = "" if measured is None else f" (nDCG@10 {measured['mean']:.4f})"
    return f"it was trained quickly, without {', '.join(bundle.manifest.postponed)}{worth}; {later}"


def follow_retraining(home: Path, since: int, alive: Callable[[], object | None]) -> RetrainingStatus | None:
    """Show how far the retraining of a server is until it has ended.

    Args:
        home: The home folder.
        since: Runs that started before are none of ours, milliseconds since the epoch.
        alive: Gives None once the server is gone, with which its retraining ends.

    Returns:
        How it ended, None if the server is gone before.
    """
    from recserve.training.retraining.status import RetrainingStatus, ended, read_status

    begun_by = time.monotonic() + _BEGIN_SECONDS
    with _background() as progress:
        while alive() is not None:
            status = read_status(home)
            if status is None or status.started < since:
                if time.monotonic() > begun_by:
                    why = f"it has not begun; see {home / 'logs' / 'server.log'}"
                    return ended(RetrainingStatus.begun(0), "failed", why)
            elif status.state == "running":
                progress(f"In the background: {status.step}", status.done, status.total)
            else:
                return status
            time.sleep(_LOOK_SECONDS)
    return None


@contextmanager
def _background() -> Iterator[Callable[[str, int, int], None]]:
    """Shows how far a run is: one changing line on a terminal, a line now and then elsewhere."""
    if not err.is_terminal:
        yield ProgressLines()
        return
    with err.status("In the background: training") as display:
        yield lambda step, done, total: display.update(escape(f"{step}{_far(done, total)}"))


def _far(done: int, total: int) -> str:
    return f", {done:,} of {total:,}" if total > 1 else ""


def report_retraining(status: RetrainingStatus | None) -> None:
    """Say in a line how a retraining run ended."""
    if status is None:
        return
    if status.state == "promoted":
        out.print(
            f"bundle [bold]{status.bundle_id}[/] is being swapped in: {escape(status.detail)}", soft_wrap=True
        )
    elif status.state in ("refused", "failed"):
        what = "was refused by the gate" if status.state == "refused" else "failed"
        warn(f"retraining {what}, the server goes on with the bundle it has: {status.detail}")
    else:
        out.print(f"retraining: {status.state}: {escape(status.detail)}", soft_wrap=True)


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
    _print_summary(found, home)
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


def _retraining_line(status: RetrainingStatus) -> str:
    if status.state != "running":
        return f"last retraining: {status.state}: {status.detail}"
    far = _far(status.done, status.total)
    minutes = (now_ms() - status.started) / 60_000
    return f"retraining for {minutes:.0f} min: {status.step}{far}"


def _print_summary(found: Any, home: Path) -> None:
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
    from recserve.training.retraining.status import read_status

    retraining = read_status(home)
    if retraining is not None:
        lines.append(_retraining_line(retraining))
    owner = f"own cluster, process {state.pid}" if state.owned else "joined cluster"
    lines.append(f"Ray at {state.address} ({owner}); logs: {state.ray_logs or state.log or os.devnull}")
    for line in lines:
        out.print(line, soft_wrap=True, markup=False)
