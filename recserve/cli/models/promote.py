"""``recserve promote``, ``rollback`` and ``promotions``: which bundle is served, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

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
    record,
)
from recserve.errors import BundleError, ConfigError, NotFoundError, RecserveError

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
    state = State(home, config)
    with state.store as store:
        candidate = state.repository.open(bundle or _trained_last(store))
        if candidate.id not in {known.bundle_id for known in store.bundles()}:
            raise NotFoundError(
                f"bundle {candidate.id} was not trained in this home: the store does not know it"
            )
        current = store.current_bundle()
        if current == candidate.id:
            out.print(f"bundle {candidate.id} is current already")
            return
        findings: list[Finding] = []
        if current is not None and not force:
            allowed = state.config.promotion.margin if margin is None else margin
            findings = [_offline(state, store, current, candidate, allowed)]
            findings += _online(state, store, current, candidate)
        _decide(store, candidate.id, findings, {"before": current, "forced": force, "reason": reason})
    out.print(f"bundle [bold]{candidate.id}[/] is current", soft_wrap=True)


def _decide(store: Store, bundle_id: str, findings: list[Finding], detail: dict[str, Any]) -> None:
    """Make a bundle current if its evidence allows it, and keep either way what was decided and why."""
    from recserve.store import Grounds
    from recserve.training.promotion.gate import figures_of, pass_gate

    evidence = figures_of(findings)
    try:
        pass_gate(findings)
    except RecserveError:
        record(store, "bundle.refuse", bundle_id, detail | evidence)
        raise
    for finding in findings:
        out.print(finding.summary, soft_wrap=True, markup=False)
    kept = {**evidence, "forced": True} if detail["forced"] else evidence
    store.set_current(bundle_id, Grounds(actor(), "promote", detail["reason"], kept))
    record(store, "bundle.promote", bundle_id, detail | evidence)


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
    from recserve.store import Grounds

    state = State(home, config)
    with state.store as store:
        history = store.bundle_history()
        if len(history) < 2:
            raise BundleError("there is no earlier bundle to go back to")
        current, earlier = history[0], history[1]
        # Verified before it is served.
        state.repository.open(earlier)
        store.set_current(earlier, Grounds(actor(), "rollback", reason))
        record(store, "bundle.rollback", earlier, {"before": current, "reason": reason})
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


def _online(state: State, store: Store, current: str, candidate: Bundle) -> list[Finding]:
    """What was shown says of a bundle: estimates from what chance decided, and experiments with it."""
    from recserve.serving.local import local_pipeline
    from recserve.store.lake import LakeFolder
    from recserve.training.promotion.experiments import experiment_findings
    from recserve.training.promotion.off_policy import off_policy

    lake = LakeFolder.of(state.config.store.lake)
    trained = next(known.created_ms for known in store.bundles() if known.bundle_id == candidate.id)
    estimated = off_policy(
        store, state.config, lambda: local_pipeline(state.resolved, candidate, store), trained, lake
    )
    seen = experiment_findings(store, state.config, candidate.id, current, lake)
    return [*([] if estimated is None else [estimated]), *seen]


def _offline(state: State, store: Store, current: str, candidate: Bundle, margin: float) -> Finding:
    from recserve.training.promotion.offline import compare

    with progress_display() as progress:
        verdict = compare(
            state.home,
            state.config,
            state.registry,
            state.repository.open(current),
            candidate,
            store.snapshot,
            progress,
        )
        progress.finish()
    return verdict.finding(margin)
