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
from recserve.cli.importing import FileOptions, check_mapped, show_item_text, show_layout, show_preview
from recserve.errors import ConfigError, DataError

if TYPE_CHECKING:
    from recserve.data.dataset import Tables
    from recserve.store.ingest import RowProblem


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("import")(import_command)


def import_command(
    events: Annotated[
        Path | None, typer.Option("--events", help="CSV, Parquet, JSON or Excel of user_id, item_id, ...")
    ] = None,
    items: Annotated[
        Path | None, typer.Option("--items", help="CSV, Parquet, JSON or Excel of item_id and attributes.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="A data set that a plugin brings, e.g. movielens-small.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", help="KEY=VALUE for the data set; repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Load nothing if any row is bad.")] = False,
    form: Annotated[
        str | None,
        typer.Option("--format", help="Format of the files, such as movielens; default: recognised."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", help="Such as gb18030 or windows-1252; default: recognised.")
    ] = None,
    header: Annotated[
        str | None, typer.Option("--header", help="Names of the columns of a file that has none: A,B,C.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="user_id=COLUMN: what a column is; repeatable.")
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option("--event", help="Type of all events, or THEIRS=OURS for one type; repeatable."),
    ] = None,
    time: Annotated[
        list[str] | None,
        typer.Option("--time", help="none, the column of times, or their strptime format; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be imported; store nothing.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Import events and items from files, or a whole data set.

    A bad row is reported with file, line and reason; the good ones load unless --strict is given.
    """
    from recserve.store.ingest import import_tables

    state = State(home, config)
    if (dataset is None) == (events is None and items is None):
        raise DataError("give either --dataset NAME, or --events FILE and/or --items FILE")
    if dataset is not None:
        tables = _read_dataset(state, dataset, param or [], suggest=not dry_run)
        problems: list[RowProblem] = []
    else:
        options = FileOptions(form, encoding, header, columns or (), event or (), time or ())
        tables, problems = _read_files(state, events, items, strict, options, dry_run)
    show_problems(problems)
    if dry_run:
        show_preview(state, tables)
    show_item_text(state, tables, full=dry_run)
    if dry_run:
        left_out = sum(problem.severity == "error" for problem in problems)
        out.print(f"dry run: {left_out} bad rows; nothing was stored", highlight=False, soft_wrap=True)
        return
    with progress_display() as progress:
        summary = import_tables(state.store, tables, lambda done, total: progress("Importing", done, total))
        progress.finish()
    left_out = sum(problem.severity == "error" for problem in problems)
    bad = f", {left_out} bad rows left out" if left_out else ""
    out.print(f"{summary}{bad} -> {state.home}", highlight=False, soft_wrap=True)
    state.store.close()


def _read_files(
    state: State, events: Path | None, items: Path | None, strict: bool, options: FileOptions, full: bool
) -> tuple[Tables, list[RowProblem]]:
    from recserve.data.dataset import Tables
    from recserve.store.ingest import empty_tables, read_events, read_items
    from recserve.store.ingest.formats import recognise_events, recognise_items

    reading = options.reading(state.config)
    if reading.header and events is not None and items is not None:
        raise ConfigError(
            "--header names the columns of one file; import events and items one after the other"
        )
    of_items = None if items is None else recognise_items(items, reading)
    of_events = None if events is None else recognise_events(events, reading)
    check_mapped(reading, [one for one in (of_items, of_events) if one is not None])
    tables, problems = empty_tables(), []
    if items is not None and of_items is not None:
        show_layout("items", items, of_items, full)
        table, found = read_items(items, strict=strict, layout=of_items)
        tables = Tables(items=table, events=tables.events)
        problems.extend(found)
    if events is not None and of_events is not None:
        show_layout("events", events, of_events, full)
        table, found = read_events(events, state.config.event_types, strict=strict, layout=of_events)
        tables = Tables(items=tables.items, events=table)
        problems.extend(found)
    return tables, problems


def _read_dataset(state: State, name: str, assignments: list[str], suggest: bool) -> Tables:
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
    if suggest:
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
