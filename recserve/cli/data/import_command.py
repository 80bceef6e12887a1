"""``recserve import``: bring items and events into the store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.markup import escape

from recserve.cli.common import (
    CONFIG_NAME,
    DEFAULT_HOME,
    ConfigOption,
    HomeOption,
    State,
    err,
    out,
    progress_display,
    require_home,
    show_problems,
    warn,
)
from recserve.cli.data.accounting import MOST_BAD, Row, file_account, show_account, unknown_account
from recserve.cli.data.input_files import (
    FileOptions,
    Files,
    check_width,
    recognise_files,
    show_item_text,
    show_preview,
    vector_files,
)
from recserve.data.system.files import make_private_folder
from recserve.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from recserve.data.columns.named_vectors import NamedVectors
    from recserve.data.dataset import Tables
    from recserve.store.ingest import FileReport


VECTORS = "vectors of "
"""Beginning of what a file of vectors is reported to hold."""


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
    users: Annotated[
        Path | None, typer.Option("--users", help="The same of user_id and attributes, such as interests.")
    ] = None,
    vectors: Annotated[
        list[str] | None,
        typer.Option(
            "--vectors", help="SPACE=FILE: NPZ, NPY, Parquet, JSON or CSV of item_id and vectors; repeatable."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="A data set that a plugin brings, e.g. movielens-small.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", help="KEY=VALUE for the data set; repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Load nothing if any row is bad.")] = False,
    allow_bad: Annotated[
        float,
        typer.Option("--allow-bad", min=0, max=1, help="Load nothing if a larger share of the rows is bad."),
    ] = MOST_BAD,
    create_items: Annotated[
        bool,
        typer.Option(
            "--create-items",
            help="Make bare items of those that events are about and that are not in the catalogue; without "
            "files: for the events in the store.",
        ),
    ] = False,
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

    A bad row is reported with file, line and reason, and the good ones load, unless too many are bad: then
    nothing is stored and the exit status is 1. A table says what became of all rows.
    """
    from recserve.store.ingest import UnusableFileError

    state = State(home, config, creates=True)
    options = FileOptions(form, encoding, header, columns or (), event or (), time or (), dry_run)
    # A data set may bring the configuration, which must not have been read by then.
    files = Files(events, items, users, vector_files(vectors, state.config) if vectors else ())
    given = files != Files()
    if (dataset is not None and given) or not (dataset or given or create_items):
        raise DataError(
            "give either --dataset NAME, or --events FILE, --items FILE, --users FILE or --vectors SPACE=FILE"
        )
    profiles: pa.Table | None = None
    later: dict[str, NamedVectors] = {}
    if dataset is not None:
        tables, reports = _read_dataset(state, dataset, param or [], suggest=not dry_run)
    elif given:
        try:
            tables, profiles, reports = _read_files(state, files, strict, options)
            later, more = _read_vectors(state, files, strict)
            reports += more
        except UnusableFileError as error:
            show_problems([error.report])
            _refuse([error.report], error.report, allow_bad)
    else:
        tables, reports = _stored_events(state), []
    show_problems(reports)
    worst = max(reports, key=lambda report: report.bad_share, default=None)
    if worst is not None and worst.bad_share > allow_bad:
        _refuse(reports, worst, allow_bad)
    show_item_text(state, tables, full=dry_run)
    if dry_run:
        show_preview(state, tables)
        show_account("file", "rows", {_named(report): _unstored(report) for report in reports})
        out.print("dry run: nothing was stored")
        return
    with state.store:
        _store(state, tables, profiles, reports, create_items, later)


def _refuse(reports: Sequence[FileReport], worst: FileReport, allow_bad: float) -> NoReturn:
    """Show what is wrong with files of which too much is bad; nothing has been stored."""
    show_account("file", "rows", {_named(report): _unstored(report) for report in reports})
    count, needed = worst.count("error"), math.ceil(worst.bad_share * 100) / 100
    rest = f", or take the good rows with --allow-bad {needed:g}" if worst.taken else ""
    err.print(
        f"[bold red]error:[/] nothing was stored: {count:,} of {worst.rows:,} rows of {escape(worst.file)} "
        f"are bad, more than a share of {allow_bad:g}; mend the file{rest}",
        soft_wrap=True,
    )
    raise typer.Exit(1)


def _named(report: FileReport) -> str:
    return f"{report.file} ({report.what})"


def _unstored(report: FileReport) -> list[Row]:
    return file_account(report, [("good, but not stored", report.taken, "")])


