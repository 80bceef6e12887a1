"""``recserve cluster``: whether a Ray cluster can serve this home's configuration."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, err, out, server_control


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Look at a Ray cluster.", no_args_is_help=True)
    # With a callback even a group of one command is called by its name.
    group.callback()(lambda: None)
    group.command("check")(check_command)
    app.add_typer(group, name="cluster")


def check_command(
    address: Annotated[
        str | None,
        typer.Option("--address", help="host:port of the cluster's head; default: this home's server."),
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Instead of server.host.")] = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Examine every node of a cluster; one line a problem, exit status 2 if there is any.

    `recserve serve --address` does the same before it deploys.
    """
    state = State(home, config)
    chosen = state.config
    if host is not None:
        chosen = chosen.model_copy(update={"server": chosen.server.model_copy(update={"host": host})})
    nodes, problems = server_control().check(home, chosen, address, lambda line: err.print(line))
    out.print(_table(nodes))
    for problem in problems:
        err.print(f"[bold red]error:[/] {problem}", soft_wrap=True)
    if problems:
        raise typer.Exit(2)
    out.print(f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}, nothing in the way")


def _table(nodes: list[Any]) -> Table:
    columns = ("node", "recserve", "Python", "plugins", "store", "bundles", "clock", "memory free")
    table = Table(*columns, "/dev/shm free", "GPUs", "home shared")
    for node in nodes:
        if node.problem:
            table.add_row(node.address, node.problem)
            continue
        table.add_row(
            node.address,
            node.versions.get("recserve", "?"),
            node.python,
            str(len(node.versions) - 1),
            "no" if node.store_ms is None else f"{node.store_ms:.1f} ms",
            "no" if node.bundles_problem else "yes",
            f"{node.skew_ms:+.0f} ms",
            f"{node.free_memory / 2**30:.1f} GB",
            f"{node.free_shm / 2**30:.1f} GB",
            f"{node.gpus:g}",
            "yes" if node.sees_home else "no",
        )
    return table
