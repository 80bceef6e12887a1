"""``recserve retrain``: training on a schedule, behind the gate."""

from __future__ import annotations

from typing import Annotated

import typer

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
from recserve.cli.models.workers import (
    AddressOption,
    CheckpointsOption,
    CpusOption,
    GpusOption,
    Workers,
    WorkersOption,
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("retrain")(retrain_command)


def retrain_command(
    force: Annotated[bool, typer.Option("--force", help="Train even if nothing is new.")] = False,
    address: AddressOption = None,
    workers: WorkersOption = None,
    cpus: CpusOption = 1.0,
    gpus: GpusOption = 0.0,
    checkpoints: CheckpointsOption = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Train again if enough is new, and make the result current if it is not worse.

    For cron, a job of a cluster, or `retrain.every_hours` of a server. It says why it did what it did, keeps
    the last `retrain.keep` bundles, and ends with an error where the gate refuses.
    """
    from recserve.training.promotion.gate import figures_of, pass_gate
    from recserve.training.retraining.run import Retraining

    state = State(home, config)
    asked = Workers(address, workers, cpus, gpus, checkpoints)
    with state.store as store, asked.executor(state) as executor, progress_display() as progress:
        done = Retraining(
            state.home, state.resolved, state.registry, state.repository, store, progress, executor, actor()
        ).run(force=force)
        progress.finish()
        action = {"promoted": "bundle.promote", "refused": "bundle.refuse"}.get(done.outcome)
        if action is not None and done.bundle_id is not None:
            detail = {"before": done.before, "reason": done.reason, **figures_of(done.findings)}
            record(store, action, done.bundle_id, detail)
        if done.removed:
            record(store, "bundle.remove", ",".join(done.removed), {"keep": state.config.retrain.keep})
    if done.removed:
        out.print(f"removed {len(done.removed)} old bundles: {', '.join(done.removed)}", soft_wrap=True)
    if done.outcome == "refused":
        pass_gate(done.findings)  # which says why not
    what = done.outcome if done.bundle_id is None else f"{done.outcome} bundle {done.bundle_id}"
    out.print(f"{what}: {done.reason}", soft_wrap=True)
