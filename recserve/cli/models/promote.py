"""``recserve promote`` and ``rollback``: which bundle is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, out, progress_display, record
from recserve.errors import BundleError, NotFoundError

if TYPE_CHECKING:
    from recserve.bundles.bundle import Bundle
    from recserve.store import Store
    from recserve.training.promotion import Verdict


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("promote")(promote_command)
    app.command("rollback")(rollback_command)


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
    force: Annotated[bool, typer.Option("--force", help="Promote without measuring.")] = False,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Make a bundle current, unless it is worse than the current one by more than a margin.

    Both bundles' configurations are compared on the same test window: by what training measured, if both were
    trained on the same data, else by fitting both again before it. Running servers follow within seconds.
    """
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
        detail: dict[str, Any] = {"before": current, "forced": force}
        if current is not None and not force:
            verdict = _compare(state, store, current, candidate)
            allowed = state.config.promotion.margin if margin is None else margin
            difference = verdict.difference
            detail |= {
                "difference": round(difference.mean, 6),
                "ci95": [round(difference.low, 6), round(difference.high, 6)],
                "margin": allowed,
            }
            try:
                verdict.check(allowed)
            except Exception:
                record(store, "bundle.refuse", candidate.id, detail)
                raise
            out.print(str(verdict), soft_wrap=True)
        store.set_current(candidate.id)
        record(store, "bundle.promote", candidate.id, detail)
    out.print(f"bundle [bold]{candidate.id}[/] is current", soft_wrap=True)


def _trained_last(store: Store) -> str:
    records = store.bundles()
    if not records:
        raise BundleError("nothing has been trained yet; run `recserve train`")
    return max(records, key=lambda record: record.created_ms).bundle_id


def rollback_command(home: HomeOption = DEFAULT_HOME, config: ConfigOption = None) -> None:
    """Make the bundle that was current before this one current again.

    A second rollback returns to where the first one came from.
    """
    state = State(home, config)
    with state.store as store:
        history = store.bundle_history()
        if len(history) < 2:
            raise BundleError("there is no earlier bundle to go back to")
        current, earlier = history[0], history[1]
        # Verified before it is served.
        state.repository.open(earlier)
        store.set_current(earlier)
        record(store, "bundle.rollback", earlier, {"before": current})
    out.print(f"bundle [bold]{earlier}[/] is current again, instead of {current}", soft_wrap=True)


def _compare(state: State, store: Store, current: str, candidate: Bundle) -> Verdict:
    from recserve.training.promotion import compare

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
    return verdict
