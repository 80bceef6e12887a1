"""``recserve plugins`` and ``recserve bundles``: lists of what is installed and trained."""

from __future__ import annotations

import json
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, err, out


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("plugins")(plugins_command)
    app.command("bundles")(bundles_command)


def plugins_command(
    schemas: Annotated[bool, typer.Option("--schemas", help="Print every parameter as JSON schema.")] = False,
) -> None:
    """List plugins, the distributions they come from, and their components."""
    from recserve.plugin.registry import Registry

    registry = Registry.discover()
    if schemas:
        described = {
            f"{stage.value}.{component.name}": component.params.model_json_schema()
            for plugin in registry.plugins
            for stage, components in plugin.components.items()
            for component in components
        }
        out.print_json(json.dumps(described))
        return
    table = Table("plugin", "distribution", "stage", "component", "what it does")
    for plugin in registry.plugins:
        origin = f"{plugin.distribution} {plugin.version}"
        for stage, components in plugin.components.items():
            for component in components:
                table.add_row(plugin.name, origin, stage.value, component.name, component.summary)
    out.print(table)
    for plugin in registry.plugins:
        if plugin.error is not None:
            err.print(
                f"plugin {plugin.name!r} of {plugin.distribution} {plugin.version} failed to load: "
                f"{plugin.error}",
                style="yellow",
                markup=False,
                soft_wrap=True,
            )


def bundles_command(home: HomeOption = DEFAULT_HOME, config: ConfigOption = None) -> None:
    """List bundles, newest first, and check that their files are intact."""
    from recserve.errors import BundleError

    state = State(home, config)
    recorded = {record.bundle_id: record for record in state.store.bundles()}
    current = state.store.current_bundle()
    table = Table("", "bundle", "trained", "events", "ndcg@10", "state")
    table.columns[1].no_wrap = True
    present = state.repository.ids()
    order = sorted(
        present,
        key=lambda known_id: recorded[known_id].created_ms if known_id in recorded else 0,
        reverse=True,
    )
    for bundle_id in order:
        try:
            bundle = state.repository.open(bundle_id)
            events, condition = f"{bundle.manifest.data.events:,}", "intact"
            metric = bundle.manifest.metrics.get("ndcg@10")
            quality = "" if metric is None or metric["mean"] is None else f"{metric['mean']:.4f}"
        except BundleError as error:
            events, quality, condition = "", "", error.message.removeprefix(f"bundle {bundle_id}: ")
        record = recorded.get(bundle_id)
        trained = "" if record is None else str(np.datetime64(record.created_ms, "ms"))[:16]
        table.add_row("*" if bundle_id == current else "", bundle_id, trained, events, quality, condition)
    out.print(table)
    state.store.close()