def _store(
    state: State,
    tables: Tables,
    profiles: pa.Table | None,
    reports: Sequence[FileReport],
    create_items: bool,
    later: Mapping[str, NamedVectors],
) -> None:
    from recserve.store.ingest import (
        empty_tables,
        import_tables,
        import_users,
        import_vectors,
        not_in_catalogue,
        with_bare_items,
    )

    unknown = not_in_catalogue(state.store, tables)
    read = len(tables.items)
    if create_items:
        tables = with_bare_items(tables, unknown.item_ids)
    if not reports:  # the events are in the store already
        tables = replace(tables, events=empty_tables().events)
    with progress_display() as progress:
        summary = import_tables(state.store, tables, lambda done, total: progress("Importing", done, total))
        progress.finish()
    stored_users = 0 if profiles is None else import_users(state.store, profiles)
    stored_vectors = import_vectors(state.store, later)
    sections: dict[str, list[Row]] = {}
    for report in reports:
        if report.what == "items":
            rows: list[Row] = [("stored", read, "")]
            rows += [
                (f"  of these with a vector in the space {space}", len(named), "")
                for space, named in tables.vectors.items()
            ]
        elif report.what.startswith(VECTORS):
            count, strange = stored_vectors[report.what.removeprefix(VECTORS)]
            rows = [("stored", count, "")]
            if strange:
                rows.append(
                    ("left out: their items are not in the catalogue", len(strange), repr(strange[0]))
                )
        elif report.what == "users":
            rows = [("stored", stored_users, "")]
        else:
            known = summary.known_events
            rows = [
                ("stored", summary.new_events, ""),
                *([("there already, or the same event twice", known, "")] if known else []),
                *((reason, count, "") for reason, count in summary.left_out.items()),
                *([] if create_items else unknown_account(unknown)),
            ]
        sections[_named(report)] = file_account(report, rows)
    if create_items:
        example = repr(unknown.item_ids[0]) if unknown.item_ids else ""
        sections["--create-items"] = [("bare items made", len(unknown.item_ids), example)]
    show_account("file", "rows", sections)
    if unknown.events and not create_items:
        warn(str(unknown))
    left_out = sum(report.count("error") for report in reports)
    bad = f", {left_out:,} bad rows left out" if left_out else ""
    people = f", {stored_users:,} users" if profiles is not None else ""
    out.print(f"{summary}{people}{bad} -> {state.home}", soft_wrap=True)


def _read_files(
    state: State, files: Files, strict: bool, options: FileOptions
) -> tuple[Tables, pa.Table | None, list[FileReport]]:
    """Events and items, users, and what became of the rows."""
    from recserve.store.ingest import VectorCells, empty_tables, read_events, read_items, read_users

    layouts = recognise_files(files, options, state.config)
    tables, profiles, reports = empty_tables(), None, []
    if files.items is not None:
        vectors = VectorCells(state.config.space_dimensions)
        table, report = read_items(files.items, strict=strict, layout=layouts.items, vectors=vectors)
        tables = replace(tables, items=table, vectors=vectors.found)
        reports.append(report)
    if files.users is not None:
        profiles, report = read_users(files.users, strict=strict, layout=layouts.users)
        reports.append(report)
    if files.events is not None:
        table, report = read_events(
            files.events, state.config.event_types, strict=strict, layout=layouts.events
        )
        tables = replace(tables, events=table)
        reports.append(report)
    return tables, profiles, reports


def _read_vectors(
    state: State, files: Files, strict: bool
) -> tuple[dict[str, NamedVectors], list[FileReport]]:
    """Vectors of files of their own, by space."""
    from recserve.store.ingest import read_vectors

    found, reports = {}, []
    for space, path in files.vectors:
        found[space], report = read_vectors(path, space, state.config.space_dimensions[space], strict)
        report.what = f"{VECTORS}{space}"
        reports.append(report)
    return found, reports


def _stored_events(state: State) -> Tables:
    from recserve.data.dataset import Tables
    from recserve.store.ingest import empty_tables

    require_home(state.home)
    return Tables(items=empty_tables().items, events=state.store.snapshot().events)


def _read_dataset(
    state: State, name: str, assignments: list[str], suggest: bool
) -> tuple[Tables, list[FileReport]]:
    from recserve.config import ComponentConfig
    from recserve.data.catalogue import Catalogue
    from recserve.plugin.protocols import DataSource, Stage
    from recserve.store.ingest import FileReport, check_events

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
    events, report = check_events(tables.events, name, state.config.event_types)
    items = FileReport(name, "items", rows=len(tables.items), taken=len(tables.items))
    for space, named in tables.vectors.items():
        check_width(space, named.vectors.shape[1], state.config, f"data set {name}")
    return replace(tables, events=events), [items, report]


def _suggest(state: State, suggested: Mapping[str, Any]) -> None:
    """Give a new home the configuration that suits the data; never touch an existing one."""
    import json

    import yaml

    path = state.home / CONFIG_NAME
    if not suggested or path.exists() or state.config_path is not None:
        return
    make_private_folder(state.home)
    # Copied through JSON: what several scenarios share is written out, not as YAML's anchors.
    plain = json.loads(json.dumps(suggested))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    path.write_text(f"# Suggested by the data set; edit freely.\n{text}", encoding="utf-8")
    out.print(f"wrote {path}", soft_wrap=True)
