"""Commands for the store: schema versions, export and restore, deletion of people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, out, progress_display, record
from recserve.cli.data.lake import expire_command, export_to_lake

if TYPE_CHECKING:
    from recserve.bundles.verify_deletion import Verification
    from recserve.store.sql.database import Database

store_app = typer.Typer(help="Version of the store: check it, upgrade it.", no_args_is_help=True)
deletions_app = typer.Typer(help="People who were deleted, by receipt.", no_args_is_help=True)
users_app = typer.Typer(help="People.", no_args_is_help=True)
events_app = typer.Typer(help="What people did.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    store_app.command("expire")(expire_command)
    app.add_typer(store_app, name="store")
    app.command("export")(export_command)
    app.command("restore")(restore_command)
    app.add_typer(deletions_app, name="deletions")
    app.add_typer(users_app, name="users")
    app.add_typer(events_app, name="events")


@store_app.command("upgrade")
def upgrade_command(home: HomeOption = DEFAULT_HOME, config: ConfigOption = None) -> None:
    """Bring the tables to this version of recserve, all or nothing; a home that is not there is begun.

    Make a backup first.
    """
    from recserve.store.sql.migrations.schema_version import upgrade

    with _database(State(home, config, creates=True)) as database:
        before, now = upgrade(database)
        if before == now:
            _say(f"{database.label} has schema version {now} already")
        elif before is None:
            _say(f"{database.label} was empty; its tables have schema version {now} now")
        else:
            _say(f"{database.label} upgraded from schema version {before} to {now}")


@store_app.command("status")
def status_command(home: HomeOption = DEFAULT_HOME, config: ConfigOption = None) -> None:
    """Show where the store is, its version and how much it holds."""
    from recserve.store.sql.migrations.schema_version import stored_version
    from recserve.store.sql.schema import SCHEMA_VERSION

    state = State(home, config)
    with _database(state) as database:
        version = stored_version(database)
        _say(f"{database.label}: schema version {version or 'none yet'}, recserve needs {SCHEMA_VERSION}")
    if version is not None and version < SCHEMA_VERSION:
        _say("make a backup, then run: recserve store upgrade")
    elif version == SCHEMA_VERSION:
        with state.store as store:
            counts, pulse = store.counts(), store.pulse()
            _say(f"{counts.users:,} users with events, {counts.items:,} items, {counts.events:,} events")
            _say(f"catalogue version {pulse.catalogue:,}, {pulse.deletions:,} people deleted")


def export_command(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A folder that is new or empty.")
    ] = None,
    events_after: Annotated[
        int | None,
        typer.Option(min=0, metavar="SEQ", help="Only events stored after this number; 0 for all."),
    ] = None,
    lake: Annotated[
        str | None,
        typer.Option(
            "--lake",
            metavar="PATH_OR_URL",
            help="Write new events into this lake instead, Parquet in a folder a day.",
            show_default="store.lake",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on writing new events into the lake until interrupted.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="With --follow: how often to look.")
    ] = 60.0,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Write everything in the store as Parquet into DIR, or without DIR what is new into the lake.

    DIR gets one file a table, as it is at one moment. The lake gets each event once, whatever is interrupted
    when; rows of deleted people and of events that were taken back are removed from it.
    """
    from recserve.errors import ConfigError
    from recserve.store.transfer.export import export_events, export_everything

    state = State(home, config)
    if folder is None:
        where = lake or state.config.store.lake
        if where is None:
            raise ConfigError("name a folder, or a lake: --lake PATH_OR_URL or store.lake in recserve.yaml")
        if events_after is not None:
            raise ConfigError("--events-after needs DIR; a lake knows itself how far it has been written")
        export_to_lake(state, where, every if follow else None)
        return
    if lake is not None or follow:
        raise ConfigError("give either DIR, or --lake and --follow")
    with progress_display() as progress:
        if events_after is None:
            with _database(state, prepared=True) as database:
                manifest = export_everything(database, folder, progress)
        else:
            with state.store as store:
                manifest = export_events(store, events_after, folder, progress)
        progress.finish()
    rows = sum(entry.rows for entry in manifest.tables.values())
    _say(f"{rows:,} rows -> {folder}")
    _say(f"go on with: --events-after {manifest.next_event}")


