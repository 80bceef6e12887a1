"""``recserve keys`` and ``recserve audit``: who may call the HTTP API, and what was done to it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, err, out, record
from recserve.errors import NotFoundError


class KeyScope(StrEnum):
    """Scopes of an API key, as options of the command line."""

    RECOMMEND = "recommend"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    keys = typer.Typer(help="API keys of the HTTP server.", no_args_is_help=True)
    keys.command("create")(create_command)
    keys.command("list")(list_command)
    keys.command("revoke")(revoke_command)
    app.add_typer(keys, name="keys")
    app.command("audit")(audit_command)


def create_command(
    name: Annotated[str, typer.Argument(help="What people call it, such as the program that uses it.")],
    scope: Annotated[
        list[KeyScope],
        typer.Option(
            "--scope",
            help="recommend (answers only), read (that, and look-ups), write, or admin (all, and deletes and "
            "merges users). Repeatable.",
        ),
    ],
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Requests a second, instead of server.rate_limit."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Make an API key and print it, once. From the first key on, every call of the API needs one."""
    from recserve.auth.caller import SCOPES
    from recserve.auth.keys import create_key
    from recserve.data.entities import now_ms

    state = State(home, config)
    scopes = [known for known in SCOPES if known in scope]
    now = now_ms()
    key, stored = create_key(name, scopes, now, rate)
    with state.store as store:
        first = not store.keys()
        store.add_key(stored)
        detail: dict[str, Any] = {"name": name, "scopes": scopes}
        record(store, "key.create", stored.key_id, detail if rate is None else {**detail, "rate": rate}, now)
    err.print(f"key [bold]{stored.key_id}[/] ({', '.join(scopes)}); it is shown this once:")
    out.print(key, soft_wrap=True)
    if first:
        err.print("this is the first key: from now on every call of the API needs one")


def list_command(home: HomeOption = DEFAULT_HOME, config: ConfigOption = None) -> None:
    """List all keys, revoked ones included."""
    with State(home, config).store as store:
        keys = store.keys()
    table = Table("id", "name", "scopes", "requests/s", "created", "revoked")
    table.columns[0].no_wrap = True
    for key in keys:
        table.add_row(
            key.key_id,
            escape(key.name),
            ", ".join(sorted(key.scopes)),
            "default" if key.rate_limit is None else f"{key.rate_limit:g}",
            _moment(key.created_at),
            "" if key.revoked_at is None else _moment(key.revoked_at),
        )
    out.print(table)


def revoke_command(
    key_id: Annotated[str, typer.Argument(help="Its id, from `recserve keys list`.")],
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Revoke a key. Running servers refuse it within about a second."""
    from recserve.data.entities import now_ms

    now = now_ms()
    with State(home, config).store as store:
        keys = store.keys()
        before = next((key for key in keys if key.key_id == key_id), None)
        if before is None or not store.revoke_key(key_id, now):
            # What was given may be a whole key by mistake, so it is not repeated.
            raise NotFoundError("no key has this id; `recserve keys list` shows them")
        if before.revoked_at is not None:
            out.print(f"key {key_id} was revoked on {_moment(before.revoked_at)}")
            return
        record(store, "key.revoke", key_id, {"name": before.name}, now)
    out.print(f"revoked key {key_id}")


def audit_command(
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Newest entries shown.")] = 50,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Show what was done to keys, users and items, newest first."""
    with State(home, config).store as store:
        entries = store.audit(limit)
    table = Table("time", "who", "what", "to", "details")
    for entry in entries:
        details = json.dumps(dict(entry.detail), ensure_ascii=False) if entry.detail else ""
        table.add_row(
            _moment(entry.at), escape(entry.actor), entry.action, escape(entry.target), escape(details)
        )
    out.print(table)


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
