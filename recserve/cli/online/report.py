"""``recserve report``: what became of what was shown."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated

import typer

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, out, progress_display, warn

if TYPE_CHECKING:
    from recserve.outcomes.intervals import Interval
    from recserve.outcomes.reports import Figures, Report


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("report")(report_command)


def report_command(
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="WHAT",
            help="scenario, bundle, arm, retriever, item, day, or segment:ATTRIBUTE of the users.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="First day, such as 2026-01-31 (UTC).", show_default="28 days"),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DAY", help="Last day, included.", show_default="today")
    ] = None,
    scenario: Annotated[str | None, typer.Option(help="Only what this scenario showed.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Only what belongs to this experiment.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows, those shown most.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Show what became of recommendations: clicks, conversions and value, with 95% intervals over users."""
    from recserve.outcomes.reports import plain_report, question_of, report
    from recserve.store.lake import LakeFolder

    state = State(home, config)
    asked = question_of(state.config, by, since, until, scenario=scenario, experiment=experiment, rows=limit)
    with state.store as store, progress_display() as progress:
        found = report(
            store,
            state.config,
            asked,
            LakeFolder.of(state.config.store.lake),
            progress=lambda done, total: progress("Counting days", done, total),
        )
        progress.finish()
    if as_json:
        out.print(json.dumps(plain_report(found), ensure_ascii=False, indent=1), markup=False, soft_wrap=True)
        return
    _show(found)


def _show(found: Report) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from recserve.outcomes.reports import date_of

    asked = found.question
    out.print(f"{date_of(asked.first)} to {date_of(asked.last)} (UTC); {_freshness(found)}", soft_wrap=True)
    if not found.total.impressions:
        out.print("nothing was shown in this time")
        return
    table = Table(box=box.SIMPLE)
    table.add_column(asked.by or "", no_wrap=True)
    for heading in ("shown", "CTR", "CTR, place 1", "conversion", "value", "per shown", "items", "degraded"):
        table.add_column(heading, justify="right")
    for row in found.rows:
        table.add_row(escape(row.group or "(none)"), *_cells(row))
    table.add_row("[bold]all[/]", *_cells(found.total), style="bold")
    out.print(table)
    if found.groups > len(found.rows) and asked.by is not None:
        out.print(f"... and {found.groups - len(found.rows):,} more; --limit shows them")
    examined = [f"{share:.2f}" for share in found.examination[:10]]
    out.print(f"places looked at, relative to the first: {' '.join(examined)}", soft_wrap=True)
    if found.other_settings:
        warn(
            f"{found.other_settings} of {found.days} days were counted by earlier settings of outcomes and "
            "cannot be counted again: their exposures have expired"
        )


def _cells(row: Figures) -> tuple[str, ...]:
    covered = "" if row.coverage is None else f" ({row.coverage:.1%})"
    return (
        f"{row.impressions:,}",
        _share(row.ctr),
        _share(row.debiased_ctr),
        _share(row.conversion),
        f"{row.value:,.2f}",
        _amount(row.value_each),
        f"{row.items:,}{covered}",
        "" if math.isnan(row.degraded) else f"{row.degraded:.1%}",
    )


def _share(interval: Interval) -> str:
    return interval.shown("{:.2%}".format)


def _amount(interval: Interval) -> str:
    return interval.shown("{:.4f}".format)


def _freshness(found: Report) -> str:
    """How old what is served is, in one line."""
    fresh = found.freshness
    bundle = "no bundle"
    if fresh.bundle is not None:
        bundle = f"bundle {fresh.bundle}"
        bundle += "" if fresh.bundle_created is None else f", {_age(fresh.at - fresh.bundle_created)} old"
    event = (
        "no events"
        if fresh.newest_event is None
        else f"newest event {_age(fresh.at - fresh.newest_event)} ago"
    )
    return f"{bundle}; {event}"


def _age(milliseconds: int) -> str:
    minutes = max(0, milliseconds) // 60_000
    for unit, length in (("days", 2 * 1440), ("h", 120), ("min", 1)):
        if minutes >= length:
            return f"{minutes // {'days': 1440, 'h': 60, 'min': 1}[unit]} {unit}"
    return "moments"