def restore_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `recserve export DIR` wrote.")],
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Restore an export of everything into an empty store; deleted people do not come back."""
    from recserve.store.transfer.restore import restore

    with _database(State(home, config, creates=True), prepared=True) as database:
        with progress_display() as progress:
            restored = restore(database, folder, progress)
            progress.finish()
        _say(f"{sum(restored.rows.values()):,} rows -> {database.label}")
    if restored.forgotten:
        _say(f"{restored.forgotten:,} rows of deleted people were left out")


@deletions_app.command("list")
def list_command(home: HomeOption = DEFAULT_HOME, config: ConfigOption = None) -> None:
    """List deletions of people, oldest first; nothing says who they were."""
    import numpy as np
    from rich.table import Table

    with State(home, config).store as store:
        deletions = [deletion for deletion in store.deletions() if deletion.part_of is None]
    table = Table("receipt", "deleted", "events", "exposures", "impressions", "profile")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for deletion in deletions:
        receipt = deletion.receipt
        moment = str(np.datetime64(receipt.deleted_at, "ms"))[:19]
        counts = (receipt.events, receipt.exposures, receipt.impressions)
        numbers = [f"{count:,}" for count in counts]
        table.add_row(receipt.receipt_id, moment, *numbers, "yes" if receipt.profiles else "no")
    out.print(table)


@deletions_app.command("verify")
def verify_command(
    receipt: Annotated[str, typer.Argument(help="Receipt of the deletion.")],
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Look for what is left of a deleted person in store, bundles and caches; 1 if there is any."""
    from recserve.bundles.verify_deletion import verify_deletion
    from recserve.store.lake import LakeFolder

    state = State(home, config)
    with state.store as store, progress_display() as progress:
        verification = verify_deletion(
            store,
            state.repository,
            receipt,
            lambda done, total: progress("Searching bundles", done, total),
            state.home / "cache",
            LakeFolder.of(state.config.store.lake),
        )
        progress.finish()
    _show(verification)
    if not verification.clean:
        raise typer.Exit(1)


@users_app.command("delete")
def delete_command(
    user_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the person.")],
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Delete a person and ids merged into it: events, exposures, impressions, profile. Prints a receipt."""
    with State(home, config).store as store:
        receipt = store.delete_user(user_id)
        record(store, "user.delete", receipt.receipt_id, {}, receipt.deleted_at)
    profile = "a profile" if receipt.profiles else "no profile"
    counted = f"impressions of {receipt.impressions:,} items"
    _say(f"deleted: {receipt.events:,} events, {receipt.exposures:,} exposures, {counted}, {profile}")
    _say(f"receipt: {receipt.receipt_id}")


@events_app.command("delete")
def take_back_command(
    event_id: Annotated[str | None, typer.Argument(metavar="[EVENT_ID]", help="Id of the event.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose events, with --item.")] = None,
    item: Annotated[str | None, typer.Option(help="Of which item, with --user.")] = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Take back an event, or all that a user did with an item. It counts no more from the next answer on."""
    from recserve.errors import InvalidRequestError

    with State(home, config).store as store:
        if event_id is not None and user is None and item is None:
            removed = store.remove_event(event_id)
        elif event_id is None and user is not None and item is not None:
            removed = store.remove_events(user, item)
        else:
            raise InvalidRequestError("name either an event, or --user and --item")
    _say(f"taken back: {removed:,} events")


def _show(verification: Verification) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("where", "what", "found")
    for name, count in verification.traces.items():
        table.add_row("store", name, f"[red]{count:,} rows[/]" if count else "nothing")
    for bundle in verification.bundles:
        rows = [
            *((place, "[red]the person's id[/]") for place in bundle.texts),
            *((array, "[red]suspicious: as many rows as there were users[/]") for array in bundle.arrays),
            *((place, "nothing (an item has the same id)") for place in bundle.item_ids),
        ]
        if bundle.problem:
            rows.append(("", f"[red]not checked:[/] {escape(bundle.problem)}"))
        for what, found in rows or [("all files", "nothing")]:
            table.add_row(escape(f"bundle {bundle.bundle_id}"), escape(what), found)
    for name in verification.caches:
        table.add_row("cache", escape(name), "[red]the person's id[/]")
    if verification.lake is not None:
        found = f"[red]{verification.lake:,} rows: run recserve export[/]" if verification.lake else "nothing"
        table.add_row("lake", "all files", found)
    out.print(table)
    if verification.merged:
        _say(f"{verification.merged:,} ids that had been merged into the person were looked for as well")
    _say("clean: nothing is left" if verification.clean else "not clean")


@contextmanager
def _database(state: State, *, prepared: bool = False) -> Iterator[Database]:
    """The database itself; with ``prepared`` its tables are made or checked first."""
    from recserve.store import parse_url
    from recserve.store.sql.database import Database
    from recserve.store.sql.migrations.schema_version import prepare

    database = Database(parse_url(state.config.store.url, state.home))
    try:
        if prepared:
            prepare(database)
        yield database
    finally:
        database.close()


def _say(text: str) -> None:
    out.print(text, markup=False, soft_wrap=True)
