"""``recserve import``: bring items and events into the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recserve.cli.common import (
    CONFIG_NAME,
    DEFAULT_HOME,
    ConfigOption,
    HomeOption,
    State,
    out,
    progress_display,
    show_problems,
)
from recserve.errors import ConfigError, DataError

if TYPE_CHECKING:
    from recserve.data.dataset import Tables
    from recserve.store.ingest import RowProblem


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("import")(import_command)


def import_command(
    events: Annotated[
        Path | None, typer.Option("--events", help="CSV, Parquet or JSONL of user_id, item_id, event, ...")
    ] = None,
    items: Annotated[
        Path | None, typer.Option("--items", help="CSV, Parquet or JSONL of item_id and attributes.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="A data set that a plugin brings, e.g. movielens-small.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", help="KEY=VALUE for the data set; repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Load nothing if any row is bad.")] = False,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Import events and items from files, or a whole data set.

    A bad row is reported with file, line and reason; the good ones load unless --strict is given.
    """
    from recserve.store.ingest import import_tables

    state = State(home, config, creates=True)
    if (dataset is None) == (events is None and items is None):
        raise DataError("give either --dataset NAME, or --events FILE and/or --items FILE")
    if dataset is not None:
        tables = _read_dataset(state, dataset, param or [])
        problems: list[RowProblem] = []
    else:
        tables, problems = _read_files(state, events, items, strict)
    show_problems(problems)
    with progress_display() as progress:
        summary = import_tables(state.store, tables, lambda done, total: progress("Importing", done, total))
        progress.finish()
    left_out = sum(problem.severity == "error" for problem in problems)
    bad = f", {left_out} bad rows left out" if left_out else ""
    out.print(f"{summary}{bad} -> {state.home}", highlight=False, soft_wrap=True)
    state.store.close()


def _read_files(
    state: State, events: Path | None, items: Path | None, strict: bool
) -> tuple[Tables, list[RowProblem]]:
    from recserve.data.dataset import Tables
    from recserve.store.ingest import empty_tables, read_events, read_items

    tables, problems = empty_tables(), []
    if items is not None:
        table, found = read_items(items, strict=strict)
        tables = Tables(items=table, events=tables.events)
        problems.extend(found)
    if events is not None:
        table, found = read_events(events, state.config.event_types, strict=strict)
        tables = Tables(items=tables.items, events=table)
        problems.extend(found)
    return tables, problems


def _read_dataset(state: State, name: str, assignments: list[str]) -> Tables:
    from recserve.config import ComponentConfig
    from recserve.data.catalogue import Catalogue
    from recserve.plugin.protocols import DataSource, Stage

    params: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator:
            raise ConfigError(f"--param {assignment!r} must look like KEY=VALUE")
        params[key] = value
    chosen = state.registry.choose(Stage.DATASET, ComponentConfig(use=name, params=params), "--dataset")
    source: DataSource = chosen.build(Catalogue())
    tables = source.read()
    _suggest(state, source.suggested_config())
    return tables


def _suggest(state: State, suggested: Mapping[str, Any]) -> None:
    """Give a new home the configuration that suits the data; never touch an existing one."""
    import json

    import yaml

    path = state.home / CONFIG_NAME
    if not suggested or path.exists() or state.config_path is not None:
        return
    state.home.mkdir(parents=True, exist_ok=True)
    # Copied through JSON: what several scenarios share is written out, not as YAML's anchors.
    plain = json.loads(json.dumps(suggested))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    path.write_text(f"# Suggested by the data set; edit freely.\n{text}", encoding="utf-8")
    out.print(f"wrote {path}", highlight=False, soft_wrap=True)
