"""``recserve promote``, ``rollback`` and ``promotions``: which bundle is served, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from recserve.cli.common import (
    DEFAULT_HOME,
    ConfigOption,
    HomeOption,
    State,
    actor,
    out,
    progress_display,
)
from recserve.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from recserve.bundles.bundle import Bundle
    from recserve.store import Store
    from recserve.training.promotion.gate import Finding

ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history of promotions.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("promote")(promote_command)
    app.command("rollback")(rollback_command)
    app.command("promotions")(promotions_command)


def promote_command(
    bundle: Annotated[
        str | None, typer.Argument(help="Its id, from `recserve bundles`; default: the one trained last.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin", min=0, max=1, help="Loss of nDCG@10 that passes; default: promotion.margin."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote whatever the evidence says; needs --reason.")
    ] = False,
    reason: ReasonOption = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Make a bundle current, unless the evidence speaks against it. Running servers follow within seconds.

    Both bundles' configurations are compared on the same test window: by what training measured, if both were
    trained on the same data, else by fitting both again before it. What exploration has shown since it was
    trained tells what the bundle would have earned there, and experiments with it what users did.
    """
    if force and not (reason or "").strip():
        raise ConfigError("--force needs --reason TEXT: the history of promotions keeps why")
    from recserve.training.promotion.decision import Decider

    state = State(home, config)
    with state.store as store:
        decider = Decider(store, actor())
        candidate = state.repository.open(bundle or _trained_last(store))
        decider.check_known(candidate.id)
        current = store.current_bundle()
        if current == candidate.id:
            out.print(f"bundle {candidate.id} is current already")
            return
        findings = [] if current is None or force else _findings(state, current, candidate, margin)
        decider.promote(candidate.id, current, findings, reason=reason, forced=force)
    for finding in findings:
        out.print(finding.summary, soft_wrap=True, markup=False)
    out.print(f"bundle [bold]{candidate.id}[/] is current", soft_wrap=True)


def _findings(state: State, current: str, candidate: Bundle, margin: float | None) -> list[Finding]:
    from recserve.training.promotion.evidence import Weighing

    with progress_display() as progress:
        weighing = Weighing(
            state.home, state.config, lambda: state.registry, state.repository, state.store, progress
        )
        findings = weighing.findings(current, candidate, margin)
        progress.finish()
    return findings


def _trained_last(store: Store) -> str:
    records = store.bundles()
    if not records:
        raise BundleError("nothing has been trained yet; run `recserve train`")
    return max(records, key=lambda record: record.created_ms).bundle_id


def rollback_command(
    reason: ReasonOption = None, home: HomeOption = DEFAULT_HOME, config: ConfigOption = None
) -> None:
    """Make the bundle that was current before this one current again, at once.

    A second rollback returns to where the first one came from.
    """
    from recserve.training.promotion.decision import Decider

    state = State(home, config)
    with state.store as store:
        earlier, current = Decider(store, actor()).roll_back(state.repository, reason)
    out.print(f"bundle [bold]{earlier}[/] is current again, instead of {current}", soft_wrap=True)


def promotions_command(
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Newest ones shown.")] = 20,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Show which bundles became current, who did it, why, and by which figures; newest first."""
    with State(home, config).store as store:
        promotions = store.promotions(limit)
    table = Table("time", "bundle", "action", "who", "why", "figures")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for promotion in promotions:
        grounds = promotion.grounds
        moment = str(np.datetime64(promotion.promoted_ms, "ms"))[:19]
        figures = json.dumps(dict(grounds.evidence), ensure_ascii=False) if grounds.evidence else ""
        told = (grounds.action or "", grounds.actor or "", grounds.reason or "", figures)
        table.add_row(moment, promotion.bundle_id, *map(escape, told))
    out.print(table)
